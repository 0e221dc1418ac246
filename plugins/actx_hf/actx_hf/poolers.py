"""Poolers of language models: words from the tokens that they were cut into."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from actx_core import Activation, Batch, ModelError, Pooler, Tap, TapError

if TYPE_CHECKING:
    import numpy as np


class Words(Pooler):
    """Rows of words instead of tokens; a word is what stands between blanks, as for NeuroX.

    Only tokens that are kept count, and only words that have one become rows. The mean is taken in
    float32 (float64 for float64).
    """

    take: Literal["first", "last", "mean"] = "last"
    """Which of a word's tokens stands for it, or the mean of all."""

    def tap(self, tap: Tap) -> Tap:
        if "token" not in tap.varying:
            raise TapError(
                f"expected an axis 'token' that varies, found {list(tap.axes[1:])}",
                where=tap.name,
                hint="words are made from the rows of a text model, before other poolers",
            )
        axes = tuple("word" if axis == "token" else axis for axis in tap.axes)
        dtype = tap.dtype
        if self.take == "mean":
            dtype = "float64" if dtype == "float64" else "float32"
        return replace(tap, axes=axes, dtype=dtype, kind="word")

    def __call__(self, activation: Activation, batch: Batch) -> Activation:
        import numpy as np
        from array_api_compat import array_namespace, device

        known = batch.columns.get("token", {})
        if activation.offsets is None or "word" not in known:
            raise ModelError("words are made from the tokens of a model of type 'transformers'")
        if len(known["char_start"]) and known["char_start"][0] is None:
            raise ModelError(
                "words cannot be told: the tokenizer gives no character spans",
                hint="use a fast tokenizer (tokenizer.json)",
            )
        kept = np.flatnonzero(_real(activation) & (known["word"] >= 0))
        owner = np.repeat(np.arange(len(activation.offsets) - 1), np.diff(activation.offsets))
        words = np.stack([owner[kept], known["word"][kept]])
        begins_word = np.append(True, (words[:, 1:] != words[:, :-1]).any(0))[: len(kept)]
        first, word = np.flatnonzero(begins_word), np.cumsum(begins_word) - 1
        last = np.append(first[1:], len(kept))[: len(first)] - 1
        xp, array = array_namespace(activation.array), activation.array

        def at(index: np.ndarray) -> Any:
            return xp.take(array, xp.asarray(index, device=device(array)), axis=0)

        if self.take == "mean":
            array = _mean(xp, at(kept), word, len(first))
        else:
            array = at(kept[first if self.take == "first" else last])
        begins = np.searchsorted(owner[kept][first], np.arange(len(activation.offsets)))
        columns = {
            "word_text": known["word_text"][kept][first],
            "char_start": known["char_start"][kept][first],
            "char_end": known["char_end"][kept][last],
            "tokens": last - first + 1,
        }
        axes = ("word", *activation.axes[1:])
        return Activation(array, axes, offsets=begins, columns={"word": columns})


def _real(activation: Activation) -> np.ndarray:
    """Which tokens are kept."""
    import numpy as np

    tokens = activation.array.shape[0]
    if activation.mask is None:
        return np.ones(tokens, bool)
    mask = activation.mask
    return np.broadcast_to(mask.any(axis=tuple(range(1, mask.ndim))), (tokens,))


def _mean(xp: Any, array: Any, word: np.ndarray, words: int) -> Any:
    """The mean of the rows of each word; ``word`` rises."""
    import numpy as np
    from array_api_compat import device

    dtype = xp.float64 if array.dtype == xp.float64 else xp.float32
    array = xp.astype(array, dtype, copy=False)
    counts = np.bincount(word, minlength=words)
    starts = np.cumsum(counts) - counts
    shape = (-1, *[1] * (array.ndim - 1))
    total = xp.zeros((words, *array.shape[1:]), dtype=dtype, device=device(array))
    for nth in range(int(counts.max(initial=0))):  # words of many tokens are few
        has = np.flatnonzero(counts > nth)
        values = xp.take(array, xp.asarray(starts[has] + nth, device=device(array)), axis=0)
        total[xp.asarray(has, device=device(array)), ...] += values
    size = xp.asarray(counts, dtype=dtype, device=device(array))
    return total / xp.reshape(size, shape)
