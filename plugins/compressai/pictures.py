"""Pictures to files of CompressAI's codec script, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from tinify.errors import CorruptStreamError, InputError, WrongModelError
from tinify.images import Picture
from tinify.models import CompressionModel, build_part
from tinify.ops import compute_padding

from .file import MODELS, PADDING, CompressaiFile, stride_of


@torch.no_grad()
def encode(picture: Picture, model: CompressionModel, metric: str = "mse", quality: int = 1) -> CompressaiFile:
    """The picture as CompressAI's codec script would write it; alpha and metadata have no place there.

    ``metric`` and ``quality`` tell CompressAI which of its own weights to load. ``model`` is taken over.
    """
    name = _prepare(model)
    height, width, _ = picture.pixels.shape
    x = torch.tensor(picture.pixels).permute(2, 0, 1)[None].float().div_(255).expand(-1, 3, -1, -1)
    pad, _ = compute_padding(height, width, min_div=PADDING)
    packed = model.compress(F.pad(x, pad, mode="replicate"))
    strings = tuple(strings[0] for strings in packed["strings"])
    return CompressaiFile(name, metric, quality, height, width, tuple(packed["shape"]), strings)


@torch.no_grad()
def decode(file: CompressaiFile, model: CompressionModel) -> Picture:
    """The picture in a file. ``model`` has the weights that it was coded with, and is taken over.

    Raises :class:`~tinify.errors.WrongModelError` where its strings do not decode by them.
    """
    name = _prepare(model)
    about = f"the file names {file.model}, {file.metric}, quality {file.quality}, and the model at hand is {name}"
    if stride_of(name) != stride_of(file.model):
        raise WrongModelError(f"{about}: give the weights it was coded with (--model FILE)")
    try:
        x_hat = model.decompress([[string] for string in file.strings], torch.Size(file.shape))["x_hat"]
    except (CorruptStreamError, InputError) as error:
        raise WrongModelError(f"its strings do not decode by this model: {about} ({error})") from error
    top, left = ((side - kept) // 2 for side, kept in zip(x_hat.shape[2:], (file.height, file.width), strict=True))
    part: Any = x_hat[0, :, top : top + file.height, left : left + file.width]
    return Picture(part.permute(1, 2, 0).mul(255).round().clamp(0, 255).to(torch.uint8).contiguous().numpy())


def _prepare(model: CompressionModel) -> str:
    """Has the model write CompressAI's strings; returns the name of its architecture."""
    name = model.architecture.name if model.architecture else type(model).__name__
    if name not in MODELS:
        raise InputError(f"CompressAI's codec writes no files of {name}: expected one of {', '.join(MODELS)}")
    model.eval().use_coder(build_part("coder", "compat"))
    return name
