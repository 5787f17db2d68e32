"""The scripts that tinify runs are CompressAI's indeed: it runs them too, to the same figures."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from peer import peer

TESTS = Path(__file__).parents[1]


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


checks = _module(TESTS / "field_scripts" / "checks.py")
# The scripts import CompressAI and its dependencies, whose warnings are no concern of ours.
pytestmark = pytest.mark.filterwarnings("ignore")
assert peer("models")


@pytest.mark.parametrize("arch", ["bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean", "cheng2020-anchor"])
def test_inference(arch: str, tmp_path: Path) -> None:
    theirs = checks.check_inference("compressai", tmp_path, arch)
    ours = checks.check_inference("tinify", tmp_path, arch)
    assert ours.keys() == theirs.keys()
    for name in ("size", "N", "M", "factor", "shape", "strings", "latents"):
        assert ours[name] == theirs[name]


def test_training(tmp_path: Path) -> None:
    checks.check_training("compressai", tmp_path)


def test_custom_model(tmp_path: Path) -> None:
    assert checks.check_custom_model("compressai", tmp_path) == checks.check_custom_model("tinify", tmp_path)
