"""The commands on a real run of the toy plugin: what they print, as text and as JSON."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from actx_core import (
    Activation,
    AnalysisError,
    Batch,
    ConfigError,
    ListedSource,
    Model,
    ModelConfig,
    Preview,
    Sample,
    SourceError,
    Tap,
    open_run,
)
from actx_core.cli.group import actx
from actx_core.hookspecs import Component
from actx_core.peek import CellPeek, contact_sheet, content
from actx_core.registry import registry

TOY = Path(__file__).parents[1] / "end_to_end/toy"
PIPELINE = """
actx = 1
[run]
out = "out"
batch_size = 4
shard_size = 8
[source]
type = "numbers"
as = "nums"
n = 20
[[model]]
type = "toy"
as = "toy"
taps = ["last", "length", "emb*"]
[store]
type = "npy"
[[analyze]]
type = "norms"
on = ["*/*/last"]
"""
ARRAYS = ["nums/toy/embed", "nums/toy/length", "nums/toy/last"]


@pytest.fixture(scope="module", autouse=True)
def plugins() -> Iterator[None]:
    """The toy plugin, installed for this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOY))
        patch.setenv("ACTX_PLUGINS", "toy")
        registry.cache_clear()
        yield
    registry.cache_clear()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pipeline and its finished run; tests do not change it."""
    desk = tmp_path_factory.mktemp("finished")
    (desk / "p.toml").write_text(PIPELINE)
    done(desk, "run", "p.toml")
    return desk


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "p.toml").write_text(PIPELINE)
    return tmp_path


def invoke(desk: Path, *args: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        result = CliRunner().invoke(actx, list(args), prog_name="actx")
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.stdout, result.stderr


def done(desk: Path, *args: str) -> list[str]:
    """The lines that a command prints, which must succeed."""
    code, out, err = invoke(desk, *args)
    assert (code, err) == (0, ""), out + err
    return out.splitlines()


def data(desk: Path, *args: str) -> Any:
    """The JSON object that a command prints; its keys are documented in the command's help."""
    found = json.loads("\n".join(done(desk, *args, "--json")))
    documented(desk, args[0], found)
    return found


def events(desk: Path, *args: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in done(desk, *args, "--json")]
    for event in found:
        documented(desk, args[0], event)
    return found


def documented(desk: Path, command: str, found: dict[str, Any]) -> None:
    text = "\n".join(done(desk, command, "--help") + done(desk, "run", "--help"))
    assert {key for key in found if f'"{key}"' not in text} == set()


def test_run_reports_its_stages_and_ends_with_the_report(desk: Path) -> None:
    lines = done(desk, "run", "p.toml")
    assert "extract: nums/toy" in lines
    assert any(re.fullmatch(r"nums/toy: 20 samples, .* in \ds", line) for line in lines)
    assert "analyze: norms: nums/toy/last" in lines
    assert lines[-1] == str(desk / "out/report.html")
    assert Path(lines[-1]).exists()
    again = done(desk, "run", "p.toml")
    assert "nothing to do" in again
    assert again[-1] == lines[-1]


def test_run_prints_an_object_for_each_event(desk: Path) -> None:
    found = events(desk, "run", "p.toml")
    by = {kind: [e for e in found if e["event"] == kind] for kind in ("stage", "progress", "shard")}
    assert [e["name"] for e in by["stage"]][:2] == ["plan", "extract"]
    assert by["stage"][1]["of"] == 20
    assert sum(e["samples"] for e in by["progress"]) == 20
    assert {e["of"] for e in by["progress"]} == {20}
    assert [(e["cell"], e["shard"]) for e in by["shard"]] == [("nums/toy", i) for i in range(3)]
    last = found[-1]
    payload = sum(open_run(desk / "out")[name].numpy().nbytes for name in ARRAYS)
    assert (last["event"], last["samples"], last["bytes"]) == ("done", 20, payload)
    assert last["report"] == str(desk / "out/report.html")
    assert last["complete"] is True


def test_run_overrides_and_subsets(desk: Path) -> None:
    two = ("--set", "model.0.width=3")
    (desk / "p.toml").write_text(
        PIPELINE + '[[model]]\ntype = "toy"\nas = "other"\ntaps = ["last"]\n'
    )
    lines = done(desk, "run", "p.toml", *two, "--only", "*/toy")
    assert "the run is not complete: without --only, the same command does the rest" in lines
    assert lines[-1] == str(desk / "out")
    assert open_run(desk / "out")["nums/toy/last"].shape == (20, 3)
    code, _, err = invoke(desk, "run", "p.toml", *two, "--only", "x/*")
    assert code == 2
    assert "there are: nums/toy, nums/other" in err
    assert done(desk, "run", "p.toml", *two)[-1] == str(desk / "out/report.html")
    assert events(desk, "run", "p.toml", *two)[-1]["samples"] == 0


def test_slices_and_finish(desk: Path, finished: Path) -> None:
    first = done(desk, "run", "p.toml", "--slice", "1/2")
    assert "slice 1/2 is done; after the last one: actx finish p.toml" in first
    assert first[-1] == str(desk / "out")
    code, _, err = invoke(desk, "finish", "p.toml")
    assert code == 7
    assert "1 of 3 shards are missing" in err
    done(desk, "run", "p.toml", "--slice", "2/2")
    assert done(desk, "finish", "p.toml")[-1] == str(desk / "out/report.html")
    for name in ARRAYS:
        ours, whole = open_run(desk / "out")[name], open_run(finished / "out")[name]
        np.testing.assert_array_equal(ours.numpy(), whole.numpy())
    assert events(desk, "finish", "p.toml")[-1]["report"] == str(desk / "out/report.html")


def test_skipped_samples_are_listed_and_tried_again(desk: Path) -> None:
    bad = ("--set", "source.bad=[3, 11]", "--set", "source.folder=.")
    assert invoke(desk, "run", "p.toml", *bad)[0] == 4
    skip = (*bad, "--set", "run.on_error=skip")
    lines = done(desk, "run", "p.toml", *skip)
    assert any(line.startswith("2 samples are skipped") for line in lines)
    assert "  nums/toy: n003: sample 3 is broken" in lines
    (desk / "good").touch()
    found = events(desk, "run", "p.toml", *skip, "--retry-skipped")
    assert (found[-1]["samples"], found[-1]["skipped"]) == (2, [])


def test_every_mistake_of_a_pipeline_is_a_line(desk: Path) -> None:
    (desk / "p.toml").write_text(
        PIPELINE.replace('"numbers"', '"nmbers"').replace("n = 20", "n = 'x'")
    )
    code, out, err = invoke(desk, "run", "p.toml", "--set", "store.type=npz")
    assert (code, out) == (2, "")
    assert "p.toml:8:1: no source is called 'nmbers'  hint: did you mean 'numbers'?" in err
    assert "--set store.type=npz" in err
    code, out, _ = invoke(desk, "plan", "p.toml", "--json")
    assert code == 2
    assert json.loads(out)["error"]["problems"][0]["where"].startswith("p.toml:8:")
    assert invoke(desk, "run", "nowhere.toml")[0] == 2


def test_plan_is_what_the_run_writes(desk: Path, finished: Path) -> None:
    lines = done(desk, "plan", "p.toml")
    assert lines[0] == "nums/toy: 20 samples, 3 shards, batches of 4"
    assert any(
        re.match(r"embed +token \*, channel 6 +- +6 float32 +≤ 180 tokens +≤ 4.32 kB", line)
        for line in lines
    )
    assert lines[-1].startswith("≤ 4.88 kB to write, ")
    assert not (desk / "out").exists()
    found = data(desk, "plan", "p.toml")
    taps = {tap["name"]: tap for cell in found["cells"] for tap in cell["taps"]}
    run = open_run(finished / "out")
    for name in ("length", "last"):
        stored, array = taps[name]["stored"], run[f"nums/toy/{name}"]
        assert stored["exact"] is True
        assert stored["bytes"] == array.numpy().nbytes
        assert [stored["rows"], *stored["row_shape"]] == list(array.shape)
    assert taps["embed"]["stored"]["exact"] is False
    assert taps["embed"]["stored"]["bytes"] >= run["nums/toy/embed"].numpy().nbytes


def test_plan_shows_pools_and_notes(desk: Path) -> None:
    (desk / "p.toml").write_text(
        PIPELINE.replace('"emb*"', '"*"') + '[pool]\ntype = "mean"\nover = ["token"]\n'
    )
    lines = done(desk, "plan", "p.toml")
    assert any(re.match(r"embed +.* mean\(token\) +6 float32 +20 samples ", line) for line in lines)
    assert any(line.startswith("note: ") and "silent: it is never called" in line for line in lines)
    assert any(line.startswith("note: not pooled: last") for line in lines)


def test_plan_foretells_the_memory_of_analyses(desk: Path) -> None:
    (desk / "p.toml").write_text(
        PIPELINE
        + '[[analyze]]\ntype = "norms"\nas = "all"\n'
        + '[[analyze]]\ntype = "norms"\nas = "again"\non = ["norms"]\n'
        + '[[analyze]]\ntype = "norms"\nas = "none"\non = ["*/*/lost"]\n'
    )
    lines = done(desk, "plan", "p.toml")
    table = [re.split("  +", line) for line in lines[lines.index("") + 1 :] if "  " in line]
    assert table[:5] == [
        ["analysis", "type", "inputs", "memory"],
        ["norms", "norms", "nums/toy/last", "20.0 kB"],
        ["all", "norms", "3 arrays", "≥ 180 kB (the analyzer cannot tell)"],
        ["again", "norms", "norms", "? (what norms will make is not known yet)"],
        ["none", "norms", "-", "refused"],
    ]
    assert "refused: none: nothing matches on = ['*/*/lost']" in "\n".join(lines)
    found = {one["id"]: one for one in data(desk, "plan", "p.toml")["analyses"]}
    assert found["norms"]["type"] == "toy/norms"
    calls = {call["inputs"][0]: call for call in found["all"]["calls"]}
    assert [calls[f"nums/toy/{n}"]["memory"] for n in ("last", "length", "embed")] == [
        20_000, None, 180_000,
    ]  # fmt: skip
    assert [calls[f"nums/toy/{n}"]["exact"] for n in ("last", "length", "embed")] == [
        True, True, False,
    ]  # fmt: skip


def test_plan_says_what_an_analysis_would_refuse(desk: Path) -> None:
    lines = done(desk, "plan", "p.toml", "--set", "model.width=9")
    assert "refused: nums/toy/last: rows are too long  hint: shorten them" in lines
    (call,) = data(desk, "plan", "p.toml", "--set", "model.width=9")["analyses"][0]["calls"]
    assert call["refused"] == "nums/toy/last: rows are too long  hint: shorten them"
    assert call["memory"] is None
    wide = ("--set", "model.width=9", "--set", 'analyze.on=["*/*/embed"]')
    (line,) = [x for x in done(desk, "plan", "p.toml", *wide) if x.startswith("refused: ")]
    assert line.endswith("(with the most rows)")


def test_a_run_is_refused_before_it_extracts(desk: Path) -> None:
    code, _, err = invoke(desk, "run", "p.toml", "--set", "model.width=9")
    assert code == AnalysisError.exit_code
    assert "nums/toy/last: rows are too long" in err
    run = open_run(desk / "out")
    assert all(len(run.missing(cell)) == len(cell.shards) for cell in run.cells.values())
    bounded = 'analyze.on=["*/*/embed"]'  # how many rows there will be is not known
    done(desk, "run", "p.toml", "--set", "model.width=9", "--set", bounded)


def test_show_lists_arrays_and_columns(finished: Path) -> None:
    lines = done(finished, "show", "out")
    assert any(re.fullmatch(r" +last +row 20, channel 6 +float32 +480 B", line) for line in lines)
    assert any(line.startswith("20 samples of nums: sample (string)") for line in lines)
    found = data(finished, "show", "out")
    run = open_run(finished / "out")
    assert [a["name"] for a in found["arrays"]] == ARRAYS
    for array in found["arrays"]:
        assert array["shape"] == list(run[array["name"]].shape)
        assert array["bytes"] == run[array["name"]].numpy().nbytes
    assert found["samples"]["nums"]["columns"]["parity"] == "string"
    assert found["complete"] is True


def test_show_says_what_is_not_complete(desk: Path) -> None:
    done(desk, "run", "p.toml", "--slice", "1/2")
    assert "the run is not complete: the command that began it goes on" in done(desk, "show", "out")


def test_show_lists_any_hdf5_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/deep"] = np.zeros((3, 4), np.float16)
        file["group/deep"].dims[0].label = "time"
        file["top"] = 7
        file["empty"] = h5py.Empty("f4")
    assert data(tmp_path, "show", "a.h5")["arrays"] == [
        {"name": "empty", "shape": [], "dtype": "float32", "axes": [], "bytes": 0},
        {"name": "group/deep", "shape": [3, 4], "dtype": "float16", "axes": ["time", ""], "bytes": 24},
        {"name": "top", "shape": [], "dtype": "int64", "axes": [], "bytes": 8},
    ]  # fmt: skip
    lines = done(tmp_path, "show", "a.h5")
    assert any(re.match(r"  deep +time 3, 4 +float16 +24 B", line) for line in lines)
    (tmp_path / "cut.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:1000])
    code, _, err = invoke(tmp_path, "show", "cut.h5")
    assert code == 6
    assert "cut.h5: the file is damaged" in err
    (tmp_path / "text.txt").write_text("no")
    assert invoke(tmp_path, "show", "text.txt")[0] == 6
    assert invoke(tmp_path, "show", "nowhere")[0] == 6


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_verify_finds_damage(damage: str, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "out", tmp_path / "out")
    line = done(tmp_path, "verify", "out")[0]
    found = data(tmp_path, "verify", "out")
    assert re.fullmatch(rf"ok: {found['files']} files, .* kB", line)
    assert found["problems"] == []
    file = tmp_path / "out/nums/toy/last.npy"
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[-5] ^= 16
        file.write_bytes(content)
    elif damage == "truncate":
        file.write_bytes(content[:-8])
    else:
        file.unlink()
    code, out, err = invoke(tmp_path, "verify", "out")
    assert (code, out) == (6, "")
    assert err.startswith("error: ")
    assert "last.npy" in err
    code, out, err = invoke(tmp_path, "verify", "out", "--json")
    assert (code, err) == (6, "")
    assert json.loads(out)["ok"] is False
    assert any("last.npy" in problem for problem in json.loads(out)["problems"])


def test_analyze_takes_the_pipeline_or_another(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    old = done(tmp_path, "analyze", "out")
    assert [Path(line).parts[:3] for line in old[:-1]] == [("out", "analyses", "norms")]
    assert old[-1] == "out/report.html"
    (tmp_path / "q.toml").write_text(
        PIPELINE.replace('type = "norms"', 'type = "norms"\nas = "sizes"')
    )
    found = events(tmp_path, "analyze", "out", "q.toml")
    assert found[0]["event"] == "stage"
    [result] = found[-1]["results"]
    assert json.loads((tmp_path / result / "result.json").read_text())["analysis"] == "sizes"


def test_analyze_needs_only_the_analyses(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "q.toml").write_text('actx = 1\n[[analyze]]\ntype = "norms"\nas = "again"\n')
    found = events(tmp_path, "analyze", "out", "q.toml")
    assert {path.split("/")[2] for path in found[-1]["results"]} == {"again"}
    found = events(tmp_path, "analyze", "out", "--type", "norms", "--set", "on=['*/*/length']")
    assert found[-1]["results"] == ["out/analyses/norms/nums%2ftoy%2flength"]
    assert "length" in (tmp_path / found[-1]["report"]).read_text()


@pytest.mark.parametrize("section", ["model", "source"])
def test_analyze_does_without_what_made_the_run(
    finished: Path, tmp_path: Path, section: str
) -> None:
    """As on a machine without the model's plugin, or without the data and the source's plugin."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    manifest = json.loads((tmp_path / "out/run.json").read_text())
    table = manifest["pipeline"][section]
    (table[0] if section == "model" else table)["type"] = "elsewhere"
    (tmp_path / "out/run.json").write_text(json.dumps(manifest))
    shutil.rmtree(tmp_path / "out/analyses")
    for args in ((), ("--type", "norms", "--set", "as=sizes")):
        lines = done(tmp_path, "analyze", "out", *args)
        assert lines[-1] == "out/report.html"
    assert sorted(p.name for p in (tmp_path / "out/analyses").iterdir()) == ["norms", "sizes"]


def test_analyze_takes_a_bare_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones((4, 3)), b=np.zeros((2, 3)))
    (tmp_path / "words.csv").write_text("word\ncat\ndog\nowl\nemu\n")
    lines = done(tmp_path, "analyze", "x.npz::a", "--type", "norms", "--labels", "words.csv")
    assert lines == ["analyze: norms: a", "x.npz.actx/analyses/norms/a", "x.npz.actx/report.html"]
    page = (tmp_path / lines[-1]).read_text()
    assert "x.npz" in page
    again = done(tmp_path, "analyze", "x.npz::a", "--type", "norms", "--labels", "words.csv")
    assert again == lines[1:]
    done(tmp_path, "analyze", "x.npz", "--type", "norms", "--out", "elsewhere")
    assert sorted(p.name for p in (tmp_path / "elsewhere/analyses/norms").iterdir()) == ["a", "b"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("x.npy",), "a file says no analyses"),
        (("nothing",), "nothing: there is no such file or folder"),
        ((".",), "a folder without a run says no analyses"),
        (("x.npy", "p.toml", "--type", "norms"), "found both"),
        (("x.npy", "--set", "k=3"), "found neither"),
        (("out", "--labels", "p.toml"), "--labels is for files, found a run"),
        (("nothing.npy", "--type", "norms"), "there is no such file or folder"),
        (("x.npy", "--type", "normz"), "did you mean 'norms'?"),
        (("x.npy", "--type", "norms", "--set", "kk=3"), "unknown"),
        (("x.npy", "nothing.toml"), "cannot read the pipeline"),
    ],
)
def test_analyze_says_what_it_needs(
    finished: Path, tmp_path: Path, args: Any, message: str
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    np.save(tmp_path / "x.npy", np.ones((4, 3)))
    code, out, err = invoke(tmp_path, "analyze", *args)
    assert (code != 0, out) == (True, "")
    assert message in err


def test_convert_writes_another_format(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    assert done(finished, "convert", "out", str(target), "--to", "npz") == [str(target)]
    with np.load(target) as found:
        expected = open_run(finished / "out")["nums/toy/last"].numpy()
        assert any(np.array_equal(found[name], expected) for name in found.files)
    answer = data(finished, "convert", "out", str(tmp_path / "two.npz"), "--to", "core/npz")
    assert answer["format"] == "core/npz"
    code, _, err = invoke(finished, "convert", "out", "x", "--to", "npzz")
    assert code == 3
    assert "did you mean 'npz'?" in err


def test_layers_of_a_pipeline(finished: Path) -> None:
    lines = done(finished, "layers", "p.toml")
    assert lines[0] == "toy (toy/toy): 5 taps"
    assert any(re.fullmatch(r"hidden +Layer +channel 6, token \* +24 B a token", x) for x in lines)
    assert any(re.fullmatch(r"silent +none: it is never called", line) for line in lines)
    [found] = data(finished, "layers", "p.toml", "--set", "model.0.width=2")["models"]
    assert [t["name"] for t in found["taps"]] == ["embed", "hidden", "length", "last", "silent"]
    assert found["taps"][3]["bytes"] == 8
    assert found["taps"][4]["bytes"] is None
    matched = data(finished, "layers", "p.toml", "--match", "l*")["models"][0]["taps"]
    assert [t["name"] for t in matched] == ["length", "last"]
    code, _, err = invoke(finished, "layers", "p.toml", "--match", "lats")
    assert code == 5
    assert "did you mean 'last'" in err


class NamedConfig(ModelConfig):
    name: str
    weights: str
    width: int = 3


class Named(Model[NamedConfig]):
    """Knows the model ``net`` only."""

    accepts = "image"

    def taps(self, example: Sample | None = None) -> list[Tap]:
        if self.config.name != "net" or self.config.weights != "random":
            raise ConfigError(f"no net is called '{self.config.name}'")
        n = self.config.width
        return [
            Tap("a.conv", ("sample", "channel"), (n,), "float16", module="Conv"),
            Tap("a.conv@in", ("sample", "channel"), (1,), module="Conv"),
            Tap("a", ("sample", "channel"), (n,), module="Block"),
        ]

    def prepare(self, samples: Any) -> Batch:
        pixels = np.stack([np.asarray(s.data.convert("RGB").resize((32, 16))) for s in samples])
        return Batch(pixels, range(len(samples)))

    def preview(self, batch: Batch) -> list[Preview | None]:
        found: list[Preview | None] = []
        for pixels in batch.inputs:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            found.append(Preview("image", file.getvalue()))
        return found

    def open(self, taps: Any) -> None: ...

    def extract(self, batch: Batch, pool: Any) -> dict[str, Activation]:
        raise AssertionError("nothing here runs the model")


class Speaker(Named):
    """Shows its input as text and as a drawing."""

    def preview(self, batch: Batch) -> list[Preview | None]:
        shown = [Preview("text", "a <cat>"), Preview("svg", "<svg/>"), None]
        return shown[: len(batch.samples)]


class Colours(ListedSource[Any]):
    gives = "image"

    def listing(self) -> list[Sample]:
        def paint(name: str) -> Any:
            return lambda: Image.new("RGB", (64, 32), name)

        return [
            Sample(n, paint(n), {"length": np.int64(len(n))})
            for n in ("red", "lime", "blue", "red2")
        ]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two types of models that take a name, and a source of images, as if a plugin offered them."""
    here = f"{__name__}:"
    plugin = next(p for p in registry().plugins if p.name == "toy")
    extra = [
        Component("named", f"{here}Named", config=f"{here}NamedConfig", plugin="toy", kind="model"),
        Component("speaker", f"{here}Speaker", config=f"{here}NamedConfig", plugin="toy", kind="model"),
        Component("colours", f"{here}Colours", plugin="toy", kind="source"),
    ]  # fmt: skip
    monkeypatch.setattr(plugin, "components", [*plugin.components, *extra])


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("name", ["net", "named/net", "toy/named/net"])
def test_layers_of_a_name(name: str, tmp_path: Path) -> None:
    lines = done(tmp_path, "layers", name)
    assert lines[0] == "net (toy/named): 2 taps"
    assert re.fullmatch(r"a +Block +channel 3 +12 B", lines[2])
    assert re.fullmatch(r"  conv +Conv +channel 3 +6 B", lines[3])
    lines = (
        done(tmp_path, "layers", name, "--all", "--type", "toy/speaker") if name == "net" else lines
    )
    assert (lines[0] == "net (toy/speaker): 3 taps") == (name == "net")
    [found] = data(tmp_path, "layers", name, "--set", "width=8")["models"]
    assert found["taps"][0]["shape"] == [8]


@pytest.mark.usefixtures("named")
def test_layers_says_what_it_tried(tmp_path: Path) -> None:
    code, out, err = invoke(tmp_path, "layers", "nett")
    assert (code, out) == (5, "")
    assert "toy/toy: it takes no name" in err
    assert "toy/named: no net is called 'nett'" in err
    code, _, err = invoke(tmp_path, "layers", "net", "--type", "named", "--set", "widht=8")
    assert code == 2
    assert "unknown key 'widht'  hint: did you mean 'width'" in err
    assert invoke(tmp_path, "layers", "net", "--type", "nmed")[0] == 3


PICTURES = """
actx = 1
[run]
out = "out"
[source]
type = "colours"
[[model]]
type = "named"
as = "one"
name = "net"
weights = "random"
taps = ["a"]
[[model]]
type = "speaker"
as = "two"
name = "net"
weights = "random"
taps = ["a"]
"""


@pytest.mark.usefixtures("named")
def test_peek_shows_samples_as_the_models_get_them(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(PICTURES)
    lines = done(tmp_path, "peek", "p.toml")
    assert lines[0] == "source colours: 4 samples, image"
    assert re.fullmatch(
        r"sample \(string\) +replicate \(int64\) +length \(int64\) +content", lines[1]
    )
    assert re.fullmatch(r"red +0 +3 +RGB 64 x 32", lines[2])
    assert "colours/one gets uint8 array, 3 x 16 x 32 x 3" in lines
    assert "  red: a <cat>" in lines
    assert lines[-2:] == ["peek.png", "peek.colours.two.1.svg"]
    with Image.open(tmp_path / "peek.png") as sheet:
        assert sheet.size == (3 * 232 + 8, 272)
        middles = [sheet.getpixel((8 + 232 * i + 112, 40 + 56)) for i in range(3)]
    assert middles == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert (tmp_path / "peek.colours.two.1.svg").read_text() == "<svg/>"
    found = data(tmp_path, "peek", "p.toml", "--out", "sub.png")
    assert found["files"] == ["sub.png", "sub.colours.two.1.svg"]
    assert found["sources"][0]["rows"][1] == {"sample": "lime", "replicate": 0, "length": 4}
    assert found["cells"][1]["texts"] == ["a <cat>"]


@pytest.mark.usefixtures("named")
def test_peek_takes_the_samples_that_the_run_takes(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(PICTURES)
    found = data(tmp_path, "peek", "p.toml", "--set", "source.limit=2")
    assert found["sources"][0]["samples"] == 2
    assert len(found["sources"][0]["rows"]) == 2


def test_peek_refuses_what_does_not_fit_or_cannot_be_read(
    desk: Path, named: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = invoke(desk, "peek", "p.toml", "--set", "source.type=colours")
    assert code == 2, err
    (desk / "q.toml").write_text(PICTURES.replace('type = "colours"', 'type = "numbers"'))
    code, _, err = invoke(desk, "peek", "q.toml")
    assert code == 2
    assert "source 'numbers' gives array, model 'one' accepts image" in err
    assert invoke(desk, "peek", "p.toml", "--set", "source.bad=[1]")[0] == SourceError.exit_code

    def listing(self: Colours) -> list[Sample]:
        return [Sample("bent", lambda: Image.open(io.BytesIO(b"no picture")))]

    monkeypatch.setattr(Colours, "listing", listing)
    (desk / "r.toml").write_text(PICTURES)
    code, _, err = invoke(desk, "peek", "r.toml")
    assert code == SourceError.exit_code
    assert err.startswith("error: bent: cannot be read: UnidentifiedImageError")


def test_peek_of_a_stream(desk: Path) -> None:
    found = data(desk, "peek", "p.toml", "--set", "source.type=stream", "--set", "source.first=1")
    assert found["sources"][0]["samples"] is None
    assert [row["sample"] for row in found["sources"][0]["rows"]] == ["n000", "n001", "n002"]


def test_a_contact_sheet_needs_pictures() -> None:
    assert (
        contact_sheet([CellPeek("a/b", "text", ["s", "t"], [Preview("text", "x"), None])]) is None
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a\n b", "a b"),
        ("x" * 80, "x" * 59 + "…"),
        (np.zeros((2, 3), np.float32), "float32 array, 2 x 3"),
        (np.float64(1), "float64 array, scalar"),
        ((np.zeros(2, bool), "t"), "bool array, 2 and t"),
        (Image.new("L", (4, 5)), "L 4 x 5"),
        ({"a": 1}, "dict"),
    ],
)
def test_content(value: Any, words: str) -> None:
    assert content(value) == words


def test_init_passes_what_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Path, Path | None]] = []

    def init_pipeline(folder: Path, images: Path | None = None) -> Path:
        told.append((folder, images))
        return folder / "pipeline.toml"

    monkeypatch.setattr("actx_core.scaffold.init_pipeline", init_pipeline)
    assert done(tmp_path, "init")[0] == "pipeline.toml"
    assert data(tmp_path, "init", "sub", "--images", "pics") == {"file": "sub/pipeline.toml"}
    assert told == [(Path(), None), (Path("sub"), Path("pics"))]


def test_new_plugin_writes_its_files(tmp_path: Path) -> None:
    files = done(tmp_path, "new", "plugin", "toy-net")
    assert "actx-toy-net/pyproject.toml" in files
    assert all((tmp_path / file).is_file() for file in files)
    assert invoke(tmp_path, "new", "plugin", "toy-net")[0] == 2
    again = data(tmp_path, "new", "plugin", "toy-net", "--folder", "below")["files"]
    assert again == [f"below/{file}" for file in files]


def test_layers_check_says_where_there_is_nothing_to_check(finished: Path) -> None:
    lines = done(finished, "layers", "p.toml", "--check")
    assert "note: this type of model has nothing to check" in lines
    assert data(finished, "layers", "p.toml", "--check")["models"][0]["check"] == {}
    code, _, err = invoke(finished, "layers", "p.toml", "--check", "--pick")
    assert code == 2
    assert "--pick takes neither --match, --all nor --check" in err
