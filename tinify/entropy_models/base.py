"""What every entropy model shares: quantisation, frozen coding tables, strings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from tinify.coders import CdfTables, Coder
from tinify.entropy_models.device import DeviceReader, decode_batch, encode_batch
from tinify.entropy_models.serial import Reader, TableReader, TableWriter, Writer
from tinify.errors import InputError, TablesMissingError
from tinify.ops import LowerBound, add_noise

# What a state dict keeps the tables in.
TABLE_BUFFERS = ("_quantized_cdf", "_cdf_length", "_offset")


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Densities are computed in float32, whatever autocast says; the meta device knows no autocast."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class EntropyModel(nn.Module):
    """A density that gives likelihoods for training and integer tables for coding.

    A subclass offers three things, all taking the same ``params`` (predicted scales and means, or nothing):

    * ``forward(y, *params, training=None)`` returns ``(y_hat, likelihood)``, both like ``y``;
    * ``centre(size, *params)`` returns what is subtracted before rounding a ``y`` of that size (it broadcasts against
      ``y``), or None;
    * ``indexes(size, *params)`` returns the row of the tables for every element of such a ``y``, int32.

    One that codes otherwise than by rows of tables overrides ``encode``, ``decode``, ``writer`` and ``reader`` instead
    of ``indexes``; one whose parameters are not of ``y``'s own size overrides ``size``.

    Tables are a frozen :class:`~tinify.coders.CdfTables`, kept in three int32 buffers so that a checkpoint carries
    them. They are built by ``update()``, or on the first ``compress``, and forgotten as soon as a training step makes
    them stale.
    """

    coder: Coder | None = None
    """The entropy coder of the strings; None for the default: see :func:`tinify.set_entropy_coder`."""
    channels: int
    """Of a model that codes without parameters; the others take their size from the parameters."""

    _quantized_cdf: Tensor
    _cdf_length: Tensor
    _offset: Tensor

    def __init__(self, likelihood_bound: float = 1e-9) -> None:
        super().__init__()
        self.use_likelihood_bound = likelihood_bound > 0
        if self.use_likelihood_bound:
            self.likelihood_lower_bound = LowerBound(likelihood_bound)
        for name in TABLE_BUFFERS:
            self.register_buffer(name, torch.empty(0, dtype=torch.int32))
        self._tables: CdfTables | None = None

    def centre(self, size: torch.Size, *params: Tensor) -> Tensor | None:
        """What is subtracted before a tensor of that size is rounded; broadcasts against it."""
        raise NotImplementedError

    def indexes(self, size: torch.Size, *params: Tensor) -> Tensor:
        """The row of the tables for every element of a tensor of that size, int32."""
        raise NotImplementedError

    def size(self, *params: Tensor) -> torch.Size:
        """The size of the tensor that the parameters describe."""
        return params[0].shape

    def quantized(self, y: Tensor, *params: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The symbols of ``y``, int32, what a decoder will see of it, and the rows of the tables if known."""
        centre = self.centre(y.shape, *params)
        symbols = self.quantize(y, "symbols", centre)
        return symbols, self.dequantize(symbols, centre), None

    def encode(self, symbols: Tensor, *params: Tensor) -> list[bytes]:
        """One string for each batch item of ``symbols``, int32 (batch, channels, ...)."""
        return self.encode_rows(symbols, self.indexes(symbols.shape, *params))

    def encode_rows(self, symbols: Tensor, rows: Tensor) -> list[bytes]:
        """What ``encode`` gives, from the rows of the tables."""
        return encode_batch(self.tables, symbols, rows, self.coder)

    def decode(self, strings: Sequence[bytes], size: torch.Size, *params: Tensor) -> Tensor:
        """The symbols that ``encode`` coded, int32 of that size."""
        indexes = self.indexes(size, *params)
        return decode_batch(self.tables, strings, indexes, self.coder)

    def writer(self) -> Writer:
        """A string to be written a part at a time."""
        return TableWriter(self)

    def reader(self, string: bytes, count: int) -> Reader:
        """The ``count`` symbols of a string, to be read a part at a time."""
        return DeviceReader.of(self, string, count) or TableReader(self, string, count)

    def build_tables(self) -> CdfTables:
        """New tables from the density as it is now."""
        raise NotImplementedError

    @property
    def tables(self) -> CdfTables:
        """The frozen coding tables; :class:`TablesMissingError` when there are none."""
        if not self.has_tables:
            raise TablesMissingError(
                f"this {type(self).__name__} has no coding tables: load a checkpoint that was saved with them, "
                "or call update() on the encoding side (tables are never rebuilt where files are decoded)"
            )
        if self._tables is None:
            cdf, length, offset = (getattr(self, name).cpu().numpy() for name in TABLE_BUFFERS)
            self._tables = CdfTables(cdf, length, offset)
        return self._tables

    @property
    def has_tables(self) -> bool:
        """Whether coding tables have been built or loaded."""
        return self._quantized_cdf.numel() > 0

    def update(self, force: bool = False) -> bool:
        """Builds the tables if there are none, or anew with ``force``; returns whether it did."""
        if self.has_tables and not force:
            return False
        self._tables = self.build_tables()
        device = self._quantized_cdf.device
        for name, array in zip(
            TABLE_BUFFERS, (self._tables.cdfs, self._tables.sizes, self._tables.offsets), strict=True
        ):
            setattr(self, name, torch.tensor(array, dtype=torch.int32, device=device))
        return True

    def ensure_tables(self) -> None:
        """Builds the tables if there are none: what ``compress`` does for those who never heard of ``update``."""
        self.update()

    def forget_tables(self) -> None:
        """Drops the tables; the next ``compress`` builds them anew."""
        if self.has_tables:
            for name in TABLE_BUFFERS:
                setattr(self, name, torch.empty(0, dtype=torch.int32, device=self._quantized_cdf.device))
            self._tables = None

    def quantize(self, inputs: Tensor, mode: str, means: Tensor | None = None) -> Tensor:
        """``inputs`` quantised by ``mode``.

        ``"noise"`` adds uniform noise of width one (and ignores ``means``); ``"dequantize"`` rounds around the means;
        ``"symbols"`` returns the rounded differences as int32. Rounding is half to even.
        """
        if mode == "noise":
            return add_noise(inputs)
        if mode not in ("dequantize", "symbols"):
            raise InputError(f"unknown quantisation mode {mode!r}: expected 'noise', 'dequantize' or 'symbols'")
        rounded = torch.round(inputs if means is None else inputs - means)
        if mode == "symbols":
            return rounded.int()
        return rounded if means is None else rounded + means

    @staticmethod
    def dequantize(inputs: Tensor, means: Tensor | None = None, dtype: torch.dtype = torch.float) -> Tensor:
        """Symbols back to values: ``inputs + means``, in the means' dtype if there are means."""
        return inputs.to(dtype) if means is None else inputs.to(means.dtype) + means

    def compress(self, inputs: Tensor, indexes: Tensor, means: Tensor | None = None) -> list[bytes]:
        """One string for each batch item; ``inputs`` and ``indexes`` are of one size, (batch, ...)."""
        if inputs.ndim < 2:
            raise InputError(f"inputs of size {tuple(inputs.shape)}: expected at least a batch and a channel axis")
        if inputs.shape != indexes.shape:
            raise InputError(
                f"inputs are {tuple(inputs.shape)} but indexes are {tuple(indexes.shape)}: they must agree"
            )
        if not torch.isfinite(inputs).all():
            raise InputError("the tensor to be coded has NaN or infinite elements: check the input and the weights")
        self.ensure_tables()
        symbols = self.quantize(inputs, "symbols", means)
        return encode_batch(self.tables, symbols, indexes, self.coder)

    def decompress(
        self,
        strings: Sequence[bytes],
        indexes: Tensor,
        dtype: torch.dtype = torch.float,
        means: Tensor | None = None,
    ) -> Tensor:
        """The tensor that ``compress`` coded, of the size of ``indexes``."""
        if not isinstance(strings, list | tuple) or len(strings) != indexes.shape[0]:
            raise InputError(f"expected a list of {indexes.shape[0]} strings, one for each batch item")
        return self.dequantize(decode_batch(self.tables, strings, indexes, self.coder), means, dtype)

    def bounded(self, likelihood: Tensor) -> Tensor:
        return self.likelihood_lower_bound(likelihood) if self.use_likelihood_bound else likelihood

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Tables are as long as the training left them, so the buffers take the checkpoint's size first.
        for name in TABLE_BUFFERS:
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, torch.empty_like(saved, dtype=torch.int32, device=getattr(self, name).device))
        self._tables = None
        super()._load_from_state_dict(state_dict, prefix, *args)
