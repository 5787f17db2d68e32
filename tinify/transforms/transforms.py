"""The colour transforms of :mod:`tinify.transforms.functional` as objects, to be put in a row with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from tinify.transforms import functional
from tinify.transforms.functional import Planes


@dataclass(frozen=True)
class RGB2YCbCr:
    """Calls :func:`~tinify.transforms.functional.rgb2ycbcr`."""

    def __call__(self, rgb: Tensor) -> Tensor:
        return functional.rgb2ycbcr(rgb)


@dataclass(frozen=True)
class YCbCr2RGB:
    """Calls :func:`~tinify.transforms.functional.ycbcr2rgb`."""

    def __call__(self, ycbcr: Tensor) -> Tensor:
        return functional.ycbcr2rgb(ycbcr)


@dataclass(frozen=True)
class YUV444To420:
    """Calls :func:`~tinify.transforms.functional.yuv_444_to_420`; another mode is an error at once."""

    mode: str = "avg_pool"

    def __post_init__(self) -> None:
        functional.check_mode(self.mode, functional.DOWNSAMPLING)

    def __call__(self, yuv: Tensor | Sequence[Tensor]) -> Planes:
        return functional.yuv_444_to_420(yuv, self.mode)


@dataclass(frozen=True)
class YUV420To444:
    """Calls :func:`~tinify.transforms.functional.yuv_420_to_444`; another mode is an error at once."""

    mode: str = "bilinear"
    return_tuple: bool = False

    def __post_init__(self) -> None:
        functional.check_mode(self.mode, functional.UPSAMPLING)

    def __call__(self, yuv: Sequence[Tensor]) -> Tensor | Planes:
        return functional.yuv_420_to_444(yuv, self.mode, self.return_tuple)
