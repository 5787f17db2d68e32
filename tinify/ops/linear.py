"""Products of matrices whose sums have one order, so that a decoder can repeat an encoder's arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor

from tinify.ops.operator import operator


@operator(
    "ordered_linear(Tensor x, Tensor weight, Tensor start, float slope) -> Tensor",
    fake=lambda x, weight, start, slope: x.new_empty((x.shape[0], weight.shape[1])),
)
def ordered_linear(x: Tensor, weight: Tensor, start: Tensor, slope: float) -> Tensor:
    """``start + x @ weight``, what is negative of it times ``slope``; float32.

    ``x`` is (rows, inputs), ``weight`` (inputs, outputs), ``start`` (outputs,) or (rows, outputs). A kernel adds the
    products up in the order of the inputs, from ``start`` on, each by one fused multiply-add: its results hang neither
    on the number of rows nor on the device, and are those of :class:`~tinify.latent_codecs.context_net.ContextNet`.
    This definition leaves the order to torch.

    >>> ordered_linear(torch.ones(1, 2), torch.ones(2, 3), torch.tensor([-9.0, 0.0, 1.0]), 0.5).tolist()
    [[-3.5, 2.0, 3.0]]
    """
    out = start + x @ weight
    return out if slope == 1 else torch.where(out < 0, out * slope, out)
