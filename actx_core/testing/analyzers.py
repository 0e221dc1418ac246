"""The suite for analyzers: the same result again, whole, and honest about bad input."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actx_core.contracts import Analyzer, Input
from actx_core.errors import ActxError
from actx_core.testing.suite import Suite, again, check_config
from actx_core.types import Result


def make_input(
    values: np.ndarray,
    axes: Sequence[str] = ("row", "channel"),
    columns: Mapping[str, Sequence[Any]] | None = None,
    name: str = "source/model/tap",
) -> Input:
    """An analyzer's input from an array whose first axis is rows."""
    values = values.copy()
    values.flags.writeable = False
    table = pa.table({"sample": [f"s{n:04d}" for n in range(len(values))], **(columns or {})})
    digest = hashlib.sha256(values.tobytes()).hexdigest()
    return Input(name, values, tuple(axes), table, digest, lambda rows: [None] * len(rows))


class AnalyzerTests(Suite):
    """Define the fixtures ``analyzer`` and ``inputs`` (see ``make_input``)."""

    @pytest.fixture
    def analyzer(self) -> Analyzer[Any]:
        raise NotImplementedError("define a fixture `analyzer` that returns the analyzer to test")

    @pytest.fixture
    def inputs(self) -> Sequence[Input]:
        raise NotImplementedError("define a fixture `inputs` that returns what it gets")

    def test_the_same_inputs_give_the_same_result(
        self, analyzer: Analyzer[Any], inputs: Sequence[Input], tmp_path: Path
    ) -> None:
        first = _results(analyzer, inputs, tmp_path / "first")
        second = _results(again(analyzer), inputs, tmp_path / "second")
        for a, b in zip(first, second, strict=True):
            assert (a.groups, a.notes, a.metrics) == (b.groups, b.notes, b.metrics)
            assert a.tables == b.tables
            assert a.arrays.keys() == b.arrays.keys()
            for name, (array, axes) in a.arrays.items():
                assert axes == b.arrays[name][1]
                np.testing.assert_array_equal(array, b.arrays[name][0], name)

    def test_inputs_are_left_alone(
        self, analyzer: Analyzer[Any], inputs: Sequence[Input], tmp_path: Path
    ) -> None:
        before = [np.array(one.array[:]).tobytes() for one in inputs]
        _results(analyzer, inputs, tmp_path)
        assert [np.array(one.array[:]).tobytes() for one in inputs] == before

    def test_the_result_is_whole(
        self, analyzer: Analyzer[Any], inputs: Sequence[Input], tmp_path: Path
    ) -> None:
        rows = [len(one.array[:]) for one in inputs]
        for n, result in enumerate(_results(analyzer, inputs, tmp_path)):
            _check(result, set(rows) if analyzer.many else {rows[n]})

    def test_values_that_are_not_finite(
        self, analyzer: Analyzer[Any], inputs: Sequence[Input], tmp_path: Path
    ) -> None:
        """A deliberate error or a result, but no crash."""
        broken = []
        for one in inputs:
            values = np.array(one.array[:])
            values.flat[values.size // 2] = np.nan
            values.flags.writeable = False
            broken.append(replace(one, array=values))
        with suppress(ActxError):
            for result in _results(analyzer, broken, tmp_path):
                _check(result, {len(one.array[:]) for one in broken})

    def test_config(self, analyzer: Analyzer[Any]) -> None:
        check_config(analyzer.config)


def _results(analyzer: Analyzer[Any], inputs: Sequence[Input], out: Path) -> list[Result]:
    out.mkdir(exist_ok=True)
    if analyzer.many:
        return [analyzer.run(inputs, out)]
    return [analyzer.run([one], out) for one in inputs]


def _check(result: Result, rows: set[int]) -> None:
    for name, table in result.tables.items():
        lengths = {column: len(values) for column, values in table.items()}
        assert len(set(lengths.values())) <= 1, f"table {name}: columns of unequal length {lengths}"
    for name, (array, axes) in result.arrays.items():
        assert array.ndim == len(axes), f"array {name}: {axes} have the shape {array.shape}"
        assert axes[:1] != ("row",) or len(array) in rows, f"array {name}: not a row per input row"
    for title, members in result.groups.items():
        assert all(0 <= row < max(rows) for row in members), f"group {title}: no such row"
    for name, figure in result.figures.items():
        svg = figure.lstrip()[:5] in (b"<?xml", b"<svg ", b"<svg>")
        assert svg or figure.startswith(b"\x89PNG"), f"figure {name}: neither PNG nor SVG"
    bad = {name: value for name, value in result.metrics.items() if not math.isfinite(value)}
    assert not bad, f"metrics that are not finite: {bad}"
