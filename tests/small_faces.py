"""Small models of the field's classes, for the tests of what these classes share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tinify.models import (  # type: ignore[attr-defined]
    Cheng2020Anchor,
    Cheng2020AnchorCheckerboard,
    Cheng2020Attention,
    Elic2022Chandelier,
    Elic2022Official,
    FactorizedPrior,
    FactorizedPriorReLU,
    JointAutoregressiveHierarchicalPriors,
    JointAutoregressiveHierarchicalPriorsVbr,
    MeanScaleHyperprior,
    MeanScaleHyperpriorVbr,
    ScaleHyperprior,
    ScaleHyperpriorVbr,
)
from tinify.models.faces import Face

SMALL: dict[type[Face], dict[str, Any]] = {
    FactorizedPrior: {"N": 8, "M": 12},
    FactorizedPriorReLU: {"N": 8, "M": 12},
    ScaleHyperprior: {"N": 8, "M": 12},
    MeanScaleHyperprior: {"N": 8, "M": 12},
    JointAutoregressiveHierarchicalPriors: {"N": 8, "M": 12},
    Cheng2020Anchor: {"N": 8},
    Cheng2020Attention: {"N": 8},
    Cheng2020AnchorCheckerboard: {"N": 8},
    Elic2022Official: {"N": 8, "M": 12, "groups": [4, 8]},
    Elic2022Chandelier: {"N": 8, "M": 12, "groups": [2, 4, 6]},
    ScaleHyperpriorVbr: {"N": 8, "M": 12, "vr_entbttlnck": False},
    MeanScaleHyperpriorVbr: {"N": 8, "M": 12, "vr_entbttlnck": True},
    JointAutoregressiveHierarchicalPriorsVbr: {"N": 8, "M": 12, "vr_entbttlnck": False},
}
FLAT = [face for face in SMALL if face.PARTS]
each = pytest.mark.parametrize("face", SMALL, ids=lambda face: face.__name__)
each_flat = pytest.mark.parametrize("face", FLAT, ids=lambda face: face.__name__)


def small(face: type[Face]) -> Any:
    """A small model of that class in evaluation mode, the same each time."""
    torch.manual_seed(0)
    return face(**SMALL[face]).eval()


def same_state(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)
