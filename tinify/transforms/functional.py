"""RGB and YCbCr (ITU-R BT.709, full range), and chroma at half the height and width (4:2:0)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tinify.errors import InputError

Planes = tuple[Tensor, Tensor, Tensor]

# Shares of red, green and blue in luma, ITU-R BT.709.
KR, KG, KB = 0.2126, 0.7152, 0.0722

DOWNSAMPLING = ("avg_pool",)
UPSAMPLING = ("bilinear", "bicubic", "nearest")


def rgb2ycbcr(rgb: Tensor) -> Tensor:
    """Luma and two chromas of RGB, all in [0, 1], grey at chroma 0.5.

    Takes and returns a float tensor (3, height, width) or (batch, 3, height, width). Raises
    :class:`~tinify.errors.InputError` for another. ITU-R Recommendation BT.709-6, section 3.

    >>> [round(value, 4) for value in rgb2ycbcr(torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1)).flatten().tolist()]
    [0.2126, 0.3854, 1.0]
    """
    red, green, blue = _picture(rgb).unbind(-3)
    y = KR * red + KG * green + KB * blue
    cb = 0.5 * (blue - y) / (1 - KB) + 0.5
    cr = 0.5 * (red - y) / (1 - KR) + 0.5
    return torch.stack((y, cb, cr), -3)


def ycbcr2rgb(ycbcr: Tensor) -> Tensor:
    """The inverse of :func:`rgb2ycbcr`, with the same shapes and errors; it does not clamp.

    >>> ycbcr2rgb(torch.tensor([0.25, 0.5, 0.5]).reshape(3, 1, 1)).flatten().tolist()
    [0.25, 0.25, 0.25]
    """
    y, cb, cr = _picture(ycbcr).unbind(-3)
    red = y + 2 * (1 - KR) * (cr - 0.5)
    blue = y + 2 * (1 - KB) * (cb - 0.5)
    # Not (y - KR * red - KB * blue) / KG, which would make grey of grey only up to rounding.
    green = y - 2 * (1 - KR) * KR / KG * (cr - 0.5) - 2 * (1 - KB) * KB / KG * (cb - 0.5)
    return torch.stack((red, green, blue), -3)


def yuv_444_to_420(yuv: Tensor | Sequence[Tensor], mode: str = "avg_pool") -> Planes:
    """Chroma as the mean of each 2x2 square: planes of (..., 1, H, W) and twice (..., 1, ceil(H / 2), ceil(W / 2)).

    ``yuv`` is a float tensor (..., 3, height, width), or its three planes; squares cut off by an odd side are means of
    what there is. Raises :class:`~tinify.errors.InputError` for other tensors or another mode than ``"avg_pool"``.

    >>> [tuple(plane.shape) for plane in yuv_444_to_420(torch.zeros(1, 3, 4, 5))]
    [(1, 1, 4, 5), (1, 1, 2, 3), (1, 1, 2, 3)]
    """
    check_mode(mode, DOWNSAMPLING)
    y, u, v = _picture(yuv).tensor_split(3, -3) if isinstance(yuv, Tensor) else _planes(yuv)
    if not y.shape == u.shape == v.shape:
        raise InputError(f"planes of 4:4:4 have one shape, got {_shapes((y, u, v))}")
    return y, F.avg_pool2d(u, 2, ceil_mode=True), F.avg_pool2d(v, 2, ceil_mode=True)


def yuv_420_to_444(yuv: Sequence[Tensor], mode: str = "bilinear", return_tuple: bool = False) -> Tensor | Planes:
    """Chroma brought to the size of luma: a tensor (..., 3, H, W), or with ``return_tuple`` its three planes.

    ``yuv`` are the planes that :func:`yuv_444_to_420` returns; ``mode`` is ``"bilinear"``, ``"bicubic"`` or
    ``"nearest"``, samples in the middle of their squares. Raises :class:`~tinify.errors.InputError` for others.

    >>> yuv_420_to_444(yuv_444_to_420(torch.zeros(1, 3, 4, 5))).shape
    torch.Size([1, 3, 4, 5])
    """
    check_mode(mode, UPSAMPLING)
    y, u, v = _planes(yuv)
    height, width = y.shape[-2:]
    half = (*y.shape[:-2], -(-height // 2), -(-width // 2))
    if not u.shape == v.shape == half:
        raise InputError(f"chroma of 4:2:0 beside luma {tuple(y.shape)} is {half}, got {_shapes((u, v))}")
    planes = (y, _doubled(u, mode)[..., :height, :width], _doubled(v, mode)[..., :height, :width])
    return planes if return_tuple else torch.cat(planes, -3)


def check_mode(mode: str, known: tuple[str, ...]) -> None:
    """Raises :class:`~tinify.errors.InputError` for a mode that is not among those known."""
    if mode not in known:
        raise InputError(f"unknown mode {mode!r}: expected {' or '.join(map(repr, known))}")


def _doubled(plane: Tensor, mode: str) -> Tensor:
    batch = plane if plane.dim() == 4 else plane[None]
    doubled = F.interpolate(batch, scale_factor=2, mode=mode, align_corners=None if mode == "nearest" else False)
    return doubled if plane.dim() == 4 else doubled[0]


def _picture(tensor: Any) -> Tensor:
    """The tensor, if it is one of three float channels."""
    if not isinstance(tensor, Tensor):
        raise InputError(f"expected a float tensor (3, height, width) or (batch, 3, height, width), got {tensor!r:.80}")
    if tensor.dim() not in (3, 4) or tensor.shape[-3] != 3 or not tensor.is_floating_point():
        raise InputError(
            "expected a float tensor (3, height, width) or (batch, 3, height, width), "
            f"got {tensor.dtype} {tuple(tensor.shape)}"
        )
    return tensor


def _planes(planes: Any) -> Planes:
    """The three planes, if they are."""
    what = "expected three float tensors (1, height, width) or (batch, 1, height, width): luma and two chromas"
    if not isinstance(planes, (tuple, list)) or not all(isinstance(plane, Tensor) for plane in planes):
        raise InputError(f"{what}; got a {type(planes).__name__}")
    if len(planes) != 3 or not all(_is_plane(plane) for plane in planes):
        raise InputError(f"{what}; got {_shapes(planes)}")
    return planes[0], planes[1], planes[2]


def _is_plane(plane: Tensor) -> bool:
    return plane.dim() in (3, 4) and plane.shape[-3] == 1 and plane.is_floating_point()


def _shapes(planes: Sequence[Tensor]) -> str:
    return ", ".join(f"{plane.dtype} {tuple(plane.shape)}" for plane in planes)
