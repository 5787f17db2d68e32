"""The optimisers that a run can name, and what of theirs a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tinify.errors import InputError, UnknownNameError
from tinify.spec.reader import read
from tinify.training.muon import Muon

#: The class of every name that ``optimizer`` may be.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "muon": Muon,
    "sgd": torch.optim.SGD,
}


def build_optimizer(text: str, parameters: Iterable[nn.Parameter], lr: float) -> Optimizer:
    """The optimiser that ``text`` names: ``adam``, or ``{type: sgd, momentum: 0.9}`` with its class's arguments.

    Raises :class:`~tinify.errors.UnknownNameError` for another name, :class:`~tinify.errors.InputError` for arguments
    that the class does not take.

    >>> build_optimizer("{type: sgd, momentum: 0.9}", [nn.Parameter(torch.zeros(2))], 0.1).defaults["momentum"]
    0.9
    """
    written = read(f"optimizer: {text}", "--optimizer").mapping["optimizer"].plain()
    arguments = dict(written) if isinstance(written, dict) else {"type": written}
    name = str(arguments.pop("type", None))
    if name not in OPTIMIZERS:
        raise UnknownNameError.among("optimizer", name, OPTIMIZERS)
    if "lr" in arguments:
        raise InputError(f"optimizer {text}: its learning rate is the run's own; give it as lr")
    try:
        return OPTIMIZERS[name](parameters, lr=lr, **arguments)  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer {name} does not take {arguments}: {error}") from error


def moments(optimizer: Optimizer, names: Sequence[str]) -> dict[str, Tensor]:
    """What an optimiser remembers of its parameters, called ``names`` in turn: ``KEY.NAME`` to tensor."""
    kept = optimizer.state_dict()["state"]
    return {
        f"{key}.{name}": torch.as_tensor(value)
        for index, name in enumerate(names)
        for key, value in kept.get(index, {}).items()
        if value is not None
    }


def remember(optimizer: Optimizer, names: Sequence[str], tensors: Mapping[str, Tensor]) -> None:
    """Gives an optimiser back what :func:`moments` said; without any, it is as new."""
    found: dict[int, dict[str, Any]] = {}
    index = {name: position for position, name in enumerate(names)}
    for label, tensor in tensors.items():
        key, _, name = label.partition(".")
        found.setdefault(index[name], {})[key] = tensor.clone()
    optimizer.load_state_dict({"state": found, "param_groups": optimizer.state_dict()["param_groups"]})
