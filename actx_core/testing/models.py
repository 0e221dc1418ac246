"""The suite for models: what they declare is what they give, sample by sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from actx_core.contracts import Model
from actx_core.dtypes import decode
from actx_core.testing.suite import Suite, again, check_config
from actx_core.types import SAMPLE, Activation, Batch, Sample, Tap

Key = tuple[str, int]


class ModelTests(Suite):
    """Define the fixtures ``model`` (with a batch_size of at least 2) and ``samples`` (at least 3).

    Let the samples differ in size where the model takes such: padding is where models go wrong.
    """

    rtol = 1e-4
    """How much a value may differ between batches, as a share of the tap's largest."""
    most = 12
    """Taps that are tried alone."""

    @pytest.fixture
    def model(self) -> Model[Any]:
        raise NotImplementedError("define a fixture `model` that returns the model to test")

    @pytest.fixture
    def samples(self) -> Sequence[Sample]:
        raise NotImplementedError("define a fixture `samples` that returns at least 3 samples")

    @pytest.fixture
    def tapped(self, model: Model[Any], samples: Sequence[Sample]) -> list[Tap]:
        """The taps that can be taken."""
        found = [tap for tap in model.taps(samples[0]) if not tap.problem]
        assert found, "the model lists no tap that can be taken"
        return found

    def test_taps_are_stable_and_named_apart(
        self, model: Model[Any], samples: Sequence[Sample]
    ) -> None:
        taps = list(model.taps(samples[0]))
        assert list(again(model).taps(samples[0])) == taps, "a new instance lists other taps"
        folded = [tap.name.casefold() for tap in taps]
        twice = {name for name in folded if folded.count(name) > 1}
        assert not twice, f"names must differ in more than case: {', '.join(sorted(twice))}"

    def test_batches_hold_every_sample_once(
        self, model: Model[Any], samples: Sequence[Sample]
    ) -> None:
        batches = list(model.batches(samples))
        assert sorted(_key(s) for b in batches for s in b) == sorted(map(_key, samples))
        assert max(map(len, batches)) > 1, "batches of one prove nothing: give `model` a batch_size"

    def test_declared_axes_are_real(
        self, model: Model[Any], samples: Sequence[Sample], tapped: Sequence[Tap]
    ) -> None:
        for given in _forwards(model, samples, tapped):
            assert set(given.returned) == {tap.name for tap in tapped}
            for tap in tapped:
                _check_declared(tap, given.activations[tap.name], given.batch)

    def test_a_tap_alone_is_the_tap_among_all(
        self, model: Model[Any], samples: Sequence[Sample], tapped: Sequence[Tap]
    ) -> None:
        among = _values(_forwards(model, samples, tapped))
        for tap in tapped[:: -(-len(tapped) // self.most)]:
            alone = _values(_forwards(again(model), samples, [tap]))
            self._same(alone[tap.name], among[tap.name], f"{tap.name}: alone and among all taps")

    def test_a_sample_does_not_depend_on_its_batch(
        self, model: Model[Any], samples: Sequence[Sample], tapped: Sequence[Tap]
    ) -> None:
        together = _values(_forwards(model, samples, tapped))
        alone = _values(f for s in samples for f in _forwards(model, [s], tapped))
        for tap in tapped:
            what = f"{tap.name}: alone and with other samples"
            self._same(alone[tap.name], together[tap.name], what)

    def test_extraction_repeats(
        self, model: Model[Any], samples: Sequence[Sample], tapped: Sequence[Tap]
    ) -> None:
        first = _values(_forwards(model, samples, tapped))
        second = _values(_forwards(again(model), samples, tapped))
        for tap in tapped:
            for key, values in first[tap.name].items():
                np.testing.assert_array_equal(values, second[tap.name][key], f"{tap.name}, {key}")

    def test_it_opens_again_and_closes_twice(
        self, model: Model[Any], samples: Sequence[Sample], tapped: Sequence[Tap]
    ) -> None:
        for tap in (tapped[0], tapped[-1]):
            (values,) = _values(_forwards(model, samples, [tap])).values()
            assert values.keys() == {_key(sample) for sample in samples}
        model.close()
        model.close()

    def test_fingerprint_and_config(self, model: Model[Any]) -> None:
        assert again(model).fingerprint() == model.fingerprint(), "a new instance has another one"
        check_config(model.config)

    def _same(self, a: Mapping[Key, np.ndarray], b: Mapping[Key, np.ndarray], what: str) -> None:
        assert a.keys() == b.keys()
        finite = [np.abs(v[np.isfinite(v)]).max(initial=0) for v in b.values()]
        tolerance = self.rtol * max(finite, default=0)
        for (sample, _), values in a.items():
            other = b[sample, _]
            assert values.shape == other.shape, (
                f"{what}, sample '{sample}' has {values.size} and {other.size} real values: does the"
                " mask hide the padding?"
            )
            np.testing.assert_allclose(
                values, other, rtol=0, atol=tolerance, err_msg=f"{what}, sample '{sample}' differs"
            )


@dataclass(frozen=True)
class _Forward:
    """One forward pass: what was handed to ``pool``, as numpy, and what came back."""

    batch: Batch
    samples: Sequence[Sample]
    activations: Mapping[str, Activation]
    returned: Mapping[str, Activation]


def _key(sample: Sample) -> Key:
    return sample.id, sample.replicate


def _forwards(
    model: Model[Any], samples: Sequence[Sample], taps: Sequence[Tap]
) -> Iterator[_Forward]:
    """Extract these taps of these samples as core does: in the model's own batches."""
    model.open([tap.name for tap in taps])
    try:
        for group in model.batches(samples):
            loaded = [replace(sample, data=sample.load()) for sample in group]
            batch = model.prepare(loaded)
            seen: dict[str, Activation] = {}

            def pool(
                name: str, activation: Activation, seen: dict[str, Activation] = seen
            ) -> Activation:
                assert name not in seen, f"pool was called twice for {name}"
                # Copied at once: what the model does to its array later must not matter.
                host = np.array(model.to_host({name: activation.array})()[name])
                dtype = _dtype(activation.array)
                seen[name] = replace(activation, array=decode(host, dtype))
                return activation

            returned = model.extract(batch, pool)
            yield _Forward(batch, loaded, seen, returned)
    finally:
        model.close()


def _dtype(array: Any) -> str:
    return str(array.dtype).rpartition(".")[2]


def _values(forwards: Iterable[_Forward]) -> dict[str, dict[Key, np.ndarray]]:
    """The real values of each tap and sample, one after another."""
    found: dict[str, dict[Key, list[np.ndarray]]] = {}
    for forward in forwards:
        for name, activation in forward.activations.items():
            pieces = found.setdefault(name, {})
            for position, values in zip(forward.batch.samples, _pieces(activation), strict=True):
                pieces.setdefault(_key(forward.samples[position]), []).append(values)
    return {
        name: {key: np.concatenate(parts) for key, parts in pieces.items()}
        for name, pieces in found.items()
    }


def _pieces(activation: Activation) -> Iterator[np.ndarray]:
    """The real values of each sequence, flat."""
    array = activation.array
    mask = np.broadcast_to(True if activation.mask is None else activation.mask, array.shape)
    if activation.offsets is not None:
        for start, stop in zip(activation.offsets[:-1], activation.offsets[1:], strict=True):
            yield array[start:stop][mask[start:stop]]
    else:
        lead = activation.axes.index(SAMPLE)
        for values, real in zip(
            np.moveaxis(array, lead, 0), np.moveaxis(mask, lead, 0), strict=True
        ):
            yield values[real]


def _check_declared(tap: Tap, activation: Activation, batch: Batch) -> None:
    """Axes, sizes, mask, offsets and columns are what the contract and the tap say."""
    packed = activation.offsets is not None
    expected = tap.axes[1:] if packed else tap.axes
    assert activation.axes == expected, f"{tap.name}: declared {expected}, gave {activation.axes}"
    shape = activation.array.shape
    assert len(shape) == len(expected), f"{tap.name}: {expected} have the shape {shape}"
    sizes = dict(zip(activation.axes, shape, strict=True))
    wrong = {
        a: (n, sizes[a])
        for a, n in zip(tap.axes[1:], tap.shape, strict=True)
        if n not in (None, sizes[a])
    }
    assert not wrong, f"{tap.name}: declared and real sizes differ: {wrong}"
    if activation.offsets is not None:
        offsets = np.asarray(activation.offsets)
        assert expected[0] in tap.varying, (
            f"{tap.name}: packed along '{expected[0]}', which is fixed"
        )
        assert len(offsets) == len(batch.samples) + 1
        assert offsets[0] == 0
        assert offsets[-1] == shape[0]
        assert (np.diff(offsets) >= 0).all()
    else:
        assert sizes[SAMPLE] == len(batch.samples), f"{tap.name}: not one entry per sequence"
    if activation.mask is not None:
        assert isinstance(activation.mask, np.ndarray), f"{tap.name}: the mask is not on the host"
        assert activation.mask.dtype == bool
        assert activation.mask.ndim == len(shape)
        np.broadcast_to(activation.mask, shape)
    for columns in (batch.columns, activation.columns):
        for name, values in columns.get(SAMPLE, {}).items():
            assert len(values) == len(batch.samples), f"column {name}: not one value per sequence"
