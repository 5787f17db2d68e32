"""What the operators multiply, for torch's counter of floating-point operations, which sees torch's own alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

import tinify.ops.gdn
import tinify.ops.masked  # noqa: F401 - they define what is named below

Shape = tuple[int, ...]


def _gdn(x: Shape, *rest: Any, **options: Any) -> int:
    return 2 * x[1] * math.prod(x)


def _masked(x: Shape, weight: Shape, *rest: Any, out_shape: Shape, **options: Any) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


FLOPS: dict[Any, Callable[..., int]] = {torch.ops.tinify.gdn: _gdn, torch.ops.tinify.masked_conv2d: _masked}
"""Formulas for ``torch.utils.flop_counter.FlopCounterMode(custom_mapping=FLOPS)``, by operator.

A masked convolution counts as a dense one, as the field has it. Densities count too, with their matrices.
"""
