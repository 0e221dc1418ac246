"""The model ``transformers``: any language model of the package transformers, token by token and exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actx_core import (
    Activation,
    ActxError,
    Batch,
    ModelError,
    Preview,
    Sample,
    Tap,
    TapError,
)
from actx_hf.models import loading
from actx_hf.models.architecture import LOGITS, Architecture, architecture
from actx_hf.models.checking import check_hooks
from actx_hf.models.config import TransformersConfig
from actx_hf.models.gather import Gather, pair_mask
from actx_hf.models.loaded import Loaded, prefix
from actx_hf.text.document import Document, offsets, sample_columns, token_columns
from actx_hf.text.exactness import choose, row_norms
from actx_hf.text.passes import Pass, Reader, Scheme, passes
from actx_hf.text.tokens import Tokens

if TYPE_CHECKING:
    from torch import nn

    from actx_core import Pool
    from actx_core.torch import Point

MOST_TOKENS = 2048
"""Tokens read at once where the options say nothing and the model could read more."""

CHARACTERS = 2**18
"""Characters in one batch, about 64,000 tokens: all that a tap gives for them lies in memory."""

LOGITS_CHARACTERS = 2**14
"""The same where logits are taken, which are many times wider."""


@dataclass(frozen=True)
class Texts:
    """A batch on the host: its documents, and the passes that read them."""

    documents: Sequence[Document]
    passes: Sequence[Pass]


class Transformers(Loaded[TransformersConfig]):
    """A language model that gives for each text what transformers gives for it alone.

    A batch is read in several forward passes: texts are packed into rows, or put beside texts of like
    length; what the taps give is put back in the order of the texts, without padding.
    """

    accepts = "text"

    def __init__(self, config: TransformersConfig) -> None:
        super().__init__(config)
        self._gather: Gather | None = None
        self._scheme: Scheme = "bucketed"
        self._tested: Mapping[str, str] = {}

    @cached_property
    def _architecture(self) -> Architecture:
        return architecture(self.config)

    @cached_property
    def tokens(self) -> Tokens:
        """The tokenizer, with its cuts."""
        config, tokenizer = self.config, loading.tokenizer(self.config)
        limits = [self._architecture.longest, tokenizer.model_max_length]
        longest = min(n for n in limits if n is not None)
        if config.max_length > longest:
            raise ModelError(
                f"expected max_length to be at most {longest}, found {config.max_length}",
                where=str(config.name),
                hint="longer texts are cut: see the option long",
            )
        length = config.max_length or min(longest, MOST_TOKENS)
        return Tokens(tokenizer, length, config.long, config.stride or length // 2)

    def example(self, batch: int) -> Any:
        return {"input_ids": torch.zeros(batch, 2, dtype=torch.long)}

    def taps(self, example: Sample | None = None) -> Sequence[Tap]:
        """Canonical hook points and modules by their paths, in the order of the forward pass."""
        taps = [point.tap for point in self._architecture.points.values()]
        rows = [tap.name for tap in taps if tap.row_kind == "token" and not tap.problem]
        for name in self.config.norm_ratio:
            if name not in rows:
                near = ", ".join(get_close_matches(name, rows))
                raise TapError(
                    "norm_ratio names no tap with rows of tokens",
                    where=name,
                    hint=f"did you mean {near}?" if near else "actx layers lists the taps",
                )
        return taps

    def check(self) -> Mapping[str, str]:
        return check_hooks(self.config)

    def batches(self, samples: Iterable[Sample]) -> Iterator[list[Sample]]:
        """As many texts as the options say, fewer where they are long."""
        most = LOGITS_CHARACTERS if self.head else CHARACTERS
        batch: list[Sample] = []
        size = 0
        for given in samples:
            sample = _read(given)
            characters = self._characters(sample.data)
            if batch and (len(batch) == self.config.batch_size or size + characters > most):
                yield batch
                batch, size = [], 0
            batch.append(sample)
            size += characters
        if batch:
            yield batch

    def _characters(self, content: Any) -> int:
        """How many characters of a text are read, at most and about."""
        count = len(content if isinstance(content, str) else str(content))
        return min(count, 8 * self.tokens.length) if self.config.long == "truncate" else count

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        """Columns of kind ``sample`` and ``token`` are those of ``text.document``."""
        documents = self.tokens([sample.data for sample in samples])
        columns = {
            "sample": sample_columns(documents),
            "token": token_columns(documents, self.tokens.vocabulary),
        }
        self._expect_known(columns["token"]["token_id"])
        read = passes(documents, self._scheme, self._reader)
        inputs = Texts(documents, [self._pinned(each) for each in read])
        return Batch(inputs, range(len(documents)), columns, offsets(documents))

    def _expect_known(self, ids: np.ndarray) -> None:
        most, vocabulary = ids.max(initial=-1), self._architecture.vocabulary
        if most >= vocabulary:
            raise ModelError(
                f"expected token ids below {vocabulary}, the tokenizer gives {most}",
                where=str(self.config.tokenizer or self.config.name),
                hint="is it this model's tokenizer?",
            )

    def _pinned(self, each: Pass) -> Pass:
        return replace(
            each,
            inputs=self.host(each.inputs),
            source=self.host(each.source),
            target=self.host(each.target),
        )

    @property
    def _reader(self) -> Reader:
        # Attention among all tokens of a row costs their square: on the CPU more than a longer row saves.
        budget = self.config.pass_tokens or (512 if self.device.type == "cpu" else 16384)
        known = self._architecture
        return Reader(budget, known.pad, known.start, known.positions, turn=known.turn)

    def open(self, taps: Sequence[str]) -> None:
        """Load weights on the device, hook the taps, and find out how texts can be read together."""
        self.head = LOGITS in taps
        if self.head and self.whole is self.module:
            self.module = None
        super().open(taps)
        assert self.module is not None
        names = dict.fromkeys([*taps, *self.config.norm_ratio])
        points = [point for name, point in self._architecture.points.items() if name in names]
        root = self.whole if self.head and self.whole else self.module
        self._gather = Gather(root, [self._placed_in(root, each) for each in points], self.device)
        tokens = self.tokens
        with self.running():
            self._scheme, self._tested = choose(
                self._gather.by_document,
                self.config.batching,
                tokens.ordinary(self._architecture.vocabulary),
                tokens.length,
                self._reader,
                exact=self._exact,
            )

    @property
    def _exact(self) -> bool:
        plain = not (self.config.autocast or self.config.quantize)
        return plain and self.config.dtype in ("float32", "float64")

    def _placed_in(self, root: nn.Module, point: Point) -> Point:
        """The point by its path in a model with a head."""
        if root is self.module or point.tap.name == LOGITS:
            return point
        return replace(point, path=f"{prefix(root)}{point.path}".rstrip("."))

    def extract(self, batch: Batch, pool: Pool) -> Mapping[str, Activation]:
        """All passes of a batch, then the pooling; each pass ends after the last opened tap."""
        gather, inputs = self._gather, batch.inputs
        if gather is None:
            raise ModelError("no taps are open", hint="call open(taps) first")
        assert batch.offsets is not None
        try:
            with self.running():
                found = gather(inputs.passes, batch.offsets)
                ratios = {
                    f"norm_ratio.{name}": _norm_ratio(found[name], batch.offsets)
                    for name in self.config.norm_ratio
                }
                with torch.autocast(self.device.type, enabled=False):
                    return {
                        name: pool(name, self._activation(name, found.pop(name), batch, ratios))
                        for name in self.declared
                    }
        except ActxError:
            raise
        except Exception as error:
            if self.out_of_memory(error):
                raise
            lines = str(error).splitlines() or [""]
            raise ModelError(
                f"the forward pass failed: {type(error).__name__}: {lines[0]}"
            ) from error

    def _activation(
        self, name: str, array: torch.Tensor, batch: Batch, ratios: Mapping[str, np.ndarray]
    ) -> Activation:
        tap, inputs = self.declared[name], batch.inputs
        assert batch.offsets is not None
        if tap.row_kind == "token":
            return Activation(array, tap.axes[1:], offsets=batch.offsets, columns={"token": ratios})
        mask = pair_mask(inputs.passes, batch.offsets)
        mask = mask.reshape(*mask.shape, *[1] * len(tap.row_axes))
        return Activation(array, tap.axes, mask)

    def preview(self, batch: Batch) -> list[Preview | None]:
        """The tokens of each text, one beside the other."""
        names = self.tokens.vocabulary
        return [
            Preview("text", " ".join(names[each.ids]), caption=f"{len(each)} tokens")
            for each in batch.inputs.documents
        ]

    def describe(self) -> Mapping[str, Any]:
        return {
            **super().describe(),
            "tokenizer": type(self.tokens.tokenizer).__name__,
            "max_length": self.tokens.length,
            "batching": self._scheme,
            "batching_tested": dict(self._tested),
        }

    def unhook(self) -> None:
        super().unhook()
        if self._gather is not None:
            self._gather.remove()
        self._gather = None


def _read(sample: Sample) -> Sample:
    """The sample with its content; one that cannot be read says so again when it is prepared."""
    try:
        return replace(sample, data=sample.load())
    except Exception:
        return sample


def _norm_ratio(values: torch.Tensor, begins: np.ndarray) -> np.ndarray:
    """Each token's norm over the median norm of its document."""
    norms = row_norms(values.float()).cpu().numpy()
    parts = [part for part in np.split(norms, begins[1:-1]) if len(part)]
    with np.errstate(divide="ignore", invalid="ignore"):  # more than half of a text may be silent
        return np.concatenate([norms[:0], *(part / np.median(part) for part in parts)])
