"""Rows of a stored run: where each token comes from, which are kept, in which type."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import transformers

from actx_core import Pipeline, extract, open_run
from actx_hf.models import transformers_model
from actx_hf.models.config import TransformersConfig
from actx_hf.models.transformers_model import Transformers

from .conftest import TEXTS, make_tokenizer

LINES = [*TEXTS, "Short.", "", "a b c", "The same lazy dog again, and again, and again."]
TAP = "blocks.1.resid_post"


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        "".join(json.dumps({"text": line, "id": f"t{n}"}) + "\n" for n, line in enumerate(LINES))
    )
    return path


def run(corpus, folder, out="run", rows=None, store=None, slice=None, **model):
    """The run of a pipeline over the corpus."""
    spec = {
        "actx": 1,
        "run": {"out": str(corpus.parent / out), "shard_size": 3, "batch_size": 2},
        "source": {"type": "text", "path": str(corpus), "id": "id", "as": "s"},
        "model": {
            "type": "transformers", "name": str(folder), "device": "cpu", "as": "m",
            **({"taps": [TAP]} if "tap" not in model else {}), **model,
        },
        "store": store or {},
        "rows": rows or {},
    }  # fmt: skip
    for _ in Pipeline.from_dict(spec).run(slice=slice):
        pass
    return open_run(corpus.parent / out)


def table(run):
    return run[f"s/m/{TAP}"].rows.to_pydict()


def test_a_row_knows_its_token_and_its_place(corpus, saved):
    found = run(corpus, saved("bert"), batch_size=4)
    rows, tokenizer = table(found), transformers.AutoTokenizer.from_pretrained(saved("bert"))
    encoded = tokenizer(LINES, return_special_tokens_mask=True)
    assert rows["token_id"] == [id for ids in encoded["input_ids"] for id in ids]
    assert rows["token_text"] == tokenizer.convert_ids_to_tokens(rows["token_id"])
    assert rows["special"] == [bool(n) for ns in encoded["special_tokens_mask"] for n in ns]
    assert rows["sample"] == [f"t{n}" for n, ids in enumerate(encoded["input_ids"]) for _ in ids]
    assert rows["position"] == rows["token"]
    assert set(rows["role"]) == {""}
    for n, text in enumerate(LINES):
        own = [i for i, sample in enumerate(rows["sample"]) if sample == f"t{n}"]
        for i in own:
            if not rows["special"][i] and rows["token_text"][i] != "[UNK]":
                word = rows["token_text"][i].removeprefix("##")
                assert text[rows["char_start"][i] : rows["char_end"][i]] == word


def test_special_tokens_are_flagged_and_one_expression_drops_them(corpus, saved):
    whole = run(corpus, saved("bert"))
    kept = run(corpus, saved("bert"), "kept", {"keep": "not special and position > 1"})
    rows = table(whole)
    stays = [
        n for n, (s, p) in enumerate(zip(rows["special"], rows["position"], strict=True)) if not s and p > 1
    ]  # fmt: skip
    assert 0 < len(stays) < len(rows["special"])
    assert table(kept)["token_id"] == [rows["token_id"][n] for n in stays]
    array = f"s/m/{TAP}"
    np.testing.assert_array_equal(kept[array].numpy(), whole[array].numpy()[stays])


def test_the_mean_leaves_out_what_is_not_kept(corpus, saved):
    pool = {"pool": [{"type": "mean", "over": ["token"]}], "match": [TAP]}
    whole = run(corpus, saved("bert"))
    for out, keep in (("all", ""), ("text", "not special")):
        mean = run(corpus, saved("bert"), out, {"keep": keep}, tap=[pool])
        values, rows = whole[f"s/m/{TAP}"].numpy(), table(whole)
        for n in range(len(LINES)):
            own = [
                i
                for i, sample in enumerate(rows["sample"])
                if sample == f"t{n}" and not (keep and rows["special"][i])
            ]
            expected = values[own].mean(0) if own else np.full(values.shape[1], np.nan)
            np.testing.assert_allclose(
                mean[f"s/m/{TAP}"].numpy()[n], expected, rtol=1e-4, atol=1e-5
            )


def test_a_text_without_tokens_has_no_rows_and_its_sample_says_so(corpus, saved):
    found = run(corpus, saved("gpt2"))
    assert "t5" not in table(found)["sample"]
    samples = found.rows(found.cells["s/m"], "sample").to_pydict()
    tokens = dict(zip(samples["sample"], samples["tokens"], strict=True))
    assert tokens["t5"] == 0
    assert sum(tokens.values()) == len(table(found)["token_id"])
    alone = run(corpus, saved("gpt2"), "alone", {"keep": "position >= 0"}, batch_size=1)
    assert table(alone) == table(found)


def test_a_seeded_share_of_the_tokens(corpus, saved):
    whole, part = run(corpus, saved("gpt2")), run(corpus, saved("gpt2"), "part", {"sample": 0.4})
    again = run(corpus, saved("gpt2"), "again", {"sample": 0.4}, batch_size=5)
    ids = list(zip(table(whole)["sample"], table(whole)["token"], strict=True))
    some = list(zip(table(part)["sample"], table(part)["token"], strict=True))
    assert some == list(zip(table(again)["sample"], table(again)["token"], strict=True))
    assert 0.2 < len(some) / len(ids) < 0.6
    stays = [ids.index(each) for each in some]
    array = f"s/m/{TAP}"
    np.testing.assert_allclose(
        part[array].numpy(), whole[array].numpy()[stays], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("backend", "dtype", "error"),
    [
        ("npy", "bfloat16", 4e-3),
        ("hdf5", "bfloat16", 4e-3),
        ("parquet", "bfloat16", 4e-3),
        ("hdf5", "float16", 1e-3),
        ("npy", "int8_per_channel", 2e-2),
        ("parquet", "int8_per_channel", 2e-2),
    ],
)
def test_types_of_every_store(corpus, saved, backend, dtype, error):
    config = TransformersConfig(name=str(saved("gpt2")), device="cpu")
    whole = extract(Transformers(config), LINES, [TAP])[TAP]
    found = run(corpus, saved("gpt2"), store={"type": backend, "dtype": dtype})
    values = found[f"s/m/{TAP}"].numpy()
    assert values.shape == whole.shape
    assert 0 < np.linalg.norm(values - whole) <= error * np.linalg.norm(whole)


@pytest.mark.parametrize("backend", ["npy", "hdf5", "parquet"])
def test_an_array_that_was_read_goes_to_another_process(corpus, saved, backend):
    """As to the workers of a DataLoader where processes are not forked: a path, not what lies there."""
    array = run(corpus, saved("gpt2"), store={"type": backend})[f"s/m/{TAP}"]
    values = array.numpy()
    sent = pickle.dumps(array.shuffled(7))
    assert len(sent) < values.nbytes
    rows, found = map(np.concatenate, zip(*pickle.loads(sent), strict=True))
    np.testing.assert_array_equal(found, values[rows])


def test_two_slices_are_one_run(corpus, saved):
    whole = run(corpus, saved("llama"))
    for number in (2, 1):
        run(corpus, saved("llama"), "halves", slice=(number, 2))
    halves = run(corpus, saved("llama"), "halves")
    array = f"s/m/{TAP}"
    assert (halves[array].numpy() == whole[array].numpy()).all()
    assert table(halves) == table(whole)
    digests = [
        {(r.shard, k): v for r in each.receipts for k, v in r.digests.items()}
        for each in (whole, halves)
    ]
    assert digests[0] == digests[1]


def test_taps_added_later_have_the_same_rows(corpus, saved):
    """The norms of one tap are columns of all rows; other taps can be added, and the model stays the same."""
    folder = saved("gpt2", "LMHeadModel")
    run(corpus, folder, norm_ratio=["blocks.2.resid_post"])
    more = [TAP, "blocks.0.mlp.post", "logits"]
    found = run(corpus, folder, norm_ratio=["blocks.2.resid_post"], taps=more)
    rows = table(found)
    assert max(rows["norm_ratio.blocks.2.resid_post"]) > 1
    assert len(found["s/m/logits"]) == len(rows["token_id"])


def test_what_was_decided_is_in_the_manifest(corpus, saved):
    for family, batching in (("llama", "packed"), ("opt", "bucketed")):
        found = run(corpus, saved(family), family, long="split", max_length=16)
        facts = json.dumps(found.manifest)
        assert f'"batching": "{batching}"' in facts
        assert '"max_length": 16' in facts
        assert '"packed": "relative error' in facts


def test_another_way_to_put_texts_together_is_recorded_when_a_run_goes_on(
    corpus, saved, monkeypatch
):
    """As with another version of torch that no longer keeps packed texts apart."""
    run(corpus, saved("llama"), slice=(1, 2))
    expected = run(corpus, saved("llama"), "whole")
    monkeypatch.setattr(transformers_model, "choose", lambda *_, **__: ("bucketed", {}))
    found = run(corpus, saved("llama"), slice=(2, 2))
    model = json.loads((found.path / "s" / "m" / "model.json").read_text())
    assert model["facts"]["batching"] == "packed"
    assert [facts["batching"] for facts in model["later"]] == ["bucketed"]
    found = run(corpus, saved("llama"))
    assert len(found.receipts) == len(expected.receipts) > 2
    np.testing.assert_allclose(found[f"s/m/{TAP}"], expected[f"s/m/{TAP}"], rtol=1e-4, atol=1e-5)


def test_words_of_the_tokens_that_are_kept(corpus, saved):
    """``keep`` chooses tokens, before words are made of them, or samples."""
    words = [{"match": [TAP], "pool": [{"type": "words", "take": "mean"}]}]
    keep = {"keep": "position > 0 and tokens > 4"}
    every = run(corpus, saved("gpt2"), "every", tap=words)
    kept = run(corpus, saved("gpt2"), "kept", keep, tap=words)
    tokens = run(corpus, saved("gpt2"), "tokens", keep)
    assert len(every[f"s/m/{TAP}"]) == sum(len(line.split()) for line in LINES)
    texts = dict.fromkeys(table(tokens)["sample"])
    lines = {f"t{n}": line for n, line in enumerate(LINES)}
    assert set(texts) == {
        id for id, line in lines.items() if len(make_tokenizer()(line)["input_ids"]) > 4
    }
    rows, values = table(tokens), tokens[f"s/m/{TAP}"].numpy()
    keys = list(zip(rows["sample"], rows["word"], strict=True))
    found = dict.fromkeys(key for key in keys if key[1] >= 0)
    means = [values[[key == word for key in keys]].mean(0) for word in found]
    np.testing.assert_allclose(kept[f"s/m/{TAP}"], means, rtol=1e-4, atol=1e-5)


def test_long_texts_in_pieces(corpus, saved):
    whole = run(corpus, saved("gpt2"))
    split = run(corpus, saved("gpt2"), "split", max_length=8, long="split")
    assert table(split)["token_id"] == table(whole)["token_id"]
    assert max(table(split)["position"]) == 7
    assert max(table(split)["piece"]) > 2
    cut = run(corpus, saved("gpt2"), "cut", max_length=8)
    assert len(table(cut)["token_id"]) == sum(
        min(8, len(make_tokenizer()(line)["input_ids"])) for line in LINES
    )
