"""Quadtree coding: a latent in four steps, each of a quarter of the positions of every channel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tinify.errors import InputError
from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.stream import Stream

# The corner of each square of 2x2 that the first quarter of the channels has in a step: diagonals first. The other
# quarters take the corners that these numbers give by exclusive or with their own number.
_CORNERS = (0, 3, 1, 2)


class QuadtreeLatentCodec(LatentCodec):
    """Folds squares of 2x2 positions into channels, so that the groups of another latent codec become steps.

    ``y`` is (batch, channels, height, width), channels a multiple of 4, height and width even; ``latent_codec`` sees
    (batch, 4 * channels, height / 2, width / 2), and side information of that height and width. The channels of step k
    come together, and hold one corner of every square: another one for each quarter of ``y``'s channels, so that every
    step knows something of every position and of every channel.
    Li, Li, Lu: Neural Video Compression with Diverse Contexts, CVPR 2023, section 3.3.
    """

    def __init__(self, latent_codec: LatentCodec) -> None:
        super().__init__()
        self.latent_codec = latent_codec

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        return unfold(self.latent_codec.code(None if y is None else fold(y), side, stream))


def fold(y: Tensor) -> Tensor:
    """Squares of 2x2 as channels, step by step; :class:`~tinify.errors.InputError` for a size that has none.

    >>> y = torch.arange(64.0).reshape(1, 4, 4, 4)
    >>> fold(y).shape, torch.equal(unfold(fold(y)), y)
    (torch.Size([1, 16, 2, 2]), True)
    """
    batch, channels, height, width = y.shape
    if channels % 4 or height % 2 or width % 2:
        raise InputError(f"a latent of {channels} channels, {height}x{width}: expected a multiple of 4, and even sides")
    corners = F.pixel_unshuffle(y, 2).reshape(batch, 4, channels // 4, 4, height // 2, width // 2)
    steps = [torch.cat([corners[:, k, :, corner ^ k] for k in range(4)], 1) for corner in _CORNERS]
    return torch.cat(steps, 1)


def unfold(folded: Tensor) -> Tensor:
    """The inverse of :func:`fold`."""
    steps = [step.chunk(4, 1) for step in folded.chunk(4, 1)]
    order = [_CORNERS.index(corner) for corner in range(4)]
    quarters = [torch.stack([steps[order[corner ^ k]][k] for corner in range(4)], 2) for k in range(4)]
    return F.pixel_shuffle(torch.cat(quarters, 1).flatten(1, 2), 2)
