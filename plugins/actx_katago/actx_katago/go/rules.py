"""Rules of Go as KataGo divides them, and their names in game records."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Ko = Literal["SIMPLE", "POSITIONAL", "SITUATIONAL"]
Scoring = Literal["AREA", "TERRITORY"]
Tax = Literal["NONE", "SEKI", "ALL"]
HandicapBonus = Literal["0", "N-1", "N"]

MAX_KOMI = 150


@dataclass(frozen=True, slots=True)
class Rules:
    """One set of rules; the defaults are KataGo's, which are near Tromp-Taylor's.

    ``tax`` takes territory in seki (``SEKI``) and two points for every group besides (``ALL``).
    ``suicide`` allows that of several stones. ``button``: the first pass is worth half a point.
    ``handicap_bonus`` is what White gets where Black begins with N >= 2 stones. ``komi`` is White's.
    Source: https://lightvector.github.io/KataGo/rules.html
    """

    ko: Ko = "POSITIONAL"
    scoring: Scoring = "AREA"
    tax: Tax = "NONE"
    suicide: bool = True
    button: bool = False
    handicap_bonus: HandicapBonus = "0"
    komi: float = 7.5

    def __post_init__(self) -> None:
        for field, allowed in _ALLOWED.items():
            if (value := getattr(self, field)) not in allowed:
                raise ValueError(f"expected {field} to be {' or '.join(allowed)}, found {value!r}")
        for field in ("suicide", "button"):
            if not isinstance(value := getattr(self, field), bool):
                raise ValueError(f"expected {field} to be true or false, found {value!r}")  # noqa: TRY004 (one kind of error)
        if self.button and self.scoring == "TERRITORY":
            raise ValueError(
                "expected no button under territory scoring, which KataGo does not know"
            )
        check_komi(self.komi)


_ALLOWED: dict[str, tuple[str, ...]] = {
    "ko": get_args(Ko),
    "scoring": get_args(Scoring),
    "tax": get_args(Tax),
    "handicap_bonus": get_args(HandicapBonus),
}


def check_komi(komi: float) -> None:
    """Raise ValueError unless KataGo takes this komi: whole or half points, at most 150 either way."""
    if not (math.isfinite(komi) and abs(komi) <= MAX_KOMI and float(2 * komi).is_integer()):
        raise ValueError(
            f"expected a komi in whole or half points within {MAX_KOMI}, found {komi:g}"
        )


_CHINESE = Rules("SIMPLE", suicide=False, handicap_bonus="N")
_JAPANESE = Rules("SIMPLE", "TERRITORY", "SEKI", suicide=False, komi=6.5)
_AGA = Rules("SITUATIONAL", suicide=False, handicap_bonus="N-1")

NAMED = {
    "tromptaylor": Rules(),
    "chinese": _CHINESE,
    "chineseogs": replace(_CHINESE, ko="POSITIONAL"),
    "chinesekgs": replace(_CHINESE, ko="POSITIONAL"),
    "japanese": _JAPANESE,
    "korean": _JAPANESE,
    "stonescoring": Rules("SIMPLE", tax="ALL", suicide=False),
    "ancientarea": Rules("SIMPLE", tax="ALL", suicide=False),
    "ancientterritory": replace(_JAPANESE, tax="ALL"),
    "aga": _AGA,
    "bga": _AGA,
    "french": _AGA,
    "agabutton": replace(_AGA, button=True, komi=7.0),
    "newzealand": Rules("SITUATIONAL"),
    "nz": Rules("SITUATIONAL"),
    "goe": Rules(),
    "ing": Rules(),
}
"""What the shorthands of KataGo's ``kata-set-rules`` and of SGF stand for; letters only, lower case."""

_PARTS = re.compile(
    r"ko(?P<ko>[A-Z]+?)score(?P<scoring>[A-Z]+?)tax(?P<tax>[A-Z]+?)sui(?P<suicide>[01])"
    r"(?:button(?P<button>[01]))?(?:whb(?P<handicap_bonus>N-1|N|0))?(?:fpok[01])?"
    r"(?:komi(?P<komi>-?[0-9.]+))?"
)

_JSON_KEYS = {"hasButton": "button", "whiteHandicapBonus": "handicap_bonus"}


def parse_rules(text: str) -> Rules:
    """Rules from ``RU[]``: a name, KataGo's ``koSIMPLEscoreAREAtaxNONEsui0…``, or its JSON.

    Nothing at all means the defaults. Raises ValueError for rules that are not known.
    """
    text = text.strip()
    if not text:
        return Rules()
    if text.startswith("{"):
        return _from_json(text)
    if found := _PARTS.fullmatch(text):
        parts: dict[str, Any] = {k: v for k, v in found.groupdict().items() if v is not None}
        return _build(parts | {k: parts[k] == "1" for k in ("suicide", "button") if k in parts})
    name = re.sub(r"[\s_-]|rules?$", "", text.lower())
    if name not in NAMED:
        raise ValueError(f"expected rules that are known ({', '.join(NAMED)}), found {text[:60]!r}")
    return NAMED[name]


def _from_json(text: str) -> Rules:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"expected rules as JSON, found {text[:60]!r}") from None
    parts = {_JSON_KEYS.get(key, key): value for key, value in given.items()}
    parts.pop("friendlyPassOk", None)
    return _build(parts)


def _build(parts: dict[str, Any]) -> Rules:
    try:
        if "komi" in parts:
            parts["komi"] = float(parts["komi"])
        return Rules(**parts)
    except TypeError:
        raise ValueError(f"expected KataGo's parts of rules, found {', '.join(parts)}") from None
