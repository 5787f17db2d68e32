"""Training on point clouds: files of them, and blocks drawn of each."""

from __future__ import annotations

import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinify.errors import DataError, InputError, TinifyError
from tinify.models import CompressionModel
from tinify.training.config import TrainingConfig
from tinify.training.criterion import Criterion

from .blocks import Block, filled
from .clouds import SUFFIXES, Points, read_clouds
from .flow import PointSetModel
from .losses import bits_per_point, chamfer_squares

# Clouds that have more points than so many blocks are drawn from around a point, as they are coded; others whole.
_WHOLE = 16

_HELD_OUT = 64


def draw(cloud: Points, count: int, random: np.random.Generator) -> Points:
    """``count`` points of a cloud, about within the unit ball: of all of it, or of a large one from around a point."""
    if len(cloud) > _WHOLE * count:
        around = cloud[int(random.integers(len(cloud)))]
        near = np.square(cloud - around).sum(1)
        cloud = cloud[np.argpartition(near, count)[:count]]
    return filled(Block.of(cloud[random.permutation(len(cloud))[:count]]).points, count)


class CloudBatches:
    """Blocks of ``points`` drawn from the clouds in files, a ``batch`` of them a step; see ``tinify.training.feed``."""

    def __init__(
        self, files: Sequence[Path], points: int, batch: int, workers: int = 1, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.files, self.workers, self.part = list(files), workers, part
        self.skipped: dict[Path, str] = {}
        self._points, self._size = points, batch
        self._clouds: list[Points] = []
        for path in self.files:
            try:
                self._clouds += read_clouds(path, "train")
            except TinifyError as error:
                self.skipped[path] = str(error)
                warnings.warn(f"skipped {error}", stacklevel=2)
        if not self._clouds:
            raise DataError(f"none of the {len(self.files)} files can be used, first: {self.skipped}")

    def batch(self, seed: int, step: int, crop: int = 0, size: int = 0) -> Tensor:
        """Clouds (batch, points, 3) of a step."""
        points, size = crop or self._points, size or self._size
        drawn = []
        for place in range(size):
            random = np.random.default_rng((seed, step, self.part[0] * size + place))
            drawn.append(draw(self._clouds[int(random.integers(len(self._clouds)))], points, random))
        return torch.from_numpy(np.stack(drawn))

    def ahead(
        self, seed: int, steps: range, shape: Callable[[int], tuple[int, int]] | None = None
    ) -> Generator[Tensor]:
        """The batches of ``steps`` in turn, made by threads while others are in use."""

        def made(step: int) -> Tensor:
            return self.batch(seed, step, *(shape(step) if shape else ()))

        waiting = iter(steps)
        with ThreadPoolExecutor(self.workers, "clouds") as pool:
            try:
                pending = deque(pool.submit(made, step) for step in islice(waiting, self.workers + 1))
                while pending:
                    ready = pending.popleft().result()
                    pending.extend(pool.submit(made, step) for step in islice(waiting, 1))
                    yield ready
            finally:
                pool.shutdown(cancel_futures=True)


class CloudFeed:
    """What trains models of point clouds: ``crop`` is the points of a cloud, and PSNR that of D1 at a peak of 1."""

    def list_files(self, folder: Path) -> list[Path]:
        if folder.is_file():
            return [folder]
        if not folder.is_dir():
            raise DataError(f"{folder} is not there: expected a file or a folder of clouds ({', '.join(SUFFIXES)})")
        found = [Path(where, name) for where, _, names in os.walk(folder) for name in names]
        found = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{folder} has no clouds: expected files ending in {', '.join(SUFFIXES)}")
        return found

    def check(self, model: CompressionModel, config: TrainingConfig) -> None:
        stride = model.architecture.stride if model.architecture else 1
        if config.frames > 1:
            raise InputError(f"clips of {config.frames} frames: this model takes point clouds, leave frames out")
        if isinstance(config.lmbda, tuple):
            raise InputError("models of point clouds are of one rate: give one lambda")
        for points in config.crops:
            if isinstance(model, PointSetModel) and model.exact and points % stride:
                raise InputError(f"crop {points} does not fit this model: it takes clouds of {stride} points")

    def batches(
        self, files: Sequence[Path], config: TrainingConfig, workers: int, part: tuple[int, int]
    ) -> CloudBatches:
        return CloudBatches(files, config.crops[-1], config.batch, workers, part)

    def held_out(self, files: Sequence[Path]) -> list[Points]:
        return [cloud for path in files for cloud in read_clouds(path, "test")][:_HELD_OUT]

    def figures(self, output: dict[str, Any], x: Tensor) -> tuple[float, float]:
        rate = float(bits_per_point(output, x.shape[0] * x.shape[1]))
        there, back = chamfer_squares(output["x_hat"].to(x.dtype), x)
        worse = float(torch.maximum(there.mean(1), back.mean(1)).mean())
        return rate, 10 * math.log10(3 / max(worse, 1e-12))

    @torch.no_grad()
    def validate(self, model: CompressionModel, held_out: Sequence[Any], config: TrainingConfig) -> dict[str, float]:
        device = next(model.parameters()).device
        criterion, found = Criterion(config, device), []
        model.eval()
        for number, cloud in enumerate(held_out):
            drawn = draw(cloud, config.crops[-1], np.random.default_rng(number))
            x = torch.from_numpy(drawn)[None].to(device)
            output = model(x)
            found.append((*self.figures(output, x), float(criterion(output, x))))
        means = [math.fsum(column) / len(found) for column in zip(*found, strict=True)]
        return dict(zip(("bpp", "psnr", "loss"), means, strict=True))
