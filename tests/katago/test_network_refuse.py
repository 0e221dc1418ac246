"""Files that are no sound network: refused in one line that names the layer, without large memory."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest

from actx_core import ModelError
from actx_katago import Network, load_weights, random_network, read_network
from actx_katago.network import container
from actx_katago.network.check import check
from actx_katago.network.file import content
from actx_katago.network.random import KINDS


@pytest.fixture(scope="module")
def network():
    return random_network(17, KINDS, channels=8)


@pytest.fixture
def refused(tmp_path):
    """Read bytes as a file: the error, one line, with little memory (packed files grow to 16 times)."""

    def read(data, name="network.bin"):
        file = tmp_path / name
        file.write_bytes(data)
        tracemalloc.start()
        try:
            with pytest.raises(ModelError) as caught:
                read_network(file)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 6_000_000 + 40 * len(data)
        assert str(caught.value).count("\n") == 0
        assert str(file) in str(caught.value)
        return str(caught.value)

    return read


@pytest.mark.parametrize("version", [0, 1, 2, 18, 99])
def test_other_versions(refused, version):
    text = refused(f"name\n{version}\n22\n19\n".encode())
    assert f"expected a network of version 3 to 17, found version {version}" in text


def test_the_old_network_of_the_data(data):
    with pytest.raises(ModelError, match="3 to 17, found version 2"):
        read_network(data / "models" / "v53-140-5x64.txt.gz")


def test_wherever_the_file_is_cut(refused, network):
    data, rng = content(network), random.Random(1)
    end = len(data.rstrip(b"\n"))
    for _ in range(60):
        refused(data[: rng.randrange(end)])
    packed = gzip.compress(data)
    for _ in range(10):
        assert "cannot be unpacked" in refused(packed[: rng.randrange(4, len(packed))], "n.bin.gz")


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_whichever_bytes_are_damaged(tmp_path, network, kind):
    """Either it is refused, or what is read is a network that runs: nothing else happens."""
    from actx_katago import write_network

    file, rng = tmp_path / f"network.{kind}", random.Random(2)
    write_network(network, file)
    whole, refusals = file.read_bytes(), 0
    places = [i for i in range(len(whole)) if whole[i : i + 1].isalnum()] if kind == "txt" else []
    texts = [i for i in range(len(whole) - 8) if whole[i : i + 8].isascii()]
    for attempt in range(300):
        data = bytearray(whole)
        at = rng.choice(places or texts) if attempt % 2 else rng.randrange(len(data))
        data[at] = rng.randrange(256)
        file.write_bytes(data)
        refused = ""
        try:
            found = read_network(file)
        except ModelError as error:
            refused = str(error)
        else:
            load_weights(Network(found.description), found)
        assert "\n" not in refused
        refusals += bool(refused)
    assert refusals > 30


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(refused, network, value):
    path = "blocks.1.normactconv1.convpool.linear_g.weight"
    bad = network.weights[path].copy()
    bad[0, 0] = bad[1, 2] = value
    text = refused(content(replace(network, weights={**network.weights, path: bad})))
    assert "blocks.1.normactconv1.convpool.linear_g: 2 of the 24 numbers of weight are" in text


def test_variances_below_zero(refused, network):
    path = "blocks.0.normactconv2.norm.variance"
    bad = replace(network, weights={**network.weights, path: -network.weights[path]})
    text = refused(content(bad))
    assert "blocks.0.normactconv2.norm: expected variances above zero, found -" in text


HOSTILE = {
    "convolution": (b"conv_spatial\n3\n3\n22\n8\n", b"conv_spatial\n99999\n99999\n99999\n99999\n"),
    "matrix": (b"linear_global\n19\n8\n", b"linear_global\n999999999\n999999999\n"),
    "norm": (b"blocks.0.normactconv1.norm\n8\n", b"blocks.0.normactconv1.norm\n999999999\n"),
    "blocks": (b"trunk\n6\n8\n", b"trunk\n999999999\n8\n"),
    "digits": (b"trunk\n6\n8\n", b"trunk\n" + b"9" * 5000 + b"\n8\n"),
    "negative": (b"conv_spatial\n3\n3\n22\n8\n", b"conv_spatial\n3\n3\n-22\n-8\n"),
    "kind": (b"ordinary_block\nblocks.0\n", b"dilated_block\nblocks.0\n"),
    "flag": (b"norm\n8\n1e-05\n1\n1\n", b"norm\n8\n1e-05\n1000000\n1\n"),
    "epsilon": (b"norm\n8\n1e-05\n1\n1\n", b"norm\n8\nnan\n1\n1\n"),
    "activation": (b"ACTIVATION_MISH\n", b"ACTIVATION_GELU\n"),
    "spare": (b"random-v17\n17\n22\n19\n20.0\n20.0\n20.0\n20.0\n40.0\n0.25\n150.0\n0\n0\n0\n",
              b"random-v17\n17\n22\n19\n20.0\n20.0\n20.0\n20.0\n40.0\n0.25\n150.0\n0\n0\n7\n"),
    "inputs": (b"random-v17\n17\n22\n19\n", b"random-v17\n17\n23\n19\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_counts_and_unknown_parts(refused, network, case):
    before, after = HOSTILE[case]
    data = content(network)
    assert before in data
    text = refused(data.replace(before, after, 1))
    wanted = {"convolution": "conv_spatial", "matrix": "linear_global", "blocks": "blocks.6"}
    assert wanted.get(case, "expected") in text or "spare" in text


def test_bottlenecks_in_bottlenecks_without_end(refused):
    header = b"x\n14\n22\n19\n20 20 20 20 40 0.25 30\ntrunk\n1\n1\n1\n1\n1\n1\n"
    conv = b"c 1 1 22 1 1 1 @BIN@" + bytes(88) + b"\nm 19 1 @BIN@" + bytes(76) + b"\n"
    part = b"nested_bottleneck_block b 1 n 1 1e-20 0 0 @BIN@" + bytes(4) + b"\n@BIN@" + bytes(4)
    part += b"\na ACTIVATION_RELU c 1 1 1 1 1 1 @BIN@" + bytes(4) + b"\n"
    assert "nested more than 8 deep" in refused(header + conv + part * 3000)


def test_words_without_end(refused):
    assert "expected a name" in refused(b"a" * 1_000_000).replace(
        "expected name", "expected a name"
    )
    header = b"x\n8\n22\n19\ntrunk\n1\n8\n8\n4\n2\n2\nconv\n3\n3\n22\n8\n1\n1\n"
    assert "word of great length" in refused(header + b"1 2 3 " + b"7" * 3_000_000)
    assert "the file ends at 3" in refused(header + b"1 2 3 " + b" " * 3_000_000)
    assert "could not convert" in refused(header + b"1 2 3 four" + b" 5" * 2000)


def test_bytes_after_the_end(refused, network):
    assert "6 more bytes follow" in refused(content(network) + b"\nand so")


def test_a_file_that_unpacks_to_far_too_much(refused, network, monkeypatch):
    monkeypatch.setattr(container, "_ALWAYS", 1 << 20)
    stream = BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=9) as packing:
        packing.write(content(network))
        for _ in range(100):
            packing.write(bytes(1 << 20))
    assert len(stream.getvalue()) < 1 << 18
    assert "no network does that" in refused(stream.getvalue(), "bomb.bin.gz")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"hello world this is text",
        bytes(1000),
        b"PK\x03\x04junk",
    ],
)
def test_what_is_no_network(refused, data):
    refused(data)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ModelError, match="there is no such file"):
        read_network(tmp_path / "none.bin.gz")
    with pytest.raises(ModelError, match="model.ckpt: there is no such file"):
        read_network(tmp_path)


def change(layer, path, **values):
    """A layer with values of one below it replaced."""
    first, _, rest = path.partition(".")
    if not first:
        return replace(layer, **values)
    if first.isdigit():
        inner = list(layer)
        inner[int(first)] = change(inner[int(first)], rest, **values)
        return tuple(inner)
    return replace(layer, **{first: change(getattr(layer, first), rest, **values)})


MISFITS = {
    "trunk.conv_spatial": {"c_out": 9},
    "trunk.linear_global": {"c_in": 14},
    "trunk.blocks.0.normactconv1.norm": {"channels": 7},
    "trunk.blocks.0.normactconv2.conv": {"c_out": 7},
    "trunk.blocks.1.normactconv1.convpool.linear_g": {"c_in": 5},
    "trunk.blocks.2.normactconvp.conv": {"c_in": 5},
    "trunk.blocks.2.blockstack.0.normactconv1.conv": {"height": 2},
    "trunk.blocks.2": {"n_blocks": 4},
    "trunk.blocks.3": {"kv_heads": 3},
    "trunk.blocks.3.out_proj": {"c_out": 9},
    "trunk.blocks.4.rope": {"pairs": 5},
    "trunk.blocks.3.rope": {"theta": -1.0},
    "trunk.blocks.5.ffn_linear2": {"c_in": 9},
    "trunk.blocks.5": {"ffn_linear_gate": None},
    "trunk.norm_trunkfinal": {"channels": 9},
    "policy_head.conv2p": {"c_out": 3},
    "policy_head": {"outputs": 2},
    "policy_head.linear_pass2": {"c_out": 3},
    "value_head.linear2": {"c_in": 9},
    "value_head.bias_miscvaluehead": {"channels": 4},
    "value_head.conv_ownership": {"c_out": 2},
}


@pytest.mark.parametrize("path", MISFITS)
def test_layers_that_do_not_fit_together(network, path):
    check(network.description)
    description = change(network.description, path, **MISFITS[path])
    with pytest.raises(ModelError) as caught:
        Network(description)
    named = path.removeprefix("trunk.")
    at = named.rpartition(".")[0] or named
    assert caught.value.where.startswith((named, at)), caught.value
    assert "expected" in str(caught.value)
