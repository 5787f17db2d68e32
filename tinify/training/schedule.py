"""Learning rates and stages of a run, each a pure function of the step and of the validations so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A validation loss counts as better from here on, relative to the best so far.
_THRESHOLD = 1e-4


@dataclass(frozen=True)
class Stage:
    """What holds for some steps of a run, from ``start`` on."""

    start: int
    crop: int
    batch: int
    lr: float


def stage_at(step: int, stages: Sequence[Mapping[str, Any]], whole: Stage) -> Stage:
    """The stage that a step, counted from 0, lies in; what it does not say is that of the ``whole`` run.

    The last stage goes on to the end of the run.

    >>> stage_at(90, [{"steps": 80}, {"steps": 20, "crop": 512}], Stage(0, 256, 8, 1e-4))
    Stage(start=80, crop=512, batch=8, lr=0.0001)
    """
    found, start = whole, 0
    for stage in stages:
        if step < start:
            break
        own = {name: stage[name] for name in ("crop", "batch", "lr") if name in stage}
        found = Stage(**{"crop": whole.crop, "batch": whole.batch, "lr": whole.lr, "start": start, **own})
        start += stage["steps"]
    return found


def warm_cosine(step: int, steps: int, warmup: int, final: float, hold: int = 0) -> float:
    """The part of the highest learning rate that a step has.

    It rises evenly for ``warmup`` steps, stays for ``hold``, and falls along a cosine to ``final``.

    >>> [round(warm_cosine(step, 110, 10, 0.1, hold=10), 2) for step in (4, 10, 20, 65, 110)]
    [0.5, 1.0, 1.0, 0.55, 0.1]
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, max(0, step - warmup - hold) / max(1, steps - warmup - hold))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def plateau_drops(losses: Iterable[float], patience: int) -> int:
    """How often the learning rate has dropped: each time after more than ``patience`` validations without progress.

    0 for a ``patience`` of 0. Losses count as progress when they are better than the best by a part in 10 000.

    >>> plateau_drops([3, 2, 2, 2, 2, 2, 1], patience=1)
    2
    """
    best, waited, drops = math.inf, 0, 0
    for loss in losses:
        better = loss < best * (1 - _THRESHOLD) if best > 0 else loss < best
        best, waited = (loss, 0) if better else (best, waited + 1)
        if patience and waited > patience:
            drops, waited = drops + 1, 0
    return drops
