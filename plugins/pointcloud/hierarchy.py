"""PointNet++: a cloud as sets of fewer and fewer points, some of them coded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tinify.coders import Coder
from tinify.latent_codecs import LatentCodec
from tinify.latent_codecs.stream import Stream

from .flow import PointSetModel

Children = Sequence[nn.Module | None]


class PointHierarchy(PointSetModel):
    """Each set is made of the one before by ``down``; from the last to the first, each is coded where it has a
    ``latent_codec``, between ``h_a`` and ``h_s``, and ``up`` makes of it and of what came up to it the set before.

    Sets are (batch, channels, points), and level 1 is the first below the cloud. ``g_s`` ends at the points.
    Ulhaq, Bajić: Scalable Human-Machine Point Cloud Compression, PCS 2024.
    """

    def __init__(
        self,
        down: Children,
        h_a: Children,
        latent_codec: Sequence[LatentCodec | None],
        h_s: Children,
        up: Children,
        g_s: nn.Module,
        levels: Sequence[bool] = (False, True, True),
        coder: Coder | None = None,
    ) -> None:
        super().__init__()
        self.down, self.h_a, self.latent_codec, self.h_s, self.up = map(_named, (down, h_a, latent_codec, h_s, up))
        self.g_s = g_s
        self.use_coder(coder)
        self._coded = [level for level, coded in enumerate(levels, 1) if coded]

    def code(self, x: Tensor | None, stream: Stream) -> dict[str, Any]:
        sets = [x]
        for down in self.down.values():
            sets.append(None if sets[-1] is None else down(sets[-1]))
        y_hats: dict[str, Tensor] = {}
        raised: Tensor | None = None
        for level in range(len(self.down), 0, -1):
            key = _key(level)
            parts = [] if raised is None else [raised]
            if level in self._coded:
                here = sets[level]
                y = None if here is None else self.h_a[key](here)
                y_hats[f"y{key}"] = self._codec(key).code(y, None, stream.at(f"y{key}"))
                parts.append(self.h_s[key](y_hats[f"y{key}"]))
            raised = self.up[key](torch.cat(parts, 1))
        return {"x_hat": self.g_s(raised), "y_hat": y_hats}

    def latents(self) -> list[str]:
        return [f"y{_key(level)}" for level in reversed(self._coded)]

    def _codec(self, key: str) -> LatentCodec:
        codec: LatentCodec = self.latent_codec[key]  # type: ignore[assignment]
        return codec


def _key(level: int) -> str:
    return f"_{level}"


def _named(children: Children) -> nn.ModuleDict:
    return nn.ModuleDict({_key(level): child for level, child in enumerate(children, 1) if child is not None})
