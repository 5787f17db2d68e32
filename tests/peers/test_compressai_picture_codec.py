"""CompressAI's models as picture codecs: files of any size there and back, and what CompressAI itself makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from peer import peer
from tinify_plugins.compressai.importing import architectures

from tinify.errors import CorruptFileError, SpecError, UnknownNameError
from tinify.evaluation.bench import evaluate
from tinify.evaluation.codec import open_codec
from tinify.images import Picture, write_picture

SMALL = ("bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean", "cheng2020-anchor-checkerboard")


@pytest.mark.parametrize("name", SMALL)
def test_pictures_of_any_size_come_back(name: str) -> None:
    assert name in architectures()
    codec = open_codec(f"compressai[architecture={name},quality=1]")
    for height, width in ((64, 64), (33, 130), (1, 1)):
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        data = codec.encode(pixels, None)
        assert codec.decode(data).shape == pixels.shape
        with pytest.raises(CorruptFileError):
            codec.decode(data[:-1])


def test_a_checkpoint_is_what_compressai_makes_of_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = peer("models").MeanScaleHyperprior(16, 24).eval()
    model.update()
    torch.save(model.state_dict(), tmp_path / "small.pth")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    with torch.no_grad():
        packed = model.compress(torch.tensor(pixels).permute(2, 0, 1)[None] / 255)
        x_hat = model.decompress(**packed)["x_hat"]
    codec = open_codec(f"compressai[architecture=mbt2018-mean,checkpoint={tmp_path / 'small.pth'}]")
    data = codec.encode(pixels, None)
    assert data.endswith(b"".join(strings[0] for strings in packed["strings"]))
    assert np.array_equal(codec.decode(data), x_hat[0].permute(1, 2, 0).mul(255).round().byte().numpy())
    write_picture(Picture(pixels), tmp_path / "a.png")
    found = evaluate({"peer": codec}, tmp_path, rounds=1, memory=False, limit=1).codecs[0]
    assert found.points[0].pictures[0].bytes == len(data)
    assert found.points[0].estimated_bpp == pytest.approx(found.points[0].bpp, rel=0.05, abs=0.1)


def test_what_compressai_has_not_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mbt2018-mean'"):
        open_codec("compressai[architecture=mbt2018-means]")
    with pytest.raises(SpecError, match="at most 8"):
        open_codec("compressai[architecture=mbt2018-mean,quality=9]")
