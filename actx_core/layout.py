"""Where everything of a run lies, and its receipts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actx_core.errors import StoreError
from actx_core.files import atomic, encode, read_json, write_json
from actx_core.types import Receipt, Skipped

HINT = "restore it from a copy, or start a new run.out"


@dataclass(frozen=True)
class Layout:
    """Paths of a run, by name."""

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "run.json"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def receipts(self) -> Path:
        return self.root / "receipts"

    @property
    def compacted(self) -> Path:
        return self.root / "receipts.jsonl"

    def samples(self, source: str) -> Path:
        return self.root / encode(source) / "samples.parquet"

    def cell(self, cell: str) -> Path:
        """The folder of ``source/model``."""
        source, _, model = cell.partition("/")
        return self.root / encode(source) / encode(model)

    def model(self, cell: str) -> Path:
        """What a worker found out about the model: fingerprint, device, facts."""
        return self.cell(cell) / "model.json"

    def joined(self, cell: str, array: str, suffix: str) -> Path:
        """The one file of an array (a tap, or ``rows.KIND``) after ``finish``."""
        return self.cell(cell) / f"{self._name(array)}{suffix}"

    def part(self, cell: str, array: str, shard: int, suffix: str) -> Path:
        """The file of one shard of an array."""
        return self.cell(cell) / self._name(array) / f"{shard:06d}{suffix}"

    def sidecar(self, cell: str, array: str) -> Path:
        """What the joined file holds: shards, rows, digest, statistics."""
        return self.cell(cell) / f"{self._name(array)}.json"

    def analysis(self, name: str) -> Path:
        return self.root / "analyses" / encode(name)

    @staticmethod
    def _name(array: str) -> str:
        """A tap called ``rows.x`` or ``model`` may not hide core's own files."""
        if array.startswith(ROWS):
            return f"rows.{encode(array.removeprefix(ROWS))}"
        name = encode(array)
        return (
            f"%{ord(name[0]):02x}{name[1:]}"
            if name.startswith("rows.") or name == "model"
            else name
        )


ROWS = "rows/"
"""Marks the row table of a kind where arrays are named: ``rows/token``. No tap has a slash."""


def scales(tap: str) -> str:
    """The kind of table that holds the scales of a tap that is stored as int8."""
    return f"{tap}.scale"


def save_receipt(layout: Layout, receipt: Receipt) -> None:
    """Commit a shard: after this it is done."""
    layout.receipts.mkdir(parents=True, exist_ok=True)
    taps = hashlib.sha256("\n".join(sorted(receipt.digests)).encode()).hexdigest()[:8]
    name = f"{encode(receipt.cell)}.{receipt.shard:06d}.{taps}.json"
    write_json(layout.receipts / name, asdict(receipt))


def load_receipts(layout: Layout) -> list[Receipt]:
    """Every committed receipt, in the order of cells and shards."""
    found: dict[str, Receipt] = {}
    if layout.compacted.exists():
        for line in layout.compacted.read_bytes().splitlines():
            receipt = _receipt(_line(line, layout.compacted), layout.compacted)
            found[_key(receipt)] = receipt
    if layout.receipts.is_dir():
        for path in sorted(layout.receipts.glob("*.json")):
            receipt = _receipt(read_json(path, hint=HINT), path)
            found[_key(receipt)] = receipt
    return sorted(found.values(), key=lambda r: (r.cell, r.shard, sorted(r.digests)))


def compact_receipts(layout: Layout, receipts: Iterable[Receipt]) -> None:
    """Turn the single files into receipts.jsonl."""
    single = list(layout.receipts.glob("*.json"))
    if not single:
        return
    with atomic(layout.compacted) as path:
        path.write_text("".join(f"{json.dumps(asdict(r), sort_keys=True)}\n" for r in receipts))
    for file in single:
        file.unlink()


def _line(text: bytes, path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise StoreError(f"a line is damaged: {error}", where=str(path), hint=HINT) from error


def _key(receipt: Receipt) -> str:
    return f"{receipt.cell}\n{receipt.shard}\n{sorted(receipt.digests)}"


def _receipt(data: dict[str, Any], path: Path) -> Receipt:
    try:
        skipped = tuple(Skipped(**s) for s in data["skipped"])
        return Receipt(**{**data, "skipped": skipped})
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"not a receipt of this version: {error}", where=str(path), hint=HINT
        ) from error
