"""Published state dicts, under the keys of today."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tinify.models.state_dict import present_key, respelt


def load_pretrained(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with the spellings of earlier years replaced; a model's own ``load_state_dict`` does it as well.

    >>> import torch
    >>> list(load_pretrained({"module.g_a.0.downsample.weight": torch.zeros(1)}))
    ['g_a.0.skip.weight']
    """
    return respelt(state_dict, present_key)


load_state_dict = load_pretrained
