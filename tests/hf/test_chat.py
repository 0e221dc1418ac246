"""Conversations: roles of tokens by the chat template, never a silent mask of zeros."""

from __future__ import annotations

import pytest

from actx_core import ModelError, SourceError
from actx_hf.text.tokens import Tokens

from .conftest import make_tokenizer

PLAIN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
TRIMMED = PLAIN.replace("m.content", "m.content | trim")
MARKED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "A:{% generation %}{{ m.content }};{% endgeneration %}{% else %}U:{{ m.content }};{% endif %}{% endfor %}"
)
SHOUTED = PLAIN.replace("m.content", "m.content | upper")

TALK = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "user"},
    {"role": "assistant", "content": " a lazy dog "},
    {"role": "user", "content": "im_end"},
    {"role": "assistant", "content": "assistant"},
]


def read(template, talk, length=256):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    (document,) = Tokens(tokenizer, length, "truncate", 0)([talk])
    return document, str(tokenizer.apply_chat_template(talk, tokenize=False))


def said(document, text, role):
    """The characters of tokens with a role, message by message."""
    pieces, last = [""], None
    for start, end, who in zip(document.start, document.end, document.role, strict=True):
        if who == role:
            pieces += [""] if last is not None and start > last else []
            pieces[-1] += text[start:end]
            last = end
    return pieces


@pytest.mark.parametrize(("template", "change"), [(PLAIN, str), (TRIMMED, str.strip)])
def test_roles_without_a_generation_block(template, change):
    """Contents that look like the template's own words must not be mistaken."""
    document, text = read(template, TALK)
    for role in ("system", "user", "assistant"):
        assert said(document, text, role) == [
            change(m["content"]) for m in TALK if m["role"] == role
        ]
    assert (document.role == "").any()


def test_the_generation_block_says_what_the_assistant_says():
    document, text = read(MARKED, TALK)
    assert said(document, text, "assistant") == [" a lazy dog ;", "assistant;"]
    assert said(document, text, "user") == ["user", "im_end"]


def test_tokens_are_those_of_the_template():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = PLAIN
    document, _ = read(PLAIN, TALK)
    encoded = tokenizer.apply_chat_template(TALK, tokenize=True, return_dict=True)
    assert document.ids.tolist() == encoded["input_ids"]


def test_an_assistant_mask_of_zeros_is_an_error():
    hidden = MARKED.replace("{{ m.content }};{% endg", "{% endg").replace(
        "{% endgeneration %}", "{% endgeneration %}{{ m.content }}"
    )
    with pytest.raises(ModelError, match="the assistant mask is all zero"):
        read(hidden, TALK)
    with pytest.raises(ModelError, match="no token can be told to be the assistant's"):
        read(SHOUTED, TALK)
    document, _ = read(SHOUTED, TALK[:2])  # nobody asks for an assistant
    assert set(document.role) == {""}


def test_texts_and_conversations_in_one_batch():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = PLAIN
    first, second, third = Tokens(tokenizer, 64, "truncate", 0)(["a dog", TALK[:2], "a fox"])
    assert set(first.role) == set(third.role) == {""}
    assert set(second.role) == {"", "system", "user"}
    assert first.ids.tolist() == tokenizer("a dog")["input_ids"]


@pytest.mark.parametrize(
    ("template", "talk", "error", "match"),
    [
        (None, TALK, ModelError, "needs a chat template, the tokenizer has none"),
        (PLAIN, [], SourceError, "expected a text or a list of messages, found an empty list"),
        (PLAIN, [{"role": "user"}], SourceError, "message 0: expected an object with role and content"),
        (PLAIN, [{"role": "user", "content": ["a"]}], SourceError, "message 0: expected texts"),
        ("{{ raise_exception('no system') }}", TALK, SourceError, "refuses the messages: no system"),
    ],
)  # fmt: skip
def test_bad_conversations(template, talk, error, match):
    with pytest.raises(error, match=match):
        read(template, talk)


def test_all_tokens_of_the_last_character_are_the_assistants():
    """A character of several bytes may be several tokens, of which transformers marks the first."""
    talk = [{"role": "assistant", "content": "a 🙂"}, {"role": "user", "content": "b"}]
    document, text = read(MARKED.replace("{{ m.content }};{% end", "{{ m.content }}{% end"), talk)
    ends = document.end[document.role == "assistant"]
    assert (document.end == text.index("🙂") + 1).sum() == (ends == ends[-1]).sum() > 1
