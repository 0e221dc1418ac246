"""The picker of ``actx layers --pick``: walks a model's taps level by level and keeps those chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from actx_core.cli.command import Output
from actx_core.cli.layers import HEADS, cells, row_bytes
from actx_core.errors import Interrupted, TapError
from actx_core.select_taps import select
from actx_core.types import Tap
from actx_core.units import size

HELP = """\
NUMBER        open the part with that number, or choose it where it has no parts
.             choose the part that is open itself
..            go up
features.11   choose a tap by its full name; or by a glob, type:Conv2d, depth:5, preset:NAME
list          show what is chosen
remove NAME   take back a tap, or all that a glob means
done          end
?             this help; Ctrl-C leaves without writing anything"""


@dataclass(frozen=True)
class Item:
    """One part of the level that is open: ``tap`` is None where it is only a group."""

    number: int
    path: tuple[str, ...]
    tap: Tap | None
    parts: int


@dataclass
class Picker:
    """What is open and what is chosen. ``answer`` obeys one typed line and says what came of it."""

    taps: Sequence[Tap]
    presets: Mapping[str, Sequence[str]]
    aliases: Mapping[str, str]
    open: tuple[str, ...] = ()
    done: bool = False
    _chosen: set[str] = field(default_factory=set)

    @property
    def chosen(self) -> list[Tap]:
        """The taps that are chosen, in the order of the forward pass."""
        return [tap for tap in self.taps if tap.name in self._chosen]

    def items(self) -> list[Item]:
        """The parts of the level that is open, without inputs, in the order of the forward pass.

        They count from 0, so that in a list of modules a part's number is its name.
        """
        depth = len(self.open)
        below: dict[tuple[str, ...], set[str]] = {}
        taps = {}
        for tap in self.taps:
            path = tuple(tap.name.split("."))
            if path[:depth] != self.open or len(path) == depth or tap.name.endswith("@in"):
                continue
            parts = below.setdefault(path[: depth + 1], set())
            parts.update(path[depth + 1 : depth + 2])
            taps[path] = tap
        names = [path[-1] for path in below]
        numbers = map(int, names) if all(map(str.isdecimal, names)) else range(len(names))
        return [
            Item(number, path, taps.get(path), len(parts))
            for number, (path, parts) in zip(numbers, below.items(), strict=True)
        ]

    def answer(self, line: str) -> str:
        """Obey one line: a command, a number of ``items``, or a pattern of taps."""
        word, _, rest = line.strip().partition(" ")
        commands: Mapping[str, Callable[[], str]] = {
            "": lambda: "",
            "?": lambda: HELP,
            ".": lambda: self._choose(".".join(self.open)) if self.open else "nothing is open",
            "..": self._up,
            "list": self._list,
            "done": self._end,
        }
        try:
            if word in commands and not rest:
                return commands[word]()
            if word == "remove":
                return self._remove(rest.strip())
            if line.strip().isdecimal():
                return self._number(int(line))
            return self._choose(line.strip())
        except TapError as error:
            return str(error)

    def _up(self) -> str:
        if not self.open:
            return "this is the top"
        self.open = self.open[:-1]
        return ""

    def _list(self) -> str:
        lines = [f"{tap.name}  {'  '.join(cells(tap)[1:])}" for tap in self.chosen]
        return "\n".join([*lines, self.summary()])

    def _end(self) -> str:
        self.done = bool(self._chosen)
        return "" if self.done else "nothing is chosen; Ctrl-C leaves all the same"

    def _number(self, number: int) -> str:
        items = {item.number: item for item in self.items()}
        if number not in items:
            return f"there is no {number} here; the numbers are {min(items)} to {max(items)}"
        item = items[number]
        if item.parts:
            self.open = item.path
            return ""
        return self._choose(".".join(item.path))

    def _choose(self, pattern: str) -> str:
        found, notes = select(self.taps, [pattern], self.presets, self.aliases)
        new = [tap.name for tap in found if tap.name not in self._chosen]
        self._chosen.update(new)
        said = f"chosen: {', '.join(new)}" if new else "chosen already"
        return "\n".join([said, *(f"note: {note}" for note in notes)])

    def _remove(self, pattern: str) -> str:
        if not self._chosen:
            return "nothing is chosen"
        if not pattern:
            return "remove what? a name or a glob, such as 'remove features.*'"
        found = {tap.name for tap in select(self.chosen, [pattern], self.presets, self.aliases)[0]}
        self._chosen -= found
        return f"removed: {', '.join(tap.name for tap in self.taps if tap.name in found)}"

    def summary(self) -> str:
        """``3 taps chosen, 1.52 MB a sample``."""
        total: Counter[str] = Counter()
        for tap in self.chosen:
            total[tap.row_kind] += row_bytes(tap)
        sizes = [f", {size(count)} a {kind}" for kind, count in total.items()]
        return f"{len(self._chosen)} taps chosen{''.join(sizes)}"


def pick(out: Output, name: str, picker: Picker, read: Callable[[str], str] = input) -> list[str]:
    """Let a person choose at the terminal; the names chosen. Raises Interrupted where they leave."""
    out.line(f"{name}: ? for help")
    shown: tuple[str, ...] | None = None
    try:
        while not picker.done:
            if picker.open != shown:
                _show(out, picker)
                shown = picker.open
            if said := picker.answer(read(f"{'.'.join(picker.open)}> ")):
                out.line(said)
    except (KeyboardInterrupt, EOFError):
        out.line()
        raise Interrupted("nothing is written") from None
    return [tap.name for tap in picker.chosen]


def _show(out: Output, picker: Picker) -> None:
    """The part that is open, and its own parts; ``*`` is chosen, ``+`` holds something chosen."""
    chosen = {tuple(tap.name.split(".")) for tap in picker.chosen}
    own = next((tap for tap in picker.taps if tap.name == ".".join(picker.open)), None)
    rows = []
    if own:
        rows.append(("*." if picker.open in chosen else ".", own.name, *cells(own), ""))
    for item in picker.items():
        inside = any(path[: len(item.path)] == item.path for path in chosen)
        mark = "*" if item.path in chosen else "+" if inside else ""
        parts = str(item.parts or "")
        rows.append((f"{mark}{item.number}", item.path[-1], *cells(item.tap), parts))
    out.table(("", *HEADS, "parts"), rows, right=("", "size", "parts"))
