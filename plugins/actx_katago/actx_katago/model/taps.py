"""The names of a KataGo network's taps: what is offered, and which other names mean the same tensor.

Two tensors are easily confused. ``blocks.9`` is what block 9 adds (its residual), ``trunk_after_block9`` the
stream after it. KataGo's blocks returned the sum until v1.16.4 and return the residual since: what people
called ``trunk_block_9`` or ``rconv10.out`` is the stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_STREAM = re.compile(r"trunk_after_block(\d+)")
_BLOCK = re.compile(r"blocks\.\d+")
_CONV = re.compile(r"blocks\.(\d+)(\.(?:.+\.)?normactconv\w)")
_ATTENTION = re.compile(r"blocks\.(\d+)(\.(?:.+\.)?attn_weights)")

HEADS = re.compile(r"(lens\.(?:\d+|embedding)\.)?(policy|value|score|ownership|prediction)(\.\w+)?")
"""The names of heads: of the network, and of the logit lens after a block or the embedding."""


def aliases(names: Iterable[str]) -> dict[str, str]:
    """Other names of taps, such as people, checkpoints and KataGo's own ExtraOutputs use."""
    found = {
        "trunk_after_embedding": "trunk.embedding",
        "trunkfinal": "trunk.final",
        "trunk_final": "trunk.final",
        **{f"output.{name}": name for name in ("policy", "value", "score", "ownership")},
    }
    known = dict.fromkeys(names)
    for name in known:
        if stream := _STREAM.fullmatch(name):
            i = int(stream[1])
            others = (f"trunk_block_{i}", f"trunk_block_{i}_output", f"trunk_block{i}")
            found |= dict.fromkeys((*others, f"rconv{i + 1}", f"rconv{i + 1}.out"), name)
        elif _BLOCK.fullmatch(name):
            found[f"model.{name}"] = name
        elif conv := _CONV.fullmatch(name):
            found[f"rconv{int(conv[1]) + 1}{conv[2]}.out"] = name
        elif attention := _ATTENTION.fullmatch(name):
            found[f"rconv{int(attention[1]) + 1}{attention[2]}"] = name
    return {other: name for other, name in found.items() if name in known and other not in known}


def lens_stream(prefix: str) -> str:
    """The stream that a lens looks through: ``lens.3.`` means trunk_after_block3."""
    where = prefix.split(".")[1]
    return "trunk.embedding" if where == "embedding" else f"trunk_after_block{where}"
