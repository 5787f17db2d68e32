"""The field's entry points: an untrained image model of a published size, by a quality."""

from __future__ import annotations

from typing import Any, Protocol

from tinify.errors import InputError
from tinify.models import (
    Cheng2020Anchor,
    Cheng2020AnchorCheckerboard,
    Cheng2020Attention,
    Elic2022Chandelier,
    Elic2022Official,
    FactorizedPrior,
    FactorizedPriorReLU,
    JointAutoregressiveHierarchicalPriors,
    MeanScaleHyperprior,
    ScaleHyperprior,
)
from tinify.models.faces import Face
from tinify.spec import Spec

_METRICS = ("mse", "ms-ssim")


class Entry(Protocol):
    """Makes a model, ``entry(quality)``; ``kwargs`` (``N``, ``M``, ...) take the place of the published sizes."""

    def __call__(
        self, quality: int, metric: str = "mse", pretrained: bool = False, progress: bool = True, **kwargs: Any
    ) -> Face: ...


def _entry(face: type[Face]) -> Entry:
    def entry(
        quality: int, metric: str = "mse", pretrained: bool = False, progress: bool = True, **kwargs: Any
    ) -> Face:
        spec = Spec.load(face.SPEC)
        best = len(spec.presets)
        if metric not in _METRICS:
            raise InputError(f"metric {metric!r}: expected one of {', '.join(_METRICS)}")
        if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= best:
            raise InputError(f"quality {quality!r}: {face.SPEC} has the qualities 1 to {best}")
        if pretrained:
            raise InputError(
                f"{face.SPEC} comes without trained weights, and nothing is downloaded: give a checkpoint that you "
                "have to `tinify import-compressai CHECKPOINT OUT`, and load it with tinify.load_model(OUT)"
            )
        parameters = spec.elaborate(preset=f"q{quality}").parameters
        return face(**{**parameters, **kwargs})

    entry.__name__ = entry.__qualname__ = face.SPEC.replace("-", "_")
    entry.__doc__ = f"An untrained :class:`~tinify.models.{face.__name__}` of the size published for ``quality``."
    return entry


bmshj2018_factorized = _entry(FactorizedPrior)
bmshj2018_factorized_relu = _entry(FactorizedPriorReLU)
bmshj2018_hyperprior = _entry(ScaleHyperprior)
mbt2018_mean = _entry(MeanScaleHyperprior)
mbt2018 = _entry(JointAutoregressiveHierarchicalPriors)
cheng2020_anchor = _entry(Cheng2020Anchor)
cheng2020_attn = _entry(Cheng2020Attention)
cheng2020_anchor_checkerboard = _entry(Cheng2020AnchorCheckerboard)
elic2022_official = _entry(Elic2022Official)
elic2022_chandelier = _entry(Elic2022Chandelier)

image_models: dict[str, Entry] = {
    "bmshj2018-factorized": bmshj2018_factorized,
    "bmshj2018-factorized-relu": bmshj2018_factorized_relu,
    "bmshj2018-hyperprior": bmshj2018_hyperprior,
    "mbt2018-mean": mbt2018_mean,
    "mbt2018": mbt2018,
    "cheng2020-anchor": cheng2020_anchor,
    "cheng2020-attn": cheng2020_attn,
    "cheng2020-anchor-checkerboard": cheng2020_anchor_checkerboard,
    "elic2022-official": elic2022_official,
    "elic2022-chandelier": elic2022_chandelier,
}
"""The entry points by name."""
