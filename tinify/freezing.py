"""Freezing: a trained model to one whose files decode to the same symbols on every machine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tinify.codec import Codec, model_name
from tinify.errors import InputError
from tinify.exact import audit, fine_tune
from tinify.models import CompressionModel, SimpleVAECompressionModel
from tinify.models.portable import SelfTest, make_portable
from tinify.ops import compute_padding
from tinify.training.data import Crops, list_images, read_usable

PICTURES = 32
LEAST, MOST = 10, 100
"""Pictures of a calibration."""
FRAMES = 3
"""Of each clip, in a calibration of a model that takes clips: one by itself, one after it, one after that."""
_SIDE, _CLIP_SIDE = 512, 256
_QUALITIES = 4


def freeze_portable(
    model: CompressionModel,
    pictures: Iterable[Tensor],
    *,
    tune: int = 0,
    progress: Callable[[str], None] = lambda message: None,
) -> CompressionModel:
    """A portable copy of a trained model, calibrated by ``pictures``, (1, channels, height, width) in [0, 1].

    Of a model that takes clips, they are the frames of one each. Sides are multiples of the model's stride;
    :func:`calibration` reads such pictures. ``tune`` steps train the layers that become integers, for the rate of these
    pictures, with their rounding in place. The model stays as it is. Raises :class:`~tinify.errors.InputError` for one
    that has no portable form, and says why.

    >>> import tinify
    >>> model = tinify.create_model("mbt2018-mean", N=8, M=12).eval()
    >>> freeze_portable(model, [torch.rand(1, 3, 64, 128)]).arithmetic
    'portable'
    """
    given = list(pictures)
    if not given:
        raise InputError("no pictures to calibrate by: expected 10 to 100 photographs")
    if isinstance(model, SimpleVAECompressionModel):
        Codec(model)  # which says what it does not take
    made = copy.deepcopy(model.spec_model())

    def run(model: CompressionModel) -> None:
        for number, x in enumerate(given):
            progress(f"picture {number + 1} of {len(given)}")
            for quality in _spread(model):
                model(x, **({} if quality is None else {"quality": quality}))

    def train(model: CompressionModel, paths: list[str]) -> None:
        fine_tune(model, paths, given, tune, progress=lambda step, bits: progress(f"step {step + 1} of {tune}"))

    make_portable(made, run, train if tune else None)
    progress("self-test")
    made.self_test = SelfTest.of(made)
    with audit(made):
        passed = made.self_test.passes(made)
    if not passed:
        raise InputError(f"{model_name(made)} does not decode what it has coded: has it a latent codec of its own?")
    return made


def calibration(folder: Path, stride: int, count: int = PICTURES, frames: int = 1) -> list[Tensor]:
    """The middles of pictures in and below a folder, evenly chosen, (1, 3, height, width), sides at most 512.

    With ``frames`` they are random parts of clips, as training draws them from folders of pictures that follow one
    another: (frames, 3, side, side). Raises :class:`~tinify.errors.DataError` for a folder without pictures,
    :class:`~tinify.errors.InputError` for fewer than 10, or for a count beyond 10 to 100.
    """
    if not LEAST <= count <= MOST:
        raise InputError(f"{count} pictures to calibrate by: expected {LEAST} to {MOST}")
    files = list_images(folder)
    if len(files) < LEAST:
        raise InputError(f"{folder} has {len(files)} pictures: a calibration takes {LEAST} to {MOST}")
    if frames > 1:
        drawn = Crops(files, max(stride, _CLIP_SIDE // stride * stride), frames, frames=frames)
        return [drawn.batch(0, clip) for clip in range(count)]
    chosen = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    return [_middle(pixels, stride) for pixels in read_usable([files[place] for place in chosen])]


def _middle(pixels: NDArray[np.uint8], stride: int) -> Tensor:
    side = max(stride, _SIDE // stride * stride)
    top, left = (max(0, (length - side) // 2) for length in pixels.shape[:2])
    part = torch.tensor(pixels[top : top + side, left : left + side])
    x = part.permute(2, 0, 1)[None].float().div_(255)
    pad, _ = compute_padding(*x.shape[2:], min_div=stride)
    return F.pad(x, pad, mode="replicate")


def _spread(model: CompressionModel) -> list[float | None]:
    """Qualities from the lowest to the highest; None alone of a model of one rate."""
    return [None] if model.qualities is None else np.linspace(*model.qualities, _QUALITIES).tolist()
