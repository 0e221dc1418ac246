"""Weights without a network: the user's folders, what is missing, and an identity that no place changes."""

import hashlib
import shutil
import socket
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision import models

from actx_core import ModelError, Pipeline
from actx_core.plan import build_model, request
from actx_vision.models import timm_model, weights
from actx_vision.models.config import CornetSConfig, TimmConfig, TorchvisionConfig
from actx_vision.models.cornet import cornet_s
from actx_vision.models.cornet_model import CornetS
from actx_vision.models.panel import MEMBERS
from actx_vision.models.panel_model import Panel
from actx_vision.models.slip_model import Slip
from actx_vision.models.timm_model import TimmModel
from actx_vision.models.torchvision_model import TorchvisionModel

SQUEEZENET = models.SqueezeNet1_1_Weights.IMAGENET1K_V1


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise OSError("no network here")

    monkeypatch.setattr(weights, "urlopen", refuse)
    monkeypatch.setattr(timm_model, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def named(folder, module, stem, ending=".pth"):
    """The module's weights in a file whose name gives its digest, as torchvision and CORnet name theirs."""
    torch.save(module.state_dict(), folder / "unnamed")
    digest = hashlib.sha256((folder / "unnamed").read_bytes()).hexdigest()
    return (folder / "unnamed").rename(folder / f"{stem}-{digest[:8]}{ending}")


@pytest.fixture
def squeezenet(folder, monkeypatch):
    """A file of weights in the folder, as if it were the one that torchvision publishes."""
    file = named(folder, models.squeezenet1_1(), "squeezenet1_1")
    monkeypatch.setattr(SQUEEZENET.value, "url", f"https://somewhere.example/models/{file.name}")
    return file


def torchvision_model(tag="IMAGENET1K_V1", **options):
    config = TorchvisionConfig(name="squeezenet1_1", weights=tag, **options)
    return TorchvisionModel(config)


# Where weights are found


def test_weights_dir_is_searched_before_anything_is_downloaded(squeezenet, folder):
    found = torchvision_model(weights_dir=str(folder)).fingerprint()
    assert found == torchvision_model(squeezenet).fingerprint()
    with pytest.raises(ModelError, match="no network here"):
        torchvision_model().fingerprint()


def test_the_environment_names_a_folder_too(squeezenet, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ACTX_WEIGHTS", str(folder))
    expected = torchvision_model(squeezenet).fingerprint()
    assert torchvision_model().fingerprint() == expected
    (tmp_path / "empty").mkdir()
    assert torchvision_model(weights_dir=str(tmp_path / "empty")).fingerprint() == expected
    monkeypatch.setenv("ACTX_WEIGHTS", str(tmp_path / "empty"))
    assert torchvision_model(weights_dir=str(folder)).fingerprint() == expected


def test_weights_dir_comes_before_the_environment(tmp_path, monkeypatch):
    address = SQUEEZENET.url.partition("-")[0] + ".pth"  # a name without a digest
    monkeypatch.setattr(SQUEEZENET.value, "url", address)
    files = []
    for seed, name in enumerate(("said", "environment")):
        torch.manual_seed(seed)
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "squeezenet1_1.pth")
        torch.save(models.squeezenet1_1().state_dict(), files[-1])
    monkeypatch.setenv("ACTX_WEIGHTS", str(tmp_path / "environment"))
    said = torchvision_model(weights_dir=str(tmp_path / "said")).fingerprint()
    assert said == torchvision_model(files[0]).fingerprint()
    assert said != torchvision_model().fingerprint() == torchvision_model(files[1]).fingerprint()


@pytest.mark.parametrize("name", ["timm/test_vit.r160_in1k/model.safetensors", "own_name.pth"])
def test_timm_files_in_a_folder(folder, monkeypatch, name):
    entry = timm.models.get_pretrained_cfg("test_vit.r160_in1k")
    monkeypatch.setattr(entry, "url", "https://somewhere.example/own_name.pth")
    monkeypatch.setattr(timm_model, "get_pretrained_cfg", lambda _: entry)
    source = timm.create_model("test_vit")
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    write = torch.save if file.suffix == ".pth" else save_file
    write(source.state_dict(), file)
    model = TimmModel(TimmConfig(name="test_vit", weights="r160_in1k", weights_dir=str(folder)))
    module = model.build()
    model.load(module)
    for key, value in module.state_dict().items():
        assert torch.equal(value, source.state_dict()[key])


def test_timm_files_that_are_on_no_hub(folder, monkeypatch):
    entry = timm.models.get_pretrained_cfg("test_vit.r160_in1k")
    monkeypatch.setattr(entry, "hf_hub_id", None)
    monkeypatch.setattr(entry, "url", "https://somewhere.example/own_name.pth")
    monkeypatch.setattr(timm_model, "get_pretrained_cfg", lambda _: entry)
    model = TimmModel(TimmConfig(name="test_vit", weights="r160_in1k"))
    with pytest.raises(ModelError, match="are not on this machine") as caught:
        model.fingerprint()
    assert "https://somewhere.example/own_name.pth" in caught.value.hint
    assert "checkpoints/own_name.pth" in caught.value.hint


def test_cornet_in_a_folder(folder, monkeypatch):
    file = named(folder, cornet_s(), "cornet_s")
    monkeypatch.setattr(CornetS, "tags", {"imagenet": f"https://somewhere.example/{file.name}"})
    found = CornetS(CornetSConfig(weights="imagenet", weights_dir=str(folder))).fingerprint()
    assert found == CornetS(CornetSConfig(weights=file)).fingerprint()


def test_a_download_goes_to_torch_s_cache(squeezenet, monkeypatch, tmp_path):
    def download(address, to, digest, progress):
        assert (address, digest) == (SQUEEZENET.url, squeezenet.stem.rpartition("-")[2])
        shutil.copy(squeezenet, to)

    monkeypatch.setattr(weights, "knock", lambda address: None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert torchvision_model().fingerprint() == torchvision_model(squeezenet).fingerprint()
    assert (tmp_path / "torch" / "hub" / "checkpoints" / squeezenet.name).is_file()


# What is wrong with a folder or a file


def test_a_file_that_is_not_what_its_name_says(squeezenet, folder):
    with squeezenet.open("ab") as file:
        file.write(b"!")
    with pytest.raises(ModelError, match="not the published file: its sha256") as caught:
        torchvision_model(weights_dir=str(folder)).fingerprint()
    assert caught.value.where == str(squeezenet)


def test_a_folder_that_is_not_there(tmp_path, monkeypatch):
    gone = str(tmp_path / "gone")
    with pytest.raises(ModelError, match="weights_dir names no folder") as caught:
        torchvision_model(weights_dir=gone).fingerprint()
    assert caught.value.where == gone
    monkeypatch.setenv("ACTX_WEIGHTS", gone)
    with pytest.raises(ModelError, match="ACTX_WEIGHTS names no folder"):
        torchvision_model().fingerprint()
    torchvision_model("random").fingerprint()  # random weights look nowhere


def test_what_is_missing_is_named_with_its_address_and_its_place(folder, monkeypatch):
    options = {"weights_dir": str(folder)}
    cases = [
        (torchvision_model(**options), SQUEEZENET.url, SQUEEZENET.url.rpartition("/")[2]),
        (
            TimmModel(TimmConfig(name="test_vit", weights="DEFAULT", **options)),
            "timm/test_vit.r160_in1k/resolve/main/model.safetensors",
            "timm/test_vit.r160_in1k/model.safetensors",
        ),
        (
            CornetS(CornetSConfig(weights="DEFAULT", **options)),
            CornetS.tags["imagenet"],
            "cornet_s-1d3f7974.pth",
        ),
    ]
    monkeypatch.setattr(timm_model, "HF_HUB_OFFLINE", False)
    for model, address, name in cases:
        with pytest.raises(ModelError, match="cannot be downloaded: no network here") as caught:
            model.fingerprint()
        assert "\n" not in str(caught.value)
        assert f"{address} elsewhere and put it at {folder / name};" in caught.value.hint
    with pytest.raises(ModelError) as caught:
        TimmModel(TimmConfig(name="test_vit", weights="DEFAULT")).fingerprint()
    assert "put it as timm/test_vit.r160_in1k/model.safetensors in a folder" in caught.value.hint
    assert "say weights_dir" in caught.value.hint


# Identity


def key(base, **model):
    """What decides a cell's numbers, as the plan records it."""
    entry = {"type": "torchvision", "name": "squeezenet1_1", "taps": ["classifier"], **model}
    source = {"type": "image-folder", "path": "stimuli"}
    given = {"actx": 1, "run": {"out": "run"}, "source": source, "model": entry}
    config = Pipeline.from_dict(given, base=base).config
    return request(config, config.sources[0], config.models[0], ""), build_model(config.models[0])


def test_the_key_of_a_tag_does_not_depend_on_where_its_file_lies(squeezenet, folder, tmp_path):
    other = tmp_path / "elsewhere"
    shutil.copytree(folder, other)
    keys, built = zip(
        *(key(tmp_path, weights="IMAGENET1K_V1", weights_dir=str(at)) for at in (folder, other))
    )
    assert keys[0] == keys[1] == key(tmp_path, weights="IMAGENET1K_V1")[0]
    assert built[0].fingerprint() == built[1].fingerprint()


def test_a_pipeline_with_a_local_file_can_be_moved(squeezenet, tmp_path):
    keys, built = [], []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        shutil.copy(squeezenet, tmp_path / name / "mine.pth")
        found = key(tmp_path / name, weights="./mine.pth")
        keys.append(found[0])
        built.append(found[1])
    assert keys[0] == keys[1]
    assert built[0].fingerprint() == built[1].fingerprint()
    torch.save(models.squeezenet1_1().state_dict(), tmp_path / "there" / "mine.pth")
    assert key(tmp_path / "there", weights="./mine.pth")[0] != keys[0]


def test_a_relative_folder_starts_from_the_pipeline(squeezenet, folder, tmp_path):
    _, model = key(tmp_path, weights="IMAGENET1K_V1", weights_dir="weights")
    assert model.config.weights_dir == str(folder)
    assert model.fingerprint() == torchvision_model(squeezenet).fingerprint()


# Published weights


def by_name(kind):
    found = list(kind.checkpoints())
    names = {(each.name, each.weights): each for each in found}
    assert len(names) == len(found) > 0
    return names


def test_every_tag_of_torchvision_is_listed():
    found = by_name(TorchvisionModel)
    assert {name for name, _ in found} >= {"resnet50", "vgg19_bn", "vit_b_16", "fcn_resnet50"}
    resnet = found["resnet50", "IMAGENET1K_V2"]
    assert resnet.address == models.ResNet50_Weights.IMAGENET1K_V2.url
    assert resnet.file == "resnet50-11ad3fa6.pth"
    assert resnet.parameters == 25_557_032
    for (name, tag), each in found.items():
        assert str(models.get_model_weights(name)[tag]).endswith(tag)
        assert each.licence == (
            "CC-BY-NC-4.0" if "SWAG" in tag else "not stated (code: BSD-3-Clause)"
        )
        licensed = models.get_model_weights(name)[tag].meta.get("license", "")
        assert ("SWAG" in tag) == ("SWAG" in licensed)


def test_every_tag_of_timm_is_listed_with_its_licence():
    found = by_name(TimmModel)
    assert {f"{name}.{tag}" for name, tag in found} == set(timm.list_pretrained())
    wsl = found["resnext101_32x8d", "fb_wsl_ig1b_ft_in1k"]
    assert wsl.licence == "cc-by-nc-4.0"
    assert wsl.file == "timm/resnext101_32x8d.fb_wsl_ig1b_ft_in1k/model.safetensors"
    assert wsl.address.endswith(
        "resnext101_32x8d.fb_wsl_ig1b_ft_in1k/resolve/main/model.safetensors"
    )
    assert all(each.address and each.file and each.licence for each in found.values())


def test_the_weights_of_cornet_and_slip_are_listed():
    [cornet] = CornetS.checkpoints()
    assert (cornet.name, cornet.weights) == ("cornet_s", "imagenet")
    assert "GPL-3" in cornet.licence
    assert cornet.parameters == 53_416_616
    slip = by_name(Slip)
    assert [tag for _, tag in slip] == ["100ep", "50ep", "25ep"]
    assert slip["slip_small", "50ep"].file == "slip_small_50ep.pt"


def test_the_checkpoints_of_the_panel_are_listed():
    found = by_name(Panel)
    assert [name for name, _ in found] == list(MEMBERS)
    assert {tag for _, tag in found} == {"published"}
    assert found["ResNeXt-101-WSL", "published"].licence == "cc-by-nc-4.0"
    assert "GPL-3" in found["CORNet-S", "published"].licence
    assert found["VGG19", "published"].file == "vgg19-dcbb9e9d.pth"


def test_where_a_library_is_missing_the_panel_still_lists_its_names(monkeypatch):
    monkeypatch.setitem(sys.modules, "actx_vision.models.open_clip_model", None)
    found = by_name(Panel)
    assert list(found)[8] == ("ResNet50-CLIP", "published")
    assert not found["ResNet50-CLIP", "published"].address
    assert found["ResNet50", "published"].address
