"""The reference says what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tinify.environment import VARIABLES
from tinify.plugin import KINDS
from tinify.registry import Registry
from tinify.spec.diagnostics import CODES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference.md").read_text(encoding="utf-8")


def test_the_reference_is_current() -> None:
    location = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert location
    assert location.loader
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    assert module.reference() == PAGE, "docs/reference.md is not current: run python docs/make_reference.py"


def test_the_reference_has_everything() -> None:
    own = Registry(only=(), disabled=(), strict=False).components()
    for name in (*CODES, *VARIABLES, *(part.name for part in own)):
        assert f"`{name}`" in PAGE
    for kind in {part.kind for part in own}:
        assert f"### {kind}\n" in PAGE
    assert {part.kind for part in own} <= set(KINDS)
