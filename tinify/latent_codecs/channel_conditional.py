"""Channel-conditional coding: groups of channels in turn, each under what was decoded before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.gaussian import GaussianConditionalLatentCodec
from tinify.latent_codecs.stream import Stream


class ChannelConditionalLatentCodec(LatentCodec):
    """Codes ``y`` in equal groups of channels; each group's Gaussians are refined by the groups already decoded.

    ``side`` holds scales and means for all of ``y``, (batch, 2 * channels, height, width). What a small network of side
    information and decoded groups adds to them starts at zero, so that an untrained context changes nothing. Only the
    channel axis is serial: every group is coded for all positions at once.
    Minnen, Singh: Channel-wise Autoregressive Entropy Models for Learned Image Compression, ICIP 2020.
    """

    decides = ("context",)

    def __init__(self, y: GaussianConditionalLatentCodec, channels: int, groups: int = 4, hidden: int = 128) -> None:
        super().__init__()
        if channels % groups or y.chunks != ("scales", "means"):
            raise InputError(
                f"{channels} channels do not make {groups} equal groups of Gaussians with scales and means"
            )
        self.y = y
        self.groups = groups
        width = channels // groups
        self.context = nn.ModuleDict(
            {
                f"y{group}": nn.Sequential(
                    nn.Conv2d(2 * channels + group * width, hidden, 3, padding=1),
                    nn.LeakyReLU(inplace=True),
                    nn.Conv2d(hidden, 2 * width, 1),
                )
                for group in range(1, groups)
            }
        )
        for name, parameter in self.context.named_parameters():
            if ".2." in name:
                nn.init.zeros_(parameter)

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        if side is None:
            raise InputError("a conditional latent codec needs the side information that predicts its Gaussians")
        scales, means = (part.chunk(self.groups, 1) for part in side.chunk(2, 1))
        given = [None] * self.groups if y is None else y.chunk(self.groups, 1)
        decoded: list[Tensor] = []
        for group, part in enumerate(given):
            params = torch.cat([scales[group], means[group]], 1)
            if group:
                params = params + self.context[f"y{group}"](torch.cat([side, *decoded], 1))
            decoded.append(self.y.code(part, params, stream.group(group)))
        return torch.cat(decoded, 1)
