"""The same model, with the same weights, in tinify and in CompressAI; each loads without the other."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

SIZE = (768, 512)


class Pair(NamedTuple):
    """An architecture: its class in CompressAI, its sizes, and whether it is coded position by position."""

    peer: str
    sizes: dict[str, int]
    serial: bool = False


PAIRS = {
    "bmshj2018-factorized": Pair("FactorizedPrior", {"N": 128, "M": 192}),
    "bmshj2018-factorized-relu": Pair("FactorizedPriorReLU", {"N": 128, "M": 192}),
    "bmshj2018-hyperprior": Pair("ScaleHyperprior", {"N": 128, "M": 192}),
    "mbt2018-mean": Pair("MeanScaleHyperprior", {"N": 128, "M": 192}),
    "mbt2018": Pair("JointAutoregressiveHierarchicalPriors", {"N": 192, "M": 192}, serial=True),
    "cheng2020-anchor": Pair("Cheng2020Anchor", {"N": 128}, serial=True),
    "cheng2020-attn": Pair("Cheng2020Attention", {"N": 128}, serial=True),
    "cheng2020-anchor-checkerboard": Pair("Cheng2020AnchorCheckerboard", {"N": 128}),
    "elic2022-official": Pair("Elic2022Official", {"N": 192, "M": 320}),
    "elic2022-chandelier": Pair("Elic2022Chandelier", {"N": 192, "M": 320}),
}


def photo(path: Path) -> Tensor:
    """A picture as (1, 3, 512, 768) in [0, 1]."""
    import numpy as np

    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous() / 255


def save_weights(checkpoint: Path, image: Path, name: str, **sizes: int) -> None:
    """Untrained weights, and their coding tables, that treat this picture as trained ones do."""
    from weights import fit

    import tinify
    from tinify.checkpoint import save_model

    torch.manual_seed(0)
    chosen: dict[str, Any] = {**PAIRS[name].sizes, **sizes}
    model = tinify.create_model(name, **chosen).eval()
    fit(model, photo(image))
    save_model(model, checkpoint)


def load_ours(checkpoint: Path) -> Any:
    """tinify's model, as its codec uses it."""
    from tinify.checkpoint import load_checkpoint

    return load_checkpoint(checkpoint)


def load_peer(checkpoint: Path, name: str, **sizes: int) -> Any:
    """CompressAI's model, with weights and coding tables of the same checkpoint."""
    from safetensors.torch import load_file

    model = getattr(peer_models(), PAIRS[name].peer)(**{**PAIRS[name].sizes, **sizes})
    own = model.state_dict().keys()
    model.load_state_dict({_peer_name(key, own): tensor for key, tensor in load_file(checkpoint).items()})
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


def _peer_name(key: str, own: Any) -> str:
    """What tinify keeps in its latent codecs, CompressAI's older models keep in the model itself."""
    if key not in own:
        for prefix in ("latent_codec.", "hyper.", "y."):
            key = key.removeprefix(prefix)
    return key
