"""Finds the canonical hook points of a transformers model from the structure of one dry forward pass."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from actx_core import ModelError
from actx_hf.hooks.blocks import Block, in_order, is_norm
from actx_hf.hooks.inputs import attempts
from actx_hf.hooks.places import Hooks, Identity, Place
from actx_hf.hooks.trace import Trace, trace

_BETWEEN = ("resid_mid", "resid_cross")
"""The stream after a block's attention, and after its cross-attention."""
_WITHIN = ("resid_mid", "attn_out", "attn.pattern", "z", "mlp_out", "mlp.post", "mlp.act")
"""What only a block of attention and MLP has."""


def resolve(module: nn.Module) -> Hooks:
    """The canonical hook points of a module, which may be without weights (on the meta device).

    A module with its head has ``logits`` too. One whose blocks are not found has the problem ``blocks``;
    its raw module paths can be taken all the same. Raises ModelError where it cannot be run.
    """
    passed = _pass(module)
    stacks = _stacks(module, passed)
    prefixes = _prefixes(list(stacks))
    found = _Found(passed, str(getattr(module.config, "_attn_implementation", "")))
    for prefix, path in prefixes.items():
        found.stack(prefix, path, stacks[path])
    if not stacks:
        found.problems["blocks"] = "it has no list of blocks that hand on a residual stream"
    found.logits()
    return Hooks(
        in_order(found.places.items(), passed),
        found.problems,
        {prefix: len(stacks[path]) for prefix, path in prefixes.items()},
        prefixes,
        tuple(found.identities),
    )


def _pass(module: nn.Module) -> Trace:
    error: Exception | None = None
    for inputs in attempts(module):
        try:
            return trace(module, inputs)
        except Exception as failed:  # any library's own error
            error = error or failed
    lines = str(error).splitlines() or [type(error).__name__]
    raise ModelError(f"{type(module).__name__} cannot be run: {lines[0]}") from error


def _stacks(module: nn.Module, passed: Trace) -> dict[str, list[str]]:
    """Paths of the blocks of each ModuleList whose members hand on a residual stream."""
    found: dict[str, list[str]] = {}
    for path, part in module.named_modules():
        outer = any(path.startswith(f"{known}.") for known in found)
        stage = any(map(str.isdecimal, path.split(".")))  # one of several, in a list of its own
        if isinstance(part, nn.ModuleList) and len(part) and not outer and not stage:
            blocks = [f"{path}.{i}" for i in range(len(part))]
            if _streams(blocks, passed):
                found[path] = blocks
    known = {block for blocks in found.values() for block in blocks}
    others = {
        type(part)
        for path, part in module.named_modules()
        if path in passed.inputs and path not in known
    }
    # Where others of its kind are elsewhere, a list is only one stage of several.
    alone = (path for path in found if type(module.get_submodule(f"{path}.0")) not in others)
    return {path: found[path] for path in alone}


def _streams(blocks: list[str], passed: Trace) -> bool:
    if any(path not in passed.inputs or path not in passed.outputs for path in blocks):
        return False
    if any(passed.called[path] > 1 for path in blocks):
        return False  # a block for several layers has no single input and result
    handed = all(passed.outputs[a] == passed.inputs[b] for a, b in pairwise(blocks))
    return (
        handed
        and passed.axes[blocks[0]] == 3
        and all(Block(passed, path).segments for path in blocks)
    )


def _prefixes(paths: list[str]) -> dict[str, str]:
    """``blocks`` for the only stack; else each one's own name before it: ``encoder.blocks``."""
    if not paths:
        return {}
    if len(paths) == 1:
        return {"blocks": paths[0]}
    parts = [path.split(".") for path in paths]
    own = next(i for i, names in enumerate(zip(*parts, strict=False)) if len(set(names)) > 1)
    return {f"{names[own]}.blocks": path for names, path in zip(parts, paths, strict=True)}


class _Found:
    """Collects places, problems and identities of a trace."""

    def __init__(self, passed: Trace, attention: str) -> None:
        self.passed, self.attention = passed, attention
        self.places: dict[str, Place] = {}
        self.problems: dict[str, str] = {}
        self.identities: list[Identity] = []

    def stack(self, prefix: str, path: str, blocks: list[str]) -> None:
        """All names of one stack."""
        before = prefix.removesuffix("blocks")
        self.places[f"{before}embed"] = Place(blocks[0], "in")
        for i, block in enumerate(blocks):
            self._block(f"{prefix}.{i}", Block(self.passed, block))
            if i:
                self.identities.append(
                    Identity(f"{prefix}.{i}.resid_pre", (f"{prefix}.{i - 1}.resid_post",))
                )
        end = self.passed.outputs[blocks[-1]]
        norms = [
            call
            for call in self.passed.calls
            if call.got == end and is_norm(call.module) and not call.path.startswith(f"{path}.")
        ]
        self._add(
            f"{before}final_norm",
            Place(norms[0].path, "out") if norms else None,
            "no norm is applied to the result of the last block",
        )

    def logits(self) -> None:
        """The head's result."""
        place = Place("", "out", "logits") if "logits" in self.passed.results else None
        self._add("logits", place, "the model has no head that gives logits")

    def _block(self, name: str, block: Block) -> None:
        places = {
            place.side: place
            for value in (block.end, block.start)
            for _, place in self.passed.seen[value]
            if place.path == block.path
        }
        self.places[f"{name}.resid_pre"] = places["in"]
        self.places[f"{name}.resid_post"] = places["out"]
        segments = block.segments or []
        parts = [part for segment in segments for part in segment.parts]
        attention = [part for part in parts if block.is_attention(part)]
        rest = [part for part in parts if part not in attention]
        if len(rest) != 1 or len(attention) not in (1, 2):
            why = f"the block adds {len(attention)} attentions and {len(rest)} other terms"
            self.problems |= {f"{name}.{point}": why for point in _WITHIN}
            return
        named = dict(zip(attention, ("attn_out", "cross_attn_out"), strict=False))
        named[rest[0]] = "mlp_out"
        for part, point in named.items():
            self._add(
                f"{name}.{point}", block.place(part), "what the block adds is no module's result"
            )
        self._inside_attention(name, block, attention[0])
        self._inside_mlp(name, block, rest[0])
        self._sums(name, block, named)

    def _inside_attention(self, name: str, block: Block, attention: int) -> None:
        why = "no linear layer gives what attention adds"
        self._add(f"{name}.z", block.projection(attention), why)
        patterns = block.patterns(attention)
        place = next(iter(filter(None, map(block.place, patterns))), None)
        why = "no module returns the attention pattern"
        if self.attention != "eager":
            why = f"only attention = 'eager' gives patterns; this is '{self.attention}'"
        self._add(f"{name}.attn.pattern", place, why)

    def _inside_mlp(self, name: str, block: Block, mlp: int) -> None:
        neurons = block.projection(mlp)
        if neurons is None:
            why = "no linear layer gives what the MLP adds"
            if block.has_experts:
                why = "the experts are fused: no module gets their neurons"
            self.problems[f"{name}.mlp.post"] = self.problems[f"{name}.mlp.act"] = why
            return
        self.places[f"{name}.mlp.post"] = neurons
        act = block.activation(neurons)
        place = None if act is None else block.place(act)
        self._add(f"{name}.mlp.act", place, "the activation function is not a module")

    def _sums(self, name: str, block: Block, named: dict[int, str]) -> None:
        """The stream between the block's sums, and the identities along it."""
        *between, last = block.segments or []
        mlp = next(part for part, point in named.items() if point == "mlp_out")
        if any(block.reads(mlp, segment.after) for segment in between):
            for segment, point in zip(between, _BETWEEN, strict=False):
                self._add(f"{name}.{point}", block.place(segment.after), "no module gets it")
            points = [*_BETWEEN[: len(between)], "resid_post"]
        else:
            self.problems[f"{name}.resid_mid"] = (
                "attention and MLP are parallel: both read resid_pre, nothing reads a sum between"
            )
            points = ["" for _ in between] + ["resid_post"]
        terms = [f"{name}.resid_pre"]
        for segment, point in zip([*between, last], points, strict=True):
            terms += [f"{name}.{named[part]}" for part in segment.parts]
            result = f"{name}.{point}"
            if result in self.places:
                if not segment.scaled and all(term in self.places for term in terms):
                    self.identities.append(Identity(result, tuple(terms), tuple(segment.norms)))
                terms = [result]
            elif segment.norms or segment.scaled:
                return  # what is changed unseen is no sum of what is seen

    def _add(self, name: str, place: Place | None, problem: str) -> None:
        if place is None:
            self.problems[name] = problem
        else:
            self.places[name] = place
