"""``tinify plugin new`` writes a package that works as it is; ``tinify plugin check`` says what does not."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tinify
import tinify.registry
from tinify.plugin import Sig, component
from tinify.registry import Registry
from tinify.testing.commands import run


def installed(folder: Path, site: Path) -> None:
    """Puts a generated package on a path, with the metadata that its pyproject asks for."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {one}\n" for one in project["dependencies"])
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n{needs}"
    )
    points = project["entry-points"]["tinify.plugins"]
    (info / "entry_points.txt").write_text("[tinify.plugins]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))


def test_a_new_package_passes_its_own_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, site = tmp_path / "tinify-demo", tmp_path / "site"
    status, out, err = run("plugin", "new", "demo", "--into", folder)
    assert (status, err) == (0, "")
    assert {line for line in out.splitlines() if line.startswith(str(folder))} == {
        str(path) for path in folder.rglob("*") if path.is_file()
    }
    installed(folder, site)
    for path in (site, folder / "src"):
        monkeypatch.syspath_prepend(path)
    monkeypatch.setenv("PYTHONPATH", f"{site}:{folder / 'src'}")
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, folder / "tests"]
    done = subprocess.run([*map(str, tests)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    words = [sys.executable, "-m", "tinify.cli", "plugin", "check", "demo"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo/gain" in done.stdout


@pytest.mark.parametrize("name", ["Acme", "a-b", "1x", "", "../up", "class", "vocabulary", "codec", "tinify acme"])
def test_a_name_that_cannot_be_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = run("plugin", "new", name)
    assert status == 2
    assert repr(name) in err
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for into in (tmp_path, tmp_path / "mine.txt"):
        status, _, err = run("plugin", "new", "demo", "--into", into)
        assert status == 2
        assert "exists already: nothing is overwritten" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_check_fails_for_a_part_that_breaks_its_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(disabled=(), only=())
    liar = component("layer", "liar/wide", target="torch.nn:Identity")(
        type("Wide", (), {"__doc__": "Says that it widens.", "shape": lambda self, x: Sig(2 * x.channels, x.stride)})
    )
    registry.register(liar, namespace="liar")
    monkeypatch.setattr(tinify.registry, "_current", registry)
    status, out, _ = run("plugin", "check", "liar", "--json")
    failed = {result["check"] for result in json.loads(out) if result["status"] == "failed"}
    assert status == 1
    assert "check_shape_rule" in failed
    status, _, err = run("plugin", "check", "lair")
    assert status == 2
    assert "did you mean 'liar'" in err
