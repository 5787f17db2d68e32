"""Every declaration of tinify's own agrees with the callable that it names."""

from __future__ import annotations

import inspect

import pytest

from tinify.plugin import REQUIRED, Component
from tinify.registry import get_registry

OURS = [part for part in get_registry().components() if "/" not in part.name]


@pytest.mark.parametrize("part", OURS, ids=lambda part: f"{part.kind}-{part.name}")
def test_parameters_and_slots_are_keywords_of_the_target(part: Component) -> None:
    signature = inspect.signature(part.load())
    wildcard = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    for slot in part.slots:
        assert slot in signature.parameters or wildcard
    for key, parameter in part.params.items():
        default = signature.parameters[key].default
        if parameter.default is REQUIRED:
            assert default is inspect.Parameter.empty
        else:
            assert parameter.convert(default) == parameter.default


@pytest.mark.parametrize("part", OURS, ids=lambda part: f"{part.kind}-{part.name}")
def test_layers_and_entropy_models_take_their_channels_first(part: Component) -> None:
    first = next(iter(inspect.signature(part.load()).parameters))
    expected = {"layer": "in_channels", "entropy_model": "channels"}.get(part.kind, first)
    assert first == expected
