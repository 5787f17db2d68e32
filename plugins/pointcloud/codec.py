"""Clouds of any size to bytes and back, a few blocks at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tinify.checkpoint import model_digest
from tinify.codec import model_name
from tinify.coders.default import rans_by_default
from tinify.errors import CheckpointError, CorruptFileError, CorruptStreamError, WrongModelError
from tinify.models import CompressionModel

from .blocks import Block, filled, split
from .clouds import Cloud, Points
from .container import Coded, Header, read, write
from .flow import PointSetModel
from .sets import farthest_point_sample

#: Points of a block, for models that take any number.
BLOCK = 1024

_TOGETHER = 16


class PointCodec:
    """A model with weights as a codec of clouds.

    A cloud is coded in blocks of at most ``block`` points that lie together, each moved into the unit ball. Models that
    take an exact number of points are given the points of a block again where it has fewer. Of the points that are
    decoded no more are kept than the block had, far from one another; ``hrtzxf2022-pcc-rec`` may give a few less.

    >>> import tinify
    >>> codec = PointCodec(tinify.create_model("sfu2023-pcc-rec-pointnet", points=64, M=16).eval())
    >>> data = codec.compress(np.random.default_rng(0).random((100, 3), np.float32))
    >>> codec.decompress(data).shape
    (100, 3)
    """

    def __init__(self, model: CompressionModel) -> None:
        model = model.spec_model()
        if not isinstance(model, PointSetModel) or model.architecture is None:
            raise CheckpointError(
                f"a codec of point clouds is made of a model of them built from a spec, got {type(model).__name__}: "
                "give the weights of one, such as hrtzxf2022-pcc-rec"
            )
        model.eval().ensure_tables()
        self.model = model
        self.name = model_name(model)
        self.digest = model_digest(model)
        self.block = model.architecture.stride if model.exact else BLOCK
        self._device = next(model.parameters()).device

    def compress(self, points: Points) -> bytes:
        """A cloud (points, 3) as the bytes of a file; :class:`~tinify.errors.InputError` for what is none."""
        points = Cloud(points).points
        parts = split(points, self.block)
        coded: list[Coded] = []
        for first in range(0, len(parts), self._together):
            coded += self._encode([points[part] for part in parts[first : first + self._together]])
        return write(Header(len(points), self.name, self.digest), coded)

    def decompress(self, data: bytes) -> Points:
        """The points (points, 3) of a file; a :class:`~tinify.errors.FileError` says why not."""
        header, coded = read(data)
        if header.model_digest != self.digest:
            raise WrongModelError(
                f"this file was coded by model {header.model_name!r} ({header.model_digest.hex()[:12]}), and the model "
                f"at hand is {self.name!r} ({self.digest.hex()[:12]}): give those it was coded with (--model FILE)"
            )
        found: list[Points] = []
        for first in range(0, len(coded), self._together):
            found += self._decode(coded[first : first + self._together], first)
        return np.concatenate(found)

    @property
    def _together(self) -> int:
        """Blocks to a batch: those of other numbers of points go alone."""
        return _TOGETHER if self.model.exact else 1

    def _encode(self, parts: list[Points]) -> list[Coded]:
        blocks = [Block.of(part) for part in parts]
        given = [filled(block.points, self.block) if self.model.exact else block.points for block in blocks]
        with rans_by_default():
            packed = self.model.compress(torch.from_numpy(np.stack(given)).to(self._device))
        shape = packed["shape"]
        sizes = [shape[name] if isinstance(shape, dict) else shape for name in self.model.latents()]
        return [
            Coded(
                len(block.points),
                block.centre,
                block.scale,
                tuple(strings[item] for strings in packed["strings"]),
                tuple(int(size[0]) for size in sizes),
            )
            for item, block in enumerate(blocks)
        ]

    def _decode(self, coded: list[Coded], first: int) -> list[Points]:
        names, sizes = self.model.latents(), coded[0].sizes
        for number, one in enumerate(coded, first):
            # A latent has no more positions than there are points; what says otherwise would allocate without bound.
            if len(one.sizes) != len(names) or one.sizes != sizes or max(sizes) > self.block:
                raise CorruptFileError(f"block {number} has latents of {one.sizes} positions: not of this model")
            if one.points > self.block:
                raise CorruptFileError(f"block {number} has {one.points} points: this model has {self.block} at most")
        shape = {name: torch.Size([size]) for name, size in zip(names, sizes, strict=True)}
        try:
            with rans_by_default():
                x_hat = self.model.decompress(
                    [list(one) for one in zip(*(c.strings for c in coded), strict=True)], shape
                )
        except CorruptStreamError as error:
            last = first + len(coded) - 1
            raise CorruptStreamError(f"blocks {first} to {last} do not decode: {error}") from error
        except RuntimeError as error:  # latents of sizes that do not fit one another
            raise CorruptFileError(
                f"blocks {first} and following have latents of {sizes} positions, which do not fit"
            ) from error
        decoded = zip(coded, x_hat["x_hat"], strict=True)
        return [one.block.placed(self._as_many(points, one.points)) for one, points in decoded]

    def _as_many(self, points: Tensor, count: int) -> Points:
        """Of the points of a block no more than it had, far from one another."""
        if len(points) > count:
            points = points[farthest_point_sample(points[None], count)[0]]
        found: Points = points.cpu().numpy().astype(np.float32)
        return found
