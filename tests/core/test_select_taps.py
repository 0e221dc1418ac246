"""Patterns of taps: names, globs, selectors, and what they say when they match nothing."""

from __future__ import annotations

import pytest

from actx_core.errors import TapError
from actx_core.select_taps import may_mean, select
from actx_core.types import Tap


def tap(name: str, module: str = "Conv2d", problem: str = "") -> Tap:
    return Tap(name, ("sample", "channel"), (4,), module=module, problem=problem)


NEVER = "it is never called in the forward pass"
PARTS = [("conv", "Conv2d"), ("relu:0", "ReLU"), ("relu:1@in", "ReLU"), ("relu:1", "ReLU")]
TAPS = [
    tap("conv1@in"),
    tap("conv1"),
    *(
        tap(f"layer{stage}.{block}.{part}", kind)
        for stage in (1, 2)
        for block in (0, 1, 2)
        for part, kind in PARTS
    ),
    tap("layer2.2", "Block"),
    tap("layer2", "Sequential"),
    tap("attn", "Attention", "its result is a tuple of 2 tensors; take attn.0, attn.1"),
    tap("attn.0", ""),
    tap("attn.1", ""),
    tap("drop", "Dropout", NEVER),
    tap("fc", "Linear"),
    tap("output.logits", ""),
    tap("output", "Net"),
    tap("head[2]", "Linear"),
]
PRESETS = {"first": ["conv1", "layer1.*.conv"], "broken": ["nothing"], "empty": []}


def names(*patterns: str) -> list[str]:
    return [t.name for t in select(TAPS, patterns, PRESETS)[0]]


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (["conv1"], ["conv1"]),
        (["conv1@in"], ["conv1@in"]),
        (["layer1.0.relu:1@in"], ["layer1.0.relu:1@in"]),
        (["output.logits"], ["output.logits"]),
        (["head[2]"], ["head[2]"]),
        (["attn.1"], ["attn.1"]),
        (["layer?"], ["layer2"]),
        (["layer[13].*.conv"], ["layer1.0.conv", "layer1.1.conv", "layer1.2.conv"]),
        (["layer[!1].0.conv"], ["layer2.0.conv"]),
        (["layer[2-4].[0-1].conv"], ["layer2.0.conv", "layer2.1.conv"]),
        (["layer1.0.relu*"], ["layer1.0.relu:0", "layer1.0.relu:1"]),
        (["layer1.0.relu:*"], ["layer1.0.relu:0", "layer1.0.relu:1"]),
        (["layer*.0.relu:1"], ["layer1.0.relu:1", "layer2.0.relu:1"]),
        (["layer1.*.relu@in"], ["layer1.0.relu:1@in", "layer1.1.relu:1@in", "layer1.2.relu:1@in"]),
        (["*@in"], ["conv1@in"]),
        (["layer1.**.conv"], ["layer1.0.conv", "layer1.1.conv", "layer1.2.conv"]),
        (["**conv1"], ["conv1"]),
        (["type:Linear"], ["fc", "head[2]"]),
        (["type:Block", "fc"], ["layer2.2", "fc"]),
        (["preset:first"], ["conv1", "layer1.0.conv", "layer1.1.conv", "layer1.2.conv"]),
        (["fc", "conv1", "fc", "con*1"], ["conv1", "fc"]),
    ],
)
def test_patterns(patterns, wanted):
    assert names(*patterns) == wanted


def test_star_star_takes_all_outputs_and_no_inputs():
    everything = names("**")
    assert everything == [t.name for t in TAPS if not t.problem and not t.name.endswith("@in")]


def test_a_star_does_not_cross_a_dot_nor_does_a_set():
    assert names("*") == ["conv1", "layer2", "fc", "output", "head[2]"]
    with pytest.raises(TapError):
        names("attn[!x]0")


@pytest.mark.parametrize(
    ("pattern", "message", "hint"),
    [
        ("conv2", "no such tap", "did you mean 'conv1'"),
        ("layer1.0.cnov", "no such tap", "'layer1.0.conv'"),
        ("zzz*", "no such tap", "there are: 'conv1@in'"),
        ("logits", "no such tap", "'output.logits'"),
        ("drop", NEVER, "actx layers"),
        ("attn", "take attn.0, attn.1", "actx layers"),
        ("dr*", NEVER, "actx layers"),
        ("layer1.0.relu", "called 2 times", "say which: 'layer1.0.relu:0', 'layer1.0.relu:1'"),
        ("layer1.0.relu:7", "no such tap", "'layer1.0.relu:"),
        ("conv1:0", "no such tap", "'conv1'"),
        ("type:Conv3d", "no module of this class", "did you mean 'Conv2d'"),
        ("preset:second", "no such preset", "there are: broken, empty, first"),
        ("preset:empty", "lists no taps", ""),
        ("preset:broken", "no such tap", ""),
        ("depth:0", "a number above zero", "depth:5"),
        ("depth:many", "a number above zero", "depth:5"),
        ("depth:99", "only 23 taps", ""),
    ],
)
def test_mistakes_say_what_to_do(pattern, message, hint):
    with pytest.raises(TapError) as error:
        names(pattern)
    assert message in error.value.message
    assert hint in error.value.hint
    assert error.value.where


def test_models_without_presets_say_so():
    with pytest.raises(TapError) as error:
        select(TAPS, ["preset:x"])
    assert error.value.hint == "this model has no presets"


def test_the_hint_for_all_calls_works():
    with pytest.raises(TapError) as error:
        names("layer1.0.relu")
    hinted = error.value.hint.rsplit("'", 2)[1]
    assert names(hinted) == ["layer1.0.relu:0", "layer1.0.relu:1"]


def test_globs_and_selectors_leave_out_what_cannot_be_taken_and_note_it():
    taps = [*TAPS, tap("drop2", "Dropout", NEVER), tap("drop3", "Dropout")]
    chosen, notes = select(taps, ["drop*", "[ad]*", "type:Dropout", "drop*"])
    assert [t.name for t in chosen] == ["drop3"]
    assert notes == [
        f"drop* leaves out drop, drop2: {NEVER}",
        "[ad]* leaves out attn: its result is a tuple of 2 tensors; take attn.0, attn.1;"
        f" drop, drop2: {NEVER}",
        f"type:Dropout leaves out drop, drop2: {NEVER}",
    ]


def test_names_win_over_selectors_and_globs():
    taps = [tap("type:0"), tap("type:1"), tap("x[1]"), tap("x1")]
    assert [t.name for t in select(taps, ["type:1"])[0]] == ["type:1"]
    assert [t.name for t in select(taps, ["x[1]"])[0]] == ["x[1]"]


def blocks(count: int, *more: str) -> list[Tap]:
    """A plain stack: numbered blocks with numbered parts, and what stands around them."""
    inner = [tap(f"blocks.{i}{end}", "B") for i in range(count) for end in (".mlp.0", "@in", "")]
    return [tap("stem"), *inner, tap("blocks"), *map(tap, more), tap("output", "Net")]


@pytest.mark.parametrize(
    ("count", "wanted"),
    [(1, [11]), (2, [0, 11]), (3, [0, 5, 11]), (5, [0, 3, 5, 8, 11]), (12, list(range(12)))],
)
def test_depth_spaces_blocks_evenly_with_both_ends(count, wanted):
    chosen, _ = select(blocks(12), [f"depth:{count}"])
    assert [t.name for t in chosen] == [f"blocks.{i}" for i in wanted]


def test_depth_falls_back_to_children_then_to_all_outputs():
    taps = [tap("a"), tap("a.x"), tap("b.y"), tap("b"), tap("b.z", "", ""), tap("output", "Net")]
    assert [t.name for t in select(taps, ["depth:2"])[0]] == ["a", "b"]
    assert [t.name for t in select(taps, ["depth:4"])[0]] == ["a", "a.x", "b.y", "b"]


def test_depth_counts_every_call_of_a_block():
    taps = [tap(f"block.0:{call}", "B") for call in range(5)]
    assert [t.name for t in select(taps, ["depth:3"])[0]] == ["block.0:0", "block.0:2", "block.0:4"]


@pytest.mark.parametrize(
    ("pattern", "name", "module", "may"),
    [
        ("relu", "relu", "ReLU", True),
        ("relu:1", "relu", "ReLU", True),
        ("relu:1@in", "relu@in", "ReLU", True),
        ("relu:1@in", "relu", "ReLU", False),
        ("layer*.relu:*", "layer1.relu", "ReLU", True),
        ("layer*", "layer1.relu", "ReLU", False),
        ("type:ReLU", "layer1.relu", "ReLU", True),
        ("type:ReLU", "layer1.conv", "Conv2d", False),
        ("depth:3", "anything", "Any", True),
    ],
)
def test_may_mean_never_misses(pattern, name, module, may):
    assert may_mean(pattern, name, module) is may


def test_an_alias_is_the_tap_it_stands_for_and_a_note_says_so():
    aliases = {"first": "conv1", "conv1": "fc"}
    taps, notes = select(TAPS, ["first"], {}, aliases)
    assert [tap.name for tap in taps] == ["conv1"]
    assert notes == ["'first' means the tap 'conv1'"]
    assert [tap.name for tap in select(TAPS, ["conv1"], {}, aliases)[0]] == ["conv1"]  # names win


def test_an_alias_of_a_missing_tap_is_an_error():
    with pytest.raises(TapError, match="no such tap"):
        select(TAPS, ["first"], {}, {"first": "gone"})
