"""Options of transformers models; imports neither torch nor transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)

from actx_core.packages import DataPath
from actx_core.torch import TorchConfig

GGUF = ".gguf"


def _located(value: str | Path, info: ValidationInfo) -> str | Path:
    """A folder or file as a path, a name of the hub as text."""
    text = str(value)
    if not text:
        raise ValueError("expected a name of the hub, a folder or a GGUF file, found nothing")
    path: Path = TypeAdapter(DataPath).validate_python(value, context=info.context)
    is_path = text.startswith((".", "/", "~", "package:")) or text.endswith(GGUF) or path.is_dir()
    return path if is_path else text


def _text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


Origin = Annotated[str | Path, BeforeValidator(_text), AfterValidator(_located)]
"""A name of the hub (``gpt2``, ``org/name``), or a folder: relative to the pipeline, or in a package."""


class LoadedConfig(TorchConfig):
    """What is loaded by the package transformers: from the hub, a local folder or a GGUF file."""

    name: Origin
    """Name on the hub, folder of ``save_pretrained``, or GGUF file."""
    revision: str = ""
    """Branch, tag or commit on the hub; empty: main."""
    gguf: str = ""
    """GGUF file in a folder or repository with several; a path in ``name`` that ends in .gguf needs none."""
    attention: Literal["", "eager", "sdpa", "flash_attention_2", "flex_attention"] = ""
    """How attention is computed; empty: as transformers chooses. Attention patterns need eager."""
    device_map: Literal["", "auto", "balanced", "balanced_low_0", "sequential"] = ""
    """Spread the model over all devices with accelerate, for one that is too large for a device."""
    quantize: Literal["", "8bit", "4bit"] = ""
    """Load linear layers in 8 or 4 bits (NF4, Dettmers et al. 2023) with bitsandbytes; activations are then
    close, not exact."""
    trust: bool = False
    """Allow code of the repository to run on this machine, and pickled weights to be read."""

    @model_validator(mode="after")
    def _fit(self) -> LoadedConfig:
        if self.revision and isinstance(self.name, Path):
            raise ValueError(
                f"expected no revision for the path '{self.name}': it is one of the hub"
            )
        if self.gguf and not self.gguf.endswith(GGUF):
            raise ValueError(f"expected 'gguf' to name a {GGUF} file, found '{self.gguf}'")
        if self.quantize and (self.gguf or str(self.name).endswith(GGUF)):
            raise ValueError(
                "expected 'quantize' or a GGUF file, found both: that is quantised already"
            )
        return self

    def label(self) -> str:
        return Path(str(self.name)).name.removesuffix(GGUF).lower()


class TransformersConfig(LoadedConfig):
    """A language model of the package transformers, and how it reads texts."""

    tokenizer: Origin | None = None
    """Folder or name of another tokenizer; without it, the model's own."""
    batch_size: int = Field(default=256, ge=1)
    """Texts in a batch: encoded together, read in as many forward passes as it takes, stored in order."""
    max_length: int = Field(default=0, ge=0)
    """Tokens that the model reads at once, special ones included; 0: what it can, at most 2048."""
    long: Literal["truncate", "stride", "split"] = "truncate"
    """What becomes of the rest of a longer text: left out, read in overlapping or in separate pieces."""
    stride: int | None = Field(default=None, ge=1)
    """Tokens by which pieces overlap with long = "stride"; half of max_length where nothing is said."""
    batching: Literal["auto", "packed", "bucketed"] = "auto"
    """Texts in one row, kept apart by the attention mask, or padded to texts of like length; auto: packed
    where a test with this model gives what each text gives alone."""
    pass_tokens: int = Field(default=0, ge=0)
    """Tokens in one forward pass, padding included; 0: 512 on the CPU, 16384 on other devices."""
    norm_ratio: tuple[str, ...] = ()
    """Taps for which each token's norm, over the median norm of its text, becomes a column: attention
    sinks stand out."""

    @model_validator(mode="after")
    def _strides(self) -> TransformersConfig:
        if self.stride is not None and self.long != "stride":
            raise ValueError(f"stride goes with long = 'stride', found long = '{self.long}'")
        if self.stride is not None and self.max_length and self.stride >= self.max_length:
            raise ValueError(f"expected a stride below max_length, {self.max_length}")
        return self
