"""Maps in the report: every point where it is, said on hover, coloured by a column."""

from __future__ import annotations

import re
from html import unescape

import numpy as np
import pytest

from actx_core.report import AnalysisView, ReportPage, write_report
from actx_core.report.maps import GREY, HEIGHT, POINTS, WIDTH, chosen, draw_maps

RNG = np.random.default_rng(0)


def page(tmp_path, *maps):
    view = AnalysisView("map", "cluster/map", "a/b/c", maps=maps)
    return write_report(ReportPage("r", analyses=[view]), tmp_path / "r.html").read_text()


def points(view):
    return {words: (x, y) for group in view.groups for x, y, words in group.points}


def test_points_keep_their_proportions():
    places = np.array([[0, 0], [10, 0], [0, 1], [10, 1]])
    [view] = draw_maps("map", places, {}, ["a", "b", "c", "d"], 4)
    found = points(view)
    (ax, ay), (bx, by), (cx, cy) = found["a"], found["b"], found["c"]
    assert (ay, ax) == (by, cx)
    assert bx - ax == pytest.approx(10 * (ay - cy), rel=0.01)
    assert cy < ay  # up is up
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in found.values())


def test_columns_colour_the_points(tmp_path):
    places = RNG.standard_normal((6, 2))
    columns = {"k2": [0, 1, 1, -1, 0, 1], "label": ["<b>", None, "x", "x", "x", "<b>"]}
    maps = draw_maps("map", places, columns, list("abcdef"), 6)
    assert [m.column for m in maps] == ["k2", "label"]
    told = [[(g.value, g.colour, len(g.points)) for g in m.groups] for m in maps]
    assert told[0] == [("0", 0, 2), ("1", 1, 3), ("-1", GREY, 1)]  # a cluster keeps its colour
    assert told[1] == [("x", 0, 3), ("<b>", 1, 2), ("none", GREY, 1)]
    html = page(tmp_path, *maps)
    titles = [unescape(t) for t in re.findall(r"<circle[^>]*><title>(.*?)</title>", html)]
    assert sorted(titles[6:]) == ["a: <b>", "b: none", "c: x", "d: x", "e: x", "f: <b>"]
    assert re.findall(r"<text[^>]*>(.*?)</text>", html)[:3] == ["0", "1", "-1"]
    assert "<b>" not in html
    assert "<script" not in html


def test_a_name_stands_at_the_middle_of_its_group():
    places = np.array([[0, 0], [0, 2], [0, 9], [5, 0]])
    [view] = draw_maps("map", places, {"k": [0, 0, 0, 1]}, list("abcd"), 4)
    assert (view.groups[0].x, view.groups[0].y) == points(view)["b: 0"]


def test_many_rows_are_sampled_counted_and_thinned(tmp_path):
    rows = chosen(5 * POINTS)
    assert rows == chosen(5 * POINTS) == sorted(set(rows))
    places = RNG.standard_normal((POINTS, 2))
    clusters = {"k600": [row % 600 for row in rows]}
    [view] = draw_maps("map", places, clusters, [f"s{row}" for row in rows], 5 * POINTS)
    assert (len(points(view)), view.total) == (POINTS, 5 * POINTS)
    html = page(tmp_path, view)
    assert "2,000 of 10,000 rows" in html
    assert 'class="legend"' not in html
    assert "<text" not in html
    html = page(tmp_path, *[view] * 16)  # more points than a page holds
    assert 16 * 600 <= html.count("<circle") < 24_000
    assert "2,000 of" not in html


def test_rows_in_one_place():
    [view] = draw_maps("map", np.ones((3, 2)), {}, ["a", "b", "c"], 3)
    assert set(points(view).values()) == {(WIDTH / 2, HEIGHT / 2)}
