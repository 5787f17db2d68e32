"""The entropy model of latents whose density does not depend on the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tinify.coders import CdfTables
from tinify.distributions import quantization_offset as offset_of
from tinify.entropy_models.continuous import ContinuousEntropyModel, Strings, flatten, tables_of
from tinify.errors import InputError
from tinify.ops import round_st


class ContinuousBatchedEntropyModel(ContinuousEntropyModel):
    """A prior over the innermost axes of a latent; all that stands left of them is independent and alike.

    ``prior`` is a noisy distribution of :mod:`tinify.distributions`, or a function of no arguments that makes one from
    parameters whenever it is needed. ``model(y, training=None)`` returns ``(y_hat, bits)``, ``bits`` of shape
    ``y.shape[:-coding_rank]``: of ``y`` with noise in training, which overestimates the length of strings, else of
    ``y`` rounded, which underestimates it.

    ``compression=True`` builds the coding tables, ``tail_mass`` of the density being left to escapes. Values are
    rounded to the integers shifted by ``quantization_offset``, or else, with ``offset_heuristic``, by that of the prior
    (which is fixed when tables are built). ``expected_grads`` gives training the exact gradient of the mean over the
    noise; ``laplace_tail_mass`` mixes so much of a noisy Laplace distribution in, so that outliers cost finite bits.
    ``decode_sanity_check=False`` lets any bytes decode to something. A model without a prior, but with the
    ``prior_shape`` that it had, decodes by the tables of a state dict. Ballé et al., ICLR 2018.

    >>> from tinify.distributions import NoisyLogistic
    >>> model = ContinuousBatchedEntropyModel(NoisyLogistic(torch.zeros(10), 1.0), coding_rank=1, compression=True)
    >>> y_hat, bits = model(torch.zeros(32, 10), training=False)
    >>> bits.shape, round(bits[0].item(), 3)
    (torch.Size([32]), 20.296)
    >>> strings = model.compress(torch.zeros(32, 10))
    >>> len(strings[0]), model.decompress(strings, ()).shape
    (3, torch.Size([32, 10]))
    """

    quantization_offset: Tensor

    def __init__(
        self,
        prior: Any | Callable[[], Any] = None,
        coding_rank: int = 1,
        compression: bool = False,
        *,
        expected_grads: bool = False,
        tail_mass: float = 2**-8,
        prior_shape: Sequence[int] | None = None,
        offset_heuristic: bool = True,
        quantization_offset: Tensor | float | None = None,
        decode_sanity_check: bool = True,
        laplace_tail_mass: float = 0.0,
    ) -> None:
        super().__init__(
            coding_rank,
            expected_grads=expected_grads,
            tail_mass=tail_mass,
            decode_sanity_check=decode_sanity_check,
            laplace_tail_mass=laplace_tail_mass,
        )
        if (prior is None) == (prior_shape is None):
            raise InputError("give a prior, or the prior_shape of one whose tables will be loaded; one of the two")
        self.source = prior
        shape = self.prior.batch_shape if prior_shape is None else prior_shape
        self.prior_shape = torch.Size(shape)
        if len(self.prior_shape) > coding_rank or not self.prior_shape.numel():
            raise InputError(
                f"a prior of shape {tuple(self.prior_shape)} with a coding_rank of {coding_rank}: "
                "expected elements along no more axes than make a string"
            )
        if prior is not None and len(getattr(self.prior, "event_shape", ())):
            raise InputError(f"a prior with events of shape {tuple(self.prior.event_shape)}: expected scalars")
        self.offset_heuristic = offset_heuristic
        self._fixed = quantization_offset is not None
        fixed = torch.empty(0) if quantization_offset is None else torch.as_tensor(quantization_offset).detach()
        self.register_buffer("quantization_offset", fixed)
        if compression:
            self.update()

    @property
    def prior(self) -> Any:
        """The distribution as its parameters are now."""
        if self.source is None:
            raise InputError("this entropy model has no prior, only tables: it can compress, and cannot say how well")
        return self.source if hasattr(self.source, "log_prob") else self.source()

    def forward(self, y: Tensor, training: bool | None = None) -> tuple[Tensor, Tensor]:
        return self._estimate(self.prior, self._checked(y), training, self.quantize)

    def quantize(self, y: Tensor) -> Tensor:  # type: ignore[override]
        """``y`` rounded to what can be coded, with the gradient of the identity."""
        return round_st(y, self._shift(y))

    @torch.no_grad()
    def compress(self, y: Tensor) -> Strings:  # type: ignore[override]
        """The strings, a nested list of shape ``y.shape[:-coding_rank]``.

        Raises :class:`~tinify.errors.TablesMissingError` for a model that was not made for compression, and
        :class:`~tinify.errors.InputError` for a latent of another shape, or that is not finite.
        """
        wide = self._checked(y).double()
        return self._encode(torch.round(wide - self._shift(wide)), self._rows(y.shape))

    @torch.no_grad()
    def decompress(self, strings: Strings, broadcast_shape: Sequence[int] = ()) -> Tensor:  # type: ignore[override]
        """The quantised latent, of the shape of ``strings`` followed by ``broadcast_shape`` and ``prior_shape``.

        ``broadcast_shape`` are the axes of a coding unit that the prior has not, ``coding_rank - len(prior_shape)``.
        """
        broadcast = torch.Size(broadcast_shape)
        if len(broadcast) != self.coding_rank - len(self.prior_shape) or any(size < 0 for size in broadcast):
            raise InputError(
                f"broadcast_shape {tuple(broadcast)}: expected {self.coding_rank - len(self.prior_shape)} sizes, those "
                f"of a coding unit left of the prior's {tuple(self.prior_shape)}"
            )
        flat, batch = flatten(strings)
        symbols = self._decode(flat, self._rows(batch + broadcast + self.prior_shape))
        dtype = self.quantization_offset.dtype
        return symbols.to(dtype) + self._shift(symbols.to(dtype))

    def build_tables(self) -> CdfTables:
        prior = self.prior
        if not self._fixed:
            found = offset_of(prior) if self.offset_heuristic else torch.zeros(())
            self.quantization_offset = found.to(self.quantization_offset.device)
        return tables_of(prior, self.quantization_offset, self.tail_mass)

    def _shift(self, like: Tensor) -> Tensor:
        """What is subtracted before rounding."""
        if self.quantization_offset.numel():
            offset = self.quantization_offset
        elif self.offset_heuristic and self.source is not None:
            offset = offset_of(self.prior)
        else:
            offset = torch.zeros(())
        return offset.to(like)

    def _rows(self, shape: torch.Size) -> Tensor:
        """The row of the tables for every element of a latent."""
        rows = torch.arange(self.prior_shape.numel(), dtype=torch.int32, device=self.quantization_offset.device)
        return rows.reshape(self.prior_shape).expand(shape)

    def _checked(self, y: Tensor) -> Tensor:
        self._check_rank(y)
        rank = len(self.prior_shape)
        if y.shape[y.ndim - rank :] != self.prior_shape:
            raise InputError(
                f"a latent of shape {tuple(y.shape)}: expected one that ends in the prior's {tuple(self.prior_shape)}"
            )
        return y

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(prefix + "quantization_offset")
        if saved is not None:
            self.quantization_offset = torch.empty_like(saved, device=self.quantization_offset.device)
        super()._load_from_state_dict(state_dict, prefix, *args)
