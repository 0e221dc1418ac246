"""From texts to the token ids that an open_clip text tower gets, and which of them are padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import open_clip

from actx_core import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Tokens:
    """``ids`` (texts, length) are padded at the end; the first ``counts`` of each text are real.

    ``special`` marks tokens that stand for no text; ``truncated`` the texts that were too long.
    """

    ids: torch.Tensor
    counts: np.ndarray
    special: np.ndarray
    truncated: np.ndarray


class Tokenizer:
    """The tokenizer of a model: CLIP's own, or one of the package transformers."""

    def __init__(self, name: str) -> None:
        try:
            self._own = open_clip.get_tokenizer(name)
        except Exception as error:  # the hub, its cache and transformers each have their own
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(
                f"the tokenizer of '{name}' is not to be had: {reason}",
                hint="it comes with the package transformers and from the hub; tower = 'image' needs none",
            ) from error
        self._inner: Any = getattr(self._own, "tokenizer", None)
        self._lock = Lock()  # a tokenizer of transformers serves one thread at a time

    def __call__(self, texts: Sequence[str]) -> Tokens:
        with self._lock:
            ids = self._own(list(texts))
            counts = self._counts(texts, ids)
            full = counts == ids.shape[1]
            truncated = np.array(
                [
                    bool(n) and self._longer(text, ids.shape[1])
                    for n, text in zip(full, texts, strict=True)
                ]
            )
        source = self._inner or self._own
        special = np.isin(ids.numpy(), list(source.all_special_ids))
        return Tokens(ids, counts, special, truncated)

    def text(self, ids: Sequence[int]) -> str:
        """The tokens in words."""
        text: str = (self._inner or self._own).decode(ids)
        return text

    def _counts(self, texts: Sequence[str], ids: torch.Tensor) -> np.ndarray:
        """Real tokens of each text. Never told by the id: CLIP pads with 0, which is also '!'."""
        if self._inner is None:
            ends = ids.numpy() == self._own.eot_token_id
            return np.asarray(ids.shape[1] - ends[:, ::-1].argmax(1))
        length = ids.shape[1]
        encoded = self._inner(
            [self._own.clean_fn(text) for text in texts],
            max_length=length, padding="max_length", truncation=True, return_attention_mask=True,
        )  # fmt: skip
        counts: np.ndarray = np.sum(encoded["attention_mask"], axis=1)
        return counts

    def _longer(self, text: str, length: int) -> bool:
        if self._inner is None:
            return len(self._own.encode(text)) + 2 > length
        return len(self._inner(self._own.clean_fn(text))["input_ids"]) > length
