"""``actx layers``: the module tree of a model with its taps, and where none can be taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actx_core.cli.command import Output, command, overrides
from actx_core.cli.text import branches, shape
from actx_core.errors import ActxError, ConfigError, ModelError
from actx_core.units import size

if TYPE_CHECKING:
    from actx_core.contracts import Model
    from actx_core.hookspecs import Component
    from actx_core.types import Tap

HEADS = ("tap", "module", "activation", "size")


@command(
    json="""
{"models": [
  {"model", "type", "presets": {name: [pattern]}, "notes": [text], "taps": [
    {"name", "module", "axes", "shape", "dtype", "kind", "rows_at_most",
      "bytes", "problem"}]}]}
"""
)
@click.argument("model", metavar="MODEL|FILE")
@overrides
@click.option("--type", "kind", metavar="NAME", help="The type of model that has this name.")
@click.option("--match", multiple=True, metavar="PATTERN", help="Only these taps. Repeatable.")
@click.option("--all", "everything", is_flag=True, help="Inputs (NAME@in) too.")
def layers(
    out: Output,
    model: str,
    sets: tuple[str, ...],
    kind: str | None,
    match: tuple[str, ...],
    everything: bool,
) -> None:
    """Print the module tree of a model with its taps.

    MODEL is a name that some type of model knows, such as resnet18 or timm/vit_tiny_patch16_224, or a
    pipeline file, for the models in it. Sizes are bytes of one sample; no weights are loaded. With a
    name, --set gives the model's own options: --set weights=DEFAULT.
    """
    found = []
    for name, type_, built, all_taps in _models(model, kind, sets):
        taps, notes = _chosen(built, all_taps, match, everything)
        presets = {preset: list(patterns) for preset, patterns in built.presets().items()}
        rows = [_to_json(tap) for tap in taps]
        found.append(
            {"model": name, "type": type_, "presets": presets, "notes": notes, "taps": rows}
        )
        out.line(f"{name} ({type_}): {len(taps)} taps")
        known = {row["name"]: row for row in rows}
        lines = [(label, *_cells(known.get(tap))) for label, tap in branches(list(known), ".")]
        out.table(HEADS, lines, right=("size",))
        for note in notes:
            out.line(f"note: {note}")
        for preset, patterns in presets.items():
            out.line(f"preset:{preset} takes {', '.join(patterns)}")
    out.object({"models": found})


def _chosen(
    model: Model[Any], taps: Sequence[Tap], match: Sequence[str], everything: bool
) -> tuple[Sequence[Tap], list[str]]:
    if match:
        from actx_core.select_taps import select

        return select(taps, match, model.presets(), model.aliases())
    return [tap for tap in taps if everything or not tap.name.endswith("@in")], []


def _to_json(tap: Tap) -> dict[str, Any]:
    from dataclasses import asdict

    each = None if tap.problem else _bytes(tap)
    return {**asdict(tap), "kind": "" if tap.problem else tap.row_kind, "bytes": each}


def _bytes(tap: Tap) -> int:
    """Bytes of one row."""
    from actx_core.types import ArraySpec

    return ArraySpec("", "", tap.name, ("row", *tap.row_axes), tap.row_shape, tap.dtype).row_bytes


def _cells(tap: dict[str, Any] | None) -> Sequence[str]:
    if tap is None:
        return ("", "", "")
    if tap["problem"]:
        return (tap["module"], f"none: {tap['problem']}", "")
    per = "" if tap["kind"] == "sample" else f" a {tap['kind']}"
    return (tap["module"], shape(tap["shape"], tap["axes"][1:]), f"{size(tap['bytes'])}{per}")


def _models(
    name: str, kind: str | None, sets: Sequence[str]
) -> Iterator[tuple[str, str, Model[Any], Sequence[Tap]]]:
    """(name, type, model, taps) of each model that is meant."""
    if kind is None and (name.endswith(".toml") or Path(name).is_file()):
        from actx_core.plan import build_model
        from actx_core.run import Pipeline

        for entry in Pipeline.from_file(name, sets).config.models:
            component = entry.component
            built = build_model(entry)
            yield entry.id, f"{component.plugin}/{component.name}", built, built.taps()
        return
    tried = []
    for component, rest in _candidates(name, kind):
        label = f"{component.plugin}/{component.name}"
        try:
            built = _build(component, rest, sets)
            taps = built.taps()
        except ActxError as error:
            if kind is not None:
                raise
            tried.append(f"{label}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
            continue
        yield rest, label, built, taps
        return
    raise ModelError(
        f"no type of model knows '{name}'; tried {'; '.join(tried) or 'none, there is none'}",
        hint="say which: --type NAME; `actx plugins` lists them",
    )


def _candidates(name: str, kind: str | None) -> list[tuple[Component, str]]:
    """Types of models with the name that each would be asked for; ``timm/x`` asks timm for x first."""
    from actx_core.registry import registry

    if kind is not None:
        return [(registry().find("model", kind), name)]
    types = registry().all("model")
    prefixed = [
        (component, name.removeprefix(prefix))
        for component in types
        for prefix in (f"{component.plugin}/{component.name}/", f"{component.name}/")
        if name.startswith(prefix)
    ]
    return prefixed + [(component, name) for component in types]


def _build(component: Component, name: str, sets: Sequence[str]) -> Model[Any]:
    """A model of this name, with random weights where it has weights."""
    from actx_core.cli.options import check
    from actx_core.registry import registry

    config = registry().load_config(component)
    if "name" not in config.model_fields:
        raise ConfigError("it takes no name", hint="describe it in a pipeline file")
    given = (
        {"name": name, "weights": "random"} if "weights" in config.model_fields else {"name": name}
    )
    model: Model[Any] = registry().load(component)(check(config, given, sets))
    return model
