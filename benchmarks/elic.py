"""ELIC as a spec, with declarations of the parts that the vocabulary has not: what elaboration is timed on.

He, Yang, Peng, Ma, Qin, Wang: ELIC: Efficient Learned Image Compression with Unevenly Grouped Space-Channel
Contextual Adaptive Coding. CVPR 2022. Declarations need no implementation to be elaborated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from tinify.plugin import Sig, Slot, component
from tinify.spec import Spec

Slots = Callable[..., Sig]
NOWHERE = "elic:declared_only"

SPEC = """\
tinify: 1
name: elic
summary: Uneven channel groups with checkerboard context
params:
  N: {type: int, default: 192, min: 32, multiple_of: 8}
  M: {type: int, default: 320, min: 192, multiple_of: 8}
define:
  res3: {do: {repeat: 3, do: elic/residual_bottleneck}}
model:
  type: autoencoder
  g_a:
    - {type: conv, out: N}
    - {use: res3}
    - {type: conv, out: N}
    - {use: res3}
    - elic/attention
    - {type: conv, out: N}
    - {use: res3}
    - {type: conv, out: M}
    - elic/attention
  g_s:
    - elic/attention
    - {type: deconv, out: N}
    - {use: res3}
    - {type: deconv, out: N}
    - elic/attention
    - {use: res3}
    - {type: deconv, out: N}
    - {use: res3}
    - {type: deconv, out: 3}
  latent_codec:
    type: hyperprior
    hyper:
      type: hyper
      h_a:
        - {type: conv, out: N, kernel: 3, stride: 1}
        - relu
        - {type: conv, out: N}
        - relu
        - {type: conv, out: N}
      h_s:
        - {type: deconv, out: N}
        - relu
        - {type: deconv, out: N*3 // 2}
        - relu
        - {type: conv, out: 2*N, kernel: 3, stride: 1}
    y:
      type: elic/channel_groups
      groups: [16, 16, 32, 64, M - 128]
      context:
        - {type: conv, out: 224, stride: 1}
        - relu
        - {type: conv, out: 128, stride: 1}
        - relu
        - {type: conv, out: 2*g, stride: 1}
      codec:
        type: elic/checkerboard
        context: {type: elic/masked_conv, out: 2*g}
        parameters:
          - {type: conv, out: "max(2*N, 2*g)", kernel: 1, stride: 1}
          - relu
          - {type: conv, out: N + g, kernel: 1, stride: 1}
          - relu
          - {type: conv, out: 2*g, kernel: 1, stride: 1}
        y: {type: gaussian_conditional, quantizer: ste}
"""


@component("layer", "elic/residual_bottleneck", target=NOWHERE)
class ResidualBottleneck:
    """Three convolutions beside an identity."""

    def shape(self, x: Sig) -> Sig:
        return x


@component("layer", "elic/attention", target=NOWHERE)
class Attention:
    """Residual blocks that weigh residual blocks."""

    def shape(self, x: Sig) -> Sig:
        return x


@component("layer", "elic/masked_conv", target=NOWHERE)
class MaskedConv:
    """A convolution that sees anchors only."""

    out: int
    mask: Literal["checkerboard"] = "checkerboard"

    def shape(self, x: Sig) -> Sig:
        return x.with_channels(self.out)


@component(
    "latent_codec",
    "elic/checkerboard",
    target=NOWHERE,
    slots={"context": Slot("transform"), "parameters": Slot("transform"), "y": Slot("latent_codec")},
)
class Checkerboard:
    """Anchors first, then what lies between them."""

    def shape(self, slots: Slots, y: Sig, side: Sig) -> Sig:
        context = slots("context", y)
        return slots("y", y, slots("parameters", y.with_channels(side.channels + context.channels)))


@component(
    "latent_codec",
    "elic/channel_groups",
    target=NOWHERE,
    slots={"context": Slot("transform", each="groups"), "codec": Slot("latent_codec", each="groups")},
)
class ChannelGroups:
    """Groups of channels, each under those before it."""

    groups: list[int]

    def shape(self, slots: Slots, y: Sig, side: Sig) -> Sig:
        done = 0
        for k, width in enumerate(self.groups):
            context = slots("context", y.with_channels(done), index=k).channels if k else 0
            slots("codec", y.with_channels(width), y.with_channels(side.channels + context), index=k)
            done += width
        return y.with_channels(done)


def declarations() -> list[type]:
    """What the spec needs beyond the vocabulary, for ``tinify.register``."""
    return [ResidualBottleneck, Attention, MaskedConv, Checkerboard, ChannelGroups]


def load_spec() -> Spec:
    """The spec, read anew."""
    return Spec.loads(SPEC, "elic.yaml")
