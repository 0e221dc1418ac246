"""The JSON schema of pipelines against the loader, by the jsonschema package."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path

import pytest

from actx_core.config.jsonschema import json_schema
from actx_core.config.load import load_dict
from actx_core.errors import ConfigError

jsonschema = pytest.importorskip("jsonschema")

TOY = Path(__file__).parent / "toy"


@pytest.fixture
def errors(toy):
    """The errors of a pipeline as (dotted path, message), from a validator that knows no plugin."""
    schema = json.loads(json.dumps(json_schema()))
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)

    def errors(data):
        found = validator.iter_errors(data)
        return sorted((".".join(map(str, e.absolute_path)), e.message) for e in found)

    return errors


FULL = {
    "actx": 1,
    "run": {"out": "a", "seed": 3, "device": "cpu", "batch_size": 2},
    "source": [
        {"type": "files", "path": "x", "limit": 3, "fraction": 0.5},
        {"type": "toy/files", "path": "y", "as": "z", "seed": 1},
    ],
    "model": [
        {"type": "toy", "taps": ["a"], "weights": "w", "resize": {"size": 3, "mode": "nearest"}},
        {
            "type": "toy",
            "as": "b",
            "layers": [1, 2],
            "tap": [
                {
                    "match": ["x"],
                    "pool": [{"type": "average", "over": ["y"]}],
                    "axes": ["sample", "y"],
                },
                {"match": ["y"], "pool": {"type": "toy/average", "over": ["y"]}},
            ],
        },
        {"type": "bare", "taps": ["a"], "tap": {"match": ["x"], "store_dtype": "float16"}},
    ],
    "pool": [{"type": "average", "over": ["y"]}],
    "rows": {"keep": "a > 1", "sample": 0.5},
    "store": {"join": False, "dtype": "float16"},
    "executor": {"type": "farm", "workers": 2},
    "join": [{"path": "r.csv", "on": "id"}],
    "analyze": [{"type": "groups", "k": [1, 2], "on": ["z/**"], "as": "g"}],
    "export": {"format": "csv", "path": "x.csv", "digits": 3},
}


def test_right_pipelines_are_right(errors, plain):
    for data in (plain, FULL, tomllib.loads((TOY / "pipeline.toml").read_text())):
        load_dict(data)
        assert errors(data) == []


def test_store_and_executor_have_defaults(errors, plain):
    plain["store"] = {}
    plain["executor"] = {}
    assert errors(plain) == []
    plain["store"] = {"compression": 3}
    ((where, message),) = errors(plain)
    assert where == "store"
    assert "'compression' was unexpected" in message


def change(path, value):
    """FULL with one value changed; DELETE removes it."""
    data = copy.deepcopy(FULL)
    *way, last = path.split(".")
    node = data
    for key in way:
        node = node[int(key) if isinstance(node, list) else key]
    key = int(last) if isinstance(node, list) else last
    if value is DELETE:
        del node[key]
    else:
        node[key] = value
    return data


DELETE = object()


@pytest.mark.parametrize(
    ("path", "value", "where", "message"),
    [
        ("actx", 2, "actx", "1 was expected"),
        ("actx", DELETE, "", "'actx' is a required property"),
        ("modle", 1, "", "'modle' was unexpected"),
        ("run.seed", -1, "run.seed", "less than the minimum"),
        ("run.out", DELETE, "run", "'out' is a required property"),
        ("run.sed", 1, "run", "'sed' was unexpected"),
        ("source.0.type", "flies", "source.0.type", "'flies' is not one of"),
        ("source.0.type", DELETE, "source.0", "'type' is a required property"),
        ("source.0.path", DELETE, "source.0", "'path' is a required property"),
        ("source.0.limit", 0, "source.0.limit", "less than the minimum of 1"),
        ("source.1.fraction", 1.5, "source.1.fraction", "greater than the maximum"),
        ("source.1.widht", 1, "source.1", "'widht' was unexpected"),
        ("source", {"type": "files"}, "source", "'path' is a required property"),
        ("source", {"type": "files", "path": 3}, "source.path", "3 is not of type 'string'"),
        ("source", 3, "source", "3 is not of type 'object', 'array'"),
        ("model.0.taps", DELETE, "model.0", "'taps' is a required property"),
        ("model.0.taps", [], "model.0.taps", "non-empty"),
        ("model.0.taps", "a", "model.0.taps", "'a' is not of type 'array'"),
        ("model.0.width", "8", "model.0.width", "'8' is not of type 'integer'"),
        ("model.0.rate", 1, "model.0.rate", "greater than or equal to the maximum"),
        ("model.0.resize.mode", "x", "model.0.resize.mode", "'x' is not one of ['bilinear'"),
        ("model.1.tap.0.match", DELETE, "model.1.tap.0", "'match' is a required property"),
        ("model.1.tap.0.pool.0.type", "avg", "model.1.tap.0.pool.0.type", "'avg' is not one of"),
        ("model.1.tap.1.pool.over", DELETE, "model.1.tap.1.pool", "'over' is a required"),
        ("model.2.width", 3, "model.2", "'width' was unexpected"),
        ("model.2.tap.store_dtype", "f2", "model.2.tap.store_dtype", "'f2' is not one of"),
        ("pool.0.over", 3, "pool.0.over", "3 is not"),
        ("rows.sample", 0, "rows.sample", "less than or equal to the minimum"),
        ("store.type", "zarr", "store.type", "'zarr' is not one of"),
        ("executor.workers", 0, "executor.workers", "less than the minimum"),
        ("join.0.path", DELETE, "join.0", "'path' is a required property"),
        ("analyze.0.on", [], "analyze.0.on", "non-empty"),
        ("export.format", DELETE, "export", "'format' is a required property"),
        ("export.digits", "a", "export.digits", "'a' is not of type 'integer'"),
    ],
)
def test_wrong_ones_are_flagged_at_the_right_place(errors, path, value, where, message):
    data = change(path, value)
    found = errors(data)
    assert where in [place for place, _ in found]
    assert any(place == where and message in text for place, text in found), found
    with pytest.raises(ConfigError):
        load_dict(data)


def test_names_and_descriptions(toy):
    schema = json_schema()
    model = schema["definitions"]["model"]
    names = model["properties"]["type"]
    assert {"toy", "toy/toy", "bare", "module", "core/module"} <= set(names["enum"])
    assert "toy/toy: A model." in names["description"]
    (branch,) = [b for b in model["allOf"] if '"toy"' in json.dumps(b["if"])]
    assert branch["then"]["description"] == "A model.\n\nOptions of the toy."
    source = schema["definitions"]["source"]["allOf"]
    (files,) = [b for b in source if "files" in b["if"]["properties"]["type"]["enum"]]
    assert files["then"]["properties"]["path"]["description"] == "Where the files are."


def test_a_component_that_cannot_be_imported_allows_anything(errors, plain):
    plain["model"] = {"type": "gone", "taps": ["a"], "anything": 1}
    assert errors(plain) == []
    branches = json_schema()["definitions"]["model"]["allOf"]
    (gone,) = [b["then"] for b in branches if "gone" in json.dumps(b["if"])]
    assert "a_big_package" in gone["description"]


def test_a_name_of_two_plugins_needs_its_plugin(plugin_on_path, toy):
    plugin = (TOY / "toy_plugin.py").read_text().replace("toy_", "other_")
    plugin_on_path("other", plugin, other_config=(TOY / "toy_config.py").read_text())
    names = json_schema()["definitions"]["source"]["properties"]["type"]["enum"]
    assert "files" not in names
    assert {"toy/files", "other/files"} <= set(names)


def test_a_kind_without_components(plugin_on_path):
    plugin_on_path("nothing", "")
    schema = json_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["definitions"]["analyze"]["properties"]["type"]["enum"] == []


def test_the_schema_imports_no_torch(run_python, toy):
    code = "import sys; from actx_core.config.jsonschema import json_schema; json_schema()"
    assert run_python(f"{code}; print('torch' in sys.modules)", toy) == "False"
