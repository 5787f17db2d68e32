"""From predicted scales to rows of a table."""

from __future__ import annotations

import torch
from torch import Tensor

from tinify.ops.operator import operator


@operator(
    "scale_indexes(Tensor scales, Tensor table) -> Tensor",
    fake=lambda scales, table: torch.empty_like(scales, dtype=torch.int32, memory_format=torch.contiguous_format),
)
def scale_indexes(scales: Tensor, table: Tensor) -> Tensor:
    """The row of a scale table for every scale: how many entries but the last lie strictly below it.

    ``table`` rises. Returns int32 of the shape of ``scales``.

    >>> scale_indexes(torch.tensor([0.5, 1.0, 1.5, 9.0]), torch.tensor([1.0, 2.0, 4.0])).tolist()
    [0, 0, 1, 2]
    """
    return torch.bucketize(scales.contiguous(), table[:-1], out_int32=True)
