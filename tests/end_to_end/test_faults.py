"""What happens when processes die, disks fill up and folders cannot be written."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actx_core import (
    ActxError,
    ExecutionError,
    OutOfMemory,
    Pipeline,
    SourceError,
    StoreError,
    open_run,
)
from actx_core.verify import verify


def pipeline(out: Path, **changes: Any) -> dict[str, Any]:
    return {
        "actx": 1,
        "run": {"out": str(out), "batch_size": 4, "shard_size": 6},
        "source": {"type": "numbers", "as": "s", "n": 24},
        "model": {"type": "toy", "as": "m", "taps": ["last", "embed"], **changes.pop("model", {})},
        "executor": {"type": "local", "workers": 2},
        **changes,
    }


def numbers(run: Path) -> dict[str, np.ndarray]:
    found = open_run(run)
    return {name: found[name].numpy() for name in found}


def test_a_worker_that_dies_is_replaced_and_its_shard_done_again(tmp_path: Path) -> None:
    once = tmp_path / "1"
    once.mkdir()
    receipts = list(Pipeline.from_dict(pipeline(tmp_path / "a", model={"dies": str(once)})).run())
    assert sorted(r.shard for r in receipts) == [0, 1, 2, 3]
    list(Pipeline.from_dict(pipeline(tmp_path / "b", executor={"type": "serial"})).run())
    expected = numbers(tmp_path / "b")
    for name, values in numbers(tmp_path / "a").items():
        np.testing.assert_array_equal(values, expected[name])


def test_a_shard_that_always_kills_its_worker_stops_the_run_by_name(tmp_path: Path) -> None:
    always = tmp_path / "99"
    always.mkdir()
    spec = pipeline(tmp_path / "a", model={"dies": str(always)})
    with pytest.raises(ExecutionError, match=r"shard 1 ended its process 3 times \(exit code -9\)"):
        list(Pipeline.from_dict(spec).run())
    assert len(list(always.iterdir())) == 3
    for n in range(200):
        (always / str(n)).touch()
    assert {r.shard for r in Pipeline.from_dict(spec).run()} >= {1}
    assert verify(tmp_path / "a") == []


def test_an_error_in_a_worker_process_arrives_as_it_is(tmp_path: Path) -> None:
    spec = pipeline(tmp_path / "a")
    spec["source"]["bad"] = [13]
    with pytest.raises(ActxError, match="sample 13 is broken") as caught:
        list(Pipeline.from_dict(spec).run())
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("store", ["npy", "hdf5", "parquet"])
def test_a_full_disk_stops_the_run_and_the_same_command_resumes(tmp_path: Path, store: str) -> None:
    """A limit on the size of files stands for the disk: writes fail likewise, with EFBIG."""
    spec = pipeline(tmp_path / "a", store={"type": store}, executor={"type": "serial"})
    spec["model"]["width"] = 3000
    code = (
        "import json, sys\n"
        "from actx_core import Pipeline, ActxError\n"
        "try:\n    list(Pipeline.from_dict(json.loads(sys.argv[1])).run())\n"
        "except ActxError as error:\n    print(error); sys.exit(error.exit_code)\n"
    )

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(spec)],
        capture_output=True,
        text=True,
        preexec_fn=limited,
        timeout=120,
    )
    assert done.returncode == 6, done.stdout + done.stderr
    assert "the same command resumes" in done.stdout
    list(Pipeline.from_dict(spec).run())
    assert verify(tmp_path / "a") == []
    assert not list((tmp_path / "a").rglob("*.tmp"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        list(Pipeline.from_dict(pipeline(tmp_path / "a")).run())


def test_a_file_where_the_run_should_be(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        list(Pipeline.from_dict(pipeline(tmp_path / "a")).run())


def test_a_damaged_receipt_is_named(tmp_path: Path) -> None:
    spec = pipeline(tmp_path, executor={"type": "serial"}, store={"type": "npy", "join": False})
    driver = Pipeline.from_dict(spec).run()
    next(driver)
    driver.close()
    receipt = next((tmp_path / "receipts").glob("*.json"))
    receipt.write_text("{")
    with pytest.raises(StoreError, match="receipts"):
        list(Pipeline.from_dict(spec).run())


@pytest.mark.parametrize(
    "name", ["plan.json", "s/samples.parquet", "s/m/rows.sample.parquet", "s/m/last.npy"]
)
def test_a_run_that_has_lost_a_file_does_not_go_on(tmp_path: Path, name: str) -> None:
    spec = pipeline(tmp_path / "a", executor={"type": "serial"})
    list(Pipeline.from_dict(spec).run())
    (tmp_path / "a" / name).unlink()
    with pytest.raises(StoreError, match=f"{name}: the file is missing"):
        list(Pipeline.from_dict(spec).run())


def test_lost_receipts_are_made_again(tmp_path: Path) -> None:
    spec = pipeline(tmp_path / "a", executor={"type": "serial"})
    list(Pipeline.from_dict(spec).run())
    expected = numbers(tmp_path / "a")
    (tmp_path / "a/receipts.jsonl").unlink()
    assert len(list(Pipeline.from_dict(spec).run())) == 4
    assert verify(tmp_path / "a") == []
    for name, values in numbers(tmp_path / "a").items():
        np.testing.assert_array_equal(values, expected[name])


def test_what_was_only_planned_may_be_asked_for_otherwise(tmp_path: Path) -> None:
    """A run that was refused, or has failed in its first batch, holds nothing that could contradict."""
    spec = pipeline(tmp_path / "a", executor={"type": "serial"})
    list(Pipeline.from_dict(spec).run())
    other = {"type": "toy", "as": "other", "taps": ["last"], "fail_above": 0, "seed": 1}
    more = {**spec, "model": [spec["model"], other]}
    with pytest.raises(OutOfMemory):
        list(Pipeline.from_dict(more).run())
    other |= {"fail_above": 9, "seed": 2}  # another network
    assert len(list(Pipeline.from_dict(more).run())) == 4
    assert verify(tmp_path / "a") == []
    wrong = pipeline(tmp_path / "b", executor={"type": "serial"}, model={"fail_above": 0})
    with pytest.raises(OutOfMemory):
        list(Pipeline.from_dict(wrong).run())
    right = pipeline(tmp_path / "b", executor={"type": "serial"})
    right["source"]["first"] = 5  # other samples too
    assert len(list(Pipeline.from_dict(right).run())) == 4
    assert open_run(tmp_path / "b").samples("s")["sample"][0].as_py() == "n005"
    assert verify(tmp_path / "b") == []


def test_a_model_that_fails_can_be_left_out(tmp_path: Path) -> None:
    spec = pipeline(tmp_path / "a", executor={"type": "serial"})
    other = {"type": "toy", "as": "other", "taps": ["last"], "fail_above": 0}
    with pytest.raises(OutOfMemory):
        list(Pipeline.from_dict({**spec, "model": [spec["model"], other]}).run())
    list(Pipeline.from_dict(spec).run())
    assert open_run(tmp_path / "a").complete
    assert (tmp_path / "a/report.html").exists()
    assert verify(tmp_path / "a") == []


def test_a_source_without_samples(tmp_path: Path) -> None:
    spec = pipeline(tmp_path / "a")
    spec["source"]["n"] = 0
    with pytest.raises(SourceError, match="s: the source holds no samples"):
        list(Pipeline.from_dict(spec).run())
