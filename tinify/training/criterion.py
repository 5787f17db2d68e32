"""The loss of a run: any registered component of kind ``loss``, given the run's lambda and metric if it takes them."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from tinify.errors import InputError, PluginError
from tinify.models import build_part
from tinify.registry import get_registry
from tinify.spec.reader import Node, lift, read
from tinify.training.config import TrainingConfig


class Criterion:
    """``loss(output, target)`` as the configuration says; raises :class:`~tinify.errors.SpecError` for one unknown.

    >>> Criterion(TrainingConfig(lmbda=0.01)).loss
    RateDistortionLoss()
    """

    def __init__(self, config: TrainingConfig, device: torch.device | str = "cpu") -> None:
        node = read(f"loss: {config.loss}", "--loss").mapping["loss"]
        kind = node.mapping.get("type", node)
        part = get_registry().find(("loss",), str(kind.plain()))
        self._config = config
        middle = float(config.lmbda_at(torch.tensor(0.5)))
        settings = {"lmbda": middle, "metric": config.metric}
        given = {name: lift(value, node.location) for name, value in settings.items() if part and name in part.params}
        written = node.mapping or {"type": kind}
        places = {**dict.fromkeys(given, node.location), **node.keys, "type": kind.location}
        self.name = config.loss
        self.loss = build_part("loss", Node({**given, **written}, node.location, places))
        if isinstance(config.lmbda, tuple):
            try:
                inspect.signature(getattr(self.loss, "forward", self.loss)).bind(None, None, lmbda=None, weight=None)
            except TypeError as error:
                raise InputError(
                    f"loss {config.loss!r} takes one lambda, and the run has a range: give one, or a loss that is "
                    "called with lmbda and weight of each picture, as rate_distortion is"
                ) from error
        if isinstance(self.loss, nn.Module):
            self.loss.to(device).requires_grad_(False)  # some losses have weights, which are not those in training

    def __call__(self, output: dict[str, Any], target: Tensor, place: Tensor | None = None) -> Tensor:
        """The scalar that training minimises.

        With a range of lambdas, ``place`` says where in it each picture is, from 0 to 1. Its loss is then divided by
        the root of its lambda, which is about what it grows by, so that every rate counts alike.
        """
        losses = self.loss(output, target) if place is None else self.loss(output, target, **self._weights(place))
        total = losses.get("loss") if isinstance(losses, dict) else None
        if not isinstance(total, Tensor) or total.numel() != 1:
            raise PluginError(f"loss {self.name!r} returned {losses!r}: expected a dict with a scalar tensor 'loss'")
        return total.reshape(())

    def _weights(self, place: Tensor) -> dict[str, Tensor]:
        """Lambda and weight of each picture."""
        lmbda = self._config.lmbda_at(place)
        return {"lmbda": lmbda, "weight": (self._config.lmbda_at(torch.full_like(place, 0.5)) / lmbda).sqrt()}
