"""The commands that need no torch: plugins, list, show, validate, explain, diff, schema, and those of plugins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tinify.registry
from tinify.plugin import Command, Sig, component, hookimpl
from tinify.registry import Registry
from tinify.spec import Spec
from tinify.testing.commands import run

BAD = "tinify: 1\nname: bad\nmodel: {type: autoencoder, g_a: [gnd], latent_codec: entropy_bottleneck, g_s: []}\n"


def succeed(*arguments: object) -> str:
    status, out, err = run(*arguments)
    assert status == 0, err
    return out


@component("layer", "acme/mystery", target="math:pi")
class Mystery:
    """A layer that does not say what it costs."""

    depth: int = 2

    def shape(self, x: Sig) -> Sig:
        return x


class Plugin:
    """Gives a layer and commands."""

    @hookimpl
    def tinify_components(self) -> list[type]:
        return [Mystery]

    @hookimpl
    def tinify_commands(self) -> list[Command]:
        return [
            Command("acme", f"{__name__}:hello", "Says hello."),
            Command("acme-lost", "math:no_such_thing"),
            Command("acme-odd", "math:pi"),
        ]


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry with a third party's plugin."""
    registry = Registry(disabled=(), only=())
    registry.register(Plugin(), namespace="acme")
    monkeypatch.setattr(tinify.registry, "_current", registry)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Mystery.__module__])
    return registry


def __getattr__(name: str) -> Any:
    import click

    if name == "hello":
        return click.Command("hello", callback=lambda: click.echo("hello"))
    raise AttributeError(name)


@pytest.mark.parametrize(
    "command",
    [
        ["plugins"], ["list"], ["show", "mbt2018-mean"], ["show", "conv"], ["validate", "mbt2018-mean"], ["schema"],
        ["explain", "mbt2018-mean", "--preset", "q4"], ["diff", "mbt2018-mean@q1", "mbt2018-mean@q2"], ["doctor"],
        ["--help"], ["plugins", "--json"], ["explain", "mbt2018-mean", "--json"],
        ["diff", "mbt2018-mean", "tinify-photo"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_command_of_the_host_needs_torch(command: list[str]) -> None:
    code = (
        "import sys; sys.modules.update(torch=None, numba=None, triton=None)\n"
        "import tinify.cli; tinify.cli.main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert "torch" not in done.stderr
    assert done.returncode == (1 if command[-1] == "tinify-photo" else done.returncode and (command == ["doctor"])), (
        done
    )
    assert done.stdout


def test_plugins_are_listed_with_what_they_give(acme: Registry) -> None:
    gives = {plugin["namespace"]: plugin["gives"] for plugin in json.loads(succeed("plugins", "--json"))}
    owners = [owner.namespace for owner in acme.spec_owners().values()]
    assert gives["specs"] == {"spec": owners.count("specs")}
    assert gives["vbr"]["spec"] == owners.count("vbr") == 3
    assert gives["vbr"]["name"] == 10
    assert gives["vocabulary"]["layer"] == len(
        [p for p in acme.components("layer") if p.provider and p.provider.namespace == "vocabulary"]
    )
    assert gives["acme"] == {"layer": 1, "command": 3}
    assert "1 layer, 3 commands" in succeed("plugins", "--require", "acme")
    status, _, err = run("plugins", "--require", "other")
    assert (status, err) == (2, "tinify: plugin 'other' is required, and not installed\n")


def test_a_required_plugin_must_be_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tinify.registry, "_current", Registry(disabled=["specs"]))
    status, out, err = run("plugins", "--require", "specs")
    assert status == 2
    assert "disabled" in out
    assert "is required, and disabled: TINIFY_DISABLE_PLUGINS" in err


@pytest.mark.parametrize(
    ("plugin", "command", "spec"),
    [
        ("vbr", None, "mbt2018-mean-vbr"),
        ("video", "video", "ssf2020"),
        ("pointcloud", "points", "hrtzxf2022-pcc-rec"),
    ],
)
def test_a_family_can_be_left_out_without_trace(
    plugin: str, command: str | None, spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TINIFY_DISABLE_PLUGINS", raising=False)
    monkeypatch.setattr(tinify.registry, "_current", None)
    without = ["-p", f"no:{plugin}"]
    listed = succeed(*without, "list")
    assert spec not in listed
    assert f"{plugin}/" not in listed
    assert command is None or f"\n  {command} " not in succeed(*without, "--help")
    for words in (["show", spec], ["validate", spec], *([[command, "info", "x"]] if command else [])):
        monkeypatch.setattr(tinify.registry, "_current", None)
        status, out, err = run(*without, *words)
        assert status == 2
        assert f"plugin {plugin} " in out + err
        assert "disabled" in out + err


@pytest.mark.parametrize("words", [["-p", "no:specs"], ["-p", "no:vocabulary", "-p", "no:specs"]])
def test_a_plugin_can_be_left_out(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINIFY_DISABLE_PLUGINS", raising=False)
    monkeypatch.setattr(tinify.registry, "_current", None)
    rows = json.loads(succeed(*words, "plugins", "--json"))
    assert {row["namespace"] for row in rows if row["status"] == "disabled"} == {w[3:] for w in words if ":" in w}
    assert "TINIFY_DISABLE_PLUGINS" not in os.environ


@pytest.mark.parametrize("word", ["acme", "no:", "yes:acme"])
def test_the_option_p_has_one_form(word: str) -> None:
    status, _, err = run("-p", word, "list")
    assert status == 2
    assert "expected no:NAME" in err


def test_commands_of_plugins_run_and_fail_by_name(acme: Registry) -> None:
    assert succeed("acme") == "hello\n"
    out = succeed("--help")
    assert out.index("Commands of plugins") < out.index("Says hello.")
    for name, message in [
        (
            "acme-lost",
            "command 'acme-lost' of plugin acme (Plugin in this process) cannot be loaded from math:no_such_th",
        ),
        ("acme-odd", "is 3.14159"),
        ("acmee", "unknown command 'acmee': did you mean 'acme'?"),
        ("trian", "unknown command 'trian': did you mean 'train'?"),
    ]:
        status, _, err = run(name)
        assert status == 2
        assert message in err


def test_a_disabled_plugins_command_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tinify.registry, "_current", Registry(disabled=["specs"]))
    status, _, err = run("specs-more")
    assert status == 2
    assert "no command 'specs-more': plugin specs" in err


def test_show_says_all_of_a_component(acme: Registry) -> None:
    [shown] = json.loads(succeed("show", "acme/mystery", "--json"))["components"]
    assert (shown["parameters"], shown["cost rule"]) == ({"depth": "int, default 2"}, False)
    assert "coder, may be left out" in succeed("show", "autoencoder")
    assert "acme/mystery" in succeed("list", "layers")
    assert "acme-lost" in succeed("list", "commands")
    assert run("show", "acme/mysterie")[2].startswith(
        "tinify: unknown component or spec 'acme/mysterie': did you mean 'acme/my"
    )


def test_validate_reports_every_error_of_every_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(BAD)
    status, out, err = run("validate", "mbt2018-mean", tmp_path / "one.yaml", tmp_path / "two.yaml", "no-such-spec")
    assert status == 2
    assert out.startswith("mbt2018-mean: ok, id 04822dcf9beeb9a6, 817a680cb1e1aa72")
    assert err.count("error[R001]: unknown transform 'gnd'") == 2
    assert err.count("^") == 2
    assert "no-such-spec:1:1: error[V004]: unknown spec 'no-such-spec'" in err


def test_validate_speaks_to_programs_and_pull_requests(tmp_path: Path) -> None:
    path = tmp_path / "a,b:100%.yaml"
    path.write_text(BAD)
    status, out, _ = run("validate", path, "--format", "json")
    [found] = json.loads(out)
    assert status == 2
    assert (found["file"], found["line"], found["column"], found["code"]) == (str(path), 3, 34, "R001")
    status, out, _ = run("validate", path, "--format", "github")
    assert out.startswith(
        f"::error file={tmp_path}/a%2Cb%3A100%25.yaml,line=3,col=34,title=R001::unknown transform 'gnd'"
    )
    assert json.loads(succeed("validate", "mbt2018-mean", "--format", "json")) == []
    assert succeed("validate", "mbt2018-mean", "--format", "github") == ""


def test_validate_takes_presets_and_parameters() -> None:
    assert succeed("validate", "mbt2018-mean", "--preset", "q8") == "mbt2018-mean: ok, id 817a680cb1e1aa72\n"
    small = Spec.load("mbt2018-mean").elaborate(N=8, M=16).id
    assert succeed("validate", "mbt2018-mean", "--set", "N=8", "--set", "M=2*N").endswith(f"id {small}\n")
    assert "expected NAME=VALUE" in run("validate", "mbt2018-mean", "--set", "N")[2]
    assert "[X001]" in run("validate", "mbt2018-mean", "--set", "N=K")[2]
    assert "unknown preset of mbt2018-mean 'q9'" in run("validate", "mbt2018-mean", "--preset", "q9")[2]


def test_a_spec_whose_presets_set_what_has_no_default_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "needy.yaml"
    path.write_text(
        "tinify: 1\nname: needy\nextends: mbt2018-mean\nparams: {K: int, N: {default: K}}\n"
        + "presets: {"
        + ", ".join(f"q{q}: {{params: {{K: {q}}}}}" for q in range(1, 9))
        + "}\n"
    )
    Spec.load(path).elaborate("q1")
    assert run("validate", path)[0] == 0


@pytest.mark.parametrize("name", ["bmshj2018-factorized", "mbt2018-mean", "tinify-photo"])
def test_explain_adds_up(name: str) -> None:
    facts = json.loads(succeed("explain", name, "--json"))
    assert facts["parameters"] == sum(part["parameters"] for part in facts["parts"])
    assert facts["kMAC/pixel"] == pytest.approx(sum(part["kMAC/pixel"] for part in facts["parts"]))
    assert [part["path"] for part in facts["parts"]][:2] == ["(model)", "g_a.0"]
    lines = succeed("explain", name).splitlines()
    assert lines[-1].split()[:2] == ["total", f"{facts['parameters']:,}"]


def test_explain_says_where_it_does_not_know(acme: Registry, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(BAD.replace("gnd", "acme/mystery"))
    assert json.loads(succeed("explain", path, "--json"))["without cost"] == ["g_a.0"]
    out = succeed("explain", path)
    assert "?" in next(line for line in out.splitlines() if "mystery" in line)
    assert out.splitlines()[-1].count("at least") == 2


def test_diff_says_what_differs() -> None:
    assert succeed("diff", "mbt2018-mean@q1", "mbt2018-mean@q4").strip().endswith("are the same model")
    status, out, _ = run("diff", "mbt2018-mean@q1", "mbt2018-mean@q5", "--json")
    rows = json.loads(out)
    assert status == 1
    assert {"path": "model.g_a.0.out", "left": "128", "right": "192"} in rows
    status, out, _ = run("diff", "bmshj2018-hyperprior", "mbt2018-mean")
    assert status == 1
    assert next(line for line in out.splitlines() if "magnitude" in line).split()[1:] == ["true", "false"]
    assert run("diff", "mbt2018-mean", "mbt2017")[0] == 2


def test_schema_is_printed_written_and_checked(tmp_path: Path) -> None:
    text, path = succeed("schema"), tmp_path / "schema.json"
    assert succeed("schema", "-o", path) == ""
    assert path.read_text() == text
    assert succeed("schema", "--check", path) == f"{path} is current\n"
    path.write_text(text.replace("conv", "cnov"))
    status, _, err = run("schema", "--check", path)
    assert (status, err) == (
        2,
        f"tinify: {path} is not the schema of the enabled plugins: write it with tinify schema -o {path}\n",
    )


def distribution(folder: Path, name: str, entry: str = "", version: str = "9.9") -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[tinify.plugins]\n{entry}\n" if entry else "")


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a plugin's specs: one that is not YAML, and one with an error."""

    class Specs:
        @hookimpl
        def tinify_spec_paths(self) -> list[Path]:
            return [tmp_path]

    (tmp_path / "torn.yaml").write_bytes(b"\xff{[")
    (tmp_path / "bad.yaml").write_text(BAD.replace("name: bad", "name: acme/bad"))
    registry = Registry(disabled=(), only=())
    registry.register(Specs(), namespace="acme")
    monkeypatch.setattr(tinify.registry, "_current", registry)
    return tmp_path


def test_a_plugins_bad_spec_hides_no_other(damaged: Path) -> None:
    out = succeed("list", "specs")
    line = next(line for line in out.splitlines() if "acme/torn" in line)
    assert " ".join(line.split()) == "acme/torn cannot be read: tinify validate acme/torn says why"
    assert "Mean-scale hyperprior" in out
    assert run("validate", "acme/torn", "mbt2018-mean")[1].startswith("mbt2018-mean: ok")
    status, out, _ = run("doctor")
    assert status == 1
    assert "spec acme/torn of plugin acme (Specs in this process) has 1 errors: tinify validate acme/torn" in out
    assert "spec acme/bad of" in out


def test_validate_reports_what_only_a_preset_does_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "tinify: 1\nname: x\nparams: {N: 4}\n"
        "presets: {fine: {params: {N: 8}}, zero: {params: {N: 0}}, words: {params: {N: many}}}\n"
        "model: {type: autoencoder, g_a: [{type: conv, out: N}, gnd],\n"
        " latent_codec: entropy_bottleneck, g_s: [{type: deconv, out: 3}]}\n"
    )
    status, out, _ = run("validate", path, "--format", "json")
    assert status == 2
    assert [one["line"] for one in json.loads(out) if one["code"] == "R001"] == [5]
    assert {one["line"] for one in json.loads(out)} == {4, 5}


def test_diff_takes_files_whose_path_has_an_at(tmp_path: Path) -> None:
    path = tmp_path / "me@home" / "x@2.yaml"
    path.parent.mkdir()
    path.write_text("tinify: 1\nname: x\nextends: mbt2018-mean\n")
    assert "are the same model" in succeed("diff", path, "mbt2018-mean")
    assert "are the same model" in succeed("diff", f"{path}@q5", "mbt2018-mean@q8")
    assert "unknown preset of mbt2018-mean ''" in run("diff", "mbt2018-mean@", path)[2]


def test_help_leaves_out_the_commands_of_a_plugin_that_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, "tinify-lent", "lent = lent_module")
    (tmp_path / "lent_module.py").write_text(
        "from tinify.plugin import Command, hookimpl\n"
        "@hookimpl\ndef tinify_commands():\n    return [Command('lent', 'lent_module:no', 'Lends.')]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for words, shown in [((), True), (("-p", "no:lent"), False), (("-p", "no:tinify-lent"), False)]:
        monkeypatch.setattr(tinify.registry, "_current", None)
        assert ("Lends." in succeed(*words, "--help")) is shown
    assert (
        "no command 'lent': plugin lent (tinify-lent 9.9) is disabled: TINIFY_DISABLE_PLUGINS (or -p" in run("lent")[2]
    )


def test_show_answers_for_a_component_and_a_spec_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Both(Plugin):
        @hookimpl
        def tinify_spec_paths(self) -> list[Path]:
            return [tmp_path]

    (tmp_path / "mystery.yaml").write_text("tinify: 1\nname: acme/mystery\nextends: mbt2018-mean\n")
    registry = Registry(disabled=(), only=())
    registry.register(Both(), namespace="acme")
    monkeypatch.setattr(tinify.registry, "_current", registry)
    out = succeed("show", "acme/mystery")
    assert "layer acme/mystery, version 1" in out
    assert "says what it costs: no" in out
    assert "acme/mystery: Mean-scale hyperprior" in out
    assert "layer acme/mystery" not in succeed("show", "acme/mystery", "--preset", "q5")
    assert "layer 'gdn' has no presets: leave --preset q5 out" in run("show", "gdn", "--preset", "q5")[2]


def test_built_in_commands_do_not_ask_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Registry:
        raise AssertionError("the registry was read")

    monkeypatch.setattr("tinify.cli.get_registry", refuse)
    assert "mbt2018-mean" in succeed("list", "specs")
    assert "Usage: tinify validate" in succeed("validate", "--help")


def test_a_schema_file_of_any_bytes_is_only_not_current(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_bytes(b"\xff\x00")
    for place in (path, tmp_path, tmp_path / "absent"):
        assert "is not the schema of the enabled plugins" in run("schema", "--check", place)[2]
