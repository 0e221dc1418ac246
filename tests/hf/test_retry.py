"""A stream over a network that fails: it is tried again, and the run ends as an undisturbed one."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("datasets")
pytest.importorskip("aiohttp", reason="fsspec reads http URLs with aiohttp")

from actx_core import Pipeline, SourceError, open_run
from actx_core.registry import registry
from actx_hf.sources import retry
from actx_hf.sources.config import DatasetsConfig
from actx_hf.sources.datasets_source import datasets_source

LETTERS = Path(__file__).parent / "letters"
DOCUMENTS = 2400


@pytest.fixture(autouse=True)
def letters(monkeypatch):
    monkeypatch.syspath_prepend(str(LETTERS))
    monkeypatch.setattr(retry, "PAUSES", (0.01,) * 6)
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Some 14 MB in each format: more than one request of 5 MB reads."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(0)
    texts = [f"{i} " + rng.randbytes(3000).hex() for i in range(DOCUMENTS)]
    table = pa.table({"text": texts, "n": range(DOCUMENTS)})
    pq.write_table(table, folder / "x.parquet", row_group_size=300, compression="none")
    (folder / "x.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return folder, texts


def rows(url, **options):
    source = datasets_source(DatasetsConfig(path=url, **options))
    return [s.load() for shard in source.shards(500) for s in source.read(shard)]


def run(out, url):
    pipeline = {
        "actx": 1,
        "run": {"out": str(out), "batch_size": 50, "shard_size": 200},
        "source": {"type": "datasets", "path": url, "as": "s", "columns": ["n"]},
        "model": {"type": "letters", "as": "m", "taps": ["counts"]},
    }
    return list(Pipeline.from_dict(pipeline).run())


def files(out):
    found = [*out.rglob("*.npy"), *out.rglob("*.parquet")]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


FAULTS = [[503, "drop"], ["drop", "drop", 503], [0, 503, 0, "drop", 429], [0, "drop", 500]]


@pytest.mark.parametrize("faults", FAULTS)
def test_a_run_over_a_bad_network_ends_as_an_undisturbed_one(tmp_path, corpus, faults):
    from letters_toy.server import serving

    folder, texts = corpus
    run(tmp_path / "local", str(folder / "x.parquet"))
    expected = files(tmp_path / "local")
    with serving(folder, itertools.cycle([*faults, 0, 0])) as server:
        receipts = run(tmp_path / "remote", f"{server.url}/x.parquet")
    assert {503, "drop", 429, 500} & {*server.seen} == {*faults} - {0}
    assert len(server.seen) > 4
    assert sum(r.samples for r in receipts) == DOCUMENTS
    assert files(tmp_path / "remote") == expected
    array = open_run(tmp_path / "remote")["s/m/counts"]
    assert array.numpy()[7].sum() == len(texts[7])


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl"])
def test_what_arrives_is_what_is_there(corpus, name):
    from letters_toy.server import serving

    folder, texts = corpus
    with serving(folder, itertools.cycle([0, "drop", 503, 0])) as server:
        assert rows(f"{server.url}/{name}") == texts
    assert {"drop", 503} <= {*server.seen}


def test_a_network_that_stays_away_is_one_line(corpus):
    from letters_toy.server import serving

    with (
        serving(corpus[0], itertools.repeat(503)) as server,
        pytest.raises(SourceError) as caught,
    ):
        rows(f"{server.url}/x.parquet")
    assert str(caught.value).startswith(f"{server.url}/x.parquet: the connection failed 7 times in")
    assert "503" in str(caught.value)
    assert str(caught.value).endswith("hint: the same command resumes")
    assert server.seen == [503] * 7
    assert "\n" not in str(caught.value)


def test_nobody_listens():
    with pytest.raises(
        SourceError, match="the connection failed 7 times in a row, last with: Client"
    ):
        rows("http://127.0.0.1:1/x.parquet")


def test_a_preview_does_not_wait_for_the_network(corpus, monkeypatch):
    from letters_toy.server import serving

    monkeypatch.setattr(retry.time, "sleep", lambda _: pytest.fail("it waits"))
    folder, texts = corpus
    ids = ["x.parquet:00000700", "x.parquet:00000007"]
    with serving(folder) as server:
        found = datasets_source(DatasetsConfig(path=f"{server.url}/x.parquet")).preview(ids)
    assert [one.data for one in found] == [texts[700], texts[7]]
    with serving(folder, itertools.repeat(503)) as server, pytest.raises(SourceError):
        datasets_source(DatasetsConfig(path=f"{server.url}/x.parquet")).preview(ids)
    assert server.seen == [503]


def test_what_is_not_there_is_not_tried_again(corpus, monkeypatch):
    from letters_toy.server import serving

    monkeypatch.setattr(retry.time, "sleep", lambda _: pytest.fail("it waits"))
    with serving(corpus[0]) as server, pytest.raises(SourceError, match="FileNotFoundError"):
        rows(f"{server.url}/y.parquet")


def test_pauses_grow_and_begin_anew_when_data_arrive(monkeypatch):
    monkeypatch.undo()
    slept = []
    monkeypatch.setattr(retry.time, "sleep", slept.append)
    patience = retry.Patience("x")
    for _ in range(5):
        patience.wait(ConnectionResetError())
    assert slept == [1, 2, 4, 8, 16]
    patience.worked()
    for _ in retry.PAUSES:
        patience.wait(TimeoutError())
    assert slept[5:] == list(retry.PAUSES)
    assert 200 < sum(retry.PAUSES) < 600
    with pytest.raises(
        SourceError, match="failed 10 times in a row, last with: TimeoutError: late"
    ):
        patience.wait(TimeoutError("late"))


class Response:
    def __init__(self, status_code):
        self.status_code = status_code


def with_status(status):
    error = OSError("http")
    error.response = Response(status)
    return error


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (with_status(503), True),
        (with_status(429), True),
        (with_status(404), False),
        (with_status(401), False),
        (OSError("disk"), False),
        (ValueError(), False),
        (caused(FileNotFoundError("x"), with_status(502)), True),
        (caused(FileNotFoundError("x"), with_status(404)), False),
        (ConnectionError("Couldn't reach 'x' on the Hub (OfflineModeIsEnabled)"), False),
    ],
)
def test_which_errors_are_the_networks(error, expected):
    assert retry.is_network(error) is expected
