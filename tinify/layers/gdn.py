"""Generalised divisive normalisation, the activation of the first learned image codecs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinify import ops


class GDN(nn.Module):
    """Divides each channel by the root of a learned sum of squares over channels; ``inverse=True`` multiplies (IGDN).

    Input and output are (batch, in_channels, height, width). ``beta`` and ``gamma`` are stored in the field's
    reparametrised form.
    Ballé et al., Density Modeling of Images using a Generalized Normalization Transformation, ICLR 2016.

    >>> GDN(4)(torch.zeros(1, 4, 2, 2)).shape
    torch.Size([1, 4, 2, 2])
    """

    def __init__(
        self, in_channels: int, inverse: bool = False, beta_min: float = 1e-6, gamma_init: float = 0.1
    ) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta_reparam = ops.NonNegativeParametrizer(minimum=beta_min)
        self.beta = nn.Parameter(self.beta_reparam.init(torch.ones(in_channels)))
        self.gamma_reparam = ops.NonNegativeParametrizer()
        self.gamma = nn.Parameter(self.gamma_reparam.init(gamma_init * torch.eye(in_channels)))

    def forward(self, x: Tensor) -> Tensor:
        return ops.gdn(x, self.beta_reparam(self.beta), self.gamma_reparam(self.gamma), inverse=self.inverse)


class GDN1(GDN):
    """A GDN without squares and roots: ``x / (beta + gamma @ |x|)`` over channels; the inverse multiplies.

    Johnston, Eban, Gordon, Ballé: Computationally Efficient Neural Image Compression, 2019, arXiv:1912.08771.

    >>> GDN1(4)(torch.zeros(1, 4, 2, 2)).shape
    torch.Size([1, 4, 2, 2])
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.gdn1(x, self.beta_reparam(self.beta), self.gamma_reparam(self.gamma), inverse=self.inverse)
