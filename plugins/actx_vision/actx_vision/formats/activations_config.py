"""Options of the format ``activations``; imports neither torch nor numpy."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from actx_core import Config


def without_dot(name: Any) -> Any:
    """``.npy`` as ``npy``: both are said."""
    return name.removeprefix(".") if isinstance(name, str) else name


class ActivationsConfig(Config):
    """Options of ``activations``."""

    file_format: Annotated[Literal["npy", "txt"], BeforeValidator(without_dot)] = "npy"
    """``npy`` or ``txt``; ``.npy`` and ``.txt`` are accepted."""
    flatten: bool = False
    """Write a matrix, rows x values, where an array has more axes."""
