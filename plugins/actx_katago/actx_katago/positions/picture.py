"""A board as a small SVG: stones, and a ring around the last move."""

from __future__ import annotations

import numpy as np

STEP = 10
"""Distance between lines; a 19x19 board is then 200 wide and stays below 10 kB."""

_HOSHI = {19: (3, 9, 15), 13: (3, 6, 9), 9: (2, 4, 6)}


def draw_board(black: np.ndarray, white: np.ndarray, last: tuple[int, int] | None = None) -> str:
    """SVG of a board from two arrays (y, x) that are true where stones are; ``last`` is (y, x)."""
    high, wide = black.shape
    right, bottom = STEP * wide, STEP * high
    half = STEP // 2
    lines = "".join(f"M{half} {half + STEP * y}H{right - half}" for y in range(high))
    lines += "".join(f"M{half + STEP * x} {half}V{bottom - half}" for x in range(wide))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right} {bottom}">',
        f'<rect width="{right}" height="{bottom}" fill="#e8c484"/>',
        f'<path d="{lines}" stroke="#654" stroke-width=".6" fill="none"/>',
    ]
    stars = [(y, x) for y in _HOSHI.get(high, ()) for x in _HOSHI.get(wide, ())]
    parts += [_circle(y, x, 1.2, 'fill="#654"') for y, x in stars]
    for stones, fill in ((black, "#111"), (white, "#fff")):
        style = f'fill="{fill}" stroke="#111" stroke-width=".5"'
        parts += [_circle(y, x, 4.6, style) for y, x in np.argwhere(stones)]
    if last is not None:
        parts.append(_circle(*last, 2.4, 'fill="none" stroke="#d22" stroke-width="1.2"'))
    return "".join([*parts, "</svg>"])


def _circle(y: int, x: int, radius: float, style: str) -> str:
    centre = STEP // 2
    return f'<circle cx="{STEP * x + centre}" cy="{STEP * y + centre}" r="{radius}" {style}/>'
