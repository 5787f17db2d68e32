"""What a training run is told; every value decides the result, so all are kept in its checkpoints."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from tinify.errors import InputError

PRECISIONS = ("float32", "bfloat16")
METRICS = ("mse", "ms-ssim")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One run.

    The learning rate rises linearly over ``warmup`` steps and falls to ``final`` times itself along a cosine.
    ``clip`` bounds the norm of the gradient; ``ema`` is the decay of the averaged weights, which are the ones that
    validate and ship.
    """

    lmbda: float
    metric: str = "mse"
    steps: int = 100_000
    batch: int = 8
    crop: int = 256
    rate: float = 1e-4
    warmup: int = 0
    final: float = 1.0
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("lmbda", "steps", "batch", "crop", "rate", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)!r}: expected a positive number")
        for name, known in (("metric", METRICS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise InputError(f"unknown {name} {getattr(self, name)!r}: expected one of {', '.join(known)}")
        if not 0 <= self.ema < 1 or not 0 <= self.final <= 1 or self.warmup < 0:
            raise InputError("ema must lie in [0, 1), final in [0, 1], and warmup must not be negative")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))

    def as_dict(self) -> dict[str, Any]:
        """The values by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """The run that ``as_dict`` described."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})
