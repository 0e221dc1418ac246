"""Options of the formats; imports neither torch nor datasets."""

from __future__ import annotations

from pydantic import Field

from actx_core import Config


class SaeLensConfig(Config):
    """Options of ``saelens``."""

    context_size: int = Field(default=128, ge=1)
    """Tokens in one line of the data set; SAELens must be told the same number."""
