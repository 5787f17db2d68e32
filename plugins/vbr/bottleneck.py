"""A factorized prior whose quantisation step can be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tinify.coders import CdfTables, Coder
from tinify.entropy_models import EntropyBottleneck, EntropyModel
from tinify.entropy_models.base import TABLE_BUFFERS, full_precision
from tinify.errors import InputError
from tinify.ops import quantize_ste

__all__ = ["STEPS", "AtStep", "EntropyBottleneckVbr"]

STEPS = tuple(0.5 * 2 ** (k / 8) for k in range(49))
"""The steps that there are coding tables for, from 0.5 to 32: eight an octave."""


class EntropyBottleneckVbr(EntropyBottleneck):
    """An :class:`~tinify.entropy_models.EntropyBottleneck` that rounds in steps of ``qs``, one of ``steps``.

    :meth:`at` gives the model of what is coded at a step, ``x / qs``. Tables for all ``steps`` are built once and kept,
    so that a step may be chosen for each picture; out of training the nearest of them is taken, a ratio of at most
    1.05 away. The other methods are the field's, with ``qs`` as an argument; it is 1 where it is left out.
    Kamisli, Racapé, Choi, DCC 2024, section 3.3.

    CompressAI 1.2.8 takes the likelihood of the unit interval whatever the step, and trains neither it nor the density
    under a step; here it is the interval of width ``qs``. Its tables hold one step, that of the last ``update``.

    >>> model = EntropyBottleneckVbr(4).eval()
    >>> x = torch.randn(2, 4, 3, 3)
    >>> x_hat, likelihood = model(x, qs=2.0)
    >>> torch.equal(model.decompress(model.compress(x, qs=2.0), (3, 3), qs=2.0), x_hat)
    True
    """

    steps: Tensor

    def __init__(self, channels: int, *args: Any, steps: Sequence[float] = STEPS, **kwargs: Any) -> None:
        super().__init__(channels, *args, **kwargs)
        if not steps or min(steps) <= 0 or list(steps) != sorted(set(steps)):
            raise InputError(f"steps must be positive and rising; got {list(steps)}")
        self.own_steps = tuple(float(step) for step in steps)
        self.register_buffer("steps", torch.tensor(self.own_steps))

    def at(self, qs: Tensor | float = 1.0) -> AtStep:
        """The model of ``x / qs``; ``qs`` is a number, or one for each batch item, (batch,)."""
        asked = torch.as_tensor(qs, dtype=torch.float32, device=self.quantiles.device).reshape(-1)
        if not asked.is_meta and not bool((asked > 0).all()):
            raise InputError(f"quantisation step {qs}: expected a positive number")
        other = self._alone and not self.training and bool(((asked - self.steps).abs() > 1e-4 * self.steps).any())
        if other:
            raise InputError(
                f"quantisation step {asked.tolist()}: there are tables for {self.steps.item():g} alone, since "
                "update_variable; update(force=True) builds those for all steps"
            )
        return AtStep(self, asked)

    @property
    def _alone(self) -> bool:
        return not self.steps.is_meta and len(self.steps) == 1

    def forward(
        self, x: Tensor, training: bool | None = None, *, qs: Tensor | float | None = None, ste: bool = False
    ) -> tuple[Tensor, Tensor]:
        """``x`` rounded in steps (in training mode with noise of that width) and its likelihood, both like ``x``.

        With ``ste`` it is rounded in training mode, too, with a straight-through gradient.
        """
        view = self.at(1.0 if qs is None else qs)
        step = view.step_like(x, training)
        coded, likelihood = view(x / step, training=training)
        if ste:
            centre = view.centre(x.shape)
            coded = quantize_ste(x / step - centre) + centre
        return coded * step, likelihood

    def indexes(self, size: torch.Size, *params: Tensor) -> Tensor:
        return self.at(1.0).indexes(size)

    def update(self, force: bool = False, update_quantiles: bool = False) -> bool:
        """Builds the tables of all steps if there are none, or anew with ``force``; returns whether it did."""
        if force or not self.has_tables:
            self.steps = torch.tensor(self.own_steps, device=self.steps.device)
        return super().update(force, update_quantiles)

    def update_variable(self, force: bool = False, qs: Tensor | float = 1.0) -> bool:
        """Builds tables for the step ``qs`` alone, without ``force`` if there are none; returns whether it did."""
        if self.has_tables and not force:
            return False
        self.steps = torch.as_tensor(qs, dtype=torch.float32, device=self.steps.device).detach().reshape(-1)
        return super().update(force=True)

    def build_tables(self) -> CdfTables:
        found = [self.tables_at(step) for step in self.steps.tolist()]
        longest = max(one.cdfs.shape[1] for one in found)
        rows = [torch.nn.functional.pad(torch.tensor(one.cdfs), (0, longest - one.cdfs.shape[1])) for one in found]
        sizes, offsets = ([torch.tensor(getattr(one, name)) for one in found] for name in ("sizes", "offsets"))
        return CdfTables(*(torch.cat(parts).numpy() for parts in (rows, sizes, offsets)))

    def compress(self, x: Tensor, qs: Tensor | float | None = None) -> list[bytes]:  # type: ignore[override]
        """One string for each batch item of ``x``, (batch, channels, ...)."""
        self.ensure_tables()
        view = self.at(1.0 if qs is None else qs)
        return EntropyModel.compress(view, x / view.step_like(x), view.indexes(x.shape), view.centre(x.shape))

    def decompress(  # type: ignore[override]
        self, strings: list[bytes], size: tuple[int, ...], qs: Tensor | float | None = None
    ) -> Tensor:
        """The tensor rounded in steps, (len(strings), channels, *size); ``size`` is the spatial size alone."""
        view, full = self.at(1.0 if qs is None else qs), torch.Size((len(strings), self.channels, *size))
        coded = EntropyModel.decompress(view, strings, view.indexes(full), means=view.centre(full))
        return coded * view.step_like(coded)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.setdefault(prefix + "steps", self.steps)
        sizes = state_dict.get(prefix + "_cdf_length")
        if sizes is not None and len(sizes) != len(saved) * self.channels:
            # The field saves tables of one step, and not of which: they are built anew.
            state_dict |= {prefix + name: torch.empty(0, dtype=torch.int32) for name in TABLE_BUFFERS}
        self.steps = torch.empty_like(saved, device=self.steps.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


class AtStep(EntropyModel):
    """What an :class:`EntropyBottleneckVbr` is for ``x / step``: coded by its tables for the nearest of its steps.

    ``step`` is (batch,), or (1,) for all.
    """

    def __init__(self, prior: EntropyBottleneckVbr, step: Tensor) -> None:
        super().__init__(likelihood_bound=0)
        self.prior = prior
        self.channels = prior.channels
        self.step = step

    @property
    def coder(self) -> Coder | None:  # type: ignore[override]
        return self.prior.coder

    @property
    def tables(self) -> CdfTables:
        return self.prior.tables

    @property
    def has_tables(self) -> bool:
        return self.prior.has_tables

    def ensure_tables(self) -> None:
        self.prior.ensure_tables()

    def step_like(self, x: Tensor, training: bool | None = None) -> Tensor:
        """The step of each item of ``x``, so that it broadcasts against it; of those with tables, out of training."""
        free = self.prior.training if training is None else training
        return (self.step if free else self.prior.steps[self._level()]).reshape(-1, *[1] * (x.ndim - 1))

    def centre(self, size: torch.Size, *params: Tensor) -> Tensor:
        like = self.prior.quantiles.new_empty((1, *[1] * (len(size) - 1)))
        return EntropyBottleneck.centre(self.prior, size) / self.step_like(like)

    def indexes(self, size: torch.Size, *params: Tensor) -> Tensor:
        first = (self._level() * self.channels).int().reshape(-1, *[1] * (len(size) - 1))
        return (EntropyBottleneck.indexes(self.prior, size) + first).expand(size)

    def forward(self, x: Tensor, training: bool | None = None) -> tuple[Tensor, Tensor]:
        training = self.prior.training if training is None else training
        if training:
            self.prior.forget_tables()
        with full_precision(x):
            x = x.float()
            step = self.step_like(x, training)
            x_hat = self.quantize(x, "noise" if training else "dequantize", self.prior.centre(x.shape) / step)
            values, width = ((x_hat * step).transpose(0, 1), step.expand_as(x).transpose(0, 1))
            flat = self.channels, 1, -1
            likelihood, _, _ = self.prior.interval(values.reshape(flat), width.reshape(flat))
            return x_hat, self.prior.bounded(likelihood).reshape(values.shape).transpose(0, 1)

    def _level(self) -> Tensor:
        """Which of the prior's steps is nearest in logarithm, (batch,): all machines agree in such products."""
        steps, step = self.prior.steps.double(), self.step.detach().double()
        return (step * step > (steps[:-1] * steps[1:])[:, None]).sum(0)


def entropy_bottleneck(
    channels: int, tail_mass: float = 1e-9, init_scale: float = 10, variable: bool = True
) -> EntropyBottleneckVbr:
    """An :class:`EntropyBottleneckVbr` with tables for all of :data:`STEPS`, or for the step 1 alone."""
    return EntropyBottleneckVbr(channels, tail_mass, init_scale, steps=STEPS if variable else (1.0,))
