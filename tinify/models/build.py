"""Canonical architecture in, module out: the one place where declarations become modules."""

from __future__ import annotations

from typing import Any

from torch import nn

from tinify.errors import PluginError, UnknownNameError
from tinify.models.base import CompressionModel
from tinify.registry import Registry, get_registry
from tinify.spec import Architecture, Spec


def create_model(name: str, *, preset: str | None = None, **parameters: Any) -> CompressionModel:
    """An untrained model of a spec, by its registered name or the path of a YAML file.

    ``preset`` picks one of the spec's presets (``"q1"``...); ``parameters`` set its parameters (``N=64``).
    Raises :class:`~tinify.errors.UnknownNameError` or :class:`~tinify.errors.SpecError`.

    >>> model = create_model("mbt2018-mean", N=8, M=16)
    >>> type(model).__name__
    'Autoencoder'
    """
    return build_model(Spec.load(name).elaborate(preset=preset, **parameters))


def build_model(architecture: Architecture) -> CompressionModel:
    """The untrained model of a checked architecture."""
    model = _build(architecture.model, get_registry())
    if not isinstance(model, CompressionModel):
        raise PluginError(f"{architecture.model['type']!r} built a {type(model).__name__}: expected a CompressionModel")
    model.architecture = architecture
    return model


def _build(node: Any, registry: Registry) -> Any:
    if isinstance(node, list):
        return nn.Sequential(*(_build(child, registry) for child in node))
    component = registry.component(node["kind"], node["type"])
    if component.version != node["version"]:
        raise UnknownNameError(
            f"{node['type']} version {node['version']} is needed, version {component.version} is installed: "
            f"install the {component.provider} that has it"
        )
    slots = {slot: _build(node[slot], registry) for slot in component.slots}
    parameters = {name: node[name] for name in component.params}
    channels = [node["in"]] if "in" in node else []
    try:
        return component.load()(*channels, **parameters, **slots)
    except Exception as error:
        error.add_note(f"while building {node['kind']} {node['type']} with {parameters}")
        raise
