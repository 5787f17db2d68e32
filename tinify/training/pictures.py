"""Training on photographs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from tinify.errors import InputError
from tinify.losses import bits_per_pixel
from tinify.metrics import MS_SSIM_MIN_SIDE, psnr
from tinify.models import CompressionModel
from tinify.training.config import TrainingConfig
from tinify.training.data import Crops, Pixels, list_images, read_usable
from tinify.training.validation import validate


def takes_clips(model: CompressionModel) -> bool:
    """Whether a model's forward takes the frames of clips, and is told of how many."""
    return "frames" in inspect.signature(model.forward).parameters


class PictureFeed:
    """A :class:`~tinify.training.feed.Feed` of random crops."""

    def list_files(self, folder: Path) -> list[Path]:
        return list_images(folder)

    def check(self, model: CompressionModel, config: TrainingConfig) -> None:
        stride = model.architecture.stride if model.architecture else 1
        if config.frames > 1 and not takes_clips(model):
            raise InputError(f"clips of {config.frames} frames: this model takes pictures, leave frames out")
        for crop in config.crops:
            if crop % stride:
                raise InputError(f"crop {crop} does not fit this model: it takes multiples of {stride}")
            if config.metric == "ms-ssim" and crop < MS_SSIM_MIN_SIDE:
                raise InputError(f"crop {crop} is too small for MS-SSIM: it takes {MS_SSIM_MIN_SIDE} or more")

    def batches(self, files: Sequence[Path], config: TrainingConfig, workers: int, part: tuple[int, int]) -> Crops:
        return Crops(files, config.crops[-1], config.batch, workers=workers, part=part, frames=config.frames)

    def held_out(self, files: Sequence[Path]) -> list[Pixels]:
        return read_usable(files)

    def figures(self, output: dict[str, Any], x: Tensor) -> tuple[float, float]:
        return float(bits_per_pixel(output, x)), psnr(output["x_hat"], x)

    def validate(self, model: CompressionModel, held_out: Sequence[Any], config: TrainingConfig) -> dict[str, float]:
        return validate(model, held_out, config)
