"""A run killed at any moment and repeated ends with the same bytes as one that was left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from actx_core import open_run
from actx_core.verify import verify

SPEC: dict[str, Any] = {
    "actx": 1,
    "run": {"batch_size": 3, "shard_size": 5},
    "source": {"type": "numbers", "as": "s", "n": 18},
    "model": {"type": "toy", "as": "m", "taps": ["last", "embed"]},
    "analyze": [{"type": "norms", "on": ["s/m/last"]}],
}


def contents(folder: Path) -> dict[str, Any]:
    """What must be equal: HDF5 by dataset, run.json without timings, all else by bytes."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name in (".lock", ".plan.lock", "receipts.jsonl", "report.html"):
            continue
        if path.suffix == ".h5":
            with h5py.File(path) as file:
                found[name] = (
                    file["activations"][()].tobytes(),
                    dict(file["activations"].attrs).keys(),
                )
        elif path.suffix == ".json":
            content = json.loads(path.read_text())
            for key in ("timings", "seconds", "sha256", "pipeline"):
                content.pop(key, None)
            for cell in content.get("cells", []) if name == "plan.json" else []:
                cell.pop("timings", None)
            found[name] = content
        else:
            found[name] = path.read_bytes()
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("store", "join", "kills"),
    [("npy", True, 24), ("hdf5", True, 24), ("parquet", True, 24), ("npy", False, 8)],
)
def test_killed_at_file_operations(fast: Path, store: str, join: bool, kills: int) -> None:
    tmp_path = fast
    spec = {**SPEC, "store": {"type": store, "join": join}}
    script = Path(__file__).with_name("kills.py")
    command = [sys.executable, str(script), json.dumps(spec), str(tmp_path), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    died = json.loads(done.stdout)
    operations = list(died.values())
    assert len(died) == kills
    if join:
        assert any(".next" in o for o in operations), "died while joining"
    assert any("receipt" in o or ".json" in o for o in operations)
    expected = contents(tmp_path / "whole")
    for trial in died:
        found = contents(tmp_path / trial)
        assert found.keys() == expected.keys(), f"{trial}: {died[trial]}"
        for name, content in found.items():
            assert content == expected[name], f"{name} after a kill at {trial}: {died[trial]}"
    assert verify(tmp_path / next(iter(died))) == []


def test_ctrl_c_leaves_a_run_that_resumes(tmp_path: Path) -> None:
    """SIGINT to the real command: exit code 130, what is committed stays, the same command ends the run."""
    spec = tmp_path / "p.toml"
    spec.write_text(
        'actx = 1\n[run]\nout = "run"\nbatch_size = 4\nshard_size = 20\n'
        '[source]\ntype = "numbers"\nas = "s"\nn = 40000\n'
        '[model]\ntype = "toy"\nas = "m"\ntaps = ["last"]\n'
    )
    command = [sys.executable, "-m", "actx_core", "run", str(spec)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    receipts = tmp_path / "run" / "receipts"
    deadline = time.monotonic() + 60
    while len(list(receipts.glob("*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "resumes" in errors
    committed = len(list(receipts.glob("*.json")))
    assert 3 <= committed < 2000
    limit = subprocess.run(
        [*command, "--set", "source.limit=400"], capture_output=True, text=True, timeout=120
    )
    assert limit.returncode == 2  # fewer than the run has frozen
    array = open_run(tmp_path / "run")["s/m/last"]
    assert len(array) == 20 * committed
    assert np.isfinite(array.numpy()).all()
