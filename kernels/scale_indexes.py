"""Rows of a scale table on a CPU: every entry is compared with a register full of scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinify.coders.rans_kernels import array, kernel, types

_BLOCK = 1024
_SHORT = 256
"""Entries of a table that are compared one after another; in a longer one a search is quicker."""

_FLOATS = array(types.float32, readonly=True)


def scale_indexes(scales: Tensor, table: Tensor) -> Tensor:
    """How many entries of ``table`` but the last lie strictly below every scale; int32 of the shape of ``scales``."""
    if scales.dtype != torch.float32 or table.dtype != torch.float32 or len(table) > _SHORT:
        return torch.bucketize(scales.contiguous(), table[:-1], out_int32=True)
    indexes = torch.empty(scales.shape, dtype=torch.int32)
    _count(scales.detach().contiguous().numpy().reshape(-1), table.numpy(), indexes.numpy().reshape(-1))
    return indexes


@kernel(types.void(_FLOATS, _FLOATS, array(types.int32)))
def _count(scales: Any, table: Any, indexes: Any) -> None:
    one, none = np.int32(1), np.int32(0)
    for begin in range(0, len(scales), _BLOCK):
        block, counts = scales[begin : begin + _BLOCK], indexes[begin : begin + _BLOCK]
        for i in range(len(block)):
            counts[i] = none
        for j in range(len(table) - 1):
            entry = table[j]
            for i in range(len(block)):
                counts[i] += none if block[i] <= entry else one  # so that NaN counts as large
