"""Fixtures for tests of plugins: ``pytest_plugins = ["tinify.testing.plugin"]`` in a test module or conftest.py.

PYTEST_DONT_REWRITE: a test may import this module before pytest does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tinify import registry as _registry
from tinify.plugin import Plugin
from tinify.registry import Registry, get_registry
from tinify.spec import Architecture, DiagnosedSpecError, Spec
from tinify.testing.commands import Run, run

if TYPE_CHECKING:
    import torch


class PluginHost:
    """A registry of first-party plugins alone, in force for one test, and what the test adds to it."""

    def __init__(self) -> None:
        self.registry = Registry(only=(), disabled=(), strict=False)

    def add(self, source: Any, namespace: str = "acme") -> Plugin:
        """Adds a module with hooks, or declarations, under a namespace, and returns the plugin."""
        self.registry.register(source, namespace)
        return self.plugin(namespace)

    def plugin(self, namespace: str) -> Plugin:
        """The plugin of that namespace."""
        return next(plugin for plugin in self.registry.plugins if plugin.namespace == namespace)


@pytest.fixture
def plugin_host(monkeypatch: pytest.MonkeyPatch) -> PluginHost:
    """An isolated registry: no installed third-party plugin is seen, and nothing that is added outlives the test."""
    host = PluginHost()
    monkeypatch.setattr(_registry, "_current", host.registry)
    return host


@pytest.fixture
def tmp_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Plugin]]:
    """Writes a distribution, with its metadata, that is installed for one test; returns the plugin as it then fares.

    ``tmp_plugin("acme", code)`` makes the module ``tinify_acme`` of ``tinify-acme 1.0``; ``requires`` are its
    requirements, ``files`` further files, by path.
    """
    made: list[str] = []

    def install(
        namespace: str,
        code: str = "",
        *,
        distribution: str | None = None,
        version: str = "1.0",
        requires: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
    ) -> Plugin:
        distribution = distribution or f"tinify-{namespace}"
        module = distribution.replace("-", "_")
        root = tmp_path / distribution
        meta = f"{module}-{version}.dist-info"
        needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
        texts = {
            f"{module}/__init__.py": code,
            f"{meta}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{needs}",
            f"{meta}/entry_points.txt": f"[tinify.plugins]\n{namespace} = {module}\n",
            **(files or {}),
        }
        for name, text in texts.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        made.append(module)
        monkeypatch.syspath_prepend(str(root))
        monkeypatch.setattr(_registry, "_current", None)
        plugins = get_registry().plugins
        return next(one for one in plugins if (one.namespace, one.distribution) == (namespace, distribution))

    yield install
    for name in [name for name in sys.modules if name.partition(".")[0] in made]:
        del sys.modules[name]


@pytest.fixture
def elaborate() -> Callable[..., Architecture]:
    """``elaborate(text, preset=None, **parameters)``: the architecture that a spec's text makes."""

    def made(text: str, preset: str | None = None, **parameters: Any) -> Architecture:
        return Spec.loads(text).elaborate(preset, **parameters)

    return made


@pytest.fixture
def spec_errors() -> Callable[[str], list[tuple[int, int, str]]]:
    """``spec_errors(text)``: line, column and code of everything that is wrong with a spec's text."""

    def found(text: str) -> list[tuple[int, int, str]]:
        try:
            Spec.loads(text).elaborate()
        except DiagnosedSpecError as error:
            return [(one.line, one.column, one.code) for one in error.diagnostics]
        return []

    return found


@pytest.fixture
def run_cli() -> Callable[..., Run]:
    """``run_cli(*words)``: runs ``tinify`` with those words in this process."""
    return run


@pytest.fixture
def fresh_process() -> Callable[[str], str]:
    """``fresh_process(code)``: what Python code prints in a process of its own, which must end well."""

    def run(code: str) -> str:
        start = f"import sys; sys.path[:] = {sys.path!r}\n"
        done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def devices() -> list[torch.device]:
    """The devices of this machine: the CPU, and a GPU where there is one."""
    from tinify.testing import modules

    return modules.devices()
