"""Channel groups: uneven groups of channels in turn, each given those that were decoded before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.stream import Stream

_SEEN = ("all", "first_and_last")


class ChannelGroupsLatentCodec(LatentCodec):
    """Codes groups of ``groups[k]`` channels by the latent codecs ``"y0"``, ``"y1"``, ..., one after another.

    The side information of group k is ``cat(channel_context["yk"](decoded groups), side)``; that of the first is
    ``side``. ``seen`` says which groups a channel context is given: ``"all"`` before it, or ``"first_and_last"``, the
    first and the one just before it.
    He, Yang, Peng, Ma, Qin, Wang: ELIC: Efficient Learned Image Compression with Unevenly Grouped Space-Channel
    Contextual Adaptive Coding, CVPR 2022.
    """

    decides = ("channel_context",)

    def __init__(
        self,
        latent_codec: Mapping[str, LatentCodec],
        channel_context: Mapping[str, nn.Module],
        *,
        groups: Sequence[int],
        seen: str = "all",
    ) -> None:
        super().__init__()
        names = [f"y{k}" for k in range(len(groups))]
        if not names or min(groups) < 1 or set(latent_codec) != set(names) or set(channel_context) != set(names[1:]):
            raise InputError(
                f"groups of {list(groups)} channels need a latent codec each, 'y0', 'y1' and so on, and a channel "
                f"context for all but 'y0'; got {sorted(latent_codec)} and {sorted(channel_context)}"
            )
        if seen not in _SEEN:
            raise InputError(f"seen {seen!r}: expected one of {', '.join(_SEEN)}")
        self.groups = list(groups)
        self.seen = seen
        self.latent_codec = nn.ModuleDict({name: latent_codec[name] for name in names})
        self.channel_context = nn.ModuleDict({name: channel_context[name] for name in names[1:]})

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        if y is not None and y.shape[1] != sum(self.groups):
            raise InputError(f"y has {y.shape[1]} channels: the groups {list(self.groups)} have {sum(self.groups)}")
        parts = [None] * len(self.groups) if y is None else torch.split(y, self.groups, 1)
        decoded: list[Tensor] = []
        for k, (part, codec) in enumerate(zip(parts, self.latent_codec.values(), strict=True)):
            context = [self.channel_context[f"y{k}"](torch.cat(self._given(decoded), 1))] if decoded else []
            params = [*context, *([] if side is None else [side])]
            decoded.append(codec.code(part, torch.cat(params, 1) if params else None, stream.group(k)))  # type: ignore[operator]
        return torch.cat(decoded, 1)

    def _given(self, decoded: list[Tensor]) -> list[Tensor]:
        return decoded if self.seen == "all" or len(decoded) < 3 else [decoded[0], decoded[-1]]


def channel_groups(
    groups: Sequence[int],
    latent_codec: Sequence[LatentCodec],
    channel_context: Sequence[nn.Module | None],
    seen: str = "all",
) -> ChannelGroupsLatentCodec:
    """The codec of a spec, where codecs and contexts come as lists; the first group has no context."""
    codecs = {f"y{k}": codec for k, codec in enumerate(latent_codec)}
    contexts = {f"y{k}": context for k, context in enumerate(channel_context) if context is not None}
    return ChannelGroupsLatentCodec(codecs, contexts, groups=groups, seen=seen)
