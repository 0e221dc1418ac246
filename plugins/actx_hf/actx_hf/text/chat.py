"""Conversations: rendered by the tokenizer's chat template, with the place of every message in the text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actx_core import ModelError, SourceError

Message = Mapping[str, str]
ASSISTANT = "assistant"

_GENERATION = re.compile(r"\{%-?\s*generation\b")
_HINT = (
    "put {% generation %} … {% endgeneration %} around the assistant's text in the chat template"
)


@dataclass(frozen=True)
class Rendered:
    """The text of a conversation. ``spans`` are (start, end, role) of the messages' own characters.

    ``mask`` tells for each token whether the template calls it generated; None where it does not say.
    """

    text: str
    spans: Sequence[tuple[int, int, str]] = ()
    ids: Sequence[int] | None = None
    mask: Sequence[int] | None = None


def messages_of(content: Any) -> list[Message] | None:
    """The messages of a conversation, None for a text. Raises SourceError for anything else."""
    if isinstance(content, str):
        return None
    if not isinstance(content, Sequence) or not content:
        raise SourceError(f"expected a text or a list of messages, found {_told(content)}")
    for number, message in enumerate(content):
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise SourceError(
                f"message {number}: expected an object with role and content, found {_told(message)}"
            )
        if not isinstance(message["content"], str) or not isinstance(message["role"], str):
            raise SourceError(f"message {number}: expected texts as role and content")
    return list(content)


def render(tokenizer: Any, messages: Sequence[Message]) -> Rendered:
    """Apply the chat template. Raises ModelError where the assistant's tokens cannot be told."""
    text = _apply(tokenizer, messages)
    spans = _spans(tokenizer, messages, text)
    speaks = any(m["role"] == ASSISTANT and m["content"].strip() for m in messages)
    if not _GENERATION.search(str(tokenizer.chat_template)):
        if spans is None and speaks:
            raise ModelError(
                "no token can be told to be the assistant's: the chat template has no"
                " {% generation %} block, and does not render messages as they are",
                hint=_HINT,
            )
        return Rendered(text, spans or ())
    encoded = tokenizer.apply_chat_template(
        list(messages), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    mask = encoded["assistant_masks"]
    if speaks and not any(mask):
        raise ModelError(
            "the assistant mask is all zero: the {% generation %} block of the chat template renders"
            " nothing for these messages",
            hint=_HINT,
        )
    return Rendered(text, spans or (), encoded["input_ids"], mask)


def _apply(tokenizer: Any, messages: Sequence[Message]) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "a conversation needs a chat template, the tokenizer has none",
            hint="take the model's chat version, or give texts",
        )
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False))
    except Exception as error:  # jinja's errors, and those that templates raise
        lines = str(error).splitlines() or [type(error).__name__]
        raise SourceError(f"the chat template refuses the messages: {lines[0]}") from error


def _spans(
    tokenizer: Any, messages: Sequence[Message], text: str
) -> list[tuple[int, int, str]] | None:
    """Where each message stands in the text; None where the template changes more than outer blanks.

    Found by rendering marks in place of the messages: what lies between marks is the template's.
    """
    marks = [f"\ue000{number}\ue001" for number in range(len(messages))]
    blank = [{**m, "content": mark} for m, mark in zip(messages, marks, strict=True)]
    try:
        frame = _apply(tokenizer, blank)
    except SourceError:
        return None
    spans, place = [], 0
    for message, mark in zip(messages, marks, strict=True):
        between, found, frame = frame.partition(mark)
        if not found or not text.startswith(between, place):
            return None
        place += len(between)
        after = re.split("\ue000", frame, maxsplit=1)[0]
        for content in (message["content"], message["content"].strip()):
            if text.startswith(content + after, place):
                spans.append((place, place + len(content), message["role"]))
                place += len(content)
                break
        else:
            return None
    return spans


def _told(content: Any) -> str:
    names = {dict: "an object", list: "an empty list", type(None): "null"}
    return names.get(type(content), type(content).__name__)
