"""How a text that is longer than the model reads at once is cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

Long = Literal["truncate", "stride", "split"]


class Window(NamedTuple):
    """Tokens ``start`` to ``stop`` (exclusive) of a text; those before ``first`` are only context."""

    start: int
    first: int
    stop: int


def windows(tokens: int, room: int, long: Long, shared: int) -> Iterator[Window]:
    """Windows of at most ``room`` tokens, which together take each token once.

    ``truncate`` gives one, ``split`` windows end to end, ``stride`` windows that begin with the last
    ``shared`` tokens of the one before. A text without tokens still has one window.
    """
    yield Window(0, 0, min(tokens, room))
    if long == "truncate":
        return
    shared = shared if long == "stride" else 0
    done = room
    while done < tokens:
        start = done - shared
        stop = min(start + room, tokens)
        yield Window(start, done, stop)
        done = stop
