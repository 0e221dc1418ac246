"""Vision transformers: images as the checkpoint prepares them, hook points by their canonical names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from actx_core import ModelError, Sample, extract
from actx_hf.hooks import read, resolve
from actx_hf.models.config import LoadedConfig
from actx_hf.models.vision_model import Vision

PROCESSORS = {"vit": "ViT", "clip": "CLIP", "dinov2": "Bit"}


@pytest.mark.parametrize("family", PROCESSORS)
def test_every_hook_point_of_an_image(saved, family):
    folder = saved(family)
    processor = getattr(transformers, f"{PROCESSORS[family]}ImageProcessorPil")(
        size={"height": 24, "width": 24} if family == "vit" else {"shortest_edge": 24},
        crop_size={"height": 24, "width": 24},
    )
    processor.save_pretrained(folder)
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 255, (30, 40, 3), np.uint8)) for _ in range(3)]
    model = Vision(LoadedConfig(name=str(folder), device="cpu", batch_size=2))
    network = transformers.AutoModel.from_pretrained(folder).eval()
    places = resolve(network).places
    assert len(places) > 15
    aliases = model.aliases()
    assert aliases.keys() == places.keys()
    found = extract(
        model, [Sample(str(n), image) for n, image in enumerate(images)], list(aliases.values())
    )
    inputs = processor(images=images, return_tensors="pt")
    with torch.no_grad():
        expected = read(network, places, {"pixel_values": inputs["pixel_values"]})
    for name, tap in aliases.items():
        want = expected[name].numpy()
        assert np.abs(found[tap] - want).max() <= 1e-5 * np.abs(want).max(), name


def test_places_and_errors_of_hook_points_are_told_by_tap(saved):
    told = Vision(LoadedConfig(name=str(saved("dinov2")), device="cpu")).check()
    place, _, error = told["encoder.layer.1.norm2@in"].partition("; ")
    assert place == "blocks.1.resid_mid: in encoder.layer.1.norm2"
    assert error.startswith("= resid_pre + attn_out, off by ")
    assert told["encoder.layer.0@in"].startswith("embed: in encoder.layer.0; blocks.0.resid_pre: ")


def test_where_no_image_size_is_told_the_processor_tells_it(tmp_path):
    torch.manual_seed(0)
    config = transformers.ResNetConfig(hidden_sizes=[8, 8], depths=[1, 1], embedding_size=8)
    network = transformers.ResNetModel(config).eval()
    network.save_pretrained(tmp_path)
    processor = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))
    name = "encoder.stages.1"
    model = Vision(LoadedConfig(name=str(tmp_path), device="cpu"))
    found = extract(model, [Sample("a", image)], [name])[name]
    pixels = processor(images=[image], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = network(pixels).last_hidden_state.numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_language_model_is_refused(saved):
    with pytest.raises(ModelError, match="LlamaModel takes texts"):
        Vision(LoadedConfig(name=str(saved("llama")), device="cpu")).taps()
