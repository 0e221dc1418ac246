"""The memory that a clustering may take, and the refusal of one that would need more."""

from __future__ import annotations

import os

from actx_core import AnalysisError

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


def said(size: float) -> str:
    """A number of bytes in words, such as "1.5 GB"."""
    unit = 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {UNITS[unit]}"
