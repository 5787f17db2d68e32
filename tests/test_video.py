"""Video: closed loops, files of frames that damage does not spread in, clips of every form."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_clips import Frames, clip, saved
from tinify_plugins.video.codec import VideoCodec
from tinify_plugins.video.commands import video
from tinify_plugins.video.container import Header, Reader, Writer
from tinify_plugins.video.flow import ScaleSpaceModel
from tinify_plugins.video.scale_space import gaussian_volume, warp

import tinify
from tinify.checkpoint import save_model
from tinify.errors import (
    CheckpointError,
    CorruptFileError,
    CorruptStreamError,
    FileError,
    InputError,
    NotTinifyFileError,
    OutputError,
    StateDictError,
    TinifyError,
    TruncatedFileError,
    VersionError,
    WrongModelError,
)
from tinify.models import ScaleSpaceFlow  # type: ignore[attr-defined]


def new_model(seed: int = 0) -> Any:
    """An untrained model whose latents and motion are lively."""
    torch.manual_seed(seed)
    model = tinify.create_model("ssf2020", N=8, M=8).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("encoder.6.weight"):
                parameter.mul_(30)
            if name.startswith("motion_decoder.6"):
                parameter.mul_(4)
    return model


@pytest.fixture(scope="module")
def codec() -> VideoCodec:
    return VideoCodec(new_model())


def coded(codec: VideoCodec, frames: Frames, group: int = 12) -> tuple[bytes, Frames]:
    """A file, and the encoder's own reconstructions."""
    height, width, _ = frames[0].shape
    stream = io.BytesIO()
    hats = [pixels for _, pixels in codec.encode(frames, width, height, Fraction(25), stream, group)]
    return stream.getvalue(), hats


@pytest.fixture(scope="module")
def sample(codec: VideoCodec) -> tuple[bytes, Frames]:
    return coded(codec, clip(10), group=4)


# The model.


def test_a_hundred_frames_do_not_drift(codec: VideoCodec) -> None:
    frames = clip(100)
    data, hats = coded(codec, frames, group=100)
    played = list(codec.decode(io.BytesIO(data)))
    assert [one.number for one in played] == list(range(100))
    assert all(np.array_equal(one.pixels, hat) for one, hat in zip(played, hats, strict=True))


def test_three_readings_agree() -> None:
    model = new_model()
    frames = [torch.rand(2, 3, 128, 128) for _ in range(3)]
    with torch.no_grad():
        out = model(frames)
    packed = model.compress(frames)
    decoded = model.decompress(packed["strings"], packed["shape"])["x_hat"]
    assert torch.equal(decoded, torch.cat(packed["x_hat"]).clamp(0, 1))
    assert torch.equal(decoded, torch.cat(out["x_hat"]).clamp(0, 1))
    assert [sorted(rate) for rate in out["likelihoods"]] == [["keyframe"], *[["motion", "residual"]] * 2]
    single = model(torch.rand(3, 3, 128, 128))
    assert single["x_hat"].shape == (3, 3, 128, 128)
    assert "2.residual.z" in single["likelihoods"]


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 256)],
        [torch.rand(1, 3, 100, 128)],
        [torch.rand(1, 1, 128, 128)],
        [np.zeros((1, 3, 128, 128))],
    ],
)
def test_clips_that_are_none_are_named(frames: Any) -> None:
    with pytest.raises(InputError, match="frame"):
        new_model().compress(frames)


def test_frames_that_are_no_numbers_are_named() -> None:
    with pytest.raises(InputError, match="NaN"):
        new_model().compress([torch.full((1, 3, 128, 128), float("nan"))])


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_a_wrong_number_of_strings_is_named(count: int) -> None:
    with pytest.raises(CorruptStreamError, match="lists of strings"):
        new_model().decompress([[b""]] * count, torch.Size((1, 1)))


def test_no_motion_is_no_change_and_a_shift_is_a_shift() -> None:
    x = torch.rand(1, 3, 32, 64)
    volume, nothing = gaussian_volume(x, 1.5, 3), torch.zeros(1, 1, 32, 64)
    still = warp(volume, torch.zeros(1, 2, 32, 64), nothing - 1)
    torch.testing.assert_close(still, x, atol=1e-5, rtol=0)
    flow = torch.zeros(1, 2, 32, 64)
    flow[:, 0] = 2 * 3 / 64  # three pixels
    shifted = warp(volume, flow, nothing - 1)
    torch.testing.assert_close(shifted[..., :-3], x[..., 3:], atol=1e-4, rtol=0)


def test_higher_levels_are_smoother() -> None:
    volume = gaussian_volume(torch.rand(1, 3, 64, 64), 1.5, 4)
    spread = [float(volume[:, :, level].std()) for level in range(5)]
    assert spread == sorted(spread, reverse=True)
    flat = gaussian_volume(torch.full((1, 3, 32, 32), 0.3), 1.5, 3)
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3))


# The face.


def test_the_face_has_the_fields_calls() -> None:
    torch.manual_seed(1)
    face = ScaleSpaceFlow(N=8, M=8).eval()
    again = ScaleSpaceFlow.from_state_dict(face.state_dict()).eval()
    assert any("hyper_decoder_scale.deconv3" in key for key in face.state_dict())
    frames = [torch.rand(2, 3, 128, 128) for _ in range(3)]
    face.update()
    again.update()
    strings, shapes = face.compress(frames)
    assert [type(one) for one in strings] == [list, dict, dict]
    assert shapes[1] == {"motion": torch.Size((1, 1)), "residual": torch.Size((1, 1))}
    decoded = again.decompress(strings, shapes)
    with torch.no_grad():
        expected = face(frames)["x_hat"]
    assert all(torch.equal(a, b) for a, b in zip(decoded, expected, strict=True))
    assert len(face.aux_loss()) == 3
    with pytest.raises(RuntimeError, match="a list of frames"):
        face(torch.rand(2, 3, 128, 128))
    with pytest.raises(InputError, match="strings of 3 frames"):
        face.decompress(strings, shapes[:2])
    with pytest.raises(StateDictError, match="img_encoder"):
        ScaleSpaceFlow.from_state_dict(tinify.create_model("mbt2018-mean", N=8, M=8).state_dict())


# The file.


def test_frames_of_any_size_go_through_a_file(codec: VideoCodec) -> None:
    for height, width in ((1, 1), (129, 20), (64, 255)):
        data, hats = coded(codec, clip(3, height, width), group=2)
        found = [one.pixels for one in codec.decode(io.BytesIO(data))]
        assert all(np.array_equal(a, b) for a, b in zip(found, hats, strict=True))


@pytest.mark.parametrize("start", [0, 1, 4, 7, 9])
def test_a_file_plays_from_any_frame(codec: VideoCodec, sample: tuple[bytes, Frames], start: int) -> None:
    data, hats = sample
    played = list(codec.decode(io.BytesIO(data), start))
    assert [one.number for one in played] == list(range(start, 10))
    assert all(np.array_equal(one.pixels, hats[one.number]) for one in played)
    numbers = [frame.number for frame in Reader(io.BytesIO(data)).frames(start)]
    assert numbers[0] == start // 4 * 4  # the key frame before it, and nothing else


@settings(max_examples=25)
@given(st.data())
def test_a_truncated_file_plays_up_to_the_damage(
    codec: VideoCodec, sample: tuple[bytes, Frames], data: st.DataObject
) -> None:
    whole, hats = sample
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    frames, played = codec.decode(io.BytesIO(cut)), []
    with pytest.raises(FileError):
        played.extend(frames)  # keeps what came before the error
    assert [one.number for one in played] == list(range(len(played)))
    assert all(np.array_equal(one.pixels, hats[one.number]) for one in played)


@settings(max_examples=25)
@given(st.data())
def test_damage_stays_within_a_group(codec: VideoCodec, sample: tuple[bytes, Frames], data: st.DataObject) -> None:
    whole, hats = sample
    first = Reader(io.BytesIO(whole))._first
    at = data.draw(st.integers(first, len(whole) - 1))
    broken = bytearray(whole)
    broken[at] ^= data.draw(st.integers(1, 255))
    played = {one.number: one.pixels for one in codec.decode(io.BytesIO(bytes(broken)), salvage=True)}
    right = {number for number, pixels in played.items() if np.array_equal(pixels, hats[number])}
    assert right == {number for number, pixels in played.items() if pixels is not None}  # never a wrong picture
    missing = set(range(10)) - right
    assert len({number // 4 for number in missing}) <= 1
    with pytest.raises(FileError):
        list(codec.decode(io.BytesIO(bytes(broken))))


def test_headers_that_cannot_be_right_are_named(codec: VideoCodec, sample: tuple[bytes, Frames]) -> None:
    data, _ = sample
    for wrong, error in (
        (b"", NotTinifyFileError),
        (data[:5], NotTinifyFileError),
        (b"RIFF" + data[4:], NotTinifyFileError),
        (data[:1] + b"TFV\n\n" + data[6:], NotTinifyFileError),
        (data[:9], TruncatedFileError),
        (data[:8] + b"\x02" + data[9:], VersionError),
        (data[:8] + b"\x00" + data[9:], CorruptFileError),
        (data + b"more", CorruptFileError),
    ):
        with pytest.raises(error):
            list(codec.decode(io.BytesIO(wrong)))
    with pytest.raises(WrongModelError, match="--model FILE"):
        list(VideoCodec(new_model(seed=5)).decode(io.BytesIO(data)))


def test_a_frame_that_promises_too_much_is_refused_before_memory_is_taken() -> None:
    stream = io.BytesIO()
    writer = Writer(stream, Header(64, 64, Fraction(25), 12, "ssf2020", bytes(16)))
    writer.write([b"abc"], (60000, 60000), key=True)
    with pytest.raises(CorruptFileError, match="of a latent of 60000x60000"):
        list(Reader(stream).frames())
    for wrong in ({"width": 0}, {"width": 2**20}, {"group": 0}, {"rate": Fraction(0)}, {"model_digest": b""}):
        fields: dict[str, Any] = {"width": 4, "height": 4, "rate": Fraction(25), "group": 12, "model_name": "a"}
        with pytest.raises(InputError):
            Header(**{**fields, "model_digest": bytes(16), **wrong})


def test_what_is_no_clip_is_named(codec: VideoCodec) -> None:
    with pytest.raises(InputError, match="no frames"):
        list(codec.encode([], 4, 4, Fraction(25), io.BytesIO()))
    with pytest.raises(InputError, match="frame 1 is uint8"):
        list(codec.encode([clip(1)[0], clip(1, 50)[0]], 60, 40, Fraction(25), io.BytesIO()))
    with pytest.raises(CheckpointError, match="scale-space flow"):
        VideoCodec(tinify.create_model("mbt2018-mean", N=8, M=8))  # type: ignore[arg-type]


# The commands.


def run(*words: Any) -> Result:
    return CliRunner().invoke(video, [str(word) for word in words])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    found = {"clip": saved(folder / "clip", clip(6)), "model": folder / "model.safetensors", "coded": folder / "c.tfv"}
    save_model(new_model(), found["model"])
    done = run("compress", found["clip"], found["coded"], "--model", found["model"], "--group", 3)
    assert done.exit_code == 0, done.output
    assert "6 frames of 60x40" in done.output
    return found


def test_a_clip_goes_there_and_back(files: dict[str, Path], tmp_path: Path) -> None:
    assert run("decompress", files["coded"], tmp_path / "out", "--model", files["model"]).exit_code == 0
    frames = sorted((tmp_path / "out").iterdir())
    assert len(frames) == 6
    part = run("decompress", files["coded"], tmp_path / "part", "-m", files["model"], "--start", 4, "--frames", 1)
    assert part.exit_code == 0
    [one] = (tmp_path / "part").iterdir()
    assert np.array_equal(np.asarray(Image.open(one)), np.asarray(Image.open(frames[4])))
    told = run("info", files["coded"], "--json").output
    assert '"frames": 6, "groups": 2' in told
    assert "all checksums are right" in run("info", files["coded"]).output


def test_a_damaged_clip_plays_and_says_what_is_lost(files: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(files["coded"].read_bytes())
    frames = {frame.number: frame for frame in Reader(io.BytesIO(bytes(data))).frames()}
    place = bytes(data).find(frames[1].strings[-1])
    data[place] ^= 1
    broken = tmp_path / "broken.tfv"
    broken.write_bytes(bytes(data))
    done = run("decompress", broken, tmp_path / "out", "--model", files["model"])
    assert done.exit_code == 1
    assert "frames 1 to 2 are lost" in done.output
    assert len(list((tmp_path / "out").iterdir())) == 6
    strict = run("decompress", broken, tmp_path / "strict", "--model", files["model"], "--strict")
    assert isinstance(strict.exception, FileError)
    assert not (tmp_path / "strict").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["compress", "{clip}", "out.mp4"], OutputError),
        (["compress", "{clip}", "{tmp}/o.tfv"], InputError),
        (["compress", "{clip}", "{tmp}/o.tfv", "-m", "{model}", "--rate", "no"], InputError),
        (["compress", "nowhere", "{tmp}/o.tfv", "-m", "{model}"], FileError),
        (["decompress", "{coded}", "{tmp}/o"], WrongModelError),
        (["decompress", "nowhere", "{tmp}/o"], FileError),
        (["decompress", "{coded}", "{clip}", "-m", "{model}"], OutputError),
        (["info", "{model}"], NotTinifyFileError),
    ],
)
def test_what_cannot_be_done_is_named(
    files: dict[str, Path], tmp_path: Path, words: list[str], error: type[TinifyError]
) -> None:
    done = run(*(word.format(tmp=tmp_path, **files) for word in words))
    assert isinstance(done.exception, error), done.output
    assert list(tmp_path.iterdir()) == []


def test_a_spec_model_may_be_trained() -> None:
    model = new_model().train()
    assert isinstance(model, ScaleSpaceModel)
    out = model([torch.rand(2, 3, 128, 128) for _ in range(3)])
    rate = sum(-v.log().sum() for frame in out["likelihoods"] for part in frame.values() for v in part.values())
    (rate + sum(x.square().sum() for x in out["x_hat"])).backward()  # type: ignore[union-attr]
    bare = [name for name, one in model.named_parameters() if one.grad is None and not name.endswith("quantiles")]
    assert bare == []
