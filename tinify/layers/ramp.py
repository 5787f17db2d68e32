"""A chain of layers whose channels go evenly from one number to another."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tinify.errors import InputError

Make = Callable[..., nn.Module]


def ramp(a: float, b: float, steps: int, method: str = "linear", **kwargs: Any) -> Tensor:
    """``steps`` numbers from ``a`` to ``b`` by equal differences, or by equal ratios with the method ``"log"``.

    Further arguments go to :func:`torch.linspace`. Raises :class:`~tinify.errors.InputError` for another method.

    >>> ramp(2, 32, 4).tolist()
    [2.0, 12.0, 22.0, 32.0]
    """
    if method == "linear":
        return torch.linspace(a, b, steps, **kwargs)
    if method == "log" and min(a, b) > 0:
        return torch.logspace(math.log10(a), math.log10(b), steps, **kwargs)
    raise InputError(f"unknown ramp {method!r}: expected 'linear', or 'log' of positive numbers")


def ramp_widths(in_ch: int, out_ch: int, min_ch: int, num_layers: int, interp: str = "linear") -> list[int]:
    """The channels before, between and behind ``num_layers`` layers; those between are at least ``min_ch``.

    >>> ramp_widths(640, 128, 384, 3)
    [640, 469, 384, 128]
    """
    if interp == "linear":  # in whole numbers, like the declaration
        inner = [(in_ch * (num_layers - k) + out_ch * k) // num_layers for k in range(1, num_layers)]
    else:
        inner = ramp(in_ch, out_ch, num_layers + 1, interp)[1:-1].int().tolist()
    return [in_ch, *(max(width, min_ch) for width in inner), out_ch]


def sequential_channel_ramp(
    in_ch: int,
    out_ch: int,
    *,
    min_ch: int = 0,
    num_layers: int = 3,
    interp: str = "linear",
    make_layer: Make | None = None,
    make_act: Make | None = None,
    skip_last_act: bool = True,
    **layer_kwargs: Any,
) -> nn.Sequential:
    """``num_layers`` layers with activations between them, and behind the last unless ``skip_last_act``.

    ``make_layer(in, out, **layer_kwargs)`` is ``nn.Conv2d`` by default, ``make_act()`` is ``nn.ReLU``. He et al., ELIC,
    CVPR 2022, as the field parametrises its networks of entropy parameters. Raises
    :class:`~tinify.errors.InputError` for fewer layers than one, and for another ``interp`` than that of :func:`ramp`.

    >>> [layer.out_channels for layer in sequential_channel_ramp(8, 2, kernel_size=1)[::2]]
    [6, 4, 2]
    """
    if num_layers < 1:
        raise InputError(f"num_layers={num_layers}: expected at least 1")
    widths = ramp_widths(in_ch, out_ch, min_ch, num_layers, interp)
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        layers += [(make_layer or nn.Conv2d)(narrow, wide, **layer_kwargs), (make_act or nn.ReLU)()]
    return nn.Sequential(*layers[:-1] if skip_last_act else layers)


_ACTIVATIONS: dict[str, Make] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}


def channel_ramp(
    in_channels: int, out: int, min: int = 0, layers: int = 3, kernel: int = 1, activation: str = "relu"
) -> nn.Sequential:
    """A ramp of convolutions that keep height and width, with activations between them."""
    return sequential_channel_ramp(
        in_channels,
        out,
        min_ch=min,
        num_layers=layers,
        make_act=_ACTIVATIONS[activation],
        kernel_size=kernel,
        padding=kernel // 2,
    )
