"""Scripts written for CompressAI run when its name is exchanged for tinify's; nothing else in them changes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("checks", Path(__file__).parent / "field_scripts" / "checks.py")
assert _spec is not None
assert _spec.loader is not None
checks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(checks)


@pytest.mark.parametrize("arch", ["bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean", "cheng2020-anchor"])
def test_inference(arch: str, tmp_path: Path) -> None:
    checks.check_inference("tinify", tmp_path, arch)


def test_training(tmp_path: Path) -> None:
    checks.check_training("tinify", tmp_path)


def test_custom_model(tmp_path: Path) -> None:
    checks.check_custom_model("tinify", tmp_path)
