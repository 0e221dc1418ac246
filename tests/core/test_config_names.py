"""Ids of entries, and what analyses say they work on."""

from __future__ import annotations

from pathlib import Path

import pytest

from actx_core.config.load import load_dict

GOOD = (Path(__file__).parent / "toy" / "pipeline.toml").read_text()

pytestmark = pytest.mark.usefixtures("toy")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/b", "it contains '/'"),
        (".a", "it begins with '.'"),
        ("", "it is empty"),
        (" a", "it is empty or has blanks"),
        ("a*", "it contains '*'"),
        ("a[0]", "it contains '['"),
        ("{x}", "it contains '{'"),
        ("a\nb", "it contains '\\n'"),
        ("a\\b", "it contains"),
        ("a" * 101, "it is longer"),
        ("Analyses", "a run has a folder of that name"),
    ],
)
def test_ids_that_are_refused(name, why, problems):
    ((where, message, hint),) = problems(lambda p: p["source"].update({"as": name}))
    assert where == "source.as"
    assert message.startswith(f"'{name}' cannot be the name of a source: {why}")
    assert hint == 'set as = "…"'


@pytest.mark.parametrize(
    "name", ["a", "vit_b-16", "1.5x", "Bär 2", "日本", "a.b", "x=1,y@z+w", "a" * 100]
)
def test_ids_that_are_fine(name, plain):
    plain["model"]["as"] = name
    assert load_dict(plain).models[0].id == name


def test_ids_are_unique_where_case_does_not_count(wrong):
    text = GOOD + (
        '[[model]]\ntype = "toy"\ntaps = ["a"]\n'
        '[[model]]\ntype = "toy"\ntaps = ["a"]\nas = "SMALL"\n'
        '[[source]]\ntype = "files"\npath = "x/rotated"\n'
    )
    assert wrong(text) == [
        "19:3: two of 'model' are called 'small'  hint: set as = \"…\"",
        "25:1: two of 'model' are called 'SMALL' (case does not count: 'small')  hint: set as = \"…\"",
        "26:3: two of 'source' are called 'rotated'  hint: set as = \"…\"",
    ]


def test_a_source_and_a_model_may_share_an_id(plain):
    plain["model"]["as"] = "x"
    assert load_dict(plain).sources[0].id == "x"


def analyses(*tables):
    return lambda p: p.update(analyze=[{"type": "groups", **t} for t in tables])


@pytest.mark.parametrize(
    "pattern",
    [
        "x/small/a",
        "x/*/a",
        "*/small/*",
        "**",
        "*",
        "*a",
        "x/s?all/b.c",
        "x/**",
        "x/[st]mall/b",
        "x/sm*",
        "?/*/a/b",
        "*l/*",
    ],
)
def test_patterns_that_can_match(pattern, plain):
    analyses({"on": [pattern]})(plain)
    assert load_dict(plain).analyses[0].on == (pattern,)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("y/small/a", "did you mean 'x/small/a'?"),
        ("x/smal/fc", "did you mean 'x/small/fc'?"),
        ("x/large/*", "there are: second, x/small/*"),
        ("x/small", "did you mean 'x/small/*'?"),
        ("x/small/", "did you mean 'x/small/*'?"),
        ("x", "there are: second, x/small/*"),
        ("x/[!s]mall/a", "did you mean 'x/small/a'?"),
        ("?", "there are: second, x/small/*"),
        ("secnd", "did you mean 'second'?"),
    ],
)
def test_patterns_that_match_nothing_declared(pattern, hint, problems):
    found = problems(analyses({"on": ["**", pattern], "as": "first"}, {"as": "second"}))
    ((where, message, advice),) = found
    assert where == "analyze.0.on.1"
    assert (
        message == f"'{pattern}' can match nothing: neither source/model/tap nor another analysis"
    )
    assert advice == hint


def test_analyses_may_stand_in_any_order(plain):
    analyses({"as": "b", "on": ["a"]}, {"as": "a"})(plain)
    assert [a.id for a in load_dict(plain).analyses] == ["b", "a"]


def test_cycles_among_analyses(problems):
    found = problems(
        analyses(
            {"as": "a", "on": ["b"]},
            {"as": "b", "on": ["c", "**"]},
            {"as": "c", "on": ["a"]},
            {"as": "self", "on": ["self"]},
        )
    )
    assert [(where, message) for where, message, _ in found] == [
        ("analyze.0.on", "analyses wait for each other: 'a' → 'b' → 'c' → 'a'"),
        ("analyze.3.on", "analyses wait for each other: 'self' → 'self'"),
    ]


def test_patterns_are_not_judged_where_a_mistake_hides_an_id(problems):
    def change(data):
        data["source"]["path"] = 3
        analyses({"on": ["unknown/*/a"]})(data)

    assert [where for where, _, _ in problems(change)] == ["source.path"]
