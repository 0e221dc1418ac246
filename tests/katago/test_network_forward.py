"""What a network computes, against a plain second implementation, KataGo's traces and its engine."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from actx_core import ModelError
from actx_katago import Network, load_network, load_weights, postprocess, random_network
from actx_katago.network.random import KINDS


def beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


naive, raw_nn = beside("naive"), beside("raw_nn")

OLD = ("ordinary", "gpool")
CASES = {
    **{f"v{v}": {"version": v, "blocks": OLD} for v in range(3, 11)},
    **{f"v{v}": {"version": v, "blocks": (*OLD, "nested")} for v in range(11, 17)},
    "v17": {"version": 17, "blocks": KINDS, "activation": "ACTIVATION_SILU"},
    "v17-rms": {"version": 17, "blocks": OLD, "tip": "rms"},
    "v17-spatial": {"version": 17, "blocks": OLD, "tip": "spatial-rms"},
    "v15-meta": {"version": 15, "blocks": OLD, "meta": True},
    "v11-identity": {"version": 11, "blocks": OLD, "activation": "ACTIVATION_IDENTITY"},
}


def module(file, dtype=torch.float64):
    network = Network(file.description).eval()
    load_weights(network, file)
    return network.to(dtype)


def boards(description, sizes=((4, 5), (5, 3)), tensor=(5, 6), seed=0):
    """Random inputs (N, …) of boards at the top left of larger tensors."""
    rng = np.random.default_rng(seed)
    spatial = np.zeros((len(sizes), description.n_spatial, *tensor))
    for n, (height, width) in enumerate(sizes):
        spatial[n, 1:, :height, :width] = (
            rng.random((description.n_spatial - 1, height, width)) < 0.3
        )
        spatial[n, 0, :height, :width] = 1
    global_ = rng.standard_normal((len(sizes), description.n_global))
    meta = rng.standard_normal((len(sizes), description.n_meta)) if description.n_meta else None
    return spatial, global_, meta


def tensors(*arrays, dtype=torch.float64):
    return [None if array is None else torch.tensor(array, dtype=dtype) for array in arrays]


@pytest.mark.parametrize("case", CASES)
def test_every_version_and_kind_of_block_computes_what_a_plain_implementation_does(case):
    file = random_network(**CASES[case], seed=len(case))
    network, plain = module(file), naive.Naive(file)
    seen = {}
    for name, child in network.named_modules():
        child.register_forward_hook(lambda _, __, out, name=name: seen.setdefault(name, out))
    inputs = boards(file.description)
    with torch.no_grad():
        out = network(*tensors(*inputs))
    for n in range(2):
        policy, value, score, ownership = plain(*(None if i is None else i[n] for i in inputs))
        for name, expected in (("policy", policy), ("value", value), ("score", score)):
            np.testing.assert_allclose(out[name][n], expected, rtol=1e-6, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(out["ownership"][n], ownership * plain.on, atol=1e-6)
        for name, expected in plain.stream.items():
            np.testing.assert_allclose(seen[name][n], expected, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("case", ["v8", "v17", "v17-spatial", "v15-meta", "v11-identity"])
def test_a_padded_board_gives_what_a_tight_one_gives(case):
    file = random_network(**CASES[case])
    network = module(file)
    padded = boards(file.description, [(4, 5)], (9, 8))
    tight = (padded[0][:, :, :4, :5], *padded[1:])
    with torch.no_grad():
        wide, narrow = network(*tensors(*padded)), network(*tensors(*tight))
    for name in ("value", "score"):
        torch.testing.assert_close(wide[name], narrow[name])
    torch.testing.assert_close(wide["ownership"][:, :, :4, :5], narrow["ownership"])
    assert not wide["ownership"][:, :, 4:].any()
    points = wide["policy"][:, :, :-1].unflatten(2, (9, 8))
    torch.testing.assert_close(points[:, :, :4, :5].flatten(2), narrow["policy"][:, :, :-1])
    torch.testing.assert_close(wide["policy"][:, :, -1], narrow["policy"][:, :, -1])
    assert (points[:, :, 4:] < -4000).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.2)])
def test_other_types_of_numbers(dtype, tolerance):
    file = random_network(17, KINDS)
    inputs = boards(file.description)
    with torch.no_grad():
        exact = module(file)(*tensors(*inputs))
        found = module(file, dtype)(*tensors(*inputs, dtype=dtype))
    for name, expected in exact.items():
        assert found[name].dtype == dtype
        real = expected > -1000
        difference = (found[name].double() - expected)[real].abs().max()
        assert difference < tolerance * expected[real].abs().max().clamp(min=1), name


def test_gradients_reach_every_weight_and_the_planes():
    file = random_network(17, KINDS)
    network = module(file)
    spatial, global_, _ = tensors(*boards(file.description))
    spatial.requires_grad_()
    out = network(spatial, global_)
    (out["value"].sum() + out["score"].sum() + out["ownership"].sum()
     + out["policy"].clamp(min=-100).sum()).backward()  # fmt: skip
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert spatial.grad[:, 1:].abs().sum() > 0


@pytest.mark.parametrize("version", range(3, 8))
def test_v7_positions_are_refused_for_networks_of_older_features(version):
    network = module(random_network(version))
    spatial, global_ = torch.zeros(1, 22, 5, 5), torch.zeros(1, 19)
    with pytest.raises(
        ModelError, match=rf"version {version} takes .* found \[1, 22, 5, 5\] and \[1, 19\]"
    ) as caught:
        network(spatial, global_)
    assert "\n" not in str(caught.value)


def test_inputs_must_be_all_that_are_taken_and_of_one_number():
    spatial, global_, meta = tensors(np.ones((1, 22, 5, 5)), np.ones((1, 19)), np.ones((1, 192)))
    with pytest.raises(ModelError, match=r"expected metadata inputs \[1, 192\], found none"):
        module(random_network(15, meta=True))(spatial, global_)
    with pytest.raises(ModelError, match=r"expected metadata inputs none, found \[1, 192\]"):
        module(random_network(15))(spatial, global_, meta)
    with pytest.raises(ModelError, match=r"found \[22, 5, 5\] and \[1, 19\]"):
        module(random_network(15))(spatial[0], global_)
    with pytest.raises(ModelError, match=r"found \[2, 22, 5, 5\] and \[1, 19\]"):
        module(random_network(15))(spatial.expand(2, -1, -1, -1), global_)


NAMES = {"trunk_after_embedding": "trunk.embedding", "trunkfinal": "trunk.final"}


def test_traces_of_katagos_own_model(data):
    inputs = np.load(data / "reference" / "inputs_v7.npz")
    traces = sorted((data / "reference").glob("trace_*.npz"))
    assert len(traces) == 8
    for path in traces:
        trace, name = np.load(path), path.stem.removeprefix("trace_")
        (file,) = (data / "models").rglob(f"{name}.bin.gz")
        keys = [str(key) for key in trace["keys"]]
        whole = {key.rpartition("/")[2] for key in trace.files if key.startswith("full/")}
        some = [i for i, key in enumerate(keys) if key in whole or i % 5 == 0]
        keys = [keys[i] for i in some]
        spatial = torch.tensor(np.stack([inputs[f"{key}_bin"] for key in keys]))
        global_ = torch.tensor(np.stack([inputs[f"{key}_glob"] for key in keys]))
        meta = torch.tensor(trace["meta"][some]) if "meta" in trace else None
        network, seen = load_network(file), {}
        for tap, child in network.named_modules():
            child.register_forward_hook(
                lambda _, __, out, tap=tap, seen=seen: seen.setdefault(tap, out)
            )
        with torch.no_grad():
            out = network(spatial, global_, meta)
        mask = spatial[:, :1]
        for key in trace.files:
            kind, _, rest = key.partition("/")
            tap, _, position = rest.partition("/")
            found = seen.get(NAMES.get(tap, tap.removesuffix(".delta")))
            if kind == "pooled":
                close((found * mask).sum((2, 3)) / mask.sum((2, 3)), trace[key][some], 1e-4, key)
            elif kind == "full":
                at = keys.index(position)
                close((found * mask)[at], trace[key] * mask[at].numpy(), 1e-4, key)
        probabilities = torch.tensor(trace["policy"][some]).softmax(2)
        torch.testing.assert_close(out["policy"].softmax(2), probabilities, rtol=0, atol=1e-5)
        torch.testing.assert_close(
            out["value"].softmax(1),
            torch.tensor(trace["value"][some]).softmax(1),
            rtol=0,
            atol=1e-5,
        )
        ownership = torch.tensor(trace["ownership"][some]).tanh() * mask
        torch.testing.assert_close(out["ownership"], ownership, rtol=0, atol=5e-5)
        if "misc" in trace:
            close(out["score"], trace["misc"][some], 1e-4, "misc")


def close(found, expected, tolerance, what):
    difference = np.abs(found.numpy() - expected).max()
    assert difference <= tolerance * np.abs(expected).max(), what


def test_the_engines_outputs(data):
    inputs = np.load(data / "reference" / "inputs_v7.npz")
    games = json.loads((data / "reference" / "games.json").read_text())
    rows = json.loads((data / "reference" / "raw_nn.json").read_text())
    assert len(rows) == 98
    for name in {row["model"] for row in rows}:
        (file,) = (data / "models").rglob(f"{name}.bin.gz")
        network = load_network(file)
        for row in (row for row in rows if row["model"] == name):
            key = f"g{row['game']}_m{row['move']}_tight"
            spatial, global_ = (
                torch.tensor(inputs[f"{key}_{kind}"])[None] for kind in ("bin", "glob")
            )
            with torch.no_grad():
                out = network(spatial, global_)
            for optimism in (o for o in (0, 1) if f"opt{o}" in row):
                rules, told = games[row["game"]]["rules"], row[f"opt{optimism}"]
                found = raw_nn.differences(
                    told, out, network.description, rules, row["next"], optimism
                )
                raw_nn.check(found, (name, key, optimism))


def test_legal_moves_are_needed():
    network = module(random_network(14))
    out = network(*tensors(*boards(network.description)))
    with pytest.raises(ModelError, match="at least one legal move"):
        postprocess(out, network.description, torch.zeros(2, 31, dtype=torch.bool))
    with pytest.raises(ModelError, match="found shape"):
        postprocess(out, network.description, torch.ones(2, 30, dtype=torch.bool))
