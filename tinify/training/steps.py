"""One step of training: crops in, weights moved, figures out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tinify.training.compiling import compiled
from tinify.training.criterion import Criterion
from tinify.training.feed import feed_of
from tinify.training.guard import Guard
from tinify.training.objectives import combine
from tinify.training.precision import autocast, check_precision
from tinify.training.processes import Processes
from tinify.training.state import TrainingState


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step reports, of all processes; rates in bits per pixel or point, ``speed`` in crops a second."""

    step: int
    loss: float
    bpp: float
    psnr: float
    norm: float
    lr: float
    speed: float


class Stepper:
    """Does the steps of a run, in one of its processes; ``stepper(x)`` takes a batch: crops (batch, 3, crop, crop)."""

    def __init__(self, state: TrainingState, processes: Processes) -> None:
        self.state, self.processes = state, processes
        self.device = next(state.model.parameters()).device
        check_precision(self.device, state.config.precision)
        self.model = compiled(state.model) if state.config.compile else state.model
        self.criterion = Criterion(state.config, self.device)
        self.feed = feed_of(state.model.domain)
        self.guard = Guard(state)
        self._begun = time.perf_counter()

    def __call__(self, x: Tensor) -> Step:
        state, lr = self.state, self.state.lr
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        layout = torch.channels_last if x.ndim == 4 else torch.preserve_format
        loss, bpp, similarity = self._backward(x.to(self.device, memory_format=layout))
        norm = float(torch.nn.utils.clip_grad_norm_(state.trained.values(), state.config.clip))
        if self.guard.good(loss, norm):
            state.optimizer.step()
            state.averaging()
            state.scale.grow()
        state.step += 1
        begun, self._begun = self._begun, time.perf_counter()
        speed = len(x) * self.processes.size / (self._begun - begun)
        return Step(step=state.step, loss=loss, bpp=bpp, psnr=similarity, norm=norm, lr=lr, speed=speed)

    def _backward(self, x: Tensor) -> list[float]:
        """Leaves the gradient of the step with every parameter; returns mean loss, rate and PSNR.

        It is the mean over all processes, and, of several objectives, the shortest mean of theirs.
        """
        place, count = self._seed(len(x)), self.state.config.objectives
        parts = x.chunk(count), (None,) * count if place is None else place.chunk(count)
        figures, gradients = zip(*(self._part(*part) for part in zip(*parts, strict=True)), strict=True)
        if count > 1:
            for parameter, gradient in zip(self.state.trained.values(), combine(gradients), strict=True):
                parameter.grad = gradient
        return [sum(column) / count for column in zip(*figures, strict=True)]

    def _part(self, x: Tensor, place: Tensor | None) -> tuple[list[float], list[Tensor]]:
        """Mean loss, rate and PSNR of one objective, and its gradients, which are left with the parameters as well."""
        state = self.state
        state.optimizer.zero_grad(set_to_none=True)
        asked: dict[str, Any] = {} if place is None else {"quality": state.model.quality_at(place)}
        asked |= {"frames": state.config.frames} if state.config.frames > 1 else {}
        with autocast(self.device, state.config.precision):
            output = self.model(x, **asked)
        loss = self.criterion(output, x, place)
        (loss * state.scale.value).backward()  # type: ignore[no-untyped-call]
        for parameter in state.trained.values():
            # Not every loss reaches every parameter, but resuming asks for the moments of all.
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        gradients = [parameter.grad for parameter in state.trained.values() if parameter.grad is not None]
        state.scale.unscale_(gradients)
        with torch.no_grad():
            figures = [float(loss), *self.feed.figures(output, x)]
        means = torch.tensor(figures, dtype=torch.float64, device=self.device)
        self.processes.mean_([*gradients, means])
        return means.tolist(), gradients

    def _seed(self, count: int) -> Tensor | None:
        """Seeds the noise of the step, by the step: the same whether or not the run was interrupted before it.

        With a range of lambdas, returns where in it each crop is coded, from 0 to 1: one at random in each of as many
        parts as there are crops in all processes.
        """
        rank, size = self.processes.rank, self.processes.size
        seed = self.state.config.seed * 1_000_003 + self.state.step
        torch.manual_seed(seed)
        place = None
        if isinstance(self.state.config.lmbda, tuple):
            everywhere = torch.arange(count * size, device=self.device)
            place = ((everywhere + torch.rand(count * size, device=self.device)) / (count * size))[rank::size]
        if rank:
            torch.manual_seed(seed + (rank << 40))
        return place
