"""Laws of the two optimizers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tinify.entropy_models import EntropyBottleneck
from tinify.errors import InputError, UnknownNameError
from tinify.optimizers import net_aux_optimizer, net_optimizer

CONF: dict[str, Any] = {"net": {"type": "Adam", "lr": 1e-4}, "aux": {"type": "SGD", "lr": 1e-3}}


def codec() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), EntropyBottleneck(4), nn.Sequential(EntropyBottleneck(2), nn.Linear(2, 1)))


def held(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def test_every_trained_parameter_is_in_one_optimizer() -> None:
    net = codec()
    net[0].bias.requires_grad_(False)
    made = net_aux_optimizer(net, CONF)
    assert sorted(made) == ["aux", "net"]
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    got = {key: [names[id(parameter)] for parameter in held(optimizer)] for key, optimizer in made.items()}
    assert got["aux"] == ["1.quantiles", "2.0.quantiles"]
    assert got["net"] == sorted(set(names.values()) - {"0.bias", *got["aux"]})


def test_one_optimizer_has_all() -> None:
    net = codec()
    made = net_optimizer(net, {"net": {"type": "AdamW", "lr": 0.5, "weight_decay": 0.25}})
    assert list(made) == ["net"]
    assert isinstance(made["net"], torch.optim.AdamW)
    assert {id(parameter) for parameter in held(made["net"])} == {id(parameter) for parameter in net.parameters()}
    assert (made["net"].defaults["lr"], made["net"].defaults["weight_decay"]) == (0.5, 0.25)


def test_a_step_of_each_moves_its_own() -> None:
    bottleneck = EntropyBottleneck(4)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), bottleneck)
    made = net_aux_optimizer(net, CONF)
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    bottleneck.loss().backward()
    made["aux"].step()
    moved = {name for name, parameter in net.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {"1.quantiles"}


def test_the_configuration_is_left_as_it_is() -> None:
    conf = {"net": {"type": "Adam", "lr": 1e-4}}
    net_optimizer(nn.Linear(1, 1), conf)
    assert conf == {"net": {"type": "Adam", "lr": 1e-4}}


@pytest.mark.parametrize("conf", [{}, {"net": "Adam"}, {"type": "Adam", "lr": 1}, {"net": {"lr": 1}}, [], None])
def test_another_configuration_is_named(conf: Any) -> None:
    with pytest.raises(InputError, match=r"expected conf\['net'\] like \{'type': 'Adam', 'lr': 1e-4\}, got conf="):
        net_optimizer(nn.Linear(1, 1), conf)


def test_the_auxiliary_configuration_is_asked_for() -> None:
    with pytest.raises(InputError, match=r"expected conf\['aux'\]"):
        net_aux_optimizer(codec(), {"net": CONF["net"]})


def test_unknown_optimizers_and_arguments_are_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown optimizer 'Adm': did you mean 'Adam'"):
        net_optimizer(nn.Linear(1, 1), {"net": {"type": "Adm", "lr": 1}})
    with pytest.raises(UnknownNameError, match="unknown optimizer 'lr_scheduler'"):
        net_optimizer(nn.Linear(1, 1), {"net": {"type": "lr_scheduler"}})
    with pytest.raises(InputError, match=r"conf\['net'\]: Adam does not take \{'rate': 1\}"):
        net_optimizer(nn.Linear(1, 1), {"net": {"type": "Adam", "rate": 1}})
    with pytest.raises(InputError, match=r"Adam does not take \{'lr': -1\}: Invalid learning rate"):
        net_optimizer(nn.Linear(1, 1), {"net": {"type": "Adam", "lr": -1}})


def test_models_with_nothing_to_train_are_named() -> None:
    with pytest.raises(InputError, match="no parameter called quantiles; use net_optimizer"):
        net_aux_optimizer(nn.Linear(1, 1), CONF)
    with pytest.raises(InputError, match="no optimizer for 'net': the model has no parameter that is trained"):
        net_optimizer(nn.ReLU(), CONF)
