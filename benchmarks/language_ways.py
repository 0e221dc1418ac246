"""The ways to read one layer of a language model that ``language.py`` compares, each served on request.

Run by the Python that has what the way needs; only ``actx`` imports actx.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

LAYER, LENGTH, LONG = 9, 256, 1024
BATCH = 16
POST, ACT = f"blocks.{LAYER}.resid_post", f"blocks.{LAYER}.mlp.act"
SIX = [f"blocks.{i}.resid_post" for i in range(LAYER - 5, LAYER + 1)]
Read = Callable[[Sequence[str]], "np.ndarray"]
"""Reads texts and stores what the layer gives; returns it, (tokens, channels)."""


class Reached(Exception):
    """The layer has its value: the rest of the model is not run."""


def load(folder: Path, *, head: bool) -> tuple[Any, Any]:
    """The model and its tokenizer, with a token to pad with."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    torch.set_grad_enabled(False)
    kind = AutoModelForCausalLM if head else AutoModel
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return kind.from_pretrained(folder / "model", dtype=torch.float32).eval(), tokenizer


def batches(texts: Sequence[str], tokenizer: Any, padding: Any, length: int) -> Iterator[Any]:
    for start in range(0, len(texts), BATCH):
        yield tokenizer(
            list(texts[start : start + BATCH]),
            truncation=True,
            padding=padding,
            max_length=length,
            return_tensors="pt",
        )


def save(folder: Path, parts: Sequence[Any]) -> np.ndarray:
    """Store what a loop collected, as its author would: one .npy file."""
    import numpy as np

    whole = np.concatenate([np.asarray(part) for part in parts])
    np.save(folder / f"{os.getpid()}.npy", whole)
    return whole


def deeplens(folder: Path, length: int = LENGTH) -> Read:
    """The replica; ``length`` is the tutorial's ``seq_length``."""
    import torch

    model, tokenizer = load(folder, head=True)
    hooked: list[Any] = []
    activation = model.model.layers[LAYER].mlp.act_fn
    activation.register_forward_hook(lambda _, given, result: hooked.append(result.detach().cpu()))

    def read(texts: Sequence[str]) -> np.ndarray:
        rows = []
        for tokens in batches(texts, tokenizer, "max_length", length):
            hooked.clear()
            model(**tokens)
            for values, mask in zip(hooked[-1], tokens["attention_mask"], strict=True):
                rows.append(values[mask.bool()])
        features = torch.cat(rows)
        torch.save(features, folder / "features.pt")
        found: np.ndarray = features.numpy()
        return found

    return read


def deeplens_long(folder: Path) -> Read:
    return deeplens(folder, LONG)


def hidden_states(folder: Path) -> Read:
    """``output_hidden_states`` of transformers, padded to the longest of a batch."""
    model, tokenizer = load(folder, head=True)

    def read(texts: Sequence[str]) -> np.ndarray:
        parts = []
        for tokens in batches(texts, tokenizer, True, LENGTH):
            states = model(**tokens, output_hidden_states=True).hidden_states
            parts.append(states[LAYER + 1][tokens["attention_mask"].bool()])
        return save(folder, parts)

    return read


def hook(folder: Path) -> Read:
    """A forward hook on the base model that stops the pass there."""
    model, tokenizer = load(folder, head=False)
    hooked: list[Any] = []

    def stop(_: Any, given: Any, result: Any) -> None:
        hooked.append(result)
        raise Reached

    model.layers[LAYER].register_forward_hook(stop)

    def read(texts: Sequence[str]) -> np.ndarray:
        parts = []
        for tokens in batches(texts, tokenizer, True, LENGTH):
            hooked.clear()
            try:
                model(**tokens, use_cache=False)
            except Reached:
                parts.append(hooked[0][tokens["attention_mask"].bool()])
        return save(folder, parts)

    return read


def alone(folder: Path) -> Read:
    """Each text by itself, with nothing beside it: the reference; ``resid_post`` beside ``mlp.act``."""
    import torch

    model, tokenizer = load(folder, head=False)
    seen: list[Any] = []
    block = model.layers[LAYER]
    block.mlp.act_fn.register_forward_hook(lambda _, given, result: seen.append(result[0]))
    block.register_forward_hook(lambda _, given, result: seen.append(result[0]))

    def read(texts: Sequence[str]) -> np.ndarray:
        rows = []
        for text in texts:
            seen.clear()
            model(**tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt"))
            rows.append(torch.cat([seen[1], seen[0]], dim=1))
        found: np.ndarray = torch.cat(rows).numpy()
        return found

    return read


def nnsight(folder: Path) -> Read:
    """nnsight, which stops after the layer."""
    from nnsight import LanguageModel

    module, tokenizer = load(folder, head=True)
    model = LanguageModel(module, tokenizer=tokenizer)

    def read(texts: Sequence[str]) -> np.ndarray:
        parts = []
        for tokens in batches(texts, tokenizer, True, LENGTH):
            with model.trace(dict(tokens)) as tracer:
                values = model.model.layers[LAYER].output.save()
                tracer.stop()
            parts.append(values[tokens["attention_mask"].bool()])
        return save(folder, parts)

    return read


def transformer_lens(folder: Path) -> Read:
    """TransformerLens' bridge, ``run_with_cache`` up to the layer."""
    from transformer_lens.model_bridge import TransformerBridge

    module, tokenizer = load(folder, head=True)
    name = str(folder / "model")
    bridge = TransformerBridge.boot_transformers(name, hf_model=module, tokenizer=tokenizer)
    point = f"blocks.{LAYER}.hook_out"

    def read(texts: Sequence[str]) -> np.ndarray:
        parts = []
        for tokens in batches(texts, tokenizer, True, LENGTH):
            _, cache = bridge.run_with_cache(
                tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
                names_filter=[point],
                stop_at_layer=LAYER + 1,
            )
            parts.append(cache[point][tokens["attention_mask"].bool()])
        return save(folder, parts)

    return read


def sae_lens(folder: Path) -> Read:
    """SAELens' CacheActivationsRunner: texts end to end in contexts, within which they see each other."""
    import numpy as np
    import torch
    from datasets import Dataset
    from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig
    from transformers import AutoTokenizer

    torch.set_grad_enabled(False)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    name, batch = f"model.layers.{LAYER}", 4

    def read(texts: Sequence[str]) -> np.ndarray:
        tokens = sum(len(ids) for ids in tokenizer(list(texts))["input_ids"])
        tokens -= tokens % (batch * LENGTH)  # with one more, it would begin the texts anew
        with tempfile.TemporaryDirectory(dir=folder) as out:
            config = CacheActivationsRunnerConfig(
                dataset_path="",
                model_name=str(folder / "model"),
                model_class_name="AutoModelForCausalLM",
                hook_name=name,
                d_in=576,
                training_tokens=tokens,
                context_size=LENGTH,
                model_batch_size=batch,
                buffer_size_gb=(tokens * 576 * 4 + 1) / 1e9,
                new_cached_activations_path=str(Path(out) / "cache"),
                dtype="float32",
                device="cpu",
                prepend_bos=False,
                shuffle=False,
                streaming=False,
            )
            data = Dataset.from_dict({"text": list(texts)})
            found = CacheActivationsRunner(config, data).run().with_format("numpy")
            return np.asarray(found[:][name]).reshape(-1, 576)

    return read


def actx(folder: Path, taps: Sequence[str] = (POST,)) -> Read:
    """A whole run: plan, read, tokenise, extract, write, verify, join, report."""
    from actx_core import Pipeline, open_run

    def read(texts: Sequence[str]) -> np.ndarray:
        with tempfile.TemporaryDirectory(dir=folder) as out:
            pipeline = {
                "actx": 1,
                "run": {"out": f"{out}/run", "device": "cpu"},
                "source": {
                    "type": "datasets",
                    "path": str(folder / "texts.jsonl"),
                    "limit": len(texts),
                },
                "model": {
                    "type": "transformers",
                    "name": str(folder / "model"),
                    "max_length": LENGTH,
                    "taps": list(taps),
                },
            }
            for _ in Pipeline.from_dict(pipeline).run():
                pass
            return open_run(f"{out}/run")[f"texts/model/{taps[-1]}"].numpy().copy()

    return read


WAYS: Mapping[str, Callable[[Path], Read]] = {
    "actx": actx,
    "actx, six hooks": lambda folder: actx(folder, SIX),
    "actx, mlp.act": lambda folder: actx(folder, [ACT]),
    "alone": alone,
    "hook": hook,
    "output_hidden_states": hidden_states,
    "deeplens": deeplens,
    "deeplens, 1024": deeplens_long,
    "nnsight": nnsight,
    "transformer-lens": transformer_lens,
    "sae-lens": sae_lens,
}
STORE_ACT = ("actx, mlp.act", "deeplens", "deeplens, 1024")
"""The ways whose tensor is the result of the activation function; the others take the residual stream."""


def serve(way: str, folder: Path) -> None:
    """Read the first N texts for each N on standard input; answer with CPU seconds and the tokens read."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    texts = [json.loads(line)["text"] for line in (folder / "texts.jsonl").open()]
    read = WAYS[way](folder)
    for line in sys.stdin:
        before = time.process_time()
        found = read(texts[: int(line)])
        cost = {"cpu": time.process_time() - before, "tokens": len(found)}
        np.save(folder / f"{way}.values.npy", found)
        print(json.dumps(cost), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
