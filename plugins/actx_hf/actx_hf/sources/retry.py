"""Tries again when the network fails, with growing pauses, and knows which errors are the network's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from actx_core import SourceError

PAUSES = (1, 2, 4, 8, 16, 32, 60, 60, 60)
"""Seconds before each further attempt; the count starts again as soon as data arrive."""

_PATIENT = ContextVar("_PATIENT", default=True)

T = TypeVar("T")


@contextmanager
def once() -> Iterator[None]:
    """Within, nothing is tried again: for what can be done without."""
    token = _PATIENT.set(False)
    try:
        yield
    finally:
        _PATIENT.reset(token)


class Patience:
    """Counts the failures in a row of one thing, called ``what``."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.failures = 0

    def worked(self) -> None:
        """Data have arrived: the next failure is the first again."""
        self.failures = 0

    def wait(self, error: Exception) -> None:
        """Pause before the next attempt.

        Raises the error again where it is not the network's, SourceError after the last attempt.
        """
        lost = _lost(error)
        if lost is None:
            raise error
        if self.failures == len(PAUSES) or not _PATIENT.get():
            raise SourceError(
                f"the connection failed {self.failures + 1} times in a row, last with: {told(lost)}",
                where=self.what,
                hint="the same command resumes",
            ) from error
        time.sleep(PAUSES[self.failures])
        self.failures += 1


def patiently(what: str, call: Callable[[], T]) -> T:
    """What the call returns, tried again while the network fails."""
    patience = Patience(what)
    while True:
        try:
            return call()
        except Exception as error:
            patience.wait(error)


def is_network(error: BaseException) -> bool:
    """Whether trying again can help: a lost connection, or a server that is overloaded for now."""
    return _lost(error) is not None


def is_offline(error: BaseException) -> bool:
    """Whether the network was not tried, since HF_HUB_OFFLINE switches it off."""
    return any("OfflineModeIsEnabled" in f"{type(e).__name__} {e}" for e in _chain(error))


def told(error: BaseException) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _lost(error: BaseException) -> BaseException | None:
    """The network's error that is at the root of another."""
    if is_offline(error):
        return None
    return next((each for each in _chain(error) if _may_pass(each)), None)


def _chain(error: BaseException) -> list[BaseException]:
    """An error, and those that led to it."""
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in found:
        found.append(each)
        each = each.__cause__ or each.__context__
    return found


def _may_pass(error: BaseException) -> bool:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "status", None)
    if isinstance(status, int):
        return status in (408, 425, 429) or status >= 500
    names = {kind.__name__ for kind in type(error).__mro__}
    # httpx and aiohttp, which may be missing, and come under other names too
    return isinstance(error, ConnectionError | TimeoutError) or bool(
        names & {"TransportError", "ClientError"}
    )
