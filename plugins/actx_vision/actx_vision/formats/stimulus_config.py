"""Options of the format ``stimulus-hdf5``; imports neither torch nor numpy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from actx_core import Config


def _part_of_a_name(prefix: str) -> str:
    if not prefix or "/" in prefix or "\\" in prefix:
        raise ValueError("expected the beginning of a file name; the folder is `path`")
    return prefix


class StimulusHdf5Config(Config):
    """Options of ``stimulus-hdf5``."""

    prefix: Annotated[str, AfterValidator(_part_of_a_name)] = "model_activations"
    """What the files are called before ``_SOURCE.h5``."""
    missing: Literal["raise", "skip"] = "raise"
    """What a stimulus does that was skipped or lacks a replicate or layer: refuse, or leave it out."""
    replace: bool = False
    """Write a model anew that is in the file with other content, instead of refusing."""
