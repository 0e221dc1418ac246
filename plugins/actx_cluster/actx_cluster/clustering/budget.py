"""Memory that a method will need, foretold before the work, and the refusal where it is too much."""

from __future__ import annotations

import os

from actx_cluster.rows import BLOCK_BYTES, Rows
from actx_core import AnalysisError

FIXED = 5 * BLOCK_BYTES
"""What reading blocks, tiles of distances and figures take, whatever the number of rows."""
UNITS = ("B", "kB", "MB", "GB", "TB")


def limit(memory: int | None) -> int | None:
    """Bytes that may be used: those of the option, or half of the machine's; None where that is not known."""
    if memory is not None:
        return memory
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return None


def fits(needed: int, memory: int | None) -> bool:
    """Whether a method that needs so many bytes may be used."""
    most = limit(memory)
    return most is None or needed <= most


def refuse(what: str, needed: int, memory: int | None, *, where: str, hint: str) -> AnalysisError:
    """The error for a method that does not fit."""
    allowed = f"memory = {said(limit(memory) or 0)}"
    return AnalysisError(
        f"{what} needs about {said(needed)}, more than {allowed}"
        + ("" if memory is not None else ", half of this machine's"),
        where=where,
        hint=hint,
    )


def rows_bytes(rows: Rows, size: int) -> int:
    """All rows in memory, each of ``size`` numbers, with their keys and order."""
    return rows.count * (size * rows.dtype.itemsize + 64)


def table_bytes(rows: Rows, solutions: int) -> int:
    """The table of assignments."""
    return rows.data.array.shape[0] * 100 * (1 + solutions)


def said(size: float) -> str:
    """A number of bytes in words, such as "1.5 GB"."""
    unit = 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {UNITS[unit]}"
