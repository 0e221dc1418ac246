"""Options of the sources of actx-katago; imports neither torch nor numpy."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from actx_core import Config
from actx_core.packages import DataPath
from actx_katago.go.rules import check_komi, parse_rules


class Komi(Config):
    """The counterfactual ``{ komi = […] }``."""

    komi: tuple[Annotated[float, Field(ge=-150, le=150)], ...] = Field(min_length=1)
    """Points for the player to move, as the network is told; each is a replicate of the position."""

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        if len(set(self.komi)) < len(self.komi):
            raise ValueError(f"expected each komi once, got {list(self.komi)}")
        return self


class PositionsConfig(Config):
    """What both sources can be told."""

    path: DataPath
    """A file, a folder with everything below it, or a glob such as ``games/**/*.sgf``."""
    symmetry: Annotated[int, Field(ge=0, le=7)] | Literal["all"] = 0
    """Turn every position: 0 to 7, as KataGo's engine counts; ``all``: each of the 8 is a replicate."""
    counterfactual: Literal["", "zero_global", "history_off"] | Komi = ""
    """Show the network something else: all globals zero, no past moves, or another komi."""

    def label(self) -> str:
        name = self.path.name
        return self.path.parent.name if "*" in name or "?" in name else name.partition(".")[0]


Target = Literal[
    "win", "loss", "no_result", "score", "lead", "self_komi", "visits", "row_weight", "game_type",
    "policy_entropy", "policy", "ownership",
]  # fmt: skip


class SelfplayConfig(PositionsConfig):
    """Options of ``selfplay``."""

    targets: tuple[Target, ...] = ()
    """Which of the rows' own targets become columns; ownership and policy where rows are points."""
    check_rows: bool = True
    """Refuse rows that cannot be positions, such as two stones on one point."""


class SgfConfig(PositionsConfig):
    """Options of ``sgf``."""

    every: int = Field(default=1, ge=1)
    """Take every k-th position of a game."""
    start: int = Field(default=0, ge=0)
    """The first turn to take; 0 is the position before the first move."""
    last: int | None = Field(default=None, ge=0)
    """The last turn that may be taken; by default that after the last move."""
    rules: str = ""
    """Rules of all games, such as ``chinese``; by default what each game says in RU."""
    komi: float | None = None
    """White's komi in all games; by default what each game says in KM."""

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: str) -> str:
        parse_rules(rules)
        return rules

    @field_validator("komi")
    @classmethod
    def _playable(cls, komi: float | None) -> float | None:
        if komi is not None:
            check_komi(komi)
        return komi
