"""Training with rounding in place: layers compute what their exact form will, and gradients pass straight through.

Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, 2013; Jacob et al., Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tinify.entropy_models import GaussianConditional
from tinify.errors import DivergedError, InputError
from tinify.exact.choose import Seen
from tinify.exact.convert import Change, exchange, fitted, put
from tinify.exact.entry import Entry, ExactActivation
from tinify.exact.forms import form_of
from tinify.exact.layers import ExactLayer, parameters_of

SIDE = 256
"""Height and width of the crops of a fine-tuning."""


class Straight(nn.Module):
    """A float layer or activation between rounded inputs and rounded weights: what its exact form would give.

    The float parameters stay, as those of ``layer``. The gradient of a rounded number is that of the number itself, and
    zero of an input outside the limits.
    """

    def __init__(self, change: Change, seen: Seen) -> None:
        super().__init__()
        self.layer: Any = change.module
        self.slope = change.slope
        self.seen = seen
        self._held: tuple[Any, Any, dict[str, Tensor]] | None = None

    def exact(self) -> nn.Module:
        """The exact form by the weights as they are now."""
        return fitted(Change("", self.layer, self.slope), {id(self.layer): self.seen})

    def forward(self, x: Tensor) -> Tensor:
        made, rounded = self._now(x.device)
        entered = _entered(made.entry, x)
        if isinstance(made, ExactActivation):
            return entered
        given = {name: _straight(getattr(self.layer, name), value) for name, value in rounded.items()}
        y: Tensor = functional_call(self.layer, given, (entered,))
        return y

    def _now(self, device: torch.device) -> tuple[Any, dict[str, Tensor]]:
        """The exact form, and what its integers stand for by the names of parameters: made again as these change."""
        key = device, *(parameter._version for parameter in self.layer.parameters())
        if self._held is None or self._held[0] != key:
            made = self.exact()
            rounded = parameters_of(self.layer, made) if isinstance(made, ExactLayer) else {}
            self._held = key, made.to(device), {name: value.to(device) for name, value in rounded.items()}
        return self._held[1], self._held[2]


def straight_through(model: nn.Module, paths: list[str], seen: dict[int, Seen]) -> None:
    """Puts :class:`Straight` in the place of the layers and activations at ``paths``, whose inputs were ``seen``.

    What has an exact form of its own, such as gains, has it at once.
    """

    def make(change: Change) -> nn.Module:
        own = form_of(change.module)
        return own(change.module) if own else Straight(change, seen[id(change.module)])

    exchange(model, paths, make)


def settle(model: nn.Module) -> None:
    """Puts the exact form in the place of every :class:`Straight`."""
    named = model.named_modules(remove_duplicate=False)
    put(model, [(path, part) for path, part in named if isinstance(part, Straight)], lambda part: part.exact())


def fine_tune(
    model: nn.Module,
    paths: list[str],
    pictures: Sequence[Tensor],
    steps: int = 200,
    lr: float = 5e-6,
    progress: Callable[[int, float], None] = lambda step, bits: None,
) -> None:
    """Trains the :class:`Straight` layers at ``paths`` for the rate of random crops of ``pictures``, (1, 3, H, W).

    The model, in evaluation from then on, is otherwise as it was, and decodes to pictures nearly alike: only predicted
    means move them. At variable rate every step has a random quality, and all weigh alike: what falls is the logarithm
    of the rate. ``progress`` gets the number of each step and its bits per pixel.

    Raises :class:`~tinify.errors.DivergedError` for a rate that is not a number.
    """
    parts = {part for path in paths for part in model.get_submodule(path).modules() if isinstance(part, Straight)}
    trained = {id(parameter) for part in parts for parameter in part.parameters()}
    if not trained or not pictures:
        raise InputError("fine-tuning needs pictures, and layers that straight_through() has put in their place")
    asked: Any = model.eval()
    generator = torch.Generator().manual_seed(0)
    with _alone(model, trained) as parameters, _symbols_held(model), torch.enable_grad():
        optimizer = torch.optim.Adam(parameters, lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step in range(steps):
            chosen = pictures[int(torch.randint(len(pictures), (), generator=generator))]
            x = _crop(chosen, generator).to(parameters[0])
            quality = _quality(asked.qualities, generator)
            made = asked(x) if quality is None else asked(x, quality=quality)
            coded = [-torch.log2(likelihood.double()).sum() for likelihood in made["likelihoods"].values()]
            bits = torch.stack(coded).sum() / SIDE**2
            if not math.isfinite(bits.item()):
                raise DivergedError(f"fine-tuning: {bits.item()} bits per pixel at step {step}: take a smaller lr")
            optimizer.zero_grad()
            torch.autograd.backward(bits.log())
            optimizer.step()
            schedule.step()
            progress(step, bits.item())


@contextmanager
def _alone(model: nn.Module, trained: set[int]) -> Iterator[list[nn.Parameter]]:
    """Gradients of some parameters alone, meanwhile."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(id(parameter) in trained)
    try:
        yield [parameter for parameter, _ in before if id(parameter) in trained]
    finally:
        for parameter, needed in before:
            parameter.requires_grad_(needed)
            parameter.grad = None


@contextmanager
def _symbols_held(model: nn.Module) -> Iterator[None]:
    """What Gaussians quantise is a constant meanwhile, so that the rate has a gradient by the means.

    Else it moves with the means, and its distance from them, all that a likelihood sees, never changes.
    """

    def hold(module: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        y_hat = output[0].detach()
        return y_hat, module.bounded(module.likelihood(y_hat, *inputs[1:]))

    hooks = [part.register_forward_hook(hold) for part in model.modules() if isinstance(part, GaussianConditional)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _entered(entry: Entry, x: Tensor) -> Tensor:
    """The numbers that an entry's integers stand for, in the layout of ``x``."""
    scale, low, high, slope = entry.floats()
    found = (entry(x) / scale).movedim(-1, 1)
    low, high = (limit.reshape(-1, *[1] * (x.ndim - 2)) for limit in (low / scale, high / scale))
    return _straight(F.leaky_relu(torch.clamp(x, low, high), slope), found)


def _straight(x: Tensor, rounded: Tensor) -> Tensor:
    """The values of the second with the gradient of the first."""
    return x + (rounded - x).detach()


def _crop(picture: Tensor, generator: torch.Generator) -> Tensor:
    for side in (2, 3):
        spare = picture.shape[side] - SIDE
        first = int(torch.randint(max(0, spare) + 1, (), generator=generator))
        picture = picture.narrow(side, first, min(SIDE, picture.shape[side]))
    return F.pad(picture, (0, SIDE - picture.shape[3], 0, SIDE - picture.shape[2]), mode="replicate")


def _quality(qualities: tuple[float, float] | None, generator: torch.Generator) -> float | None:
    if qualities is None:
        return None
    low, high = qualities
    return low + float(torch.rand((), generator=generator)) * (high - low)
