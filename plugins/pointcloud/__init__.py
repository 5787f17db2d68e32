"""Point clouds: PointNet, PointNet++ and density-preserving compression, files of compressed clouds, their measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from tinify.plugin import Command, Cost, Name, Range, ShapeError, Sig, Slot, component, hookimpl

from .layer_declarations import LAYERS

Slots = Callable[..., Sig]
DIRECTIONS = 43

_CODER = Slot("coder", optional=True)


@component(
    "model",
    "pointcloud/autoencoder",
    target="tinify_plugins.pointcloud.autoencoder:PointAutoencoder",
    slots={"g_a": Slot("transform"), "latent_codec": Slot("latent_codec"), "g_s": Slot("transform"), "coder": _CODER},
)
class PointAutoencoder:
    """Transform coding of a set of points: y = g_a(x), coded by a latent codec, x_hat = g_s(y_hat)."""

    def shape(self, slots: Slots, x: Sig) -> Sig:
        x = replace(x, axes=1)
        y_hat = slots("latent_codec", slots("g_a", x))
        return _same(slots("g_s", y_hat), x, "g_s")

    def cost(self, x: Sig) -> Cost:
        return Cost()


@component(
    "model",
    "pointcloud/hierarchy",
    target="tinify_plugins.pointcloud.hierarchy:PointHierarchy",
    slots={
        "down": Slot("transform", each="levels"),
        "h_a": Slot("transform", each="levels", optional=True),
        "latent_codec": Slot("latent_codec", each="levels", optional=True),
        "h_s": Slot("transform", each="levels", optional=True),
        "up": Slot("transform", each="levels"),
        "g_s": Slot("transform"),
        "coder": _CODER,
    },
)
class PointHierarchy:
    """Sets of fewer and fewer points, those that `levels` says coded, from the last to the first (Ulhaq 2024)."""

    levels: Annotated[list[bool], "which of the sets below the cloud are coded"] = [False, True, True]  # noqa: RUF012

    def shape(self, slots: Slots, x: Sig) -> Sig:
        x = replace(x, axes=1)
        sets = [x]
        for k in range(len(self.levels)):
            sets.append(slots("down", sets[-1], index=k))
        if not self.levels or not self.levels[-1]:
            raise ShapeError(f"the last set is coded, for nothing else comes up to it: levels are {self.levels}")
        raised: Sig | None = None
        for k in range(len(self.levels) - 1, -1, -1):
            here = sets[k + 1]
            parts = [] if raised is None else [raised]
            if self.levels[k]:
                parts.append(slots("h_s", slots("latent_codec", slots("h_a", here, index=k), index=k), index=k))
            for part in parts:
                if part.stride != here.stride:
                    raise ShapeError(f"what comes to level {k + 1} has the points of its set, {here}; this is {part}")
            raised = slots("up", here.with_channels(sum(part.channels for part in parts)), index=k)
        assert raised is not None
        return _same(slots("g_s", raised), x, "g_s")

    def cost(self, x: Sig) -> Cost:
        return Cost()


_EACH = ("down", "weights", "scale", "features", "number", "refine_weights", "refine_scale", "refine_features")


@component(
    "model",
    "pointcloud/density_preserving",
    target="tinify_plugins.pointcloud.density_preserving:DensityPreserving",
    slots={
        "embed": Slot("transform"),
        "feat": Slot("latent_codec"),
        "xyz_analysis": Slot("transform"),
        "xyz": Slot("latent_codec"),
        "xyz_synthesis": Slot("transform"),
        **{name: Slot("transform", each="ratios") for name in _EACH},
        "coder": _CODER,
    },
)
class PointDensityPreserving:
    """Points merge into fewer, and part again into about as many as they were (He et al. 2022)."""

    ratios: Annotated[list[Annotated[int, Range(1, 64)]], "points to one, at each level"] = [3, 3, 3]  # noqa: RUF012
    candidates: Annotated[int, Range(1, 64), "places that a point proposes"] = 8

    def shape(self, slots: Slots, x: Sig) -> Sig:
        x = replace(x, axes=1)
        embedded = slots("embed", x)
        here = x.with_channels(3 + embedded.channels)
        strides = [x.stride]
        for k, ratio in enumerate(self.ratios):
            made = slots("down", here, index=k)
            here = _same(made, here.strided(ratio), "down")
            strides.append(here.stride)
        features = here.with_channels(embedded.channels)
        _same(slots("feat", features), features, "feat")
        y = slots("xyz", slots("xyz_analysis", here.with_channels(3)))
        _same(slots("xyz_synthesis", y), here.with_channels(3), "xyz_synthesis")
        for k in range(len(self.ratios) - 1, -1, -1):
            proposed = features.strided(Fraction(1, self.candidates))
            _same(slots("number", features, index=k), features.with_channels(1), "number")
            for prefix, base in (("", proposed), ("refine_", features)):
                if prefix:
                    base = features = replace(features, stride=strides[k])
                source = base if prefix else features
                wanted = {"weights": DIRECTIONS, "scale": 1, "features": embedded.channels}
                for name, channels in wanted.items():
                    made = slots(prefix + name, source, index=k)
                    _same(made, base.with_channels(channels), prefix + name)
        return x

    def cost(self, x: Sig) -> Cost:
        return Cost()


@component("loss", "pointcloud/rate_distortion", target="tinify_plugins.pointcloud.losses:ChamferPccRateDistortionLoss")
class PointRateDistortion:
    """Bits per point plus lambda times the Chamfer distance (Fan et al. 2017)."""

    lmbda: Annotated[float, Range(0), "weight of distortion against bits"] | None = None


@component(
    "loss", "pointcloud/density_preserving", target="tinify_plugins.pointcloud.losses:RateDistortionLoss_hrtzxf2022"
)
class PointDensityLoss:
    """Bits per point plus lambda times distances, numbers and distances of children (He et al. 2022)."""

    lmbda: Annotated[float, Range(0), "weight of distortion against bits"] | None = None


def _same(found: Sig, wanted: Sig, slot: str) -> Sig:
    if found != wanted:
        raise ShapeError(f"{slot} must end at {wanted}; it ends at {found}", slot)
    return found


_MODELS = (PointAutoencoder, PointHierarchy, PointDensityPreserving)
_LOSSES = (PointRateDistortion, PointDensityLoss)
_FACES = (
    "PointNetReconstructionPccModel",
    "PointNet2SsgReconstructionPccModel",
    "DensityPreservingReconstructionPccModel",
)
_DATA_SETS = ("CloudFolder", "ModelNetDataset", "S3disDataset", "SemanticKittiDataset", "ShapeNetCorePartDataset")
_TRANSFORMS = (
    "GeneratePositionNormals",
    "NormalizeScaleV2",
    "RandomPermutation",
    "RandomRotateFull",
    "RandomSample",
    "SamplePointsV2",
    "ToDict",
)
_ENTRIES = ("hrtzxf2022_pcc_rec", "pointcloud_models", "sfu2023_pcc_rec_pointnet", "sfu2024_pcc_rec_pointnet2_ssg")


@hookimpl
def tinify_components() -> list[type]:
    return [*LAYERS, *_MODELS, *_LOSSES]


@hookimpl
def tinify_spec_paths() -> list[Path]:
    return [Path(__file__).parent / "specs"]


@hookimpl
def tinify_names() -> list[Name]:
    at_home = "tinify_plugins.pointcloud"
    return [
        Name(module, name, f"{at_home}.{place}:{name}")
        for module, place, names in (
            ("tinify.models", "models", _FACES),
            ("tinify.losses", "losses", ("ChamferPccRateDistortionLoss", "RateDistortionLoss_hrtzxf2022")),
            ("tinify.datasets", "datasets", _DATA_SETS),
            ("tinify.transforms", "transforms", _TRANSFORMS),
            ("tinify.zoo", "zoo", _ENTRIES),
        )
        for name in names
    ]


@hookimpl
def tinify_commands() -> list[Command]:
    return [Command("points", "tinify_plugins.pointcloud.commands:points", "Compress point clouds, and back.")]
