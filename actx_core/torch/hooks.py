"""Forward hooks on modules by path, with the calls of each module counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import get_ident
from types import TracebackType
from typing import Any, Literal, cast

import torch
from torch import nn

from actx_core.torch.trees import first
from actx_core.types import Tap

Side = Literal["in", "out"]


@dataclass(frozen=True)
class Point:
    """Where a tap is taken: which call of which module, its input or an element of its output.

    ``front`` are the tensor's axes that come first when it is taken: that of samples, before others that
    the model names.
    """

    tap: Tap
    path: str
    call: int
    side: Side
    element: str = ""
    front: tuple[int, ...] = (0,)

    def arranged(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor with the axes ``front`` first."""
        return tensor.movedim(self.front, tuple(range(len(self.front))))


class Hooks(AbstractContextManager["Hooks"]):
    """Calls ``event(path, call, side, value)`` when a module gets its input and when it gives its result.

    ``value`` is the first tensor argument (or None), respectively the whole result. Hooks are added when
    this is made, so that they come after those of others, and are gone after ``remove``. They see the thread
    that made this, or called ``begin``: others may run the module at the same time.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        event: Callable[[str, int, Side, Any], None],
        sides: Iterable[tuple[str, Side]],
    ) -> None:
        self._event = event
        self._calls: Counter[tuple[str, Side]] = Counter()
        self._thread = get_ident()
        wanted = [(path, side) for path, side in dict.fromkeys(sides) if hookable(modules[path])]
        self._handles = [self._add(modules[path], path, side) for path, side in wanted]

    def _add(self, module: nn.Module, path: str, side: Side) -> Any:
        def event(value: Any) -> None:
            if get_ident() == self._thread:
                self._calls[path, side] += 1
                self._event(path, self._calls[path, side] - 1, side, value)

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            event(first(args, kwargs))

        def after(_: nn.Module, args: tuple[Any, ...], result: Any) -> None:
            event(result)

        if side == "in":
            return module.register_forward_pre_hook(before, with_kwargs=True)
        return module.register_forward_hook(after)

    def begin(self) -> None:
        """Count from zero: a forward pass begins."""
        self._calls.clear()
        self._thread = get_ident()

    def remove(self) -> None:
        """Take all hooks off; safe to call twice."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()


def innermost(module: nn.Module) -> nn.Module:
    """The module inside the wrappers of ``torch.compile`` and data-parallel training."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    inside: Any = module
    while isinstance(inside, parallel) or "_orig_mod" in inside._modules:
        inside = inside.module if isinstance(inside, parallel) else inside._orig_mod
    return cast("nn.Module", inside)


def paths(module: nn.Module) -> dict[str, nn.Module]:
    """Every module by its path, the root under ``""``; ``torch.compile`` adds nothing to a path."""
    found: dict[str, nn.Module] = {}
    for name, child in module.named_modules():
        # A compiled module and its original get one path; the original comes last, and stays.
        found[".".join(part for part in name.split(".") if part != "_orig_mod")] = child
    return found


def hookable(module: nn.Module) -> bool:
    """Whether a module can call hooks: TorchScript cannot."""
    return not isinstance(module, torch.jit.ScriptModule)


def eager(module: nn.Module) -> AbstractContextManager[Any]:
    """Where anything in the module is compiled, run it as written: compiled code calls no hooks."""
    compiled = (
        "_orig_mod" in child._modules or child._compiled_call_impl is not None
        for child in module.modules()
        if hookable(child)
    )
    return torch.compiler.set_stance("force_eager") if any(compiled) else nullcontext()
