"""What models code: pictures, where they do not say otherwise."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor


class Domain:
    """Pictures, (batch, channels, height, width) in [0, 1]. A model of something else has a subclass's as ``domain``.

    ``command`` is the one that makes files of them; ``limits`` are those of decoded values, None where there are none;
    with ``same_size`` what comes out is as large as what went in; ``training`` names, as ``module:attribute``, what
    `tinify train` draws and measures with, a ``tinify.training.feed.Feed``.

    >>> Domain().example(3, (4, 6)).shape
    torch.Size([2, 3, 4, 6])
    """

    name: ClassVar[str] = "photographs"
    command: ClassVar[str] = "tinify compress"
    limits: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    same_size: ClassVar[bool] = True
    training: ClassVar[str] = "tinify.training.pictures:PictureFeed"

    def extents(self, unit: int) -> list[tuple[int, ...]]:
        """Lengths along each axis that a model takes whose strides divide ``unit``: usual ones, even and odd."""
        return [(unit * height, unit * width) for height, width in ((3, 5), (4, 4), (7, 2))]

    def example(
        self,
        channels: int,
        extent: tuple[int, ...],
        batch: int = 2,
        generator: torch.Generator | None = None,
        device: str = "cpu",
    ) -> Tensor:
        """Random ones of that extent, as a model takes them."""
        return torch.rand(batch, channels, *extent, generator=generator, device=device)


PICTURES = Domain()
