"""One driver at a time in a run folder; slices may share it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actx_core.errors import ExecutionError, StoreError

try:
    import fcntl
except ImportError:  # Windows: the user is trusted to start one driver
    fcntl = None  # type: ignore[assignment]


@contextmanager
def lock(folder: Path, shared: bool = False, name: str = ".lock") -> Iterator[None]:
    """Hold the folder; ``.lock`` is refused at once when taken, any other name is waited for.

    Raises ExecutionError when another process holds it, StoreError when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / name).open("a")
    except OSError as error:
        raise StoreError(
            f"the folder of the run cannot be written: {error.strerror}",
            where=str(folder),
            hint="set run.out to a folder that you may write",
        ) from error
    with file:
        if fcntl is not None:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            try:
                fcntl.flock(file, kind | (fcntl.LOCK_NB if name == ".lock" else 0))
            except BlockingIOError as error:
                raise ExecutionError(
                    "another actx process works on this run",
                    where=str(folder),
                    hint="wait for it, or start all of them with --slice i/n",
                ) from error
        yield
