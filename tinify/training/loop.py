"""The loop: steps, and now and then validation and saves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tinify.checkpoint import save_model
from tinify.training.feed import Batches, feed_of
from tinify.training.interrupts import deferred_interrupts
from tinify.training.log import RunLog
from tinify.training.processes import Processes
from tinify.training.state import TrainingState
from tinify.training.steps import Step, Stepper

__all__ = ["LOG", "MODEL", "STATE", "Step", "save", "train"]

STATE, MODEL, LOG = "state.safetensors", "model.safetensors", "log.csv"


def train(
    state: TrainingState,
    crops: Batches,
    out: Path,
    *,
    held_out: Sequence[Any] = (),
    report: Callable[[Step], None] = lambda step: None,
    log: RunLog | None = None,
    processes: Processes | None = None,
) -> TrainingState:
    """Runs ``state`` to its last step and returns it.

    ``out`` receives ``state.safetensors`` (exact resume), ``model.safetensors`` (averaged weights with coding tables,
    ready to use) as often as the configuration says and at the end, and ``log.csv``; of several processes, the first
    writes. An interrupt saves what was reached before it goes on up. Batches without a finite loss and gradient are
    skipped with a warning; raises :class:`~tinify.errors.DivergedError` when going back to good weights does not help,
    leaving the last checkpoint as it was.
    """
    config, processes = state.config, processes or Processes()
    first = processes.rank == 0
    log = log or (RunLog(out / LOG, state.step) if first else None)
    batches = crops.ahead(config.seed, range(state.step, config.steps), config.shape_at)
    try:
        step = Stepper(state, processes)
        if state.good_step == state.step:
            step.guard.keep()
        state.model.train()
        with deferred_interrupts() as interrupted, closing(batches):
            for x in batches:
                done = step(x)
                if log:
                    log.step(done)
                report(done)
                ended = state.step == config.steps
                validating = config.validate_every and held_out and (ended or state.step % config.validate_every == 0)
                saving = ended or state.step % config.save_every == 0
                if validating or saving:
                    step.guard.check_weights()
                if validating:
                    _validate(state, held_out, processes, log)
                stop = processes.any(interrupted())
                if saving:
                    step.guard.keep()
                if first and (saving or (stop and state.finite())):
                    save(state, out)
                if stop:
                    raise KeyboardInterrupt
    finally:
        if log:
            log.close()
    return state


def _validate(state: TrainingState, held_out: Sequence[Any], processes: Processes, log: RunLog | None) -> None:
    """Adds a validation, which the first process makes, to the history and the log."""
    feed, model = feed_of(state.model.domain), state.averaged_model() if processes.rank == 0 else None
    entry = feed.validate(model, held_out, state.config) if model else None
    state.history.append({"step": state.step, **processes.share(entry)})
    if log:
        log.validation(state.history[-1])


def save(state: TrainingState, out: Path) -> None:
    """Writes both checkpoints; each is complete or untouched."""
    state.save(out / STATE)
    save_model(state.averaged_model(), out / MODEL, training={"step": state.step, **state.config.as_dict()})
