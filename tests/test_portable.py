"""Portable models: the same symbols whatever carries the sums, and errors that say what is wrong."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tinify import container
from tinify.checkpoint import load_checkpoint, model_digest, save_model, tables_digest, write_safetensors
from tinify.codec import Codec
from tinify.errors import CheckpointError, CorruptFileError, CorruptStreamError, InputError
from tinify.exact import CARRIERS, ExactLayer, exact_layers, use_carrier
from tinify.freezing import calibration, freeze_portable
from tinify.images import Picture, write_picture
from tinify.latent_codecs.witness import witness
from tinify.models import CompressionModel, build_model
from tinify.models.portable import MOST_BYTES, PORTABLE, SelfTest, index_path, make_portable, settle, thawed
from tinify.spec import Spec

PHOTO = {"N": 8, "M": 8, "Z": 4, "F": 8, "B": 1, "D": 0}
MODELS: dict[str, dict[str, Any]] = {
    "bmshj2018-factorized": {"N": 8, "M": 12},
    "bmshj2018-hyperprior": {"N": 8, "M": 12},
    "mbt2018-mean": {"N": 8, "M": 12},
    "mbt2018": {"N": 8, "M": 12},
    "cheng2020-anchor": {"N": 8},
    "cheng2020-anchor-checkerboard": {"N": 8},
    "elic2022-official": {"N": 8, "M": 16, "groups": [2, 2, 4, 8]},
    "channel-conditional": {"N": 8, "M": 12},
    "tinify-photo": PHOTO,
}


CONDITIONAL = """
tinify: 1
name: channel-conditional
extends: mbt2018-mean
model: {latent_codec: {y: {type: channel_conditional, channels: M, hidden: 16, y: {type: gaussian_conditional}}}}
"""


def lively(name: str, seed: int = 0, **parameters: Any) -> CompressionModel:
    """A random model whose latents are not all zero."""
    torch.manual_seed(seed)
    spec = Spec.loads(CONDITIONAL) if name == "channel-conditional" else Spec.load(name)
    model = build_model(spec.elaborate(**parameters)).eval()
    with torch.no_grad():
        for path, weight in model.named_parameters():
            if path.startswith("g_a") and path.endswith("weight") and weight.ndim == 4:
                weight.mul_(2.0)
            elif path.startswith("latent_codec") and weight.ndim == 4:
                weight.mul_(1.5)
    return model


def pictures(count: int = 3, side: int = 128) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [
        torch.nn.functional.interpolate(torch.rand(1, 3, side // 8, side // 8, generator=random), scale_factor=8)
        for _ in range(count)
    ]


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest) -> tuple[CompressionModel, CompressionModel]:
    """A float model, and what freezing makes of it."""
    model = lively(request.param, **MODELS[request.param])
    return model, freeze_portable(model, pictures())


@pytest.fixture(scope="module")
def photo() -> CompressionModel:
    return freeze_portable(lively("tinify-photo", **PHOTO), pictures())


def test_all_that_chooses_tables_is_exchanged(pair: tuple[CompressionModel, CompressionModel]) -> None:
    model, portable = pair
    assert (model.arithmetic, portable.arithmetic) == ("float32", PORTABLE)
    for path in index_path(portable):
        assert not list(portable.get_submodule(path).parameters()), path
    paths = {name for name, _ in exact_layers(portable)}
    assert all(name.startswith("latent_codec") for name in paths)
    assert bool(paths) == ("factorized" not in portable.architecture.name)  # type: ignore[union-attr]


def test_transforms_and_tables_stay(pair: tuple[CompressionModel, CompressionModel]) -> None:
    model, portable = pair
    before, after = model.state_dict(), portable.state_dict()
    kept = [name for name in before if name.startswith(("g_a", "g_s")) or "entropy_bottleneck" in name]
    assert kept
    for name in kept:
        assert torch.equal(before[name], after[name]), name


@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_carrier_decodes_what_another_coded(
    pair: tuple[CompressionModel, CompressionModel], carrier: str
) -> None:
    _, portable = pair
    x = torch.cat([*pictures(2), torch.rand(1, 3, 128, 128), torch.ones(1, 3, 128, 128)])
    try:
        with witness() as coded:
            packed = portable.compress(x)
        use_carrier(portable, carrier)
        with witness() as decoded:
            y_hat = portable.latent_codec.decompress(packed["strings"], packed["shape"])["y_hat"]
    finally:
        use_carrier(portable, CARRIERS[0])
    assert coded.checksum == decoded.checksum
    assert coded.symbols > 0
    assert torch.equal(y_hat, packed["y_hat"])


def test_an_item_decodes_alike_alone_and_in_a_batch(pair: tuple[CompressionModel, CompressionModel]) -> None:
    _, portable = pair
    x = torch.cat([*pictures(2), torch.rand(1, 3, 128, 128)])
    packed = portable.compress(x)
    for item in range(len(x)):
        strings = [[one[item]] for one in packed["strings"]]
        y_hat = portable.latent_codec.decompress(strings, packed["shape"])["y_hat"]
        assert torch.equal(y_hat[0], packed["y_hat"][item])


def test_the_rate_is_near_that_of_the_float_model(pair: tuple[CompressionModel, CompressionModel]) -> None:
    model, portable = pair
    rates = []
    for one in (model, portable):
        with torch.no_grad():
            found = [one(x)["likelihoods"].values() for x in pictures()]
        rates.append(sum(float(-likelihood.log2().sum()) for values in found for likelihood in values))
    assert rates[1] < 1.05 * rates[0] + 64


def test_a_checkpoint_brings_it_back(pair: tuple[CompressionModel, CompressionModel], tmp_path: Path) -> None:
    _, portable = pair
    save_model(portable, tmp_path / "portable.safetensors")
    again = load_checkpoint(tmp_path / "portable.safetensors")
    assert again.arithmetic == PORTABLE
    assert (model_digest(again), tables_digest(again)) == (model_digest(portable), tables_digest(portable))
    assert again.self_test == portable.self_test
    [x] = pictures(1)
    assert torch.equal(again.compress(x)["y_hat"], portable.compress(x)["y_hat"])


def test_the_self_test_is_short_and_passes(pair: tuple[CompressionModel, CompressionModel]) -> None:
    _, portable = pair
    test = portable.self_test
    assert test.size <= MOST_BYTES
    assert test.passes(portable)
    assert SelfTest.from_json(test.to_json()) == test


def picture() -> Picture:
    random = np.random.default_rng(0)
    return Picture(random.integers(0, 256, (9, 13, 3), np.uint8).repeat(7, 0).repeat(7, 1))


def test_files_say_their_arithmetic(photo: CompressionModel) -> None:
    codec = Codec(photo, tile=64, overlap=8)
    packed = container.read(codec.compress(picture()))
    assert packed.header.profile == PORTABLE
    assert packed.header.tables == tables_digest(photo)
    assert len(packed.tiles) > 1
    assert all(tile.checksum is not None for tile in packed.tiles)
    assert np.array_equal(codec.decode(packed).pixels, codec.reconstruct(picture()).pixels)
    plain = container.read(Codec(lively("tinify-photo", **PHOTO)).compress(picture()))
    assert plain.header.profile == "float32"
    assert plain.header.tables is not None


def test_other_symbols_are_named_and_never_shown(photo: CompressionModel) -> None:
    for model, said in (
        (photo, "is portable"),
        (lively("tinify-photo", **PHOTO), "float arithmetic on another device"),
    ):
        codec = Codec(model)
        packed = container.read(codec.compress(picture()))
        [tile] = packed.tiles
        assert tile.checksum is not None
        wrong = dataclasses.replace(tile, checksum=tile.checksum ^ 1)
        with pytest.raises(CorruptStreamError, match=said):
            codec.decode(dataclasses.replace(packed, tiles=(wrong,)))
        other = dataclasses.replace(packed.header, tables=bytes(4))
        with pytest.raises(CorruptFileError, match="other coding tables"):
            codec.decode(dataclasses.replace(packed, header=other))
        header = dataclasses.replace(packed.header, profile={"float32": PORTABLE}.get(packed.header.profile, "float32"))
        with pytest.raises(CorruptFileError, match="arithmetic"):
            codec.decode(dataclasses.replace(packed, header=header))
        header = dataclasses.replace(packed.header, tables=None)  # as files were before they carried checksums
        unmarked = dataclasses.replace(packed, header=header, tiles=(dataclasses.replace(tile, checksum=None),))
        assert np.array_equal(codec.decode(unmarked).pixels, codec.decode(packed).pixels)


def test_float_models_that_differ_in_the_last_bits_are_caught() -> None:
    """The same weights, but for noise as small as another library's: what is decoded is another picture, or nothing."""
    model = lively("tinify-photo", **PHOTO)
    data = container.read(Codec(model).compress(picture()))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "entropy_parameters" in name:
                weight.mul_(1.01)
    codec = Codec(model)
    header = dataclasses.replace(data.header, model_digest=codec.digest)
    with pytest.raises(CorruptStreamError, match="float arithmetic on another device"):
        codec.decode(dataclasses.replace(data, header=header))


def test_a_device_that_fails_the_test_falls_back(photo: CompressionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums cut to bfloat16, as hardware does that is asked for float32 and thinks nobody will notice."""
    data = Codec(photo).compress(picture())
    exact = torch.addmm

    def cut(start: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return exact(start, a, b) if a.dtype == torch.float64 else exact(start, a.bfloat16().float(), b)

    photo.settled = None
    with monkeypatch.context() as patch:
        patch.setattr(torch, "addmm", cut)
        with pytest.warns(UserWarning, match="float64 on the CPU"):
            settle(photo)
        assert {layer.carrier for _, layer in exact_layers(photo)} == {"float64"}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(Codec(photo).decompress(data).pixels, Codec(photo).reconstruct(picture()).pixels)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "addmm", lambda start, a, b: exact(start, a.bfloat16().to(a.dtype), b))
        photo.settled = None
        with pytest.raises(CheckpointError, match="self-test"):
            settle(photo)
    use_carrier(photo, CARRIERS[0])
    photo.settled = None
    settle(photo)


def test_a_checkpoint_out_of_bounds_is_refused(photo: CompressionModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    notes = {
        "architecture": photo.architecture.to_json(),  # type: ignore[union-attr]
        "training": "{}",
        "arithmetic": PORTABLE,
        "self_test": photo.self_test.to_json(),
    }
    tensors = photo.state_dict()
    name = next(name for name, _ in exact_layers(photo))
    write_safetensors(path, {**tensors, f"{name}.bias": tensors[f"{name}.bias"] + 2**24}, notes)
    with pytest.raises(CheckpointError, match="a sum can reach"):
        load_checkpoint(path)
    for other, said in (
        ({"arithmetic": "ternary"}, "update tinify"),
        ({"self_test": "{}"}, "self-test in this checkpoint is damaged"),
        ({"self_test": json.dumps({**json.loads(notes["self_test"]), "checksum": 1})}, "its own self-test"),
    ):
        write_safetensors(path, tensors, notes | other)
        with pytest.raises(CheckpointError, match=said):
            load_checkpoint(path)


def test_what_has_no_portable_form_is_refused(photo: CompressionModel) -> None:
    with pytest.raises(InputError, match="portable already"):
        freeze_portable(photo, pictures())
    with pytest.raises(InputError, match="no pictures"):
        freeze_portable(lively("mbt2018-mean", N=8, M=12), [])
    model = lively("mbt2018-mean", N=8, M=12)
    with pytest.raises(InputError, match="calibration never reached this layer"):
        make_portable(model, lambda model: None)
    model = lively("mbt2018-mean", N=8, M=12)
    model.latent_codec.hyper.h_s[4].padding_mode = "reflect"
    with pytest.raises(InputError, match=r"latent_codec\.hyper\.h_s\.4: .* no exact form"):
        freeze_portable(model, pictures())


def test_a_calibration_reads_pictures(tmp_path: Path) -> None:
    for number in range(12):
        write_picture(Picture(np.full((70, 90 + number, 3), number, np.uint8)), tmp_path / f"{number:02}.png")
    found = calibration(tmp_path, 64, 10)
    assert [tuple(x.shape) for x in found] == [(1, 3, 128, 128)] * 10
    assert float(found[-1].max()) == pytest.approx(11 / 255)
    with pytest.raises(InputError, match="expected 10 to 100"):
        calibration(tmp_path, 64, 5)
    (tmp_path / "few").mkdir()
    write_picture(picture(), tmp_path / "few" / "one.png")
    with pytest.raises(InputError, match="has 1 pictures"):
        calibration(tmp_path / "few", 64)


def test_layers_are_those_of_the_format(photo: CompressionModel) -> None:
    for name, layer in exact_layers(photo):
        assert isinstance(layer, ExactLayer)
        assert {key for key, _ in layer.named_buffers()} == {
            *("weight", "bias", "shift"),
            *(f"entry.{key}" for key in ("exponent", "low", "high", "slope")),
        }, name


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # of switching oneDNN off
def test_exact_pixels_are_near_the_others_and_for_portable_weights_alone(photo: CompressionModel) -> None:
    data = Codec(photo, tile=64, overlap=8).compress(picture())
    float_pixels = Codec(photo).decompress(data).pixels
    found = [Codec(photo, exact_pixels=True).decompress(data).pixels]
    photo.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with torch.backends.mkldnn.flags(enabled=False):  # type: ignore[attr-defined]
        found.append(Codec(photo, exact_pixels=True).decompress(data).pixels)
    assert np.array_equal(*found)
    assert int(np.abs(found[0].astype(int) - float_pixels).max()) <= 1
    assert photo.exact_pixels
    Codec(photo)
    assert not photo.exact_pixels
    with pytest.raises(InputError, match="exact pixels are for portable weights"):
        Codec(lively("tinify-photo", **PHOTO), exact_pixels=True)
    with pytest.raises(InputError, match="leave the precision bfloat16 out"):
        Codec(photo, exact_pixels=True, precision="bfloat16")


def test_a_third_party_codec_that_says_nothing_is_found_out() -> None:
    """It forgets to name its network in ``decides``: freezing refuses, and names it."""
    model = lively("mbt2018-mean", N=8, M=12)
    model.latent_codec.hyper.decides = ()
    with pytest.raises(InputError, match=r"in latent_codec\.hyper\.h_s\.\d is no exact operation"):
        freeze_portable(model, pictures())


def test_training_goes_on_from_what_the_integers_stand_for(
    pair: tuple[CompressionModel, CompressionModel], tmp_path: Path
) -> None:
    model, portable = pair
    again = thawed(portable)
    assert again.arithmetic == "float32"
    wanted = dict(model.named_parameters())
    for name, weight in again.named_parameters():
        seen = wanted[name].detach()
        if name.endswith("context_prediction.weight"):  # what a mask hides does not count
            seen = seen * again.get_submodule(name.rpartition(".")[0]).mask
        assert float((weight.detach() - seen).norm()) <= 0.1 * float(seen.norm()) + 1e-4, name
    [x] = pictures(1)
    with torch.no_grad():
        rates = [
            float(sum(-likelihood.log2().sum() for likelihood in one(x)["likelihoods"].values()))
            for one in (model, again, freeze_portable(again, pictures()))
        ]
    assert rates == pytest.approx([rates[0]] * 3, rel=0.03)
