"""Runs a pipeline many times, each killed with SIGKILL at another file operation, then resumed.

A process of its own, which forks before any thread exists: ``python kills.py SPEC FOLDER COUNT [FILE
MODULE …]``. Each trial is a run in FOLDER/N that dies at its N-th rename or deletion and is then repeated.
There are COUNT trials over the whole run, and two at each operation that reads like FILE (``replace
a.npy``), right before it and right after it. ``{out}`` in SPEC stands for FOLDER/N, MODULEs are imported
before. Prints, as JSON, at which operation each trial died.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

# What a run imports on the way is imported before the fork, once for all trials.
import h5py  # noqa: F401
import jinja2  # noqa: F401
import pyarrow.csv
import pyarrow.parquet  # noqa: F401

from actx_core import Pipeline
from actx_core.stores import hdf5, npy, parquet  # noqa: F401


def counted(limit: int | None, after: bool, done: list[str]) -> None:
    """Count renames and deletions; die right before the ``limit``-th, or right ``after`` it."""

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object, **options: object) -> object:
            done.append(f"{name} {Path(str(args[-1])).name}")
            if limit is not None and len(done) == limit:
                if after:
                    with suppress(OSError):
                        real(*args, **options)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        setattr(os, name, call)

    for name in ("replace", "unlink", "rmdir"):
        wrap(name)


def attempt(spec: dict, out: Path, limit: int | None, after: bool = False) -> tuple[int, list[str]]:
    """One run in a child; its wait status and the operations it did, if it lived."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        done: list[str] = []
        code = 1
        try:
            counted(limit, after, done)
            spec = json.loads(json.dumps(spec).replace("{out}", str(out)))
            spec["run"]["out"] = str(out)
            for _ in Pipeline.from_dict(spec).run():
                pass
            os.write(write, json.dumps(done).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    return os.waitpid(child, 0)[1], json.loads(text or "[]")


def main() -> None:
    spec, folder, count = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    file, *modules = sys.argv[4:] or ["nothing of that name"]
    for module in modules:
        import_module(module)
    status, operations = attempt(spec, folder / "whole", None)
    assert status == 0
    died = {}
    limits = [1 + trial * len(operations) // count for trial in range(count)]
    trials = [(limit, limit % 2 == 1) for limit in limits]
    named = [number for number, operation in enumerate(operations, 1) if file in operation]
    trials += [(number, after) for number in named for after in (False, True)]
    for limit, after in dict.fromkeys(trials):
        out = folder / f"{limit}{'+' * after}"
        status, _ = attempt(spec, out, limit, after)
        assert os.WIFSIGNALED(status), f"{limit}: not killed"
        assert os.WTERMSIG(status) == signal.SIGKILL
        status, _ = attempt(spec, out, None)
        assert status == 0, f"{limit}: did not resume"
        died[out.name] = operations[limit - 1]
    print(json.dumps(died))


if __name__ == "__main__":
    main()
