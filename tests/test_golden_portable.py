"""Golden portable files: weights, a file and its exact pixels, which every later version has to decode alike.

``python tests/test_golden_portable.py`` writes them; that is for new ones alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tinify.checkpoint import load_checkpoint, save_model
from tinify.codec import Codec
from tinify.exact import CARRIERS, use_carrier
from tinify.freezing import freeze_portable
from tinify.images import Picture, read_picture, write_picture
from tinify.models import build_model
from tinify.spec import Spec

HERE = Path(__file__).parent / "golden_portable"
GAUSSIAN = {"gaussian_conditional": {"type": "gaussian_conditional", "scale_max": 4.0, "levels": 16}}
SPECS: dict[str, tuple[str, list[str]]] = {
    "hyperprior": ("mbt2018-mean", ["y"]),
    "checkerboard": ("cheng2020-anchor-checkerboard", ["y", "y"]),
    "raster-scan": ("mbt2018", ["y"]),
    "quadtree": ("tinify-photo", ["latent_codec", "y", "latent_codec", "latent_codec"]),
}
CONVOLUTIONS = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
SIZES = {
    "hyperprior": {"N": 6, "M": 8},
    "checkerboard": {"N": 6},
    "raster-scan": {"N": 6, "M": 8},
    "quadtree": {"N": 8, "M": 8, "Z": 4, "F": 8, "B": 1, "D": 0},
}


@pytest.mark.parametrize("name", SPECS)
def test_golden_files_decode_to_their_pixels(name: str) -> None:
    model = load_checkpoint(HERE / f"{name}.safetensors")
    data, wanted = (HERE / f"{name}.tfy").read_bytes(), read_picture(HERE / f"{name}.png").pixels
    codec = Codec(model, exact_pixels=True)
    for carrier in CARRIERS:
        use_carrier(model, carrier)
        assert np.array_equal(codec.decompress(data).pixels, wanted), carrier


def picture() -> Picture:
    """Slopes, edges and noise."""
    y, x = np.mgrid[0:56, 0:72]
    pixels = np.stack([3 * x, 4 * y, (x * y) // 16], 2)
    pixels[10:30, 20:50] = (200, 40, 90)
    pixels[32:, 40:] += np.random.default_rng(0).integers(-60, 60, (24, 32, 3))
    return Picture(pixels.clip(0, 255).astype(np.uint8))


def write(name: str) -> None:
    torch.manual_seed(0)
    parent, path = SPECS[name]
    node: Any = GAUSSIAN
    for part in reversed(["latent_codec", *path]):
        node = {part: node}
    text = {"tinify": 1, "name": f"golden-{name}", "extends": parent, "model": node}
    model: Any = build_model(Spec.loads(yaml.safe_dump(text)).elaborate(**SIZES[name])).eval()
    with torch.no_grad():
        [*_, last] = (part for part in model.g_a.modules() if isinstance(part, torch.nn.Conv2d))
        last.weight.mul_(20)
        [*_, last] = (part for part in model.g_s.modules() if isinstance(part, CONVOLUTIONS))
        last.weight.mul_(3)
        last.bias.fill_(0.0 if name == "quadtree" else 0.5)
        for key, weight in model.latent_codec.named_parameters():
            if weight.ndim == 4:
                weight.mul_(4 if ".h_a." in key else 1.5)
    noise = [torch.rand(1, 3, 128, 128).round(decimals=1) for _ in range(4)]
    portable = freeze_portable(model, noise)
    save_model(portable, HERE / f"{name}.safetensors")
    codec = Codec(portable, exact_pixels=True)
    data = codec.compress(picture())
    (HERE / f"{name}.tfy").write_bytes(data)
    write_picture(codec.decompress(data), HERE / f"{name}.png")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for golden in SPECS:
        write(golden)
