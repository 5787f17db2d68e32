"""Scale space: a picture and its blurred versions, and the warp that looks motion up in it, sharp or blurred."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_volume(x: Tensor, sigma: float, num_levels: int) -> Tensor:
    """``x`` and ``num_levels`` blurred versions of it, (batch, channels, num_levels + 1, height, width).

    Plane ``i`` from 1 on is blurred as by a Gaussian of ``sigma * 2 ** (i - 1)``: each is made of the one before, at
    half its size. Sides are multiples of ``2 ** (num_levels - 1)``.
    Agustsson, Minnen, Johnston, Ballé, Hwang, Toderici: Scale-Space Flow for End-to-End Optimized Video Compression,
    CVPR 2020, section 3.1.

    >>> gaussian_volume(torch.rand(1, 3, 32, 48), sigma=1.5, num_levels=3).shape
    torch.Size([1, 3, 4, 32, 48])
    """
    kernel = _kernel(2 * int(-(-3 * sigma // 1)) + 1, sigma).to(x)
    small = _blur(x, kernel)
    planes = [x, small]
    for level in range(1, num_levels):
        small = _blur(F.avg_pool2d(small, 2), kernel)
        full = small
        for _ in range(level):
            full = F.interpolate(full, scale_factor=2, mode="bilinear", align_corners=False)
        planes.append(full)
    return torch.stack(planes, 2)


def warp(volume: Tensor, flow: Tensor, scale: Tensor) -> Tensor:
    """What ``volume`` has where ``flow`` points to, at the level that ``scale`` says: (batch, channels, height, width).

    ``flow``, (batch, 2, height, width), is in units of half the picture's sides, to the right and down; ``scale``,
    (batch, 1, height, width), runs from -1, sharp, to 1. Beyond the border is the border. Computed in float32.
    """
    with torch.autocast(volume.device.type, enabled=False):
        volume, flow, scale = volume.float(), flow.float(), scale.float()
        height, width = volume.shape[-2:]
        across, down = (
            (2 * torch.arange(length, device=volume.device, dtype=torch.float32) + 1) / length - 1
            for length in (width, height)
        )
        place = torch.stack(torch.broadcast_tensors(across[None, :], down[:, None]), -1)  # type: ignore[no-untyped-call]
        grid = torch.cat([place + flow.permute(0, 2, 3, 1), scale.permute(0, 2, 3, 1)], -1)
        found = F.grid_sample(volume, grid[:, None], padding_mode="border", align_corners=False)
        return found[:, :, 0]


@lru_cache(maxsize=8)
def _kernel(size: int, sigma: float) -> Tensor:
    place = torch.linspace(-(size // 2), size // 2, size)
    weights = torch.exp(-0.5 * (place / sigma) ** 2)
    return weights / weights.sum()


def _blur(x: Tensor, kernel: Tensor) -> Tensor:
    """Each channel blurred along both axes; beyond the border is the border."""
    channels, reach = x.shape[1], len(kernel) // 2
    x = F.pad(x, (reach, reach, 0, 0), mode="replicate")
    x = F.conv2d(x, kernel.expand(channels, 1, 1, -1), groups=channels)
    x = F.pad(x, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(x, kernel[:, None].expand(channels, 1, -1, 1), groups=channels)
