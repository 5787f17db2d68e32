"""The deliberately wrong densities, latent codecs and coders of tests/mutants.py, and their correct twins."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tinify.coders import CdfTables
from tinify.coders.rans import RansCoder
from tinify.entropy_models import EntropyBottleneck, EntropyModel, GaussianConditional
from tinify.errors import CorruptStreamError
from tinify.latent_codecs import Decode, LatentCodec, Stream

COUNTER = itertools.count()


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
