"""Checkerboard and channel-group contexts, by the names that the field knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from typing import Any, ClassVar

from torch import Tensor

from tinify.errors import InputError
from tinify.models.faces import Face
from tinify.models.state_dict import size_of

_FIRST_GROUPS = (16, 16, 32, 64)


class Cheng2020AnchorCheckerboard(Face):
    """The transforms of ``cheng2020-anchor`` around a checkerboard context.

    He, Zheng, Sun, Wang, Qin: Checkerboard Context Model for Efficient Learned Image Compression, CVPR 2021.

    >>> type(Cheng2020AnchorCheckerboard(8)["hyper"]).__name__
    'HyperLatentCodec'
    """

    SPEC = "cheng2020-anchor-checkerboard"
    SIZES: ClassVar = {"N": ("g_a.0.conv1.weight", 0)}

    N: int

    def __init__(self, N: int = 192, **kwargs: Any) -> None:
        super().__init__(N=N, **kwargs)


class Elic2022Official(Face):
    """Uneven groups of channels, each given those before it and a checkerboard of its own.

    ``groups`` are the channels of each group, ``M`` in all; [16, 16, 32, 64, M - 128] by default.
    He, Yang, Peng, Ma, Qin, Wang: ELIC: Efficient Learned Image Compression with Unevenly Grouped Space-Channel
    Contextual Adaptive Coding, CVPR 2022.

    >>> Elic2022Official(8, 12, groups=[4, 8]).groups
    [4, 8]
    """

    SPEC = "elic2022-official"
    SIZES: ClassVar = {"N": ("g_a.0.weight", 0), "M": ("latent_codec.hyper.h_a.0.weight", 1)}

    N: int
    M: int
    groups: list[int]

    def __init__(self, N: int = 192, M: int = 320, groups: Sequence[int] | None = None, **kwargs: Any) -> None:
        groups = [*_FIRST_GROUPS, M - sum(_FIRST_GROUPS)] if groups is None else list(groups)
        if min(groups, default=0) < 1 or sum(groups) != M:
            raise InputError(f"groups {groups} of M={M} channels: expected counts from 1 that add up to M; give groups")
        super().__init__(N=N, M=M, groups=groups, **kwargs)

    @classmethod
    def parameters_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        keys = (f"latent_codec.y.latent_codec.y{k}.context_prediction.weight" for k in count())
        groups = [size_of(state_dict, key, 1) for key in takewhile(lambda key: key in state_dict, keys)]
        return {**super().parameters_of(state_dict), "groups": groups}


class Elic2022Chandelier(Elic2022Official):
    """ELIC with smaller context networks, given only the first and the last of the groups before."""

    SPEC = "elic2022-chandelier"
