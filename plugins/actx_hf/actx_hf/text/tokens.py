"""From texts and conversations to documents of tokens that know where they come from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from actx_core import ModelError, SourceError
from actx_hf.text.chat import ASSISTANT, Rendered, messages_of, render
from actx_hf.text.document import Document, Piece
from actx_hf.text.windows import Long, windows

_WORD = re.compile(r"\S+")
_EMPTY = np.empty(0, np.int64)


@dataclass(frozen=True)
class _Encoded:
    """A text as the tokenizer gives it: ids, which of them it added, and their characters."""

    ids: np.ndarray
    added: np.ndarray
    spans: np.ndarray | None


class Tokens:
    """A tokenizer of transformers, and how long texts are cut.

    ``length`` is how many tokens the model reads at once; ``shared`` see ``windows``.
    """

    def __init__(self, tokenizer: Any, length: int, long: Long, shared: int) -> None:
        self.tokenizer = tokenizer
        self.length, self._long, self._shared = length, long, shared
        self._lock = Lock()  # a tokenizer serves one thread at a time

    @cached_property
    def vocabulary(self) -> np.ndarray:
        """Every token in words, as the tokenizer writes it, by its id."""
        names = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        return np.array([*names, None], dtype=object)[:-1]

    @cached_property
    def _special(self) -> np.ndarray:
        """Ids that stand for no text. An unknown piece of text is text."""
        tokenizer = self.tokenizer
        ids = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        ids |= set(tokenizer.all_special_ids)
        names = tokenizer.special_tokens_map
        others = {value for name, value in names.items() if name != "unk_token"}
        if names.get("unk_token") not in others:
            ids.discard(tokenizer.unk_token_id)
        return np.array(sorted(ids), np.int64)

    def ordinary(self, most: int) -> np.ndarray:
        """Ids below ``most`` that stand for text; all, where there is none."""
        every = np.arange(most)
        found = np.setdiff1d(every[: len(self.vocabulary)], self._special)
        return found if len(found) else every

    def __call__(self, contents: Sequence[Any]) -> list[Document]:
        """One document per content: a text, or a list of messages with role and content."""
        with self._lock:
            talks = [messages_of(content) for content in contents]
            rendered = [
                Rendered(content) if talk is None else render(self.tokenizer, talk)
                for content, talk in zip(contents, talks, strict=True)
            ]
            plain = [n for n, talk in enumerate(talks) if talk is None]
            chats = [n for n, talk in enumerate(talks) if talk is not None]
            found: dict[int, _Encoded] = {}
            for numbers, special in ((plain, True), (chats, False)):  # templates add their own
                texts = [rendered[n].text for n in numbers]
                found |= zip(numbers, self._encode(texts, special), strict=True)
        return [self._document(found[n], rendered[n]) for n in range(len(contents))]

    def _encode(self, texts: list[str], special: bool) -> list[_Encoded]:
        if not texts:
            return []
        try:
            encoded = self.tokenizer(
                texts,
                add_special_tokens=special,
                padding=False,
                truncation=False,
                return_special_tokens_mask=True,
                return_offsets_mapping=self.tokenizer.is_fast,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )
        except (TypeError, UnicodeError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise SourceError(
                f"the tokenizer refuses the text: {lines[0]}",
                hint="texts must be valid Unicode, without lone surrogates",
            ) from error
        spans = encoded.get("offset_mapping", [None] * len(texts))
        return [
            _Encoded(
                np.array(ids, np.int64),
                np.array(added, bool) if special else np.zeros(len(ids), bool),
                None if span is None else np.array(span, np.int64).reshape(-1, 2),
            )
            for ids, added, span in zip(
                encoded["input_ids"], encoded["special_tokens_mask"], spans, strict=True
            )
        ]

    def _document(self, encoded: _Encoded, rendered: Rendered) -> Document:
        """Cut, each piece between what the tokenizer puts around a text."""
        total = len(encoded.ids)
        before = int(np.argmin(encoded.added)) if not encoded.added.all() else total
        after = int(np.argmin(encoded.added[::-1])) if before < total else 0
        inside = total - before - after
        room = self.length - before - after
        if room < 1:
            raise SourceError(
                f"a piece of {self.length} tokens has no room beside {before + after} special ones",
                hint="set a larger max_length",
            )
        head, tail = np.arange(before), np.arange(total - after, total)
        cuts = list(windows(inside, room, self._long, self._shared))
        pieces: list[Piece] = []
        sources: list[np.ndarray] = []
        known = np.full(total, -1)  # the row of each token of the text, once it has one
        rows = 0
        for cut in cuts:
            source = np.concatenate([head, before + np.arange(cut.start, cut.stop), tail])
            taken = np.ones(len(source), bool)
            taken[before : before + cut.first - cut.start] = False
            new = np.cumsum(taken) - 1 + rows
            place = np.where(taken, new, known[source])
            known[source[before : len(source) - after]] = place[before : len(source) - after]
            rows += int(taken.sum())
            pieces.append(Piece(encoded.ids[source], place, taken))
            sources.append(source)
        pieces = [piece for piece in pieces if len(piece.ids)]
        order = np.concatenate(
            [_EMPTY, *(s[p.taken] for s, p in zip(sources, pieces, strict=False))]
        )
        return self._rows(encoded, rendered, pieces, order, inside - cuts[-1].stop)

    def _rows(
        self,
        encoded: _Encoded,
        rendered: Rendered,
        pieces: list[Piece],
        order: np.ndarray,
        cut: int,
    ) -> Document:
        """The columns of the rows, which are the tokens ``order`` of the text."""
        ids = encoded.ids[order]
        special = np.isin(ids, self._special) | encoded.added[order]
        spans = None if encoded.spans is None else _ordered(encoded.spans, encoded.added)[order]
        words = _words(rendered.text, spans, special)
        taken = [piece.taken for piece in pieces]
        return Document(
            pieces,
            ids,
            position=np.concatenate([_EMPTY, *(np.flatnonzero(t) for t in taken)]),
            piece=np.concatenate([_EMPTY, *(np.full(t.sum(), n) for n, t in enumerate(taken))]),
            special=special,
            start=None if spans is None else spans[:, 0],
            end=None if spans is None else spans[:, 1],
            role=_roles(rendered, encoded.ids, spans, order),
            word=words[0],
            word_text=words[1],
            cut=cut,
        )


def _ordered(spans: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Spans; that of a token which the tokenizer added is empty, behind the token before it."""
    ends = np.maximum.accumulate(np.where(added, 0, spans[:, 1]))
    return np.where(added[:, None], ends[:, None], spans)


def _inside(spans: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The interval in which each token's last character lies, else its first; -1 for none."""
    found = np.full(len(spans), -1)
    if len(starts):
        for place in (spans[:, 0], spans[:, 1] - 1):
            number = np.searchsorted(starts, place, side="right") - 1
            real = (number >= 0) & (place < ends[number]) & (spans[:, 1] > spans[:, 0])
            found = np.where(real, number, found)
    return found


def _words(
    text: str, spans: np.ndarray | None, special: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The word of each token, by number and as text. Words are what stands between blanks."""
    number, words = np.full(len(special), -1), np.array([None], dtype=object)
    if spans is not None:
        found = [(m.start(), m.end()) for m in _WORD.finditer(text)]
        bounds = np.array(found, np.int64).reshape(-1, 2)
        number = np.where(special, -1, _inside(spans, bounds[:, 0], bounds[:, 1]))
        words = np.array([*(text[a:b] for a, b in found), None], dtype=object)
    return number, words[number]


def _roles(
    rendered: Rendered, ids: np.ndarray, spans: np.ndarray | None, order: np.ndarray
) -> np.ndarray:
    """Who says each token; empty for what the template adds, and in plain text."""
    names = np.array([*(role for *_, role in rendered.spans), ""], dtype=object)
    number = np.full(len(order), -1)
    if spans is not None:
        bounds = np.array([span[:2] for span in rendered.spans], np.int64).reshape(-1, 2)
        number = _inside(spans, bounds[:, 0], bounds[:, 1])
    roles: np.ndarray = names[number]
    if rendered.mask is not None:
        if list(rendered.ids or ()) != ids.tolist():
            raise ModelError("the chat template gives other tokens than the text that it renders")
        roles[roles == ASSISTANT] = ""
        roles[np.array(rendered.mask, bool)[order]] = ASSISTANT
        if spans is not None:  # of a character in several tokens, transformers marks only the first
            same = (spans[1:] == spans[:-1]).all(1) & (spans[1:, 0] < spans[1:, 1])
            for row in np.flatnonzero(same) + 1:
                roles[row] = roles[row - 1]
    elif rendered.spans and spans is None:
        raise ModelError(
            "roles cannot be told: the tokenizer gives no character spans, and the chat template has no"
            " {% generation %} block",
            hint="use a fast tokenizer (tokenizer.json)",
        )
    return roles
