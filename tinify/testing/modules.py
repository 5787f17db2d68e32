"""What the checks of several kinds share: parameters that are alive, gradients, state dicts."""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn


def devices() -> list[torch.device]:
    """The devices of this machine: the CPU, and a GPU where there is one."""
    return [torch.device(name) for name in ("cpu", "cuda") if name == "cpu" or torch.cuda.is_available()]


def stir(module: nn.Module, seed: int = 7) -> nn.Module:
    """The module after a little noise on every parameter, since what starts at zero can hide a dead end."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator).to(parameter))
    return module


def assert_gradients(module: nn.Module, loss: Tensor) -> None:
    """Every parameter that is trained gets a finite gradient that is not all zero."""
    assert loss.requires_grad, "no gradient comes back from the output: something detaches it"
    torch.autograd.backward(loss)
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        gradient = parameter.grad
        assert gradient is not None, f"parameter {name!r} has no gradient: nothing of the output depends on it"
        assert torch.isfinite(gradient).all(), f"the gradient of parameter {name!r} is not finite"
        assert gradient.any(), f"the gradient of parameter {name!r} is zero everywhere: it cannot be trained"


def state_of(module: nn.Module) -> bytes:
    """The state dict, as a checkpoint would keep it."""
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return buffer.getvalue()


def load_state(module: nn.Module, state: bytes) -> nn.Module:
    """The module with that state, strictly."""
    module.load_state_dict(torch.load(io.BytesIO(state), weights_only=True), strict=True)
    return module


def assert_same_keys(one: nn.Module, other: nn.Module) -> None:
    """Two builds of one component have state dicts of the same keys."""
    differ = sorted(one.state_dict().keys() ^ other.state_dict().keys())
    assert not differ, f"two builds have different keys in their state dicts: {differ}"


def equal(one: Tensor, other: Tensor, tolerance: float = 0.0) -> bool:
    """Whether two tensors are of one shape and dtype and differ by no more than that share of the largest element."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not tolerance or not one.numel():
        return torch.equal(one, other)
    scale = max(float(other.abs().max()), 1.0)
    return bool(((one - other).abs() <= tolerance * scale).all())
