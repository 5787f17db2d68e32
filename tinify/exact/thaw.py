"""From exact layers back to float ones, near enough to train them further."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from tinify.exact.gain import LOG_BITS, ExactGain
from tinify.exact.layers import ExactLayer, Layer, weights_of
from tinify.layers.gain import GainUnit


def float_state(module: nn.Module, exact: nn.Module) -> dict[str, Tensor]:
    """The parameters of a float module that its exact form stands for; none of one that has none.

    >>> from tinify.exact.layers import shell_of
    >>> layer = nn.Linear(2, 1)
    >>> float_state(layer, shell_of(layer))["weight"].tolist()
    [[0.0, 0.0]]
    """
    if isinstance(module, GainUnit) and isinstance(exact, ExactGain):
        return {"log_gain": (exact.logarithm.double() * (math.log(2) / 2**LOG_BITS)).float()}
    if not isinstance(exact, ExactLayer):
        return {}
    layer: Any = module
    return _layer_state(layer, exact)


def _layer_state(layer: Layer, exact: ExactLayer) -> dict[str, Tensor]:
    geometry, taps = exact.geometry, len(exact.geometry.taps)
    scale = torch.exp2(-exact.shift.double())
    step = torch.exp2(exact.entry.exponent.double())
    inputs = step[None, None, :] if geometry.each else step[None, :, None]
    weight = exact.weight.double().reshape(taps, -1, len(scale)) * inputs * scale
    # Where each weight has gone to is seen by sending their numbers the same way.
    numbered = copy.deepcopy(layer).double()
    numbered.weight.data = torch.arange(1, layer.weight.numel() + 1).reshape(layer.weight.shape).double()
    numbers = weights_of(numbered, geometry)[0]
    flat = layer.weight.detach().new_zeros(layer.weight.numel())
    flat[numbers[numbers > 0].long() - 1] = weight[numbers > 0].to(flat)
    state = {"weight": flat.reshape(layer.weight.shape)}
    if layer.bias is not None:
        state["bias"] = (exact.bias * scale)[:: geometry.shuffle**2].to(layer.bias)
    return state
