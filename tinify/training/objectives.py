"""Several objectives at once: the direction in which none of them gets worse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_ROUNDS = 250


def least_norm(products: Tensor) -> Tensor:
    """Weights, none negative and one in all, of the shortest mean of vectors whose inner ``products`` are (n, n).

    The shortest mean has a positive inner product with every vector, as long as there is one that has: a step along it
    makes all of the objectives better whose gradients they are. Found by Frank and Wolfe's method, in float64.
    Désidéri: Multiple-gradient descent algorithm (MGDA), Comptes Rendus Mathématique 350, 2012; Sener, Koltun:
    Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018, algorithm 2.

    >>> least_norm(torch.tensor([[1.0, 0.0], [0.0, 4.0]])).tolist()
    [0.8, 0.2]
    """
    products = products.double()
    weights = torch.full((len(products),), 1 / len(products), dtype=torch.float64, device=products.device)
    for _ in range(_ROUNDS):
        towards = products @ weights
        nearest = int(towards.argmin())
        corner = torch.zeros_like(weights)
        corner[nearest] = 1
        # The shortest point between the mean and that corner.
        gap = corner - weights
        length = gap @ products @ gap
        if not length > 0:
            break
        step = float((-(towards @ gap) / length).clamp(0, 1))
        if step < 1e-12:
            break
        weights = weights + step * gap
    return weights


def combine(gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The shortest mean of some objectives' gradients, each a list over the parameters."""
    columns = [torch.stack(column) for column in zip(*gradients, strict=True)]
    flat = [column.flatten(1) for column in columns]
    weights = least_norm(torch.stack([one @ one.T for one in flat]).double().sum(0))
    return [torch.tensordot(weights.to(column.dtype), column, 1) for column in columns]
