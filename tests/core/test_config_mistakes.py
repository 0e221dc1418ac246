"""Wrong pipelines: every mistake at once, in its place, in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest

from actx_core.config.load import load_dict, load_file
from actx_core.errors import ConfigError

TOY = Path(__file__).parent / "toy"
GOOD = (TOY / "pipeline.toml").read_text()

pytestmark = pytest.mark.usefixtures("toy")


def test_every_mistake_at_once_in_the_order_of_the_file(wrong):
    text = """\
    actx = 1
    modle = 3
    [run]
    out = "a"
    batch_size = 0
    seed = "1"
    [source]
    type = "file"
    path = "x"
    limit = 0
    [[model]]
    type = "toy"
    nme = "x"
    width = "wide"
    trust = 1
    [[model]]
    type = "toy"
    taps = []
    rate = 1.5
    resize = { size = 1.5, mod = "x" }
    names = ["a", 1]
    layers = "x"
    [pool]
    type = "averge"
    [rows]
    keep = "len(x) > 1"
    sample = 2
    [executor]
    type = "farm"
    [[export]]
    format = "csv"
    """
    assert wrong(text) == [
        "2:1: unknown key 'modle'  hint: did you mean 'model'?",
        "5:1: 'batch_size' must be at least 1, found 0",
        "6:1: 'seed' must be a whole number, found '1'",
        "8:1: no source is called 'file'  hint: did you mean 'files'?",
        "10:1: 'limit' must be at least 1, found 0",
        "11:3: the model has no 'taps'  hint: such as taps = [\"layer*\"]; `actx layers` lists them",
        "13:1: unknown key 'nme'  hint: did you mean 'name' or 'names'?",
        "14:1: 'width' must be a whole number, found 'wide'",
        "15:1: 'trust' must be true or false, found 1",
        "18:1: 'taps' must be a list of at least 1, found an empty list",
        "19:1: 'rate' must be below 1, found 1.5",
        "20:12: 'resize.size' must be a whole number, found 1.5",
        "20:24: unknown key 'mod'  hint: did you mean 'mode'?",
        "21:15: 'names.1' must be text in quotes, found 1",
        "22:1: 'layers' must be a whole number or a list, found 'x'",
        "24:1: no pooler is called 'averge'  hint: did you mean 'average'?",
        "26:9: keep, column 1: a function call is not allowed  hint: allowed are column names,"
        " numbers, 'text', True, False, and, or, not, == != < <= > >=, in (…), not in (…), + - * / %",
        "27:1: 'sample' must be at most 1, found 2",
        "28:2: 'workers' is missing  hint: How many.",
        "30:3: 'path' is missing  hint: Where the export goes, relative to the pipeline file.",
    ]


def test_the_name_of_the_file_is_shown_as_given(write, monkeypatch, problems):
    path = write("actx = 1\n")
    monkeypatch.chdir(path.parent)
    with pytest.raises(ConfigError) as caught:
        load_file("pipeline.toml")
    assert [str(p) for p in caught.value.problems] == [
        'pipeline.toml:1:1: there is no [run]  hint: add [run] with out = "…"',
        'pipeline.toml:1:1: there is no [source]  hint: add [source] with type = "…"',
        'pipeline.toml:1:1: there is no [model]  hint: add [model] with type = "…"',
    ]
    assert (caught.value.exit_code, caught.value.where) == (2, "pipeline.toml:1:1")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "",
            "1:1: 'actx', the version of the file's format, is missing  hint: the first line is actx = 1",
        ),
        (
            "actx = true",
            "1:1: 'actx' must be a whole number, found true  hint: the first line is actx = 1",
        ),
        ("actx = 2", "1:1: the file has format 2, this actx reads format 1  hint: install"),
    ],
)
def test_version_of_the_format(wrong, line, expected):
    (problem,) = wrong(GOOD.replace("actx = 1", line))
    assert problem.startswith(expected)


def test_another_version_is_the_only_mistake_reported(wrong):
    assert len(wrong("actx = 2\nfuture = 3\n")) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = \n", "1:5: not valid TOML: invalid value  hint: text stands in quotes"),
        ("a = 1\nb = resnet\n", "2:5: not valid TOML: invalid value  hint: text stands in quotes"),
        ("a = 1\na = 2\n", "2:6: not valid TOML: cannot overwrite a value  hint: each key"),
        (
            "[a]\n[b]\n[a]\n",
            "3:3: not valid TOML: cannot declare ('a',) twice  hint: write [[name]]",
        ),
        ("a = [1,\n", "2:1: not valid TOML: invalid value"),
        ("a = 'x", "1:7: not valid TOML: expected"),
        ('p = "C:\\q"', "1:10: not valid TOML: unescaped '\\' in a string  hint: write '…'"),
    ],
)
def test_syntax(wrong, text, expected):
    (problem,) = wrong(text)
    assert problem.startswith(expected)


def test_deep_nesting(write):
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_file(write("a = " + "[" * 100_000))


def test_file_that_cannot_be_read(tmp_path, write):
    with pytest.raises(ConfigError, match=r"none.toml: cannot read the pipeline: no such file"):
        load_file(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is a directory"):
        load_file(tmp_path)
    with pytest.raises(ConfigError, match=r"toml:2:6: not UTF-8: found the byte 0xe9") as caught:
        load_file(write(b"a = 1\nb = 'caf\xe9'".replace(b"caf", b"")))
    assert caught.value.hint == "save the file as UTF-8"


def test_windows_line_ends_and_byte_order_mark(write, problems):
    text = "\ufeff" + GOOD.replace("taps", "tips").replace("\n", "\r\n")
    with pytest.raises(ConfigError) as caught:
        load_file(write(text.encode()))
    assert [p.where.rpartition("toml:")[2] for p in caught.value.problems] == ["12:3", "14:1"]
    load_file(write(("\ufeff" + GOOD.replace("\n", "\r\n")).encode()))


def test_missing_type(wrong):
    text = GOOD.replace('type = "toy"\n', "").replace('type = "files"', "type = 3")
    assert wrong(text) == [
        "9:1: 'type' must be text in quotes, found 3",
        "12:3: 'model' has no 'type'  hint: there are: bare, gone, module, odd, torn, toy",
    ]


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("tpy", "no model is called 'tpy'", "did you mean 'toy'"),
        ("toy/tpy", "no model is called 'toy/tpy'", "did you mean 'toy'"),
        (
            "gone",
            "model 'toy/gone' failed to import: No module named 'a_big_package'",
            "pip install 'toy[big]'",
        ),
        ("torn", "torn apart", ""),
        ("odd", "model 'toy/odd': its options are no Config", ""),
    ],
)
def test_components_that_cannot_be_used(name, message, hint, problems):
    ((where, said, advice),) = problems(lambda p: p["model"].update(type=name))
    assert where == "model.type"
    assert message in said
    assert hint in advice


def test_two_plugins_with_one_name(plugin_on_path, plain, problems):
    plugin = (TOY / "toy_plugin.py").read_text().replace("toy_", "other_")
    plugin_on_path("other", plugin, other_config=(TOY / "toy_config.py").read_text())
    found = problems(lambda p: p["model"].update(name=3))
    assert found == [
        (
            "source.type",
            "2 plugins offer the source 'files'",
            "say which: 'other/files', 'toy/files'",
        ),
        ("model.type", "2 plugins offer the model 'toy'", "say which: 'other/toy', 'toy/toy'"),
    ]
    plain["source"]["type"], plain["model"]["type"] = "other/files", "toy/toy"
    assert load_dict(plain).sources[0].component.plugin == "other"


def test_a_pooler_must_be_one(wrong):
    (problem,) = wrong(GOOD + "[pool]\ntype = 'notpool'\n")
    assert problem.startswith("20:1: pooler 'toy/notpool': its options are no Pooler")


def test_a_component_without_config_takes_core_keys_only(plain, problems):
    plain["model"] = {"type": "bare", "taps": ["a"], "as": "b"}
    assert load_dict(plain).models[0].id == "b"
    found = problems(lambda p: p["model"].update(type="bare", width=3, tps=[]))
    assert found == [
        ("model.width", "unknown key 'width'", "allowed: as, tap, taps, type"),
        ("model.tps", "unknown key 'tps'", "did you mean 'taps' or 'tap'?"),
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"even": 3}, ("model.even", "'even': expected an even number", "")),
        ({"name": "huge"}, ("model", "a huge model needs width >= 100", "")),
        ({"name": "secret"}, ("model", "no weights are known for 'secret'", "take 'small'")),
        (
            {"resize": {"mode": "bicubc"}},
            (
                "model.resize.mode",
                "'resize.mode' must be 'bilinear', 'bicubic' or 'nearest', found 'bicubc'",
                "did you mean 'bicubic'?",
            ),
        ),
        ({"resize": 3}, ("model.resize", "'resize' must be a table, found 3", "")),
        ({"step": {"mod": 1}}, ("model.step.mod", "unknown key 'mod'", "did you mean 'mode'?")),
        ({"step": 3}, ("model.step", "'step' must be a table or text in quotes, found 3", "")),
        (
            {"layers": [1, "2"]},
            ("model.layers.1", "'layers.1' must be a whole number, found '2'", ""),
        ),
        ({"layers": "2"}, ("model.layers", "'layers' must be a whole number, found '2'", "")),
        ({"width": True}, ("model.width", "'width' must be a whole number, found true", "")),
        ({"width": 2.0}, ("model.width", "'width' must be a whole number, found 2.0", "")),
        ({"width": 600}, ("model.width", "'width' must be at most 512, found 600", "")),
        ({"rate": "0.5"}, ("model.rate", "'rate' must be a number, found '0.5'", "")),
        ({"rate": {}}, ("model.rate", "'rate' must be a number, found a table", "")),
        ({"trust": "yes"}, ("model.trust", "'trust' must be true or false, found 'yes'", "")),
        ({"name": 18}, ("model.name", "'name' must be text in quotes, found 18", "")),
        ({"weights": 1}, ("model.weights", "'weights' must be a path in quotes, found 1", "")),
        ({"taps": "layer1"}, ("model.taps", "'taps' must be a list, found 'layer1'", "")),
        ({"taps": [1]}, ("model.taps.0", "'taps.0' must be text in quotes, found 1", "")),
        ({"tap": 3}, ("model.tap", "'model.tap' must be a table, found 3", "")),
        (
            {"tap": [{"match": ["a"], "pol": 1}]},
            ("model.tap.0.pol", "unknown key 'pol'", "did you mean 'pool'?"),
        ),
        (
            {"tap": {"match": ["a"], "store_dtype": "f2"}},
            (
                "model.tap.store_dtype",
                "'store_dtype' must be '', 'float64', 'float32', 'float16', 'bfloat16' or"
                " 'int8_per_channel', found 'f2'",
                "",
            ),
        ),
        (
            {"tap": {"match": ["a"], "axes": ["token"]}},
            (
                "model.tap.axes",
                "'axes': expected 'sample' first and each name once, found ['token']",
                "",
            ),
        ),
        (
            {"tap": [{"match": ["a"], "pool": [{"type": "average"}]}]},
            ("model.tap.0.pool.0", "'over' is missing", ""),
        ),
        ({"free": object}, ("model.free", "'model.free' must be plain data, found a type", "")),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_one_wrong_option(options, expected, problems):
    assert problems(lambda p: p["model"].update(options)) == [expected]


def test_numbers_and_names_that_are_right_though_unlike(plain):
    plain["model"] |= {
        "rate": 0.25,
        "layers": [1, 2],
        "names": "one",
        "step": "x",
        "free": {"a": [1.5]},
    }
    config = load_dict(plain).models[0].config
    assert (config.names, config.layers, config.step, config.free) == (
        ("one",),
        [1, 2],
        "x",
        {"a": [1.5]},
    )
    plain["model"]["rate"] = float("nan")
    with pytest.raises(ConfigError, match="'rate' must be"):
        load_dict(plain)


def test_tables_of_the_wrong_shape(problems):
    found = problems(
        lambda p: p.update(run=3, source="x", rows=[], store=[{}], executor="local", analyze=[1])
    )
    assert [(where, message) for where, message, _ in found] == [
        ("run", "'run' must be a table, found 3"),
        ("source", "'source' must be a table, found 'x'"),
        ("rows", "'rows' must be a table, found an empty list"),
        ("store", "'store' must be a table, found a list"),
        ("executor", "'executor' must be a table, found 'local'"),
        ("analyze.0", "'analyze.0' must be a table, found 1"),
    ]


def test_keep_points_into_the_expression(wrong, write):
    cases = {
        'keep = "a and f(x)"': "20:15",
        "keep = 'a and f(x)'": "20:15",
        'keep = """a and f(x)"""': "20:17",
        "keep = '''\na\n and f(x)'''": "22:6",
        'keep = "a == \\"\\" and f(x)"': "20:1",  # escapes: the key
        'keep = "a\\u0020and f(x)"': "20:1",
        'keep = "f(x) == \\"\\""': "20:9",
    }
    for line, where in cases.items():
        (problem,) = wrong(f"{GOOD}[rows]\n{line}\n")
        assert problem.startswith(f"{where}: keep, column"), line


def test_keep_in_a_dict(problems):
    ((where, message, hint),) = problems(lambda p: p.update(rows={"keep": "a.b"}))
    assert (where, message) == ("rows.keep", "keep, column 1: a dot behind a name is not allowed")
    assert hint.startswith("allowed are")
