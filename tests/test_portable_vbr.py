"""Portable models of variable rate by one step: every quality decodes alike, whatever computes it."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from test_vbr import SPECS, lively
from tinify_plugins.vbr.gain import ExactLevelGain, LevelGain
from tinify_plugins.vbr.latent_codecs import StepNet
from tinify_plugins.vbr.offsets import ReconstructionOffset
from tinify_plugins.vbr.quality import InputScale
from torch import Tensor

import tinify
from tinify.checkpoint import load_checkpoint, save_model
from tinify.codec import Codec
from tinify.errors import InputError
from tinify.exact import CARRIERS, FORMS, Reproduced, exact_layers, fine_tune, use_carrier
from tinify.freezing import freeze_portable
from tinify.images import Picture
from tinify.latent_codecs.witness import witness
from tinify.models import CompressionModel
from tinify.models.portable import PORTABLE, make_portable, thawed

FROZEN = {name: {} for name in SPECS} | {"one step": {"vr_entbttlnck": False}}


def pictures(count: int = 3, side: int = 64) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [
        torch.nn.functional.interpolate(torch.rand(1, 3, side // 8, side // 8, generator=random), scale_factor=8)
        for _ in range(count)
    ]


@lru_cache
def frozen(kind: str) -> tuple[CompressionModel, CompressionModel]:
    torch.manual_seed(1)
    name = "mbt2018-mean-vbr" if kind == "one step" else kind
    model = lively(tinify.create_model(name, N=8, M=12, **FROZEN[kind]))
    return model, freeze_portable(model, pictures())


@pytest.fixture(params=FROZEN)
def pair(request: pytest.FixtureRequest) -> tuple[CompressionModel, CompressionModel]:
    """A float model, and what freezing makes of it."""
    return frozen(request.param)


@pytest.fixture
def raster() -> CompressionModel:
    return frozen("mbt2018-vbr")[1]


def coded(model: CompressionModel, x: Tensor, quality: float) -> tuple[int, int, Tensor]:
    """Checksums of what is coded and of what is decoded, and the latent, which both have."""
    with witness() as written:
        packed = model.compress(x, quality=quality)  # type: ignore[call-arg]
    with witness() as read:
        found = model.latent_codec.decompress(packed["strings"], packed["shape"], quality=quality)["y_hat"]  # type: ignore[operator, union-attr]
    assert torch.equal(found, packed["y_hat"])
    assert written.symbols
    return written.checksum, read.checksum, found


@pytest.mark.parametrize("quality", [1.0, 4.567, InputScale(3.0)])
def test_every_quality_decodes_in_every_carrier(
    pair: tuple[CompressionModel, CompressionModel], quality: float
) -> None:
    x = torch.cat([*pictures(1), torch.rand(1, 3, 64, 64), torch.ones(1, 3, 64, 64)])
    try:
        found = []
        for carrier in CARRIERS:
            use_carrier(pair[1], carrier)
            found.append(coded(pair[1], x, quality))
    finally:
        use_carrier(pair[1], CARRIERS[0])
    assert len({checksum for written, read, _ in found for checksum in (written, read)}) == 1
    assert all(torch.equal(y_hat, found[0][2]) for *_, y_hat in found)


def test_it_is_near_the_float_model(pair: tuple[CompressionModel, CompressionModel]) -> None:
    sizes = [
        sum(len(one) for x in pictures() for strings in model.compress(x, quality=6.5)["strings"] for one in strings)  # type: ignore[call-arg]
        for model in pair
    ]
    assert sizes[1] < 1.03 * sizes[0] + 16


def test_an_item_decodes_alone_as_in_a_batch(pair: tuple[CompressionModel, CompressionModel]) -> None:
    x = torch.cat(pictures(2))
    packed = pair[1].compress(x, quality=3.3)  # type: ignore[call-arg]
    for item in range(len(x)):
        strings = [[one[item]] for one in packed["strings"]]
        y_hat = pair[1].latent_codec.decompress(strings, packed["shape"], quality=3.3)["y_hat"]  # type: ignore[operator, union-attr]
        assert torch.equal(y_hat[0], packed["y_hat"][item])


def test_a_checkpoint_brings_it_back(pair: tuple[CompressionModel, CompressionModel], tmp_path: Path) -> None:
    save_model(pair[1], tmp_path / "portable.safetensors")
    again = load_checkpoint(tmp_path / "portable.safetensors")
    assert again.arithmetic == PORTABLE
    assert again.self_test == pair[1].self_test
    random = np.random.default_rng(0)
    shown = Picture(random.integers(0, 256, (9, 13, 3), np.uint8).repeat(7, 0).repeat(7, 1))
    data = Codec(pair[1]).compress(shown, quality=2.7)
    assert np.array_equal(Codec(again).decompress(data).pixels, Codec(pair[1]).decompress(data).pixels)
    model = thawed(again)
    assert model.arithmetic == "float32"
    for name, parameter in pair[0].named_parameters():
        if "levels" in name or ".step." in name or ".offset." in name:
            assert torch.allclose(model.get_parameter(name), parameter, rtol=1e-5), name


def test_forward_gives_the_latent_of_compress(pair: tuple[CompressionModel, CompressionModel]) -> None:
    [x] = pictures(1)
    portable = pair[1]
    y_hat = portable.latent_codec(portable.g_a(x), quality=5.0)["y_hat"]  # type: ignore[operator]
    assert torch.equal(y_hat, portable.compress(x, quality=5.0)["y_hat"])  # type: ignore[call-arg]


PROBE = """
import sys, torch
from tinify.checkpoint import load_checkpoint
from tinify.latent_codecs.witness import witness
model = load_checkpoint(sys.argv[1])
packed = torch.load(sys.argv[2])
for threads, layout, onednn in ((1, torch.contiguous_format, False), (2, torch.channels_last, True)):
    torch.set_num_threads(threads)
    model.to(memory_format=layout)
    with torch.backends.mkldnn.flags(enabled=onednn), witness() as seen:
        y_hat = model.latent_codec.decompress(packed["strings"], torch.Size(packed["shape"]), quality=4.5)["y_hat"]
    assert torch.equal(y_hat, packed["y_hat"])
    print(seen.checksum)
"""


def test_another_setting_of_the_machine_decodes_the_same(raster: CompressionModel, tmp_path: Path) -> None:
    save_model(raster, tmp_path / "portable.safetensors")
    with witness() as seen:
        packed = raster.compress(torch.cat(pictures(2)), quality=4.5)  # type: ignore[call-arg]
    torch.save({**packed, "shape": tuple(packed["shape"])}, tmp_path / "packed.pt")
    command = [sys.executable, "-c", PROBE, str(tmp_path / "portable.safetensors"), str(tmp_path / "packed.pt")]
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "default"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert list(map(int, found.stdout.split())) == 2 * [seen.checksum]


def test_a_raster_scan_is_tuned_as_well() -> None:
    model = lively(tinify.create_model("mbt2018-vbr", N=8, M=12))
    [x] = pictures(1)
    make_portable(model, lambda model: model(x), lambda model, paths: fine_tune(model, paths, [x], 1))
    written, read, _ = coded(model, x, 5.0)
    assert written == read


def test_gains_are_near_those_of_floats() -> None:
    gain = LevelGain(5, 0.02)
    exact = ExactLevelGain.of(gain)
    quality = torch.linspace(1, 5, 401)
    assert exact.qualities == gain.qualities
    assert torch.allclose(exact(quality), gain(quality), rtol=2e-5)
    assert exact(InputScale(0.3)).item() == gain(InputScale(0.3)).item()
    assert torch.allclose(exact.thawed()["levels"], gain.levels, rtol=1e-5)
    with pytest.raises(InputError, match="from 1 to 5"):
        exact(5.5)
    with torch.no_grad():
        gain.levels[1] = 0.0
    with pytest.raises(InputError, match="expected positive"):
        ExactLevelGain.of(gain)


def test_small_networks_are_reproduced(raster: CompressionModel) -> None:
    assert FORMS[StepNet] is FORMS[ReconstructionOffset] is Reproduced
    found = [part for part in raster.modules() if isinstance(part, Reproduced)]
    assert {type(part.module) for part in found} == {StepNet, ReconstructionOffset}
    assert not any(list(exact_layers(part)) for part in found)
