"""The deliberately wrong components that tests/mutants.py declares, and their correct twins."""

from __future__ import annotations

import copy
import itertools
import os
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tinify.coders import CdfTables
from tinify.coders.rans import RansCoder
from tinify.entropy_models import EntropyBottleneck, EntropyModel, GaussianConditional
from tinify.errors import CorruptStreamError
from tinify.evaluation.codec import PictureCodec, Pixels
from tinify.latent_codecs import Decode, LatentCodec, Stream
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


class Density(GaussianConditional):
    def __init__(self, channels: int) -> None:
        super().__init__(None)


class OffByOneCdf(Density):
    def build_tables(self) -> CdfTables:
        tables = super().build_tables()
        return CdfTables(tables.cdfs, tables.sizes, tables.offsets + 1)


class MassMissing(Density):
    def forward(self, inputs: Tensor, scales: Tensor, means: Tensor, training: bool | None = None) -> Any:
        y_hat, likelihood = super().forward(inputs, scales, means, training)
        return y_hat, 0.99 * likelihood


class LikelihoodAboveOne(Density):
    def forward(self, inputs: Tensor, scales: Tensor, means: Tensor, training: bool | None = None) -> Any:
        y_hat, likelihood = super().forward(inputs, scales, means, training)
        return y_hat, 2 * likelihood


class MoodyTables(Density):
    def build_tables(self) -> CdfTables:
        tables = super().build_tables()
        return CdfTables(tables.cdfs, tables.sizes, tables.offsets - next(COUNTER))


class TablesOfThisProcess(Density):
    def build_tables(self) -> CdfTables:
        tables = super().build_tables()
        return CdfTables(tables.cdfs, tables.sizes, tables.offsets - os.getpid())


class TablesNotSaved(Density):
    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in ("_quantized_cdf", "_cdf_length", "_offset"):
            destination[prefix + name] = torch.empty(0, dtype=torch.int32)


class MeansIgnored(Density):
    def centre(self, size: torch.Size, *params: Tensor) -> Tensor | None:
        return None


class IndexOutOfRange(Density):
    def indexes(self, size: torch.Size, *params: Tensor) -> Tensor:
        return super().indexes(size, *params) + 40


class DeadDensity(Density):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gain = nn.Parameter(torch.ones(channels))


class Codec(LatentCodec):
    def __init__(self, em: EntropyModel) -> None:
        super().__init__()
        assert isinstance(em, EntropyBottleneck)
        self.em = em

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        return stream.code(self.em, y)


class StringsUnread(Codec):
    def decompress(self, strings: Sequence[Sequence[bytes]], shape: Any, side: Tensor | None = None) -> Any:
        return {"y_hat": self.code(None, side, Decode(strings, shape, self.part))}


class EncoderMemory(Codec):
    top = 1.0

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        if y is not None:
            self.top = float(y.abs().max())
            y = y / self.top * 8
        return super().code(y, side, stream) * self.top / 8


class BatchSum(Codec):
    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        y_hat = super().code(None if y is None else y.cumsum(0), side, stream)
        return torch.cat([y_hat[:1], y_hat.diff(dim=0)])


class Unrounded(Codec):
    def compress(self, y: Tensor, side: Tensor | None = None) -> dict[str, Any]:
        return {**super().compress(y, side), "y_hat": y}


class TwoFlows(Codec):
    def forward(self, y: Tensor, side: Tensor | None = None) -> dict[str, Any]:
        return {**super().forward(y, side), "y_hat": torch.round(y + 0.25)}


class CrashesOnDamage(Codec):
    def decompress(self, strings: Sequence[Sequence[bytes]], shape: Any, side: Tensor | None = None) -> Any:
        try:
            return super().decompress(strings, shape, side)
        except CorruptStreamError as error:
            raise IndexError("list index out of range") from error


class HalfTheRate(Codec):
    def forward(self, y: Tensor, side: Tensor | None = None) -> dict[str, Any]:
        out = super().forward(y, side)
        return {**out, "likelihoods": {name: one.sqrt() for name, one in out["likelihoods"].items()}}


class ClampsItsInput(Codec):
    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        return super().code(None if y is None else y.clamp_(-4, 4), side, stream)


class DeadCodec(Codec):
    def __init__(self, em: EntropyModel) -> None:
        super().__init__(em)
        self.gain = nn.Parameter(torch.ones(1))


class HiddenCodecState(Codec):
    def __init__(self, em: EntropyModel) -> None:
        super().__init__(em)
        self.gain = 1 + float(torch.rand(()))  # neither a parameter nor a buffer

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        return super().code(y, side, stream) * self.gain


class TwinCoder(RansCoder):
    name = "twin"


class Reader:
    """Wraps the true reader, for mutants to change."""

    def __init__(self, reader: Any, data: bytes = b"") -> None:
        self.reader, self.data = reader, data

    def pop(self, indexes: Any, out: Any) -> None:
        self.reader.pop(indexes, out)

    def finish(self) -> None:
        self.reader.finish()


class Forgiving(Reader):
    def pop(self, indexes: Any, out: Any) -> None:
        try:
            self.reader.pop(indexes, out)
        except CorruptStreamError:
            out[...] = 0

    def finish(self) -> None:
        pass


class TruncationIgnored(RansCoder):
    def decoder(self, tables: CdfTables, data: bytes, count: int) -> Any:
        try:
            return Forgiving(super().decoder(tables, data, count))
        except CorruptStreamError:
            return Forgiving(super().decoder(tables, b"\1", 1))


class RestIgnored(RansCoder):
    """Puts the length before its string, and ignores whatever follows."""

    def encode(self, tables: CdfTables, symbols: Any, indexes: Any) -> bytes:
        data = super().encode(tables, symbols, indexes)
        return len(data).to_bytes(4, "little") + data if symbols.size else b""

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> Any:
        length = int.from_bytes(data[:4], "little")
        if data and len(data) < 4 + length:
            raise CorruptStreamError("too short")
        return super().decoder(tables, data[4 : 4 + length], count)


class Unfinished(Reader):
    def finish(self) -> None:
        pass


class OverRead(RansCoder):
    def decoder(self, tables: CdfTables, data: bytes, count: int) -> Any:
        return Unfinished(super().decoder(tables, data, count))


class SmallEscapes(RansCoder):
    def encode(self, tables: CdfTables, symbols: Any, indexes: Any) -> bytes:
        return super().encode(tables, symbols.clip(-32768, 32767), indexes)


class LastSymbolLost(RansCoder):
    def encode(self, tables: CdfTables, symbols: Any, indexes: Any) -> bytes:
        kept = symbols.copy()
        kept[4096:][-1:] = tables.offsets[indexes[4096:][-1:]]
        return super().encode(tables, kept, indexes)


class Restarting(Reader):
    def pop(self, indexes: Any, out: Any) -> None:
        coder, tables, count = self.reader
        coder.decoder(tables, self.data, count).pop(indexes, out)

    def finish(self) -> None:
        pass


class NoSlices(RansCoder):
    def decoder(self, tables: CdfTables, data: bytes, count: int) -> Any:
        return Restarting((RansCoder(), tables, count), data)


class BytesOfThisProcess(RansCoder):
    def encode(self, tables: CdfTables, symbols: Any, indexes: Any) -> bytes:
        return os.getpid().to_bytes(4, "little") + super().encode(tables, symbols, indexes)

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> Any:
        return super().decoder(tables, data[4:], count)


class Fragile(Reader):
    def pop(self, indexes: Any, out: Any) -> None:
        try:
            self.reader.pop(indexes, out)
        except CorruptStreamError as error:
            raise IndexError("out of bounds") from error

    def finish(self) -> None:
        try:
            self.reader.finish()
        except CorruptStreamError as error:
            raise IndexError("out of bounds") from error


class CoderCrash(RansCoder):
    def decoder(self, tables: CdfTables, data: bytes, count: int) -> Any:
        return Fragile(super().decoder(tables, data, count))


class Raw:
    """Every symbol in four bytes."""

    name = "raw"

    def encode(self, tables: CdfTables, symbols: Any, indexes: Any) -> bytes:
        return bytes(symbols.astype("<i4").tobytes())

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> Any:
        if len(data) != 4 * count:
            raise CorruptStreamError("of another length")
        return RawReader(np.frombuffer(data, "<i4"))


class RawReader:
    def __init__(self, symbols: Any) -> None:
        self.symbols = symbols

    def pop(self, indexes: Any, out: Any) -> None:
        out[...], self.symbols = self.symbols[: out.size], self.symbols[out.size :]

    def finish(self) -> None:
        assert not self.symbols.size


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
