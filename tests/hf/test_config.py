"""Options of transformers models: names and paths, what does not go together, and no framework imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from actx_hf.models.config import TransformersConfig


def config(base=None, **options):
    return TransformersConfig.model_validate(options, context={"base": base} if base else None)


def test_defaults_are_exact_and_safe():
    options = config(name="gpt2")
    assert (options.dtype, options.attention, options.quantize, options.device_map, options.trust) == (
        "float32", "", "", "", False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["gpt2", "HuggingFaceTB/SmolLM2-135M"])
def test_a_name_of_the_hub_stays_text(name, tmp_path):
    assert config(tmp_path, name=name).name == name


def test_a_folder_is_a_path_from_the_pipeline_file(tmp_path):
    (tmp_path / "models" / "mine").mkdir(parents=True)
    for name in ("models/mine", "./models/mine", str(tmp_path / "models" / "mine")):
        found = config(tmp_path, name=name).name
        assert isinstance(found, Path)
        assert found.resolve() == (tmp_path / "models" / "mine").resolve()


def test_what_looks_like_a_path_is_one_even_if_it_is_not_there(tmp_path):
    assert config(tmp_path, name="./nowhere").name == tmp_path / "nowhere"
    assert config(tmp_path, name="models/tiny.gguf").name == tmp_path / "models" / "tiny.gguf"


@pytest.mark.parametrize(
    ("name", "label"),
    [("gpt2", "gpt2"), ("org/My-Model", "my-model"), ("./x/Tiny.Q4.gguf", "tiny.q4")],
)
def test_the_label_is_the_last_part_of_the_name(name, label):
    assert config(name=name).label() == label


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "expected a name of the hub, a folder or a GGUF file, found nothing"),
        ({"name": "./x", "revision": "v1"}, "expected no revision for the path 'x'"),
        ({"name": "a/b", "gguf": "b.bin"}, "expected 'gguf' to name a .gguf file, found 'b.bin'"),
        ({"name": "./a.gguf", "quantize": "4bit"}, "that is quantised already"),
        ({"name": "gpt2", "attention": "flash"}, "Input should be '', 'eager'"),
        ({"name": "gpt2", "quantize": "2bit"}, "Input should be '', '8bit' or '4bit'"),
        ({"name": "gpt2", "attn": "eager"}, "Extra inputs are not permitted"),
    ],
)
def test_bad_options_say_what_was_expected(options, message):
    with pytest.raises(ValidationError) as error:
        config(**options)
    assert message in str(error.value)


def test_options_import_no_framework():
    script = (
        "import sys; from actx_hf.models.config import TransformersConfig as C; C(name='gpt2');"
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
