"""The script for Slurm, with a queue that runs each job at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actx_core import open_run
from actx_core.verify import verify

SCRIPT = Path(__file__).parents[3] / "examples" / "slurm.sh"
QUEUE = """#!/usr/bin/env bash
# Runs the command of a job, once for each task of an array, and prints the job's number.
set -euo pipefail
echo "$*" >> jobs.log
array=
for word in "$@"; do
  case $word in
    --array=1-*) array=${word#--array=1-} ;;
    --dependency=afterok:*) grep -qx "${word#--dependency=afterok:}" done.log ;;
    --wrap=*) command=${word#--wrap=} ;;
  esac
done
for task in $(seq "${array:-1}"); do
  SLURM_ARRAY_TASK_ID=$task bash -euc "$command" >&2
done
number=$(wc -l < jobs.log)
echo "$number" >> done.log
echo "$number"
"""
PIPELINE = """
actx = 1
run = { out = "runs/a b", shard_size = 2 }
source = { type = "text", path = "corpus.txt" }
model = { type = "words", as = "net", taps = ["layer1"] }
"""
ANALYSES = """
actx = 1
[[analyze]]
type = "pca"
components = 2
"""


@pytest.fixture
def submit(toy, tmp_path):
    queue = tmp_path / "bin" / "sbatch"
    queue.parent.mkdir()
    queue.write_text(QUEUE)
    queue.chmod(0o755)
    (tmp_path / "corpus.txt").write_text("the cat\nsaw a tree\nand so\ndid the cow\n")
    (tmp_path / "words.toml").write_text(PIPELINE)
    (tmp_path / "more.toml").write_text(ANALYSES)
    path = f"{queue.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(*words):
        return subprocess.run(
            [str(SCRIPT), *words],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_slices_finish_and_analyses_are_three_jobs(submit, tmp_path):
    done = submit("words.toml", "2", "more.toml", "--", "--mem=1G")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("slices: job 1, end: job 3\n")
    jobs = (tmp_path / "jobs.log").read_text().splitlines()
    assert ["--mem=1G" in job for job in jobs] == [True, False, False]
    run = open_run(tmp_path / "runs" / "a b")
    assert run.complete
    assert len(run["corpus/net/layer1"]) == 10
    assert (run.path / "analyses/pca/corpus%2fnet%2flayer1/scores.npy").exists()
    assert verify(run.path, lambda _: None) == []


def test_mistakes_are_told_before_anything_is_submitted(submit, tmp_path):
    assert "usage: " in submit("words.toml").stderr
    (tmp_path / "words.toml").write_text(PIPELINE.replace("layer1", "layer9"))
    done = submit("words.toml", "2")
    assert done.returncode != 0
    assert "layer9" in done.stderr
    assert not (tmp_path / "jobs.log").exists()
