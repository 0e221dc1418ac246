"""layer_selection.yml: read into a model's table, written by `actx layers --pick`, and back again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from actx_core import ConfigError, ModelError, Pipeline, open_run
from actx_core.cli.command import Output
from actx_core.cli.group import actx
from actx_katago.model.config import KatagoConfig
from actx_katago.model.katago import Katago
from actx_katago.model.selection import KEYS, read_selection, write_selection
from actx_katago.positions.inputs import Inputs

Net = Callable[..., Path]
MEAN = [{"type": "mean", "over": ["y", "x"]}]


def selection(path: Path, **changes: Any) -> Path:
    values = {"chosen_layer": "trunk_block_1", "network_file": "net.bin.gz", **changes}
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not ...}))
    return path


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("mean", MEAN),
        ("Max", [{"type": "max", "over": ["y", "x"]}]),
        ("std", [{"type": "std", "over": ["y", "x"]}]),
        (..., MEAN),
        (None, []),
        ("none", []),
        ("3x3", [{"type": "grid", "size": 3}, {"type": "flatten"}]),
        ("grid 2", [{"type": "grid", "size": 2}, {"type": "flatten"}]),
        ({"type": "chains"}, [{"type": "chains"}]),
        ([{"type": "at", "point": "D4"}], [{"type": "at", "point": "D4"}]),
    ],
)
def test_how_pooling_is_said(tmp_path: Path, pooling: Any, pool: list[dict[str, Any]]):
    path = selection(tmp_path / "layer_selection.yml", pooling=pooling)
    assert read_selection(path).table("layer_selection.yml") == {
        "network": "net.bin.gz",
        "tap": [{"match": ["trunk_block_1"], "pool": pool}],
    }


@pytest.mark.parametrize(
    ("size", "expected"), [(9, 9), ("9x9", [9, 9]), ([9, 7], [9, 7]), (None, None)]
)
def test_how_the_board_is_said(tmp_path: Path, size: Any, expected: Any):
    table = read_selection(selection(tmp_path / "a.yml", board_size=size)).table("a.yml")
    assert table.get("board_size") == expected


@pytest.mark.parametrize(
    ("written", "network", "found"),
    [
        ("a.yml", "net.bin.gz", "net.bin.gz"),
        ("chosen/a.yml", "../models/net.bin.gz", "chosen/../models/net.bin.gz"),
        ("chosen/a.yml", "/models/net.bin.gz", "/models/net.bin.gz"),
        ("chosen/a.yml", "package:katrain/models/net.bin.gz", "package:katrain/models/net.bin.gz"),
    ],
)
def test_the_network_lies_where_the_file_says(
    tmp_path: Path, written: str, network: str, found: str
):
    path = selection(tmp_path / "a.yml", network_file=network)
    assert read_selection(path).table(written)["network"] == found


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"chosen_layer": ...}, "'chosen_layer' must be text, found None"),
        ({"network_file": 3}, "'network_file' must be text, found 3"),
        ({"layer": "x"}, "unknown key 'layer'"),
        ({"board_size": "large"}, "'board_size' must be a number such as 9"),
        ({"board_size": [9, 9, 9]}, "'board_size' must be a number such as 9"),
        ({"pooling": "median"}, "'pooling' must be mean, max, std, none or cells such as 3x3"),
        ({"pooling": "3x4"}, "'pooling' must be mean, max, std, none or cells such as 3x3"),
        ({"pooling": [3]}, "'pooling' must be mean, max, std, none or cells such as 3x3"),
    ],
)
def test_mistakes_name_the_file_and_the_key(tmp_path: Path, changes: dict[str, Any], says: str):
    path = selection(tmp_path / "a.yml", **changes)
    with pytest.raises(ConfigError) as error:
        read_selection(path)
    assert says in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [", b"- a list", b"!!python/object:os.x {}"])
def test_other_files_are_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a.yml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"expected (YAML|keys)") as error:
        read_selection(tmp_path / "a.yml")
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="there is no such file") as error:
        read_selection(tmp_path / "b.yml")
    assert "--pick" in error.value.hint


def test_what_is_written_is_read_again(tmp_path: Path, net: Net):
    config = KatagoConfig(network=net(), board_size=(8, 5))
    (tmp_path / "chosen").mkdir()
    path = tmp_path / "chosen" / "layer_selection.yml"
    write_selection(path, config, "trunk_after_block1")
    written = yaml.safe_load(path.read_text())
    assert tuple(written) == KEYS
    assert (written["date"], written["pooling"]) == (date.today(), "mean")
    table = read_selection(path).table(str(path))
    assert (path.parent / written["network_file"]).resolve() == net().resolve()
    assert table["board_size"] == [8, 5]
    assert table["tap"] == [{"match": ["trunk_after_block1"], "pool": MEAN}]


def test_one_layer_and_a_yml_file(tmp_path: Path, net: Net):
    model = Katago(KatagoConfig(network=net()))
    with pytest.raises(ModelError, match="a layer selection names one layer, found 2"):
        model.save_taps(tmp_path / "a.yml", ["value", "blocks.0"])
    with pytest.raises(ModelError, match=r"cannot write taps to a \.csv file"):
        model.save_taps(tmp_path / "a.csv", ["value"])
    assert not list(tmp_path.iterdir())


def test_network_or_selection_but_one_of_them(tmp_path: Path):
    for given in ({}, {"network": "n.bin.gz", "layer_selection": "a.yml"}):
        with pytest.raises(ValueError, match="say either network"):
            KatagoConfig(**given)


def test_picked_and_run(
    tmp_path: Path,
    net: Net,
    nine: list[Inputs],
    write_rows: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
):
    """The whole way: pick a layer of a network file, name the selection in a pipeline, run it."""
    (tmp_path / "net.bin.gz").write_bytes(net().read_bytes())
    write_rows(tmp_path / "rows.npz", nine, 9)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Output, "asks", True)
    command = ["layers", "net.bin.gz", "--pick", "--save", "layer_selection.yml"]
    told = CliRunner().invoke(actx, command, input="trunk_block_1\ndone\n")
    assert told.exit_code == 0, told.output
    assert "layer_selection.yml: 1 taps of net.bin.gz" in told.output
    written = yaml.safe_load((tmp_path / "layer_selection.yml").read_text())
    assert written["chosen_layer"] == "trunk_after_block1"
    assert written["network_file"] == "net.bin.gz"

    def run(name: str, **model: Any) -> np.ndarray:
        spec = {
            "actx": 1,
            "run": {"out": name, "device": "cpu"},
            "source": {"type": "selfplay", "path": "rows.npz"},
            "model": {"type": "katago", **model},
        }
        list(Pipeline.from_dict(spec, base=tmp_path).run())
        finished = open_run(tmp_path / name)
        (array,) = finished.arrays
        return finished[array].numpy()

    chosen = run("a", layer_selection="layer_selection.yml")
    tap = {"match": ["trunk_after_block1"], "pool": MEAN}
    assert np.array_equal(chosen, run("b", network="net.bin.gz", tap=[tap]))
    heads = run("c", layer_selection="layer_selection.yml", taps=["value"])  # other taps win
    assert heads.shape == (len(nine), 3)
