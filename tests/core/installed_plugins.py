"""Distributions with plugins, written to a temporary folder, and registries of them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tinify.registry import GROUP, Registry

_numbers = itertools.count()
Installer = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    """Writes a distribution with one plugin, and returns the name of its module."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def write(namespace: str, source: str, distribution: str = "", version: str = "1.0", requires: str = "") -> str:
        distribution = distribution or f"tinify-{namespace}"
        module = f"plugin_under_test_{next(_numbers)}"
        folder = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(exist_ok=True)
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{needs}")
        (folder / "entry_points.txt").write_text(f"[{GROUP}]\n{namespace} = {module}\n")
        (tmp_path / module).mkdir()
        (tmp_path / module / "__init__.py").write_text(source)
        return module

    return write


def fresh(tmp_path: Path, **options: Any) -> Registry:
    """A registry of the distributions in the folder, and tinify's own."""
    installed = [point for found in metadata.distributions(path=[str(tmp_path)]) for point in found.entry_points]
    return Registry([*installed, *metadata.entry_points(group=GROUP)], **options)


def status(registry: Registry, namespace: str) -> list[tuple[str, str]]:
    return [(found.status, found.reason) for found in registry.plugins if found.namespace == namespace]
