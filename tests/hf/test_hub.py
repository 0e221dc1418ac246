"""Data sets streamed from a hub that is a server of this test: names, configs, commits, a bad network."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actx_core import open_run

pytest.importorskip("datasets")

LETTERS = Path(__file__).parent / "letters"
CARD = """---
configs:
- config_name: small-v1
  data_files:
  - split: train
    path: small-*.parquet
- config_name: large-v1
  data_files:
  - split: train
    path: large-*.parquet
---
"""
READ = """
import json, sys
from actx_core import SourceError
from actx_hf.sources import retry
from actx_hf.sources.config import DatasetsConfig
from actx_hf.sources.datasets_source import datasets_source
retry.PAUSES = (0.1,) * 3
for options in map(json.loads, sys.argv[1:]):
    try:
        source = datasets_source(DatasetsConfig(**options))
        texts = [s.load() for shard in source.shards(30) for s in source.read(shard)]
        print(json.dumps([source.config.label(), source.fingerprint(), len(texts), texts[-1][:9]]))
    except SourceError as error:
        print(json.dumps(str(error)))
"""
RUN = (
    "import json, sys, actx_core; list(actx_core.Pipeline.from_dict(json.loads(sys.argv[1])).run())"
)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(LETTERS))
    rng = random.Random(0)
    for name in ("owner--corpus", "owner--newtext", "owner--scripted"):
        (tmp_path / name).mkdir()
    (tmp_path / "owner--newtext" / "README.md").write_text(CARD)
    for config, rows in (("small", 40), ("large", 90)):
        table = pa.table({"text": [f"{config} {i}" for i in range(rows)]})
        pq.write_table(table, tmp_path / "owner--newtext" / f"{config}-0.parquet")
    for number in range(2):
        table = pa.table(
            {"text": [f"{number} {i} {rng.randbytes(4000).hex()}" for i in range(900)]}
        )
        path = tmp_path / "owner--corpus" / f"train-{number}.parquet"
        pq.write_table(table, path, row_group_size=100, compression="none")
    (tmp_path / "owner--scripted" / "scripted.py").write_text("raise SystemExit('it ran')")
    return tmp_path


def there(server, code, *args):
    """What code prints in a process that takes the server for the hub."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(server.folder / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": os.pathsep.join(
            [str(LETTERS), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *map(json.dumps, args)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_names_configs_and_commits(hub):
    from letters_toy.hub import COMMIT, HubHandler
    from letters_toy.server import serving

    with serving(hub, handler=HubHandler) as server:
        found = there(
            server,
            READ,
            {"path": "oldtext/small-v1"},
            {"path": "owner/newtext/large-v1", "revision": COMMIT},
            {"path": "oldtext", "config": "large-v1"},
            {"path": "oldtext/small-v2"},
            {"path": "owner/corpus", "files": ["*-1.parquet"]},
            {"path": "owner/corpus", "split": "test"},
            {"path": "owner/nothing"},
            {"path": "owner/scripted"},
        )
    assert found[0] == ["small-v1", COMMIT, 40, "small 39"]
    assert found[1] == ["large-v1", COMMIT, 90, "large 89"]
    assert found[2] == ["oldtext", COMMIT, 90, "large 89"]
    assert "'small-v2' not found. Available: ['small-v1', 'large-v1']" in found[3]
    assert found[4][:3] == ["corpus", COMMIT, 900]
    assert found[5] == "owner/corpus: expected a split 'test', found 'train'"
    assert found[6].startswith(
        "owner/nothing: DatasetNotFoundError: Dataset 'owner/nothing' doesn't"
    )
    assert "set HF_TOKEN" in found[6]
    assert found[7].startswith("owner/scripted: the data set is a script, and scripts are code")


def test_a_branch_that_moved_is_said_and_the_first_commit_goes_on(hub, monkeypatch):
    import letters_toy.hub
    from letters_toy.server import serving

    part = """
import json, sys, actx_core
pipeline = actx_core.Pipeline.from_dict(json.loads(sys.argv[1]))
try:
    list(pipeline.run(slice=json.loads(sys.argv[2])))
except actx_core.ActxError as error:
    print(json.dumps([str(error), error.hint]))
"""

    def pipeline(**source):
        return {
            "actx": 1,
            "run": {"out": str(hub / "run"), "batch_size": 50, "shard_size": 200},
            "source": {"type": "datasets", "path": "owner/corpus", "as": "s", **source},
            "model": {"type": "letters", "as": "m", "taps": ["counts"]},
        }

    first, second = letters_toy.hub.COMMIT, "decade" + "1" * 34
    with serving(hub, handler=letters_toy.hub.HubHandler) as server:
        assert there(server, part, pipeline(), [1, 2]) == []
        monkeypatch.setattr(letters_toy.hub, "COMMIT", second)
        ((message, _),) = there(server, part, pipeline(), [2, 2])
        assert f"source.fingerprint: '{first}' -> '{second}'" in message
        assert "\n" not in message
        assert there(server, part, pipeline(revision=first), None) == []
    assert len(open_run(hub / "run")["s/m/counts"]) == 1800


def test_a_run_over_a_bad_network_ends_as_one_over_files(hub):
    from letters_toy.hub import HubHandler
    from letters_toy.server import serving

    def pipeline(path, out):
        return {
            "actx": 1,
            "run": {"out": str(hub / out), "batch_size": 50, "shard_size": 200},
            "source": {"type": "datasets", "path": path, "as": "s"},
            "model": {"type": "letters", "as": "m", "taps": ["counts"]},
        }

    with serving(hub, itertools.cycle([0, "drop", 0, 503, 0]), HubHandler) as server:
        there(server, RUN, pipeline(str(hub / "owner--corpus"), "local"))
        there(server, RUN, pipeline("owner/corpus", "remote"))
        assert {503, "drop"} <= {*server.seen}
    local, remote = (
        {path.relative_to(hub / out): path.read_bytes() for path in (hub / out).rglob("*.npy")}
        | {
            path.relative_to(hub / out): path.read_bytes()
            for path in (hub / out).rglob("*.parquet")
        }
        for out in ("local", "remote")
    )
    assert len(local) > 1
    assert local == remote
