"""Probes against scikit-learn on the same folds; what must not leak; controls; bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedGroupKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from actx_cluster.probes import probe as module
from actx_cluster.probes.config import ProbeConfig
from actx_cluster.probes.probe import Probe
from actx_cluster.probes.task import split, task
from actx_cluster.rows import Rows
from actx_core import AnalysisError

DIGITS = load_digits()
FEW = np.arange(0, 1797, 9)


def probe(inputs, out=Path(), **options):
    inputs = inputs if isinstance(inputs, list) else [inputs]
    return Probe(ProbeConfig(**{"controls": 0} | options)).run(inputs, out)


def line(found, number=0):
    return {name: column[number] for name, column in found.tables["probes"].items()}


@pytest.fixture
def digits(make_input):
    def make(name="s/m/t", array=None, **columns):
        array = DIGITS.data[FEW].astype("float32") if array is None else array
        columns = {"label": DIGITS.target[FEW].tolist()} | columns
        return make_input(array, name=name, **columns)

    return make


def test_accuracy_is_scikit_learns_on_the_same_folds(digits, tmp_path):
    groups = (np.arange(len(FEW)) // 2).tolist()
    found = probe(digits(block=groups), tmp_path, group="block", seed=3)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=3)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    array, labels = DIGITS.data[FEW].astype("float32"), DIGITS.target[FEW]
    codes = np.unique([f"int:{g}" for g in groups], return_inverse=True)[1]
    wanted = cross_val_score(model, array, labels, groups=codes, cv=folds)
    np.testing.assert_allclose(found.tables["folds"]["score"], wanted)
    guesses = cross_val_predict(model, array, labels, groups=codes, cv=folds)
    assert line(found)["score"] == pytest.approx((guesses == labels).mean())
    assert line(found)["low"] < line(found)["score"] < line(found)["high"]
    assert line(found)["chance"] == pytest.approx(np.bincount(labels).max() / len(labels))
    assert sum(found.tables["folds"]["test_rows"]) == len(FEW)
    assert "accuracy of 'label' is highest in s/m/t" in found.notes[0]
    assert list(tmp_path.iterdir()) == []


def test_r2_is_scikit_learns_on_the_same_folds(digits):
    random = np.random.default_rng(0)
    value = (
        DIGITS.data[FEW] @ random.normal(size=64) + 1e4 + random.normal(size=len(FEW))
    ).tolist()
    found = probe(digits(value=value), column="value", alpha=10)
    samples = np.arange(len(FEW))
    folds = split(np.array(value), samples, 5, 0, classify=False)
    model = make_pipeline(StandardScaler(), Ridge(10))
    wanted = cross_val_score(model, DIGITS.data[FEW], value, cv=folds, scoring="r2")
    np.testing.assert_allclose(found.tables["folds"]["score"], wanted, atol=1e-3)
    assert line(found)["chance"] == 0
    assert line(found)["classes"] is None
    assert line(found)["score"] > 0.8
    assert line(found)["low"] < line(found)["score"] < line(found)["high"] < 1


def test_a_penalty_is_chosen_inside_each_training_fold(digits):
    found = probe(digits(), alpha=[0.01, 1, 100], folds=3)
    about = task(Rows(digits()), ProbeConfig(folds=3))
    array = DIGITS.data[FEW].astype("float32")
    chosen = []
    for train, _ in about.folds(3, 0):
        inner = split(about.labels[train], about.groups[train], 2, 0, classify=True)
        grid = {"logisticregression__C": [100, 1, 0.01]}
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        search = GridSearchCV(model, grid, cv=inner).fit(array[train], about.labels[train])
        chosen.append(1 / search.best_params_["logisticregression__C"])
    np.testing.assert_allclose(found.tables["folds"]["alpha"], chosen)


def test_groups_do_not_leak(make_input):
    # each sample has 4 replicates that are nearly alike and a random label: there is nothing to learn
    random = np.random.default_rng(1)
    array = np.repeat(random.normal(size=(100, 80)), 4, axis=0) + 0.01 * random.normal(
        size=(400, 80)
    )
    labels = np.repeat(random.integers(2, size=100), 4).tolist()
    samples = np.repeat([f"{n}.png" for n in range(100)], 4).tolist()
    rows = make_input(array, sample=samples, label=labels, row=list(range(400)))
    honest = line(probe(rows))
    assert honest["groups"] == 100
    assert honest["low"] < 0.55
    assert line(probe(rows, group="row"))["score"] > 0.75
    about = task(Rows(rows), ProbeConfig())
    for train, test in about.folds(5, 0):
        assert not set(np.array(samples)[train]) & set(np.array(samples)[test])


def test_what_scales_the_rows_does_not_see_those_tested(make_input, monkeypatch):
    seen = []
    fit = StandardScaler.fit

    def watched(self, rows, y=None, sample_weight=None):
        seen.append(len(rows))
        return fit(self, rows, y, sample_weight)

    monkeypatch.setattr(StandardScaler, "fit", watched)
    array = np.random.default_rng(2).normal(size=(60, 5))
    found = probe(make_input(array, label=["a", "b"] * 30), folds=3)
    assert seen == found.tables["folds"]["train_rows"]
    assert max(seen) < 60


def test_selectivity_is_less_for_what_is_only_remembered(make_input):
    # 40 words: any labels of words can be learned by heart from one-hot vectors
    random = np.random.default_rng(3)
    words = random.integers(40, size=2000)
    array = np.eye(40)[words] + 0.05 * random.normal(size=(2000, 40))
    columns = {
        "label": (words % 2).tolist(),
        "word": [f"w{n}" for n in words],
        "sample": [f"s{n}" for n in random.integers(300, size=2000)],
    }
    found = line(probe(make_input(array, **columns), controls=2, control="word", folds=3))
    assert found["control"] > 0.95
    assert abs(found["selectivity"]) < 0.05
    plain = line(probe(make_input(array, **columns), controls=2, folds=3))
    assert plain["control"] < 0.6
    assert plain["selectivity"] == pytest.approx(plain["score"] - plain["control"])


def test_control_labels_are_shuffled_among_groups_where_a_group_has_one(make_input):
    labels, samples = ["a", "a", "b", "b", "c", "c"] * 4, [str(n // 2) for n in range(24)]
    about = task(
        Rows(make_input(np.ones((24, 2)), sample=samples, label=labels)), ProbeConfig(folds=2)
    )
    shuffled = about.control(np.random.default_rng(0))
    assert (shuffled[::2] == shuffled[1::2]).all()
    assert sorted(shuffled) == sorted(about.labels)
    assert (shuffled != about.labels).any()


def test_depth_and_a_random_network(digits):
    array = DIGITS.data[FEW]
    noise = np.random.default_rng(4).normal(size=(len(FEW), 8))
    inputs = [
        digits("s/net/early", array[:, :24]),
        digits("s/net/late", array),
        digits("s/blank/early", noise),
        digits("s/blank/late", noise[:, :4]),
    ]
    found = probe(inputs, random="blank", folds=3, controls=1)
    table = found.tables["probes"]
    assert table["input"] == [data.name for data in inputs]
    assert table["random"] == [table["score"][2], table["score"][3], None, None]
    assert table["beyond_random"][1] == pytest.approx(table["score"][1] - table["score"][3])
    assert table["score"][1] > table["score"][0] > table["score"][2]
    assert "s/net/late" in found.notes[0]
    assert found.figures["depth"].startswith(b"\x89PNG")
    assert found.metrics["best_score"] == table["score"][1]
    with pytest.raises(AnalysisError, match="no tap has its like in a model 'blnk'"):
        probe(inputs, random="blnk")


def test_folds_are_alike_for_all_taps_and_orders_of_rows(make_input):
    random = np.random.default_rng(5)
    array, labels = random.normal(size=(90, 6)), random.integers(3, size=90)
    array[np.arange(90), labels] += 1
    names = [f"{n}.png" for n in range(90)]
    order = np.argsort(names)
    inputs = [
        make_input(array[rows], sample=[names[r] for r in rows], score=array[rows, 0].tolist())
        for rows in (order, order[::-1])
    ]
    one, two = (line(probe(data, column="score", folds=3)) for data in inputs)
    assert one["score"] == pytest.approx(two["score"])


def test_a_stopped_analysis_goes_on_at_the_next_tap(digits, tmp_path, monkeypatch):
    inputs = [digits(f"s/net/{n}", DIGITS.data[FEW][:, : 20 * n]) for n in (1, 2)]
    whole = probe(inputs, tmp_path, folds=3)
    fitted = []
    real = module.probe

    def dying(matrix, *rest):
        if len(fitted) == 1:
            raise KeyboardInterrupt
        fitted.append(matrix.shape)
        return real(matrix, *rest)

    monkeypatch.setattr(module, "probe", dying)
    with pytest.raises(KeyboardInterrupt):
        probe(inputs, tmp_path, folds=3)
    fitted[:] = [None] * 5
    assert probe(inputs, tmp_path, folds=3).tables == whole.tables
    assert fitted[5:] == [(len(FEW), 40)]


def test_rows_without_a_label_are_left_out_and_counted(digits):
    labels = [None if n % 4 == 0 else int(x) for n, x in enumerate(DIGITS.target[FEW])]
    found = probe(digits(label=labels), folds=3)
    assert line(found)["rows"] == len([x for x in labels if x is not None])
    assert "50 rows have no value in 'label' and were left out" in found.notes


def test_of_many_rows_whole_groups_are_chosen(make_input):
    random = np.random.default_rng(6)
    samples = [f"s{n // 10}" for n in range(1000)]
    data = make_input(random.normal(size=(1000, 4)), sample=samples, label=["a", "b"] * 500)
    about = task(Rows(data), ProbeConfig(rows=205))
    assert len(about.numbers) == 200
    assert (np.bincount(about.groups) == 10).all()
    assert (np.diff(about.numbers) > 0).all()
    assert "a seeded choice of whole groups: at most 200 rows" in probe(data, rows=205).notes[1]
    assert data.array.largest <= 1000


def test_a_fit_that_still_moves_is_told(digits):
    assert "still moving after max_iter = 2" in probe(digits(), max_iter=2, folds=3).notes[-1]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {"column": "kind"}, "the rows have no column 'kind'; there are label, sample"),
        ({}, {"group": "scene"}, "the rows have no column 'scene'"),
        ({"label": ["a"] * 30}, {}, "at least 2 classes in the column 'label', found 1"),
        (
            {"label": ["a"] * 28 + ["b"] * 2},
            {},
            r"5 groups of each class, found fewer of 'b' \(2\)",
        ),
        ({"label": [1.0] * 30}, {}, "all values of the column 'label' are equal"),
        (
            {"label": ["x"] * 30},
            {"method": "ridge"},
            "expected numbers in the column 'label', found 'x'",
        ),
        (
            {"sample": ["a"] * 15 + ["b"] * 15, "label": [*range(30)]},
            {"method": "ridge"},
            "groups to split, found 2",
        ),
    ],
)
def test_columns_that_do_not_fit_are_refused(make_input, columns, options, message):
    columns = {"label": ["a", "b"] * 15} | columns
    with pytest.raises(AnalysisError, match=message):
        probe(make_input(np.random.default_rng(7).normal(size=(30, 3)), **columns), **options)


def test_bad_rows_are_refused(make_input):
    array = np.random.default_rng(8).normal(size=(30, 3))
    array[5, 1] = np.inf
    with pytest.raises(AnalysisError, match=r"sample 'img0005.png' \(row 5\)"):
        probe(make_input(array, label=["a", "b"] * 15))
    with pytest.raises(AnalysisError, match="axes y 2 x x 3") as caught:
        probe(make_input(np.ones((30, 2, 3)), ("row", "y", "x"), label=["a", "b"] * 15))
    assert "pool the tap with" in caught.value.hint


def test_numbers_far_from_zero_keep_their_digits(make_input):
    random = np.random.default_rng(0)
    array = random.normal(size=(100, 4)).astype("float32")
    goal = array[:, 0] + random.normal(size=100) * 0.3
    near, far, wide = (
        line(probe(make_input(array, label=values.tolist())))["score"]
        for values in (goal, goal + 1e9, goal * 1e200)
    )
    assert near > 0.8
    assert far == pytest.approx(near, abs=1e-4)
    assert wide == pytest.approx(near, abs=1e-4)


def test_infinite_numbers_and_folds_too_few_to_choose_are_refused(make_input):
    array = np.random.default_rng(0).normal(size=(20, 3))
    data = make_input(array, label=[float("inf"), *array[1:, 0].tolist()])
    with pytest.raises(AnalysisError, match="1 values of the column 'label' are infinite"):
        probe(data)
    with pytest.raises(ValueError, match="folds = 3 or more"):
        ProbeConfig(alpha=[0.1, 1.0], folds=2)
