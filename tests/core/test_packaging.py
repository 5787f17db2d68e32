"""The wheel holds what the tree holds."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
FOLDERS = SETUPTOOLS["package-dir"]


def test_every_package_of_the_tree_is_listed() -> None:
    found = {
        ".".join([name, *init.parent.relative_to(ROOT / folder).parts])
        for name, folder in FOLDERS.items()
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert found == set(SETUPTOOLS["packages"])


@pytest.mark.parametrize("folder", FOLDERS.values())
def test_no_folder_with_code_lacks_its_init(folder: str) -> None:
    assert all((path.parent / "__init__.py").exists() for path in (ROOT / folder).rglob("*.py"))
