"""Checks options of one component, given on the command line, as a pipeline's are checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from actx_core.config.check import Checker
from actx_core.config.overrides import apply
from actx_core.config.problems import Places, Problems
from actx_core.contracts import Config

C = TypeVar("C", bound=Config)


def check(config: type[C], given: Mapping[str, Any], sets: Sequence[str] = ()) -> C:
    """The Config of ``given``, changed by ``key=value``; raises ConfigError with every mistake."""
    options = dict(given)
    problems = Problems(Places.of_dict(options))
    apply(options, sets, problems.places, problems)
    checked = Checker(problems, Path()).options(config, options, ())
    problems.raise_any()
    assert checked is not None  # without problems there is a Config
    return checked
