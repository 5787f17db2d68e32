"""``tinify doctor``, among distributions made up for it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

import tinify.registry
from tinify.plugin import Kernel, hookimpl
from tinify.registry import Registry
from tinify.testing.commands import run


def succeed(*arguments: object) -> str:
    status, out, err = run(*arguments)
    assert status == 0, err
    return out


def distribution(folder: Path, name: str, entry: str = "", version: str = "9.9") -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[tinify.plugins]\n{entry}\n" if entry else "")


def test_doctor_finds_what_is_amiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "plugins are loaded" in run("doctor")[1]
    distribution(tmp_path, "tinify")
    distribution(tmp_path, "tinify-ghost", "ghost = no_such_ghost_module")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tinify.registry, "_current", None)
    monkeypatch.setenv("TINIFY_PLUGIN", "x")
    status, out, _ = run("doctor", "--json")
    found = {(one["state"], text) for one in json.loads(out) for text in [one["text"]]}
    assert status == 1
    for state, words in [
        ("problem", "the distribution 'tinify', another company's client, is installed"),
        ("problem", "plugin ghost names the module 'no_such_ghost_module', which is not there: a stale entry point"),
        ("problem", "plugin ghost (tinify-ghost 9.9) is broken"),
        ("warning", "TINIFY_PLUGIN is set, but tinify reads no such variable"),
    ]:
        assert [text for is_, text in found if is_ == state and words in text], (state, words, found)


def test_doctor_knows_what_is_missing_old_twice_there_or_misspelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, "numba", version="0.1")
    distribution(tmp_path, "tinify-codec")
    distribution(tmp_path, "tinify-noise", "noise = not valid!")
    info = tmp_path / "tinify_codec-9.9.dist-info" / "METADATA"
    needs = ["numba>=0.60", "no-such-dist>=2", 'no-such-logs>=3; extra == "train"', 'no-such-os; os_name == "x"']
    lines = ["Provides-Extra: train", *(f"Requires-Dist: {need}" for need in needs)]
    info.write_text(info.read_text() + "".join(f"{line}\n" for line in lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tinify.registry, "_current", None)
    monkeypatch.setenv("TINIFY_DISABLE_PLUGINS", "noisy, tinify_noise")
    _, out, err = run("doctor", "--json")
    found = {one["text"]: one["state"] for one in json.loads(out)}
    assert err == ""
    for state, words in [
        ("problem", "numba 0.1 does not fit: python -m pip install 'numba>=0.60'"),
        ("problem", "no-such-dist is not installed: python -m pip install 'no-such-dist>=2'"),
        (
            "ok",
            "the extra train (several devices, TensorBoard) is not installed: it needs no-such-logs>=3; python -m pip",
        ),
        ("warning", "tinify-codec is installed more than once: "),
        ("ok", "plugin noise (tinify-noise 9.9) is disabled: TINIFY_DISABLE_PLUGINS"),
        ("ok", "TINIFY_DISABLE_PLUGINS=noisy, tinify_noise (plugins that are not loaded"),
        ("warning", "TINIFY_DISABLE_PLUGINS names 'noisy', and no plugin of that name is installed"),
    ]:
        assert [text for text, is_ in found.items() if is_ == state and text.startswith(words)], (words, found)
    assert not [text for text in found if "'tinify_noise'" in text or "no-such-os" in text]


def test_doctor_speaks_where_strictness_stops_everything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path, "tinify-ghost", "ghost = no_such_ghost_module")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tinify.registry, "_current", None)
    monkeypatch.setenv("TINIFY_STRICT_PLUGINS", "1")
    assert "plugin ghost (tinify-ghost 9.9) is broken" in run("list")[2]
    status, out, _ = run("doctor")
    assert status == 1
    assert "plugin ghost (tinify-ghost 9.9) is broken" in out


def test_doctor_says_which_kernels_are_active(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernels:
        @hookimpl
        def tinify_kernels(self) -> list[Kernel]:
            return [
                Kernel("tinify::fast", "cpu", "math:pi", requires=("no_such_parent.child",)),
                Kernel("tinify::fast", "xpu", "no_such_module:fast"),
                Kernel("tinify::faster", "cpu", "no_such_module:fast"),
                Kernel("tinify::fastest", "cpu", "math:pi", requires=("no_such_parent.child",)),
            ]

    registry = Registry(disabled=(), only=())
    registry.register(Kernels(), namespace="acme")
    monkeypatch.setattr(tinify.registry, "_current", registry)
    lines = [line for line in json.loads(run("doctor", "--json")[1]) if "kernel" in line["text"]]
    torch = importlib.util.find_spec("torch") is not None
    if torch:
        whose = "of plugin acme (Kernels in this process), not used, "
        reasons = ["no_such_parent.child is not installed", "this machine has no xpu device", "no_such_module"]
        found = [line for line in lines if whose in line["text"]]
        assert [line["state"] for line in found] == ["ok", "ok", "problem"]
        assert all(reason in line["text"] for line, reason in zip(found, reasons, strict=True))
        assert found[0]["text"].endswith(": tinify::fast, tinify::fastest")
    else:
        assert "no kernel is used: No module named 'torch'" in [line["text"] for line in lines]
    monkeypatch.setenv("TINIFY_KERNELS", "fast")
    assert ("TINIFY_KERNELS has 'fast'" in run("doctor")[1]) == torch
    listed = json.loads(succeed("list", "kernels", "--json"))["kernels"]
    assert {"tinify::fast", "tinify::faster"} <= {kernel["op"] for kernel in listed}


def test_a_checkout_and_its_editable_install_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout, site = tmp_path / "check out", tmp_path / "site"
    for folder in (checkout, site):
        folder.mkdir()
        distribution(folder, "tinify-codec")
    (site / "half_removed-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(site), str(checkout)])
    monkeypatch.setattr(tinify.registry, "_current", Registry([]))
    assert "installed more than once" in run("doctor")[1]
    origin = {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    (site / "tinify_codec-9.9.dist-info" / "direct_url.json").write_text(json.dumps(origin))
    assert "installed more than once" not in run("doctor")[1]
