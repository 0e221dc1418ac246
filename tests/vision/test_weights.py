"""Names, tags and weights: what is built, what is loaded, and one clear error for what is missing."""

import re
import subprocess
import sys
from unittest import mock
from urllib.error import URLError

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.models import _api

from actx_core import ModelError
from actx_vision.models import timm_model, weights
from actx_vision.models.config import TimmConfig, TorchvisionConfig
from actx_vision.models.timm_model import TimmModel
from actx_vision.models.torchvision_model import TorchvisionModel


def torchvision_model(name, weights="random", **options):
    return TorchvisionModel(TorchvisionConfig(name=name, weights=weights, **options))


def timm_made(name, weights="random", **options):
    return TimmModel(TimmConfig(name=name, weights=weights, **options))


def structure(module):
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    modules = {key: (type(part), part.extra_repr()) for key, part in module.named_modules()}
    return shapes, modules


def filled(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator))
    return module


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# Configs


def test_configs_import_no_framework():
    script = (
        "import sys, actx_vision.models.config, actx_vision.plugin;"
        "print([m for m in ('torch', 'torchvision', 'timm', 'PIL', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("config", [TorchvisionConfig, TimmConfig])
def test_weights_must_be_said(config, tmp_path):
    for left_out in ({}, {"weights": ""}):
        with pytest.raises(ValueError, match="say which weights"):
            config(name="resnet18", **left_out)
    assert config(name="resnet18", weights=True).weights == "DEFAULT"
    with pytest.raises(ValueError, match="valid path"):
        config(name="resnet18", weights=False)
    given = {"name": "resnet18", "weights": "w/best.pth"}
    local = config.model_validate(given, context={"base": tmp_path})
    assert local.weights == tmp_path / "w" / "best.pth"
    assert config.model_validate_json(local.model_dump_json()) == local
    assert local.label() == "resnet18"
    with pytest.raises(ValueError, match="not installed"):
        config(name="resnet18", weights="package:no_such_package/w.pth")


# What is built


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("resnet18", "IMAGENET1K_V1"),
        ("inception_v3", "IMAGENET1K_V1"),  # rescales its input inside, only with weights
        ("densenet121", "IMAGENET1K_V1"),
        ("vgg16", "IMAGENET1K_FEATURES"),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"),  # 384 pixels
        ("vit_h_14", "IMAGENET1K_SWAG_E2E_V1"),
        ("maxvit_t", "IMAGENET1K_V1"),
        ("swin_v2_t", "IMAGENET1K_V1"),
        ("convnext_tiny", "IMAGENET1K_V1"),
        ("efficientnet_b0", "IMAGENET1K_V1"),
        ("deeplabv3_resnet50", "COCO_WITH_VOC_LABELS_V1"),
        ("lraspp_mobilenet_v3_large", "COCO_WITH_VOC_LABELS_V1"),
    ],
)
def test_torchvision_is_built_as_for_its_weights(name, tag):
    with torch.device("meta"):
        ours = torchvision_model(name, tag).build()
        with (
            mock.patch.object(_api, "load_state_dict_from_url", return_value={}),
            mock.patch.object(nn.Module, "load_state_dict", return_value=None),
        ):
            theirs = models.get_model(name, weights=tag)
    assert structure(ours) == structure(theirs)
    for attribute in ("transform_input", "aux_logits"):
        assert getattr(ours, attribute, None) == getattr(theirs, attribute, None)


def test_googlenet_keeps_the_branches_that_its_weights_have():
    with torch.device("meta"):
        module = torchvision_model("googlenet", "DEFAULT").build()
    assert module.transform_input
    assert "aux2.fc2.weight" in module.state_dict()


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224.augreg_in21k", "test_resnet"])
def test_timm_is_built_as_for_its_weights(name):
    with torch.device("meta"):
        assert structure(timm_made(name).build()) == structure(timm.create_model(name))


# Names and tags


def test_unknown_names():
    with pytest.raises(ModelError, match="no model called 'resnet51'") as caught:
        torchvision_model("resnet51")
    assert "did you mean 'resnet50'" in caught.value.hint
    with pytest.raises(ModelError, match="no model called 'resnet51'") as caught:
        timm_made("resnet51.a1_in1k")
    assert "'resnet51q'" in caught.value.hint
    for name in ("fasterrcnn_resnet50_fpn", "r3d_18", "raft_small"):
        with pytest.raises(ModelError, match="does not turn one picture into one activation"):
            torchvision_model(name)


def test_unknown_tags():
    with pytest.raises(ModelError, match="no weights called 'IMAGENET1K_V9'") as caught:
        torchvision_model("resnet50", "IMAGENET1K_V9")
    assert "did you mean 'IMAGENET1K_V2'" in caught.value.hint
    with pytest.raises(ModelError, match="no weights called 'nothing'") as caught:
        torchvision_model("resnet50", "nothing")
    assert "IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT, random" in caught.value.hint
    with pytest.raises(ModelError, match="no weights called 'a9_in1k'") as caught:
        timm_made("resnet50.a9_in1k")
    assert "'a3_in1k'" in caught.value.hint
    with pytest.raises(ModelError, match="no weights called 'zzz'") as caught:
        timm_made("resnet50", "zzz")
    assert "a1_in1k" in caught.value.hint
    with pytest.raises(ModelError, match="the name says the weights 'a1_in1k'"):
        timm_made("resnet50.a1_in1k", "a2_in1k")


def test_a_timm_model_that_has_no_weights():
    nowhere = next(n for n in timm.list_models() if not timm.list_pretrained(f"{n}.*"))
    with pytest.raises(ModelError, match="timm has no weights for"):
        timm_made(nowhere, "DEFAULT")


def test_default_says_which_tag_it_is():
    assert torchvision_model("resnet50", "DEFAULT").weights == "ResNet50_Weights.IMAGENET1K_V2"
    assert timm_made("test_resnet", "DEFAULT").weights == "test_resnet.r160_in1k"
    assert timm_made("test_resnet.r160_in1k", "random").weights == "random"


# Loading


def test_random_weights_are_those_of_the_seed():
    model = torchvision_model("squeezenet1_1")
    built = []
    for _ in range(2):
        torch.manual_seed(3)
        module = model.build()
        model.load(module)
        built.append(module)
    assert equal(*built)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize(
    ("make", "name"), [(torchvision_model, "squeezenet1_1"), (timm_made, "test_vit")]
)
def test_a_local_file(tmp_path, make, name, ending):
    source = filled(make(name).build())
    file = tmp_path / f"mine.{ending}"
    if ending == "pth":
        torch.save({"state_dict": source.state_dict()}, file)
    else:
        save_file(source.state_dict(), file)
    model = make(name, str(file))
    module = model.build()
    assert not equal(module, source)
    model.load(module)
    assert equal(module, source)


@pytest.mark.parametrize(
    ("make", "name"), [(torchvision_model, "squeezenet1_1"), (timm_made, "test_vit")]
)
def test_a_local_file_that_does_not_fit(tmp_path, make, name):
    state = make(name).build().state_dict()
    state.pop(next(iter(state)))
    torch.save(state, tmp_path / "short.pth")
    model = make(name, str(tmp_path / "short.pth"))
    with pytest.raises(ModelError, match="do not fit") as caught:
        model.load(model.build())
    assert "short.pth" in caught.value.where
    model = make(name, str(tmp_path / "none.pth"))
    with pytest.raises(ModelError, match="no such checkpoint"):
        model.load(model.build())


class Payload:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize("make", [torchvision_model, timm_made])
def test_a_pickle_that_runs_code_is_refused(tmp_path, make, capsys):
    torch.save({"x": Payload()}, tmp_path / "evil.pth")
    model = make("resnet18", str(tmp_path / "evil.pth"))
    with pytest.raises(ModelError, match="weights_only"):
        model.load(model.build())
    assert "this must not run" not in capsys.readouterr().out


def test_the_old_names_in_densenet_files(tmp_path):
    source = filled(models.densenet121())
    old = {
        re.sub(r"(denselayer\d+\.)(norm|conv)([12])\.", r"\1\2.\3.", key): value
        for key, value in source.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "densenet121.pth")
    model = torchvision_model("densenet121", str(tmp_path / "densenet121.pth"))
    module = model.build()
    model.load(module)
    assert equal(module, source)


def test_timm_converts_what_is_published(tmp_path):
    # Some publish the projection of patches as a matrix; timm makes it a convolution.
    model = timm_made("test_vit")
    source = filled(model.build())
    state = source.state_dict()
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].flatten(1)
    torch.save(state, tmp_path / "published.pth")
    model = timm_made("test_vit", str(tmp_path / "published.pth"))
    module = model.build()
    model.load(module)
    assert equal(module, source)


def test_weights_for_pictures_of_another_size_are_not_stretched(tmp_path):
    larger = timm.create_model("test_vit", img_size=320)
    torch.save(larger.state_dict(), tmp_path / "larger.pth")
    model = timm_made("test_vit", str(tmp_path / "larger.pth"))
    complaint = re.escape("expected pos_embed of shape [1, 101, 64], found [1, 401, 64]")
    with pytest.raises(ModelError, match=complaint) as caught:
        model.load(model.build())
    assert "another size" in caught.value.hint


# Weights of a tag: in the cache, or not to be had


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_torchvision_weights_in_the_cache(hub):
    weights = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    source = filled(models.squeezenet1_1())
    torch.save(source.state_dict(), hub / weights.url.rpartition("/")[2])
    model = torchvision_model("squeezenet1_1", "IMAGENET1K_V1")
    module = model.build()
    model.load(module)
    assert equal(module, source)


def test_a_damaged_file_in_the_cache(hub):
    file = hub / models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    file.write_bytes(b"no weights")
    model = torchvision_model("squeezenet1_1", "DEFAULT")
    with pytest.raises(ModelError, match="cannot be read") as caught:
        model.load(model.build())
    assert caught.value.where == str(file)


def refuse(*_, **__):
    raise URLError("no network here")


def test_torchvision_weights_that_cannot_be_had(hub, monkeypatch):
    monkeypatch.setattr(weights, "urlopen", refuse)
    model = torchvision_model("squeezenet1_1", "DEFAULT")
    with pytest.raises(ModelError, match="not on this machine") as caught:
        model.load(model.build())
    url = models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url
    assert "no network here" in caught.value.message
    assert f"download {url} elsewhere" in caught.value.hint
    assert str(hub / url.rpartition("/")[2]) in caught.value.hint
    assert 'weights = "random"' in caught.value.hint


@pytest.mark.parametrize("offline", [True, False])
def test_timm_weights_that_cannot_be_had(monkeypatch, offline):
    monkeypatch.setattr(timm_model, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(timm_model, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(weights, "urlopen", refuse)
    model = timm_made("test_resnet", "DEFAULT")
    with pytest.raises(ModelError, match=r"'test_resnet\.r160_in1k' are not on this") as caught:
        model.load(model.build())
    assert ("HF_HUB_OFFLINE" if offline else "no network here") in caught.value.message
    assert "timm/test_resnet.r160_in1k/resolve/main/model.safetensors" in caught.value.hint


def test_timm_weights_in_the_cache(tmp_path, monkeypatch):
    source = filled(timm.create_model("test_resnet"))
    save_file(source.state_dict(), tmp_path / "model.safetensors")

    def cached(repository, file):
        assert (repository, file) == ("timm/test_resnet.r160_in1k", "model.safetensors")
        return str(tmp_path / file)

    monkeypatch.setattr(timm_model, "try_to_load_from_cache", cached)
    monkeypatch.setattr(weights, "urlopen", refuse)
    model = timm_made("test_resnet", "DEFAULT")
    module = model.build()
    model.load(module)
    assert equal(module, source)
