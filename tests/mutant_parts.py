"""The deliberately wrong layers, losses, picture codecs, models and ops of tests/mutants.py, and their twins."""

from __future__ import annotations

import copy
import itertools
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tinify.evaluation.codec import PictureCodec, Pixels
from tinify.latent_codecs import LatentCodec
from tinify.models import Autoencoder
from tinify.plugin import Sig, component

COUNTER = itertools.count()


class Layer(nn.Module):
    def __init__(self, in_channels: int, slope: float = 0.1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 8, 3, stride=2, padding=1)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.conv(x), self.slope)


class SwappedStride(Layer):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.conv.stride = (4, 1)


class Needy(Layer):
    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__(in_channels)


class InPlace(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.relu_())


class BatchMean(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0, keepdim=True))


class DeadParameter(Layer):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.gain = nn.Parameter(torch.ones(1))


class Detached(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class SinglePrecision(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


class NoisyEval(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x), 0.1)


class RestlessKeys(Layer):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.add_module(f"conv{next(COUNTER)}", self.conv)


class HiddenState(Layer):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.gain = torch.rand(1)  # neither a parameter nor a buffer

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.gain.to(x)


class SharedCopy(Layer):
    def __deepcopy__(self, memo: dict[int, Any]) -> SharedCopy:
        return copy.copy(self)


class HalfOverflow(Layer):
    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return (x * 1e6).half() / 1e6 if x.dtype == torch.bfloat16 else x


class TwinLoss(nn.Module):
    def forward(self, output: dict[str, Any], target: Tensor) -> Any:
        rate = -torch.stack([torch.log(one).mean() for one in output["likelihoods"].values()]).sum()
        return {"loss": rate + (output["x_hat"] - target).square().mean(), "rate": rate}


class LossDetached(TwinLoss):
    def forward(self, output: dict[str, Any], target: Tensor) -> Any:
        return {name: one.detach() for name, one in super().forward(output, target).items()}


class LossUnnamed(TwinLoss):
    def forward(self, output: dict[str, Any], target: Tensor) -> Any:
        return super().forward(output, target)["loss"]


class LossNoisy(TwinLoss):
    def forward(self, output: dict[str, Any], target: Tensor) -> Any:
        return {"loss": super().forward(output, target)["loss"] + 0.01 * torch.rand(())}


class TwinPicture(PictureCodec):
    settings = (1.0, 2.0)
    limits = (1.0, 2.0)

    def encode(self, pixels: Pixels, quality: float | None) -> bytes:
        step = 1 if quality == 2 else 8
        return np.array([*pixels.shape, step], "<u4").tobytes() + zlib.compress((pixels // step).tobytes())

    def decode(self, data: bytes) -> Pixels:
        *shape, step = np.frombuffer(data[:16], "<u4")
        levels = np.frombuffer(zlib.decompressobj().decompress(data[16:]), np.uint8)
        return (levels.reshape(shape) * step).astype(np.uint8)


class PictureCropped(TwinPicture):
    def decode(self, data: bytes) -> Pixels:
        return super().decode(data)[:-1]


class PictureFalling(TwinPicture):
    settings = (2.0, 1.0)


class PictureMoody(TwinPicture):
    def encode(self, pixels: Pixels, quality: float | None) -> bytes:
        return super().encode(pixels, quality) + bytes([next(COUNTER) % 256])


class PictureMemory(TwinPicture):
    bias = 0

    def encode(self, pixels: Pixels, quality: float | None) -> bytes:
        PictureMemory.bias = 1
        return super().encode(pixels, quality)

    def decode(self, data: bytes) -> Pixels:
        return super().decode(data) ^ np.uint8(self.bias)


class Model(Autoencoder):
    def __init__(self, g_a: nn.Module, latent_codec: LatentCodec, g_s: nn.Module) -> None:
        super().__init__(g_a, latent_codec, g_s)


class NotClamped(Model):
    def decompress(self, strings: Any, shape: Any) -> dict[str, Any]:
        return {"x_hat": self.g_s(self.latent_codec.decompress(strings, shape)["y_hat"]) + 2}


class ModelStringsUnread(Model):
    def decompress(self, strings: Any, shape: Any) -> dict[str, Any]:
        return super().decompress(strings[:1], shape)


class Cropped(Model):
    def forward(self, x: Tensor) -> dict[str, Any]:
        out = super().forward(x)
        return {**out, "x_hat": out["x_hat"][..., 1:]}


class ModelMemory(Model):
    mean = 0.0

    def compress(self, x: Tensor) -> dict[str, Any]:
        self.mean = float(x.mean())
        return super().compress(x)

    def decompress(self, strings: Any, shape: Any) -> dict[str, Any]:
        return {"x_hat": super().decompress(strings, shape)["x_hat"] * self.mean}


class HiddenModelState(Model):
    def __init__(self, g_a: nn.Module, latent_codec: LatentCodec, g_s: nn.Module) -> None:
        super().__init__(g_a, latent_codec, g_s)
        self.gain = float(torch.rand(()))  # neither a parameter nor a buffer

    def decompress(self, strings: Any, shape: Any) -> dict[str, Any]:
        return {"x_hat": super().decompress(strings, shape)["x_hat"] * self.gain}


class DeadModel(Model):
    def __init__(self, g_a: nn.Module, latent_codec: LatentCodec, g_s: nn.Module) -> None:
        super().__init__(g_a, latent_codec, g_s)
        self.gain = nn.Parameter(torch.ones(1))


@component("layer", "heavy/declaration", target="mutant_parts:Layer")
class Heavy:
    """Declared in a module that imports torch."""

    def shape(self, x: Sig) -> Sig:
        return Sig(8, x.stride * 2)


def _affine(x: Tensor, factor: float) -> Tensor:
    return x * factor + 1


def _define(name: str, fake_channels: int = 1, slope: float = 1.0) -> None:
    """The operator ``mutant::name``, which is the affine one."""

    def definition(x: Tensor, factor: float) -> Tensor:
        return _affine(x, factor)

    made = torch.library.custom_op(f"mutant::{name}", definition, mutates_args=())
    made.register_fake(lambda x, factor: torch.empty_like(x.repeat(fake_channels, *[1] * (x.ndim - 1))))

    def keep(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.factor = inputs[1]

    made.register_autograd(lambda ctx, grad: (grad * ctx.factor * slope, None), setup_context=keep)
    KEPT.append(made)


KEPT: list[Any] = []
for _name in ("twin", "contiguous_only", "last_unwritten", "off_by_one", "empty_refused"):
    _define(_name)
_define("wrong_gradient", slope=2)
_define("wrong_fake", fake_channels=2)

twin = wrong_gradient = wrong_fake = _affine


def contiguous_only(x: Tensor, factor: float) -> Tensor:
    return _affine(x.as_strided((x.numel(),), (1,)).reshape(x.shape), factor)


def last_unwritten(x: Tensor, factor: float) -> Tensor:
    out = torch.empty(x.shape, dtype=x.dtype)
    out.view(-1)[: x.numel() // 8 * 8 if x.numel() > 7 else x.numel()] = _affine(x, factor).reshape(-1)[
        : x.numel() // 8 * 8 if x.numel() > 7 else x.numel()
    ]
    return out


def off_by_one(x: Tensor, factor: float) -> Tensor:
    return _affine(x, factor) + 1


def empty_refused(x: Tensor, factor: float) -> Tensor:
    if not x.numel():
        raise RuntimeError("invalid configuration argument: an empty grid")
    return _affine(x, factor)
