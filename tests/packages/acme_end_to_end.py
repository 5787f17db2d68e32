"""Acme's spec, trained for a few steps, codes a picture here and decodes it in another process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import tinify
from tinify.zoo import load_codec

STEPS = 20


def picture(seed: int, height: int, width: int) -> Image.Image:
    """Soft waves of colour."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 32
    waves = [np.sin(a * x + b * y + c) for a, b, c in random.normal(0, 2, (3, 3))]
    return Image.fromarray((127 + 100 * np.stack(waves, 2)).astype(np.uint8))


def command(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "tinify.cli", *map(str, words)], check=True)


with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    (folder / "photos").mkdir()
    for seed in range(6):
        picture(seed, 96, 128).save(folder / "photos" / f"{seed}.png")
    command(
        "train", "acme/tiny", "--data", folder / "photos", "--out", folder / "run", "--steps", STEPS, "--crop", 64,
        "--batch", 4, "--lr", 1e-3, "--quiet",
    )  # fmt: skip
    weights = folder / "run" / "model.safetensors"
    codec = load_codec(weights)
    assert codec.model.coder is not None
    assert codec.model.coder.name == "acme/bigint"
    assert tinify.available_entropy_coders()[-1] == "acme/bigint"
    image = picture(99, 75, 101)
    data = tinify.compress(image, model=weights)
    here = np.asarray(tinify.decompress(data, model=weights))
    (folder / "picture.tfy").write_bytes(data)
    command("decompress", folder / "picture.tfy", folder / "back.png", "--model", weights)
    there = np.asarray(Image.open(folder / "back.png"))
    assert here.shape == there.shape == (75, 101, 3)
    assert np.array_equal(here, there), "another process decodes other pixels"
    command("-p", "no:acme", "list", "specs")
    refused = subprocess.run(
        [sys.executable, "-m", "tinify.cli", "-p", "no:acme", "decompress", folder / "picture.tfy", folder / "no.png",
         "--model", weights],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert refused.returncode == 2, refused
    assert "this model needs plugin acme (tinify-acme 0.3.0)" in refused.stderr, refused.stderr
    assert not (folder / "no.png").exists()
    print(f"{len(data)} bytes; equal pixels from another process; without acme: {refused.stderr.strip()}")
