"""Options of what reads words and clusters of words; imports neither numpy nor scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from actx_cluster.similarity.config import By
from actx_core import Config, InputPath


class WordConfig(Config):
    """Options of the analyzer and the format ``conceptx``."""

    word: str = ""
    """Column that holds the word; by default the first of ``token_text``, ``word_text``, ``word``,
    ``token``, ``text`` that holds text."""
    position: str = ""
    """Column that holds the word's place in its sentence; by default ``word`` beside ``word_text``, else
    ``position`` or ``token``; where there is none, the rows of a sample are counted."""


def _exists(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    return path


class AlignmentConfig(WordConfig):
    """Options of ``alignment``."""

    column: str = "label"
    """Column of the rows that holds the label, if no file of ``labels`` is given."""
    labels: Annotated[InputPath, AfterValidator(_exists)] | None = None
    """Labels by sentence and position: a text file with a line per sentence and a label per word, a .json
    list of such lines, or a table (.csv, .tsv, .parquet) with the columns sample, position and label."""
    thresholds: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.9, 0.95, 1.0), min_length=1
    )
    """Shares of its rows that must carry a label for a cluster to be aligned with it."""
    types: int = Field(default=5, ge=1)
    """Different words that a cluster must have to be aligned at all."""


class FlowConfig(Config):
    """Options of ``flow``."""

    by: By = ()
    """Columns that tell which rows of two inputs belong together; without, their rows must be the same."""
