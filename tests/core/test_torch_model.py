"""TorchModel against plain forward hooks written here: the numbers of every tap, and how a pass ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from actx_core.errors import ModelError, OutOfMemory, TapError
from actx_core.torch import TorchConfig, TorchModel
from actx_core.types import Activation, Batch, Sample

torch.set_num_threads(1)


class Net(TorchModel[TorchConfig]):
    """A module from a function, for tests; ``example`` are inputs for one sample, without the batch axis."""

    def __init__(
        self, make: Callable[[], nn.Module], example, plane: bool = True, **options
    ) -> None:
        super().__init__(TorchConfig(device="cpu", **options))
        self.make, self.sample, self.plane = make, example, plane

    def build(self) -> nn.Module:
        return self.make()

    def example(self, batch: int):
        return self.stack([self.sample] * batch)

    def resized(self, batch: int, axis):
        inputs = self.example(batch)
        return torch.cat([inputs, inputs], {"y": 2, "x": 3}[axis]) if self.plane else None

    def prepare(self, samples) -> Batch:
        return Batch(self.host(self.stack([s.data for s in samples])), range(len(samples)))

    @staticmethod
    def stack(samples):
        if isinstance(samples[0], dict):
            return {key: torch.stack([s[key] for s in samples]) for key in samples[0]}
        if isinstance(samples[0], tuple):
            return tuple(torch.stack(parts) for parts in zip(*samples, strict=True))
        return torch.stack(samples)


def images(count: int, size: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def keep(_: str, activation: Activation) -> Activation:
    return activation


def take(model: TorchModel, inputs, taps) -> dict[str, torch.Tensor]:
    """What the model gives for a batch of inputs."""
    samples = len(inputs if isinstance(inputs, torch.Tensor) else next(iter(_values(inputs))))
    model.open(taps)
    try:
        found = model.extract(Batch(inputs, range(samples)), keep)
    finally:
        model.close()
    return {name: activation.array for name, activation in found.items()}


def _values(inputs):
    return inputs.values() if isinstance(inputs, Mapping) else inputs


def reference(module: nn.Module, inputs) -> dict[str, torch.Tensor]:
    """Every module's every input and result, by plain hooks: ``path:call`` and ``path:call@in``."""
    found: dict[str, torch.Tensor] = {}
    counts: Counter[str] = Counter()

    def before(name):
        def hook(_, args, kwargs):
            tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
            if tensors:
                found[f"{name}:{counts[name + '@']}@in"] = tensors[0].clone()
            counts[name + "@"] += 1

        return hook

    def after(name):
        def hook(_, args, result):
            if isinstance(result, tuple):
                (result,) = [part for part in result if part is not None]
            found[f"{name}:{counts[name]}"] = result.clone()
            counts[name] += 1

        return hook

    module.eval()
    for name, part in module.named_modules():
        part.register_forward_pre_hook(before(name or "output"), with_kwargs=True)
        part.register_forward_hook(after(name or "output"))
    with torch.inference_mode():
        if isinstance(inputs, dict):
            module(**inputs)
        else:
            module(*inputs) if isinstance(inputs, tuple) else module(inputs)
    return found


def expected(found: Mapping[str, torch.Tensor], tap: str) -> torch.Tensor:
    path, _, side = tap.partition("@")
    if ":" not in path:
        path += ":0"
    return found[path + ("@in" if side else "")]


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def tv(name: str, **options) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision.models import get_model

        return get_model(name, weights=None, num_classes=7, **options)

    return make


def timm(name: str, **options) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=7, **options)

    return make


def vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(64, 16, 2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=7)


def resnext() -> nn.Module:
    from torchvision.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, [2, 1, 1, 1], 7, groups=32, width_per_group=4)


def densenet() -> nn.Module:
    from torchvision.models import DenseNet

    return DenseNet(8, (3, 2), 16, num_classes=7)


def maxvit() -> nn.Module:
    from torchvision.models import MaxVit

    return MaxVit((64, 64), 8, 4, [8, 16], [1, 1], 8, 0.0, num_classes=7)


ARCHITECTURES = {
    "alexnet": (tv("alexnet"), 64, ["features.0", "features.1", "features.0@in", "classifier.4"]),
    "resnet18": (tv("resnet18"), 64, ["**"]),
    "resnext": (resnext, 64, ["layer1.*.relu", "layer2.0.conv2", "avgpool"]),
    "regnet": (tv("regnet_y_400mf"), 64, ["stem", "trunk_output.block[12]", "**.activation"]),
    "densenet": (densenet, 64, ["features.denseblock1.*", "features.transition1.conv"]),
    "mobilenet_v3": (tv("mobilenet_v3_small"), 64, ["features.*", "features.1.block.1.fc1"]),
    "efficientnet_b0": (tv("efficientnet_b0"), 64, ["features.2.**", "output"]),
    "googlenet": (tv("googlenet", aux_logits=True, init_weights=False), 64, ["inception3?", "fc"]),
    "shufflenet": (tv("shufflenet_v2_x0_5"), 64, ["stage2.**", "conv5@in"]),
    "squeezenet": (tv("squeezenet1_1"), 64, ["features.3.*", "features.0", "classifier.3"]),
    "convnext_atto": (
        timm("convnext_atto"),
        64,
        ["stages.0.**", "stages.*.downsample", "head.fc@in"],
    ),
    "vit_tiny": (
        timm("vit_tiny_patch16_224", img_size=64, depth=2),
        64,
        ["blocks.**", "norm", "output"],
    ),
    "deit_distilled": (
        timm("deit_tiny_distilled_patch16_224", img_size=64, depth=2),
        64,
        ["blocks.*.attn", "blocks.*.mlp.fc2", "head_dist"],
    ),
    "vit_torchvision": (
        vit,
        64,
        ["encoder.layers.encoder_layer_1.**", "encoder.ln", "heads"],
    ),
    "swin_tiny": (
        timm("swin_tiny_patch4_window7_224", img_size=64, depths=(1, 1, 1, 1)),
        64,
        ["layers.**", "patch_embed"],
    ),
    "maxvit": (maxvit, 64, ["stem", "blocks.0.**", "output"]),
    "coat": (timm("coat_lite_tiny", img_size=64), 64, ["serial_blocks*.**"]),
    "mixer": (timm("mixer_s32_224", img_size=64), 64, ["blocks.[01].**"]),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_plain_hooks(name):
    make, size, patterns = ARCHITECTURES[name]
    model = Net(make, images(1, size)[0])
    inputs = images(2, size, seed=1)
    found = take(model, inputs, patterns)
    assert found
    truth = reference(seeded(make), inputs)
    declared = {tap.name: tap for tap in model.taps()}
    for tap, array in found.items():
        assert torch.equal(array, expected(truth, tap)), tap
        assert tuple(array.shape) == (2, *declared[tap].shape), tap


def test_every_tap_of_a_small_network_at_once_and_one_by_one():
    make = tv("squeezenet1_1")
    model, inputs = Net(make, images(1)[0]), images(2, seed=3)
    names = [tap.name for tap in model.taps() if not tap.problem]
    together = take(model, inputs, names)
    assert list(together) == names, "in the order of the forward pass"
    truth = reference(seeded(make), inputs)
    assert len(names) == len(truth) - 1, "all but the input of the model itself"
    for name in names:
        assert torch.equal(together[name], expected(truth, name)), name
    for name in names[::7]:
        assert torch.equal(take(model, inputs, [name])[name], together[name]), name


class Counting(nn.Module):
    """Counts its calls, and swallows every Exception of the part that it runs."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part, self.calls = part, 0

    def forward(self, x):
        self.calls += 1
        try:
            return self.part(x)
        except Exception:
            return x


def chain() -> nn.Module:
    return nn.Sequential(*(Counting(nn.Linear(4, 4)) for _ in range(4)))


def test_stops_after_the_last_tap():
    model = Net(chain, torch.zeros(4), plane=False)
    model.open(["1.part", "0"])
    module = model.module
    model.extract(Batch(torch.ones(3, 4), range(3)), keep)
    assert [part.calls for part in module] == [1, 1, 0, 0]
    model.open(["1.part@in"])
    model.extract(Batch(torch.ones(3, 4), range(3)), keep)
    assert [part.calls for part in module] == [2, 2, 0, 0], "the input of a part needs no run of it"
    model.open(["1.part", "output"])
    model.extract(Batch(torch.ones(3, 4), range(3)), keep)
    assert [part.calls for part in module] == [3, 3, 1, 1]


def test_in_place_changes_do_not_reach_what_was_taken():
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu, self.last = (
                nn.Conv2d(3, 4, 3),
                nn.ReLU(inplace=True),
                nn.Identity(),
            )

        def forward(self, x):
            x = self.relu(self.conv(x))
            x.mul_(0)
            return self.last(x)

    model, inputs = Net(InPlace, images(1, 8)[0]), images(2, 8)
    found = take(model, inputs, ["conv", "relu@in", "relu", "last"])
    with torch.inference_mode():
        conv = seeded(InPlace).conv(inputs)
    assert (conv < 0).any()
    assert torch.equal(found["conv"], conv)
    assert torch.equal(found["relu@in"], conv)
    assert torch.equal(found["relu"], conv.relu())
    assert not found["last"].any()


def test_views_that_a_pool_returns_are_owned_and_values_it_computes_are_not_copied():
    made = {}

    def pool(name: str, activation: Activation) -> Activation:
        array = (
            activation.array.flatten(1)[:, ::2] if name == "0" else activation.array.mean((2, 3))
        )
        made[name] = array
        return replace(activation, array=array, axes=("sample", "channel"))

    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True))

    model, inputs = Net(make, images(1, 4)[0]), images(2, 4)
    model.open(["0", "1"])
    found = model.extract(Batch(inputs, range(2)), pool)
    model.close()
    with torch.inference_mode():
        conv = seeded(make)[0](inputs)
    assert torch.equal(found["0"].array, conv.flatten(1)[:, ::2])
    assert found["0"].array.is_contiguous()
    assert found["0"].array.untyped_storage().nbytes() == found["0"].array.nbytes, "no view of more"
    assert found["1"].array is made["1"]


class Repeated(nn.Module):
    """One block applied three times, as in recurrent vision networks."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()

    def forward(self, x):
        for _ in range(3):
            x = self.relu(self.block(x))
        return x


def test_repeated_modules_have_one_tap_for_each_call():
    model, inputs = Net(Repeated, images(1, 8)[0]), images(2, 8)
    names = [tap.name for tap in model.taps()]
    assert names[:4] == ["block:0@in", "block:0", "relu:0@in", "relu:0"]
    assert "relu" not in names
    found = take(model, inputs, ["output", "block:1@in", "relu:*"])
    truth = reference(seeded(Repeated), inputs)
    assert list(found) == ["relu:0", "block:1@in", "relu:1", "relu:2", "output"]
    for name, array in found.items():
        assert torch.equal(array, expected(truth, name))
    assert not torch.equal(found["relu:0"], found["relu:2"])
    with pytest.raises(TapError, match="called 3 times") as error:
        model.open(["relu"])
    assert "'relu:0', 'relu:1', 'relu:2'" in error.value.hint


class Recurrent(nn.Module):
    """An area as in CORnet-S: its stride is changed within the forward pass, its result comes per step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.skip = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1, stride=2)
        self.nonlin, self.output = nn.ReLU(inplace=True), nn.Identity()

    def forward(self, x):
        for step in range(4):
            shortcut = self.skip(x) if step == 0 else x
            self.conv.stride = (2, 2) if step == 0 else (1, 1)
            x = self.output(self.nonlin(self.conv(x) + shortcut))
        return x


def test_steps_of_a_recurrent_area():
    def make() -> nn.Module:
        return nn.Sequential(Recurrent(), nn.Flatten())

    model, inputs = Net(make, images(1, 8)[0]), images(2, 8)
    found = take(model, inputs, ["0.conv:*", "0.output:*"])
    truth = reference(seeded(make), inputs)
    steps = [f"0.{part}:{step}" for step in range(4) for part in ("conv", "output")]
    assert list(found) == steps
    assert all(torch.equal(found[name], expected(truth, name)) for name in steps)
    model.open(["0.output:1"])
    for _ in range(2):  # stopped in the middle, and run again
        again = model.extract(Batch(inputs, range(2)), keep)["0.output:1"].array
        assert torch.equal(again, found["0.output:1"])


def test_stops_at_the_right_call_of_a_repeated_module():
    calls = []

    class Loud(Repeated):
        def forward(self, x):
            for i in range(3):
                calls.append(i)
                x = self.relu(self.block(x))
            return x

    model = Net(Loud, images(1, 8)[0])
    model.open(["relu:1"])
    calls.clear()
    model.extract(Batch(images(2, 8), range(2)), keep)
    assert calls == [0, 1]


def test_keyword_inputs_several_inputs_and_dict_results():
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(4, 3), nn.Linear(5, 3)

        def forward(self, *, a, b=None):
            return {"sum": self.left(a) + self.right(input=b), "parts": (self.left.weight, b)}

    inputs = {"a": torch.randn(2, 4), "b": torch.randn(2, 5)}
    model = Net(Pair, {"a": torch.zeros(4), "b": torch.zeros(5)}, plane=False)
    found = take(model, inputs, ["right@in", "output.sum", "output.parts.1"])
    assert torch.equal(found["right@in"], inputs["b"])
    assert torch.equal(found["output.parts.1"], inputs["b"])
    module = seeded(Pair)
    with torch.inference_mode():
        assert torch.equal(
            found["output.sum"], module.left(inputs["a"]) + module.right(inputs["b"])
        )

    positional = Net(lambda: nn.Bilinear(4, 5, 2), (torch.zeros(4), torch.zeros(5)), plane=False)
    result = take(positional, (inputs["a"], inputs["b"]), ["output"])["output"]
    with torch.inference_mode():
        assert torch.equal(result, seeded(lambda: nn.Bilinear(4, 5, 2))(inputs["a"], inputs["b"]))


def test_a_batch_axis_in_the_middle_comes_first():
    class Middle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.MultiheadAttention(8, 2)  # (tokens, samples, channels)

        def forward(self, x):
            x = x.transpose(0, 1)
            return self.layer(x, x, x)[0].transpose(0, 1)

    model, inputs = Net(Middle, torch.zeros(5, 8), plane=False), torch.randn(3, 5, 8)
    taps = {tap.name: tap for tap in model.taps()}
    assert taps["layer.0"].axes == ("sample", "token", "channel")
    assert taps["layer.0"].shape == (5, 8)
    assert "take layer.0, layer.1" in taps["layer"].problem
    found = take(model, inputs, ["layer.0", "layer@in", "layer.1", "output"])
    assert torch.equal(found["layer@in"], inputs)
    assert torch.equal(found["layer.0"], found["output"])
    assert found["layer.1"].shape == (3, 5, 5)
    assert found["layer.0"].is_contiguous()


def test_encoder_layers_give_the_same_numbers_whatever_is_tapped():
    def make() -> nn.Module:
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)

    model, inputs = Net(make, torch.zeros(6, 16), plane=False), torch.randn(2, 6, 16)
    alone = take(model, inputs, ["layers.1", "output"])
    among = take(model, inputs, ["layers.0.linear1", "layers.1", "layers.1.norm1", "output"])
    truth = reference(seeded(make), inputs)
    for name in ("layers.1", "output"):
        assert torch.equal(alone[name], among[name])
        assert torch.equal(alone[name], expected(truth, name))


def test_a_tap_that_falls_silent_is_named():
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.always, self.small = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            x = self.always(x)
            return x if x.abs().sum() > 50 else self.small(x)

    model = Net(Branch, torch.zeros(4), plane=False)
    model.open(["always", "small"])
    model.extract(Batch(torch.zeros(2, 4), range(2)), keep)
    with pytest.raises(ModelError, match="small: it did not fire"):
        model.extract(Batch(torch.full((2, 4), 1000.0), range(2)), keep)
    found = model.extract(Batch(torch.zeros(2, 4), range(2)), keep)
    assert set(found) == {"always", "small"}, "the next batch is not disturbed"


def test_other_sizes_than_probed_are_refused():
    model = Net(lambda: nn.Conv2d(3, 2, 1), images(1, 8)[0])
    model.open(["output"])
    with pytest.raises(
        TapError, match=r"output: expected shape \[2, 2, 8, 8\].*found \[2, 2, 9, 9\]"
    ):
        model.extract(Batch(images(2, 9), range(2)), keep)
    with pytest.raises(TapError, match="for 3 samples"):
        model.extract(Batch(images(2, 8), range(3)), keep)


def test_an_override_of_taps_may_let_a_size_vary():
    class Tokens(Net):
        def taps(self, example=None):
            return [
                tap if tap.problem else replace(tap, shape=(None, *tap.shape[1:]))
                for tap in super().taps(example)
            ]

    model = Tokens(lambda: nn.Linear(4, 2), torch.zeros(3, 4), plane=False)
    assert model.taps()[-1].varying == ("token",)
    assert take(model, torch.zeros(2, 9, 4), ["output"])["output"].shape == (2, 9, 2)


def test_random_weights_are_reproducible_and_global_generators_untouched():
    import random

    model = Net(tv("squeezenet1_1"), images(1)[0], seed=5)
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    first = take(model, images(2), ["output"])["output"]
    first_print = model.fingerprint()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()
    torch.manual_seed(99)
    again = Net(tv("squeezenet1_1"), images(1)[0], seed=5)
    assert again.fingerprint() == first_print, "known without opening, too"
    assert torch.equal(take(again, images(2), ["output"])["output"], first)
    other = Net(tv("squeezenet1_1"), images(1)[0], seed=6)
    assert other.fingerprint() != first_print


def test_a_random_forward_pass_is_the_same_for_every_batch():
    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    model = Net(Noisy, torch.zeros(4), plane=False)
    model.open(["output"])
    one, two = (model.extract(Batch(torch.zeros(2, 4), range(2)), keep) for _ in range(2))
    assert torch.equal(one["output"].array, two["output"].array)


def test_weights_that_load_gives_are_used_and_fingerprinted():
    class Loaded(Net):
        def load(self, module):
            nn.init.constant_(module.weight, self.config.seed + 1)

    def make() -> nn.Module:
        return nn.Linear(2, 1, bias=False)

    found = take(Loaded(make, torch.zeros(2), plane=False), torch.ones(1, 2), ["output"])
    assert found["output"].tolist() == [[2.0]]
    prints = {Loaded(make, torch.zeros(2), plane=False, seed=s).fingerprint() for s in (0, 0, 1)}
    assert len(prints) == 2


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_dtype_of_weights_inputs_and_activations(dtype):
    model = Net(tv("squeezenet1_1"), images(1)[0], dtype=dtype)
    tap = next(tap for tap in model.taps() if tap.name == "features.3")
    assert tap.dtype == dtype
    found = take(model, images(2), ["features.3", "features.0@in"])
    module = seeded(tv("squeezenet1_1")).eval().to(getattr(torch, dtype))
    with torch.inference_mode():
        truth = module.features[:4](images(2).to(getattr(torch, dtype)))
    assert torch.equal(found["features.3"], truth)


def test_autocast_computes_in_half_and_gives_the_declared_type():
    model = Net(lambda: nn.Linear(8, 4), torch.zeros(8), plane=False, autocast="bfloat16")
    inputs = torch.randn(3, 8)
    seen = []

    def pool(_: str, activation: Activation) -> Activation:
        seen.append(activation.array @ torch.ones(4))
        return activation

    model.open(["output"])
    found = model.extract(Batch(inputs, range(3)), pool)["output"].array
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        truth = seeded(lambda: nn.Linear(8, 4))(inputs)
    assert truth.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    assert torch.equal(found, truth.float())
    assert seen[0].dtype == torch.float32, "poolers compute in full precision"


def test_integers_keep_their_type():
    class Classes(nn.Module):
        def forward(self, x):
            return {"ids": x.argmax(1), "odd": torch.complex(x, x)}

    model = Net(Classes, torch.zeros(4), plane=False)
    taps = {tap.name: tap for tap in model.taps()}
    assert taps["output.ids"].dtype == "int64"
    assert taps["output.ids"].axes == ("sample",)
    assert "complex" in taps["output.odd"].problem
    assert take(model, torch.eye(4), ["output.ids"])["output.ids"].tolist() == [0, 1, 2, 3]


def test_to_host_gives_views_on_the_cpu_and_bits_for_bfloat16():
    model = Net(chain, torch.zeros(4), plane=False)
    model.open(["output"])
    array = torch.randn(3, 4)
    turned, half = array.T, array.to(torch.bfloat16)
    host = model.to_host({"a": array, "t": turned, "h": half, "n": np.ones(2)})()
    assert np.shares_memory(host["a"], array.numpy())
    assert host["t"].flags.c_contiguous
    np.testing.assert_array_equal(host["t"], array.numpy().T)
    assert host["h"].dtype == np.uint16
    np.testing.assert_array_equal(host["h"], (half.float().numpy().view(np.uint32) >> 16))
    assert host["n"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("error", "smaller"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error, smaller):
    assert Net(chain, torch.zeros(4), plane=False).out_of_memory(error) is smaller


def test_a_real_allocation_failure_comes_through():
    class Huge(nn.Module):
        def forward(self, x):
            return x if x.shape[0] < 4 else torch.empty(2**52)

    model = Net(Huge, torch.zeros(4), plane=False)
    model.open(["output"])
    with pytest.raises(RuntimeError) as error:
        model.extract(Batch(torch.zeros(4, 4), range(4)), keep)
    assert model.out_of_memory(error.value)
    assert "output" in model.extract(Batch(torch.zeros(3, 4), range(3)), keep)


def test_weights_that_do_not_fit_are_named(monkeypatch):
    model = Net(chain, torch.zeros(4), plane=False)
    model.taps()
    monkeypatch.setattr(nn.Module, "to", _full)
    with pytest.raises(OutOfMemory, match="weights do not fit on cpu"):
        model.open(["output"])


def _full(*_):
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def test_a_failing_forward_pass_is_a_model_error_with_its_cause():
    model = Net(lambda: nn.Linear(4, 2), torch.zeros(4), plane=False)
    model.open(["output"])
    with pytest.raises(ModelError, match="the forward pass failed: RuntimeError: mat1") as error:
        model.extract(Batch(torch.zeros(2, 5), range(2)), keep)
    assert isinstance(error.value.__cause__, RuntimeError)
    with pytest.raises(TapError, match="does not fit"):
        model.extract(Batch(torch.zeros(2, 4), range(2)), _refuse)


def _refuse(*_):
    raise TapError("does not fit")


def test_open_again_close_twice_and_extract_when_closed():
    model = Net(chain, torch.zeros(4), plane=False)
    batch = Batch(torch.ones(2, 4), range(2))
    model.open(["0"])
    module = model.module
    assert set(model.extract(batch, keep)) == {"0"}
    model.open(["1", "2"])
    assert model.module is module, "weights are loaded once"
    assert set(model.extract(batch, keep)) == {"1", "2"}
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()) == 2
    model.close()
    model.close()
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()) == 0
    with pytest.raises(ModelError, match="no taps are open"):
        model.extract(batch, keep)


def test_an_absent_device_is_refused_before_weights_load():
    class Late(Net):
        def load(self, module):
            raise AssertionError("loaded")

    model = Late(chain, torch.zeros(4), plane=False)
    model.config = TorchConfig(device="cuda:77")
    with pytest.raises(ModelError, match=r"device 'cuda:77' is not here; present: .*cpu"):
        model.open(["output"])


def test_describe_and_prepare():
    model = Net(chain, torch.zeros(4), plane=False)
    model.open(["output"])
    facts = model.describe()
    assert facts["parameters"] == 4 * 20
    assert (facts["device"], facts["dtype"]) == ("cpu", "float32")
    batch = model.prepare([Sample("a", torch.ones(4)), Sample("b", torch.zeros(4))])
    assert list(batch.samples) == [0, 1]
    assert model.extract(batch, keep)["output"].array.shape == (2, 4)


def test_module_is_in_eval_mode_and_needs_no_gradients():
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9), nn.BatchNorm1d(4))

    model = Net(make, torch.zeros(4), plane=False)
    found = take(model, torch.ones(2, 4), ["output"])["output"]
    assert not found.requires_grad
    with torch.inference_mode():
        assert torch.equal(found, seeded(make).eval()(torch.ones(2, 4)))
