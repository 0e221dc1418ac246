"""From one pipeline: parts, components, maps, probes and an estimator, each reading what another stored."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from actx_core import Pipeline, open_run

pytest.importorskip("torch", reason="the model of this pipeline is a torch module")


def test_a_chain_of_analyses_is_stored_and_up_to_date(tmp_path):
    digits = load_digits()
    few = slice(0, 150)
    np.save(tmp_path / "inputs.npy", digits.data[few].astype("float32"))
    lines = "".join(f"{n:08},{label}\n" for n, label in enumerate(digits.target[few]))
    (tmp_path / "labels.csv").write_text(f"sample,label\n{lines}")
    linear = {
        "type": "module",
        "callable": "torch.nn:Linear",
        "args": [64, 24],
        "input_shape": [64],
        "trust": True,
        "taps": ["output"],
    }
    pipeline = {
        "actx": 1,
        "run": {"out": str(tmp_path / "run"), "device": "cpu"},
        "source": {"type": "arrays", "path": str(tmp_path / "inputs.npy"), "as": "digits"},
        "model": [linear | {"as": "a"}, linear | {"as": "b", "seed": 1}],
        "join": {"path": str(tmp_path / "labels.csv"), "on": "sample"},
        "analyze": [
            {
                "type": "nmf",
                "on": ["digits/a/*"],
                "components": [4, 6],
                "negative": "split",
                "max_iter": 20,
            },
            {"type": "pca", "on": ["digits/*/*"], "components": 8},
            {"type": "ica", "on": ["digits/a/*"], "components": 4},
            {"type": "map", "on": ["pca"]},
            {"type": "probe", "on": ["digits/*/*", "nmf"], "folds": 2, "random": "b"},
            {
                "type": "estimator",
                "on": ["ica"],
                "estimator": "sklearn.cluster.Birch",
                "params": {"threshold": 0.2},
                "trust": True,
            },
        ],
    }
    for _ in Pipeline.from_dict(pipeline).run():
        pass
    run = open_run(tmp_path / "run")
    results = {
        path.parent.relative_to(run.path / "analyses").as_posix(): json.loads(path.read_text())
        for path in (run.path / "analyses").glob("*/*/result.json")
    }
    kinds = sorted({name.split("/")[0] for name in results})
    assert kinds == ["birch", "ica", "map", "nmf", "pca", "probe"]
    probe = next(about for name, about in results.items() if name.startswith("probe/"))
    names = [one["name"] for one in probe["inputs"]]
    assert names[2:] == ["nmf/digits/a/output/weights_k4", "nmf/digits/a/output/weights_k6"]
    nmf = next(name for name in results if name.startswith("nmf/"))
    weights = np.load(run.path / "analyses" / nmf / "weights_k4.npy")
    assert weights.shape == (150, 4)
    assert (weights >= 0).all()
    left = [
        path.name
        for path in (run.path / "analyses").rglob("*")
        if path.suffix in (".part", ".json")
    ]
    assert set(left) == {"result.json"}
    before = {path: path.stat().st_mtime_ns for path in (run.path / "analyses").rglob("*.npy")}
    for _ in Pipeline.from_dict(pipeline).run():
        pass
    assert before == {path: path.stat().st_mtime_ns for path in before}
