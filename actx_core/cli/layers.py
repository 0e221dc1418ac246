"""``actx layers``: the module tree of a model with its taps, and where none can be taken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actx_core.cli.command import Output, command, overrides
from actx_core.cli.text import branches, shape
from actx_core.errors import ActxError, ConfigError
from actx_core.units import size

if TYPE_CHECKING:
    from actx_core.cli.named import Named
    from actx_core.types import Tap

HEADS = ("tap", "module", "activation", "size")


@command(
    json="""
{"models": [
  {"model", "type", "presets": {name: [pattern]}, "aliases": {name: tap},
    "notes": [text], "check": {tap: text}, "taps": [
      {"name", "module", "axes", "shape", "dtype", "kind", "rows_at_most",
        "bytes", "problem"}]}]}
"""
)
@click.argument("model", metavar="MODEL|FILE")
@overrides
@click.option("--type", "kind", metavar="NAME", help="The type of model that has this name.")
@click.option("--match", multiple=True, metavar="PATTERN", help="Only these taps. Repeatable.")
@click.option("--all", "everything", is_flag=True, help="Inputs (NAME@in) too.")
@click.option("--check", is_flag=True, help="Load the weights and check that the taps hold.")
@click.option("--pick", is_flag=True, help="Walk the tree and choose taps, at a terminal.")
@click.option(
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what was picked into this pipeline, or a file that the model knows.",
)
def layers(
    out: Output,
    model: str,
    sets: tuple[str, ...],
    kind: str | None,
    match: tuple[str, ...],
    everything: bool,
    check: bool,
    pick: bool,
    save: Path | None,
) -> None:
    """Print the module tree of a model with its taps.

    MODEL is a name that some type of model knows, such as resnet18 or timm/vit_tiny_patch16_224, or a
    pipeline file, for the models in it. Sizes are bytes of one sample; no weights are loaded. With a
    name, --set gives the model's own options: --set weights=DEFAULT.

    --check loads the weights and shows where each tap lies and by how much what is known of it fails.

    --pick asks which taps to take, and prints them as a line for a pipeline, or with --save FILE writes
    them there.
    """
    if pick:
        if match or everything or check:
            raise ConfigError("--pick takes neither --match, --all nor --check")
        _pick(out, model, sets, kind, save)
        return
    if save:
        raise ConfigError("--save writes what --pick chooses", hint="add --pick")
    from actx_core.cli.named import find_models

    found = [_print(out, each, match, everything, check) for each in find_models(model, kind, sets)]
    out.object({"models": found})


def _print(
    out: Output, named: Named, match: Sequence[str], everything: bool, check: bool
) -> dict[str, Any]:
    """Print the taps of one model; the same for --json."""
    checked = dict(named.model.check()) if check else {}
    taps, notes = _chosen(named, match, everything)
    presets = {name: list(patterns) for name, patterns in named.model.presets().items()}
    aliases = dict(named.model.aliases())
    known = {tap.name: tap for tap in taps}
    out.line(f"{named.id} ({named.type}): {len(taps)} taps")
    lines = [
        (label, *cells(known.get(tap)), *([checked.get(tap or "", "")] if check else []))
        for label, tap in branches(list(known), ".")
    ]
    out.table((*HEADS, "check") if check else HEADS, lines, right=("size",))
    if check and not checked:
        out.line("note: this type of model has nothing to check")
    for note in notes:
        out.line(f"note: {note}")
    for preset, patterns in presets.items():
        out.line(f"preset:{preset} takes {', '.join(patterns)}")
    for alias, tap in aliases.items():
        out.line(f"{alias} means {tap}")
    return {
        "model": named.id,
        "type": named.type,
        "presets": presets,
        "aliases": aliases,
        "notes": notes,
        "check": checked,
        "taps": [_to_json(tap) for tap in taps],
    }


def _chosen(
    named: Named, match: Sequence[str], everything: bool
) -> tuple[Sequence[Tap], list[str]]:
    if match:
        from actx_core.select_taps import select

        return select(named.taps, match, named.model.presets(), named.model.aliases())
    return [tap for tap in named.taps if everything or not tap.name.endswith("@in")], []


def _pick(out: Output, name: str, sets: Sequence[str], kind: str | None, save: Path | None) -> None:
    """Ask, then print or save."""
    from actx_core.cli import save as saving
    from actx_core.cli.named import find_models
    from actx_core.cli.pick import Picker, pick

    if not out.asks:
        hint = "--match PATTERN shows what a pattern takes, without questions"
        raise ConfigError("--pick asks at a terminal, and there is none", hint=hint)
    models = list(find_models(name, kind, sets))
    if len(models) > 1:
        names = ", ".join(each.id for each in models)
        raise ConfigError(
            f"'{name}' means {len(models)} models, --pick asks about one",
            hint=f"there are: {names}",
        )
    [named] = models
    if save:
        saving.check(save, named)
    picker = Picker(named.taps, named.model.presets(), named.model.aliases())
    taps = pick(out, f"{named.id} ({named.type})", picker)
    line = f"taps = {json.dumps(taps, ensure_ascii=False)}"
    if save is None:
        out.line(line)
        return
    try:
        saving.save(save, named, taps)
    except (ActxError, OSError):
        out.line(line)  # what was picked is not lost
        raise
    out.line(f"{save}: {len(taps)} taps of {named.id}")


def _to_json(tap: Tap) -> dict[str, Any]:
    each = None if tap.problem else row_bytes(tap)
    return {**asdict(tap), "kind": "" if tap.problem else tap.row_kind, "bytes": each}


def row_bytes(tap: Tap) -> int:
    """Bytes of one row."""
    from actx_core.types import ArraySpec

    return ArraySpec("", "", tap.name, ("row", *tap.row_axes), tap.row_shape, tap.dtype).row_bytes


def cells(tap: Tap | None) -> tuple[str, str, str]:
    """Module, activation and size as they stand in a table; of what is no tap, nothing."""
    if tap is None:
        return ("", "", "")
    if tap.problem:
        return (tap.module, f"none: {tap.problem}", "")
    per = "" if tap.row_kind == "sample" else f" a {tap.row_kind}"
    return (tap.module, shape(tap.shape, tap.axes[1:]), f"{size(row_bytes(tap))}{per}")
