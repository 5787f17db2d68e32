"""A mixture of Gaussians for every element: scales, means and weights of all its components are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tinify.coders.default import default_coder
from tinify.entropy_models.base import full_precision
from tinify.entropy_models.gaussian import (
    SCALES_LEVELS,
    SCALES_MAX,
    SCALES_MIN,
    GaussianConditional,
    get_scale_table,
)
from tinify.entropy_models.mixture_compat import check_finite, read_mixture, write_mixture
from tinify.errors import InputError
from tinify.ops import scale_indexes

if TYPE_CHECKING:
    from tinify.coders.mixture import MixtureCoder, MixtureDecoder

_MEAN_LIMIT = float(1 << 20)


class GaussianMixtureConditional(GaussianConditional):
    """``K`` Gaussians for every element of ``y``, (batch, M, ...), each with a scale, a mean and a weight.

    These three have ``K * M`` channels, all those of the first component before those of the second; weights add up to
    one over the components, as a softmax makes them. ``forward(y, scales, means, weights)`` returns ``(y_hat,
    likelihood)``, both like ``y``: in training mode with uniform noise, else rounded, without regard to the means.

    For coding, parameters become small integers (a scale the nearest of ``scale_table``, a mean a multiple of 1/256, a
    weight one of 1/65536), from which every symbol's probability is worked out in integers. So the strings are the
    mixture's own, whatever ``coder`` says, save that ``compress`` and ``decompress`` write and read CompressAI's under
    the coder ``compat``. The coding tables, those of :class:`~tinify.entropy_models.GaussianConditional`, are kept for
    the field's checkpoints alone. Other arguments are those of that class. Cheng et al., CVPR 2020, section 3.2.

    >>> model = GaussianMixtureConditional(K=2).eval()
    >>> ones, weights = torch.ones(1, 2, 1, 1), torch.full((1, 2, 1, 1), 0.5)
    >>> means = torch.tensor([-1.0, 1.0]).reshape(1, 2, 1, 1)
    >>> _, likelihood = model(torch.ones(1, 1, 1, 1), ones, means, weights)
    >>> round(float(likelihood), 4)
    0.2218
    """

    def __init__(self, K: int = 3, scale_table: Sequence[float] | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(scale_table, *args, **kwargs)
        if isinstance(K, bool) or not isinstance(K, int) or not 1 <= K <= 64:
            raise InputError(f"K {K!r}: expected the number of components, 1 to 64")
        self.K = K

    def centre(self, size: torch.Size, *params: Tensor) -> Tensor | None:
        return None

    def indexes(self, size: torch.Size, *params: Tensor) -> Tensor:
        raise InputError("a mixture is coded without tables, so it has no rows of them: use encode() and decode()")

    def size(self, *params: Tensor) -> torch.Size:
        self._check(params)
        batch, channels, *rest = params[0].shape
        return torch.Size((batch, channels // self.K, *rest))

    def likelihood(self, inputs: Tensor, scales: Tensor, means: Tensor, weights: Tensor) -> Tensor:  # type: ignore[override]
        """The mass of the unit interval around ``inputs``."""
        scales, means, weights = (self._apart(one) for one in (scales, means, weights))
        return (weights * super().likelihood(inputs.unsqueeze(1), scales, means)).sum(1)

    def forward(  # type: ignore[override]
        self, inputs: Tensor, scales: Tensor, means: Tensor, weights: Tensor, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        training = self.training if training is None else training
        self._check((scales, means, weights), inputs)
        with full_precision(inputs):
            inputs, scales, means, weights = inputs.float(), scales.float(), means.float(), weights.float()
            y_hat = self.quantize(inputs, "noise" if training else "dequantize")
            return y_hat, self.bounded(self.likelihood(y_hat, scales, means, weights))

    def encode(self, symbols: Tensor, *params: Tensor) -> list[bytes]:
        self._check(params, symbols)
        coder, integers = self._integer_coder(), self._integers(params)
        values = symbols.flatten(1).cpu().numpy()
        return [coder.encode(values[one], *(part[one] for part in integers)) for one in _items(len(values))]

    def decode(self, strings: Sequence[bytes], size: torch.Size, *params: Tensor) -> Tensor:
        self._check(params)
        coder, integers = self._integer_coder(), self._integers(params)
        if not isinstance(strings, list | tuple) or len(strings) != len(params[0]):
            raise InputError(f"expected a list of {len(params[0])} strings, one for each batch item")
        parts = [
            coder.decode(string, *(part[one] for part in integers))
            for string, one in zip(strings, _items(len(strings)), strict=True)
        ]
        symbols = np.concatenate(parts) if parts else np.empty(0, np.int32)
        return torch.from_numpy(symbols).reshape(size).to(params[0].device)

    def writer(self) -> MixtureWriter:
        return MixtureWriter(self)

    def reader(self, string: bytes, count: int) -> MixtureReader:
        return MixtureReader(self, string, count)

    @torch.no_grad()
    def compress(self, y: Tensor, scales: Tensor, means: Tensor, weights: Tensor) -> Any:  # type: ignore[override]
        """One string of the whole batch, and ``y`` rounded: ``((string, abs_max, zero_bitmap), y_hat)``.

        As in the field, ``abs_max`` is one more than the whole part of the greatest magnitude, and ``zero_bitmap`` has
        a 0 for each channel that is zero everywhere and a 1 for the others. ``decompress`` needs them for CompressAI's
        strings alone, those of the coder ``compat``.
        """
        self._check((scales, means, weights), y)
        if not torch.isfinite(y).all():
            raise InputError("the tensor to be coded has NaN or infinite elements: check the input and the weights")
        y_hat = torch.round(y.float())
        abs_max = 1 + int(y.abs().max()) if y.numel() else 1
        zero_bitmap = (y_hat != 0).flatten(2).any(2).any(0).long()
        if self._is_compat():
            string = write_mixture(y_hat, abs_max, zero_bitmap, [self._apart(one) for one in (scales, means, weights)])
        else:
            writer = self.writer()
            writer.write(y_hat.int(), scales, means, weights)
            string = writer.finish()
        return (string, abs_max, zero_bitmap), y_hat

    @torch.no_grad()
    def decompress(  # type: ignore[override]
        self, strings: bytes, abs_max: Any, zero_bitmap: Any, scales: Tensor, means: Tensor, weights: Tensor
    ) -> Tensor:
        """The ``y_hat`` that ``compress`` returned, float32."""
        self._check((scales, means, weights))
        if self._is_compat():
            return read_mixture(strings, abs_max, zero_bitmap, [self._apart(one) for one in (scales, means, weights)])
        reader = self.reader(strings, self.size(scales, means, weights).numel())
        symbols = reader.read(scales, means, weights)
        reader.finish()
        return symbols.float()

    def _is_compat(self) -> bool:
        return getattr(self.coder or default_coder(), "name", "") == "compat"

    def _check(self, params: Sequence[Tensor], inputs: Tensor | None = None) -> None:
        shapes = [tuple(one.shape) for one in params]
        like = "" if inputs is None else f" for a tensor of {tuple(inputs.shape)}"
        expected = f"expected scales, means and weights of one size, with {self.K} channels for each of the tensor's"
        if len(shapes) != 3 or len(set(shapes)) > 1 or len(shapes[0]) < 2 or shapes[0][1] % self.K:
            raise InputError(f"parameters of size {', '.join(map(str, shapes))}{like}: {expected}")
        batch, channels, *rest = shapes[0]
        if inputs is not None and tuple(inputs.shape) != (batch, channels // self.K, *rest):
            raise InputError(f"parameters of size {shapes[0]}{like}: {expected}")

    def _apart(self, params: Tensor) -> Tensor:
        """(batch, K, M, ...)"""
        batch, channels, *rest = params.shape
        return params.reshape(batch, self.K, channels // self.K, *rest)

    def _integer_coder(self) -> MixtureCoder:
        return _coder_of(self.scale_table.cpu().numpy().astype(np.float32).tobytes(), self.tail_mass)

    def _integers(self, params: Sequence[Tensor]) -> list[Any]:
        """Rows of the scale table, means in units of 1/256, weights in units of 1/65536: (batch, K, elements), int32.

        Every step is exact or rounds correctly, so equal parameters give equal integers on any device.
        """
        scales, means, weights = (self._apart(one.float()).flatten(2) for one in params)
        check_finite(scales, means, weights)
        table = self.scale_table.double().cpu()
        nearest = torch.cat(((table[:-1] * table[1:]).sqrt(), table[-1:])).to(scales)
        indexes = scale_indexes(self.lower_bound_scale(scales), nearest)
        means = torch.round(means.clamp(-_MEAN_LIMIT, _MEAN_LIMIT) * 256)
        weights = torch.round(weights.clamp(-1, 2) * 65536)
        return [one.int().cpu().numpy() for one in (indexes, means, weights)]


class MixtureWriter:
    """A string of a mixture, written a part at a time."""

    def __init__(self, model: GaussianMixtureConditional) -> None:
        self._model = model
        self._encoder = model._integer_coder().encoder()

    def write(self, symbols: Tensor, *params: Tensor) -> None:
        self._model._check(params, symbols)
        self._encoder.push(symbols.flatten(1).cpu().numpy(), *self._model._integers(params))

    def finish(self) -> bytes:
        return self._encoder.finish()


class MixtureReader:
    """A string of a mixture, read a part at a time."""

    def __init__(self, model: GaussianMixtureConditional, string: bytes, count: int) -> None:
        self._model = model
        self._decoder: MixtureDecoder = model._integer_coder().decoder(string, count)

    def read(self, *params: Tensor) -> Tensor:
        size = self._model.size(*params)
        symbols = self._decoder.pop(*self._model._integers(params))
        return torch.from_numpy(symbols).reshape(size).to(params[0].device)

    def finish(self) -> None:
        self._decoder.finish()


def gaussian_mixture(
    channels: int,
    components: int = 3,
    scale_min: float = SCALES_MIN,
    scale_max: float = SCALES_MAX,
    levels: int = SCALES_LEVELS,
    tail_mass: float = 1e-9,
) -> GaussianMixtureConditional:
    """A :class:`GaussianMixtureConditional` over the scale table of those bounds; the channel count is ignored."""
    table = get_scale_table(scale_min, scale_max, levels)
    return GaussianMixtureConditional(components, table.tolist(), scale_bound=scale_min, tail_mass=tail_mass)


@lru_cache(maxsize=16)
def _coder_of(scales: bytes, tail_mass: float) -> MixtureCoder:
    from tinify.coders.mixture import MixtureCoder  # numba waits until something is coded

    return MixtureCoder(np.frombuffer(scales, np.float32), tail_mass)


def _items(count: int) -> list[slice]:
    return [slice(item, item + 1) for item in range(count)]
