"""Streams of data sets as runs: killed, sliced, resumed, too short, changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("datasets")

from actx_core import ActxError, ExecutionError, Pipeline, SourceError, open_run
from actx_core.registry import registry

LETTERS = Path(__file__).parent / "letters"
SHARD = 16


@pytest.fixture(autouse=True)
def letters(monkeypatch):
    monkeypatch.syspath_prepend(str(LETTERS))
    path = os.pathsep.join([str(LETTERS), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.fixture
def corpus(tmp_path):
    """Three Parquet files of 70, 0 and 53 rows, in row groups of 11, and the same as JSON lines."""
    texts = [f"text {i} {'x' * (i % 7)}" for i in range(123)]
    (tmp_path / "parquet").mkdir()
    (tmp_path / "lines").mkdir()
    for name, part in (("a", texts[:70]), ("b", []), ("c", texts[70:])):
        table = pa.table({"text": pa.array(part, pa.string())})
        pq.write_table(table, tmp_path / "parquet" / f"{name}.parquet", row_group_size=11)
        if part:
            lines = "\n".join(json.dumps({"text": text}) for text in part)
            (tmp_path / "lines" / f"{name}.jsonl").write_text(lines)
    return tmp_path


def spec(corpus, out, source="parquet", **more):
    return {
        "actx": 1,
        "run": {"out": str(corpus / out), "batch_size": 4, "shard_size": SHARD},
        "source": {"type": "datasets", "path": str(corpus / source), "as": "s", **more},
        "model": {"type": "letters", "as": "m", "taps": ["counts"]},
    }


def files(out):
    found = [*out.rglob("*.npy"), *out.rglob("*.parquet")]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def done(given, **options):
    return list(Pipeline.from_dict(given).run(**options))


@pytest.mark.parametrize("source", ["parquet", "lines"])
def test_the_report_shows_texts(corpus, source):
    done(spec(corpus, "out", source))
    page = (corpus / "out/report.html").read_text()
    assert all(f"text {10 * i} {'x' * (10 * i % 7)}" in page for i in range(12))


@pytest.mark.parametrize("source", ["parquet", "lines"])
def test_killed_in_the_middle(corpus, source, monkeypatch):
    """SIGKILL after some shards: the same files in the end, and less than one shard done twice."""
    done(spec(corpus, "whole", source))
    given = spec(corpus, "killed", source)
    monkeypatch.setenv("LETTERS_LOG", str(corpus / "log"))
    (corpus / "p.json").write_text(json.dumps(given))
    code = (
        "import json, sys, actx_core;"
        " list(actx_core.Pipeline.from_dict(json.load(open(sys.argv[1]))).run())"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(corpus / "p.json")])
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if len(list((corpus / "killed" / "receipts").glob("*.json"))) >= 3:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = len((corpus / "log").read_text().split())
    assert 3 * SHARD <= before < 123
    done(given)
    assert files(corpus / "killed") == files(corpus / "whole")
    seen = Counter((corpus / "log").read_text().split())
    assert len(seen) == 123
    assert sum(seen.values()) - 123 < SHARD


@pytest.mark.parametrize("source", ["parquet", "lines"])
def test_two_slices_are_one_run(corpus, source):
    done(spec(corpus, "whole", source))
    given = spec(corpus, "sliced", source)
    second = done(given, slice=(2, 2))
    first = done(given, slice=(1, 2))
    assert [r.shard for r in first] == [0, 2, 4, 6]
    assert [r.shard for r in second] == [1, 3, 5, 7]
    Pipeline.from_dict(given).finish()
    assert files(corpus / "sliced") == files(corpus / "whole")


def test_files_rows_and_columns_do_not_matter_to_the_numbers(corpus):
    done(spec(corpus, "a", "parquet"))
    done(spec(corpus, "b", "lines"))
    one, other = (open_run(corpus / out)["s/m/counts"] for out in "ab")
    assert (one.numpy() == other.numpy()).all()
    assert one.rows["sample"][69].as_py() == "a.parquet:00000069"
    assert one.rows["sample"][70].as_py() == "c.parquet:00000000"


class TestLimit:
    def test_the_first_so_many(self, corpus):
        done(spec(corpus, "run", limit=40))
        array = open_run(corpus / "run")["s/m/counts"]
        assert len(array) == 40
        assert open_run(corpus / "run").cells["s/m"].notes == ()

    @pytest.mark.parametrize("source", ["parquet", "lines"])
    @pytest.mark.parametrize("streaming", [True, False])
    def test_data_that_end_before_it_are_said_to(self, corpus, source, streaming, monkeypatch):
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", corpus / "cache")
        notes = []
        pipeline = Pipeline.from_dict(spec(corpus, "run", source, limit=1000, streaming=streaming))
        assert pipeline.plan().cells[0].samples == 123
        list(pipeline.run(watch=notes.append))
        said = "s/m: 's' ends after 123 samples; limit asks for 1,000"
        assert said in [getattr(note, "message", "") for note in notes]
        assert open_run(corpus / "run").cells["s/m"].notes == (said[5:],)
        assert said[5:] in (corpus / "run" / "report.html").read_text().replace("&#39;", "'")
        array = open_run(corpus / "run")["s/m/counts"]
        assert len(set(array.rows["sample"].to_pylist())) == len(array) == 123
        assert [*pipeline.run()] == []  # nothing to do, and no second epoch

    def test_a_larger_limit_goes_on_where_the_run_ended(self, corpus):
        done(spec(corpus, "whole", limit=100))
        done(spec(corpus, "grown", limit=39))
        more = done(spec(corpus, "grown", limit=100))
        assert sum(r.samples for r in more) == 61
        one, other = (open_run(corpus / out)["s/m/counts"] for out in ("whole", "grown"))
        order = sorted(range(100), key=other.rows["sample"].to_pylist().__getitem__)
        expected = sorted(range(100), key=one.rows["sample"].to_pylist().__getitem__)
        assert (one.numpy()[expected] == other.numpy()[order]).all()

    def test_a_share_is_drawn_by_position(self, corpus):
        done(spec(corpus, "run", fraction=0.3))
        ids = open_run(corpus / "run")["s/m/counts"].rows["sample"].to_pylist()
        assert 15 < len(ids) < 60
        assert ids == sorted(set(ids))


def test_changed_data_are_refused(corpus):
    done(spec(corpus, "run", limit=20))
    table = pa.table({"text": ["other"] * 70})
    pq.write_table(table, corpus / "parquet" / "a.parquet", row_group_size=11)
    with pytest.raises(ExecutionError, match="other options: source.fingerprint"):
        done(spec(corpus, "run", limit=40))


def test_a_file_that_shrinks_behind_the_plan(corpus):
    source = Pipeline.from_dict(spec(corpus, "run")).plan().orders["s"]
    shards = source.shards("s/m", 60)
    table = pa.table({"text": ["a"] * 9})
    pq.write_table(table, corpus / "parquet" / "c.parquet")
    other = Pipeline.from_dict(spec(corpus, "run")).plan().orders["s"]
    with pytest.raises(SourceError, match="the data end after 79 rows; there were more when"):
        [sample for shard in shards for sample in other.read(shard)]


def test_skipped_samples_are_named(corpus):
    rows = [{"text": "a"}, {"text": None}, {"text": "c"}]
    pq.write_table(pa.Table.from_pylist(rows), corpus / "n.parquet")
    given = spec(corpus, "run", "n.parquet")
    with pytest.raises(ActxError, match="row 1: expected text, found nothing"):
        done(given)
    given["run"] |= {"on_error": "skip", "out": str(corpus / "run2")}
    done(given)
    run = open_run(corpus / "run2")
    assert len(run["s/m/counts"]) == 2
    assert [s.sample for _, s in run.skipped] == ["n.parquet:00000001"]
