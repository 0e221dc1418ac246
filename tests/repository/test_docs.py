"""Everything runnable in README.md and docs/ is run: Python, shell, pipelines, and the command help.

Comments in a page steer it: ``<!-- file: NAME -->`` writes the next block to a file,
``<!-- run: COMMAND -->`` runs a command that readers do not see, ``<!-- not run: REASON -->`` leaves the
next block out. A TOML block that is not a whole pipeline is checked inside one. A line of Python that
ends in ``# → VALUE`` must give that value.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actx_core import Config, Pipeline
from actx_core.config.load import load_analyses
from actx_core.config.pipeline import JoinOptions, RowOptions, RunOptions
from actx_core.config.tables import (
    AnalyzeKeys,
    ExportKeys,
    ModelKeys,
    SourceKeys,
    StoreKeys,
    TapKeys,
)
from actx_core.registry import registry

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
]
STEP = re.compile(
    r"^<!-- (?P<word>file|run|not run): (?P<text>.*?) -->$|^```(?P<kind>\w+)\n(?P<body>.*?)^```$",
    re.M | re.S,
)
RESULT = re.compile(r"^(\S.*?) +# → (.*)$", re.M)
WHOLE = {
    "actx": 1,
    "run": {"out": "runs/check"},
    "source": {"type": "image-folder", "path": "stimuli"},
    "model": {"type": "torchvision", "name": "resnet18", "weights": "random", "taps": ["layer4"]},
}


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """A folder with the data that the pages speak of."""
    rng = np.random.default_rng(0)
    (tmp_path / "stimuli").mkdir()
    for name in ("cat", "cup", "key", "owl"):
        pixels = rng.integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "stimuli" / f"{name}.png")
    np.save(tmp_path / "inputs.npy", rng.standard_normal((6, 8)))
    (tmp_path / "ratings.csv").write_text("sample,rating\ncat,5\ncup,2\nkey,1\nowl,4\n")
    (tmp_path / "corpus.txt").write_text("one line\nanother line\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _steps(page: Path) -> Iterator[tuple[str, str, str]]:
    """(kind, body, file) of each block that is run, in order."""
    file = skip = ""
    for match in STEP.finditer(page.read_text("utf-8")):
        if match["word"] == "run":
            yield "sh", match["text"], ""
        elif match["word"] == "file":
            file = match["text"]
        elif match["word"] == "not run":
            skip = match["text"]
        else:
            if not skip:
                yield match["kind"], match["body"], file
            file = skip = ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_what_a_page_shows_runs(page, desk):
    names: dict[str, object] = {"__name__": "docs"}
    for kind, body, file in _steps(page):
        if file:
            path = desk / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, "utf-8")
        elif kind == "python":
            exec(compile(body, str(page), "exec"), names)
            for expression, value in RESULT.findall(body):
                assert repr(eval(expression, names)) == value, expression
        elif kind == "sh":
            _shell(body, desk)
        if kind == "toml" and not file.endswith("pyproject.toml"):
            _check_pipeline(body, desk)


def _shell(body: str, desk: Path) -> None:
    _run(["bash", "-euo", "pipefail", "-c", body], desk)


def _check_pipeline(body: str, desk: Path) -> None:
    """Check a pipeline, or a part of one, by its own loader."""
    given = tomllib.loads(body)
    if given.keys() == {"actx", "analyze"}:  # for `actx analyze`, which has the data
        load_analyses(given)
        return
    given = given if "actx" in given else WHOLE | given
    if not (desk / "site").exists():
        Pipeline.from_dict(given)
        return
    script = "import json, sys, actx_core; actx_core.Pipeline.from_dict(json.loads(sys.argv[1]))"
    _run([sys.executable, "-c", script, json.dumps(given)], desk)  # it sees the page's own plugin


def _run(command: list[str], desk: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    modules = f"{desk / 'site'}:{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        command,
        cwd=desk,
        env=os.environ | {"PATH": path, "PYTHONPATH": modules},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    "table",
    [
        RunOptions,
        RowOptions,
        JoinOptions,
        SourceKeys,
        ModelKeys,
        TapKeys,
        StoreKeys,
        AnalyzeKeys,
        ExportKeys,
    ],
    ids=lambda table: table.__name__,
)
def test_every_key_of_a_pipeline_is_documented(table):
    assert _undocumented(table, (ROOT / "docs" / "pipeline.md").read_text("utf-8")) == []


PAGES_OF = {
    "cluster": ["clustering", "from-conceptx", "parts", "probes", "similarity"],
    "hf": ["language*", "from-deeplens"],
}
OURS = {"core", *(path.name.removeprefix("actx_") for path in (ROOT / "plugins").iterdir())}
COMPONENTS = [c for p in registry().plugins if p.name in OURS for c in p.components]


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: f"{c.plugin}-{c.kind}-{c.name}")
def test_every_option_of_a_component_is_documented(component):
    text = _about(component.plugin)
    assert f"`{component.name}`" in text
    options = registry().load_config(component)
    # What all models share is described once.
    shared = (
        {"batch_size", "device", "dtype", "autocast", "seed"}
        if component.kind == "model"
        else set()
    )
    assert [name for name in _undocumented(options, text) if name not in shared] == []


def _about(plugin: str) -> str:
    """All that is written about a plugin's components."""
    pages = [ROOT / "docs" / "pipeline.md", ROOT / "docs" / "formats.md"]
    if plugin != "core":
        pages = [ROOT / "plugins" / f"actx_{plugin}" / "README.md"]
        names = PAGES_OF.get(plugin, [f"{plugin}*"])
        pages += [page for name in names for page in sorted((ROOT / "docs").glob(f"{name}.md"))]
    return "".join(page.read_text("utf-8") for page in pages)


def _undocumented(options: type[Config], text: str) -> list[str]:
    names = [field.alias or name for name, field in options.model_fields.items()]
    return [name for name in names if f"`{name}`" not in text]


def test_the_command_help_is_what_the_commands_print():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import cli_docs
    finally:
        sys.path.pop(0)
    text = cli_docs.PAGE.read_text("utf-8")
    assert len(cli_docs.BLOCK.findall(text)) >= 11
    assert cli_docs.refresh(text) == text


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []
