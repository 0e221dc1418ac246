"""Which taps there are, what their axes mean, and why some cannot be taken."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import nn

from actx_core.errors import ModelError
from actx_core.torch import TorchConfig, TorchModel
from actx_core.torch.probing import batch_axis, probe_module
from actx_core.types import Tap

IMAGE = ("sample", "channel", "y", "x")
LAST = ("sample", "y", "x", "channel")
TOKENS = ("sample", "token", "channel")
FLAT = ("sample", "channel")


def taps(make, *shape: int, grow: bool = True, device: str = "meta") -> dict[str, Tap]:
    """All taps of a module for samples of a shape, by name."""
    with torch.device(device), torch.no_grad():
        module = make().eval()
        inputs = [torch.zeros(n, *shape) for n in (2, 3)]
        both = {"y": torch.cat([inputs[0]] * 2, -2), "x": torch.cat([inputs[0]] * 2, -1)}
        found = probe_module(module, inputs, both if grow else {}, device, "float32")
    return {point.tap.name: point.tap for point in found}


def tv(name: str):
    from torchvision.models import get_model

    return lambda: get_model(name, weights=None)


def timm(name: str, **options):
    import timm

    return lambda: timm.create_model(name, pretrained=False, **options)


def fits(
    declared: dict[str, Tap], wanted: dict[str, tuple[tuple[str, ...], tuple[int, ...]]]
) -> None:
    for name, (axes, shape) in wanted.items():
        assert not declared[name].problem, name
        assert (declared[name].axes, declared[name].shape) == (axes, shape), name


@pytest.mark.parametrize("grow", [True, False], ids=["grown", "by type"])
def test_resnet(grow):
    found = taps(tv("resnet18"), 3, 64, 64, grow=grow)
    fits(
        found,
        {
            "conv1@in": (IMAGE, (3, 64, 64)),
            "conv1": (IMAGE, (64, 32, 32)),
            "layer1.0.relu:1": (IMAGE, (64, 16, 16)),
            "layer4": (IMAGE, (512, 2, 2)),
            "avgpool": (IMAGE, (512, 1, 1)),
            "fc@in": (FLAT, (512,)),
            "output": (FLAT, (1000,)),
        },
    )
    assert found["layer1.0"].module == "BasicBlock"
    assert found["output"].module == "ResNet"
    assert not [tap for tap in found.values() if tap.problem]
    assert "layer1.0.relu" not in found, "called twice, so each call has its name"


def test_non_square_images_are_told_apart():
    found = taps(tv("resnet18"), 3, 64, 128)
    fits(found, {"layer1": (IMAGE, (64, 16, 32)), "layer4": (IMAGE, (512, 2, 4))})


@pytest.mark.parametrize("grow", [True, False], ids=["grown", "by type"])
def test_convnext_blocks_are_channels_first_and_their_insides_last(grow):
    found = taps(tv("convnext_tiny"), 3, 64, 64, grow=grow)
    fits(
        found,
        {
            "features.1": (IMAGE, (96, 16, 16)),
            "features.1.0.block.1": (LAST, (16, 16, 96)),
            "features.1.0.block.2": (LAST, (16, 16, 96)),
            "features.1.0.block.3": (LAST, (16, 16, 384)),
            "features.1.0.block.6": (IMAGE, (96, 16, 16)),
            "features.2.0": (IMAGE, (96, 16, 16)),
        },
    )


@pytest.mark.parametrize(
    "make", [tv("swin_t"), timm("swin_tiny_patch4_window7_224")], ids=["tv", "timm"]
)
def test_swin_is_channels_last_and_says_where_it_folds_windows(make):
    found = taps(make, 3, 224, 224)  # timm's refuses other sizes
    planes = [tap for tap in found.values() if not tap.problem and len(tap.axes) == 4]
    maps = {tap.axes for tap in planes if tap.shape[-1] in (96, 192, 384, 768)}
    assert maps == {LAST}
    assert len(planes) > 60
    if "layers.0.blocks.0.attn" in found:
        fits(found, {"layers.1": (LAST, (28, 28, 192)), "layers.0.blocks.0": (LAST, (56, 56, 96))})
        problem = found["layers.0.blocks.0.attn"].problem
        assert problem == "it folds the batch into another axis: 128 rows for 2 samples"
        assert not found["layers.3.blocks.0.attn"].problem, "one window is no fold"


def test_maxvit_is_channels_last_inside_its_attention():
    def make() -> nn.Module:
        from torchvision.models import MaxVit

        return MaxVit((64, 64), 8, 2, [8, 16], [1, 1], 8, 0.0)

    found = taps(make, 3, 64, 64)
    inside = "blocks.0.layers.0.layers.window_attention"
    fits(
        found,
        {
            "blocks.0": (IMAGE, (8, 16, 16)),
            f"{inside}.departition_op": (IMAGE, (8, 16, 16)),
            f"{inside}.partition_op": (("sample", "dim1", "dim2", "channel"), (64, 4, 8)),
        },
    )


@pytest.mark.parametrize("name", ["mobilevit_xxs", "davit_tiny", "poolformer_s12"])
def test_growing_images_and_types_of_modules_agree(name):
    by_growth, by_type = (taps(timm(name), 3, 64, 64, grow=grow) for grow in (True, False))
    assert {n: t.axes for n, t in by_growth.items()} == {n: t.axes for n, t in by_type.items()}


def test_vit_tokens_and_taps_that_never_fire():
    found = taps(timm("vit_tiny_patch16_224", depth=2), 3, 224, 224)
    fits(
        found,
        {
            "patch_embed.proj": (IMAGE, (192, 14, 14)),
            "patch_embed": (TOKENS, (196, 192)),
            "blocks.1.attn": (TOKENS, (197, 192)),
            "blocks.1.mlp.fc1": (TOKENS, (197, 768)),
            "fc_norm": (FLAT, (192,)),
        },
    )
    assert found["blocks.0.attn.attn_drop"].problem == "it is never called in the forward pass"
    encoder = "encoder.layers.encoder_layer_0"
    fused = taps(tv("vit_b_32"), 3, 224, 224)[f"{encoder}.self_attention.out_proj"]
    assert fused.problem == "it is never called in the forward pass"
    assert found["blocks.0.attn.q_norm"].axes == ("sample", "dim1", "dim2", "dim3")


def test_a_mixer_has_its_tokens_last_where_it_mixes_them():
    found = taps(timm("mixer_s32_224"), 3, 224, 224)
    fits(
        found,
        {
            "blocks.0": (TOKENS, (49, 512)),
            "blocks.0.mlp_tokens@in": (("sample", "channel", "token"), (512, 49)),
            "blocks.0.mlp_channels.fc1": (TOKENS, (49, 2048)),
        },
    )


def test_tokens_by_growth():
    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proj, self.mix = nn.Conv2d(3, 5, 4, 4), nn.Identity()

        def forward(self, x):
            return self.mix(
                self.proj(x).flatten(2)
            )  # (sample, channel, token), all but last axes equal

    fits(taps(Patches, 3, 8, 8), {"output": (("sample", "channel", "token"), (5, 4))})


def test_sequences_and_volumes():
    def sequence() -> nn.Module:
        return nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.ReLU())

    fits(taps(sequence, 4, 9, grow=False), {"2": (("sample", "channel", "token"), (6, 7))})
    fits(
        taps(lambda: nn.Sequential(nn.Conv3d(1, 2, 3)), 1, 5, 6, 7, grow=False),
        {"0": (("sample", "channel", "z", "y", "x"), (2, 3, 4, 5))},
    )


def test_recurrent_results_have_elements_and_a_moved_batch_axis():
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(4, 6, num_layers=2, batch_first=True)

        def forward(self, x):
            return self.rnn(x)[0][:, -1]

    found = taps(Recurrent, 5, 4, grow=False, device="cpu")
    fits(
        found,
        {"rnn.0": (TOKENS, (5, 6)), "rnn.1.0": (TOKENS, (2, 6)), "output": (FLAT, (6,))},
    )
    assert (
        found["rnn"].problem == "its result is a tuple of 3 tensors; take rnn.0, rnn.1.0, rnn.1.1"
    )


@dataclass
class Data:
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]
    note: str = ""


class Named(NamedTuple):
    main: torch.Tensor
    aux: torch.Tensor | None


@pytest.mark.parametrize(
    ("result", "offered", "bare"),
    [
        (lambda x: {"logits": x}, ["output.logits"], True),
        (lambda x: OrderedDict(out=x, aux=x * 2), ["output.out", "output.aux"], False),
        (lambda x: (x, None), [], True),
        (lambda x: [x, (x + 1, x + 2)], ["output.0", "output.1.0", "output.1.1"], False),
        (lambda x: Named(x, None), ["output.main"], True),
        (
            lambda x: Data(x, (x + 1, x + 2)),
            ["output.logits", "output.hidden.0", "output.hidden.1"],
            False,
        ),
        (lambda x: "nothing", [], False),
    ],
)
def test_results_that_are_not_tensors(result, offered, bare):
    class Structured(nn.Module):
        def forward(self, x):
            return result(x)

    found = taps(Structured, 4, grow=False)
    assert [n for n in found if n != "output"] == offered
    assert bool(found["output"].problem) is not bare
    for name in offered:
        fits(found, {name: (FLAT, (4,))})
        assert bare or name in found["output"].problem
    if not offered and not bare:
        assert found["output"].problem == "its result is a str without a tensor"


def test_names_of_parts_win_over_elements_and_over_the_result():
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("0", nn.Linear(4, 2))

        def forward(self, x):
            return self.get_submodule("0")(x), x

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.output = Part(), nn.Linear(2, 3)

        def forward(self, x):
            return self.output(self.pair(x)[0]) * 2

    found = taps(Whole, 4, grow=False)
    assert found["pair.0"].module == "Linear"
    assert found["pair.1"].module == ""
    assert found["output"].module == "Linear"
    assert [n for n in found if n.startswith("output")] == ["output@in", "output"]


def test_problems_are_told_apart():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("table", "fold", "square", "shrink", "never", "nothing"):
                self.add_module(name, nn.Identity())

        def forward(self, x):
            self.table(torch.ones(7, 3))
            self.fold(x.reshape(-1, 2))
            self.square(x @ x.T)
            self.shrink(x.flatten()[: len(x) * 8 - 9])
            self.nothing([x])
            return x

    found = taps(Odd, 8, grow=False)
    assert found["table"].problem.startswith("it has no axis of samples: its shape is [7, 3]")
    assert found["fold"].problem == "it folds the batch into another axis: 8 rows for 2 samples"
    assert found["square"].problem.startswith("several of its axes follow the batch: [2, 2]")
    assert found["shrink"].problem == "its axis 0 has 7 rows for 2 samples and 15 for 3"
    assert found["never"].problem == "it is never called in the forward pass"
    assert found["nothing@in"].problem == "it gets no tensor as an argument"
    assert list(found)[-1] == "never", "after all that fired"


@pytest.mark.parametrize(
    ("two", "three", "found"),
    [
        ((2, 5), (3, 5), 0),
        ((2, 2), (2, 3), 1),
        ((6, 5), (9, 5), "6 rows for 2 samples"),
        ((2,), (3, 1), "number of axes changes"),
        ((2, 5), None, "not fire for every batch size"),
    ],
)
def test_batch_axis(two, three, found):
    result = batch_axis(two, three)
    assert result == found if isinstance(found, int) else found in result


class Probed(TorchModel[TorchConfig]):
    """A model whose taps are asked for, and nothing else."""

    def __init__(self, make, *shape: int) -> None:
        super().__init__(TorchConfig(device="cpu"))
        self.make, self.shape = make, shape

    def build(self) -> nn.Module:
        return self.make()

    def load(self, module) -> None:
        raise AssertionError("taps need no weights")

    def example(self, batch: int):
        return torch.zeros(batch, *self.shape)

    def prepare(self, samples):
        raise NotImplementedError


def test_taps_are_found_on_the_meta_device_and_leave_no_trace():
    devices = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.big = nn.Linear(2**18, 2**18)  # 256 GB, were it real

        def forward(self, x):
            devices.append((x.device.type, torch.arange(3).device.type, self.training))
            return self.big(x)

    state = torch.get_rng_state()
    model = Probed(Spy, 2**18)
    assert model.taps()[-1].shape == (2**18,)
    assert model.taps() == model.taps()
    assert devices == [("meta", "meta", False)] * 2, "probed once, in eval mode"
    assert torch.equal(torch.get_rng_state(), state)


def test_what_depends_on_data_is_probed_on_the_cpu():
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 3)

        def forward(self, x):
            return self.a(x) if x.sum() > 0 else self.b(x)

    found = {tap.name: tap for tap in Probed(Branch, 4).taps()}
    assert found["b"].shape == (3,)
    assert found["a"].problem == "it is never called in the forward pass"


def test_errors_of_building_and_running_name_their_cause():
    with pytest.raises(ModelError, match="cannot be built: ZeroDivisionError"):
        Probed(lambda: 1 / 0, 4).taps()
    with pytest.raises(ModelError, match="failed on a small batch: RuntimeError: mat1") as error:
        Probed(lambda: nn.Linear(5, 2), 4).taps()
    assert "shape" in error.value.hint
