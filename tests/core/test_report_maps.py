"""Maps in the report: every point where it is, said on hover, coloured by a column."""

from __future__ import annotations

import re
from html import unescape

import numpy as np
import pytest

from actx_core.report import AnalysisView, ReportPage, write_report
from actx_core.report.maps import HEIGHT, POINTS, WIDTH, draw_maps

RNG = np.random.default_rng(0)


def page(tmp_path, *maps):
    view = AnalysisView("map", "cluster/map", "a/b/c", maps=maps)
    return write_report(ReportPage("r", analyses=[view]), tmp_path / "r.html").read_text()


def points(view):
    return {words: (x, y) for _, _, group in view.groups for x, y, words in group}


def test_points_keep_their_proportions():
    places = np.array([[0, 0], [10, 0], [0, 1], [10, 1]])
    [view] = draw_maps("map", places, {}, ["a", "b", "c", "d"])
    found = points(view)
    (ax, ay), (bx, by), (cx, cy) = found["a"], found["b"], found["c"]
    assert (ay, ax) == (by, cx)
    assert bx - ax == pytest.approx(10 * (ay - cy), rel=0.01)
    assert cy < ay  # up is up
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in found.values())


def test_columns_colour_the_points(tmp_path):
    places = RNG.standard_normal((6, 2))
    columns = {"k2": [0, 1, 1, 1, 0, 1], "label": ["<b>", None, "x", "x", "x", "<b>"]}
    maps = draw_maps("map", places, columns, list("abcdef"))
    assert [m.column for m in maps] == ["k2", "label"]
    assert [(value, colour, len(p)) for value, colour, p in maps[0].groups] == [
        ("1", 0, 4),
        ("0", 1, 2),
    ]
    assert [value for value, _, _ in maps[1].groups] == ["x", "<b>", "none"]
    html = page(tmp_path, *maps)
    titles = [unescape(t) for t in re.findall(r"<circle[^>]*><title>(.*?)</title>", html)]
    assert sorted(titles[6:]) == ["a: <b>", "b: none", "c: x", "d: x", "e: x", "f: <b>"]
    assert "<b>" not in html
    assert "<script" not in html


def test_many_rows_are_sampled_and_counted(tmp_path):
    places = RNG.standard_normal((5 * POINTS, 2))
    clusters = np.arange(5 * POINTS) % 600
    [view] = draw_maps(
        "map", places, {"k600": clusters.tolist()}, [f"s{i}" for i in range(5 * POINTS)]
    )
    assert (len(points(view)), view.total) == (POINTS, 5 * POINTS)
    again = draw_maps(
        "map", places, {"k600": clusters.tolist()}, [f"s{i}" for i in range(5 * POINTS)]
    )
    assert points(again[0]) == points(view)
    html = page(tmp_path, view)
    assert "2,000 of 10,000 rows" in html
    assert 'class="legend"' not in html


def test_rows_in_one_place():
    [view] = draw_maps("map", np.ones((3, 2)), {}, ["a", "b", "c"])
    assert set(points(view).values()) == {(WIDTH / 2, HEIGHT / 2)}
