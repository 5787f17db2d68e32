"""What a latent codec tells its flow to: the same lines estimate a rate, encode or decode, by the stream passed in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Container, Sequence

import torch
from torch import Tensor

from tinify.entropy_models import EntropyModel
from tinify.errors import CorruptStreamError, InputError
from tinify.ops import quantize_ste

Shape = torch.Size | dict[str, torch.Size] | None


class Stream(ABC):
    """The place where a tensor becomes what the decoder will see of it.

    ``name`` is the name under which likelihoods and shapes are kept: the path of the ``at`` calls, or ``"y"`` at the
    root.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name or "y"
        self._path = name

    @abstractmethod
    def _child(self, name: str, last: bool) -> Stream: ...

    def at(self, name: str, last: bool = False) -> Stream:
        """The stream of a part; ``last`` puts its strings after all others, whenever it is coded."""
        return self._child(f"{self._path}.{name}" if self._path else name, last)

    @abstractmethod
    def code(self, model: EntropyModel, y: Tensor | None, *params: Tensor, quantizer: str = "noise") -> Tensor:
        """Codes ``y`` (None when decoding) by ``model`` under ``params``; returns ``y_hat``.

        ``quantizer`` says what training sees of ``y``: ``"noise"`` added, or ``"ste"``, rounded with a straight-through
        gradient.
        """


def _once(name: str, coded: Container[str]) -> None:
    if name in coded:
        raise InputError(f"latent {name!r} is coded twice: give each part a name of its own with stream.at(NAME)")


class Estimate(Stream):
    """Quantises by the training proxy and keeps the likelihoods."""

    def __init__(self, name: str = "", likelihoods: dict[str, Tensor] | None = None) -> None:
        super().__init__(name)
        self.likelihoods: dict[str, Tensor] = {} if likelihoods is None else likelihoods

    def _child(self, name: str, last: bool) -> Estimate:
        return Estimate(name, self.likelihoods)

    def code(self, model: EntropyModel, y: Tensor | None, *params: Tensor, quantizer: str = "noise") -> Tensor:
        assert y is not None, "only a decoding stream knows a latent that it was not given"
        _once(self.name, self.likelihoods)
        y_hat: Tensor
        y_hat, self.likelihoods[self.name] = model(y, *params)
        if quantizer == "noise":
            return y_hat
        if quantizer != "ste":
            raise InputError(f"unknown quantizer {quantizer!r}: expected 'noise' or 'ste'")
        y = y.float()
        centre = model.centre(y.shape, *params)
        return quantize_ste(y) if centre is None else quantize_ste(y - centre) + centre


class Encode(Stream):
    """Rounds, and keeps one string for each batch item of every coded tensor."""

    def __init__(self, name: str = "", root: Encode | None = None, last: bool = False) -> None:
        super().__init__(name)
        self._root = root or self
        self._last = last
        if root is None:
            self._strings: tuple[list[list[bytes]], list[list[bytes]]] = ([], [])
            self._shapes: dict[str, torch.Size | None] = {}

    def _child(self, name: str, last: bool) -> Encode:
        return Encode(name, self._root, last or self._last)

    @property
    def strings(self) -> list[list[bytes]]:
        """A list for each coded tensor (those marked ``last`` at the end) of one string for each batch item."""
        first, last = self._root._strings
        return [*first, *reversed(last)]  # a decoder takes those marked last from the end

    @property
    def shape(self) -> Shape:
        """Spatial sizes that a decoder cannot derive: of the latents coded without parameters; alone if only one."""
        shapes = {name: size for name, size in self._root._shapes.items() if size is not None}
        return next(iter(shapes.values())) if len(shapes) == 1 else shapes

    def code(self, model: EntropyModel, y: Tensor | None, *params: Tensor, quantizer: str = "noise") -> Tensor:
        assert y is not None, "only a decoding stream knows a latent that it was not given"
        _once(self.name, self._root._shapes)
        y = y.float()
        if not torch.isfinite(y).all():
            raise InputError(f"latent {self.name} has NaN or infinite elements: check the picture and the weights")
        model.ensure_tables()
        centre = model.centre(y.shape, *params)
        symbols = model.quantize(y, "symbols", centre)
        indexes = model.indexes(y.shape, *params)
        strings = model.tables.encode_batch(symbols.cpu().numpy(), indexes.cpu().numpy(), coder=model.coder)
        self._root._strings[self._last].append(strings)
        self._root._shapes[self.name] = None if params else y.shape[2:]
        return model.dequantize(symbols, centre)


class Decode(Stream):
    """Ignores the latent it is given and reads it from strings."""

    def __init__(self, strings: Sequence[Sequence[bytes]], shape: Shape, name: str = "", last: bool = False) -> None:
        super().__init__(name)
        self._strings = strings if isinstance(strings, deque) else deque(strings)
        self._shape = shape
        self._last = last

    def _child(self, name: str, last: bool) -> Decode:
        return Decode(self._strings, self._shape, name, last or self._last)

    def code(self, model: EntropyModel, y: Tensor | None, *params: Tensor, quantizer: str = "noise") -> Tensor:
        if not self._strings:
            raise CorruptStreamError(f"no strings are left for latent {self.name}: was this coded by another model?")
        strings = self._strings.pop() if self._last else self._strings.popleft()
        size = params[0].shape if params else self._unconditioned(model, len(strings))
        indexes = model.indexes(size, *params)
        if len(strings) != size[0]:
            raise InputError(f"latent {self.name} has {len(strings)} strings for a batch of {size[0]}")
        symbols = model.tables.decode_batch(list(strings), indexes.cpu().numpy(), coder=model.coder)
        return model.dequantize(torch.from_numpy(symbols).to(indexes.device), model.centre(size, *params))

    def finish(self) -> None:
        """Checks that every string was used."""
        if self._strings:
            raise CorruptStreamError(f"{len(self._strings)} strings are left over: was this coded by another model?")

    def _unconditioned(self, model: EntropyModel, batch: int) -> torch.Size:
        """The size of a latent coded without parameters."""
        spatial = self._shape.get(self.name) if isinstance(self._shape, dict) else self._shape
        if spatial is None:
            raise InputError(f"the shape of latent {self.name} is needed to decode it; got {self._shape!r}")
        return torch.Size((batch, model.channels, *spatial))
