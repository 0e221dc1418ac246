"""``actx models``: the published weights that the installed types of models know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from actx_core.cli.command import Output, command
from actx_core.errors import ActxError, ConfigError
from actx_core.registry import registry

if TYPE_CHECKING:
    from actx_core.hookspecs import Component
    from actx_core.types import Checkpoint

HEADS = ("type", "name", "weights", "licence", "parameters", "file", "address")
MANY = 100
"""From so many lines on, the last one says how to get fewer."""


@command(
    json="""
{"models": [
  {"type", "name", "weights", "licence", "address", "file", "parameters"}],
  "notes": [text]}
"""
)
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--type", "kind", metavar="NAME", help="Only this type of model.")
def models(out: Output, patterns: tuple[str, ...], kind: str | None) -> None:
    """List models with published weights, their licences and addresses.

    PATTERN is a name or a glob such as 'vit_base*'; case does not count. Nothing is downloaded. The
    weights of a model that is not listed are those of a file of your own, or random.
    """
    components = [registry().find("model", kind)] if kind else registry().all("model")
    notes = (
        []
        if kind
        else [f"{p.name} is {p.status}: {p.error}" for p in registry().plugins if p.error]
    )
    found: list[tuple[str, Checkpoint]] = []
    for component in components:
        label = f"{component.plugin}/{component.name}"
        known, problem = _checkpoints(component)
        found += [(label, checkpoint) for checkpoint in known]
        notes += [f"{label} is not listed: {problem}"] if problem else []
    chosen = _matching(found, patterns, notes)
    rows = [{"type": label, **asdict(checkpoint)} for label, checkpoint in chosen]
    out.object({"models": rows, "notes": notes})
    if rows:
        cells = [[_cell(row[head]) for head in HEADS] for row in rows]
        out.table(HEADS, cells, right=("parameters",))
    for note in notes:
        out.line(f"note: {note}")
    for line in _totals(chosen, bool(patterns)):
        out.line(line)


def _checkpoints(component: Component) -> tuple[list[Checkpoint], str]:
    """What a type of model knows, and why it cannot say."""
    try:
        return list(registry().load(component).checkpoints()), ""
    except ActxError as error:
        return [], error.message + (f" ({error.hint})" if error.hint else "")
    except Exception as error:  # whatever a plugin does wrong concerns its own models
        return [], f"{type(error).__name__}: {error}"


def _matching(
    found: Sequence[tuple[str, Checkpoint]], patterns: Sequence[str], notes: Sequence[str]
) -> list[tuple[str, Checkpoint]]:
    """Those whose name any of the patterns means. Raises ConfigError for one that means none."""
    names = {checkpoint.name.lower(): checkpoint.name for _, checkpoint in found}
    meant: set[str] = set()
    for pattern in patterns:
        matched = {name for name in names if fnmatchcase(name, pattern.lower())}
        if not matched:
            raise ConfigError(
                f"no model with published weights matches '{pattern}'",
                hint="; ".join([_near(pattern, names.values()), *notes]),
            )
        meant |= matched
    return [(label, c) for label, c in found if not patterns or c.name.lower() in meant]


def _near(pattern: str, names: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in names}
    wanted = pattern.lower().strip("*?")
    close = get_close_matches(wanted, by_lower, n=3) or [n for n in by_lower if wanted in n][:3]
    if close:
        return f"did you mean {' or '.join(repr(by_lower[name]) for name in close)}?"
    return "`actx models` lists all"


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value / 1e6:.1f} M"
    return str(value or "")


def _totals(chosen: Sequence[tuple[str, Checkpoint]], filtered: bool) -> Iterator[str]:
    types = dict.fromkeys(label for label, _ in chosen)
    models = {(label, checkpoint.name) for label, checkpoint in chosen}
    for label in types if len(types) > 1 else ():
        count = sum(each == label for each, _ in chosen)
        yield f"{label}: {count} weights of {sum(each == label for each, _ in models)} models"
    yield f"{len(chosen)} weights of {len(models)} models"
    if len(chosen) > MANY and not filtered:
        yield "`actx models 'resnet*'` shows fewer, `--type NAME` one type"
