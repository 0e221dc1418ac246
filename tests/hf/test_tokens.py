"""Tokens know where they come from: characters, words, special ones, whatever the tokenizer."""

from __future__ import annotations

import numpy as np
import pytest
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from actx_hf.text.document import sample_columns, token_columns
from actx_hf.text.tokens import Tokens

from .conftest import TEXTS, make_tokenizer


def documents(texts, kind="gpt2", **changes):
    return Tokens(make_tokenizer(kind), 64, "truncate", 0)(texts)


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_ids_and_spans_are_the_tokenizers(kind):
    tokenizer = make_tokenizer(kind)
    for text, document in zip(TEXTS, documents(TEXTS, kind), strict=True):
        encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
        assert document.ids.tolist() == encoded["input_ids"]
        assert document.special.tolist() == [bool(n) for n in encoded["special_tokens_mask"]]
        for row, span in enumerate(encoded["offset_mapping"]):
            if not document.special[row]:
                assert (document.start[row], document.end[row]) == span


def covered(text, document, rows):
    """The characters that some tokens cover; tokens of a split character share it."""
    spans = zip(document.start[rows], document.end[rows], strict=True)
    return "".join(text[n] for n in sorted({n for a, b in spans for n in range(a, b)}))


def test_spans_give_the_text_back():
    for text, document in zip(TEXTS, documents(TEXTS), strict=True):
        assert covered(text, document, slice(None)) == text


def test_added_tokens_have_empty_spans_in_their_place():
    (document,) = documents(["lazy dog"], "bert")
    assert (document.start[0], document.end[0]) == (0, 0)
    assert (document.start[-1], document.end[-1]) == (8, 8)
    assert (np.diff(document.start) >= 0).all()


def test_words_are_what_stands_between_blanks():
    text = "The naïve  don't-stop 東京!\nend"
    (document,) = documents([text])
    found = [
        covered(text, document, document.word == n).strip() for n in range(document.word.max() + 1)
    ]
    assert found == text.split()
    assert set(document.word_text[document.word >= 0]) == set(text.split())
    assert all(text[a:b].isspace() for a, b in zip(
        document.start[document.word < 0], document.end[document.word < 0], strict=True
    ))  # fmt: skip


def test_special_is_told_by_the_tokenizer_not_by_the_place():
    tokens = Tokens(make_tokenizer(), 64, "truncate", 0)
    (document,) = tokens(["a <eos> b <pad>"])
    assert tokens.vocabulary[document.ids[document.special]].tolist() == ["<eos>", "<pad>"]


def test_pad_that_is_eos_is_no_trouble():
    """GPT-2's way: one token for all; an unknown piece of text is text elsewhere."""
    tokenizer = make_tokenizer()
    tokenizer.pad_token = tokenizer.unk_token = tokenizer.bos_token = tokenizer.eos_token
    (document,) = Tokens(tokenizer, 64, "truncate", 0)(["a <eos> b"])
    assert document.special.sum() == 1
    (document,) = documents(["東 dog"], "bert")
    assert document.special.tolist() == [True, *[False] * (len(document) - 2), True]


def test_a_tokenizer_without_any_special_token():
    inner = Tokenizer(models.WordLevel({"lazy": 0, "dog": 1, "?": 2}, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    bare = transformers.PreTrainedTokenizerFast(tokenizer_object=inner)
    first, empty = Tokens(bare, 64, "truncate", 0)(["lazy fox dog", ""])
    assert first.ids.tolist() == [0, 2, 1]
    assert not first.special.any()
    assert len(empty) == 0


def test_empty_texts_have_no_rows_but_what_the_tokenizer_adds():
    plain = documents(["", "a", ""])
    assert [len(each) for each in plain] == [0, 1, 0]
    assert [len(each.pieces) for each in plain] == [0, 1, 0]
    (bert,) = documents([""], "bert")
    assert bert.special.tolist() == [True, True]
    assert Tokens(make_tokenizer(), 64, "truncate", 0)([]) == []


def test_a_tokenizer_without_spans_gives_none():
    class Letters(transformers.PythonBackend):
        vocab_size = 128

        def get_vocab(self):
            return {chr(n): n for n in range(128)}

        def _tokenize(self, text):
            return list(text)

        def _convert_token_to_id(self, token):
            return ord(token) % 128

        def _convert_id_to_token(self, index):
            return chr(index)

    tokens = Tokens(Letters(), 64, "truncate", 0)
    found = tokens(["ab", "", "c"])
    assert [each.ids.tolist() for each in found] == [[97, 98], [], [99]]
    columns = token_columns(found, tokens.vocabulary)
    assert columns["char_start"].tolist() == [None] * 3
    assert columns["word"].tolist() == [-1] * 3
    assert columns["token_text"].tolist() == ["a", "b", "c"]


def test_columns():
    tokens = Tokens(make_tokenizer("bert"), 8, "stride", 2)
    found = tokens(["The lazy dog jumps over a quick dog", "fox"])
    assert sample_columns(found) == {
        "tokens": pytest.approx([len(each) for each in found]),
        "pieces": pytest.approx([len(each.pieces) for each in found]),
        "tokens_cut": pytest.approx([0, 0]),
    }
    columns = token_columns(found, tokens.vocabulary)
    assert {len(values) for values in columns.values()} == {sum(map(len, found))}
    assert columns["token_text"][0] == "[CLS]"
    assert list(columns) == [
        "position", "token_id", "token_text", "char_start", "char_end", "special", "piece", "role", "word",
        "word_text",
    ]  # fmt: skip


def test_bos_before_and_eos_after_as_the_tokenizer_says():
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    (document,) = Tokens(tokenizer, 4, "split", 0)(["the lazy dog"])
    assert all(piece.ids[0] == 1 for piece in document.pieces)
    assert len(document.pieces) > 1
    assert document.special.sum() == len(document.pieces)
