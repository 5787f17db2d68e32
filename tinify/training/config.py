"""What a training run is told; every setting decides the result, so all are kept in its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from tinify.errors import CheckpointError, InputError
from tinify.plugin import Parameter, Range
from tinify.training.schedule import Stage, plateau_drops, stage_at, warm_cosine

if TYPE_CHECKING:
    from torch import Tensor

_ABOVE_0 = Range(1e-12)

#: The settings that a stage of a run may have of its own; ``steps`` is its length, and it must have that.
STAGE_SETTINGS = ("steps", "crop", "batch", "lr")

# What :class:`~tinify.plugin.Parameter` has no form for.
_COMPOSED = ("lmbda", "stages")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One run; the annotations say what each setting is and may be. Raises :class:`~tinify.errors.InputError`.

    ``lmbda`` is the weight of distortion against bits, or the lowest and the highest over the qualities of a model of
    variable rate. Each of ``stages`` has ``steps``, and may have a crop, batch and lr of its own.

    >>> config = TrainingConfig(lmbda=0.01, steps=100, lr=1.0, warmup=10)
    >>> config.lr_at(4), config.lr_at(10)
    (0.5, 1.0)
    """

    lmbda: float | tuple[float, float]
    metric: Annotated[Literal["mse", "ms-ssim"], "Distortion."] = "mse"
    loss: Annotated[str, "Loss: the name of a component, or {type: NAME, ...} as in a spec."] = "rate_distortion"
    steps: Annotated[int, Range(1), "Length of the run."] = 100_000
    batch: Annotated[int, Range(1), "Crops in a step, of each process."] = 8
    crop: Annotated[int, Range(1), "Side of the square crops, in pixels."] = 256
    optimizer: Annotated[str, "adam, adamw, muon, sgd, or {type: NAME, ...} with its arguments."] = "adam"
    lr: Annotated[float, _ABOVE_0, "Highest learning rate."] = 1e-4
    warmup: Annotated[int, Range(0), "Steps over which the learning rate rises to it."] = 0
    hold: Annotated[int, Range(0), "Steps after that over which it stays."] = 0
    final: Annotated[float, Range(0, 1), "Part of it left at the end of a cosine; 1 for none."] = 1.0
    patience: Annotated[int, Range(0), "Validations without progress before it drops; 0 for never."] = 0
    factor: Annotated[float, Range(1e-6, 1), "What a drop multiplies it by."] = 0.5
    frames: Annotated[int, Range(1, 64), "Frames of each clip that a batch is made of, for models of video."] = 1
    objectives: Annotated[int, Range(1, 64), "Parts of a batch, by rate, whose gradients are weighed (MGDA)."] = 1
    clip: Annotated[float, _ABOVE_0, "Bound on the gradient's norm."] = 1.0
    ema: Annotated[float, Range(0, 0.999999), "Decay of the averaged weights, which are the ones that ship."] = 0.999
    freeze: Annotated[str, "Parts whose weights stay as they are, with commas between: g_a,g_s."] = ""
    seed: Annotated[int, Range(0, 2**32 - 1), "Of initialisation, crops and noise."] = 0
    precision: Annotated[Literal["float32", "bfloat16", "float16"], "Of the transforms, by autocast."] = "float32"
    store: Annotated[Literal["float32", "float16"], "Of the weights in model.safetensors."] = "float32"
    compile: Annotated[bool, "Compile the model with torch.compile."] = False
    rollbacks: Annotated[int, Range(0), "Returns to good weights before a diverging run is given up."] = 5
    save_every: Annotated[int, Range(1), "Steps between saves."] = 1000
    validate_every: Annotated[int, Range(0), "Steps between validations; 0 for never."] = 1000
    stages: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for name, parameter in self.parameters().items():
            object.__setattr__(self, name, _converted(name, parameter, getattr(self, name)))
        object.__setattr__(self, "lmbda", weights(self.lmbda))
        if self.objectives > 1 and not isinstance(self.lmbda, tuple):
            raise InputError(f"{self.objectives} objectives are as many rates: give lambda a range, or objectives: 1")
        if self.frames > 1 and isinstance(self.lmbda, tuple):
            raise InputError(f"clips of {self.frames} frames are trained for one rate: give one lambda")
        object.__setattr__(
            self, "stages", tuple(self._stage(number, stage) for number, stage in enumerate(self.stages))
        )
        for batch in {stage.get("batch", self.batch) for stage in self.stages} or {self.batch}:
            if batch % (self.objectives * self.frames):
                clips = f" of clips of {self.frames} frames" if self.frames > 1 else ""
                raise InputError(f"a batch of {batch} does not part into {self.objectives} objectives{clips} evenly")

    def _stage(self, number: int, stage: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(stage, Mapping) or "steps" not in stage or stage.keys() - {*STAGE_SETTINGS}:
            raise InputError(
                f"stage {number + 1} is {stage!r}: expected steps, and any of {', '.join(STAGE_SETTINGS[1:])}"
            )
        known = self.parameters()
        return {name: _converted(f"stage {number + 1}, {name}", known[name], value) for name, value in stage.items()}

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """What each setting may be, but for ``lmbda`` and ``stages``."""
        hints = get_type_hints(cls, include_extras=True)
        plain = [field for field in fields(cls) if field.name not in _COMPOSED]
        return {field.name: Parameter.of(hints[field.name], field.default) for field in plain}

    def lmbda_at(self, place: Tensor) -> Tensor:
        """Lambda at places from 0, the lowest quality, to 1: its logarithm runs evenly.

        >>> import torch
        >>> [round(lmbda, 4) for lmbda in TrainingConfig(lmbda=(0.01, 1.0)).lmbda_at(torch.tensor([0.0, 0.5])).tolist()]
        [0.01, 0.1]
        """
        low, high = self.lmbda if isinstance(self.lmbda, tuple) else (self.lmbda, self.lmbda)
        return low * (high / low) ** place

    def stage(self, step: int) -> Stage:
        """The crop, batch and highest learning rate of a step, counted from 0."""
        return stage_at(step, self.stages, Stage(0, self.crop, self.batch, self.lr))

    def shape_at(self, step: int) -> tuple[int, int]:
        """Side and number of a step's crops."""
        stage = self.stage(step)
        return stage.crop, stage.batch

    @property
    def crops(self) -> list[int]:
        """The sides of the crops of all stages, the longest last."""
        return sorted({stage.get("crop", self.crop) for stage in self.stages} or {self.crop})

    def lr_at(self, step: int, validations: tuple[float, ...] = ()) -> float:
        """The learning rate of a step, counted from 0, after validations of these losses."""
        part = warm_cosine(step, self.steps, self.warmup, self.final, self.hold)
        return self.stage(step).lr * part * self.factor ** plateau_drops(validations, self.patience)

    def as_dict(self) -> dict[str, Any]:
        """The settings by name, ready for JSON."""
        return asdict(self) | {"stages": [dict(stage) for stage in self.stages]}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TrainingConfig:
        """The run that ``as_dict`` described; :class:`~tinify.errors.CheckpointError` if it was another version's.

        A setting that is younger than the description has its default, which is what there was before it.
        """
        known = {field.name: field.default is MISSING for field in fields(cls)}
        strange = (settings.keys() - known.keys()) | {name for name in known.keys() - settings.keys() if known[name]}
        if strange:
            raise CheckpointError(f"these training settings differ from this version's: {', '.join(sorted(strange))}")
        return cls(**settings)


def _converted(name: str, parameter: Parameter, value: Any) -> Any:
    try:
        return parameter.convert(value)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error


def weights(lmbda: object) -> float | tuple[float, float]:
    """One lambda, or the lowest and the highest; :class:`~tinify.errors.InputError` for anything else."""
    pair = tuple(lmbda) if isinstance(lmbda, Sequence) and not isinstance(lmbda, str) else (lmbda,)
    numbers = [value for value in pair if isinstance(value, int | float) and 0 < value < math.inf]
    if len(numbers) != len(pair) or len(pair) not in (1, 2):
        raise InputError(f"lmbda is {lmbda!r}: expected a positive number, or the lowest and the highest of a range")
    low, high = float(numbers[0]), float(numbers[-1])
    if len(pair) == 1:
        return low
    if low >= high:
        raise InputError(f"lmbda runs from {low} to {high}: expected the lower one first")
    return low, high
