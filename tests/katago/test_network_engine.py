"""KataGo's own engine: it loads what is written here, and says of a position what is computed here.

KATAGO_ENGINE names its program. KATAGO_OPTIONS are more settings for it, as ``-override-config``
takes them: on a slow device ``openclTunerFile=…`` saves three minutes of tuning. KATAGO_NETWORKS is a
folder of real networks.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from actx_core import ModelError
from actx_katago import load_network, random_network, read_network, write_network
from actx_katago.network.random import KINDS

SPEC = importlib.util.spec_from_file_location("raw_nn", Path(__file__).with_name("raw_nn.py"))
raw_nn = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(raw_nn)

ENGINE = os.environ.get("KATAGO_ENGINE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
needs_engine = pytest.mark.skipif(
    not Path(ENGINE).is_file(), reason="KATAGO_ENGINE does not name KataGo's engine"
)

SETTINGS = """
logAllGTPCommunication = false
logSearchInfo = false
rules = tromp-taylor
maxVisits = 2
numSearchThreads = 1
nnMaxBatchSize = 1
nnRandomize = false
logToStderr = false
"""


class Engine:
    """A running engine with one network, spoken to in GTP."""

    def __init__(self, network: Path, folder: Path, settings: str = "") -> None:
        config = folder / "engine.cfg"
        config.write_text(f"{SETTINGS}logDir = {folder / 'logs'}\n{settings}\n")
        command = [ENGINE, "gtp", "-model", str(network), "-config", str(config)]
        if options := os.environ.get("KATAGO_OPTIONS"):
            command += ["-override-config", options]
        self.said = (folder / "stderr.txt").open("w+")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.said}
        self.process = subprocess.Popen(command, text=True, **pipes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.said.close()

    def __call__(self, command):
        """The lines of its answer, without the mark."""
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline()) and (line.strip() or not lines):
            lines += [line.rstrip()] if line.strip() else []
        if not lines or not lines[0].startswith("="):
            self.said.seek(0)
            raise AssertionError(f"{command}: {lines or self.said.read()[-2000:]}")
        return [lines[0][1:].strip(), *lines[1:]]

    def play(self, game, moves):
        self(f"rectangular_boardsize {game['w']} {game['h']}")
        self(f"kata-set-rules {json.dumps(game['rules'])}")
        self(f"komi {game['komi']}")
        self("clear_board")
        for colour, move in game["moves"][:moves]:
            self(f"play {colour} {move}")

    def raw(self, optimism):
        """What ``kata-raw-nn`` prints: numbers by name, and tables; NaN for moves that are not legal."""
        found, table = {}, None
        for line in self(f"kata-raw-nn 0 {optimism}"):
            words = line.split()
            if words and words[0] in ("policy", "whiteOwnership"):
                table = found[words[0]] = []
            elif words and words[0][0].isalpha() and words[0] != "NAN":
                found[words[0]] = float(words[1])
            elif words:
                table.append([float(word) for word in words])
        return found


OLD = [(0, 8), (0, 21), (3, 5), (3, 40)]  # the only rules that features before V6 know
NEW = [(0, 0), (0, 21), (1, 17), (1, 34), (2, 45), (3, 5), (3, 100), (4, 77), (5, 15), (6, 18)]


def agree(network, engine, data, optimisms=(0, 1), meta=None):
    """Compare every output at some positions with what the engine says of them; -rP shows the figures."""
    inputs = np.load(data / "reference" / "inputs_v7.npz")
    games = json.loads((data / "reference" / "games.json").read_text())
    top, worst = network.description, dict.fromkeys(raw_nn.TOLERANCES, 0.0)
    for game, move in OLD if top.version < 7 else NEW:
        engine.play(games[game], move)
        key, rules = f"g{game}_m{move}_tight", games[game]["rules"]
        planes = torch.tensor(inputs[f"{key}_bin"])[None]
        global_ = torch.tensor(inputs[f"{key}_glob"])[None]
        with torch.no_grad():
            out = network(*features(planes, global_, top.version), meta)
        for optimism in optimisms:
            told, player = engine.raw(optimism), games[game]["moves"][move][0]
            found = raw_nn.differences(told, out, top, rules, player, optimism)
            worst = {kind: max(found[kind], worst[kind]) for kind in worst}
            raw_nn.check(found, (key, optimism))
    print(top.name, {kind: f"{value:.1e}" for kind, value in worst.items()})


def features(planes, global_, version):
    """The inputs of older networks, from V7's, where the position and the rules make no difference.

    V3 to V6 have the same planes, but for the territory of V4 and the short list of V5; V3 and V4 count komi
    in 15ths. What differs gets no weight in the networks below.
    """
    komi = global_.clone()
    komi[:, 5] *= 20 / 15
    wave = global_[:, 18:19]
    if version in (3, 4, 5):
        return planes, torch.cat([komi[:, :10], komi[:, 12:15], wave], 1)
    if version == 6:
        return planes[:, :13], global_[:, :12]
    return planes, torch.cat([global_[:, :15], wave], 1) if version == 7 else global_


def blind(network, planes, globals_):
    """A network that does not see some of its inputs."""
    spatial = network.weights["conv_spatial.weight"].copy()
    spatial[:, planes] = 0
    linear = network.weights["linear_global.weight"].copy()
    linear[:, globals_] = 0
    return network.edited({"conv_spatial.weight": spatial, "linear_global.weight": linear})


CASES = {f"v{v}": {"version": v} for v in range(3, 11)}
CASES |= {f"v{v}": {"version": v, "blocks": ("ordinary", "gpool", "nested")} for v in range(11, 17)}
CASES["v17"] = {"version": 17, "blocks": KINDS, "activation": "ACTIVATION_SILU", "tip": "rms"}
CASES["v17-spatial"] = {"version": 17, "blocks": KINDS, "tip": "spatial-rms"}


@needs_engine
@pytest.mark.parametrize("case", CASES)
def test_the_engine_computes_what_is_computed_here(data, tmp_path, case):
    network = random_network(**CASES[case], seed=len(case))
    if case == "v5":
        network = blind(network, [18, 19], [])
    if case == "v6":
        network = blind(network, range(3, 13), range(12))
    file = tmp_path / "network.bin.gz"
    write_network(network, file)
    with Engine(file, tmp_path) as engine:
        agree(
            load_network(file), engine, data, (0, 1) if network.description.version > 11 else (0,)
        )


@needs_engine
def test_the_engine_loads_networks_as_text(data, tmp_path):
    network = random_network(14, ("ordinary", "gpool", "nested"))
    file = tmp_path / "network.txt.gz"
    write_network(network, file)
    with Engine(file, tmp_path) as engine:
        agree(load_network(file), engine, data, (0,))


@needs_engine
def test_the_engine_computes_what_metadata_adds(data, tmp_path):
    """With no weight on any but the first two facts: that both players are people."""
    network = random_network(15, meta=True)
    linear = network.weights["metadata_encoder.linear1.weight"].copy()
    linear[:, 2:] = 0
    file = tmp_path / "network.bin.gz"
    write_network(network.edited({"metadata_encoder.linear1.weight": linear}), file)
    meta = torch.zeros(1, 192)
    meta[:, :2] = 1
    with Engine(file, tmp_path, "humanSLProfile = rank_9d") as engine:
        agree(load_network(file), engine, data, (0,), meta)


@pytest.fixture(scope="session")
def real_networks():
    folders = [Path(folder) for folder in [os.environ.get("KATAGO_NETWORKS", "")] if folder]
    spec = importlib.util.find_spec("katrain")
    if spec is not None and spec.submodule_search_locations:
        folders.append(Path(spec.submodule_search_locations[0], "models"))
    found = sorted(path for folder in folders for path in folder.glob("*.bin.gz"))
    if not found:
        pytest.skip("the package katrain is not installed, and KATAGO_NETWORKS names no networks")
    return found


def test_real_networks_come_back_to_the_byte(real_networks, tmp_path):
    for file in real_networks:
        write_network(read_network(file), tmp_path / "again.bin")
        assert (tmp_path / "again.bin").read_bytes() == gzip.decompress(file.read_bytes())


@needs_engine
def test_real_networks_in_the_engine(real_networks, data, tmp_path):
    for file in real_networks:
        with Engine(file, tmp_path) as engine:
            agree(load_network(file), engine, data)


@needs_engine
def test_the_engine_refuses_versions_that_are_refused_here(tmp_path):
    network = random_network(3)
    file = tmp_path / "network.bin"
    write_network(network, file)
    file.write_bytes(file.read_bytes().replace(b"random-v3\n3\n", b"random-v3\n18\n", 1))
    with pytest.raises(ModelError, match="3 to 17, found version 18"):
        read_network(file)
    with Engine(file, tmp_path) as engine, pytest.raises(AssertionError, match="version"):
        engine("name")
