"""How long texts are cut: each token once, with what lies before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actx_core import SourceError
from actx_hf.text.tokens import Tokens
from actx_hf.text.windows import windows

from .conftest import make_tokenizer

LONG = " ".join(f"word{n}" for n in range(40))


@given(st.integers(0, 200), st.integers(2, 40), st.data())
def test_each_token_is_taken_once_in_order(tokens, room, data):
    shared = data.draw(st.integers(0, room - 1))
    for long in ("split", "stride"):
        found = list(windows(tokens, room, long, shared))
        taken = [n for cut in found for n in range(cut.first, cut.stop)]
        assert taken == list(range(tokens))
        assert all(0 < cut.stop - cut.start <= room for cut in found[1:])
        overlap = shared if long == "stride" else 0
        assert all(cut.first - cut.start == overlap for cut in found[1:])
    assert list(windows(tokens, room, "truncate", shared)) == [(0, 0, min(tokens, room))]


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_text_is_truncated_as_transformers_does(kind):
    tokenizer = make_tokenizer(kind)
    (document,) = Tokens(tokenizer, 12, "truncate", 0)([LONG])
    expected = tokenizer(LONG, truncation=True, max_length=12)["input_ids"]
    assert document.ids.tolist() == expected == document.pieces[0].ids.tolist()
    assert document.cut == len(tokenizer(LONG)["input_ids"]) - 12 > 0


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
@pytest.mark.parametrize(("long", "shared"), [("split", 0), ("stride", 4)])
def test_pieces_are_those_of_the_tokenizer(kind, long, shared):
    """The windows of transformers' own return_overflowing_tokens; its first tokens are context."""
    tokenizer = make_tokenizer(kind)
    (document,) = Tokens(tokenizer, 12, long, shared)([LONG])
    expected = tokenizer(
        LONG, truncation=True, max_length=12, stride=shared, return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )  # fmt: skip
    assert [piece.ids.tolist() for piece in document.pieces] == expected["input_ids"]
    special = set(tokenizer.all_special_ids)
    for number, (piece, spans) in enumerate(
        zip(document.pieces, expected["offset_mapping"], strict=True)
    ):
        own = [n for n, id in enumerate(piece.ids) if id not in special]
        context = own[:shared] if number else []
        assert [n for n, t in enumerate(piece.taken) if not t] == context
        rows = document.piece == number
        assert document.position[rows].tolist() == [
            n for n in range(len(piece.ids)) if n not in context
        ]
        for n in own:  # context too lies at the row that an earlier piece has taken
            row = piece.rows[n]
            assert (document.start[row], document.end[row]) == tuple(spans[n])
            assert document.ids[row] == piece.ids[n]
    inside = ~document.special
    assert document.ids[inside].tolist() == tokenizer(LONG, add_special_tokens=False)["input_ids"]


def test_a_million_characters_in_one_line():
    text = "lazy dogs " * 100_000
    (whole,) = Tokens(make_tokenizer(), 512, "split", 0)([text])
    assert whole.end[-1] == len(text)
    assert max(len(piece.ids) for piece in whole.pieces) == 512
    (cut,) = Tokens(make_tokenizer(), 512, "truncate", 0)([text])
    assert len(cut) == 512
    assert cut.cut == len(whole) - 512


def test_special_tokens_need_room():
    with pytest.raises(SourceError, match="a piece of 2 tokens has no room beside 2 special ones"):
        Tokens(make_tokenizer("bert"), 2, "truncate", 0)(["word"])
