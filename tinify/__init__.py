"""tinify: a kit of parts for learned compression.

Floors: a module imports only from lower ones, so that ``import tinify`` and the listing commands need no torch.

    F0   errors
    F1   chunks, coders, environment, files, machine, optimizers, plugin, samples
    F2   ans, container, host, ops
    F3   distributions, images, registry
    F4   entropy_coders, kernels, names, spec, weights
    F5   builder, datasets, entropy_models, layers, metrics, transforms
    F6   exact, losses
    F7   latent_codecs
    F8   models
    F9   checkpoint
    F10  codec, training
    F11  evaluation, targets, zoo
    F12  freezing, testing
    F13  cli
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinify.codec import Codec
    from tinify.coders import CdfTables
    from tinify.coders.warm import warmup
    from tinify.entropy_coders import available_entropy_coders, get_entropy_coder, set_entropy_coder
    from tinify.models import build_model, create_model
    from tinify.registry import register
    from tinify.spec import Spec
    from tinify.zoo import compress, decompress, load_model

__version__ = "0.1.0"

_HOMES = {
    "CdfTables": "tinify.coders",
    "Codec": "tinify.codec",
    "Spec": "tinify.spec",
    "available_entropy_coders": "tinify.entropy_coders",
    "build_model": "tinify.models",
    "compress": "tinify.zoo",
    "create_model": "tinify.models",
    "decompress": "tinify.zoo",
    "get_entropy_coder": "tinify.entropy_coders",
    "load_model": "tinify.zoo",
    "register": "tinify.registry",
    "set_entropy_coder": "tinify.entropy_coders",
    "warmup": "tinify.coders.warm",
}

__all__ = [
    "CdfTables",
    "Codec",
    "Spec",
    "available_entropy_coders",
    "build_model",
    "compress",
    "create_model",
    "decompress",
    "get_entropy_coder",
    "load_model",
    "register",
    "set_entropy_coder",
    "warmup",
]


def __getattr__(name: str) -> Any:
    """Imports a public name, or a submodule, on first use."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    try:
        return importlib.import_module(f"tinify.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"tinify.{name}":
            raise
        raise AttributeError(f"module 'tinify' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
