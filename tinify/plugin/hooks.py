"""The hooks that a plugin may implement: each returns declarations, and is called apart from other plugins'."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from tinify.plugin.offers import Command, Kernel, Name

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

hookspec = pluggy.HookspecMarker("tinify")
hookimpl = pluggy.HookimplMarker("tinify")


class Hooks:
    """The hooks, all of them optional."""

    @hookspec
    def tinify_components(self) -> Iterable[type]:  # type: ignore[empty-body]
        """The classes decorated with :func:`~tinify.plugin.component` that this plugin offers."""

    @hookspec
    def tinify_spec_paths(self) -> Iterable[Traversable]:  # type: ignore[empty-body]
        """Folders of ``NAME.yaml``; weights ``NAME.safetensors`` and a model card ``NAME.md`` may lie beside."""

    @hookspec
    def tinify_kernels(self) -> Iterable[Kernel]:  # type: ignore[empty-body]
        """Implementations of tinify's ops for a device, each a :class:`~tinify.plugin.Kernel`."""

    @hookspec
    def tinify_commands(self) -> Iterable[Command]:  # type: ignore[empty-body]
        """Subcommands of ``tinify``, each a :class:`~tinify.plugin.Command`."""

    @hookspec
    def tinify_names(self) -> Iterable[Name]:  # type: ignore[empty-body]
        """Classes and functions under public modules of tinify, each a :class:`~tinify.plugin.Name`."""
