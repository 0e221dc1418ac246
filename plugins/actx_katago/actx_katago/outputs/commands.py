"""``actx katago search`` and ``actx katago compare``: questions to stored activations of positions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
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
@click.argument("array")
@click.argument("query")
@click.option("--top", default=10, show_default=True, type=click.IntRange(1), metavar="N")
@click.option(
    "--metric",
    default="cosine",
    show_default=True,
    type=click.Choice(["cosine", "euclidean"]),
    help="1 - cosine, or the Euclidean distance.",
)
@click.option("--one-per-game", is_flag=True, help="One position per game, none of its own.")
@click.option(
    "--boards", type=click.Path(path_type=Path), help="Write the boards: FILE.html or FILE.sgf."
)
@_common
def search(
    run: Path, array: str, query: str, boards: Path | None, as_json: bool, **options: Any
) -> None:
    """Find the positions of a run that are nearest to one position in a tap.

    ARRAY is a tap, another name of it, or source/model/tap. QUERY is the id of a sample of the run, or
    FILE.npz:ROW, or FILE.sgf:TURN; a position of a file goes through the network as those of the run did.

    \b
    --json prints
    {"run", "array", "query", "metric", "rows", "without_distance",
      "nearest": [{"distance", "array_row", "sample", "file", "game", ...}]}
    """  # noqa: D301
    from actx_core import open_run
    from actx_katago.outputs.arrays import pick
    from actx_katago.outputs.neighbours import find_neighbours, write_boards

    _expect_ending(boards, ".html", ".sgf")
    corpus = pick(open_run(run), array)
    found = find_neighbours(corpus, query, **options)
    if boards is not None:
        write_boards(corpus, found, boards)
    if as_json:
        about = {
            "run": str(run),
            "array": corpus.name,
            "query": query,
            "metric": found.metric,
            "rows": len(corpus),
            "without_distance": found.without_distance,
            "nearest": found.nearest,
        }
        click.echo(_json(about))
        return
    click.echo(f"{corpus.name}: {len(corpus)} positions, {found.metric} distance to {query}")
    if found.without_distance:
        click.echo(f"{found.without_distance} positions have no distance: zero or not finite")
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
    """Compare two runs position by position: the effect on each channel of a tap.

    RUN_A is the baseline. Runs whose inputs are identical are refused while the network is the same.

    \b
    --json prints
    {"a", "b", "pairs", "identical_inputs", "only_a": [sample],
      "only_b": [sample], "notes": [text], "effects": {column: [value]}}
    """  # noqa: D301
    from actx_core import ConfigError, open_run
    from actx_katago.outputs.arrays import pick
    from actx_katago.outputs.compare import compare as compare_arrays

    if len(taps) > 2:
        raise ConfigError(f"expected --tap once or twice, found it {len(taps)} times")
    _expect_ending(out, ".csv", ".parquet")
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
        click.echo(_json(about))
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


def _expect_ending(path: Path | None, *endings: str) -> None:
    from actx_core import ConfigError

    if path is not None and path.suffix not in endings:
        raise ConfigError(f"expected a file ending in {' or '.join(endings)}, found '{path}'")


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


def _json(about: Mapping[str, Any]) -> str:
    """Strict JSON: what is no number is null."""
    return json.dumps(_finite(about), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    match value:
        case float() if not isfinite(value):
            return None
        case Mapping():
            return {key: _finite(one) for key, one in value.items()}
        case list() | tuple():
            return [_finite(one) for one in value]
    return value


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        yield "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
