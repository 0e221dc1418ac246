"""Progress, questions and Ctrl-C: what people see while a run goes on, at a terminal and elsewhere."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from actx_core import open_run
from actx_core.cli import text
from actx_core.cli.command import Output
from actx_core.cli.meter import Meter
from actx_core.cli.plain import Plain
from actx_core.cli.watch import Watch
from actx_core.errors import Interrupted
from actx_core.types import Progress, Stage
from actx_core.units import size

PLUGIN = """
import time
import numpy as np
from actx_core import Component, hookimpl

@hookimpl
def actx_models():
    yield Component("slow", "cli_slow.parts:Slow", "Waits.", config="cli_slow.parts:SlowConfig")

@hookimpl
def actx_sources():
    yield Component("count", "cli_slow.parts:Count", "Counts.", config="cli_slow.parts:CountConfig")
"""
PARTS = """
import time
import numpy as np
from actx_core import Activation, Batch, Config, ListedSource, Model, ModelConfig, Sample, Tap

class SlowConfig(ModelConfig):
    seconds: float = 0.0

class Slow(Model[SlowConfig]):
    def taps(self, example=None):
        return [Tap("square", ("sample", "channel"), (2,), "float64")]
    def prepare(self, samples):
        return Batch(np.array([s.data for s in samples]), range(len(samples)))
    def open(self, taps):
        pass
    def extract(self, batch, pool):
        time.sleep(self.config.seconds)
        x = batch.inputs.astype(float)
        return {"square": pool("square", Activation(np.stack([x, x * x], 1), ("sample", "channel")))}

class CountConfig(Config):
    n: int = 24

class Count(ListedSource[CountConfig]):
    def listing(self):
        return [Sample(f"s{i:02}", i) for i in range(self.config.n)]
"""
PIPELINE = """
actx = 1
[run]
out = "out"
shard_size = 8
[source]
type = "count"
[model]
type = "slow"
batch_size = 4
seconds = 0.2
taps = ["square"]
[store]
type = "npy"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a plugin with a slow model is installed."""
    home = tmp_path_factory.mktemp("site")
    (home / "cli_slow").mkdir()
    (home / "cli_slow/__init__.py").touch()
    (home / "cli_slow/plugin.py").write_text(PLUGIN)
    (home / "cli_slow/parts.py").write_text(PARTS)
    dist = home / "cli_slow-1.0.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: cli-slow\nVersion: 1.0\n")
    (dist / "entry_points.txt").write_text("[actx]\nslow = cli_slow.plugin\n")
    return home


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "p.toml").write_text(PIPELINE)
    return tmp_path


def start(site: Path, desk: Path, *args: str, **streams: object) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "actx_core", *args],
        cwd=desk,
        env=os.environ | {"PYTHONPATH": path, "ACTX_PLUGINS": "slow"},
        text=True,
        **(
            {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
            | streams
        ),
    )


def terminal(site: Path, desk: Path, *args: str, answer: str = "") -> tuple[int, str]:
    """Exit code and output of a command that runs at a terminal, where ``answer`` is typed."""
    ours, theirs = pty.openpty()
    process = start(site, desk, *args, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, answer.encode())
    seen = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    return process.wait(30), seen.decode()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_meter_counts_and_looks_back_half_a_minute() -> None:
    clock = Clock()
    meter = Meter(clock)
    assert (meter.left, meter.rate) == (None, 0)
    meter.begin(400)
    for _ in range(10):
        clock.now += 1
        meter.add(Progress("a/b", 0, 20, 1000))
    assert (meter.samples, meter.bytes, meter.cell) == (200, 10_000, "a/b")
    assert meter.rate == pytest.approx(20)
    assert meter.left == pytest.approx(10)
    for _ in range(10):
        clock.now += 10
        meter.add(Progress("a/b", 0, 10, 500))
    assert meter.rate == pytest.approx(1)
    meter.begin(None)
    clock.now += 2
    meter.add(Progress("a/c", 0, 6, 1))
    assert (meter.samples, meter.rate, meter.left) == (6, pytest.approx(3), None)
    assert (meter.all_samples, meter.all_bytes, meter.elapsed) == (306, 15_001, pytest.approx(112))


def test_plain_progress_is_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock, screen = Clock(), Plain()
    meter = Meter(clock)
    meter.begin(1000)
    screen.stage(Stage("extract", "a/b", 1000), meter)
    for _ in range(100):
        clock.now += 0.125
        meter.add(Progress("a/b", 0, 5, 2000))
        screen.advance(meter)
    screen.ended(meter)
    for number in range(4):
        screen.stage(Stage("join", f"a/b/tap{number}"), meter)
        clock.now += 2
        meter.begin(None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "extract: a/b"
    assert lines[1] == "a/b: 200/1000 samples, 40 samples/s, 80.0 kB, 20s left"
    assert lines[2].startswith("a/b: 400/1000 samples")
    assert lines[3:] == ["a/b: 500 samples, 200 kB in 12s", "join: a/b/tap0", "join: a/b/tap3"]


def interrupted(*events: Progress | Stage) -> None:
    """A run that reports the first events, gets Ctrl-C, and reports one more."""
    with Watch(Output(True)) as watch:
        for event in events[:-1]:
            watch(event)
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        watch(events[-1])


def test_the_first_interrupt_waits_for_the_batch_and_is_undone() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="the same command resumes"):
        interrupted(Stage("extract", "a/b"), Progress("a/b", 0, 1, 1))
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_outside_extraction_ends_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(Stage("extract", "a/b"), Stage("analyze", "pca"), Stage("done", ""))


def test_an_interrupted_run_resumes(site: Path, desk: Path) -> None:
    process = start(site, desk, "run", "p.toml", "--json")
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(json.loads(line))
        if lines[-1].get("event") == "shard":
            process.send_signal(signal.SIGINT)
            break
    rest, err = process.communicate(timeout=30)
    lines += map(json.loads, rest.splitlines())
    assert process.returncode == 130
    assert "ending after this batch; Ctrl-C again kills" in err
    assert "Traceback" not in err
    assert lines[-1]["error"]["code"] == "Interrupted"
    done = len(list((desk / "out/receipts").glob("*.json")))
    assert 1 <= done < 3
    again = start(site, desk, "run", "p.toml")
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert f"count/slow: {24 - 8 * done} samples" in out
    x = np.arange(24.0)
    np.testing.assert_array_equal(
        open_run(desk / "out")["count/slow/square"].numpy(), np.stack([x, x * x], 1)
    )


def test_a_second_interrupt_kills(site: Path, desk: Path) -> None:
    process = start(site, desk, "run", "p.toml", "--set", "model.seconds=20", "--json")
    assert process.stdout is not None
    for line in process.stdout:
        if '"extract"' in line:
            break
    assert process.stderr is not None
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert "Ctrl-C again kills" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == -signal.SIGINT
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_gets_a_live_line_and_the_path_last(
    colour: bool, site: Path, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    code, seen = terminal(site, desk, "run", "p.toml", "--set", "model.seconds=0.1")
    assert code == 0, seen
    assert re.search(r"\d+/24  [\d.]+/s  \d+ B  \ds left", seen)
    assert (re.search(r"\x1b\[[0-9;]*3[0-9]m", seen) is not None) == colour
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in seen.split("\r\n")]
    assert lines[-2].strip() == str(desk / "out/report.html")


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 7)])
def test_a_terminal_is_asked_before_much_is_written(
    answer: str, code: int, site: Path, desk: Path
) -> None:
    limit = ("--set", "run.confirm_above=100B", "--set", "model.seconds=0")
    ended, seen = terminal(site, desk, "run", "p.toml", *limit, answer=answer)
    assert ended == code, seen
    assert "write 384 B to" in seen
    assert (desk / "out/report.html").exists() == (code == 0)


def test_init_asks_at_a_terminal_only(site: Path, desk: Path) -> None:
    code, seen = terminal(site, desk, "init", "there", answer="no-such-folder\n")
    assert "Folder of images" in seen
    assert code != 0
    job = start(site, desk, "init", "there", "--images", "no-such-folder", stdin=subprocess.PIPE)
    out, _ = job.communicate(timeout=30)
    assert (job.returncode, out) == (code, "")


def test_a_job_is_never_asked(site: Path, desk: Path) -> None:
    limit = ("--set", "run.confirm_above=100B", "--set", "model.seconds=0")
    refused = start(site, desk, "run", "p.toml", *limit, stdin=subprocess.PIPE)
    _, err = refused.communicate(timeout=30)
    assert refused.returncode == 7
    assert "--yes" in err
    agreed = start(site, desk, "run", "p.toml", *limit, "--yes")
    out, err = agreed.communicate(timeout=30)
    assert agreed.returncode == 0, err
    assert out.splitlines()[-1] == str(desk / "out/report.html")


def test_a_run_that_is_done_says_so_without_a_framework(site: Path, desk: Path) -> None:
    start(site, desk, "run", "p.toml", "--set", "model.seconds=0").communicate(timeout=60)
    code = (
        "import sys; from actx_core.cli import main; sys.argv = ['actx', 'run', 'p.toml', '--set',"
        " 'model.seconds=0']\ntry: main()\nfinally: assert not {'torch', 'rich'} & set(sys.modules)"
    )
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=desk,
        env=os.environ | {"PYTHONPATH": path, "ACTX_PLUGINS": "slow"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
    assert done.stdout.splitlines()[-1] == str(desk / "out/report.html")


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_499, "999 kB"), (999_500, "1.00 MB"),
     (1_250_000, "1.25 MB"), (2**41, "2.20 TB"), (3 * 10**15, "3000 TB"), (None, "?")],
)  # fmt: skip
def test_sizes(count: int | None, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0s"), (59.6, "1m00s"), (61, "1m01s"), (3599.4, "59m59s"), (7500, "2h05m"), (None, "?")],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert text.duration(seconds) == words


def test_branches_show_containers_before_their_children() -> None:
    assert text.branches(["a.0.x", "a.0", "a.1.y", "a", "b"], ".") == [
        ("a", "a"), ("  0", "a.0"), ("    x", "a.0.x"), ("  1", ""), ("    y", "a.1.y"), ("b", "b"),
    ]  # fmt: skip
