"""Numbers of bytes as people read them."""

from __future__ import annotations


def size(count: float | None) -> str:
    """Bytes with three digits and a decimal unit: ``1.25 MB``; ``?`` for an unknown number."""
    if count is None:
        return "?"
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    digits = 0 if units[0] == "B" else max(0, 3 - len(f"{value:.0f}"))
    return f"{value:.{digits}f} {units[0]}"
