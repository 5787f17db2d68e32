"""Everything a run needs to go on as if it had never stopped, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tinify.checkpoint import load_weights, read_safetensors, write_safetensors
from tinify.errors import CheckpointError, InputError, UnknownNameError
from tinify.models import CompressionModel, build_model
from tinify.spec import Architecture
from tinify.training.config import TrainingConfig
from tinify.training.feed import feed_of
from tinify.training.optimizers import build_optimizer, moments, remember
from tinify.training.precision import LossScale

# What is saved of a run beside its tensors and its settings.
_KEPT = ("step", "history", "skipped", "rollbacks", "good_step", "origin")


@dataclass
class TrainingState:
    """A model in training: live weights, averaged weights, the optimiser's moments, and how far it is.

    ``skipped`` has the steps whose batches were no use, ``rollbacks`` those after which the weights of ``good_step``
    came back, and ``origin`` what the run was begun from.
    """

    model: CompressionModel
    config: TrainingConfig
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    rollbacks: list[int] = field(default_factory=list)
    good_step: int = 0
    origin: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        feed_of(self.model.domain).check(self.model, self.config)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze(self.model, self.config.freeze)
        # The quantiles of factorized priors are solved by bisection, so no optimiser moves them.
        self.trained: dict[str, nn.Parameter] = {
            name: p for name, p in self.model.named_parameters() if p.requires_grad and not name.endswith(".quantiles")
        }
        if not self.trained:
            raise InputError(f"freeze {self.config.freeze!r} leaves nothing to train: name fewer parts")
        self.average = {name: p.detach().clone() for name, p in self.trained.items()}
        self.optimizer = build_optimizer(self.config.optimizer, self.trained.values(), self.config.lr)
        self.scale = LossScale.of(self.config.precision)
        self._good: dict[str, Tensor] = {}

    @property
    def lr(self) -> float:
        """The learning rate of the step to come."""
        return self.config.lr_at(self.step, tuple(entry["loss"] for entry in self.history))

    def averaging(self) -> None:
        """Moves the averaged weights towards the live ones.

        The decay grows with the step, so that the start is soon forgotten.
        """
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.trained.values()), 1 - decay)

    def averaged_model(self) -> CompressionModel:
        """A copy of the model with the averaged weights and fresh coding tables, ready to validate and to ship."""
        assert self.model.architecture is not None
        device = next(self.model.parameters()).device
        copy = build_model(self.model.architecture).eval()
        copy.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        copy.load_state_dict(self.model.state_dict())
        with torch.no_grad():
            for name, parameter in copy.named_parameters():
                average = self.average.get(name, parameter)
                parameter.copy_(average.half() if self.config.store == "float16" else average)
        copy.update(force=True, update_quantiles=True)
        return copy

    def finite(self) -> bool:
        """Whether all weights, live and averaged, and all moments are numbers."""
        return bool(torch.stack([tensor.isfinite().all() for tensor in self._tensors().values()]).all())

    @property
    def has_good(self) -> bool:
        """Whether there are good weights to go back to."""
        return bool(self._good)

    def keep(self) -> None:
        """Remembers weights and moments as good ones."""
        self.good_step = self.step
        self._good = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}

    def go_back(self) -> None:
        """Takes the good weights and moments again; the step stays."""
        self._take(self._good)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        kept = moments(self.optimizer, list(self.trained))
        return tensors | {f"optimizer.{name}": tensor for name, tensor in kept.items()}

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        load_weights(self.model, _under("model", tensors), "the state")
        for name, tensor in self.average.items():
            tensor.copy_(tensors[f"average.{name}"])
        remember(self.optimizer, list(self.trained), _under("optimizer", tensors))

    def save(self, path: Path) -> None:
        """Writes the whole state, and the good one where it is another; the file is complete or absent."""
        assert self.model.architecture is not None
        tensors = self._tensors()
        if self._good and self.good_step != self.step:
            tensors |= {f"good.{name}": tensor for name, tensor in self._good.items()}
        kept = {name: getattr(self, name) for name in _KEPT}
        scale = [self.scale.value, self.scale.steps]
        notes = {
            "architecture": self.model.architecture.to_json(),
            "training": json.dumps({"config": self.config.as_dict(), "scale": scale, **kept}),
        }
        write_safetensors(path, tensors, notes)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> TrainingState:
        """The state that ``save`` wrote; :class:`CheckpointError` if the file is not one."""
        tensors, notes = read_safetensors(path)
        try:
            saved = json.loads(notes["training"])
            model = build_model(Architecture.from_json(notes["architecture"]))
            state = cls(model.to(device), TrainingConfig.from_dict(saved["config"]))
            for name in _KEPT:
                setattr(state, name, saved.get(name, getattr(state, name)))
            state.scale = LossScale(*saved.get("scale", (state.scale.value, state.scale.steps)))
            state._good = {name: tensor.to(device) for name, tensor in _under("good", tensors).items()}
            state.good_step = state.good_step if state._good else state.step
            # Runs of earlier versions call the moments by the only optimiser there was.
            named = {name.replace("adam.", "optimizer.", 1): tensor for name, tensor in tensors.items()}
            state._take(named)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"{path} is not a training checkpoint of this version: {error}") from error
        return state


def freeze(model: nn.Module, parts: str) -> None:
    """Lets the weights of ``parts``, names with commas between, have no gradient.

    Raises :class:`~tinify.errors.UnknownNameError` for a name that the model has no part of.
    """
    known = dict(model.named_modules())
    for part in filter(None, map(str.strip, parts.split(","))):
        if part not in known:
            depth = part.count(".") + 1
            near = [name for name in known if name and name.count(".") < depth]
            raise UnknownNameError.among("part to freeze", part, near)
        known[part].requires_grad_(False)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix and a dot, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}
