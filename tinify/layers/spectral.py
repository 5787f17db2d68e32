"""Convolutions whose weights are trained as their Fourier transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


class _Spectral(nn.modules.conv._ConvNd):
    """Keeps ``weight_transformed``, the orthonormal real Fourier transform of the kernel, instead of ``weight``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        weight = self._parameters.pop("weight")
        assert weight is not None
        self.weight_transformed = nn.Parameter(torch.fft.rfft2(weight.detach(), norm="ortho"))

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The kernel, real."""
        weight: Tensor = torch.fft.irfft2(self.weight_transformed, s=list(self.kernel_size), norm="ortho")
        return weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # A complex tensor that is cast to a real type, as by ``module.to(torch.float64)``, loses its imaginary part.
        super()._apply(  # type: ignore[no-untyped-call]
            lambda t: torch.complex(fn(t.real), fn(t.imag)) if t.is_complex() else fn(t), recurse
        )
        return self


class SpectralConv2d(_Spectral, nn.Conv2d):
    """A convolution like ``nn.Conv2d``, whose optimiser sees frequencies.

    It makes Adam's steps independent of how the kernel's taps go together, which trains small transforms faster.
    Ballé: Efficient Nonlinear Transforms for Lossy Image Compression, Picture Coding Symposium 2018.

    >>> SpectralConv2d(1, 2, 3).weight_transformed.shape
    torch.Size([2, 1, 3, 2])
    """


class SpectralConvTranspose2d(_Spectral, nn.ConvTranspose2d):
    """A transposed convolution like ``nn.ConvTranspose2d``, whose optimiser sees frequencies."""
