"""Latent codecs whose gains are given with each call: the field's classes over the parts of the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tinify.entropy_models import EntropyBottleneck
from tinify.latent_codecs import HyperLatentCodec, HyperpriorLatentCodec
from tinify.latent_codecs.stream import Shape, Stream


class Given(nn.Module):
    """Multiplies by one of the gains that stand in the place of a quality."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: Tensor, quality: tuple[Tensor, Tensor]) -> Tensor:
        return x * quality[self.index]


class GainHyperLatentCodec(HyperLatentCodec):
    """A hyper-latent that is coded times ``gain``, and used times ``gain_inv``; both broadcast against z.

    ``forward(y, gain, gain_inv)`` and ``compress`` alike, ``decompress(strings, shape, gain_inv)``. A spec takes
    ``hyper`` with gain units instead. Cui et al.: Asymmetric Gained Deep Image Compression With Continuous Rate
    Adaptation, CVPR 2021.
    """

    def __init__(self, entropy_bottleneck: EntropyBottleneck, h_a: nn.Module, h_s: nn.Module, **options: Any) -> None:
        super().__init__(entropy_bottleneck, h_a, h_s, gain=Given(0), inverse=Given(1), **options)  # type: ignore[arg-type]

    def forward(self, y: Tensor, gain: Tensor, gain_inv: Tensor) -> dict[str, Any]:  # type: ignore[override]
        return super().forward(y, quality=(gain, gain_inv))

    def compress(self, y: Tensor, gain: Tensor, gain_inv: Tensor) -> dict[str, Any]:  # type: ignore[override]
        return super().compress(y, quality=(gain, gain_inv))

    def decompress(  # type: ignore[override]
        self, strings: Sequence[Sequence[bytes]], shape: Shape, gain_inv: Tensor
    ) -> dict[str, Any]:
        return super().decompress(strings, shape, quality=(None, gain_inv))


class GainHyperpriorLatentCodec(HyperpriorLatentCodec):
    """A hyperprior whose latent is coded times ``y_gain`` and returned times ``y_gain_inv``; ``hyper`` sees it without.

    ``GainHyperpriorLatentCodec(latent_codec={"y": ..., "hyper": GainHyperLatentCodec(...)})``;
    ``forward(y, y_gain, z_gain, y_gain_inv, z_gain_inv)`` and ``compress`` alike, ``decompress(strings, shape,
    y_gain_inv, z_gain_inv)``. A spec takes ``gain`` over a ``hyperprior`` instead. Cui et al., CVPR 2021.
    """

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        y_gain, z_gain, y_gain_inv, z_gain_inv = stream.quality  # type: ignore[misc]
        hyper = stream.at("z", last=True).asked((z_gain, z_gain_inv))
        side = self.hyper.code(y, side, hyper)
        coded = self.y.code(None if y is None else y * y_gain, side, stream.at("y").asked(None))
        y_hat: Tensor = coded * y_gain_inv
        return y_hat

    def forward(  # type: ignore[override]
        self, y: Tensor, y_gain: Tensor, z_gain: Tensor, y_gain_inv: Tensor, z_gain_inv: Tensor
    ) -> dict[str, Any]:
        return super().forward(y, quality=(y_gain, z_gain, y_gain_inv, z_gain_inv))

    def compress(  # type: ignore[override]
        self, y: Tensor, y_gain: Tensor, z_gain: Tensor, y_gain_inv: Tensor, z_gain_inv: Tensor
    ) -> dict[str, Any]:
        return super().compress(y, quality=(y_gain, z_gain, y_gain_inv, z_gain_inv))

    def decompress(  # type: ignore[override]
        self, strings: Sequence[Sequence[bytes]], shape: Shape, y_gain_inv: Tensor, z_gain_inv: Tensor
    ) -> dict[str, Any]:
        return super().decompress(strings, shape, quality=(None, None, y_gain_inv, z_gain_inv))
