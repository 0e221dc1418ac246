"""A result is made anew when anything that it depends on has changed, in files too, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("actx_cluster", reason="needs the plugin actx-cluster")

from actx_core.cli.group import actx
from actx_core.files import read_json

PIPELINE = """
actx = 1
run.out = "runs/a"
source = { type = "numbers", as = "s", n = 20 }
model = { type = "toy", as = "m", taps = ["last"] }
join = { path = "labels.csv" }
[[analyze]]
type = "kmeans"
on = ["s/*/*"]
k = 2
[[analyze]]
type = "assign"
on = ["s/*/*"]
result = "old"
[[analyze]]
type = "rsa"
on = ["s/*/*"]
behaviour = "ratings.npy"
permutations = 0
bootstraps = 0
[[analyze]]
type = "flow"
on = ["kmeans", "assign"]
"""
FIRST = {"assign", "flow", "kmeans", "rsa"}


def write_ratings(desk: Path, seed: int) -> None:
    """A matrix, and the names of its conditions beside it."""
    np.save(desk / "ratings.npy", np.random.default_rng(seed).random(190))


def write_names(desk: Path, order: int) -> None:
    (desk / "ratings.txt").write_text("\n".join(f"n{i:03}" for i in range(20)[::order]) + "\n")


def write_labels(desk: Path, start: int) -> None:
    lines = [f"n{i:03},{'ab'[(i + start) % 3 == 0]}" for i in range(20)]
    (desk / "labels.csv").write_text("\n".join(["sample,label", *lines]) + "\n")


def write_old(desk: Path, seed: int) -> None:
    """A clustering of vectors that no run has seen."""
    np.save(desk / "old.npy", np.random.default_rng(seed).standard_normal((30, 6)))
    command(desk, "analyze", "old.npy", "--type", "kmeans", "--set", "k=2")
    shutil.rmtree(desk / "old", ignore_errors=True)
    (result,) = (desk / "old.npy.actx" / "analyses" / "kmeans").iterdir()
    shutil.move(result, desk / "old")


def command(desk: Path, *words: str) -> None:
    done = CliRunner().invoke(actx, [str(desk / w) if (desk / w).is_file() else w for w in words])
    assert done.exit_code == 0, done.output


def made_anew(desk: Path) -> set[str]:
    """The analyses that a run makes anew."""
    results = {
        path: path.stat().st_mtime_ns for path in (desk / "runs").rglob("analyses/*/*/result.json")
    }
    command(desk, "run", "pipeline.toml")
    return {
        path.parents[1].name
        for path in (desk / "runs").rglob("analyses/*/*/result.json")
        if results.get(path) != path.stat().st_mtime_ns
    }


def test_only_what_changed_is_made_anew(tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "pipeline.toml").write_text(PIPELINE)
    write_ratings(desk, 0)
    write_names(desk, 1)
    write_labels(desk, 0)
    write_old(desk, 0)
    assert made_anew(desk) == FIRST
    assert made_anew(desk) == set()
    desk = desk.rename(tmp_path / "moved")  # with all that it names
    assert made_anew(desk) == set()
    write_ratings(desk, 1)
    assert made_anew(desk) == {"rsa"}
    write_names(desk, -1)
    assert made_anew(desk) == {"rsa"}
    write_old(desk, 1)
    assert made_anew(desk) == {"assign", "flow"}
    write_labels(desk, 1)  # the column is among those of the rows
    assert made_anew(desk) == FIRST
    assert made_anew(desk) == set()


def test_new_labels_of_a_file_make_its_results_anew(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).standard_normal((20, 4)))
    changed = []
    for start in (0, 0, 1):
        lines = ["label", *("ab"[(i + start) % 3 == 0] for i in range(20))]
        (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
        command(
            tmp_path,
            "analyze",
            "a.npy",
            "--type",
            "kmeans",
            "--set",
            "k=2",
            "--labels",
            "labels.csv",
        )
        (result,) = (tmp_path / "a.npy.actx").rglob("result.json")
        changed.append(result.stat().st_mtime_ns)
    assert changed[0] == changed[1] < changed[2]


def test_another_analysis_of_the_same_name_gets_the_inputs_it_wants(tmp_path: Path) -> None:
    """One that compares all arrays, and one that takes each alone, after the other."""
    text = PIPELINE[: PIPELINE.index("join")].replace('"last"', '"last", "length"')
    for kind in ("cka", "pca", "cka"):
        asked = f'[[analyze]]\ntype = "{kind}"\nas = "x"\non = ["s/*/*"]\n'
        (tmp_path / "pipeline.toml").write_text(text + asked)
        command(tmp_path, "run", "pipeline.toml")
    found = {
        (about["type"], *sorted(one["name"] for one in about["inputs"]))
        for about in map(read_json, tmp_path.glob("runs/a/analyses/x/*/result.json"))
    }
    each = {("cluster/pca", name) for name in ("s/m/last", "s/m/length")}
    assert found == {("cluster/cka", "s/m/last", "s/m/length"), *each}
