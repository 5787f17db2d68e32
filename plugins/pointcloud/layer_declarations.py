"""Declarations of the layers of point sets."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Annotated

from tinify.plugin import Cost, Range, ShapeError, Sig, component

Channels = Annotated[int, Range(1, 16384)]
Points = Annotated[int, Range(1, 4096)]


class Pointwise:
    """A layer that keeps the shape."""

    def shape(self, x: Sig) -> Sig:
        return _set(x)


@component("layer", "pointcloud/conv", target="tinify_plugins.pointcloud.layers:conv")
class PointConv:
    """The same dense layer for every point of a set, of each group of channels by itself."""

    out: Channels
    groups: Annotated[int, Range(1, 256)] = 1

    def shape(self, x: Sig) -> Sig:
        if x.channels % self.groups or self.out % self.groups:
            raise ShapeError(f"{x.channels} to {self.out} channels do not part into {self.groups} groups")
        return _set(x).with_channels(self.out)

    def cost(self, x: Sig) -> Cost:
        weights = x.channels * self.out // self.groups
        return Cost(weights + self.out, Fraction(weights) / x.stride)


@component("layer", "pointcloud/batch_norm", target="tinify_plugins.pointcloud.layers:batch_norm")
class PointBatchNorm(Pointwise):
    """Batch normalisation of the channels of a set."""

    def cost(self, x: Sig) -> Cost:
        return Cost(2 * x.channels)


@component("layer", "pointcloud/group_norm", target="tinify_plugins.pointcloud.layers:group_norm")
class PointGroupNorm(Pointwise):
    """Normalisation of groups of channels over all points of a set."""

    groups: Annotated[int, Range(1, 256)] = 1

    def cost(self, x: Sig) -> Cost:
        return Cost(2 * x.channels)


@component("layer", "pointcloud/gain", target="tinify_plugins.pointcloud.layers:gain")
class PointGain(Pointwise):
    """A constant times a learned gain of each channel."""

    factor: float = 1.0

    def cost(self, x: Sig) -> Cost:
        return Cost(x.channels)


@component("layer", "pointcloud/max_pool", target="tinify_plugins.pointcloud.layers:MaxPool")
class PointMaxPool:
    """The largest of each channel over every run of so many points."""

    points: Points

    def shape(self, x: Sig) -> Sig:
        return _set(x).strided(self.points)

    def cost(self, x: Sig) -> Cost:
        return Cost()


@component("layer", "pointcloud/unfold", target="tinify_plugins.pointcloud.layers:Unfold")
class PointUnfold:
    """Every point becomes several, which share its channels out."""

    points: Points
    interleaved: Annotated[bool, "the channels of one new point stand together"] = False

    def shape(self, x: Sig) -> Sig:
        if x.channels % self.points:
            raise ShapeError(f"{x.channels} channels are not shared out evenly to {self.points} points")
        return Sig(x.channels // self.points, _set(x).stride / self.points, 1)

    def cost(self, x: Sig) -> Cost:
        return Cost()


@component("layer", "pointcloud/set_abstraction", target="tinify_plugins.pointcloud.set_abstraction:SetAbstraction")
class PointSetAbstraction:
    """Fewer points, each with features of what lies around it; positions first (PointNet++, Qi et al. 2017)."""

    out: list[Channels]
    ratio: Annotated[int, Range(1, 4096), "points to one that stays"]
    radius: Annotated[float, Range(1e-6)]
    neighbours: Annotated[int, Range(1, 1024), "of a point at most"]

    def shape(self, x: Sig) -> Sig:
        return _set(x, 3).strided(self.ratio).with_channels(3 + self.out[-1])

    def cost(self, x: Sig) -> Cost:
        return _shared(x.channels, self.out, Fraction(self.neighbours) / (x.stride * self.ratio))


@component("layer", "pointcloud/set_pool", target="tinify_plugins.pointcloud.set_abstraction:SetPool")
class PointSetPool:
    """Features of every run of so many points, whose positions go in with theirs (PointNet++, Qi et al. 2017)."""

    out: list[Channels]
    points: Points

    def shape(self, x: Sig) -> Sig:
        return _set(x, 3).strided(self.points).with_channels(self.out[-1])

    def cost(self, x: Sig) -> Cost:
        return _shared(x.channels, self.out, 1 / x.stride)


@component("layer", "pointcloud/density_down", target="tinify_plugins.pointcloud.density:DensityDown")
class PointDensityDown:
    """Fewer points that know how many they stand for, and where these lie; positions first (He et al. 2022)."""

    ratio: Annotated[int, Range(1, 64), "points to one that stays"] = 3
    hidden: Channels = 64
    neighbours: Annotated[int, Range(1, 1024), "of a point at most"] = 16

    def shape(self, x: Sig) -> Sig:
        return _set(x, 4).strided(self.ratio)

    def cost(self, x: Sig) -> Cost:
        f, h = x.channels - 3, self.hidden
        points = f * f + 2 * f * h
        kept = f * h + h * f + h + h * f + 3 * f * f
        around = 3 * h + 3 * h * h + 4 * h + h * f + f * h + h * f
        biases = f + 3 * h + 2 * h + 2 * h + f + 2 * (h + f) + h + f + f
        norms = 2 * h * 5
        macs = Fraction(points) + Fraction(kept + around * self.neighbours, self.ratio)
        return Cost(points + kept + around + biases + norms, macs / x.stride)


def _set(x: Sig, channels: int = 1) -> Sig:
    """A set of points with so many channels at least."""
    if x.axes != 1:
        raise ShapeError(f"this layer takes sets of points, which have one axis; this is {x}")
    if x.channels < channels:
        raise ShapeError(f"this layer takes positions, three channels, first{', and features' * (channels > 3)}; {x}")
    return x


def _shared(channels: int, out: list[int], at: Fraction) -> Cost:
    """Dense layers with batch normalisation, for so many neighbours to a point of the cloud."""
    weights = sum(a * b for a, b in pairwise([channels, *out]))
    return Cost(weights + 3 * sum(out), weights * at)


LAYERS = (
    PointConv,
    PointBatchNorm,
    PointGroupNorm,
    PointGain,
    PointMaxPool,
    PointUnfold,
    PointSetAbstraction,
    PointSetPool,
    PointDensityDown,
)
