"""The tutorial runs on a small data set; the reader of MNIST names what is wrong; the spec is the published model."""

from __future__ import annotations

import gzip
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import tinify
from tinify.datasets import MNIST
from tinify.datasets.mnist import read_idx
from tinify.errors import DataError
from tinify.layers.same import SameConv2d, SameConvTranspose2d

PAGE = Path(__file__).parents[1] / "docs/tutorials/mnist.md"


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as an idx file."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set like MNIST, of soft blobs: packed to learn from, not packed to check."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:28, :28]
    for name, count in (("train", 256), ("t10k", 80)):
        centres = rng.uniform(8, 20, (2, count, 1, 1))
        blobs = 255 * np.exp(-((y - centres[0]) ** 2 + (x - centres[1]) ** 2) / 20)
        images, labels = idx(blobs.astype(np.uint8)), idx(rng.integers(0, 10, count).astype(np.uint8))
        packed = name == "train"
        for kind, data in (("images-idx3", images), ("labels-idx1", labels)):
            file = tmp_path / f"{name}-{kind}-ubyte{'.gz' if packed else ''}"
            file.write_bytes(gzip.compress(data) if packed else data)
    return tmp_path


def test_the_page_runs(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TINIFY_MNIST", str(folder))
    monkeypatch.setenv("TINIFY_EPOCHS", "2")
    page = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", page)
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, PAGE.name, "exec", dont_inherit=True), page.__dict__)
    told = capsys.readouterr().out
    assert "256 digits to learn from, 80 to check" in told
    assert re.search(r"0x[0-9a-f]+, \d+ bytes for [\d.]+ bits", told)
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", told)]
    assert losses[0] > losses[1]
    for name, wide in (("2000", 8), ("500", 8), ("300", 8), ("sampled", 4)):
        with Image.open(folder / f"digits-{name}.png") as picture:
            assert picture.size == (3 * 28 * wide, 3 * 28 * 4)
    y_hat = page.decompress(page.compress(page.digits)[0])
    x_hat = page.model(page.digits / 255)["x_hat"]
    assert torch.equal(y_hat, (255 * x_hat).round().clamp(0, 255).byte())


def test_the_spec_is_the_published_model() -> None:
    model = tinify.create_model("mnist").eval()
    counts = [sum(one.numel() for one in part.parameters()) for part in (model.g_a, model.latent_codec, model.g_s)]
    assert counts == [1_276_120, 50, 1_278_471]
    x = torch.rand(3, 1, 28, 28)
    for length, bits in ((10, 20.296253), (50, 101.48127)):
        untrained = tinify.create_model("mnist", L=length).eval()
        rates = -torch.log2(untrained(x)["likelihoods"]["y"]).flatten(1).sum(1)
        assert torch.allclose(rates, torch.full((3,), bits), atol=1e-4)
    packed = model.compress(x)
    assert torch.equal(model.decompress(packed["strings"], packed["shape"])["x_hat"], model(x)["x_hat"].clamp(0, 1))
    assert all(8 * len(string) <= 101.5 + 8 for string in packed["strings"][0])
    two = model.compress(torch.rand(1, 1, 56, 28))  # pictures of several digits are coded as well
    assert model.decompress(two["strings"], two["shape"])["x_hat"].shape == (1, 1, 56, 28)


def test_same_convolutions_pad_behind_first() -> None:
    layer = SameConv2d(1, 1, 5, 2)
    x = torch.rand(1, 1, 28, 28)
    padded = F.pad(x, (1, 2, 1, 2))
    expected = F.conv2d(padded, layer.weight, layer.bias, stride=2)
    assert torch.equal(layer(x), expected)
    back = SameConvTranspose2d(1, 1, 5, 2)
    whole = F.conv_transpose2d(layer(x), back.weight, back.bias, stride=2)
    assert whole.shape[2:] == (31, 31)
    assert torch.equal(back(layer(x)), whole[:, :, 1:-2, 1:-2])
    with torch.no_grad():
        back.weight.copy_(layer.weight)
    y = torch.rand(1, 1, 14, 14)  # the transposed convolution is the adjoint
    layer.bias.data.zero_()
    assert torch.allclose((layer(x) * y).sum(), (x * back(y)).sum())
    dense, wide = SameConv2d(6, 4, 1, 1), torch.rand(2, 6, 3, 3)
    assert torch.allclose(dense(wide)[:, :, :1, 1:2], dense(wide[:, :, :1, 1:2]), atol=1e-6)
    bound = (6 / (25 * 3 + 25 * 8)) ** 0.5
    weight = SameConv2d(3, 8, 5, 2).weight
    assert 0.9 * bound < weight.abs().max() <= bound
    assert not layer.bias.any()


def test_the_data_set(folder: Path) -> None:
    train, test = MNIST(folder), MNIST(folder, "test", transform=lambda image: image / 255)
    assert (len(train), len(test)) == (256, 80)
    image, label = train[3]
    assert (image.shape, image.dtype, label) == ((1, 28, 28), torch.uint8, int(train.labels[3]))
    assert torch.equal(test[5][0], test.images[5] / 255)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no idx file"),
        (b"GIF89a..", "no idx file"),
        (b"\0\0\x0d\x01\0\0\0\0", "no idx file"),
        (b"\0\0\x08\x03\0\0\0\x01", "no idx file"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "has 3 bytes where it says"),
        (gzip.compress(bytes(1000), mtime=0)[:-9], "cannot be read"),
        (b"\x1f\x8b" + bytes(30), "cannot be read"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_missing_files_and_splits_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match="expected 'train' or 'test'"):
        MNIST(folder, "valid")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="has no t10k-labels-idx1-ubyte"):
        MNIST(folder, "test")
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(79, np.uint8)))
    with pytest.raises(DataError, match="do not belong together"):
        MNIST(folder, "test")
