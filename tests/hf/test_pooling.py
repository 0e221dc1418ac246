"""Texts, words and tokens as rows: the last token, the mean, words as NeuroX has them."""

from __future__ import annotations

import numpy as np
import pytest

from actx_core import ModelError, Sample, Tap, TapError, extract
from actx_core.poolers import Mean, Select
from actx_hf.models.config import TransformersConfig
from actx_hf.models.transformers_model import Transformers
from actx_hf.poolers import Words

TEXTS = ["The lazy dog jumps", "naïve 東京 and emoji", "", "fox", "  The   quick\nbrown fox!  "]
TAP = "blocks.1.resid_post"


def model(folder, **options):
    return Transformers(TransformersConfig(name=str(folder), device="cpu", **options))


@pytest.fixture(params=["gpt2", "bert", "opt"])
def folder(request, saved):
    return saved(request.param)


def test_last_token_and_mean(folder):
    """Packed for GPT-2, padded for the others: the last token is never padding."""
    tokens = extract(model(folder), TEXTS, [TAP])[TAP]
    counts = [len(each) for each in model(folder).tokens(TEXTS)]
    parts = np.split(tokens, np.cumsum(counts)[:-1])
    last = extract(model(folder), TEXTS, [TAP], pool=[Select(axis="token", index="last")])[TAP]
    mean = extract(model(folder), TEXTS, [TAP], pool=[Mean(over="token")])[TAP]
    for part, one, average in zip(parts, last, mean, strict=True):
        if len(part):
            np.testing.assert_allclose(one, part[-1], rtol=1e-6)
            np.testing.assert_allclose(average, part.mean(0), rtol=1e-5, atol=1e-6)
        else:  # nothing to take: said with NaN, never made up
            assert np.isnan(one).all()
            assert np.isnan(average).all()


@pytest.mark.parametrize("take", ["first", "last", "mean"])
def test_words_from_their_tokens(folder, take):
    opened = model(folder)
    tokens = extract(opened, TEXTS, [TAP])[TAP]
    words = extract(model(folder), TEXTS, [TAP], pool=[Words(take=take)])[TAP]
    expected, begin = [], 0
    for document in opened.tokens(TEXTS):
        values = tokens[begin : begin + len(document)]
        for number in range(document.word.max(initial=-1) + 1):
            own = values[document.word == number]
            expected.append({"first": own[0], "last": own[-1], "mean": own.mean(0)}[take])
        begin += len(document)
    assert len(expected) == sum(len(text.split()) for text in TEXTS)
    np.testing.assert_allclose(words, expected, rtol=1e-5, atol=1e-6)


def test_words_have_their_text_and_place(saved):
    opened = model(saved("bert"), long="split", max_length=6)
    opened.open([TAP])
    batch = opened.prepare([Sample(str(n), text) for n, text in enumerate(TEXTS)])
    found = opened.extract(batch, lambda _, a: Words()(a, batch))[TAP]
    columns = found.columns["word"]
    for text, (begin, end) in zip(
        TEXTS, zip(found.offsets[:-1], found.offsets[1:], strict=True), strict=True
    ):
        assert columns["word_text"][begin:end].tolist() == text.split()
        spans = zip(columns["char_start"][begin:end], columns["char_end"][begin:end], strict=True)
        assert [text[a:b].strip() for a, b in spans] == text.split()


def test_words_are_refused_where_there_are_no_tokens(saved):
    with pytest.raises(TapError, match="expected an axis 'token' that varies"):
        Words().tap(Tap("a", ("sample", "channel"), (3,)))
    opened = model(saved("gpt2"))
    opened.open([TAP])
    batch = opened.prepare([Sample("a", "b")])
    batch.columns["token"]["char_start"][:] = 0
    batch.columns["token"]["char_start"] = np.array([None] * batch.offsets[-1], dtype=object)
    with pytest.raises(ModelError, match="words cannot be told: the tokenizer gives no character"):
        opened.extract(batch, lambda _, a: Words()(a, batch))
