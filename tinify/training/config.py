"""What a training run is told; every setting decides the result, so all are kept in its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from tinify.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from torch import Tensor


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One run; ``metadata["help"]`` of each field says what it is. Raises :class:`~tinify.errors.InputError`.

    >>> config = TrainingConfig(lmbda=0.01, steps=100, lr=1.0, warmup=10)
    >>> config.lr_at(4), config.lr_at(10)
    (0.5, 1.0)
    """

    lmbda: float | tuple[float, float] = field(
        metadata={
            "help": "Weight of distortion against bits, or LOW:HIGH over the qualities of a model of variable rate."
        }
    )
    metric: Literal["mse", "ms-ssim"] = _setting("mse", "Distortion.")
    loss: str = _setting("rate_distortion", "Loss: the name of a component, or {type: NAME, ...} as in a spec.")
    steps: int = _setting(100_000, "Length of the run.")
    batch: int = _setting(8, "Crops in a step.")
    crop: int = _setting(256, "Side of the square crops, in pixels.")
    lr: float = _setting(1e-4, "Highest learning rate of Adam.")
    warmup: int = _setting(0, "Steps over which the learning rate rises to it.")
    final: float = _setting(1.0, "Part of it left at the end of a cosine; 1 for none.")
    clip: float = _setting(1.0, "Bound on the gradient's norm.")
    ema: float = _setting(0.999, "Decay of the averaged weights, which are the ones that ship.")
    seed: int = _setting(0, "Of initialisation, crops and noise.")
    precision: Literal["float32", "bfloat16"] = _setting("float32", "Of the transforms, by autocast.")

    def __post_init__(self) -> None:
        object.__setattr__(self, "lmbda", _weights(self.lmbda))
        for name in ("steps", "batch", "crop", "lr", "clip"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value > 0:
                raise InputError(f"{name} is {value!r}: expected a positive number")
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                known = ", ".join(get_args(hint))
                raise InputError(f"unknown {name} {getattr(self, name)!r}: expected one of {known}")
        if not 0 <= self.ema < 1 or not 0 <= self.final <= 1 or self.warmup < 0 or not 0 <= self.seed < 2**32:
            raise InputError("ema must lie in [0, 1), final in [0, 1], warmup not be negative, and seed in [0, 2**32)")

    def lmbda_at(self, place: Tensor) -> Tensor:
        """Lambda at places from 0, the lowest quality, to 1: its logarithm runs evenly.

        >>> import torch
        >>> TrainingConfig(lmbda=(0.01, 1.0)).lmbda_at(torch.tensor([0.0, 0.5])).tolist()
        [0.009999999776482582, 0.10000000149011612]
        """
        low, high = self.lmbda if isinstance(self.lmbda, tuple) else (self.lmbda, self.lmbda)
        return low * (high / low) ** place

    def lr_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0: a linear rise, then a cosine."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))

    def as_dict(self) -> dict[str, Any]:
        """The settings by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> TrainingConfig:
        """The run that ``as_dict`` described; :class:`~tinify.errors.CheckpointError` if it was another version's."""
        strange = settings.keys() ^ get_type_hints(cls).keys()
        if strange:
            raise CheckpointError(f"these training settings differ from this version's: {', '.join(sorted(strange))}")
        return cls(**settings)


def _weights(lmbda: object) -> float | tuple[float, float]:
    """One lambda, or the lowest and the highest."""
    pair = tuple(lmbda) if isinstance(lmbda, Sequence) and not isinstance(lmbda, str) else (lmbda,)
    if len(pair) > 2 or not all(isinstance(value, int | float) and 0 < value < math.inf for value in pair):
        raise InputError(f"lmbda is {lmbda!r}: expected a positive number, or the lowest and the highest of a range")
    low, high = float(pair[0]), float(pair[-1])
    if len(pair) == 1:
        return low
    if low >= high:
        raise InputError(f"lmbda runs from {low} to {high}: expected the lower one first")
    return low, high
