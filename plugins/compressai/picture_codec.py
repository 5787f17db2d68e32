"""CompressAI's own models as picture codecs, so that ``tinify bench`` measures them; needs that package."""

from __future__ import annotations

import importlib
import json
import struct
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tinify.errors import CorruptFileError, InputError, MissingPackageError, UnknownNameError
from tinify.evaluation.codec import PictureCodec, Pixels
from tinify.models.faces import Face
from tinify.ops import compute_padding

from .file import PADDING, stride_of
from .importing import architectures
from .state_dict import read_state_dict

# Height, width, and the bytes of a shape that does not follow from them.
_HEAD, _LENGTH = struct.Struct("<3I"), struct.Struct("<I")


class CompressaiCodec(PictureCodec):
    """A model of the installed CompressAI, by its name there, with the weights of a checkpoint.

    Without one it has the sizes of ``quality`` and weights that nobody trained: good for times and memory only. A file
    is its strings behind a few bytes of sizes. Raises :class:`~tinify.errors.MissingPackageError` without CompressAI.
    """

    def __init__(self, architecture: str, checkpoint: str | None = None, quality: int = 4) -> None:
        known = _pictures()
        if architecture not in known:
            raise UnknownNameError.among("architecture of CompressAI", architecture, known)
        models = _import()
        if checkpoint is not None:
            tensors = read_state_dict(checkpoint)
            model = getattr(models.models, known[architecture].__name__).from_state_dict(tensors)
        else:
            model = _untrained(models, architecture, quality)
        model.update()
        self._model, self._stride = model.eval(), stride_of(architecture)
        self.label = f"CompressAI {architecture}" + ("" if checkpoint else ", untrained")
        self.parameters = sum(parameter.numel() for parameter in model.parameters())

    @torch.no_grad()
    def encode(self, pixels: Pixels, quality: float | None) -> bytes:
        packed = self._model.compress(_padded(pixels))
        height, width, _ = pixels.shape
        strings = [string for strings in packed["strings"] for string in strings]
        own = packed["shape"]
        shape = b"" if own == self._shape(height, width) else json.dumps(own, separators=(",", ":")).encode()
        lengths = (_LENGTH.pack(len(string)) for string in strings)
        return b"".join([_HEAD.pack(height, width, len(shape)), bytes([len(strings)]), *lengths, shape, *strings])

    @torch.no_grad()
    def decode(self, data: bytes) -> Pixels:
        try:
            height, width, extra = _HEAD.unpack_from(data)
            place = _HEAD.size + 1
            lengths = [_LENGTH.unpack_from(data, place + _LENGTH.size * index)[0] for index in range(data[place - 1])]
        except (struct.error, IndexError) as error:
            raise CorruptFileError("the file ends in its sizes: make it again") from error
        place += _LENGTH.size * len(lengths)
        shape = _sizes(json.loads(data[place : place + extra])) if extra else self._shape(height, width)
        place += extra
        strings = []
        for length in lengths:
            strings.append([data[place : place + length]])
            place += length
        if place != len(data):
            raise CorruptFileError(f"the file has {len(data)} bytes, and its sizes say {place}: make it again")
        x_hat: Tensor = self._model.decompress(strings, shape)["x_hat"]
        _, unpad = compute_padding(height, width, min_div=PADDING)
        samples = F.pad(x_hat, unpad)[0].permute(1, 2, 0).mul(255).round().clamp(0, 255)
        return np.ascontiguousarray(samples.to(torch.uint8).numpy())

    @torch.no_grad()
    def estimate(self, pixels: Pixels, quality: float | None) -> float | None:
        likelihoods = self._model(_padded(pixels))["likelihoods"]
        return -sum(float(likelihood.log2().sum()) for likelihood in likelihoods.values())

    def _shape(self, height: int, width: int) -> torch.Size:
        return torch.Size(-(-side // PADDING) * PADDING // self._stride for side in (height, width))


def _pictures() -> dict[str, type[Face]]:
    """Those of the architectures that code a picture."""
    return {name: face for name, face in architectures().items() if issubclass(face, Face)}


def _import() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of what it imports
            package = importlib.import_module("compressai")
            for part in ("models", "zoo"):
                importlib.import_module(f"compressai.{part}")
    except (ImportError, RuntimeError) as error:  # torchvision raises the latter beside another torch than its own
        raise MissingPackageError(f"CompressAI cannot be imported ({error}): pip install compressai") from error
    return package


def _untrained(package: Any, architecture: str, quality: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # every process has the same
        make = package.zoo.image_models.get(architecture)
        if make is None:  # it has this one without qualities
            return getattr(package.models, _pictures()[architecture].__name__)()
        try:
            return make(quality=quality, metric="mse", pretrained=False)
        except ValueError as error:
            raise InputError(f"CompressAI has no {architecture} of quality {quality}: {error}") from error


def _padded(pixels: Pixels) -> Tensor:
    x = torch.tensor(pixels).permute(2, 0, 1)[None].float().div_(255)
    pad, _ = compute_padding(*pixels.shape[:2], min_div=PADDING)
    return F.pad(x, pad, mode="replicate")


def _sizes(found: Any) -> Any:
    """A shape from JSON: lists of numbers are sizes, wherever they stand."""
    if isinstance(found, dict):
        return {key: _sizes(value) for key, value in found.items()}
    return torch.Size(found) if all(isinstance(item, int) for item in found) else [_sizes(item) for item in found]
