"""Files of networks: reading every version to the last byte, and writing what was read."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from actx_core import ModelError
from actx_katago import load_network, random_network, read_network, write_network
from actx_katago.network.random import KINDS, randomised

NETWORKS = {
    **{f"v{v}": {"version": v} for v in range(3, 11)},
    **{f"v{v}": {"version": v, "blocks": ("gpool", "nested")} for v in range(11, 17)},
    "v15-meta": {"version": 15, "meta": True},
    "v17": {"version": 17, "blocks": KINDS, "tip": "spatial-rms"},
}


def same(found, expected):
    assert found.description == expected.description
    assert list(found.weights) == list(expected.weights)
    for path, array in expected.weights.items():
        np.testing.assert_array_equal(found.weights[path], array, err_msg=path)


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.parametrize("suffix", [".bin.gz", ".bin", ".txt.gz", ".txt"])
def test_every_version_comes_back_from_every_kind_of_file(tmp_path, case, suffix):
    network = random_network(**NETWORKS[case], seed=len(case))
    file = tmp_path / f"network{suffix}"
    write_network(network, file)
    found = read_network(file)
    same(found, network)
    assert found.kind == suffix[1:4]
    assert found.path == file
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_bytes_are_those_of_the_format(tmp_path):
    network = random_network(14, ("ordinary",), channels=8)
    file = tmp_path / "network.bin.gz"
    write_network(network, file)
    data = gzip.decompress(file.read_bytes())
    header = b"random-v14\n14\n22\n19\n20.0\n20.0\n20.0\n20.0\n40.0\n0.25\n150.0\ntrunk\n1\n8\n8\n4\n2\n2\n"
    weights = network.weights["conv_spatial.weight"].transpose(2, 3, 1, 0)  # y, x, in, out
    conv = b"conv_spatial\n3\n3\n22\n8\n1\n1\n@BIN@" + weights.astype("<f4").tobytes() + b"\n"
    linear = network.weights["linear_global.weight"].T.astype("<f4").tobytes()
    assert data.startswith(
        header + conv + b"linear_global\n19\n8\n@BIN@" + linear + b"\nordinary_block\n"
    )
    ownership = network.weights["value_head.conv_ownership.weight"].ravel().astype("<f4").tobytes()
    assert data.endswith(b"value_head.conv_ownership\n1\n1\n8\n1\n1\n1\n@BIN@" + ownership + b"\n")


def test_weights_that_hold_the_mark_and_odd_white_space(tmp_path):
    network = random_network(11)
    mark = np.frombuffer(b"@BIN@@BIN@ @BIN@", "<f4")
    edited = network.weights["value_head.linear2.weight"].copy()
    edited.ravel()[:4] = mark
    network = network.edited({"value_head.linear2.weight": edited}, name="marked")
    file = tmp_path / "network.bin"
    write_network(network, file)
    same(read_network(file), network)
    data = file.read_bytes()
    file.write_bytes(b" \n " + data.replace(b"marked\n11\n", b"marked \r\n\t11\r\n", 1) + b"\n \n")
    same(read_network(file), network)


def test_the_content_decides_not_the_name(tmp_path):
    network = random_network(8)
    write_network(network, tmp_path / "network.bin.gz")
    (tmp_path / "network.bin.gz").rename(tmp_path / "renamed.txt")
    assert read_network(tmp_path / "renamed.txt").kind == "bin"


def test_facts_of_a_network():
    network = random_network(17, ("nested", "attention"), meta=True, tip="rms")
    header = network.header
    assert header.pop("parameters") == sum(p.numel() for p in _module(network).parameters()), (
        "what the module has"
    )
    assert header == {
        "name": "random-v17",
        "version": 17,
        "input_version": 7,
        "n_spatial": 22,
        "n_global": 19,
        "n_meta": 192,
        "blocks": 2,
        "channels": 16,
        "block_kinds": ["nested_bottleneck_block", "transformer_attention_block"],
        "policies": 4,
        "sha256": "",
        "kind": "bin",
        "swa": None,
    }
    assert random_network(5).header["input_version"] == 4


def _module(network):
    from actx_katago import Network

    return Network(network.description)


def test_weights_can_be_edited_and_nothing_else_changes():
    network = random_network(14)
    path = "blocks.1.normactconv2.conv.weight"
    edited = network.edited({path: network.weights[path] * 0}, name="quiet")
    assert edited.description.name == "quiet"
    assert not edited.weights[path].any()
    assert network.weights[path].any(), "the first one stays"
    assert (
        edited.weights["blocks.0.normactconv1.conv.weight"]
        is network.weights["blocks.0.normactconv1.conv.weight"]
    )
    with pytest.raises(ModelError, match="no such weights"):
        network.edited({"blocks.9": np.zeros(1)})
    with pytest.raises(ModelError, match=r"expected shape \[16, 8, 3, 3\], found \[1\]"):
        network.edited({path: np.zeros(1)})
    with pytest.raises(ModelError, match="not all finite"):
        network.edited({path: network.weights[path] * np.nan})


def test_an_untrained_copy_has_other_weights_and_the_same_layers():
    network = random_network(16, ("nested",), seed=1)
    control = randomised(network, seed=2)
    assert control.description.trunk == network.description.trunk
    assert {p: a.shape for p, a in control.weights.items()} == {
        p: a.shape for p, a in network.weights.items()
    }
    assert not np.array_equal(
        control.weights["conv_spatial.weight"], network.weights["conv_spatial.weight"]
    )
    same(randomised(network, seed=2), control)


@pytest.mark.parametrize("name", ["", "a name", "é", "x" * 97, "a/b"])
def test_names_that_the_engine_refuses_are_not_written(tmp_path, name):
    from dataclasses import replace

    network = random_network(14)
    network = replace(network, description=replace(network.description, name=name))
    with pytest.raises(ModelError, match="cannot be the name of a network"):
        write_network(network, tmp_path / "network.bin.gz")
    with pytest.raises(ModelError, match="expected a name that ends in"):
        write_network(random_network(14), tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


def test_listing_imports_no_torch():
    code = "import actx_katago, sys; actx_katago.read_network; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


def test_all_networks_of_the_data_come_back_to_the_byte(data, tmp_path):
    files = sorted((data / "models").rglob("*.bin.gz"))
    assert len(files) == 8
    for file in files:
        network = read_network(file)
        write_network(network, tmp_path / "again.bin.gz")
        assert gzip.decompress((tmp_path / "again.bin.gz").read_bytes()) == gzip.decompress(
            file.read_bytes()
        ), file.name
        assert sum(p.numel() for p in load_network(file).parameters()) == network.parameters
