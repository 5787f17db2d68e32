"""LPIPS by torchmetrics, where it and its weights lie on this machine; nothing is ever fetched."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tinify.errors import InputError
from tinify.evaluation.quality import Distance

# The file that torchvision keeps of the features that LPIPS compares.
BACKBONE = "alexnet-owt-7be5be79.pth"


def find_lpips() -> Distance:
    """LPIPS (AlexNet) of two batches in [0, 1]; :class:`~tinify.errors.InputError` says what is missing for it.

    Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018.
    """
    for package in ("torchvision", "torchmetrics"):
        try:
            importlib.import_module(package)
        except (ImportError, RuntimeError) as error:
            raise InputError(f"no LPIPS: it needs {package} ({error}); install torchmetrics and torchvision") from error
    weights = Path(torch.hub.get_dir()) / "checkpoints" / BACKBONE
    if not weights.is_file():
        raise InputError(f"no LPIPS: the weights of AlexNet are not at {weights}, and nothing is fetched here")
    image: Any = importlib.import_module("torchmetrics.image.lpip")
    try:
        network = image.LearnedPerceptualImagePatchSimilarity("alex", normalize=True).eval()
    except Exception as error:
        raise InputError(f"no LPIPS: torchmetrics cannot make it ({type(error).__name__}: {error})") from error

    @torch.no_grad()
    def distance(a: Tensor, b: Tensor) -> float:
        network.reset()
        return float(network(a, b))

    return distance
