"""``actx show``: the arrays of a run, or the tree of any HDF5 file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from actx_core.cli.command import Output, command
from actx_core.cli.text import branches, shape
from actx_core.errors import PluginError, StoreError
from actx_core.units import size

HEADS = ("array", "shape", "dtype", "size")


@command(
    json="""
{"path",
  "arrays": [{"name", "shape", "dtype", "axes", "bytes"}]}
of a run also {"complete", "skipped": [{"cell", "sample", "why"}],
  "samples": {source: {"rows", "columns": {name: type}}}}
"""
)
@click.argument("path", metavar="RUN|FILE.h5", type=click.Path(path_type=Path))
def show(out: Output, path: Path) -> None:
    """List the arrays of a run, or of any HDF5 file."""
    found = _run(path) if path.is_dir() else _hdf5(path)
    out.object(found)
    arrays = {array["name"]: array for array in found["arrays"]}
    rows = [
        (label, *(_cells(arrays[name]) if name else ("", "", "")))
        for label, name in branches(list(arrays), "/")
    ]
    out.table(HEADS, rows, right=("size",))
    out.line()
    for source, samples in found.get("samples", {}).items():
        columns = ", ".join(f"{name} ({kind})" for name, kind in samples["columns"].items())
        out.line(f"{samples['rows']} samples of {source}: {columns}")
    total = sum(array["bytes"] for array in arrays.values())
    out.line(f"{len(arrays)} arrays, {size(total)}")
    if found.get("skipped"):
        out.line(f"{len(found['skipped'])} samples were skipped")
    if not found.get("complete", True):
        out.line("the run is not complete: the command that began it goes on")


def _cells(array: Mapping[str, Any]) -> tuple[str, str, str]:
    return shape(array["shape"], array["axes"]), array["dtype"], size(array["bytes"])


def _run(path: Path) -> dict[str, Any]:
    from actx_core.results import open_run

    run = open_run(path)
    specs = {name: run[name].spec for name in run.arrays}
    tables = {source: run.samples(source) for source in {s.source: None for s in specs.values()}}
    return {
        "path": str(path),
        "complete": run.complete,
        "arrays": [
            {
                "name": name,
                "shape": list(run[name].shape),
                "dtype": spec.dtype,
                "axes": list(spec.axes),
                "bytes": run[name].shape[0] * spec.row_bytes,
            }
            for name, spec in specs.items()
        ],
        "samples": {
            source: {
                "rows": table.num_rows,
                "columns": {field.name: str(field.type) for field in table.schema},
            }
            for source, table in tables.items()
        },
        "skipped": [{"cell": cell, "sample": s.sample, "why": s.why} for cell, s in run.skipped],
    }


def _hdf5(path: Path) -> dict[str, Any]:
    try:
        import h5py
    except ImportError as error:
        hint = "pip install 'actx-core[hdf5]'"
        raise PluginError(f"HDF5 files need h5py: {error}", hint=hint) from error
    if not path.is_file():
        raise StoreError("expected a run or an HDF5 file, found nothing", where=str(path))
    if not h5py.is_hdf5(path):
        raise StoreError("expected a run or an HDF5 file, found another file", where=str(path))
    arrays: list[dict[str, Any]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            # An empty dataset has no shape; a labelled one names its dimensions.
            axes = [dimension.label for dimension in item.dims] if item.shape else []
            arrays.append(
                {
                    "name": name,
                    "shape": list(item.shape or ()),
                    "dtype": str(item.dtype),
                    "axes": axes if any(axes) else [],
                    "bytes": item.nbytes,
                }
            )

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError) as error:
        raise StoreError(f"the file is damaged: {error}", where=str(path)) from error
    return {"path": str(path), "arrays": arrays}
