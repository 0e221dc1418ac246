"""open_clip models as actx models: both towers, equal to open_clip's own, and what can go wrong."""

import copy
import json
import warnings

import numpy as np
import open_clip
import pytest
import torch
from open_clip import factory, pretrained
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file

from actx_core import ModelError, Sample, TapError, extract
from actx_core.extract import Extraction, Want
from actx_core.testing import ModelTests
from actx_core.torch import probe
from actx_vision.models import open_clip_model
from actx_vision.models.open_clip_config import OpenClipConfig
from actx_vision.models.open_clip_model import ImageTower, OpenClip, TextTower

RNG = np.random.default_rng(4)
PICTURES = [Image.fromarray(RNG.integers(0, 256, (60, 90, 3), np.uint8)) for _ in range(3)]
SAMPLES = [Sample(str(n), picture) for n, picture in enumerate(PICTURES)]
TEXTS = [
    "a photo of a cat",
    "stop!~",
    "",
    "one two three four five six seven eight nine ten eleven",
]
SENTENCES = [Sample(str(n), text) for n, text in enumerate(TEXTS)]

VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 10, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
RESNET = {
    **VIT,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16},
}
TIMM = {**VIT, "vision_cfg": {"image_size": 64, "timm_model_name": "test_convnext"}}
COCA = {
    **VIT,
    "custom_text": True,
    "vision_cfg": {
        **VIT["vision_cfg"],
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "output_tokens": True,
    },
    "text_cfg": {**VIT["text_cfg"], "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {
        "context_length": 10,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 1,
    },
}
TINY = {"tiny-vit": VIT, "tiny-resnet": RESNET, "tiny-timm": TIMM, "tiny-coca": COCA}


@pytest.fixture(autouse=True, scope="module")
def tiny(tmp_path_factory):
    """Small architectures, and tags of theirs, known to open_clip for this module."""
    folder = tmp_path_factory.mktemp("configs")
    for name, options in TINY.items():
        (folder / f"{name}.json").write_text(json.dumps(options))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
        patch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
        entry = {"hf_hub": "timm/tiny/", "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}
        tags = {
            "plain": entry | {"interpolation": "bicubic", "resize_mode": "shortest"},
            "gelu": entry
            | {"interpolation": "bicubic", "resize_mode": "shortest", "quick_gelu": True},
            "squashed": entry | {"interpolation": "bilinear", "resize_mode": "squash"},
        }
        patch.setitem(pretrained._PRETRAINED, "tiny-vit", tags)
        open_clip.add_model_config(folder)
        yield


def made(name, weights="random", **options):
    return OpenClip(OpenClipConfig(name=name, weights=weights, device="cpu", **options))


def upstream(name, **options):
    """open_clip's own model, with weights of which no two are alike."""
    torch.manual_seed(7)
    model = open_clip.create_model(name, pretrained_text=False, **options).eval()
    for buffer in model.buffers():
        if buffer.is_floating_point() and buffer.isfinite().all():
            buffer.uniform_(0.5, 1.5)
    for parameter in model.parameters():
        if parameter.ndim < 2:
            parameter.data.uniform_(0.5, 1.5)
    return model


def saved(model, folder):
    file = folder / "weights.safetensors"
    save_file({key: value.contiguous().clone() for key, value in model.state_dict().items()}, file)
    return str(file)


def hooked(module, call, names):
    """Activations by plain hooks, copied before anything later can change them in place."""
    kept = {}
    for name in names:
        module.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: kept.update(
                {name: (output[0] if isinstance(output, tuple) else output).clone()}
            )
        )
    with torch.inference_mode():
        return kept, call()


def close(found, expected):
    expected = expected.numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * scale)


# Image tower


@pytest.mark.parametrize(
    ("name", "taps"),
    [
        (
            "tiny-vit",
            ["conv1", "ln_pre", "transformer.resblocks.1.attn", "transformer.resblocks.0.mlp.c_fc"],
        ),
        ("tiny-resnet", ["conv1", "layer1.0.conv2", "layer4", "attnpool"]),
        ("tiny-timm", ["trunk.stem", "trunk.stages.1", "head.proj"]),
    ],
)
def test_the_image_tower_equals_hooks_and_encode_image(name, taps, tmp_path):
    theirs = upstream(name)
    model = made(name, saved(theirs, tmp_path))
    arrays = extract(model, SAMPLES, [*taps, "output"])
    inputs = model.prepare(SAMPLES).inputs
    kept, result = hooked(theirs.visual, lambda: theirs.encode_image(inputs), taps)
    close(arrays.pop("output"), result)
    assert arrays.keys() == kept.keys() == set(taps)
    for tap, array in arrays.items():
        close(array, kept[tap])


def test_axes_of_the_image_tower():
    taps = {tap.name: tap for tap in made("tiny-vit").taps()}
    assert taps["conv1"].axes == ("sample", "channel", "y", "x")
    assert taps["transformer.resblocks.0"].axes == ("sample", "token", "channel")
    assert taps["transformer.resblocks.0"].shape == (5, 32)
    assert taps["output"].shape == (24,)


def test_taps_that_never_fire_are_named():
    problems = {tap.name: tap.problem for tap in made("tiny-vit").taps() if tap.problem}
    assert "never called" in problems["transformer.resblocks.0.attn.out_proj"]
    problems = {tap.name: tap.problem for tap in made("tiny-resnet").taps() if tap.problem}
    assert {"attnpool.q_proj", "attnpool.k_proj", "attnpool.v_proj", "attnpool.c_proj"} <= set(
        problems
    )
    with pytest.raises(TapError, match="never called"):
        made("tiny-vit").open(["transformer.resblocks.0.attn.out_proj"])


def test_the_axis_of_samples_is_found_wherever_it_lies():
    torch.manual_seed(0)
    blocks = open_clip.transformer.Transformer(8, 2, 2, batch_first=False).eval()
    inputs = torch.randn(3, 4, 8)
    with probe(blocks, ["resblocks.*"]) as watching:
        found = watching(inputs)
    kept, result = hooked(blocks, lambda: blocks(inputs), ["resblocks.0", "resblocks.1"])
    assert kept["resblocks.0"].shape == (4, 3, 8)  # length first inside
    for name, array in kept.items():
        torch.testing.assert_close(found[name], array.transpose(0, 1))
    torch.testing.assert_close(result, kept["resblocks.1"].transpose(0, 1))


def test_quick_gelu_comes_with_the_tag(tmp_path):
    quick = upstream("tiny-vit", force_quick_gelu=True)
    exact = upstream("tiny-vit")
    folder = tmp_path / "timm" / "tiny"
    folder.mkdir(parents=True)
    saved(quick, folder)
    (folder / "weights.safetensors").rename(folder / "open_clip_model.safetensors")
    inputs = made("tiny-vit", "gelu").prepare(SAMPLES).inputs
    with torch.inference_mode():
        expected = {"gelu": quick.encode_image(inputs), "plain": exact.encode_image(inputs)}
    assert not torch.allclose(*expected.values())
    for tag, result in expected.items():
        model = made("tiny-vit", tag, weights_dir=str(tmp_path))
        close(extract(model, SAMPLES, ["output"])["output"], result)


@pytest.mark.parametrize("size", [(90, 60), (33, 200), (20, 16), (32, 32)])
@pytest.mark.parametrize("tag", ["plain", "squashed"])
def test_pixels_are_those_of_open_clip(tag, size):
    picture = Image.fromarray(RNG.integers(0, 256, (*size, 3), np.uint8))
    options = open_clip.get_pretrained_cfg("tiny-vit", tag)
    theirs = image_transform_v2(
        PreprocessCfg(**merge_preprocess_dict(PreprocessCfg(size=32), options)), is_train=False
    )
    ours = made("tiny-vit", tag).prepare([Sample("a", picture)]).inputs[0]
    assert torch.equal(ours, theirs(picture))


@pytest.mark.parametrize(
    ("name", "tag"),
    [("ViT-B-16", "openai"), ("ViT-B-32", "laion2b_s34b_b79k"), ("RN50", "openai"),
     ("ViT-L-14", "laion2b_s32b_b82k"), ("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup"),
     ("ViT-B-16-SigLIP", "webli"), ("ViT-L-14-CLIPA", "datacomp1b"), ("MobileCLIP-S1", "datacompdr")],
)  # fmt: skip
def test_pixels_of_published_tags(name, tag):
    vision = open_clip.get_model_config(name)["vision_cfg"]
    cfg = PreprocessCfg(size=vision.get("image_size", 224))
    cfg = PreprocessCfg(**merge_preprocess_dict(cfg, open_clip.get_pretrained_cfg(name, tag)))
    model = made(name, tag)
    ours = model.prepare(SAMPLES[:1]).inputs[0]
    assert torch.equal(ours, image_transform_v2(cfg, is_train=False)(PICTURES[0]))
    assert " at 0x" not in str(model.describe())  # the same in every process


def test_random_weights_take_the_preprocessing_that_all_tags_share():
    assert made("ViT-B-16-SigLIP").weights_transform().steps.mean == (0.5, 0.5, 0.5)
    assert made("tiny-vit").weights_transform().steps.mean == open_clip.OPENAI_DATASET_MEAN
    mean = open_clip.get_pretrained_cfg("tiny-vit", "plain")["mean"]
    assert made("tiny-vit", "plain").weights_transform().steps.mean == mean


def test_preprocessing_can_be_changed():
    model = made("tiny-vit", preprocess={"mean": (0, 0, 0), "std": (1, 1, 1)})
    assert 0 <= model.prepare(SAMPLES).inputs.min() <= model.prepare(SAMPLES).inputs.max() <= 1


# Text tower


def rows(model, taps):
    """Arrays and tables of rows as a run stores them."""
    wants = {t.name: Want(t, (), t, t.dtype) for t in model.taps() if t.name in taps}
    run = Extraction(model, wants)
    run.open()
    found = run.forward(run.prepare(SENTENCES))()
    model.close()
    return found.arrays, found.tables


@pytest.mark.parametrize("name", ["tiny-vit", "tiny-resnet"])
def test_the_text_tower_equals_hooks_and_encode_text(name, tmp_path):
    theirs = upstream(name)
    model = made(name, saved(theirs, tmp_path), tower="text")
    taps = [
        "token_embedding",
        "transformer.resblocks.0",
        "transformer.resblocks.1.attn",
        "ln_final",
    ]
    arrays, tables = rows(model, [*taps, "output"])
    ids = open_clip.get_tokenizer(name)(TEXTS)
    kept, result = hooked(theirs, lambda: theirs.encode_text(ids), taps)
    close(arrays.pop("output"), result)
    counts = [7, 5, 2, 10]
    assert tables["sample"]["tokens"].tolist() == counts
    assert tables["sample"]["truncated"].tolist() == [False, False, False, True]
    for tap, array in arrays.items():
        expected = torch.cat([kept[tap][n, :count] for n, count in enumerate(counts)])
        close(array, expected)


def test_token_rows_say_what_they_are():
    tokenizer = open_clip.get_tokenizer("tiny-vit")
    ids = tokenizer(TEXTS).numpy()
    assert 0 in ids[1, :5]  # the id of '!' is that of the padding
    _, tables = rows(made("tiny-vit", tower="text"), ["ln_final"])
    tokens = tables["token"]
    assert tokens["sample"].tolist() == ["0"] * 7 + ["1"] * 5 + ["2"] * 2 + ["3"] * 10
    assert tokens["token_id"].tolist() == [*ids[0, :7], *ids[1, :5], *ids[2, :2], *ids[3]]
    ends = np.isin(tokens["token_id"], [tokenizer.sot_token_id, tokenizer.eot_token_id])
    assert tokens["special"].tolist() == ends.tolist()
    assert ends.sum() == 8
    assert tokens["position"].tolist() == tokens["token"].tolist()
    assert (
        tokenizer.decode(tokens["token_id"][7:12].tolist())
        == "<start_of_text>stop !~ <end_of_text>"
    )


def test_a_class_token_that_is_appended(tmp_path):
    theirs = upstream("tiny-coca")
    model = made("tiny-coca", saved(theirs, tmp_path), tower="text")
    problems = {tap.name: tap.problem for tap in model.taps() if tap.problem}
    assert "class token" in problems["token_embedding"]
    arrays, tables = rows(model, ["transformer.resblocks.1", "output.0"])
    ids = open_clip.get_tokenizer("tiny-coca")(TEXTS)
    kept, result = hooked(
        theirs.text, lambda: theirs.encode_text(ids, normalize=False), ["transformer.resblocks.1"]
    )
    close(arrays["output.0"], result)
    block = kept["transformer.resblocks.1"]
    expected = [
        torch.cat([block[n, :count], block[n, -1:]]) for n, count in enumerate([7, 5, 2, 10])
    ]
    close(arrays["transformer.resblocks.1"], torch.cat(expected))
    tokens = tables["token"]
    assert tokens["token"][7] == 10
    assert (tokens["token_id"][7], tokens["special"][7]) == (-1, True)


def test_a_text_as_the_model_gets_it():
    model = made("tiny-vit", tower="text")
    previews = model.preview(model.prepare(SENTENCES[:1]))
    assert previews[0].data == "<start_of_text>a photo of a cat <end_of_text>"


def test_preprocess_is_not_for_texts():
    with pytest.raises(ValidationError, match="gets texts, not pictures"):
        OpenClipConfig(name="ViT-B-16", weights="random", tower="text", preprocess={"crop": 8})


def test_a_tokenizer_of_transformers(tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason="some towers take their tokenizer from transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "photo", "of", "cat", "!"]
    from transformers import BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    text = {
        **VIT["text_cfg"],
        "vocab_size": 9,
        "hf_tokenizer_name": str(tmp_path),
        "pool_type": "last",
    }
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny-bert", {**VIT, "text_cfg": text})
    _, tables = rows(made("tiny-bert", tower="text"), ["ln_final"])
    assert tables["sample"]["tokens"].tolist() == [7, 5, 2, 10]
    assert tables["sample"]["truncated"].tolist() == [False, False, False, True]
    assert tables["token"]["token_id"][:7].tolist() == [2, 4, 5, 6, 4, 7, 3]
    assert tables["token"]["special"][:7].tolist() == [True, *[False] * 5, True]


def test_a_tokenizer_that_is_not_to_be_had(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network here\nand more")

    monkeypatch.setattr(open_clip, "get_tokenizer", refuse)
    with pytest.raises(
        ModelError, match="tokenizer of 'tiny-vit' is not to be had: no network here"
    ):
        made("tiny-vit", tower="text").prepare(SENTENCES)


# Weights


def test_one_class_per_tower():
    assert type(made("tiny-vit")) is ImageTower
    assert type(made("tiny-vit", tower="text")) is TextTower
    assert (made("tiny-vit").accepts, made("tiny-vit", tower="text").accepts) == ("image", "text")


def test_random_weights_follow_the_seed():
    first, again, other = (made("tiny-vit", seed=seed).fingerprint() for seed in (0, 0, 1))
    assert first == again != other


def test_names_and_tags_that_do_not_exist():
    with pytest.raises(ModelError, match="no model called 'ViT-B-61'") as caught:
        made("ViT-B-61")
    assert "'ViT-B-16'" in caught.value.hint
    with pytest.raises(ModelError, match="'ViT-B-16' has no weights called 'openia'") as caught:
        made("ViT-B-16", "openia")
    assert caught.value.hint == "did you mean 'openai'?"
    with pytest.raises(ModelError, match="no weights called 'DEFAULT'") as caught:
        made("RN50", "DEFAULT")
    assert caught.value.hint == "there are: openai, yfcc15m, cc12m, random, or a file"
    with pytest.raises(ValidationError, match="say which weights"):
        OpenClipConfig(name="RN50")


def test_a_file_that_does_not_fit(tmp_path):
    state = upstream("tiny-vit").state_dict()
    state.pop("visual.proj")
    torch.save(state, tmp_path / "short.pt")
    with pytest.raises(
        ModelError, match="do not fit open_clip's 'tiny-vit'.*visual.proj"
    ) as caught:
        made("tiny-vit", str(tmp_path / "short.pt")).fingerprint()
    assert caught.value.where.endswith("short.pt")


@pytest.mark.parametrize(
    ("part", "key"),
    [("vision_cfg", "visual.positional_embedding"), ("text_cfg", "positional_embedding")],
)
def test_weights_for_another_size_are_not_stretched(part, key, tmp_path, monkeypatch):
    options = copy.deepcopy(VIT)
    options[part] |= {"vision_cfg": {"image_size": 64}, "text_cfg": {"context_length": 20}}[part]
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny-large", options)
    file = saved(upstream("tiny-large"), tmp_path)
    with pytest.raises(ModelError, match=f"expected {key} of shape"):
        made("tiny-vit", file).fingerprint()


class Payload:
    def __reduce__(self):
        return print, ("this must not run",)


def test_only_weights_are_read(tmp_path, capsys):
    torch.save({"x": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="weights_only"):
        made("tiny-vit", str(tmp_path / "evil.pt")).fingerprint()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(1, 1)).save(str(tmp_path / "RN50.pt"))
    with pytest.raises(ModelError, match="cannot be read with weights_only"):
        made("tiny-vit", str(tmp_path / "RN50.pt")).fingerprint()
    assert "this must not run" not in capsys.readouterr().out


def refuse(address):
    raise OSError("no network here")


@pytest.mark.parametrize("folder", [True, False])
def test_weights_that_cannot_be_had(monkeypatch, tmp_path, folder):
    monkeypatch.delenv("ACTX_WEIGHTS", raising=False)
    monkeypatch.setattr(open_clip_model, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(open_clip_model, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(open_clip_model, "knock", refuse)
    options = {"weights_dir": str(tmp_path)} if folder else {}
    with pytest.raises(
        ModelError, match="'tiny-vit plain' are not on this machine.*no network here"
    ) as caught:
        made("tiny-vit", "plain", **options).fingerprint()
    assert "timm/tiny/resolve/main/open_clip_model.safetensors elsewhere" in caught.value.hint
    assert "timm/tiny/open_clip_model.safetensors" in caught.value.hint.partition(" and put it ")[2]
    assert "\n" not in str(caught.value)


def test_weights_in_the_cache_of_the_hub(monkeypatch, tmp_path):
    theirs = upstream("tiny-vit")
    file = saved(theirs, tmp_path)
    asked = []

    def cached(repository, name):
        asked.append((repository, name))
        return file if name.endswith(".bin") else None

    monkeypatch.setattr(open_clip_model, "try_to_load_from_cache", cached)
    model = made("tiny-vit", "plain")
    inputs = model.prepare(SAMPLES).inputs
    with torch.inference_mode():
        close(extract(model, SAMPLES, ["output"])["output"], theirs.encode_image(inputs))
    assert asked == [
        ("timm/tiny", "open_clip_model.safetensors"),
        ("timm/tiny", "open_clip_pytorch_model.bin"),
    ]


def test_every_published_tag_is_listed():
    found = {(c.name, c.weights): c for c in OpenClip.checkpoints()}
    assert list(found) == open_clip.list_pretrained()
    assert all(c.address.startswith("https://") and c.file for c in found.values())
    assert len({c.file for c in found.values()}) > 100  # one folder of weights holds them all
    openai = found["ViT-B-16", "openai"]
    assert (openai.licence, openai.file) == (
        "MIT", "timm/vit_base_patch16_clip_224.openai/open_clip_model.safetensors",
    )  # fmt: skip
    assert found["ViT-B-16", "laion2b_s34b_b88k"].licence == "MIT"
    assert found["RN50", "yfcc15m"].licence == "not stated"
    assert found["ViTamin-S", "datacomp1b"].file == "jienengchen/ViTamin-S/pytorch_model.bin"


def test_a_real_architecture():
    theirs = open_clip.create_model(
        "ViT-B-32", force_quick_gelu=True, device=torch.device("meta")
    ).eval()
    theirs.visual.to_empty(device="cpu")
    for parameter in theirs.visual.parameters():
        parameter.data.uniform_(-0.05, 0.05)
    model = made("ViT-B-32", "openai")
    listed = {tap.name: tap for tap in model.taps()}
    assert listed["transformer.resblocks.5.mlp.c_fc"].shape == (50, 3072)
    assert not any(listed[name].problem for name in model.presets()["ann_pipe"])
    with torch.device("meta"):
        module = model.build().eval()  # the architecture that the tag wants
    module.load_state_dict(theirs.visual.state_dict(), assign=True)
    inputs = model.prepare(SAMPLES[:1]).inputs
    with torch.inference_mode():
        assert torch.equal(module(inputs), theirs.encode_image(inputs))


class TestImageTower(ModelTests):
    most = 3

    @pytest.fixture
    def model(self):
        return made("tiny-vit", batch_size=2)

    @pytest.fixture
    def samples(self):
        return SAMPLES


class TestTextTower(ModelTests):
    most = 3

    @pytest.fixture
    def model(self):
        return made("tiny-coca", tower="text", batch_size=2)

    @pytest.fixture
    def samples(self):
        return SENTENCES
