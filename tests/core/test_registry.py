"""The registry, on real distributions written to a temporary folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from installed_plugins import Installer, fresh, status

import tinify.registry
from tinify.errors import PluginError, UnknownNameError
from tinify.plugin import Sig, component, hookimpl
from tinify.registry import Registry, get_registry

COMPONENT = """
from pathlib import Path
from tinify.plugin import Sig, component, hookimpl

@component({kind!r}, {name!r}, target="math:pi")
class Part:
    '''A part.'''
    def shape(self, x): return x

@hookimpl
def tinify_components():
    return [Part]
"""
SPECS = """
@hookimpl
def tinify_spec_paths():
    return [Path(__file__).parent]
"""


def part(name: str, kind: str = "layer") -> str:
    return COMPONENT.format(name=name, kind=kind)


def test_first_party_parts_have_bare_names() -> None:
    registry = Registry(disabled=())
    assert {found.status for found in registry.plugins if found.at_home} == {"ok"}
    assert str(registry.component("layer", "conv").provider).startswith("plugin vocabulary (tinify-codec ")
    assert {"bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean"} <= registry.spec_files().keys()


def test_components_are_sorted_and_of_the_kind_asked_for() -> None:
    registry = get_registry()
    assert [found.name for found in registry.components("model")] == [
        "autoencoder",
        "pointcloud/autoencoder",
        "pointcloud/density_preserving",
        "pointcloud/hierarchy",
        "video/scale_space_flow",
    ]
    everything = registry.components()
    assert everything == [
        found for kind in dict.fromkeys(p.kind for p in everything) for found in registry.components(kind)
    ]
    with pytest.raises(UnknownNameError, match="did you mean 'layer'"):
        registry.components("layers")


def test_a_third_party_plugin_brings_parts_specs_and_weights(install: Installer, tmp_path: Path) -> None:
    module = install("acme", part("acme/x") + SPECS)
    (tmp_path / module / "tiny.yaml").write_text("tinify: 1")
    (tmp_path / module / "tiny-q1.safetensors").write_text("")
    registry = fresh(tmp_path)
    assert status(registry, "acme") == [("ok", "")]
    assert str(registry.component("layer", "acme/x").provider) == "plugin acme (tinify-acme 1.0)"
    assert registry.spec_files()["acme/tiny"].name == "tiny.yaml"
    assert registry.weight_files()["acme/tiny-q1"].name == "tiny-q1.safetensors"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("syntax error", "SyntaxError"),
        (part("conv"), "'conv' is outside the namespace of this plugin: call it 'acme/conv'"),
        (part("other/x"), "outside the namespace of this plugin: call it 'acme/x'"),
        (part("acme/x").replace("@hookimpl", ""), "no @hookimpl"),
        (
            part("acme/x").replace("tinify_components", "tinify_componentz"),
            "unknown hook 'tinify_componentz': did you mean 'tinify_components'?",
        ),
        (part("acme/x").replace("def tinify_components()", "def tinify_components(surprise)"), "surprise"),
        (part("acme/x").replace("return [Part]", "return None"), "tinify_components returned None"),
        (part("acme/x").replace("return [Part]", "return 3"), "TypeError"),
        (part("acme/x").replace("[Part]", "[int]"), "expected classes decorated by @component"),
        (part("acme/x").replace("[Part]", "[type('Y', (Part,), {})]"), "expected classes decorated by @component"),
        (part("acme/x").replace("[Part]", "[Part, Part]"), "layer 'acme/x' version 1 is declared twice"),
        (part("acme/x").replace("return [Part]", "yield Part; raise KeyError('late')"), "KeyError: 'late'"),
        (part("acme/x") + SPECS.replace("parent", "parent / 'missing'"), "FileNotFoundError"),
        (part("acme/x") + SPECS.replace("[Path(__file__).parent]", "[3]"), "AttributeError"),
    ],
)
def test_a_broken_plugin_gives_nothing_and_harms_nobody(
    install: Installer, tmp_path: Path, source: str, reason: str
) -> None:
    install("acme", source)
    install("good", part("good/x"))
    registry = fresh(tmp_path)
    [(state, why)] = status(registry, "acme")
    assert state == "broken"
    assert reason in why
    assert not [found for found in registry.components() if found.name.startswith("acme/")]
    assert registry.component("layer", "good/x")
    assert registry.component("layer", "conv")
    with pytest.raises(UnknownNameError, match=r"plugin acme \(tinify-acme 1.0\) is broken"):
        registry.component("layer", "acme/x")


def test_a_namespace_is_a_plain_word(install: Installer, tmp_path: Path) -> None:
    install("Not-Plain", part("x/y"))
    assert status(fresh(tmp_path), "Not-Plain")[0][0] == "broken"


def test_two_distributions_of_one_namespace_disable_each_other(install: Installer, tmp_path: Path) -> None:
    for owner in ("one", "two"):
        install("acme", "raise AssertionError('imported')", distribution=owner)
    found = status(fresh(tmp_path), "acme")
    assert [state for state, _ in found] == ["conflict", "conflict"]
    assert all("one 1.0, two 1.0" in reason or "two 1.0, one 1.0" in reason for _, reason in found)


def test_nobody_takes_a_first_party_namespace(install: Installer, tmp_path: Path) -> None:
    install("vocabulary", part("vocabulary/x"), distribution="stranger")
    registry = fresh(tmp_path)
    assert sorted(state for state, _ in status(registry, "vocabulary")) == ["conflict", "ok"]
    assert registry.component("layer", "conv")


@pytest.mark.parametrize("word", ["acme", "tinify-acme", "Tinify_Acme", " acme , other"])
def test_a_disabled_plugin_is_not_imported(
    install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    module = install("acme", part("acme/x"))
    monkeypatch.setenv("TINIFY_DISABLE_PLUGINS", word)
    registry = fresh(tmp_path)
    assert status(registry, "acme") == [("disabled", "TINIFY_DISABLE_PLUGINS (or -p no:NAME) names it")]
    assert module not in sys.modules
    with pytest.raises(UnknownNameError, match=r"is disabled: TINIFY_DISABLE_PLUGINS"):
        registry.component("layer", "acme/x")


def test_a_disabled_vocabulary_is_blamed_for_bare_names() -> None:
    with pytest.raises(UnknownNameError, match=r"plugin vocabulary .* is disabled"):
        Registry(disabled=["vocabulary"]).component("layer", "conv")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("layer", "gnd", "unknown layer 'gnd': did you mean 'gdn'"),
        ("layer", "zzzzz", "there are: abs, attention, "),
        ("layer", "hyperprior", "'hyperprior' is of kind latent_codec; layer is wanted here"),
        ("layer", "acme/x", "no plugin 'acme' is installed"),
        ("coder", "x", "there are: ans"),
    ],
)
def test_an_unknown_name_gets_help(kind: str, name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        Registry(disabled=()).component(kind, name)


@component("layer", "mine/x", target="math:pi")
class Mine:
    """A part from a notebook."""

    def shape(self, x: Sig) -> Sig:
        return x


@hookimpl
def tinify_components() -> list[type]:
    return [Mine]


def test_a_declaration_or_a_module_can_be_registered_by_hand() -> None:
    for plugin in (Mine, sys.modules[__name__]):
        registry = Registry([], disabled=())
        registry.register(plugin, namespace="mine")
        assert registry.component("layer", "mine/x").load() > 3
        registry.register(plugin, namespace="mine")  # a cell that ran again
        assert len(registry.components()) == len(registry.plugins) == 1


def test_nothing_is_added_by_hand_to_the_namespace_of_an_installed_plugin() -> None:
    with pytest.raises(PluginError, match="'vocabulary' is taken"):
        Registry(disabled=()).register(Mine, namespace="vocabulary")


def test_another_declaration_of_a_taken_name_is_refused() -> None:
    registry = Registry([], disabled=())
    registry.register(Mine, namespace="mine")
    other = component("layer", "mine/x", target="math:e")(type("Other", (), {"shape": lambda self, x: x}))
    with pytest.raises(
        PluginError, match=r"layer 'mine/x' version 1 is declared by plugin mine \(Mine in this process\)"
    ):
        registry.register(other, namespace="mine")
    assert registry.component("layer", "mine/x").target == "math:pi"


def test_a_failed_registration_leaves_no_trace() -> None:
    registry = Registry([], disabled=())
    with pytest.raises(PluginError, match="call it 'other/x'"):
        registry.register(Mine, namespace="other")
    with pytest.raises(PluginError, match="returned None"):
        registry.register(SimpleNamespace(tinify_components=hookimpl(lambda: None)), namespace="mine")
    assert (registry.plugins, registry.components()) == ((), [])
    registry.register(Mine, namespace="mine")
    assert registry.component("layer", "mine/x")


def test_there_is_one_registry_per_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_registry() is get_registry()
    monkeypatch.setattr(tinify.registry, "_current", None)
    assert get_registry() is get_registry()


class Second:
    """A part from a notebook, its second version."""

    def shape(self, x: Sig) -> Sig:
        return x


def test_versions_stand_side_by_side_and_the_newest_is_meant() -> None:
    registry = Registry([], disabled=())
    registry.register([Mine, component("layer", "mine/x", target="math:e", version=12)(Second)], namespace="mine")
    assert [part.key for part in registry.components()] == ["mine/x@1", "mine/x@12"]
    for name, version in (("mine/x", 12), ("mine/x@12", 12), ("mine/x@1", 1)):
        assert registry.component("layer", name).version == version
    for name in ("mine/x@2", "mine/x@", "mine/x@x", "mine/x@²", "mine/x@" + "9" * 5000):
        with pytest.raises(UnknownNameError, match=r"has no version '.*' here but 1 and 12: another release of plugin"):
            registry.component("layer", name)


@pytest.mark.parametrize(
    ("only", "there"), [(None, True), ([], False), (["other"], False), (["acme"], True), (["tinify_ACME"], True)]
)
def test_an_allowlist_speaks_of_third_parties(
    install: Installer, tmp_path: Path, only: list[str] | None, there: bool
) -> None:
    module = install("acme", part("acme/x"))
    registry = fresh(tmp_path, only=only)
    assert (module in sys.modules) is there
    assert status(registry, "acme") == [("ok", "") if there else ("disabled", "TINIFY_PLUGINS does not name it")]
    assert registry.component("layer", "conv")


def test_an_empty_allowlist_in_the_environment_is_one(
    install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme", part("acme/x"))
    monkeypatch.setenv("TINIFY_PLUGINS", "")
    assert status(fresh(tmp_path), "acme")[0][0] == "disabled"


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("tinify-codec>=99", "it needs tinify-codec>=99, this is tinify-codec "),
        ("Tinify_Codec <0.0.1", "it needs tinify-codec<0.0.1, this is "),
        ("tinify-codec>=99; python_version > '3'", "it needs tinify-codec>=99"),
        ("tinify-codec =! 3", "has a requirement that cannot be read: 'tinify-codec =! 3'"),
        ("tinify-codec>=99; extra == 'more'", ""),
        ("tinify-codec>=0.0.1", ""),
        ("numpy>=99", ""),
    ],
)
def test_a_plugin_for_another_tinify_is_not_imported(
    install: Installer, tmp_path: Path, requirement: str, reason: str
) -> None:
    module = install("acme", part("acme/x"), requires=requirement)
    [(state, why)] = status(fresh(tmp_path), "acme")
    assert state == ("incompatible" if reason else "ok")
    assert reason in why
    assert (module in sys.modules) is not bool(reason)


@pytest.mark.parametrize("source", ["import no_such_module", part("other/x")])
def test_strict_mode_makes_a_failed_plugin_an_error(
    install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    install("acme", source)
    monkeypatch.setenv("TINIFY_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError, match=r"plugin acme \(tinify-acme 1.0\) is broken: "):
        fresh(tmp_path)
    assert fresh(tmp_path, disabled=["acme"]).component("layer", "conv")


def test_a_plugin_that_asks_for_the_registry_as_it_is_loaded_is_broken(
    install: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tinify.registry, "_current", None)
    install("acme", "from tinify.registry import get_registry\nget_registry()\n")
    [(state, why)] = status(get_registry(), "acme")
    assert state == "broken"
    assert "plugins are being loaded" in why
    assert get_registry().component("layer", "conv")


def test_a_frozen_application_registers_the_first_party_by_hand() -> None:
    registry = Registry([], disabled=())
    vocabulary = importlib.import_module("tinify_plugins.vocabulary")
    registry.register(vocabulary, namespace="vocabulary")
    assert registry.component("layer", "conv").provider == registry.plugins[0]
    assert registry.plugins[0].at_home
