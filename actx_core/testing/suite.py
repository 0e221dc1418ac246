"""What all suites share: they stay whole, and Configs are checked alike."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from actx_core.contracts import Config


class Suite:
    """Base of the suites."""

    def test_suite_is_whole(self) -> None:
        """No inherited test was replaced; one that must fail may be marked xfail, with a reason."""
        given: dict[str, Any] = {}
        for base in type(self).__mro__:
            if base.__module__.startswith("actx_core.testing"):
                tests = {name: t for name, t in vars(base).items() if name.startswith("test_")}
                given = tests | given
        replaced = [
            name
            for name, test in given.items()
            if (own := getattr(type(self), name)) is not test and not _excused(own)
        ]
        assert not replaced, (
            f"inherited tests were replaced: {', '.join(replaced)}. Call the inherited one and mark it"
            " xfail(reason=...) instead"
        )


def _excused(test: Any) -> bool:
    marks = getattr(test, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)


def check_config(config: Config) -> None:
    """A Config survives pickle and JSON, and says what each of its fields means."""
    kind = type(config)
    assert pickle.loads(pickle.dumps(config)) == config, "the Config changes when it is pickled"
    again = kind.model_validate(config.model_dump(mode="json"))
    assert again == config, "the Config changes when it is written as JSON and read again"
    check_described(kind)


def check_described(kind: type[Config]) -> None:
    """A Config has a JSON schema, and every field a description: editors and docs show them."""
    assert kind.model_json_schema()
    silent = [name for name, field in kind.model_fields.items() if not field.description]
    assert not silent, f"{kind.__name__}: no docstring below the field {', '.join(silent)}"


def again(component: Any) -> Any:
    """A new instance with the same options, as a worker makes it."""
    return type(component)(pickle.loads(pickle.dumps(component.config)))


def in_another_process(function: Callable[..., Any], *args: Any) -> Any:
    """What an importable function returns in another process."""
    code = (
        "import pickle, sys; function, args = pickle.load(sys.stdin.buffer); result = function(*args);"
        " sys.stdout.flush(); sys.stdout.buffer.write(b'\\0' + pickle.dumps(result))"
    )
    return pickle.loads(python(code, stdin=pickle.dumps((function, args))).partition(b"\0")[2])


def python(code: str, *args: str, stdin: bytes = b"") -> bytes:
    """What code prints in a process with the same path and another hash seed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "4242"}
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        input=stdin,
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout
