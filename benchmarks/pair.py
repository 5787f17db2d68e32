"""The same mean-scale hyperprior, with the same weights, in tinify and in CompressAI; each loads without the other."""

from __future__ import annotations

import importlib
import math
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

SIZE = (768, 512)

# What tinify keeps in its latent codecs, CompressAI keeps in the model itself.
_LATENT_CODECS = ("latent_codec.hyper.", "latent_codec.y.")


def photo(path: Path) -> Tensor:
    """A picture as (1, 3, 512, 768) in [0, 1]."""
    import numpy as np

    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous() / 255


@torch.no_grad()
def save_weights(checkpoint: Path, image: Path, N: int, M: int) -> None:
    """Untrained weights whose latent, on this picture, is as uneven as a trained one: channels from empty to busy."""
    import tinify
    from tinify.checkpoint import save_model

    torch.manual_seed(0)
    model: Any = tinify.create_model("mbt2018-mean", N=N, M=M).eval()
    scales = torch.logspace(math.log10(0.05), math.log10(3), M)
    last = model.g_a[-1]
    y = model.g_a(photo(image))
    gain = scales / y.std((0, 2, 3))
    last.bias.sub_(y.mean((0, 2, 3))).mul_(gain)
    last.weight.mul_(gain[:, None, None, None])
    model.latent_codec.hyper.h_s[-1].bias[:M].copy_(scales)
    save_model(model, checkpoint)


def load_ours(checkpoint: Path) -> Any:
    """tinify's model, as its codec uses it."""
    from tinify.checkpoint import load_checkpoint

    return load_checkpoint(checkpoint)


def load_peer(checkpoint: Path, N: int, M: int) -> Any:
    """CompressAI's model, with weights and coding tables of the same checkpoint."""
    from safetensors.torch import load_file

    model = peer_models().MeanScaleHyperprior(N, M)
    model.load_state_dict({_peer_name(name): tensor for name, tensor in load_file(checkpoint).items()})
    return model.eval()


def peer_models() -> Any:
    """CompressAI's models, also beside a torch that the installed torchvision was not built for."""
    _declare_torchvision_operators()
    return importlib.import_module("compressai.models")


@cache
def _declare_torchvision_operators() -> Any:
    # CompressAI imports torchvision, which looks for these two as it is imported; they are never called.
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for op in ("nms", "qnms"):
        library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    return library


def _peer_name(name: str) -> str:
    for prefix in _LATENT_CODECS:
        name = name.removeprefix(prefix)
    return name
