"""Names of the field that plugins add to tinify's modules: ``tinify.models`` has the models of those installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinify.errors import PluginError
from tinify.registry import get_registry


def names_of(module: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module: a name that it has not itself is looked for among those of the plugins.

    Raises AttributeError for one that is nowhere, with the reason where a plugin in trouble or switched off may have
    had it.
    """

    def find(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        try:
            registry = get_registry()
        except PluginError as error:  # such as a plugin's own import of a module in here
            raise AttributeError(f"module {module!r} has no attribute {name!r} ({error})") from error
        offer = registry.names().get((module, name))
        if offer is None:
            reason = registry.missing(name)
            raise AttributeError(f"module {module!r} has no attribute {name!r}" + (f" ({reason})" if reason else ""))
        try:
            return offer.load()
        except PluginError as error:
            raise AttributeError(str(error)) from error

    return find
