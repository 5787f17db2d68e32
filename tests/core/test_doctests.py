"""Every example in a docstring runs and gives what it shows."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
from pathlib import Path

import pytest

import tinify

# What a machine without torch can try; with torch the others join in.
TORCH_FREE = (
    "ans", "builder", "chunks", "coders", "container", "environment", "errors", "files", "host", "images", "plugin",
    "registry", "samples", "spec", "weights",
)  # fmt: skip


def modules_with_examples() -> list[str]:
    root = Path(tinify.__file__).parent
    paths = [path.relative_to(root) for path in sorted(root.rglob("*.py")) if ">>> " in path.read_text("utf-8")]
    if importlib.util.find_spec("torch") is None:
        paths = [path for path in paths if path.parts[0].removesuffix(".py") in TORCH_FREE]
    return [".".join(("tinify", *path.with_suffix("").parts)).removesuffix(".__init__") for path in paths]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_give_what_they_show(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted
    assert not results.failed
