"""What a latent codec tells its flow to: the same lines estimate a rate, encode or decode, by the stream passed in."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from tinify.entropy_models import EntropyModel
from tinify.errors import CorruptStreamError, InputError
from tinify.latent_codecs.serial import Serial, SerialDecoder, SerialEncoder
from tinify.latent_codecs.witness import see
from tinify.ops import add_noise, quantize_ste

Quality = float | Tensor | tuple[Any, ...] | None
"""A number, one for each batch item, or what a codec made of it for its parts."""

Shape = Any
"""What a decoder cannot derive: a spatial size, or a mapping of such sizes by the names of latents."""


@dataclass(frozen=True, eq=False)
class Place:
    """Which part of a latent a stream codes, and where its strings go."""

    path: str = ""
    last: bool = False
    groups: tuple[int, ...] = ()
    where: Tensor | None = None

    @property
    def name(self) -> str:
        return self.path or "y"

    @property
    def key(self) -> str:
        """The name, with the groups of channels if there are some."""
        return self.name + "".join(f"[{group}]" for group in self.groups)

    def positions(self, size: torch.Size) -> int:
        """How many positions of a latent of that size are coded."""
        return math.prod(size[2:]) if self.where is None else int(self.where.sum())

    def take(self, x: Tensor) -> Tensor:
        """The elements that are coded: all, or (batch, channels, positions)."""
        return x if self.where is None else x.flatten(2)[:, :, self.where.flatten().nonzero()[:, 0].to(x.device)]

    def put(self, taken: Tensor) -> Tensor:
        """The inverse of ``take``, with zeros elsewhere."""
        if self.where is None:
            return taken
        full = taken.new_zeros(*taken.shape[:2], self.where.numel())
        full[:, :, self.where.flatten().nonzero()[:, 0].to(taken.device)] = taken
        return full.reshape(*taken.shape[:2], *self.where.shape)

    def leave(self, x: Tensor, otherwise: float | Tensor = 0.0) -> Tensor:
        """``x`` where it is coded."""
        return x if self.where is None else torch.where(self.where.to(x.device), x, otherwise)


class Stream(ABC):
    """The place where a tensor becomes what the decoder will see of it.

    Likelihoods and shapes are kept by name: the path of the ``at`` calls, or ``"y"`` at the root. ``at``, ``group``,
    ``only`` and ``asked`` give the stream of a part. ``quality`` is what a codec of variable rate was asked for: a
    number, or one for each batch item.
    """

    def __init__(self, name: str = "", quality: Quality = None) -> None:
        self.place = Place(name)
        self.quality = quality
        self._coded: dict[str, Tensor | bool] = {}

    def _view(self, **changes: Any) -> Self:
        view = copy.copy(self)  # what has been coded is shared
        view.place = replace(self.place, **changes)
        return view

    def at(self, name: str, last: bool = False) -> Self:
        """The stream of a part; ``last`` puts its strings after all others, whenever it is coded."""
        path = f"{self.place.path}.{name}" if self.place.path else name
        return self._view(path=path, last=last or self.place.last)

    def group(self, index: int) -> Self:
        """The stream of a group of channels; likelihoods of all groups are joined along the channels, in order."""
        return self._view(groups=(*self.place.groups, index))

    def asked(self, quality: Quality) -> Self:
        """The stream with another quality: what a codec makes of it for its parts, such as a gain."""
        view = copy.copy(self)
        view.quality = quality
        return view

    def only(self, where: Tensor) -> Self:
        """The stream of the positions where a boolean (height, width) is true; ``y_hat`` is zero elsewhere."""
        where = where.cpu()
        return self._view(where=where if self.place.where is None else where & self.place.where)

    @abstractmethod
    def code(self, model: EntropyModel, y: Tensor | None, *params: Tensor, quantizer: str = "noise") -> Tensor:
        """Codes ``y`` (None when decoding) by ``model`` under ``params``; returns ``y_hat``.

        ``quantizer`` says what training sees of ``y``: ``"noise"`` added, or ``"ste"``, rounded with a straight-through
        gradient.
        """

    def proxy(self, y: Tensor | None, training: bool) -> Tensor | None:
        """What a context model may take for all of ``y_hat`` at once where only a rate is asked for, else None.

        It is ``y`` with noise in training, and rounded otherwise.
        """
        return None

    def serial(self, model: EntropyModel, y: Tensor | None, size: torch.Size) -> Serial:
        """Codes a latent of that size a few positions at a time; not for a stream that gives a proxy."""
        raise NotImplementedError

    def _once(self) -> None:
        """Marks the place as coded; raises where it was before."""
        key, where = self.place.key, self.place.where
        before = self._coded.get(key)
        if before is True or (before is not None and (where is None or bool((before & where).any()))):
            raise InputError(
                f"latent {self.place.name!r} is coded twice: give each part a name of its own with stream.at(NAME)"
            )
        self._coded[key] = True if where is None else where if before is None else before | where


class Estimate(Stream):
    """Quantises by the training proxy and keeps the likelihoods."""

    def __init__(self, name: str = "", quality: Quality = None) -> None:
        super().__init__(name, quality)
        self._kept: dict[str, dict[tuple[int, ...], Tensor]] = {}

    @property
    def likelihoods(self) -> dict[str, Tensor]:
        """The likelihoods by name, each like the latent."""
        groups = {name: [parts[key] for key in sorted(parts)] for name, parts in self._kept.items()}
        return {name: parts[0] if len(parts) == 1 else torch.cat(parts, 1) for name, parts in groups.items()}

    def code(self, model: EntropyModel, y: Tensor | None, *params: Tensor, quantizer: str = "noise") -> Tensor:
        assert y is not None, "only a decoding stream knows a latent that it was not given"
        self._once()
        y_hat, likelihood = model(y, *params)
        parts = self._kept.setdefault(self.place.name, {})
        # What is not coded costs nothing: its likelihood is one.
        parts[self.place.groups] = self.place.leave(likelihood, parts.get(self.place.groups, 1.0))
        if quantizer == "noise":
            return self.place.leave(y_hat)
        if quantizer != "ste":
            raise InputError(f"unknown quantizer {quantizer!r}: expected 'noise' or 'ste'")
        y = y.float()
        centre = model.centre(y.shape, *params)
        return self.place.leave(quantize_ste(y) if centre is None else quantize_ste(y - centre) + centre)

    def proxy(self, y: Tensor | None, training: bool) -> Tensor:
        assert y is not None, "only a decoding stream knows a latent that it was not given"
        y = y.float()
        return self.place.leave(add_noise(y) if training else torch.round(y))


class Encode(Stream):
    """Rounds, and keeps one string for each batch item of every coded tensor."""

    def __init__(self, name: str = "", quality: Quality = None) -> None:
        super().__init__(name, quality)
        self._strings: tuple[list[list[bytes]], list[list[bytes]]] = ([], [])
        self._shapes: dict[str, torch.Size] = {}

    @property
    def strings(self) -> list[list[bytes]]:
        """A list for each coded tensor (those marked ``last`` at the end) of one string for each batch item."""
        first, last = self._strings
        return [*first, *reversed(last)]  # a decoder takes those marked last from the end

    @property
    def shape(self) -> Shape:
        """Spatial sizes that a decoder cannot derive: of the latents coded without parameters; alone if only one."""
        return next(iter(self._shapes.values())) if len(self._shapes) == 1 else self._shapes

    def code(self, model: EntropyModel, y: Tensor | None, *params: Tensor, quantizer: str = "noise") -> Tensor:
        y = self._begin(model, y)
        symbols, y_hat, rows = model.quantized(y, *params)
        taken, *others = map(self.place.take, (symbols, *(params if rows is None else (rows,))))
        see(taken)
        self.keep(model.encode(taken, *others) if rows is None else model.encode_rows(taken, *others))
        if not params:
            self._shapes[self.place.key] = y.shape[2:]
        return self.place.leave(y_hat)

    def serial(self, model: EntropyModel, y: Tensor | None, size: torch.Size) -> Serial:
        return SerialEncoder(model, self._begin(model, y), self.place.where, self.keep)

    def keep(self, strings: list[bytes]) -> None:
        """Takes the strings of the place, one for each batch item."""
        self._strings[self.place.last].append(strings)

    def _begin(self, model: EntropyModel, y: Tensor | None) -> Tensor:
        assert y is not None, "only a decoding stream knows a latent that it was not given"
        self._once()
        y = y.float()
        if not torch.isfinite(y).all():
            raise InputError(
                f"latent {self.place.name} has NaN or infinite elements: check the picture and the weights"
            )
        model.ensure_tables()
        return y


class Decode(Stream):
    """Ignores the latent it is given and reads it from strings."""

    def __init__(
        self, strings: Iterable[Sequence[bytes]], shape: Shape, name: str = "", quality: Quality = None
    ) -> None:
        super().__init__(name, quality)
        self._strings = deque(strings)
        self._shape = shape

    def code(self, model: EntropyModel, y: Tensor | None, *params: Tensor, quantizer: str = "noise") -> Tensor:
        strings = self._next()
        size = model.size(*params) if params else self._unconditioned(model, len(strings))
        self._check(strings, size[0])
        taken = size if self.place.where is None else torch.Size((*size[:2], self.place.positions(size)))
        symbols = model.decode(strings, taken, *map(self.place.take, params))
        see(symbols)
        return self.place.leave(model.dequantize(self.place.put(symbols), model.centre(size, *params)))

    def serial(self, model: EntropyModel, y: Tensor | None, size: torch.Size) -> Serial:
        strings = self._next()
        self._check(strings, size[0])
        return SerialDecoder(model, strings, size[1] * self.place.positions(size), self.place.where)

    def finish(self) -> None:
        """Checks that every string was used."""
        if self._strings:
            raise CorruptStreamError(f"{len(self._strings)} strings are left over: was this coded by another model?")

    def _next(self) -> Sequence[bytes]:
        if not self._strings:
            raise CorruptStreamError(
                f"no strings are left for latent {self.place.name}: was this coded by another model?"
            )
        return self._strings.pop() if self.place.last else self._strings.popleft()

    def _check(self, strings: Sequence[bytes], batch: int) -> None:
        if len(strings) != batch:
            raise InputError(f"latent {self.place.name} has {len(strings)} strings for a batch of {batch}")

    def _unconditioned(self, model: EntropyModel, batch: int) -> torch.Size:
        """The size of a latent coded without parameters."""
        spatial = self._shape
        if isinstance(spatial, dict):  # the field's hyperpriors call the shape of z that of their part
            spatial = spatial.get(self.place.key, spatial.get("hyper"))
        if spatial is None:
            raise InputError(f"the shape of latent {self.place.name} is needed to decode it; got {self._shape!r}")
        return torch.Size((batch, model.channels, *spatial))
