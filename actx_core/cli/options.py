"""Checks options of one component, given on the command line, as a pipeline's are checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from actx_core.config.overrides import apply
from actx_core.config.problems import Places, Problems
from actx_core.config.translate import mistakes
from actx_core.contracts import Config

C = TypeVar("C", bound=Config)


def check(config: type[C], given: Mapping[str, Any], sets: Sequence[str] = ()) -> C:
    """The Config of ``given``, changed by ``key=value``; raises ConfigError with every mistake."""
    options = dict(given)
    problems = Problems(Places.of_dict(options))
    apply(options, sets, problems.places, problems)
    try:
        checked = config.model_validate(options, context={"base": Path()})
    except ValidationError as error:
        for mistake in mistakes(error, options, config):
            problems.add(mistake.path, mistake.message, mistake.hint)
    problems.raise_any()
    return checked
