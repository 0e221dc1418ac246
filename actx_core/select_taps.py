"""Which taps a list of patterns means: names, globs, and the selectors ``type:``, ``depth:``, ``preset:``.

* A name is taken as it stands: ``layer1.0.relu:1``, ``fc@in``, ``output.logits``. Names win over all else.
* A glob matches whole names; ``*``, ``?`` and ``[ab]`` stay within one dotted component, ``**`` crosses dots.
  Inputs match only a glob that ends in ``@in``. A glob without ``:`` takes all calls of a module.
* ``type:Conv2d`` takes the outputs of all modules of that class.
* ``depth:5`` takes 5 outputs evenly spaced in forward order, the last one included and, from 2 on, the first.
  They are drawn from the outermost numbered modules (``blocks.3``, ``layer1.0``, ``features.4``); where there
  are too few of those, from the direct children of the model; else from all module outputs.
* ``preset:NAME`` takes what the model's preset of that name lists.
* An alias that the model declares is the tap it stands for; a note says which that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

from actx_core.errors import TapError
from actx_core.types import Tap

_CALL = re.compile(r":[^:.@]+(?=$|@in$)")
_SELECTOR = re.compile(r"(type|depth|preset):(.+)")
_GLOB = re.compile(r"[*?\[]")


def select(
    taps: Sequence[Tap],
    patterns: Sequence[str],
    presets: Mapping[str, Sequence[str]] = MappingProxyType({}),
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> tuple[list[Tap], list[str]]:
    """The taps that any of the patterns means, in the order of ``taps``, each once; and notes for the reader.

    A glob or a selector leaves out taps that cannot be taken, and a note says which and why. Raises TapError
    where a pattern matches nothing, or names a tap that cannot be taken or is ambiguous.
    """
    chosen: set[str] = set()
    notes: dict[str, None] = {}
    own = {tap.name for tap in taps}
    for pattern in patterns:
        meant = pattern if pattern in own else aliases.get(pattern, pattern)
        if meant != pattern:
            notes[f"'{pattern}' means the tap '{meant}'"] = None
        found = _resolve(meant, taps, presets)
        good = [tap for tap in found if not tap.problem]
        if not good:
            message = found[0].problem if found[0].name == meant else _because(found)
            raise TapError(message, where=pattern, hint="'actx layers' lists the taps")
        chosen.update(tap.name for tap in good)
        if len(good) < len(found):
            notes[f"{pattern} leaves out {_because(found)}"] = None
    return [tap for tap in taps if tap.name in chosen], list(notes)


def may_mean(pattern: str, name: str, module: str) -> bool:
    """Whether a pattern could mean some call of a tap; ``name`` is without its call."""
    if selector := _SELECTOR.fullmatch(pattern):
        kind, argument = selector.groups()
        return kind != "type" or module == argument or _CALL.sub("", pattern) == name
    pattern = _CALL.sub("", pattern)
    return pattern == name or _regex(pattern).fullmatch(name) is not None


def _resolve(pattern: str, taps: Sequence[Tap], presets: Mapping[str, Sequence[str]]) -> list[Tap]:
    """The taps of one pattern, those with problems included; never empty."""
    exact = [tap for tap in taps if tap.name == pattern]
    if exact:
        return exact
    if selector := _SELECTOR.fullmatch(pattern):
        kind, argument = selector.groups()
        if kind == "preset":
            return _preset(argument, taps, presets)
        return _of_type(argument, taps) if kind == "type" else _spaced(argument, taps)
    if not _GLOB.search(pattern):
        calls = [tap.name for tap in taps if _CALL.sub("", tap.name) == pattern]
        if calls:
            raise TapError(
                f"the module is called {len(calls)} times in one forward pass",
                where=pattern,
                hint=f"say which: {_some(calls)}; or all: '{_any_call(pattern)}'",
            )
    found = [tap for tap in taps if _matches(pattern, tap.name)]
    if not found:
        raise TapError("no such tap", where=pattern, hint=_near(pattern, [t.name for t in taps]))
    return found


def _matches(pattern: str, name: str) -> bool:
    if pattern.endswith("@in") != name.endswith("@in"):
        return False
    return _regex(pattern).fullmatch(name if ":" in pattern else _CALL.sub("", name)) is not None


def _regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    wild: dict[str, Callable[[str], str]] = {
        "**": lambda _: ".*",
        "*": lambda _: r"[^.]*",
        "?": lambda _: r"[^.]",
    }
    return re.compile(
        "".join(wild.get(p, _set if i % 2 else re.escape)(p) for i, p in enumerate(parts))
    )


def _set(text: str) -> str:
    """``[2-4]`` or ``[!ab]`` as a regular expression that never matches a dot."""
    inner = text[1:-1].replace("\\", r"\\").replace("^", r"\^")
    return rf"(?!\.)[{'^' + inner[1:] if inner.startswith('!') else inner}]"


def _of_type(name: str, taps: Sequence[Tap]) -> list[Tap]:
    outputs = list(_outputs(taps))
    found = [tap for tap in outputs if tap.module == name]
    if not found:
        classes = sorted({tap.module for tap in outputs})
        raise TapError("no module of this class", where=f"type:{name}", hint=_near(name, classes))
    return found


def _spaced(argument: str, taps: Sequence[Tap]) -> list[Tap]:
    if not argument.isdecimal() or not int(argument):
        raise TapError("expected a number above zero", where=f"depth:{argument}", hint="depth:5")
    count = int(argument)
    outputs = [tap for tap in _outputs(taps) if not tap.problem and tap.name != "output"]
    numbered = [tap for tap in outputs if _is_outermost_numbered(tap.name)]
    children = [tap for tap in outputs if "." not in tap.name]
    for candidates in (numbered, children, outputs):
        last = len(candidates) - 1
        if last + 1 >= count:
            steps = max(count - 1, 1)
            return [candidates[last - (2 * i * last + steps) // (2 * steps)] for i in range(count)]
    raise TapError(
        f"the model has only {len(outputs)} taps to choose from", where=f"depth:{argument}"
    )


def _is_outermost_numbered(name: str) -> bool:
    *parents, last = _CALL.sub("", name).split(".")
    return last.isdecimal() and not any(parent.isdecimal() for parent in parents)


def _outputs(taps: Sequence[Tap]) -> Iterable[Tap]:
    """Outputs of modules: no inputs, and no elements of a tuple (they name no module)."""
    return (tap for tap in taps if tap.module and not tap.name.endswith("@in"))


def _preset(name: str, taps: Sequence[Tap], presets: Mapping[str, Sequence[str]]) -> list[Tap]:
    if name not in presets:
        known = ", ".join(sorted(presets))
        hint = f"there are: {known}" if known else "this model has no presets"
        raise TapError("no such preset", where=f"preset:{name}", hint=hint)
    try:
        found = [tap for pattern in presets[name] for tap in _resolve(pattern, taps, {})]
    except TapError as error:
        where = f"preset:{name}: {error.where}"
        raise TapError(error.message, where=where, hint=error.hint) from error
    if not found:
        raise TapError("the preset lists no taps", where=f"preset:{name}")
    return found


def _because(taps: Sequence[Tap]) -> str:
    """Names of taps that cannot be taken, grouped by reason."""
    reasons: dict[str, list[str]] = {}
    for tap in taps:
        if tap.problem:
            reasons.setdefault(tap.problem, []).append(tap.name)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())


def _any_call(name: str) -> str:
    return name.removesuffix("@in") + ":*" + ("@in" if name.endswith("@in") else "")


def _near(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    if not close:
        ends = [k for k in known if name in k]
        close = ends[:3]
    return f"did you mean {_some(close, ' or ')}?" if close else f"there are: {_some(known)}"


def _some(names: Sequence[str], joint: str = ", ") -> str:
    return joint.join(f"'{name}'" for name in names[:8]) + (" …" if len(names) > 8 else "")
