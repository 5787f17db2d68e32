"""Optimizers for the two losses of a codec: its own, and that which moves the quantiles of factorized priors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from tinify.errors import InputError, UnknownNameError

__all__ = ["net_aux_optimizer", "net_optimizer"]


def net_optimizer(net: nn.Module, conf: Mapping[str, Any]) -> dict[str, Optimizer]:
    """One optimizer over all trained parameters of ``net``: ``{"net": Optimizer}``.

    ``conf["net"]`` has the name of a class of :mod:`torch.optim` as its ``"type"``, and that class's arguments. Raises
    :class:`~tinify.errors.InputError` for another form, :class:`~tinify.errors.UnknownNameError` for another class.

    >>> net_optimizer(nn.Linear(2, 1), {"net": {"type": "Adam", "lr": 1e-4}})["net"].defaults["lr"]
    0.0001
    """
    return {"net": _optimizer("net", conf, _trained(net, lambda name: True))}


def net_aux_optimizer(net: nn.Module, conf: Mapping[str, Any]) -> dict[str, Optimizer]:
    """``{"net": Optimizer, "aux": Optimizer}``: ``aux`` has the parameters called ``quantiles``, ``net`` the others.

    ``conf["net"]`` and ``conf["aux"]`` are those of :func:`net_optimizer`, with the same errors. Step ``aux`` on
    ``net.aux_loss()``, which has no gradient elsewhere.

    >>> from tinify.entropy_models import EntropyBottleneck
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), EntropyBottleneck(4))
    >>> sorted(net_aux_optimizer(net, {"net": {"type": "Adam", "lr": 1e-4}, "aux": {"type": "Adam", "lr": 1e-3}}))
    ['aux', 'net']
    """
    return {
        "net": _optimizer("net", conf, _trained(net, lambda name: not _is_auxiliary(name))),
        "aux": _optimizer("aux", conf, _trained(net, _is_auxiliary)),
    }


def _is_auxiliary(name: str) -> bool:
    return name.rpartition(".")[2] == "quantiles"


def _trained(net: nn.Module, chosen: Callable[[str], bool]) -> list[nn.Parameter]:
    """Parameters that are trained, in the order of their names: saved states fit whatever moved in the model."""
    parameters = sorted(net.named_parameters(), key=lambda pair: pair[0])
    return [parameter for name, parameter in parameters if parameter.requires_grad and chosen(name)]


def _optimizer(key: str, conf: Mapping[str, Any], parameters: list[nn.Parameter]) -> Optimizer:
    wanted = conf.get(key) if isinstance(conf, Mapping) else None
    if not isinstance(wanted, Mapping) or not isinstance(wanted.get("type"), str):
        raise InputError(f"expected conf[{key!r}] like {{'type': 'Adam', 'lr': 1e-4}}, got conf={conf!r:.200}")
    if not parameters:
        what = "parameter called quantiles; use net_optimizer" if key == "aux" else "parameter that is trained"
        raise InputError(f"no optimizer for {key!r}: the model has no {what}")
    arguments = {name: value for name, value in wanted.items() if name != "type"}
    try:
        return _class(wanted["type"])(parameters, **arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"conf[{key!r}]: {wanted['type']} does not take {arguments}: {error}") from error


def _class(name: str) -> Callable[..., Optimizer]:
    known = {
        key: value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, Optimizer)
    }
    if name not in known:
        raise UnknownNameError.among("optimizer", name, known)
    return known[name]
