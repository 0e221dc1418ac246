"""A KataGo network as it stands in a file: read it, look at it, change its weights, write it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np

from actx_core import ModelError, atomic, sha256_file
from actx_katago.network.check import check, check_variances
from actx_katago.network.container import checkpoint_members, kind_of, resolve, unpacked
from actx_katago.network.description import Description
from actx_katago.network.fields import Layer, walk
from actx_katago.network.grammar import read_layer, write_layer
from actx_katago.network.layers import Norm
from actx_katago.network.tokens import Array, TokenReader, TokenWriter

Kind = Literal["bin", "txt", "ckpt"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,96}")


@dataclass(frozen=True)
class NetworkFile:
    """A network without torch: what it is made of, and its numbers.

    ``weights`` are float32 arrays by ``path.name``, in the order of the file: convolutions as
    (out, in, y, x), linear maps as (out, in), statistics of a norm as ``mean``, ``variance``, ``scale``,
    ``bias``. ``sha256`` is that of the file as stored. ``swa`` says of a checkpoint whether the averaged
    weights were taken; None for other files.
    """

    description: Description
    weights: Mapping[str, Array] = field(repr=False)
    kind: Kind = "bin"
    path: Path | None = None
    sha256: str = ""
    swa: bool | None = None

    @property
    def parameters(self) -> int:
        """How many numbers the network computes with: two per channel of a norm, and all weights."""
        return sum(_size(layer) for _, layer in walk(self.description))

    @property
    def header(self) -> dict[str, Any]:
        """The facts of ``actx katago info``."""
        top = self.description
        head = top.policy_head
        return {
            "name": top.name,
            "version": top.version,
            "input_version": top.input_version,
            "n_spatial": top.n_spatial,
            "n_global": top.n_global,
            "n_meta": top.n_meta,
            "blocks": len(top.trunk.blocks),
            "channels": top.trunk.channels,
            "block_kinds": list(dict.fromkeys(block.token for block in top.trunk.blocks)),
            "policies": head.conv2p.c_out,
            "parameters": self.parameters,
            "sha256": self.sha256,
            "kind": self.kind,
            "swa": self.swa,
        }

    def edited(self, weights: Mapping[str, Array], *, name: str = "") -> NetworkFile:
        """The same network with some weights replaced, and a new name; raises ModelError for a misfit."""
        for path, array in weights.items():
            if path not in self.weights:
                raise ModelError("the network has no such weights", where=path)
            if array.shape != self.weights[path].shape:
                expected, found = list(self.weights[path].shape), list(array.shape)
                raise ModelError(f"expected shape {expected}, found {found}", where=path)
            if not np.isfinite(array).all():
                raise ModelError("the new weights are not all finite", where=path)
        new = {path: np.asarray(array, np.float32) for path, array in weights.items()}
        description = replace(self.description, name=name or self.description.name)
        return replace(
            self,
            description=description,
            weights={**self.weights, **new},
            path=None,
            sha256="",
        )


def _size(layer: Layer) -> int:
    if isinstance(layer, Norm):
        return 2 * layer.channels
    return sum(int(np.prod(shape)) for shape in layer.arrays().values())


def read_network(path: str | Path, *, swa: bool = True) -> NetworkFile:
    """Read a network of version 3 to 17 to its last byte.

    ``path`` is a ``.bin.gz``, ``.bin``, ``.txt.gz``, ``.txt`` or ``.ckpt`` file, one of KataGo's zip files,
    or a folder with ``model.ckpt``; the content decides, not the name. Of a checkpoint ``swa`` takes the
    averaged weights, which are those that KataGo releases, where it has them. Raises ModelError, which
    names the file and the layer.
    """
    file = resolve(Path(path))
    if kind_of(file) == "checkpoint":
        from actx_katago.network.checkpoint import read_checkpoint

        description, weights, averaged = read_checkpoint(file, checkpoint_members(file), swa=swa)
        found = NetworkFile(description, weights, "ckpt", file, sha256_file(file), averaged)
    else:
        tokens = TokenReader(unpacked(file), str(file))
        weights = {}
        description = cast("Description", read_layer(tokens, Description, weights))
        tokens.end()
        kind: Kind = "bin" if tokens.binary else "txt"
        found = NetworkFile(description, weights, kind, file, sha256_file(file))
    check(found.description, str(file))
    check_variances(found.description, weights, str(file))
    return found


def write_network(network: NetworkFile, path: str | Path) -> None:
    """Write a network where KataGo's engine can load it: ``.bin.gz``, ``.bin``, ``.txt.gz`` or ``.txt``.

    What KataGo exported to a ``.bin`` or ``.bin.gz`` file comes out with the same bytes, once unpacked;
    the packing itself may differ. Decimals are written so that they read back exactly. Raises ModelError
    for a name that the engine refuses, or a network that does not fit together.
    """
    path = Path(path)
    suffixes = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if suffixes not in (".bin", ".bin.gz", ".txt", ".txt.gz"):
        raise ModelError(
            f"expected a name that ends in .bin.gz, .bin, .txt.gz or .txt, found '{path.name}'",
            where=str(path),
        )
    if not _NAME.fullmatch(network.description.name):
        raise ModelError(
            f"'{network.description.name}' cannot be the name of a network",
            hint="KataGo takes up to 96 letters, digits, '-' and '_'",
        )
    check(network.description)
    with atomic(path) as temporary, temporary.open("wb") as file:
        binary = suffixes.startswith(".bin")
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packing:
                _write(network, cast("BinaryIO", packing), binary=binary)
        else:
            _write(network, file, binary=binary)


def content(network: NetworkFile) -> bytes:
    """The unpacked bytes of the network as a ``.bin`` file."""
    stream = BytesIO()
    _write(network, stream, binary=True)
    return stream.getvalue()


def _write(network: NetworkFile, file: BinaryIO, *, binary: bool) -> None:
    write_layer(TokenWriter(file, binary=binary), network.description, network.weights)
