"""The groups of an analysis as the page shows them: under headings, in rows, most of them folded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from actx_core.types import Preview

OPEN = 12
"""Groups of a chapter that are shown at once."""
FOLD = 50
"""Groups that open together."""

Strip = Sequence[Preview | None]


@dataclass(frozen=True, slots=True)
class Group:
    """A title with its strip, and with further ones such as ``farthest``."""

    title: str
    strips: list[tuple[str, Strip]]


@dataclass(frozen=True, slots=True)
class Chapter:
    """Groups under one heading, which may be empty; ``left_out`` counts those not shown."""

    heading: str
    groups: list[Group] = field(default_factory=list)
    left_out: int = 0

    @property
    def first(self) -> list[Group]:
        """Those that are shown at once."""
        return self.groups[:OPEN]

    @property
    def folds(self) -> list[list[Group]]:
        """The others, in parts that open together."""
        return [self.groups[at : at + FOLD] for at in range(OPEN, len(self.groups), FOLD)]


def chapters(groups: Mapping[str, Strip], most: int) -> list[Chapter]:
    """The first groups of an analysis, ``most`` in each chapter, by what stands before ``": "`` in titles."""
    found: dict[str, list[Group]] = {}
    shared = Counter(title.partition(": ")[0] for title in groups if ": " in title)
    last = heading = ""
    for full, strip in groups.items():
        if last and full.startswith(f"{last}, "):
            found[heading][-1].strips.append((full[len(last) + 2 :], strip))
        else:
            heading, _, title = full.partition(": ")
            if shared[heading] < 2:
                heading, title = "", full
            found.setdefault(heading, []).append(Group(title, [("", strip)]))
            last = full
    return [
        Chapter(heading, list(islice(own, most)), max(0, len(own) - most))
        for heading, own in found.items()
    ]
