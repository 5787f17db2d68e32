"""A chain of layers whose channels go evenly from one number to another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from torch import nn

from tinify.errors import InputError

Make = Callable[..., nn.Module]


def ramp_widths(in_ch: int, out_ch: int, min_ch: int, num_layers: int) -> list[int]:
    """The channels before, between and behind ``num_layers`` layers; those between are at least ``min_ch``.

    >>> ramp_widths(640, 128, 384, 3)
    [640, 469, 384, 128]
    """
    inner = ((in_ch * (num_layers - k) + out_ch * k) // num_layers for k in range(1, num_layers))
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
    CVPR 2022, as the field parametrises its networks of entropy parameters.

    >>> [layer.out_channels for layer in sequential_channel_ramp(8, 2, kernel_size=1)[::2]]
    [6, 4, 2]
    """
    if interp != "linear":
        raise InputError(f"unknown interp {interp!r}: expected 'linear'")
    widths = ramp_widths(in_ch, out_ch, min_ch, num_layers)
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
