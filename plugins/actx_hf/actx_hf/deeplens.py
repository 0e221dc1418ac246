"""The two classes of DeepLens by their names: MLP activations of a data set, and of one text.

Parameters and defaults are those of its tutorial. ``quantity`` is new: which activation of the block it is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from difflib import get_close_matches
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import ValidationError

from actx_core import Activation, Config, ConfigError, Pipeline, Run, Sample, TapError, open_run
from actx_core.torch import Point
from actx_hf.formats.deeplens import DeepLens
from actx_hf.models.architecture import architecture
from actx_hf.models.config import TransformersConfig
from actx_hf.models.transformers_model import Transformers

FOLDER = Path("saved_features")
_POST, _ACT = "mlp.post", "mlp.act"


class _Extractor:
    """One tap of one model: ``blocks.{layer}.{quantity}``."""

    def __init__(self, options: dict[str, Any], layer: int, quantity: str) -> None:
        try:
            config = TransformersConfig(**options)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ConfigError(first["msg"].lower(), where=where) from error
        self.layer, self.device = layer, config.device
        self._tap = f"blocks.{layer}.{quantity}"
        self._model = Transformers(config)
        points = architecture(config).points
        _expect(points, self._tap, str(config.name))
        if quantity == _POST and _is_gated(points, self._tap):
            warnings.warn(
                f"the MLPs of {config.name} are gated: mlp.post is what goes into the down projection,"
                " the activation times the other projection; DeepLens stored the activation alone, which is"
                f" quantity='{_ACT}'",
                stacklevel=3,
            )

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, as transformers loads it."""
        return self._model.tokens.tokenizer


class FromHuggingFace(_Extractor):
    """MLP activations of every token of the first ``num_samples`` texts of a data set.

    ``dataset_name`` is a data set of the hub, ``owner/name`` or ``owner/name/config``, or a local file or
    folder; its texts stand in the column ``text``. Texts longer than ``seq_length`` tokens are cut.
    ``device`` is auto, cuda, mps or cpu. Raises ConfigError, ModelError or SourceError.
    """

    def __init__(
        self,
        hf_model: str = "gpt2",
        layer: int = 6,
        dataset_name: str = "HuggingFaceFW/fineweb",
        num_samples: int = 25000,
        seq_length: int = 128,
        inference_batch_size: int = 16,
        device: str = "auto",
        save_features: bool = True,
        *,
        quantity: str = _POST,
    ) -> None:
        _expect_positive(num_samples=num_samples, seq_length=seq_length)
        options = {
            "name": hf_model,
            "max_length": seq_length,
            "batch_size": inference_batch_size,
            "device": device,
        }
        super().__init__(options, layer, quantity)
        self.num_samples, self.save_features = num_samples, save_features
        self._pipeline = {
            "actx": 1,
            "source": {"type": "hf/datasets", "path": dataset_name, "limit": num_samples},
            "model": {"type": "hf/transformers", **options, "taps": [self._tap]},
            "store": {"join": False},
        }

    def extract_features(self) -> torch.Tensor:
        """The activations, float32 (tokens, channels) on the CPU, text by text, without padding.

        With ``save_features`` they are in ``saved_features/features_layer_{layer}_{tokens}.pt``, and the
        tensor returned is that file, mapped. A call that was killed goes on where it ended.
        """
        with ExitStack() as stack:
            run = self._extract(self._folder(stack))
            (tap,) = run.values()
            if not self.save_features:
                return torch.tensor(tap.numpy(), dtype=torch.float32)
            (file,) = DeepLens(Config()).write(run, FOLDER)
            shutil.rmtree(run.path)
        features: torch.Tensor = torch.load(file, weights_only=True, mmap=True)
        return features

    def _folder(self, stack: ExitStack) -> Path:
        """Where the run works: beside the file that it becomes, under a name of its parameters."""
        if not self.save_features:
            return Path(stack.enter_context(TemporaryDirectory(prefix="actx-"))) / "run"
        key = hashlib.sha256(json.dumps(self._pipeline, default=str).encode()).hexdigest()[:12]
        return FOLDER / f".unfinished-{key}"

    def _extract(self, out: Path) -> Run:
        pipeline = Pipeline.from_dict({**self._pipeline, "run": {"out": str(out)}})
        for _ in pipeline.run(confirm=lambda _: True):
            pass
        run = open_run(out)
        (cell,) = run.cells.values()
        found = len(run.samples(cell.source))
        if found < self.num_samples:
            warnings.warn(
                f"{cell.source} has {found} samples, {self.num_samples} were asked for",
                stacklevel=3,
            )
        return run


class ExtractSingleSample(_Extractor):
    """MLP activations of single texts, of which at most ``max_length`` tokens are read."""

    def __init__(
        self,
        hf_model: str = "gpt2",
        layer: int = 3,
        max_length: int = 1024,
        device: str = "auto",
        *,
        quantity: str = _POST,
    ) -> None:
        _expect_positive(max_length=max_length)
        options = {"name": hf_model, "max_length": max_length, "device": device}
        super().__init__(options, layer, quantity)
        self._model.open([self._tap])

    def get_mlp_acts(self, sample: str) -> torch.Tensor:
        """The activations of a text, float32 (tokens, channels) on the CPU."""
        batch = self._model.prepare([Sample("0", sample)])
        found: dict[str, Activation] = {}

        def keep(name: str, activation: Activation) -> Activation:
            found[name] = activation
            return activation

        self._model.extract(batch, keep)
        wait = self._model.to_host({name: one.array for name, one in found.items()})
        return torch.from_numpy(wait()[self._tap]).float()


def _expect_positive(**numbers: object) -> None:
    for name, value in numbers.items():
        if not isinstance(value, Integral) or value < 1:
            raise ConfigError(f"expected a whole number from 1 on, found {value!r}", where=name)


def _expect(points: Mapping[str, Point], name: str, model: str) -> None:
    """Raise TapError where a model cannot give a tap."""
    problem = points[name].tap.problem if name in points else "there is no such tap"
    if problem:
        near = get_close_matches(name, [n for n in points if n.startswith("blocks.")])
        hint = f"did you mean {', '.join(near)}?" if near else "actx layers lists the taps"
        raise TapError(problem, where=f"{model}: {name}", hint=hint)


def _is_gated(points: Mapping[str, Point], post: str) -> bool:
    """Whether a neuron is made of two projections: those of the MLP are twice as wide as its neurons."""
    down = points[post]
    mlp, neurons = down.path.rpartition(".")[0], down.tap.row_shape[-1]
    made = sum(
        point.tap.row_shape[-1]
        for point in points.values()
        if point.tap.module == "Linear"
        and point.side == "out"
        and point.path.rpartition(".")[0] == mlp
        and point.path != down.path
    )
    return made == 2 * neurons
