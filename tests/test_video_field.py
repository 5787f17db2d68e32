"""Scale-space flow where the field's scripts look for it: entry points, and checkpoints of its layout imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from small_clips import clip, saved
from tinify_plugins.compressai.commands import import_command
from tinify_plugins.compressai.importing import architectures, import_checkpoint
from tinify_plugins.compressai.picture_codec import CompressaiCodec
from tinify_plugins.video.codec import VideoCodec
from tinify_plugins.video.commands import video

import tinify
from tinify.checkpoint import load_checkpoint
from tinify.errors import CheckpointError, InputError, UnknownNameError
from tinify.models import ScaleSpaceFlow  # type: ignore[attr-defined]


def layers(*kept: str) -> list[str]:
    return [f"{layer}.{tensor}" for layer in kept for tensor in ("weight", "bias")]


def layout() -> set[str]:
    """The keys of the parameters, as CompressAI has them."""
    plain, hyper = layers("0", "2", "4", "6"), layers("0", "2", "4")
    prior = [f"matrices.{k}" for k in range(5)] + [f"biases.{k}" for k in range(5)] + [f"factors.{k}" for k in range(4)]
    keys = []
    for part in ("img", "motion", "res"):
        keys += [f"{part}_{side}coder.{key}" for side in ("en", "de") for key in plain]
        keys += [f"{part}_hyperprior.{net}.{key}" for net in ("hyper_encoder", "hyper_decoder_mean") for key in hyper]
        keys += [f"{part}_hyperprior.hyper_decoder_scale.{key}" for key in layers("deconv1", "deconv2", "deconv3")]
        keys += [f"{part}_hyperprior.entropy_bottleneck.{key}" for key in (*prior, "quantiles")]
    return set(keys)


def made(updated: bool = False) -> Any:
    """A small model in the field's layout, whose latents and motion are lively."""
    torch.manual_seed(0)
    model = ScaleSpaceFlow(N=8, M=12).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("encoder.6.weight") or name.startswith("motion_decoder.6"):
                parameter.mul_(20)
    if updated:
        model.update()
    return model


def checkpoint(folder: Path, tensors: Any) -> Path:
    path = folder / "ssf.pth.tar"
    torch.save({"epoch": 3, "state_dict": tensors}, path)
    return path


def frames() -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.rand(1, 3, 128, 128) for _ in range(3)]


def test_the_layout_is_the_fields() -> None:
    tensors = made().state_dict()
    buffers = ("_quantized_cdf", "_cdf_length", "_offset", "target", "bound", "scale_table", "scale_bound")
    assert {key for key in tensors if not key.endswith(buffers)} == layout()
    assert len(tensors) == 183


@pytest.mark.parametrize("updated", [False, True])
def test_a_checkpoint_is_recognised_and_codes_as_it_did(updated: bool, tmp_path: Path) -> None:
    theirs = made(updated)
    model = import_checkpoint(checkpoint(tmp_path, theirs.state_dict()))
    assert model.architecture is not None
    assert (model.architecture.name, model.architecture.parameters) == ("ssf2020", {"N": 8, "M": 12})
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(model(frames())["x_hat"], theirs(frames())["x_hat"], strict=True))
    theirs.update()
    theirs.use_coder(model.coder)
    strings, _ = theirs.compress(frames())
    ours = model.compress(frames())["strings"]
    assert ours[:2] == [strings[0][1], strings[0][0]]
    assert ours[2:4] == [strings[1]["motion"][1], strings[1]["motion"][0]]


@pytest.mark.parametrize("compat", [True, False])
def test_the_coder_is_a_choice_that_a_file_keeps(compat: bool, tmp_path: Path) -> None:
    source, model = checkpoint(tmp_path, made().state_dict()), tmp_path / "model.safetensors"
    words = [str(source), str(model), *([] if compat else ["--no-compat"])]
    told = CliRunner().invoke(import_command, words, catch_exceptions=False)
    assert "ssf2020 with N=8, M=12" in told.output
    loaded = load_checkpoint(model)
    assert (loaded.coder.name if loaded.coder else None) == ("compat" if compat else None)
    codec, shown = VideoCodec(loaded), saved(tmp_path / "clip", clip(3))  # type: ignore[arg-type]
    for words in (
        ["compress", str(shown), str(tmp_path / "clip.tfv"), "-m", str(model)],
        ["decompress", str(tmp_path / "clip.tfv"), str(tmp_path / "out"), "-m", str(model)],
    ):
        done = CliRunner().invoke(video, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    with (tmp_path / "clip.tfv").open("rb") as stream:
        played = [one.pixels for one in codec.decode(stream)]
    written = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "out").iterdir())]
    assert all(np.array_equal(a, b) for a, b in zip(played, written, strict=True))


def test_what_differs_is_named(tmp_path: Path) -> None:
    tensors = dict(made().state_dict())
    del tensors["res_decoder.2.bias"]
    with pytest.raises(CheckpointError, match=r"looks like ssf2020, but is not: missing res_decoder\.2\.bias"):
        import_checkpoint(checkpoint(tmp_path, tensors))
    whole = checkpoint(tmp_path, made().state_dict())
    with pytest.raises(CheckpointError, match="a checkpoint of ssf2020, not of mbt2018"):
        import_checkpoint(whole, "mbt2018")
    with pytest.raises(UnknownNameError, match="architecture of CompressAI"):
        CompressaiCodec("ssf2020")  # which is asked for pictures
    assert "ssf2020" in architectures()


def test_the_entry_point() -> None:
    from tinify.zoo import models, ssf2020, video_models  # type: ignore[attr-defined]

    assert models["ssf2020"] is video_models["ssf2020"] is ssf2020
    with torch.device("meta"):
        sizes = {sum(parameter.numel() for parameter in ssf2020(quality).parameters()) for quality in (1, 9)}
        assert isinstance(ssf2020(3, "mse", progress=False, num_levels=4), ScaleSpaceFlow)
    assert sizes == {34_209_609}
    for wrong in (0, 10, True, "3", 2.0):
        with pytest.raises(ValueError, match="qualities 1 to 9"):
            ssf2020(wrong)
    with pytest.raises(ValueError, match="published for 'mse' alone"):
        ssf2020(1, metric="ms-ssim")
    with pytest.raises(InputError, match=r"nothing is downloaded.*import-compressai"):
        ssf2020(1, pretrained=True)


def test_the_fields_data_sets() -> None:
    for name in ("RawVideoSequence", "VideoFolder", "VideoFormat", "Vimeo90kDataset"):
        assert getattr(tinify.datasets, name).__name__ == name
