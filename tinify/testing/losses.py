"""Checks of losses: a finite scalar called ``loss``, from which a model can learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tinify.testing.cases import Case


def check_loss(case: Case) -> None:
    """``loss(output, target)`` returns a dict of finite scalars with one called "loss"."""
    loss = case.build()
    losses = loss(*sample(loss))
    assert isinstance(losses, dict), f"{case.label} returns a {type(losses).__name__}, expected a dict"
    assert "loss" in losses, f"{case.label} returns {sorted(losses)}: what is minimised must be called 'loss'"
    for name, value in losses.items():
        assert isinstance(value, Tensor), f"{case.label}: {name!r} is a {type(value).__name__}, expected a tensor"
        assert value.numel() == 1, f"{case.label}: {name!r} has {value.numel()} elements, expected a scalar"
        assert torch.isfinite(value).all(), f"{case.label}: {name!r} is {float(value)}"


def check_gradients(case: Case) -> None:
    """The loss has a finite gradient, that is not all zero, for the decoded picture or the likelihoods."""
    build = case.build()
    output, target = sample(build)
    leaves = [output["x_hat"], *output["likelihoods"].values()]
    for leaf in leaves:
        leaf.requires_grad_()
    with torch.enable_grad():
        loss = build(output, target)["loss"]
        assert loss.requires_grad, f"{case.label}: the loss has no gradient: something detaches it"
        found = [one for one in torch.autograd.grad(loss, leaves, allow_unused=True) if one is not None]
    assert all(torch.isfinite(one).all() for one in found), f"{case.label}: a gradient of the loss is not finite"
    assert any(one.any() for one in found), f"{case.label}: the gradient of the loss is zero everywhere"


def check_deterministic(case: Case) -> None:
    """The same output and target give the same loss, and neither is written to."""
    loss = case.build()
    (output, target), (other, same) = sample(loss), sample(loss)
    first = loss(output, target)["loss"]
    assert torch.equal(loss(output, target)["loss"], first), f"{case.label}: the same output gives two losses"
    tensors = zip(_flat(output, target), _flat(other, same), strict=True)
    assert all(torch.equal(one, two) for one, two in tensors), f"{case.label} changes what it is given in place"


def sample(loss: Any = None) -> tuple[dict[str, Any], Tensor]:
    """A model's output and its target: what the loss has as ``example()``, or two pictures of 192 by 192 pixels."""
    if hasattr(loss, "example"):
        output, target = loss.example()
        return output, target
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 192, 192, generator=generator)
    x_hat = (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    likelihoods = {
        "y": 0.05 + 0.9 * torch.rand(2, 8, 12, 12, generator=generator),
        "z": 0.05 + 0.9 * torch.rand(2, 4, 3, 3, generator=generator),
    }
    return {"x_hat": x_hat, "likelihoods": likelihoods}, target


def _flat(output: dict[str, Any], target: Tensor) -> list[Tensor]:
    return [output["x_hat"], *output["likelihoods"].values(), target]


LOSS_CHECKS = (check_loss, check_gradients, check_deterministic)
