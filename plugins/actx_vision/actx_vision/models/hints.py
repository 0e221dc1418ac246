"""Hints for names that do not exist."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def did_you_mean(name: str, names: Sequence[str], otherwise: str) -> str:
    """``did you mean 'a' or 'b'?``, or ``otherwise`` where nothing is near."""
    close = get_close_matches(name, names, n=3)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else otherwise
