"""``actx katago search`` and ``actx katago compare``: questions to stored activations of positions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from actx_katago.outputs.compare import Comparison

SHOWN = 10
"""Channels, and samples without a partner, that are named."""

_Command = Callable[..., None]


def _common(command: _Command) -> _Command:
    debug = click.option(
        "--debug", is_flag=True, expose_value=False, help="Show tracebacks of errors."
    )
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(debug(command))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("position")
@click.option("--tap", default="", help="The tap to search in, or source/model/tap.")
@click.option("--top", default=10, show_default=True, type=click.IntRange(1), metavar="N")
@click.option(
    "--metric",
    default="cosine",
    show_default=True,
    type=click.Choice(["cosine", "euclidean", "correlation"]),
    help="1 - cosine, the Euclidean distance, or 1 - Pearson's correlation.",
)
@click.option("--different-games", is_flag=True, help="One position per game, none of its own.")
@click.option("--same-size", is_flag=True, help="Only positions on boards of the same size.")
@click.option("--sgf", type=click.Path(path_type=Path), help="Write the boards to an SGF file.")
@_common
def search(run: Path, position: str, tap: str, as_json: bool, **options: Any) -> None:
    r"""Find the positions of a run that are nearest to one position in a tap.

    POSITION is the id of a sample of the run, or FILE.npz:ROW, or FILE.sgf:TURN; a position of a file
    goes through the network as those of the run did.

    \b
    --json prints
    {"run", "array", "position", "metric", "rows", "without_distance",
      "nearest": [{"row", "distance", "sample", "file", "game", "turn", ...}]}
    """
    from actx_core import open_run
    from actx_katago.outputs.arrays import pick
    from actx_katago.outputs.neighbours import find_neighbours, write_boards

    array = pick(open_run(run), tap)
    sgf: Path | None = options.pop("sgf")
    found = find_neighbours(array, position, **options)
    if sgf is not None:
        write_boards(array, found, sgf)
    if as_json:
        about = {
            "run": str(run),
            "array": array.name,
            "position": position,
            "metric": found.metric,
            "rows": len(array),
            "without_distance": found.without_distance,
            "nearest": found.nearest,
        }
        click.echo(json.dumps(about, indent=2, ensure_ascii=False))
        return
    click.echo(f"{array.name}: {len(array)} positions, {found.metric} distance to {position}")
    if found.without_distance:
        click.echo(f"{found.without_distance} positions have no distance: not finite, or constant")
    heads = ["distance", "sample", "game", "turn", "to_move"]
    rows = [[_word(one.get(head)) for head in heads] for one in found.nearest]
    for line in _aligned(heads, rows):
        click.echo(line)


@click.command()
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option(
    "--tap",
    "taps",
    multiple=True,
    help="The tap to compare, or source/model/tap; twice where the runs call it differently.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Table of all channels: .csv, .parquet."
)
@_common
def compare(
    run_a: Path, run_b: Path, taps: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    r"""Compare two runs position by position: the effect on each channel of a tap.

    RUN_A is the baseline. Runs whose inputs are identical are refused, unless something else differs.

    \b
    --json prints
    {"a", "b", "pairs", "identical_inputs", "only_a": [sample],
      "only_b": [sample], "notes": [text], "effects": {column: [value]}}
    """
    from actx_core import ConfigError, open_run
    from actx_katago.outputs.arrays import pick
    from actx_katago.outputs.compare import compare as compare_arrays

    if len(taps) > 2:
        raise ConfigError(f"expected --tap once or twice, found it {len(taps)} times")
    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"expected a file ending in .csv or .parquet, found '{out}'")
    name_a, name_b = (taps[0], taps[-1]) if taps else ("", "")
    a, b = pick(open_run(run_a), name_a), pick(open_run(run_b), name_b)
    found = compare_arrays(a, b)
    if out is not None:
        _write_table(out, found)
    names = {"a": f"{run_a}: {a.name}", "b": f"{run_b}: {b.name}"}
    if as_json:
        about = {
            **names,
            "pairs": found.pairs,
            "identical_inputs": found.identical,
            "only_a": found.only_a,
            "only_b": found.only_b,
            "notes": found.notes,
            "effects": found.effects,
        }
        click.echo(json.dumps(about, indent=2, ensure_ascii=False))
        return
    for line in (*(f"{side}: {name}" for side, name in names.items()), *_summary(found)):
        click.echo(line)


def _summary(found: Comparison) -> Iterator[str]:
    """The comparison in words, and its largest effects."""
    shares = zip(found.effects["share_up"], found.effects["share_down"], strict=True)
    changed = sum(bool(up or down) for up, down in shares)
    lines = len(found.effects["channel"])
    yield f"{found.pairs} pairs; {changed} of {lines} channels change"
    for side, alone in (("a", found.only_a), ("b", found.only_b)):
        if alone:
            more = ", …" if len(alone) > SHOWN else ""
            yield f"{len(alone)} samples only in {side}: {', '.join(alone[:SHOWN])}{more}"
    yield from found.notes
    order = sorted(range(lines), key=lambda i: -abs(found.effects["cohen_d"][i] or 0))
    if any(found.effects["cohen_d"]):
        yield f"largest effects of {lines} (all: --out):"
        heads = [head for head in found.effects if head not in ("channel", "pairs")]
        rows = [[_word(found.effects[head][i]) for head in heads] for i in order[:SHOWN]]
        yield from _aligned(heads, rows)


def _write_table(path: Path, found: Comparison) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    from actx_core import atomic

    table = pa.table({name: list(values) for name, values in found.effects.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        if path.suffix == ".csv":
            csv.write_csv(table, temporary)
        else:
            parquet.write_table(table, temporary)


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        yield "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
