"""What each of the scripts has to give, whichever library it runs with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

_spec = importlib.util.spec_from_file_location("running", Path(__file__).with_name("running.py"))
assert _spec is not None
assert _spec.loader is not None
_running = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_running)


def _picture(seed: int, height: int, width: int) -> Image.Image:
    """A smooth picture with a little noise."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / 20
    waves = [np.sin(rows * random.random() + columns * random.random()) for _ in range(3)]
    pixels = 128 + 90 * np.stack(waves, 2) + random.normal(0, 4, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def check_inference(library: str, folder: Path, arch: str) -> dict[str, Any]:
    path = folder / "picture.png"
    _picture(0, 70, 50).save(path)
    found: dict[str, Any] = _running.run_script("inference.py", library, arch, path, folder / "checkpoint.pth.tar")
    hyper = "factorized" not in arch
    assert found["size"] == [1, 3, 70, 50]
    assert found["strings"] == len(found["latents"]) == 1 + hyper
    assert found["shape"] == ([2, 1] if hyper else [8, 4])
    assert found["latents"]["y"] == [1, found["M"], 8, 4]
    assert found["factor"] == (64 if hyper else 16)
    assert found["bpp"] == pytest.approx(found["estimated bpp"], rel=0.05, abs=0.2)
    return found


def check_training(library: str, folder: Path) -> None:
    for split, count in (("train", 16), ("test", 2)):
        (folder / split).mkdir()
        for index in range(count):
            _picture(index, 72, 80).save(folder / split / f"{index}.png")
    found = _running.run_script("train.py", library, folder, folder / "checkpoint.pth.tar")
    before, *_, after = found["results"]
    assert after["loss"] < before["loss"]
    assert after["aux"] < before["aux"]
    assert found["lengths"] == [2, 2]
    assert found["difference"] < 1e-4


def check_custom_model(library: str, folder: Path) -> list[list[str]]:
    results = _running.run_script("custom_model.py", library, folder / "checkpoint.pth")
    for found, shape in zip(results, ([8, 4], [2, 1]), strict=True):
        assert found["updated"] == [True, False]
        assert found["same strings"]
        assert found["strings"] == [2, 2]
        assert found["shape"] == shape
        assert found["losses"][-1] < found["losses"][0]
        assert found["difference"] < 1e-4
    return [found["keys"] for found in results]
