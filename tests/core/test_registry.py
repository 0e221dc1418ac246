"""The registry, through real discovery of plugins that exist for one test."""

from __future__ import annotations

import pytest

from actx_core.errors import ComponentConflict, ComponentNotFound, PluginError
from actx_core.registry import registry

MODEL = """
from actx_core import Component, hookimpl

@hookimpl
def actx_models():
    yield Component("tiny", "{name}_model:Tiny", "A model.", config="{name}_model:Options")
"""
CLASSES = """
from actx_core.contracts import Config

class Options(Config):
    width: int = 1

class Tiny:
    pass
"""


def plugin(name="one"):
    return MODEL.format(name=name)


def row(name):
    return next(p for p in registry().plugins if p.name == name)


def test_a_plugin_is_found_and_its_components_resolve(plugin_on_path):
    plugin_on_path("one", plugin(), one_model=CLASSES)
    found = row("one")
    assert (found.status, found.distribution, found.version) == ("ok", "one", "0.0.0")
    assert (found.error, found.traceback, found.missing) == ("", "", {})
    component = registry().find("model", "tiny")
    assert (component.plugin, component.kind, component.summary) == ("one", "model", "A model.")
    assert registry().find("model", "one/tiny") == component
    assert component in registry().all("model")
    assert component not in registry().all("source")
    assert registry().load(component).__name__ == "Tiny"
    assert registry().load_config(component)(width=3).width == 3
    assert registry().versions()["one"] == "one 0.0.0"


def test_core_comes_first_and_offers_its_own(plugin_on_path):
    plugin_on_path("aaa", "")
    assert registry().plugins[0].name == "core"
    assert registry().find("store", "npy").plugin == "core"


def test_without_config_the_empty_one_serves(plugin_on_path):
    code = plugin().replace(', config="one_model:Options"', "")
    plugin_on_path("one", code, one_model=CLASSES)
    from actx_core.contracts import Config

    assert registry().load_config(registry().find("model", "tiny")) is Config


def test_a_pooler_is_its_own_config(plugin_on_path):
    code = (
        plugin().replace("actx_models", "actx_poolers").replace(', config="one_model:Options"', "")
    )
    plugin_on_path("one", code, one_model=CLASSES)
    assert registry().load_config(registry().find("pooler", "tiny")).__name__ == "Tiny"


BROKEN = {
    "fails on import": ("import no_such_module_anywhere", "ModuleNotFoundError"),
    "is no Python": ("def (", "SyntaxError"),
    "leaves the interpreter": ("raise SystemExit(3)", "SystemExit"),
    "fails when asked": (
        "from actx_core import hookimpl\n@hookimpl\ndef actx_models():\n    raise KeyError('x')\n",
        "KeyError",
    ),
    "fails in the middle": (
        plugin("bad") + "    raise ValueError('late')\n",
        "ValueError: late",
    ),
    "yields something else": (
        "from actx_core import hookimpl\n@hookimpl\ndef actx_models():\n    yield 'tiny'\n",
        "TypeError: actx_models must yield Component",
    ),
    "names no class": (plugin("bad").replace("bad_model:Tiny", "bad_model"), "TypeError"),
    "asks for an unknown argument": (
        "from actx_core import hookimpl\n@hookimpl\ndef actx_models(config):\n    return []\n",
        "PluginValidationError",
    ),
}


@pytest.mark.parametrize(("code", "error"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_becomes_a_row(plugin_on_path, code, error):
    plugin_on_path("bad", code)
    plugin_on_path("one", plugin(), one_model=CLASSES)
    bad = row("bad")
    assert (bad.status, bad.components) == ("broken", [])
    assert error in bad.error
    assert error.partition(":")[0] in bad.traceback
    assert row("one").status == "ok"
    assert registry().find("model", "tiny").plugin == "one"
    assert "bad" not in registry().versions()


def test_a_broken_plugin_is_named_by_look_ups_that_fail(plugin_on_path):
    plugin_on_path("bad", "import no_such_module_anywhere")
    plugin_on_path("one", plugin(), one_model=CLASSES)
    with pytest.raises(ComponentNotFound, match="no model is called 'tinny'") as caught:
        registry().find("model", "tinny")
    assert "did you mean 'tiny'?" in caught.value.hint
    assert "plugins that failed to load: bad (ModuleNotFoundError" in caught.value.hint
    assert caught.value.exit_code == 3


def test_a_name_like_no_other_gets_the_list(plugin_on_path):
    plugin_on_path("one", plugin(), one_model=CLASSES)
    with pytest.raises(ComponentNotFound) as caught:
        registry().find("model", "qqqqqq")
    assert caught.value.hint.startswith("there are: module, tiny")
    with pytest.raises(ComponentNotFound) as caught:
        registry().find("analyzer", "x")
    assert caught.value.hint.startswith("there are: none")


def test_strict_raises_instead(plugin_on_path, monkeypatch):
    plugin_on_path("bad", "import no_such_module_anywhere")
    monkeypatch.setenv("ACTX_STRICT_PLUGINS", "1")
    registry.cache_clear()
    with pytest.raises(ModuleNotFoundError):
        registry()


@pytest.mark.parametrize("variable", ["ACTX_DISABLE_PLUGINS", "ACTX_PLUGINS"])
def test_a_disabled_plugin_is_never_imported(plugin_on_path, monkeypatch, tmp_path, variable):
    mark = tmp_path / "imported"
    plugin_on_path("off", f"open({str(mark)!r}, 'w').close()")
    plugin_on_path("one", plugin(), one_model=CLASSES)
    monkeypatch.setenv(variable, "off" if variable == "ACTX_DISABLE_PLUGINS" else "one")
    registry.cache_clear()
    assert (row("off").status, row("one").status, row("core").status) == ("disabled", "ok", "ok")
    assert not mark.exists()
    with pytest.raises(ComponentNotFound) as caught:
        registry().find("model", "x")
    assert "disabled plugins: " in caught.value.hint
    assert "off" in caught.value.hint


def test_an_empty_allow_list_leaves_core_alone(plugin_on_path, monkeypatch):
    plugin_on_path("one", plugin(), one_model=CLASSES)
    monkeypatch.setenv("ACTX_PLUGINS", "")
    registry.cache_clear()
    assert [p.name for p in registry().plugins if p.status == "ok"] == ["core"]


def test_lists_in_the_environment_may_hold_blanks(plugin_on_path, monkeypatch):
    plugin_on_path("one", plugin(), one_model=CLASSES)
    plugin_on_path("two", plugin("two"), two_model=CLASSES)
    monkeypatch.setenv("ACTX_PLUGINS", "one, two")
    registry.cache_clear()
    assert (row("one").status, row("two").status) == ("ok", "ok")


def test_a_plugin_for_another_api(plugin_on_path):
    plugin_on_path("new", f"ACTX_API = 2\n{plugin('new')}", new_model=CLASSES)
    assert (row("new").status, row("new").components) == ("incompatible", [])
    assert row("new").error == "made for actx API 2, this is 1"
    with pytest.raises(ComponentNotFound) as caught:
        registry().find("model", "tiny")
    assert "new (made for actx API 2, this is 1)" in caught.value.hint


def test_the_present_api_may_be_named(plugin_on_path):
    plugin_on_path("one", f"ACTX_API = 1\n{plugin()}", one_model=CLASSES)
    assert row("one").status == "ok"


def test_a_clash_matters_only_when_the_name_is_used(plugin_on_path):
    plugin_on_path("one", plugin(), one_model=CLASSES)
    plugin_on_path("two", plugin("two"), two_model=CLASSES)
    assert (row("one").status, row("two").status) == ("ok", "ok")
    with pytest.raises(ComponentConflict, match="2 plugins offer the model 'tiny'") as caught:
        registry().find("model", "tiny")
    assert caught.value.hint == "say which: 'one/tiny', 'two/tiny'"
    assert registry().find("model", "two/tiny").plugin == "two"


EXTRA = (
    plugin().replace('config="one_model:Options"', 'extra="big"')
    + '    yield Component("plain", "one_model:Tiny")\n'
)
METADATA = """\
Requires-Dist: numpy
Requires-Dist: a-big-package>=2; extra == "big"
Requires-Dist: numpy; extra == "big"
Requires-Dist: another-package; extra == "other"
Requires-Dist: never-needed; extra == "big" and python_version < "3"
Provides-Extra: big
Provides-Extra: other
"""


def test_missing_extras_are_listed(plugin_on_path):
    plugin_on_path("one", EXTRA, metadata=METADATA, one_model="import a_big_package")
    assert row("one").status == "ok"
    assert row("one").missing == {"big": ["a-big-package"]}


def test_a_component_that_lacks_its_extra_says_how_to_get_it(plugin_on_path):
    plugin_on_path("one", EXTRA, metadata=METADATA, one_model="import a_big_package")
    with pytest.raises(PluginError, match="model 'one/tiny' failed to import: No module") as caught:
        registry().load(registry().find("model", "tiny"))
    assert caught.value.hint == "pip install 'one[big]'"
    with pytest.raises(PluginError) as caught:
        registry().load(registry().find("model", "plain"))
    assert caught.value.hint == ""


def test_a_class_that_is_not_there(plugin_on_path):
    plugin_on_path("one", plugin().replace(":Tiny", ":Tinny"), one_model=CLASSES)
    with pytest.raises(PluginError, match="model 'one/tiny': one_model has no 'Tinny'"):
        registry().load(registry().find("model", "tiny"))


def test_a_component_whose_module_fails_otherwise_is_a_plugin_error(plugin_on_path):
    plugin_on_path("one", plugin(), one_model="raise RuntimeError('torn')")
    with pytest.raises(PluginError, match="torn"):
        registry().load(registry().find("model", "tiny"))


def test_an_attribute_error_inside_the_module_is_told(plugin_on_path):
    plugin_on_path("one", plugin(), one_model="import sys\nsys.no_such_thing")
    with pytest.raises(PluginError, match="no_such_thing"):
        registry().load(registry().find("model", "tiny"))


def test_metadata_that_cannot_be_read_stay_in_the_row(plugin_on_path):
    plugin_on_path("one", EXTRA, metadata="Requires-Dist: !!; nonsense\n", one_model=CLASSES)
    assert row("one").error


def test_a_hook_that_does_not_exist_is_a_mistake(plugin_on_path):
    plugin_on_path("one", plugin().replace("actx_models", "actx_modles"), one_model=CLASSES)
    assert "actx_modles" in row("one").error


def test_two_distributions_with_one_plugin_name(plugin_on_path, tmp_path):
    folder = plugin_on_path("one", plugin(), one_model=CLASSES)
    other = folder / "other-0.0.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 0.0.0\n")
    (other / "entry_points.txt").write_text("[actx]\none = other_plugin\n")
    registry.cache_clear()
    rows = {p.distribution: p.status for p in registry().plugins if p.name == "one"}
    assert rows == {"one": "ok", "other": "broken"}


def test_the_registry_is_kept_until_it_is_cleared(plugin_on_path):
    first = registry()
    assert registry() is first
    plugin_on_path("one", plugin(), one_model=CLASSES)
    assert registry() is not first


def test_listing_imports_nothing_heavy(plugin_on_path, run_python):
    folder = plugin_on_path("one", plugin(), one_model="import numpy")
    code = """
import sys
from actx_core.registry import registry
names = [c.name for p in registry().plugins for c in p.components]
heavy = {"numpy", "pydantic", "torch", "h5py", "pyarrow", "pandas"} & set(sys.modules)
print("tiny" in names, "npy" in names, sorted(heavy))
"""
    assert run_python(code, folder) == "True True []"


def test_listing_all_plugins_of_this_environment_imports_nothing_heavy(run_python, monkeypatch):
    monkeypatch.delenv("ACTX_PLUGINS", raising=False)
    code = """
import sys
from actx_core.registry import registry
bad = [(p.name, p.error) for p in registry().plugins if p.status != "ok"]
print(bad, sorted({"numpy", "pydantic", "torch"} & set(sys.modules)))
"""
    assert run_python(code) == "[] []"
