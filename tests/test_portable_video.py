"""Portable models of clips: frames decode to the same symbols, and files say where they do not."""

from __future__ import annotations

import dataclasses
import io
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from small_clips import Frames, clip, saved
from test_video import coded, new_model
from tinify_plugins.video.codec import VideoCodec
from tinify_plugins.video.commands import video
from tinify_plugins.video.container import Reader
from tinify_plugins.video.flow import ScaleSpaceModel
from torch import Tensor

from tinify.checkpoint import load_checkpoint, save_model, tables_digest
from tinify.cli import cli
from tinify.errors import CorruptFileError, CorruptStreamError, InputError
from tinify.exact import CARRIERS, exact_layers, fine_tune, use_carrier
from tinify.freezing import calibration, freeze_portable
from tinify.latent_codecs.witness import witness
from tinify.models import ScaleSpaceFlow  # type: ignore[attr-defined]
from tinify.models.portable import PORTABLE, device_of, latent_codecs, make_portable, settle

CODECS = ["img_hyperprior", "motion_hyperprior", "res_hyperprior"]


def frames(count: int = 3, side: int = 128) -> Tensor:
    shown = np.stack(clip(count, side, side))
    return torch.from_numpy(shown).permute(0, 3, 1, 2).float().div(255)


@lru_cache
def portable() -> ScaleSpaceModel:
    face = ScaleSpaceFlow(N=8, M=8).eval()
    face.load_state_dict(new_model().state_dict())
    with torch.no_grad():
        for name, parameter in face.named_parameters():
            if "_hyperprior.hyper_" in name and parameter.ndim == 4:
                parameter.mul_(8 if "scale" in name else 3)
    made = freeze_portable(face, [frames()])  # as its spec lays it out
    assert isinstance(made, ScaleSpaceModel)
    return made


def test_every_carrier_decodes_what_another_coded() -> None:
    model = portable()
    assert (model.arithmetic, list(latent_codecs(model))) == (PORTABLE, CODECS)
    assert {path.partition(".")[0] for path, _ in exact_layers(model)} == set(CODECS)
    with witness() as written:
        packed = model.compress(frames(4))
    assert written.symbols
    try:
        for carrier in CARRIERS:
            use_carrier(model, carrier)
            with witness() as read:
                model.decompress(packed["strings"], packed["shape"])
            assert read.checksum == written.checksum
    finally:
        use_carrier(model, CARRIERS[0])


def test_a_checkpoint_brings_it_back(tmp_path: Path) -> None:
    save_model(portable(), tmp_path / "portable.safetensors")
    again = load_checkpoint(tmp_path / "portable.safetensors")
    assert again.self_test == portable().self_test
    assert [message.codec for message in again.self_test.messages] == CODECS
    assert again.compress(frames())["strings"] == portable().compress(frames())["strings"]


def test_a_device_that_fails_the_test_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model, exact = portable(), torch.addmm
    model.settled = None
    with monkeypatch.context() as patch:
        patch.setattr(
            torch,
            "addmm",
            lambda start, a, b: exact(start, a if a.dtype == torch.float64 else a.bfloat16().float(), b),
        )
        with pytest.warns(UserWarning, match="float64 on the CPU"):
            settle(model)
    assert {layer.carrier for _, layer in exact_layers(model)} == {"float64"}
    assert {device_of(codec).type for codec in latent_codecs(model).values()} == {"cpu"}
    use_carrier(model, CARRIERS[0])


def sample(codec: VideoCodec) -> tuple[bytes, Frames]:
    return coded(codec, clip(3), group=2)


@pytest.mark.parametrize("arithmetic", [PORTABLE, "float32"])
def test_files_say_their_arithmetic(arithmetic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = VideoCodec(portable() if arithmetic == PORTABLE else new_model())
    data, hats = sample(codec)
    reader = Reader(io.BytesIO(data))
    assert reader.header.profile == arithmetic
    assert reader.header.tables == tables_digest(codec.model)
    read = list(reader.frames())
    assert len({frame.checksum for frame in read}) == 3
    played = [one.pixels for one in codec.decode(io.BytesIO(data))]
    assert all(np.array_equal(one, hat) for one, hat in zip(played, hats, strict=True))
    wrong = dataclasses.replace(read[1], checksum=(read[1].checksum or 0) ^ 1)
    said = "is portable" if arithmetic == PORTABLE else "float arithmetic on another device"
    with monkeypatch.context() as patch:
        patch.setattr(Reader, "frames", lambda reader, start=0: iter([read[0], wrong]))
        with pytest.raises(CorruptStreamError, match=said):
            list(codec.decode(io.BytesIO(data)))
    other = {"float32": PORTABLE}.get(arithmetic, "float32")
    for changes in {"profile": other}, {"tables": bytes(4)}:
        header = dataclasses.replace(reader.header, **changes)  # type: ignore[arg-type]
        with pytest.raises(CorruptFileError, match=r"arithmetic|other coding tables"):
            codec._check(header)
    codec._check(dataclasses.replace(reader.header, tables=None))  # as files were before they carried checksums


def test_a_model_without_a_latent_codec_is_refused() -> None:
    model = new_model()
    for name in CODECS:
        setattr(model, name, torch.nn.Identity())
    with pytest.raises(InputError, match="ScaleSpaceModel has no portable form: it has no latent codec"):
        freeze_portable(model, [frames()])


def test_clips_are_tuned_as_well() -> None:
    model = new_model()
    x = frames(2)
    make_portable(model, lambda model: model(x), lambda model, paths: fine_tune(model, paths, [x], 1))
    assert model.arithmetic == PORTABLE


def test_weights_are_frozen_by_folders_of_frames(tmp_path: Path) -> None:
    folder = saved(tmp_path / "clip", clip(10, 260, 256))
    drawn = calibration(tmp_path, 128, 10, frames=3)
    assert [tuple(x.shape) for x in drawn] == [(3, 3, 256, 256)] * 10
    save_model(new_model(), tmp_path / "float.safetensors")
    words = ["freeze", str(tmp_path / "float.safetensors"), str(tmp_path / "portable.safetensors")]
    done = CliRunner().invoke(cli, [*words, "--portable", "--calibrate", str(folder), "--pictures", "10"])
    assert done.exit_code == 0, done.output
    model = ["--model", str(tmp_path / "portable.safetensors")]
    packed = str(tmp_path / "clip.tfv")
    done = CliRunner().invoke(video, ["compress", str(folder), packed, *model])
    assert done.exit_code == 0, done.output
    assert json.loads(CliRunner().invoke(video, ["info", packed, "--json"]).output)["arithmetic"] == PORTABLE
