"""The options of the toy plugin, of every type that pipelines hold."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from actx_core.contracts import Config, InputPath, ModelConfig, Pooler
from actx_core.errors import ModelError


def _tuple(value):
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_tuple)]


class Resize(Config):
    size: int = 224
    mode: Literal["bilinear", "bicubic", "nearest"] = "bilinear"


class ToyConfig(ModelConfig):
    """Options of the toy."""

    name: str = "small"
    width: int = Field(default=8, ge=1, le=512)
    rate: float = Field(default=0.5, gt=0, lt=1)
    seed: int = 0
    device: str = "cpu"
    weights: InputPath | None = None
    resize: Resize | None = None
    layers: int | list[int] = 2
    step: Resize | str = ""
    names: Names = ()
    even: int = 2
    free: Any = None
    trust: bool = False

    def label(self):
        return self.name

    @field_validator("even")
    @classmethod
    def _even(cls, value):
        if value % 2:
            raise ValueError("Expected an even number")
        return value

    @model_validator(mode="after")
    def _known(self):
        if self.name == "secret":
            raise ModelError("no weights are known for 'secret'", hint="take 'small'")
        if self.name == "huge" and self.width < 100:
            raise ValueError("a huge model needs width >= 100")
        return self


class FilesConfig(Config):
    path: InputPath
    """Where the files are."""
    seed: int = 3

    def label(self):
        return self.path.stem


class Average(Pooler):
    """Averages."""

    over: Names
    seed: int = 1

    def tap(self, tap):
        return tap

    def __call__(self, activation, batch):
        return activation


class GroupsConfig(Config):
    k: int | list[int] = 2
    seed: Annotated[int, Field(ge=0, lt=1000)] = 0


class FarmConfig(Config):
    workers: int = Field(ge=1)
    """How many."""


class CsvConfig(Config):
    digits: int = 6


class NoConfig:
    pass
