"""The factorized prior: a learned density for each channel, with no side information."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinify.coders import CdfTables, pmfs_to_quantized_cdfs
from tinify.entropy_models.base import EntropyModel, full_precision

# A row longer than this spends more on its own floor (one unit of 65536 a symbol) than an escape costs.
_MAX_REACH = 8191


class EntropyBottleneck(EntropyModel):
    """A fully factorized density: one learned, monotone cumulative function for each channel.

    ``forward(x)`` takes (batch, channels, ...) of any rank from 2 and returns ``(x_hat, likelihood)``, both like ``x``:
    in training mode with uniform noise, else rounded around the medians. ``tail_mass`` is the probability left outside
    the tables, in all.
    Ballé et al., Variational Image Compression with a Scale Hyperprior, ICLR 2018, appendix 6.1.

    >>> x_hat, likelihood = EntropyBottleneck(4)(torch.randn(2, 4, 8, 8))
    >>> likelihood.shape
    torch.Size([2, 4, 8, 8])
    """

    target: Tensor

    def __init__(
        self,
        channels: int,
        tail_mass: float = 1e-9,
        init_scale: float = 10,
        filters: tuple[int, ...] = (3, 3, 3, 3),
        likelihood_bound: float = 1e-9,
    ) -> None:
        super().__init__(likelihood_bound)
        self.channels = channels
        self.filters = tuple(filters)
        self.tail_mass = float(tail_mass)
        widths = (1, *self.filters, 1)
        scale = float(init_scale) ** (1 / (len(self.filters) + 1))
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for narrow, wide in pairwise(widths):
            start = math.log(math.expm1(1 / scale / wide))
            self.matrices.append(nn.Parameter(torch.full((channels, wide, narrow), start)))
            self.biases.append(nn.Parameter(torch.empty(channels, wide, 1).uniform_(-0.5, 0.5)))
        for wide in self.filters:
            self.factors.append(nn.Parameter(torch.zeros(channels, wide, 1)))
        self.quantiles = nn.Parameter(torch.tensor([-init_scale, 0.0, init_scale]).repeat(channels, 1, 1))
        logit = math.log(2 / self.tail_mass - 1)
        self.register_buffer("target", torch.tensor([-logit, 0.0, logit]))

    def _logits_cumulative(self, x: Tensor, frozen: bool = False) -> Tensor:
        """Logits of the cumulative function at ``x``, (channels, 1, n); ``frozen`` keeps gradients from the density."""
        dtype = x.dtype

        def held(parameter: Tensor) -> Tensor:
            return (parameter.detach() if frozen else parameter).to(dtype)

        for matrix, bias, factor in zip(self.matrices, self.biases, [*self.factors, None], strict=True):
            x = torch.matmul(F.softplus(held(matrix)), x) + held(bias)
            if factor is not None:
                x = x + torch.tanh(held(factor)) * torch.tanh(x)
        return x

    def interval(self, x: Tensor, width: Tensor | float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """Likelihood of the interval of that width around ``x``, (channels, 1, n), and the logits at its two ends."""
        lower, upper = self._logits_cumulative(x - width / 2), self._logits_cumulative(x + width / 2)
        return torch.sigmoid(upper) - torch.sigmoid(lower), lower, upper

    @property
    def medians(self) -> Tensor:
        """The centre of each channel, (channels,)."""
        return self.quantiles[:, 0, 1]

    def centre(self, size: torch.Size, *params: Tensor) -> Tensor:
        return self.medians.reshape(1, -1, *[1] * (len(size) - 2))

    def indexes(self, size: torch.Size, *params: Tensor) -> Tensor:
        channel = torch.arange(self.channels, dtype=torch.int32, device=self.quantiles.device)
        return channel.reshape(1, -1, *[1] * (len(size) - 2)).expand(size)

    def forward(self, x: Tensor, training: bool | None = None) -> tuple[Tensor, Tensor]:
        training = self.training if training is None else training
        if training:
            self.forget_tables()
        with full_precision(x):
            x = x.float()
            x_hat = self.quantize(x, "noise" if training else "dequantize", self.centre(x.shape))
            rows = x_hat.transpose(0, 1)
            likelihood, _, _ = self.interval(rows.reshape(self.channels, 1, -1))
            likelihood = self.bounded(likelihood).reshape(rows.shape).transpose(0, 1)
        return x_hat, likelihood

    def loss(self) -> Tensor:
        """The field's auxiliary loss, which trains ``quantiles``; not needed where :meth:`solve_quantiles` is used."""
        return torch.abs(self._logits_cumulative(self.quantiles, frozen=True) - self.target).sum()

    @torch.no_grad()
    def solve_quantiles(self, medians: bool = True) -> None:
        """Sets ``quantiles`` (lower tail, median, upper tail) by bisection of the cumulative function.

        ``medians=False`` leaves the medians, around which values are rounded, where training had them.
        """
        low, high = (torch.full_like(self.quantiles, side).double() for side in (-1.0, 1.0))
        for _ in range(40):  # the function is monotone, so a bracket exists at some power of two
            low = torch.where(self._logits_cumulative(low) > self.target, low * 2, low)
            high = torch.where(self._logits_cumulative(high) < self.target, high * 2, high)
        for _ in range(64):
            middle = (low + high) / 2
            below = self._logits_cumulative(middle) < self.target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        solved = (low + high) / 2
        if not medians:
            solved[..., 1] = self.quantiles[..., 1]
        self.quantiles.copy_(solved)

    def update(self, force: bool = False, update_quantiles: bool = False) -> bool:
        """Builds the tables if there are none, or anew with ``force``; returns whether it did.

        Their reach and the medians are those of ``quantiles``, which ``update_quantiles`` first sets by bisection, as
        the field does; it moves the grid that values are rounded to.
        """
        if self.has_tables and not force:
            return False
        if update_quantiles:
            self.solve_quantiles()
        return super().update(force)

    def ensure_tables(self) -> None:
        """Builds the tables if there are none, their tails set by bisection: nothing has to have trained them.

        The medians stay: what was trained with rounded values (``quantizer: ste``) knows no other grid than theirs.
        """
        if not self.has_tables:
            self.solve_quantiles(medians=False)
            self.update()

    def build_tables(self) -> CdfTables:
        return self.tables_at(1.0)

    @torch.no_grad()
    def tables_at(self, step: float) -> CdfTables:
        """Tables of ``x / step``, which is what a quantiser of that step codes."""
        low, median, high = (self.quantiles.detach()[:, 0] / step).unbind(1)
        minima = torch.ceil(median - low).clamp(0, _MAX_REACH).int()
        maxima = torch.ceil(high - median).clamp(0, _MAX_REACH).int()
        length = minima + maxima + 1
        samples = torch.arange(int(length.max()), device=median.device)
        samples = samples[None, None] + (median - minima)[:, None, None]
        pmf, lower, upper = self.interval(samples * step, step)
        tail = (torch.sigmoid(lower[:, 0, :1]) + torch.sigmoid(-upper[:, 0, -1:])).cpu().numpy()
        rows = pmfs_to_quantized_cdfs(pmf[:, 0].cpu().numpy(), tail, length.cpu().numpy())
        return CdfTables(rows, length.cpu().numpy() + 2, -minima.cpu().numpy())

    def compress(self, x: Tensor) -> list[bytes]:  # type: ignore[override]
        """One string for each batch item of ``x``, (batch, channels, ...)."""
        self.ensure_tables()
        return super().compress(x, self.indexes(x.shape), self.centre(x.shape))

    def decompress(self, strings: list[bytes], size: tuple[int, ...]) -> Tensor:  # type: ignore[override]
        """The rounded tensor, (len(strings), channels, *size); ``size`` is the spatial size alone."""
        full = torch.Size((len(strings), self.channels, *size))
        return super().decompress(strings, self.indexes(full), means=self.centre(full))
