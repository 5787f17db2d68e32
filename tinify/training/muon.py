"""Muon: momentum whose matrices are made orthogonal, and Adam for the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# Five rounds of an odd polynomial that takes singular values from near 0 to 1 into about 0.7 to 1.2.
_ROUNDS, _A, _B, _C = 5, 3.4445, -4.7750, 2.0315

# A matrix with fewer rows or columns than this has little to be made orthogonal.
_NARROW = 32


class Muon(Optimizer):
    """Steps of the weights of convolutions and linear layers are orthogonal matrices, as large as Adam's.

    Weights are taken as (output, rest) matrices; those with a side below 32 (depthwise filters among them), biases,
    gains and densities are left to Adam, with the same learning rate. ``momentum`` is Nesterov's.
    Jordan et al.: Muon: An optimizer for hidden layers in neural networks, 2024; the size of a step is that of Liu et
    al.: Muon is Scalable for LLM Training, arXiv:2502.16982, section 2.2.

    >>> layer = nn.Linear(64, 32)
    >>> optimizer = Muon(layer.parameters(), lr=1e-3)
    >>> layer(torch.ones(1, 64)).square().sum().backward()
    >>> optimizer.step()
    >>> sorted(optimizer.state[layer.weight]), sorted(optimizer.state[layer.bias])
    (['momentum'], ['exp_avg', 'exp_avg_sq', 'step'])
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step, from the gradients; parameters without one stay as they are."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                kept = self.state[parameter]
                if _is_matrix(parameter):
                    self._orthogonal(parameter, kept, group)
                else:
                    self._adam(parameter, kept, group)

    def _orthogonal(self, parameter: nn.Parameter, kept: dict[str, Tensor], group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        if not kept:
            kept["momentum"] = torch.zeros_like(parameter)
        kept["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
        step = orthogonal(parameter.grad.lerp(kept["momentum"], group["momentum"]).flatten(1))
        # Elements of an orthogonal matrix have a root mean square of 1 / root of its longer side; Adam's, about 0.2.
        size = 0.2 * math.sqrt(max(step.shape))
        parameter.add_(step.to(parameter.dtype).view(parameter.shape), alpha=-group["lr"] * size)

    def _adam(self, parameter: nn.Parameter, kept: dict[str, Tensor], group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        if not kept:
            kept["step"] = torch.zeros(())
            kept["exp_avg"], kept["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        first, second = group["betas"]
        kept["step"] += 1
        kept["exp_avg"].lerp_(parameter.grad, 1 - first)
        kept["exp_avg_sq"].lerp_(parameter.grad.square(), 1 - second)
        count = float(kept["step"])
        scale = (kept["exp_avg_sq"] / (1 - second**count)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(kept["exp_avg"], scale, value=-group["lr"] / (1 - first**count))


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly the orthogonal matrix nearest to one, in bfloat16: its singular values become 0.7 to 1.2.

    >>> torch.linalg.svdvals(orthogonal(torch.randn(40, 90)).float()).min() > 0.3
    tensor(True)
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=_B, alpha=_C), x, beta=_A)
    return x if wide else x.T


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim > 1 and min(parameter.shape[0], parameter[0].numel()) >= _NARROW
