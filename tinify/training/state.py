"""Everything a run needs to go on as if it had never stopped, in one safetensors file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from tinify.checkpoint import load_weights, read_safetensors, write_safetensors
from tinify.errors import CheckpointError, InputError
from tinify.metrics import MS_SSIM_MIN_SIDE
from tinify.models import CompressionModel, build_model
from tinify.spec import Architecture
from tinify.training.config import TrainingConfig


@dataclass
class TrainingState:
    """A model in training: live weights, averaged weights, Adam's moments, and how far it is."""

    model: CompressionModel
    config: TrainingConfig
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        stride = self.model.architecture.stride if self.model.architecture else 1
        if self.config.crop % stride:
            raise InputError(f"crop {self.config.crop} does not fit this model: it takes multiples of {stride}")
        if self.config.metric == "ms-ssim" and self.config.crop < MS_SSIM_MIN_SIDE:
            raise InputError(f"crop {self.config.crop} is too small for MS-SSIM: it takes {MS_SSIM_MIN_SIDE} or more")
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # The quantiles of factorized priors are solved by bisection, so no optimiser moves them.
        self.trained: dict[str, nn.Parameter] = {
            name: p for name, p in self.model.named_parameters() if not name.endswith(".quantiles")
        }
        self.average = {name: p.detach().clone() for name, p in self.trained.items()}
        self.optimizer = torch.optim.Adam(self.trained.values(), lr=self.config.lr, fused=None)

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
                if name in self.average:
                    parameter.copy_(self.average[name])
        copy.update(force=True, update_quantiles=True)
        return copy

    def save(self, path: Path) -> None:
        """Writes the whole state; the file is complete or absent."""
        assert self.model.architecture is not None
        moments = self.optimizer.state_dict()["state"]
        tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for index, name in enumerate(self.trained):
            for key, value in moments.get(index, {}).items():
                tensors[f"adam.{key}.{name}"] = value
        notes = {
            "architecture": self.model.architecture.to_json(),
            "training": json.dumps({"config": self.config.as_dict(), "step": self.step, "history": self.history}),
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
            state.step, state.history = int(saved["step"]), list(saved["history"])
            load_weights(model, {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, path)
            moments: dict[int, dict[str, Tensor]] = {}
            for index, name in enumerate(state.trained):
                state.average[name].copy_(tensors[f"average.{name}"])
                if state.step:
                    keys = ("step", "exp_avg", "exp_avg_sq")
                    moments[index] = {key: tensors[f"adam.{key}.{name}"].to(device) for key in keys}
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path} is not a training checkpoint of this version: {error}") from error
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        return state
