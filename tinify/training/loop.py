"""The loop: crops, forward, loss, backward, clip, step; now and then validate and save."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tinify.checkpoint import save_model
from tinify.errors import DivergedError
from tinify.losses import bits_per_pixel
from tinify.metrics import psnr
from tinify.training.criterion import Criterion
from tinify.training.data import Crops, Pixels
from tinify.training.interrupts import deferred_interrupts
from tinify.training.log import RunLog
from tinify.training.state import TrainingState
from tinify.training.validation import validate

STATE, MODEL, LOG = "state.safetensors", "model.safetensors", "log.csv"


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step reports; rates in bits per pixel, ``speed`` in crops a second."""

    step: int
    loss: float
    bpp: float
    psnr: float
    norm: float
    lr: float
    speed: float


def train(
    state: TrainingState,
    crops: Crops,
    out: Path,
    *,
    held_out: Sequence[Pixels] = (),
    save_every: int = 1000,
    validate_every: int = 1000,
    report: Callable[[Step], None] = lambda step: None,
    log: RunLog | None = None,
) -> TrainingState:
    """Runs ``state`` to its last step and returns it.

    ``out`` receives ``state.safetensors`` (exact resume), ``model.safetensors`` (averaged weights with coding tables,
    ready to use) every ``save_every`` steps and at the end, and ``log.csv``. An interrupt saves what was reached before
    it goes on up. Raises :class:`DivergedError` when the loss is no longer a number, leaving the last checkpoint as it
    was.
    """
    config, model = state.config, state.model
    device = next(model.parameters()).device
    criterion = Criterion(config, device)
    following = crops.ahead(config.seed, range(state.step, config.steps))
    log = log or RunLog(out / LOG, state.step)
    model.train()
    try:
        with deferred_interrupts() as interrupted:
            while state.step < config.steps:
                begun = time.perf_counter()
                # Seeded by the step, the noise is the same whether or not the run was interrupted before it.
                torch.manual_seed(config.seed * 1_000_003 + state.step)
                done = _step(state, following().to(device, memory_format=torch.channels_last), criterion, begun)
                log.step(done)
                ended = state.step == config.steps
                if validate_every and held_out and (state.step % validate_every == 0 or ended):
                    state.history.append({"step": state.step, **validate(state.averaged_model(), held_out, config)})
                    log.validation(state.history[-1])
                report(done)
                stop = interrupted()
                if state.step % save_every == 0 or ended or stop:
                    save(state, out)
                if stop:
                    raise KeyboardInterrupt
    finally:
        log.close()
    return state


def save(state: TrainingState, out: Path) -> None:
    """Writes both checkpoints; each is complete or untouched."""
    state.save(out / STATE)
    save_model(state.averaged_model(), out / MODEL, training={"step": state.step, **state.config.as_dict()})


def _step(state: TrainingState, x: torch.Tensor, criterion: Criterion, begun: float) -> Step:
    config = state.config
    for group in state.optimizer.param_groups:
        group["lr"] = config.lr_at(state.step)
    state.optimizer.zero_grad(set_to_none=True)
    place = _places(len(x), x.device) if isinstance(config.lmbda, tuple) else None
    asked = {} if place is None else {"quality": state.model.quality_at(place)}
    with torch.autocast(x.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        output = state.model(x, **asked)
    total = criterion(output, x, place)
    total.backward()  # type: ignore[no-untyped-call]
    for parameter in state.trained.values():
        # Not every loss reaches every parameter, but resuming asks for the moments of all.
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    norm = float(torch.nn.utils.clip_grad_norm_(state.trained.values(), config.clip))
    loss = total.item()
    if not math.isfinite(loss) or not math.isfinite(norm):
        raise DivergedError(
            f"training diverged at step {state.step}: loss {loss}, gradient norm {norm}; "
            "go on from the last checkpoint with --resume after lowering --lr, or use --precision float32"
        )
    state.optimizer.step()
    state.averaging()
    state.step += 1
    with torch.no_grad():
        similarity, bpp = psnr(output["x_hat"], x), float(bits_per_pixel(output, x))
    return Step(
        step=state.step,
        loss=loss,
        bpp=bpp,
        psnr=similarity,
        norm=norm,
        lr=config.lr_at(state.step - 1),
        speed=len(x) / (time.perf_counter() - begun),
    )


def _places(count: int, device: torch.device) -> torch.Tensor:
    """Where in the range of qualities each crop is coded, from 0 to 1: one at random in each of ``count`` parts."""
    return (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
