"""What the models of this plugin code: sets of points."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tinify.models.domain import Domain

# So that the sets below still have as many points as are looked for around one.
_FEWEST = 256


class Clouds(Domain):
    """Clouds (batch, points, 3), about within the unit ball; decoded ones may have another number of points."""

    name: ClassVar[str] = "point clouds"
    command: ClassVar[str] = "tinify points compress"
    limits: ClassVar[tuple[float, float] | None] = None
    same_size: ClassVar[bool] = False
    training: ClassVar[str] = "tinify_plugins.pointcloud.training:CloudFeed"

    def extents(self, unit: int) -> list[tuple[int, ...]]:
        return [(unit * -(-_FEWEST // unit),)] * 2

    def example(
        self,
        channels: int,
        extent: tuple[int, ...],
        batch: int = 2,
        generator: torch.Generator | None = None,
        device: str = "cpu",
    ) -> Tensor:
        return 2 * torch.rand(batch, *extent, channels, generator=generator, device=device) - 1


CLOUDS = Clouds()
