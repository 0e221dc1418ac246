"""actx: any model + any data into a verified, resumable store of activations.

Importing this package imports nothing heavy; public names are loaded on first use.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actx_core.contracts import (
        Analyzer,
        Config,
        Executor,
        Format,
        Input,
        InputPath,
        LazyArray,
        ListedSource,
        Model,
        ModelConfig,
        Pooler,
        Source,
        Store,
    )
    from actx_core.errors import (
        ActxError,
        AnalysisError,
        ComponentConflict,
        ComponentNotFound,
        ConfigError,
        ExecutionError,
        Interrupted,
        ModelError,
        OutOfMemory,
        PluginError,
        SourceError,
        StoreError,
        TapError,
    )
    from actx_core.extract import extract
    from actx_core.files import atomic, sha256_file
    from actx_core.hookspecs import Component, hookimpl
    from actx_core.results import Run, open_run
    from actx_core.run import Pipeline
    from actx_core.tap_array import TapArray
    from actx_core.types import (
        Activation,
        ArraySpec,
        Batch,
        Checkpoint,
        Job,
        Pool,
        Preview,
        Progress,
        Receipt,
        Result,
        Sample,
        Shard,
        Stage,
        Tap,
    )

__version__ = "0.1.0"

_HOMES = {
    "contracts": (
        "Analyzer Config Executor Format Input InputPath LazyArray ListedSource Model ModelConfig"
        " Pooler Source Store"
    ),
    "errors": (
        "ActxError AnalysisError ComponentConflict ComponentNotFound ConfigError ExecutionError"
        " Interrupted ModelError OutOfMemory PluginError SourceError StoreError TapError"
    ),
    "extract": "extract",
    "files": "atomic sha256_file",
    "hookspecs": "Component hookimpl",
    "results": "Run open_run",
    "run": "Pipeline",
    "tap_array": "TapArray",
    "types": (
        "Activation ArraySpec Batch Checkpoint Job Pool Preview Progress Receipt Result Sample Shard"
        " Stage Tap"
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Activation",
    "ActxError",
    "AnalysisError",
    "Analyzer",
    "ArraySpec",
    "Batch",
    "Checkpoint",
    "Component",
    "ComponentConflict",
    "ComponentNotFound",
    "Config",
    "ConfigError",
    "ExecutionError",
    "Executor",
    "Format",
    "Input",
    "InputPath",
    "Interrupted",
    "Job",
    "LazyArray",
    "ListedSource",
    "Model",
    "ModelConfig",
    "ModelError",
    "OutOfMemory",
    "Pipeline",
    "PluginError",
    "Pool",
    "Pooler",
    "Preview",
    "Progress",
    "Receipt",
    "Result",
    "Run",
    "Sample",
    "Shard",
    "Source",
    "SourceError",
    "Stage",
    "Store",
    "StoreError",
    "Tap",
    "TapArray",
    "TapError",
    "atomic",
    "extract",
    "hookimpl",
    "open_run",
    "sha256_file",
]


class _Package(ModuleType):
    """Importing the submodule ``extract`` does not bind its name, which is that of the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _HOME or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'actx_core' has no attribute {name!r}")
    value = getattr(import_module(f"actx_core.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
