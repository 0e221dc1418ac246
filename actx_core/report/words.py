"""Numbers, names and sentences as a reader of the report wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from actx_core.report.page import ReportPage
from actx_core.units import size

_WBR = Markup("<wbr>")


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``2 min 5 s``, ``3 h 20 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 or seconds == 0 else "< 0.1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def number(value: Any) -> str:
    """An integer whole, anything else with four digits; a dash for nothing."""
    if value is None or (isinstance(value, Real) and math.isnan(value)):
        return "\u2013"
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    return f"{float(value):.4g}" if isinstance(value, Real) else str(value)


def cell(value: Any) -> str:
    """What stands in a table."""
    return str(value) if isinstance(value, bool) else short(number(value), 120)


def numeric(rows: Sequence[Sequence[Any]]) -> list[bool]:
    """Which columns hold nothing but numbers."""
    return [
        all(v is None or (isinstance(v, Real) and not isinstance(v, bool)) for v in column)
        for column in zip(*rows, strict=True)
    ]


def brief(text: str) -> str:
    """One name as it is; of several, joined by commas, how many they are."""
    names = text.split(", ")
    return text if len(names) == 1 else count(len(names), "array")


def short(text: str, most: int = 300) -> str:
    """Text cut to a length, with an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def middle(text: str, most: int = 30) -> str:
    """A name cut in its middle, where names differ least."""
    return text if len(text) <= most else f"{text[: most // 3]}…{text[1 + most // 3 - most :]}"


def breakable(text: str) -> Markup:
    """A name that may wrap after its separators."""
    out = escape(short(text))
    for separator in ("/", ".", "_"):
        out = out.replace(separator, separator + _WBR)
    return out


def link(path: str) -> str:
    """A relative address of a local file; it can never name another scheme or host."""
    return "./" + quote(path.lstrip("/"), errors="replace")


def count(n: int, noun: str) -> str:
    """``1 sample``, ``1,240 samples``, ``2 analyses``."""
    plural = noun[:-2] + "es" if noun.endswith("is") else noun + "s"
    return f"{n:,} {noun if n == 1 else plural}"


def sentence(page: ReportPage) -> str:
    """What ran on what, in one sentence."""
    if not page.sources and not page.models:
        return "Nothing has run yet."
    models = _name([m.name for m in page.models], "model") if page.models else "no model"
    sources = _name([s.name for s in page.sources], "source") if page.sources else "no source"
    known = [s.samples for s in page.sources if s.samples is not None]
    read = f"{count(sum(known), 'sample')} of " if known else ""
    stored = f"{count(len(page.arrays), 'array')}, {size(sum(a.bytes for a in page.arrays))}"
    ends = [f"{stored} stored" if page.arrays else "nothing stored yet"]
    if page.analyses:
        ends.append(count(len(page.analyses), "analysis"))
    if page.skipped:
        ends.append(f"{count(len(page.skipped), 'sample')} skipped")
    return f"{models} read {read}{sources}: {'; '.join(ends)}."


def _name(names: Sequence[str], noun: str) -> str:
    return names[0] if len(names) == 1 else count(len(names), noun)
