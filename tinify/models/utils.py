"""Small helpers that models of the field are written with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.models.state_dict import present_key

_POLICIES = ("resize_if_empty", "resize", "register")


def conv(in_channels: int, out_channels: int, kernel_size: int = 5, stride: int = 2) -> nn.Conv2d:
    """A convolution that divides height and width by ``stride``.

    >>> conv(3, 8)(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 8, 8, 8])
    """
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)


def deconv(in_channels: int, out_channels: int, kernel_size: int = 5, stride: int = 2) -> nn.ConvTranspose2d:
    """A transposed convolution that multiplies height and width by ``stride``.

    >>> deconv(8, 3)(torch.zeros(1, 8, 8, 8)).shape
    torch.Size([1, 3, 16, 16])
    """
    padding = kernel_size // 2
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size, stride, padding, output_padding=stride - 1)


def find_named_module(module: nn.Module, query: str) -> nn.Module | None:
    """The part of that path, or None."""
    return dict(module.named_modules()).get(query)


def find_named_buffer(module: nn.Module, query: str) -> Tensor | None:
    """The buffer of that path, or None."""
    return dict(module.named_buffers()).get(query)


def update_registered_buffers(
    module: nn.Module,
    module_name: str,
    buffer_names: Sequence[str],
    state_dict: Mapping[str, Tensor],
    policy: str = "resize_if_empty",
    dtype: torch.dtype = torch.int,
) -> None:
    """Gives the buffers of ``module``, ``module_name`` in ``state_dict``, the sizes that they are saved with.

    ``policy`` resizes those that are empty (``"resize_if_empty"``), all of them (``"resize"``), or makes new ones
    (``"register"``). tinify's own models need no such call: they load tables of any size.
    """
    if policy not in _POLICIES:
        raise InputError(f"policy {policy!r}: expected one of {', '.join(_POLICIES)}")
    for name in buffer_names:
        key, own = f"{module_name}.{name}", module._buffers.get(name)
        if key not in state_dict:
            raise InputError(f"the state dict has no {key!r}: were these weights saved by the same architecture?")
        if (own is None) != (policy == "register"):
            there = "no buffer" if own is None else "a buffer"
            raise InputError(f"{type(module).__name__} has {there} {name!r}, which does not go with policy {policy!r}")
        if own is None:
            module.register_buffer(name, torch.zeros(state_dict[key].shape, dtype=dtype))
        elif policy == "resize" or not own.numel():
            own.resize_(state_dict[key].shape)


def remap_old_keys(module_name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with the older spellings of one factorized prior's keys replaced by the present one.

    >>> list(remap_old_keys("eb", {"eb._bias3": torch.zeros(1), "h_a._bias3": torch.zeros(1)}))
    ['eb.biases.3', 'h_a._bias3']
    """
    own = f"{module_name}."
    return {present_key(key) if key.startswith(own) else key: tensor for key, tensor in state_dict.items()}
