"""A plugin for tests: a model that gives each word of a text a vector, in three layers."""

from __future__ import annotations

from collections.abc import Iterator

from actx_core import Component, hookimpl


@hookimpl
def actx_models() -> Iterator[Component]:
    yield Component("words", "actx_words.model:Words", "Words as vectors.")
