"""Options of the model of actx-katago; imports neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from actx_core import InputPath
from actx_core.packages import DataPath
from actx_core.torch import TorchConfig

ENDINGS = (".bin.gz", ".txt.gz", ".bin", ".txt", ".gz", ".ckpt", ".zip")
"""Endings of network files."""

Side = Annotated[int, Field(ge=2, le=19)]
"""Points along one side of a board."""


class KatagoConfig(TorchConfig):
    """Options of ``katago``."""

    name_field: ClassVar[str] = "network"

    network: DataPath | None = None
    """The network: .bin.gz, .bin, .txt.gz, .txt, .ckpt, or a zip or folder that holds model.ckpt."""
    layer_selection: InputPath | None = None
    """A layer_selection.yml that says the network, its layer, the board size and the pooling."""
    swa: bool = True
    """Of a checkpoint, take the averaged weights where it has them, as the released networks do."""
    board_size: Side | tuple[Side, Side] | None = None
    """Only boards of this size (one number, or [y, x]): arrays keep y and x. Default: any, masked."""
    symmetry: Literal["", "average"] = ""
    """``average``: run every position in all 8 symmetries, turn the activations back, average them."""

    def label(self) -> str:
        name = self.network.name if self.network else ""
        return next((name.removesuffix(e) for e in ENDINGS if name.endswith(e)), name)

    @property
    def size(self) -> tuple[int, int] | None:
        """``board_size`` as (y, x)."""
        size = self.board_size
        return (size, size) if isinstance(size, int) else size

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.network is None) == (self.layer_selection is None):
            raise ValueError(
                "say either network, a file such as 'net.bin.gz', or layer_selection, a .yml file"
            )
        return self

    def expand(self, given: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if self.layer_selection is None:
            return ()
        from actx_katago.model.selection import read_selection

        table = read_selection(self.layer_selection).table(given["layer_selection"])
        if {"tap", "taps"} & given.keys():
            del table["tap"]
        return [table | {key: given[key] for key in given if key != "layer_selection"}]
