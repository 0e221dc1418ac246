"""Every error that actx raises on purpose, as one tree.

* ActxError                     exit 1   anything below
  + ConfigError                 exit 2   the pipeline file or the command line
  + PluginError                 exit 3   a plugin or a component
    - ComponentNotFound                  no component has that name
    - ComponentConflict                  two plugins offer that name
  + SourceError                 exit 4   the data
  + ModelError                  exit 5   the model
    - TapError                           a tap that does not exist or cannot be taken
    - OutOfMemory                        the device is too small, even for one sample
  + StoreError                  exit 6   what is on disk, or the disk
  + ExecutionError              exit 7   a shard that could not be done, a run that may not go on
  + AnalysisError               exit 8   an analyzer's input or options
  + Interrupted                 exit 130 the same command resumes

A message says what was expected and what was found; ``where`` says in which file, tap or sample;
``hint`` says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ActxError(Exception):
    """Base of all deliberate errors: shown to the user as one line and a hint, without a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        hint = f"  hint: {self.hint}" if self.hint else ""
        return f"{where}{self.message}{hint}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.where)


def _rebuild(kind: type[ActxError], message: str, hint: str, where: str) -> ActxError:
    """Unpickle an error that crossed from a worker process."""
    return kind(message, hint=hint, where=where)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a pipeline: where it stands (``file:line:column``), what it is, what to do."""

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        return f"{where}{self.message}" + (f"  hint: {self.hint}" if self.hint else "")


class ConfigError(ActxError):
    """The pipeline is wrong; ``problems`` holds every mistake found, in the order of the file."""

    exit_code = 2

    def __init__(
        self, message: str, *, hint: str = "", where: str = "", problems: Sequence[Problem] = ()
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.problems = tuple(problems) or (Problem(where, message, hint),)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_config, (self.message, self.hint, self.where, self.problems)


def _rebuild_config(
    message: str, hint: str, where: str, problems: Sequence[Problem]
) -> ConfigError:
    return ConfigError(message, hint=hint, where=where, problems=problems)


class PluginError(ActxError):
    """A plugin is broken, incompatible or lacks something."""

    exit_code = 3


class ComponentNotFound(PluginError):
    """No enabled plugin offers a component of that name."""


class ComponentConflict(PluginError):
    """Two plugins offer the name; ``plugin/name`` says which is meant."""


class SourceError(ActxError):
    """The data are missing, unreadable, or not what they were."""

    exit_code = 4


class ModelError(ActxError):
    """The model cannot be built, loaded or run."""

    exit_code = 5


class TapError(ModelError):
    """A tap does not exist, never fires, or has no usable shape; or a pooler does not fit it."""


class OutOfMemory(ModelError):
    """The device ran out of memory with a single sample."""


class StoreError(ActxError):
    """A store cannot be written, is damaged, or is not what the run says."""

    exit_code = 6


class ExecutionError(ActxError):
    """The run cannot go on: a shard keeps failing, or the change asked for would alter stored numbers."""

    exit_code = 7


class AnalysisError(ActxError):
    """An analyzer cannot work with what it was given."""

    exit_code = 8


class Interrupted(ActxError):
    """The user stopped the run; what is committed stays."""

    exit_code = 130
