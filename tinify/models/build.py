"""Canonical form in, module out: the one place where declarations become objects."""

from __future__ import annotations

from typing import Any

from torch import nn

from tinify.entropy_models import EntropyModel
from tinify.errors import PluginError
from tinify.kernels import activate
from tinify.latent_codecs import LatentCodec
from tinify.models.base import CompressionModel
from tinify.plugin import Sig
from tinify.registry import Registry, get_registry
from tinify.spec import Architecture, Spec, elaborate_part

# What the targets of a kind have to make; of the other kinds the conformance kit says what they must offer.
_MODULES: dict[str, type] = {
    "layer": nn.Module,
    "transform": nn.Module,
    "entropy_model": EntropyModel,
    "latent_codec": LatentCodec,
    "model": CompressionModel,
}


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
    activate()
    model: CompressionModel = _build(architecture.model, get_registry())
    model.architecture = architecture
    return model


def build_part(kind: str, node: Any, *inputs: Sig | None) -> Any:
    """One component outside a spec: ``node`` is a name, a mapping with ``type``, or a list of these for a transform.

    ``inputs`` are those of its shape rule. Returns what its target makes (an ``nn.Sequential`` of a list), each module
    with its canonical form as the attribute ``spec_node``. Raises :class:`~tinify.errors.SpecError`.

    >>> build_part("layer", {"type": "conv", "out": 4, "kernel": 3}, Sig(3))
    Conv2d(3, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    """
    activate()
    return _build(elaborate_part(kind, node, *inputs).canonical, get_registry())


def _build(node: Any, registry: Registry) -> Any:
    if isinstance(node, list):
        return nn.Sequential(*(_build(child, registry) for child in node))
    component = registry.component(node["kind"], f"{node['type']}@{node['version']}")
    slots = {slot: _child(node.get(slot), registry) for slot in component.slots}
    parameters = {name: node[name] for name in component.params}
    channels = [node["in"]] if "in" in node else []
    try:
        made = component.load()(*channels, **parameters, **slots)
    except Exception as error:
        error.add_note(f"while building {component} of {component.provider} with {parameters}")
        raise
    expected = _MODULES.get(component.kind, object)
    if not isinstance(made, expected):
        raise PluginError(
            f"{component} of {component.provider} made a {type(made).__name__}: expected a {expected.__name__}"
        )
    if isinstance(made, nn.Module):
        made.spec_node = node
    return made


def _child(node: Any, registry: Registry) -> Any:
    """What fills a slot: one child, a list where it stands for each element, or None where it is empty."""
    if isinstance(node, dict) and "each" in node:
        return [None if child is None else _build(child, registry) for child in node["each"]]
    return None if node is None else _build(node, registry)
