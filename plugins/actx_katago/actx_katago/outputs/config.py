"""Options of the analyzer of actx-katago; imports neither torch nor numpy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from actx_core import Config


class TopPositionsConfig(Config):
    """Options of ``top-positions``."""

    columns: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Which channels, parts or components, by number; by default the 32 that vary most."""
    top: int = Field(default=12, ge=1)
    """Positions per column."""
    end: Literal["largest", "smallest", "both"] = "largest"
    """Which values are looked for."""
    one_per_game: bool = True
    """At most one position of each game; where rows say no game, one row of each position."""
