"""Passes: bounded, deterministic, every token once, and the rest is padding that a mask tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actx_core import Sample
from actx_hf.models.config import TransformersConfig
from actx_hf.models.transformers_model import CHARACTERS, Transformers
from actx_hf.text.passes import Reader, passes
from actx_hf.text.tokens import Tokens

from .conftest import make_tokenizer

LENGTHS = st.lists(st.integers(0, 60), max_size=30)
TOKENS = Tokens(make_tokenizer("bert"), 20, "stride", 5)


def documents(lengths):
    return TOKENS([" ".join(["dog", "fox", "the"][n % 3] for n in range(size)) for size in lengths])


@pytest.mark.parametrize("scheme", ["packed", "bucketed", "equal"])
@settings(max_examples=10)
@given(lengths=LENGTHS, budget=st.integers(8, 100))
def test_every_row_comes_from_its_own_token(scheme, lengths, budget):
    given_documents = documents(lengths)
    expected = np.concatenate([np.empty(0, int), *(each.ids for each in given_documents)])
    found = np.full(len(expected), -1)
    for each in passes(given_documents, scheme, Reader(budget, pad=7)):
        ids = each.inputs["input_ids"].numpy().reshape(-1)
        assert (found[each.target] == -1).all(), "a row is written twice"
        found[each.target] = ids[each.source]
        assert ids.size <= max(budget, *(len(b.piece.ids) for b in each.blocks))
    assert (found == expected).all()


@given(lengths=LENGTHS)
@settings(max_examples=10)
def test_padded_rows_are_pieces_and_padding_at_the_end(lengths):
    for each in passes(documents(lengths), "bucketed", Reader(64, pad=7)):
        mask = each.inputs["attention_mask"].numpy()
        assert (np.diff(mask, axis=1) <= 0).all()
        assert mask.sum(1).tolist() == [len(b.piece.ids) for b in each.blocks]
        assert (each.inputs["input_ids"].numpy()[mask == 0] == 7).all()
    for each in passes(documents(lengths), "equal", Reader(64)):
        assert each.inputs["attention_mask"].numpy().all()


def test_packed_positions_begin_again_with_each_piece():
    (each,) = passes(documents([3, 5]), "packed", Reader(64))
    assert each.inputs["position_ids"].tolist() == [[*range(7), *range(5)]]
    assert "attention_mask" not in each.inputs


def test_packed_rows_are_filled_up_with_what_stands_apart():
    first, last = passes(documents([18, 10, 5, 17, 1]), "packed", Reader(64, pad=7, row=20))
    assert [(block.row, len(block.piece.ids)) for block in first.blocks] == [
        (0, 20), (1, 19), (2, 12), (2, 7),
    ]  # fmt: skip
    assert first.inputs["position_ids"].tolist() == [
        [*range(20)],
        [*range(19), 0],
        [*range(12), *range(7), 0],
    ]
    assert first.inputs["input_ids"][1:, -1].tolist() == [7, 7]
    assert last.inputs["position_ids"].tolist() == [[0, 1, 2]]  # too short to be filled up


def test_a_decoder_gets_the_text_shifted_by_one():
    (each,) = passes(documents([3, 5]), "bucketed", Reader(64, pad=0, start=9))
    ids, shifted = (each.inputs[name].numpy() for name in ("input_ids", "decoder_input_ids"))
    assert (shifted[:, 0] == 9).all()
    assert (shifted[:, 1:] == ids[:, :-1]).all()
    assert (each.inputs["decoder_attention_mask"] == each.inputs["attention_mask"]).all()


def test_buckets_hold_little_padding_and_packs_less():
    lengths = np.random.default_rng(0).integers(1, 18, 300)
    real = sum(len(d) for d in documents(lengths))
    for scheme, share in (("bucketed", 1.08), ("packed", 1.02)):
        taken = sum(
            p.inputs["input_ids"].numel() for p in passes(documents(lengths), scheme, Reader(256))
        )
        assert real <= taken < share * real


def test_batches_are_bounded_in_texts_and_in_characters(saved):
    config = TransformersConfig(name=str(saved("gpt2")), device="cpu", batch_size=3, long="split")
    model = Transformers(config)
    texts = ["a"] * 7 + ["b" * (CHARACTERS - 1)] * 2 + ["c"] * 2
    samples = [Sample(str(n), text) for n, text in enumerate(texts)]
    found = [[s.id for s in batch] for batch in model.batches(samples)]
    assert found == [["0", "1", "2"], ["3", "4", "5"], ["6", "7"], ["8", "9"], ["10"]]


def test_a_text_that_cannot_be_read_waits_for_its_turn(saved):
    def broken():
        raise OSError("gone")

    model = Transformers(TransformersConfig(name=str(saved("gpt2")), device="cpu"))
    (batch,) = model.batches([Sample("a", "text"), Sample("b", broken), Sample("c", lambda: "x")])
    assert [s.id for s in batch] == ["a", "b", "c"]
    assert [callable(s.data) for s in batch] == [False, True, False]
