"""What the models of point clouds share: a flow told once, and its three readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from tinify.errors import InputError
from tinify.latent_codecs import Decode, Encode, Estimate
from tinify.latent_codecs.stream import Shape, Stream
from tinify.models import CompressionModel
from tinify.models.domain import Domain

from .domain import CLOUDS

Given = Tensor | Mapping[str, Tensor]


class PointSetModel(CompressionModel):
    """Codes clouds, (batch, points, 3), or a mapping that has them as ``pos``, centred and about of radius 1.

    A subclass writes :meth:`code`, against a stream; ``forward``, ``compress`` and ``decompress`` are readings of it.
    ``exact`` says that clouds must have as many points as the architecture's stride, or a multiple of it.
    """

    domain: Domain = CLOUDS
    exact: ClassVar[bool] = True

    def code(self, x: Tensor | None, stream: Stream) -> dict[str, Any]:
        """``x_hat`` (batch, 3, points), and what a loss needs beside; ``x`` is (batch, 3, points), None in decoding."""
        raise NotImplementedError

    def latents(self) -> list[str]:
        """The names of what is coded, in the order of the strings."""
        raise NotImplementedError

    def forward(self, x: Given) -> dict[str, Any]:
        """Returns ``{"x_hat": (batch, points, 3), "likelihoods": {name: Tensor}}``, and what a loss needs beside."""
        stream = Estimate()
        out = self.code(self._points(x), stream)
        return {**out, "x_hat": out["x_hat"].transpose(1, 2), "likelihoods": stream.likelihoods}

    @torch.no_grad()
    def compress(self, x: Given) -> dict[str, Any]:
        """Returns ``{"strings": [[bytes, one for each cloud], ...], "shape": ...}``."""
        stream = Encode()
        self.code(self._points(x), stream)
        return {"strings": stream.strings, "shape": stream.shape}

    @torch.no_grad()
    def decompress(self, strings: Sequence[Sequence[bytes]], shape: Shape) -> dict[str, Any]:
        """Returns ``{"x_hat": Tensor}``."""
        stream = Decode(strings, shape)
        out = self.code(None, stream)
        stream.finish()
        return {"x_hat": out["x_hat"].transpose(1, 2)}

    def _points(self, given: Given) -> Tensor:
        """(batch, 3, points). Raises :class:`~tinify.errors.InputError` for what is no cloud."""
        x = given.get("pos") if isinstance(given, Mapping) else given
        if not isinstance(x, Tensor) or x.ndim != 3 or x.shape[2] != 3 or not x.is_floating_point() or not x.numel():
            got = f"{x.dtype} of size {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f'a cloud is {got}: expected floats of (batch, points, 3), or {{"pos": these}}')
        if not x.is_meta and not torch.isfinite(x).all():
            raise InputError("a cloud has NaN or infinite coordinates: leave these points out")
        stride = self.architecture.stride if self.architecture else 1
        if self.exact and x.shape[1] % stride:
            raise InputError(
                f"a cloud has {x.shape[1]} points: this model takes {stride}; draw as many, or use `tinify points`, "
                "which takes any number"
            )
        return x.transpose(1, 2)
