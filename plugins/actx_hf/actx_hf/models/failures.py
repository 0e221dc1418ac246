"""Makes one line of what transformers and the hub have to say when something cannot be loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.errors import GatedRepoError
from transformers.utils import logging as messages

from actx_core import ActxError, ModelError
from actx_hf.models.config import LoadedConfig

_SIGNS = (
    ("trust_remote_code", "it needs code of its repository: say trust = true if you know it"),
    ("no file named model.safetensors", "its weights are pickled, which may run code:"
     " convert them to safetensors, or say trust = true if you know them"),
    ("accelerate", "pip install accelerate"),
    ("bitsandbytes", "pip install bitsandbytes accelerate"),
    ("gguf", "pip install 'actx-hf[gguf]'"),
    ("connect to", "it is not on this machine and the hub cannot be reached: download it once where there"
     " is a network, or give a folder"),
    ("not a valid model identifier", "is the name right? a private model needs HF_TOKEN"),
    ("gated", "accept its licence on the hub, and set HF_TOKEN to a token of that account"),
    ("401", "set HF_TOKEN to a token that may read it"),
)  # fmt: skip


@contextmanager
def reported(config: LoadedConfig, name: str | Path = "") -> Iterator[None]:
    """Within, transformers is silent, and its errors become one ModelError with a hint."""
    level = messages.get_verbosity()
    bars = messages.is_progress_bar_enabled()
    messages.set_verbosity(logging.CRITICAL)
    messages.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    except (ActxError, MemoryError):
        raise
    except Exception as error:  # transformers, the hub and safetensors each have their own
        raise as_model_error(error, str(name or config.name)) from error
    finally:
        messages.set_verbosity(level)
        if bars:
            messages.enable_progress_bar()  # type: ignore[no-untyped-call]


def as_model_error(error: Exception, name: str) -> ModelError:
    """The error in its first line, with what to do."""
    lines = str(error).strip().splitlines()
    text = "gated" if isinstance(error, GatedRepoError) else str(error)
    hint = next((hint for sign, hint in _SIGNS if sign.lower() in text.lower()), "")
    return ModelError(
        f"cannot be loaded: {lines[0] if lines else type(error).__name__}", where=name, hint=hint
    )
