"""The entropy coder of a process and models: strings follow it, files and models do not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tinify
from tinify.checkpoint import model_digest, save_model
from tinify.codec import Codec
from tinify.coders.range_coder import RangeCoder
from tinify.entropy_models import GaussianConditional, get_scale_table
from tinify.images import Picture

PICTURE = Picture(np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8))


SMALL = """\
tinify: 1
name: small
model:
  type: autoencoder
  g_a: [{type: conv, out: 4, kernel: 3}]
  latent_codec: entropy_bottleneck
  g_s: [{type: deconv, out: 3, kernel: 3}]
"""


def small(coder: str = "") -> tinify.models.CompressionModel:
    torch.manual_seed(0)
    model = tinify.build_model(tinify.Spec.loads(SMALL + coder).elaborate()).eval()
    model.ensure_tables()
    return model


@pytest.fixture(autouse=True)
def no_choice_remains() -> Iterator[None]:
    yield
    tinify.set_entropy_coder("ans")


def test_strings_follow_the_choice() -> None:
    model, x = small(), torch.rand(1, 3, 32, 32)
    rans = model.compress(x)
    tinify.set_entropy_coder("rangecoder")
    chosen = model.compress(x)
    assert chosen["strings"] != rans["strings"]
    assert torch.equal(chosen["y_hat"], rans["y_hat"])
    assert torch.equal(
        model.decompress(chosen["strings"], chosen["shape"])["x_hat"], model.reconstruct(rans["y_hat"])["x_hat"]
    )
    model.use_coder(RangeCoder())
    tinify.set_entropy_coder("ans")
    assert model.compress(x)["strings"] == chosen["strings"]


def test_an_entropy_model_alone_follows_it_too() -> None:
    model = GaussianConditional(get_scale_table()).eval()
    y, scales = torch.randn(2, 4, 5, 5) * 8, torch.full((2, 4, 5, 5), 8.0)
    indexes = model.build_indexes(scales)
    rans = model.compress(y, indexes)
    tinify.set_entropy_coder("rangecoder")
    strings = model.compress(y, indexes)
    assert strings != rans
    assert torch.equal(model.decompress(strings, indexes), torch.round(y))


def test_a_model_is_what_it_was() -> None:
    model = small()
    digest, spec = model_digest(model), model.to_spec().elaborate().id
    tinify.set_entropy_coder("rangecoder")
    codec = Codec(model)
    codec.compress(PICTURE)
    assert model_digest(model) == digest == codec.digest
    assert model.to_spec().elaborate().id == spec
    assert model.coder is None


def test_a_spec_names_another_coder_for_its_files() -> None:
    ranged, plain = Codec(small("  coder: rangecoder\n")), Codec(small())
    data = ranged.compress(PICTURE)
    assert ranged.digest != plain.digest
    assert len(data) != len(plain.compress(PICTURE))
    tinify.set_entropy_coder("rangecoder")
    assert ranged.compress(PICTURE) == data
    tinify.set_entropy_coder("ans")
    assert np.array_equal(ranged.decompress(data).pixels, plain.reconstruct(PICTURE).pixels)


def test_files_do_not_follow_it(tmp_path: Path) -> None:
    codec = Codec(small())
    data = codec.compress(PICTURE)
    tinify.set_entropy_coder("rangecoder")
    assert codec.compress(PICTURE) == data
    assert Codec(small()).compress(PICTURE) == data
    assert np.array_equal(codec.decompress(data).pixels, codec.reconstruct(PICTURE).pixels)

    save_model(codec.model, tmp_path / "model.safetensors")
    written = tinify.compress(PICTURE.pixels, model=tmp_path / "model.safetensors")
    (tmp_path / "picture.tfy").write_bytes(written)
    command = ["decompress", "picture.tfy", "back.png", "--model", "model.safetensors"]
    subprocess.run([sys.executable, "-m", "tinify.cli", *command], cwd=tmp_path, check=True, capture_output=True)
    here = tinify.decompress(written, model=tmp_path / "model.safetensors")
    with Image.open(tmp_path / "back.png") as there:
        assert np.array_equal(np.asarray(there), np.asarray(here))
