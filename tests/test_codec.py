"""Pictures of every size and kind through a codec and back; checkpoints that do not fit are named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

import tinify
from tinify import container
from tinify.checkpoint import load_checkpoint, model_digest, save_model
from tinify.codec import Codec, _assemble
from tinify.errors import CheckpointError, FileError, InputError, UnknownNameError, WrongModelError
from tinify.images import Picture
from tinify.registry import get_registry
from tinify.weights import choose_weights, find_weights, read_notes


def small_model(seed: int = 0) -> tinify.models.CompressionModel:
    torch.manual_seed(seed)
    return tinify.create_model("tinify-photo", N=8, M=8, Z=4, F=8, B=1, D=0).eval()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(small_model())


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3]), st.booleans())
def test_any_size_decodes_to_the_encoders_reconstruction(
    codec: Codec, height: int, width: int, channels: int, alpha: bool
) -> None:
    plane = noise(height, width, 1, 1)[..., 0] if alpha else None
    picture = Picture(noise(height, width, channels), alpha=plane, icc=b"profile", exif=b"II*\0")
    decoded = codec.decompress(codec.compress(picture))
    assert np.array_equal(decoded.pixels, codec.reconstruct(picture).pixels)
    assert decoded.pixels.shape == picture.pixels.shape
    assert (decoded.icc, decoded.exif) == (b"profile", b"II*\0")
    if plane is not None:
        assert decoded.alpha is not None
        assert np.array_equal(decoded.alpha, plane)


def test_tiled_files_decode_and_record_their_grid(codec: Codec) -> None:
    tiled, picture = Codec(codec.model, tile=128, overlap=32), Picture(noise(200, 300))
    data = tiled.compress(picture)
    assert len(container.read(data).tiles) == 6
    assert np.array_equal(codec.decompress(data).pixels, tiled.reconstruct(picture).pixels)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(2, 40), st.data())
def test_tiles_that_agree_fade_into_the_picture(height: int, width: int, tile: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, tile // 2))
    header = container.Header(width, height, 3, "m", bytes(16), tile_size=tile, overlap=overlap)
    pixels = noise(height, width)
    whole = torch.from_numpy(pixels).float() / 255
    assert np.array_equal(_assemble(header, lambda box: whole[box[1] : box[3], box[0] : box[2]]), pixels)


def test_the_file_is_as_long_as_the_model_estimates(codec: Codec) -> None:
    picture = Picture(noise(256, 320))
    assert len(codec.compress(picture)) <= 1.01 * codec.estimate(picture) / 8 + 64


def test_a_file_of_another_model_is_refused(codec: Codec) -> None:
    other = Codec(small_model(seed=1))
    with pytest.raises(WrongModelError, match="--model FILE"):
        other.decompress(codec.compress(Picture(noise(8, 8))))


@given(st.data())
def test_damaged_files_are_named(codec: Codec, data: st.DataObject) -> None:
    whole = codec.compress(Picture(noise(16, 16), alpha=noise(16, 16, 1)[..., 0]))
    position = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    for damaged in (whole[:position], bytes(flipped)):
        with pytest.raises(FileError):
            codec.decompress(damaged)


def test_a_checkpoint_is_the_same_model(tmp_path: Path) -> None:
    model, path = small_model(), tmp_path / "model.safetensors"
    save_model(model, path)
    loaded = load_checkpoint(path)
    assert model_digest(loaded) == model_digest(model)
    assert loaded.architecture == model.architecture
    assert read_notes(path)["tinify_checkpoint"] == "1"
    codec, picture = Codec(model), Picture(noise(30, 40))
    assert np.array_equal(Codec(loaded).decompress(codec.compress(picture)).pixels, codec.reconstruct(picture).pixels)


def test_the_digest_sees_every_tensor_whatever_its_name() -> None:
    model = small_model()
    model.ensure_tables()
    model.g_a[0].register_buffer("gain_offset", torch.ones(1))  # type: ignore[index,union-attr]
    before = model_digest(model)
    model.g_a[0].gain_offset.fill_(5)  # type: ignore[index,union-attr]
    assert model_digest(model) != before


def test_a_latent_coarser_than_the_stride_and_large_tiles(tmp_path: Path) -> None:
    spec = tmp_path / "odd.yaml"
    down = "{type: conv, out: 4, kernel: 3, stride: 2}"
    up = "{type: deconv, out: 4, kernel: 3, stride: 2}"
    spec.write_text(
        "tinify: 1\nname: odd\nsummary: coded above its deepest layer\nmodel:\n  type: autoencoder\n"
        f"  g_a: [{down}, {down}, {down}, {up}]\n  latent_codec: entropy_bottleneck\n"
        f"  g_s: [{up}, {{type: deconv, out: 3, kernel: 3, stride: 2}}]\n"
    )
    codec, picture = Codec(tinify.create_model(str(spec))), Picture(noise(40, 50))
    assert np.array_equal(codec.decompress(codec.compress(picture)).pixels, codec.reconstruct(picture).pixels)
    header = container.Header(5000, 8, 3, codec.name, codec.digest)
    huge = container.write(container.Container(header, (container.Tile((b"",), (2, 1250)),)))
    with pytest.raises(FileError, match="4096 pixels a side"):
        codec.decompress(huge)


def test_unusable_checkpoints_are_named(tmp_path: Path) -> None:
    path, bad = tmp_path / "model.safetensors", tmp_path / "bad.safetensors"
    save_model(small_model(), path)
    notes, tensors = read_notes(path), load_file(path)
    with pytest.raises(CheckpointError, match="there is no weights file"):
        load_checkpoint(tmp_path / "absent.safetensors")
    bad.write_bytes(b"not safetensors at all")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_checkpoint(bad)
    bad.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(bad)
    save_file(tensors, bad)
    with pytest.raises(CheckpointError, match="not a tinify checkpoint"):
        load_checkpoint(bad)
    first = next(name for name in tensors if name.endswith("weight"))
    save_file({**tensors, first: torch.full_like(tensors[first], torch.nan)}, bad, notes)
    with pytest.raises(CheckpointError, match="NaN"):
        load_checkpoint(bad)
    table = next(name for name in tensors if name.endswith("_quantized_cdf"))
    save_file({**tensors, table: tensors[table].flip(1)}, bad, notes)
    with pytest.raises(CheckpointError, match=r"tables in .* are damaged"):
        load_checkpoint(bad)
    save_file({name: t for name, t in tensors.items() if name != first}, bad, notes)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(bad)
    model = small_model()
    next(model.parameters()).data.fill_(torch.inf)
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        save_model(model, bad)


def test_python_callers_give_pillow_images_and_arrays() -> None:
    for image in (Image.new("RGBA", (9, 7), (10, 200, 30, 40)), Image.new("L", (5, 3), 99)):
        decoded = tinify.decompress(tinify.compress(image))
        assert (decoded.size, decoded.mode) == (image.size, image.mode)
    assert tinify.decompress(tinify.compress(noise(6, 4))).size == (4, 6)
    with pytest.raises(InputError, match=r"PIL\.Image\.open"):
        tinify.compress("photo.png")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="read_bytes"):
        tinify.decompress("photo.tfy")  # type: ignore[arg-type]
    model = small_model()
    assert tinify.decompress(tinify.compress(noise(6, 4), model), model).size == (4, 6)
    with pytest.warns(UserWarning, match="16-bit"):
        tinify.compress(noise(6, 4).astype(np.uint16))


def test_weights_are_found_by_name_and_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_weights().name.startswith("tinify-photo")
    with pytest.raises(UnknownNameError, match="train it"):
        find_weights("mbt2018-mean")
    with pytest.raises(UnknownNameError, match="did you mean 'tinify-photo'"):
        find_weights("tinify-phot")
    known = {f"mbt2018-mean-q{quality}": Path(f"q{quality}.safetensors") for quality in (2, 4, 7)}
    known["mbt2018"] = Path("any-rate.safetensors")
    monkeypatch.setattr(type(get_registry()), "weight_files", lambda registry: known)
    assert choose_weights("mbt2018", 3.5) == (Path("any-rate.safetensors"), 3.5)
    assert find_weights("mbt2018-mean").name == "q4.safetensors"
    assert choose_weights("mbt2018-mean", 7.0) == (Path("q7.safetensors"), None)
    for quality in (9, 4.5):
        with pytest.raises(UnknownNameError, match=f"quality {quality}; there are: 2, 4, 7"):
            find_weights("mbt2018-mean", quality)


def test_the_shipped_codec_beats_jpeg_on_a_photograph() -> None:
    from skimage import data

    image = Image.fromarray(data.astronaut())
    coded = tinify.compress(image)
    decoded = np.asarray(tinify.decompress(coded), float)
    original = np.asarray(image, float)
    for quality in range(1, 101):
        stream = io.BytesIO()
        image.save(stream, "jpeg", quality=quality, optimize=True)
        if stream.tell() >= len(coded):
            break
    rival = np.asarray(Image.open(stream), float)
    assert stream.tell() >= len(coded)
    assert ((decoded - original) ** 2).mean() < ((rival - original) ** 2).mean()
