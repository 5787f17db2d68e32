"""The host: which installed plugins may be loaded, and what one plugin's hooks return, apart from every other's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any

import pluggy

from tinify import __version__
from tinify.errors import PluginError, UnknownNameError
from tinify.plugin import Command, Component, Hooks, Kernel, Name, Plugin
from tinify.plugin.offers import HOME, normal

GROUP = "tinify.plugins"
_HOOKS = tuple(name for name in vars(Hooks) if name.startswith("tinify_"))

Found = tuple[Plugin, Callable[[], Any]]


@dataclass
class Offers:
    """What a plugin's hooks returned."""

    components: list[Any] = field(default_factory=list)
    spec_paths: list[Any] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    names: list[Name] = field(default_factory=list)


def find_plugins(
    entry_points: Iterable[metadata.EntryPoint], disabled: Iterable[str], only: Iterable[str] | None
) -> list[Found]:
    """Every plugin among the entry points, first-party ones first, with its status and what loads it.

    Nothing is imported here, and only what is ``"ok"`` is to be loaded: ``disabled`` and ``only`` hold namespaces or
    distributions (``only`` speaks of third-party plugins), two distributions of one namespace are in conflict, and one
    whose requirements do not admit this tinify is incompatible.
    """
    refused = {normal(name) for name in disabled}
    allowed = None if only is None else {normal(name) for name in only}
    claims: dict[str, dict[str, tuple[Plugin, metadata.EntryPoint]]] = {}
    for point in entry_points:
        distribution, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "0")
        # one distribution can be listed twice, by a stale folder of metadata: the first on the path counts
        claims.setdefault(point.name, {}).setdefault(
            normal(distribution), (Plugin(point.name, distribution, version), point)
        )
    found: list[Found] = []
    for name in sorted(claims, key=lambda name: (HOME not in claims[name], name)):
        rivals = claims[name]
        for distribution in sorted(rivals):
            plugin, point = rivals[distribution]
            names = {normal(name), distribution}
            status, reason = "ok", ""
            if len(rivals) > 1 and not plugin.at_home:
                owners = ", ".join(f"{rival.distribution} {rival.version}" for rival, _ in rivals.values())
                status, reason = "conflict", f"namespace {name!r} is claimed by {owners}; uninstall all but one"
            elif refused & names:
                status, reason = "disabled", "TINIFY_DISABLE_PLUGINS (or -p no:NAME) names it"
            elif allowed is not None and not plugin.at_home and not allowed & names:
                status, reason = "disabled", "TINIFY_PLUGINS does not name it"
            elif not plugin.at_home:
                reason = _misfit(point)
                status = "incompatible" if reason else "ok"
            found.append((replace(plugin, status=status, reason=reason), point.load))
    return found


def call_hooks(source: Any) -> Offers:
    """What one plugin offers: a module or object with hooks, one declaration, or a list of declarations.

    Raises whatever the plugin raises, and :class:`~tinify.errors.PluginError` for hooks that tinify has not or that
    would never be called.
    """
    if isinstance(source, list | tuple):
        return Offers(components=list(source))
    if isinstance(getattr(source, "__component__", None), Component):
        return Offers(components=[source])
    for name in dir(source):
        if name not in _HOOKS and hasattr(getattr(source, name, None), "tinify_impl"):
            raise PluginError(str(UnknownNameError.among("hook", name, _HOOKS)))
    manager = pluggy.PluginManager("tinify")
    manager.add_hookspecs(Hooks)
    manager.register(source)
    manager.check_pending()
    offers = Offers()
    for hook in _HOOKS:
        implemented = getattr(source, hook, None)
        if implemented is None:
            continue
        if not hasattr(implemented, "tinify_impl"):
            raise PluginError(f"{hook} has no @hookimpl before it, so it would never be called")
        results = getattr(manager.hook, hook)()
        if not results:
            raise PluginError(f"{hook} returned None: expected a list")
        setattr(offers, hook.removeprefix("tinify_"), [item for result in results for item in result])
    return offers


def _misfit(point: metadata.EntryPoint) -> str:
    """Why the distribution behind an entry point does not want this tinify, "" if it does."""
    from packaging.requirements import InvalidRequirement, Requirement  # not needed where no stranger is installed

    for text in (point.dist and point.dist.requires) or ():
        try:
            needed = Requirement(text)
        except InvalidRequirement:
            return f"its metadata has a requirement that cannot be read: {text!r}"
        applies = needed.marker is None or needed.marker.evaluate({"extra": ""})
        if normal(needed.name) == HOME and applies and not needed.specifier.contains(__version__, prereleases=True):
            return (
                f"it needs {HOME}{needed.specifier}, this is {HOME} {__version__}: install a version of one that fits"
            )
    return ""
