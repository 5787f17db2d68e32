"""Checkpoints of CompressAI in every spelling, and what is not one; files of its codec script, whole and damaged."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from tinify_plugins.compressai import file as peer_file
from tinify_plugins.compressai.commands import compress_command, decompress_command, import_command
from tinify_plugins.compressai.file import CompressaiFile, read, write
from tinify_plugins.compressai.importing import architectures, import_checkpoint
from tinify_plugins.compressai.pictures import decode, encode
from tinify_plugins.compressai.strings import shape_to_compressai

import tinify
from tinify import registry
from tinify.checkpoint import load_checkpoint, save_model
from tinify.cli import cli
from tinify.errors import (
    CheckpointError,
    CorruptFileError,
    FileError,
    InputError,
    TruncatedFileError,
    UnknownNameError,
    VersionError,
    WrongModelError,
)
from tinify.images import Picture
from tinify.models.faces import Face

SIZES: dict[str, Any] = {"elic2022-official": (8, 12, [2, 4, 6]), "elic2022-chandelier": (8, 12, [2, 4, 6])}
PLAIN = "mbt2018-mean"
PICTURES = sorted(name for name, face in architectures().items() if issubclass(face, Face))


def made(name: str, updated: bool = True) -> Any:
    """An untrained model of CompressAI's layout: that of the face."""
    torch.manual_seed(0)
    face: Any = architectures()[name]
    model = face(*SIZES.get(name, (8,) if "cheng" in name else (8, 12))).eval()
    if updated:
        model.update()
    return model


def weights(name: str = PLAIN) -> dict[str, torch.Tensor]:
    return dict(made(name).state_dict())


def saved(content: Any, path: Path, name: str = "weights.pth") -> Path:
    torch.save(content, path / name)
    return path / name


def present(key: str) -> str:
    return key


def before_2024(key: str) -> str:
    return re.sub(
        r"\b(matri|bias|factor)(ces|es|s)\.(\d)$", lambda m: f"_{m[1]}{'x' if m[1] == 'matri' else ''}{m[3]}", key
    )


def before_2021(key: str) -> str:
    return re.sub(r"\b(matrices|biases|factors)\.(\d)$", r"_\1.\2", key)


def wrapped(key: str) -> str:
    return f"module.{key.replace('.skip.', '.downsample.')}"


SPELLINGS = (present, before_2024, before_2021, wrapped)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", ["bmshj2018-factorized", "mbt2018", "cheng2020-anchor", "elic2022-official"])
def test_every_spelling_of_the_keys(name: str, spelling: Callable[[str], str], tmp_path: Path) -> None:
    model = made(name)
    renamed = {spelling(key): tensor for key, tensor in model.state_dict().items()}
    if spelling in (before_2024, before_2021):
        assert renamed.keys() != model.state_dict().keys()
    imported = import_checkpoint(saved(renamed, tmp_path))
    assert imported.architecture is not None
    assert imported.architecture.name == name
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(imported(x)["x_hat"], model(x)["x_hat"])


@pytest.mark.parametrize("updated", [False, True])
@pytest.mark.parametrize("name", PICTURES)
def test_import_load_compress_decompress(name: str, updated: bool, tmp_path: Path) -> None:
    model = made(name, updated)
    path = tmp_path / "model.safetensors"
    save_model(import_checkpoint(saved({"epoch": 3, "state_dict": model.state_dict()}, tmp_path)), path)
    model.update()
    loaded = load_checkpoint(path)
    assert loaded.coder is not None
    assert loaded.coder.name == "compat"
    for (_, ours), (_, theirs) in zip(loaded.entropy_models(), model.spec_model().entropy_models(), strict=True):
        assert ours.tables == theirs.tables
    x = torch.rand(1, 3, 64, 128)
    packed = loaded.compress(x)
    peer_shape = shape_to_compressai(loaded, packed["shape"])
    again = loaded.decompress(packed["strings"], peer_shape)
    assert torch.equal(again["x_hat"], loaded.reconstruct(packed["y_hat"])["x_hat"])
    picture = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
    assert tinify.decompress(tinify.compress(picture, path), path).size == (70, 40)


def test_safetensors_and_half_precision(tmp_path: Path) -> None:
    tensors = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in weights().items()}
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / "half.safetensors")
    imported = import_checkpoint(tmp_path / "half.safetensors")
    assert {parameter.dtype for parameter in imported.parameters()} == {torch.float32}


def test_tables_of_any_size_stay(tmp_path: Path) -> None:
    model = made(PLAIN)
    model.entropy_bottleneck.quantiles.data *= 3
    model.update([0.2, 1.0, 5.0, 40.0], force=True)
    imported = dict(import_checkpoint(saved(model.state_dict(), tmp_path)).state_dict())
    assert imported["latent_codec.y.gaussian_conditional._cdf_length"].shape == (4,)
    for name in ("entropy_bottleneck", "gaussian_conditional"):
        prefix = {"entropy_bottleneck": "hyper", "gaussian_conditional": "y"}[name]
        ours = imported[f"latent_codec.{prefix}.{name}._quantized_cdf"]
        assert torch.equal(ours, model.state_dict()[f"{name}._quantized_cdf"])


def test_strings_of_tinifys_own_coder_are_a_choice(tmp_path: Path) -> None:
    path = saved(weights(), tmp_path)
    ours, theirs = (import_checkpoint(path, compat=compat) for compat in (False, True))
    assert ours.coder is None
    assert ours.architecture is not None
    assert theirs.architecture is not None
    assert ours.architecture.id != theirs.architecture.id
    x = torch.rand(1, 3, 64, 64)
    assert ours.compress(x)["strings"] != theirs.compress(x)["strings"]
    assert torch.equal(ours.compress(x)["y_hat"], theirs.compress(x)["y_hat"])


class Hostile:
    """Runs a command where a pickle of it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [False, True])
def test_pickled_code_is_refused_and_not_run(zipped: bool, tmp_path: Path) -> None:
    path, trap = tmp_path / "hostile.pth", tmp_path / "trap"
    torch.save({"state_dict": weights(), "args": Hostile(trap)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"can run code, and was refused.*torch\.save"):
        import_checkpoint(path)
    assert not trap.exists()


def repeated() -> dict[str, torch.Tensor]:
    """A few bytes that claim to be a table of 4 TB."""
    table = torch.zeros(1, dtype=torch.int32).expand(10**6, 10**6)
    return weights() | {"gaussian_conditional._quantized_cdf": table}


def changed(**tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The weights with some replaced, added, or (None) left out; ``__`` stands for a dot."""
    new = {key.replace("__", "."): tensor for key, tensor in tensors.items()}
    kept = {key: tensor for key, tensor in weights().items() if key not in new}
    return kept | {key: tensor for key, tensor in new.items() if tensor is not None}


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (dict, "an empty mapping"),
    "a number": (lambda: 3, "holds a int"),
    "other objects": (lambda: {"state_dict": {"a": 1}}, "'a', a int, where a state dict has tensors"),
    "numbered": (lambda: {0: torch.zeros(1)}, "has 0, a Tensor, where"),
    "nan": (lambda: changed(g_a__0__bias=torch.full((8,), torch.nan)), "g_a.0.bias has NaN or infinite"),
    "missing": (lambda: changed(g_a__2__bias=None), "looks like mbt2018-mean, but is not: missing g_a.2.bias"),
    "surplus": (lambda: changed(extra__weight=torch.zeros(2)), "but is not: surplus extra.weight"),
    "shape": (lambda: changed(h_a__0__bias=torch.zeros(9)), r"h_a.0.bias is \(9,\) where \(8,\) is expected"),
    "kind": (lambda: changed(h_a__0__bias=torch.zeros(8, dtype=torch.int32)), "h_a.0.bias is torch.int32, not"),
    "repeated": (repeated, "_quantized_cdf in .* is no plain tensor"),
    "meta": (lambda: changed(g_a__0__bias=torch.zeros(8, device="meta")), "g_a.0.bias in .* is no plain tensor"),
    "sparse": (lambda: changed(g_a__0__bias=torch.zeros(8).to_sparse()), "g_a.0.bias in .* is no plain tensor"),
    "empty": (lambda: changed(g_a__0__weight=torch.zeros(2**40, 0)), "no architecture|looks like"),
    "twice": (lambda: weights() | {"module.g_a.0.bias": torch.zeros(8)}, "g_a.0.bias twice, in two spellings"),
    "constant": (
        lambda: changed(gaussian_conditional__scale_bound=torch.tensor([0.5])),
        "scale_bound in .* is not what the architecture makes it",
    ),
    "rows": (
        lambda: changed(gaussian_conditional__scale_table=torch.tensor([0.2, 1.0])),
        "tables of latent_codec.y.gaussian_conditional in .* have 64 rows: expected 2",
    ),
    "table": (
        lambda: changed(entropy_bottleneck___quantized_cdf=torch.zeros(8, 5, dtype=torch.int32)),
        "tables of latent_codec.hyper.entropy_bottleneck in .* are damaged",
    ),
    "another": (lambda: {"conv1.weight": torch.zeros(3)}, r"no architecture known here \(it has conv1.weight"),
    "video": (lambda: {"img_encoder.0.weight": torch.zeros(3)}, r"no architecture known here \(it has img_encoder"),
    "variable": (lambda: weights() | {"QuantABCD.0.weight": torch.zeros(3)}, "surplus QuantABCD.0.weight"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_such_checkpoint_is_named(case: str, tmp_path: Path) -> None:
    content, message = WRONG[case]
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(saved(content(), tmp_path))


@pytest.mark.parametrize(
    ("key", "plugin", "what"),
    [
        ("QuantABCD.0.weight", "vbr", "a variable-rate model"),
        ("img_encoder.0.weight", "video", "the video model ssf2020"),
    ],
)
def test_without_its_plugin_a_model_is_named(
    key: str, plugin: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(weights() | {key: torch.zeros(3)}, tmp_path)
    monkeypatch.setattr(registry, "_current", registry.Registry(disabled=[plugin]))
    with pytest.raises(CheckpointError, match=f"looks like {what}, of the plugin {plugin}, which is not here"):
        import_checkpoint(path)


def test_the_architecture_may_be_named(tmp_path: Path) -> None:
    path = saved(weights(), tmp_path)
    assert import_checkpoint(path, "mbt2018-mean").architecture is not None
    with pytest.raises(CheckpointError, match=r"a checkpoint of mbt2018-mean, not of mbt2018 \(missing entropy_para.*"):
        import_checkpoint(path, "mbt2018")
    with pytest.raises(UnknownNameError, match="did you mean 'mbt2018-mean'"):
        import_checkpoint(path, "mbt2018-maen")


@pytest.mark.parametrize("name", ["model.pth", "model.pth.tar", "model.safetensors"])
@settings(max_examples=25, deadline=None)
@given(data=st.binary(max_size=400))
@example(data=b"")
@example(data=b"PK\x03\x04" + bytes(60))
def test_noise_is_no_checkpoint(name: str, data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("noise") / name
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"no checkpoint|damaged|refused|holds|expected"):
        import_checkpoint(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_checkpoint_cut_short(part: float, tmp_path: Path) -> None:
    path = saved(weights(), tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(CheckpointError, match="no checkpoint, or is damaged"):
        import_checkpoint(path)


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        import_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["file", "importing", "strings"])
def test_examples_give_what_they_show(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"tinify_plugins.compressai.{name}"))
    assert results.attempted
    assert not results.failed


def invoke(command: Any, *words: object) -> str:
    """What a command prints; errors are raised."""
    from click.testing import CliRunner

    result = CliRunner().invoke(command, [*map(str, words)], catch_exceptions=False, standalone_mode=True)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands_are_offered() -> None:
    context = cli.make_context("tinify", ["--help"], resilient_parsing=True)
    offered = {"import-compressai", "compress-compressai", "decompress-compressai"}
    assert offered <= {*cli.list_commands(context)}
    assert cli.get_command(context, "import-compressai") is import_command


def test_the_commands(tmp_path: Path) -> None:
    checkpoint, model = saved(weights(), tmp_path), tmp_path / "model.safetensors"
    assert "mbt2018-mean with N=8, M=12" in invoke(import_command, checkpoint, model)
    printed = json.loads(invoke(import_command, checkpoint, model, "--json", "--no-compat"))
    assert (printed["spec"], printed["coder"]) == ("mbt2018-mean", "ans")
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    invoke(compress_command, tmp_path / "photo.png", "--model", model, "--quality", 3)
    packed = read((tmp_path / "photo.bin").read_bytes())
    assert (packed.model, packed.quality, packed.width, packed.height) == ("mbt2018-mean", 3, 70, 50)
    invoke(decompress_command, tmp_path / "photo.bin", tmp_path / "again.png", "--model", model)
    with Image.open(tmp_path / "again.png") as image:
        assert image.size == (70, 50)


@pytest.mark.parametrize("name", peer_file.MODELS)
def test_pictures_of_any_size_come_back(name: str) -> None:
    model = made(name).spec_model()
    for height, width, channels in ((1, 1, 3), (65, 20, 1)):
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
        packed = read(write(encode(Picture(pixels), model, "ms-ssim", 8)))
        assert (packed.model, packed.metric, packed.quality) == (name, "ms-ssim", 8)
        again = decode(packed, model).pixels
        assert again.shape == (height, width, 3)
        padded = tuple(-(-side // 64) * 64 for side in (height, width))
        x_hat = model.decompress([[string] for string in packed.strings], packed.shape)["x_hat"]
        assert x_hat.shape[2:] == padded
        top, left = (padded[0] - height) // 2, (padded[1] - width) // 2
        corner = (x_hat[0, :, top, left] * 255).round().numpy()
        assert again[0, 0].tolist() == corner.tolist()


def test_another_model_is_named() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    model = made(PLAIN).spec_model()
    model.latent_codec.hyper.h_s[-1].bias.data[:12] += 3  # scales of their own: untrained models agree in the least
    packed = encode(Picture(pixels), model, quality=2)
    with pytest.raises(WrongModelError, match="file names mbt2018-mean, mse, quality 2, and the model at hand is bmsh"):
        decode(packed, made("bmshj2018-factorized").spec_model())
    with pytest.raises(WrongModelError, match="do not decode by this model"):
        decode(packed, made("bmshj2018-hyperprior").spec_model())
    with pytest.raises(InputError, match="no files of elic2022-official"):
        decode(packed, made("elic2022-official").spec_model())


FILE = write(CompressaiFile("mbt2018-mean", "mse", 3, 50, 70, (1, 2), (b"some", b"strings")))


def patched(place: int, form: str, value: int) -> bytes:
    data = bytearray(FILE)
    struct.pack_into(form, data, place, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (patched(0, ">B", 13), VersionError, "model 13: it is a video"),
        (patched(1, ">B", 0x20), CorruptFileError, "metric 2"),
        (patched(2, ">I", 0), CorruptFileError, "picture of 70x0"),
        (patched(2, ">I", 2**32 - 1), CorruptFileError, "picture of 70x4294967295"),
        (patched(2, ">I", 500), CorruptFileError, "a latent of 2x1 for a picture of 70x500"),
        (patched(10, ">B", 10), VersionError, "bit depth 10"),
        (patched(11, ">I", 2**31), CorruptFileError, "a latent of 2x2147483648"),
        (patched(19, ">I", 2**32 - 1), CorruptFileError, "4294967295 strings where mbt2018-mean has 2"),
        (patched(19, ">I", 7), CorruptFileError, "a video"),
        (patched(23, ">I", 2**32 - 1), TruncatedFileError, "string 0 ends 4294967280 bytes after the file"),
        (FILE + b"more", CorruptFileError, "4 bytes follow the last string"),
    ],
)
def test_damage_is_named(data: bytes, error: type[FileError], message: str) -> None:
    with pytest.raises(error, match=message):
        read(data)


def test_every_cut_is_named() -> None:
    for length in range(len(FILE)):
        with pytest.raises(TruncatedFileError, match=r"after the file|the file ends in its"):
            read(FILE[:length])


@given(st.binary(max_size=80), st.integers(0, len(FILE)))
def test_noise_is_read_or_refused(noise: bytes, kept: int) -> None:
    data = FILE[:kept] + noise
    try:
        again = write(read(data))
    except FileError:
        return
    assert again == data
