"""The registry: finds plugins by entry point, loads each in isolation, and maps names to components and specs."""

from __future__ import annotations

import difflib
import os
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from tinify.errors import PluginError, UnknownNameError
from tinify.plugin import KINDS, Component, Hooks

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

GROUP = "tinify.plugins"
HOME = "tinify-codec"
_NAMESPACE = re.compile(r"[a-z][a-z0-9_]*")
_HOOKS = tuple(name for name in vars(Hooks) if name.startswith("tinify_"))
_lock = threading.Lock()


@dataclass(frozen=True)
class Plugin:
    """One plugin: its namespace (the entry point's name), where it came from, and how it fares.

    ``status`` is ``"ok"``, ``"broken"``, ``"conflict"`` or ``"disabled"``; ``reason`` says why when it is not ok.
    """

    namespace: str
    distribution: str
    version: str
    status: str = "ok"
    reason: str = ""

    @property
    def at_home(self) -> bool:
        """Whether it ships with tinify, and so may own names without a namespace."""
        return _normal(self.distribution) == HOME

    def __str__(self) -> str:
        return f"plugin {self.namespace} ({self.distribution} {self.version})"


class Registry:
    """Every component and spec of the enabled plugins.

    ``entry_points`` and ``disabled`` are for tests: by default the installed entry points of group ``tinify.plugins``,
    and the namespaces or distributions that the environment variable ``TINIFY_DISABLE_PLUGINS`` lists. A plugin that
    fails is marked ``broken`` in :attr:`plugins` and contributes nothing; the others are not touched by it.

    >>> str(Registry().component("layer", "conv").params["kernel"])
    'int, at least 1 and at most 31'
    """

    def __init__(
        self, entry_points: Iterable[metadata.EntryPoint] | None = None, disabled: Iterable[str] | None = None
    ) -> None:
        self._plugins: list[Plugin] = []
        self._components: dict[tuple[str, str], Component] = {}
        self._specs: dict[str, Traversable] = {}
        self._weights: dict[str, Path] = {}
        if disabled is None:
            disabled = os.environ.get("TINIFY_DISABLE_PLUGINS", "").split(",")
        self._disabled = {_normal(name.strip()) for name in disabled if name.strip()}
        self._discover(metadata.entry_points(group=GROUP) if entry_points is None else entry_points)

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        return tuple(self._plugins)

    def component(self, kind: str, name: str) -> Component:
        """The component of that kind and name; :class:`~tinify.errors.UnknownNameError` says what there is."""
        found = self.find((kind,), name)
        if found is None:
            raise UnknownNameError(f"unknown {kind} {name!r}: {self.hint((kind,), name)}")
        return found

    def components(self, kind: str | None = None) -> list[Component]:
        """All components, or those of one kind, sorted by kind and name."""
        if kind is not None and kind not in KINDS:
            raise UnknownNameError.among("kind", kind, KINDS)
        order = {kind: place for place, kind in enumerate(KINDS)}
        found = [part for part in self._components.values() if kind in (None, part.kind)]
        return sorted(found, key=lambda part: (order[part.kind], "/" in part.name, part.name))

    def spec_files(self) -> dict[str, Traversable]:
        """The YAML file of every registered spec, by name."""
        return dict(self._specs)

    def weight_files(self) -> dict[str, Path]:
        """Every safetensors file that lies beside the specs, by name (``SPEC`` or ``SPEC-PRESET``)."""
        return dict(self._weights)

    def find(self, kinds: Iterable[str], name: str) -> Component | None:
        """The component of that name in the first of those kinds that has it."""
        return next((self._components[kind, name] for kind in kinds if (kind, name) in self._components), None)

    def hint(self, kinds: tuple[str, ...], name: str) -> str:
        """What may help somebody who wrote a name that no component of those kinds has."""
        other = [kind for kind in KINDS if (kind, name) in self._components and kind not in kinds]
        if other:
            return f"{name!r} is of kind {other[0]}; {' or '.join(kinds)} is wanted here"
        names = sorted(known for kind, known in self._components if kind in kinds)
        found = [f"did you mean {near!r}?" for near in difflib.get_close_matches(name, names, n=1, cutoff=0.6)]
        found += [self.missing(name)]
        return " ".join(filter(None, found)) or (f"there are: {', '.join(names)}" if names else "there are none")

    def missing(self, name: str) -> str:
        """Why the plugin that would have ``name`` gives nothing: "" if that is not the reason."""
        namespace, slash, _ = name.partition("/")
        for plugin in self._plugins:
            if plugin.status != "ok" and (plugin.namespace == namespace if slash else plugin.at_home):
                return f"{plugin} is {plugin.status}: {plugin.reason}"
        if slash and not any(plugin.namespace == namespace for plugin in self._plugins):
            return f"no plugin {namespace!r} is installed"
        return ""

    def register(self, plugin: Any, namespace: str = "local") -> None:
        """Adds a plugin by hand: a module or object with hooks, or one declaration. For notebooks and tests.

        Its names must start with ``namespace/``. What is wrong with it is raised, and then nothing is added.
        """
        if any(known.namespace == namespace for known in self._plugins):
            raise PluginError(f"namespace {namespace!r} is taken: pass another, and name the components after it")
        record = Plugin(namespace, getattr(plugin, "__name__", type(plugin).__name__), "in this process")
        self._add(record, plugin)
        self._plugins.append(record)

    def _discover(self, entry_points: Iterable[metadata.EntryPoint]) -> None:
        claims: dict[str, dict[str, tuple[Plugin, metadata.EntryPoint]]] = {}
        for point in entry_points:
            distribution, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "0")
            # one distribution can be listed twice, by a stale folder of metadata: the first on the path counts
            claims.setdefault(point.name, {}).setdefault(
                _normal(distribution), (Plugin(point.name, distribution, version), point)
            )
        for name in sorted(claims, key=lambda name: (HOME not in claims[name], name)):
            rivals = claims[name]
            for distribution in sorted(rivals):
                plugin, point = rivals[distribution]
                if len(rivals) > 1 and distribution != HOME:
                    owners = ", ".join(f"{rival.distribution} {rival.version}" for rival, _ in rivals.values())
                    reason = f"namespace {name!r} is claimed by {owners}; uninstall all but one"
                    self._plugins.append(replace(plugin, status="conflict", reason=reason))
                elif self._disabled & {_normal(name), distribution}:
                    reason = "TINIFY_DISABLE_PLUGINS names it"
                    self._plugins.append(replace(plugin, status="disabled", reason=reason))
                else:
                    self._plugins.append(self._load(plugin, point))

    def _load(self, plugin: Plugin, point: metadata.EntryPoint) -> Plugin:
        try:
            self._add(plugin, point.load())
        except (Exception, SystemExit) as error:
            cause = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            return replace(plugin, status="broken", reason=cause)
        return plugin

    def _add(self, plugin: Plugin, source: Any) -> None:
        """Adds all that a plugin offers, or raises and adds nothing."""
        if not _NAMESPACE.fullmatch(plugin.namespace):
            raise PluginError(f"namespace {plugin.namespace!r} is not of the form lower_case")
        declared = isinstance(getattr(source, "__component__", None), Component)
        declarations, folders = ([source], []) if declared else _call_hooks(source)
        components = self._declared(plugin, declarations)
        specs, weights = self._files(plugin, folders)
        self._components |= components
        self._specs |= specs
        self._weights |= weights

    def _declared(self, plugin: Plugin, declarations: list[Any]) -> dict[tuple[str, str], Component]:
        found: dict[tuple[str, str], Component] = {}
        for declaration in declarations:
            part = getattr(declaration, "__component__", None)
            if not isinstance(part, Component) or part.declaration is not declaration:
                raise PluginError(f"tinify_components gave {declaration!r}: expected classes decorated by @component")
            self._check_name(plugin, part.kind, part.name)
            if (part.kind, part.name) in self._components.keys() | found.keys():
                raise PluginError(f"{part.kind} {part.name!r} is declared twice")
            found[part.kind, part.name] = replace(part, provider=str(plugin))
        return found

    def _files(self, plugin: Plugin, folders: list[Any]) -> tuple[dict[str, Traversable], dict[str, Path]]:
        specs: dict[str, Traversable] = {}
        weights: dict[str, Path] = {}
        for folder in folders:
            for file in sorted(folder.iterdir(), key=lambda file: str(file.name)):
                stem, _, suffix = file.name.rpartition(".")
                name = stem if plugin.at_home else f"{plugin.namespace}/{stem}"
                if suffix == "yaml":
                    if name in self._specs or name in specs:
                        raise PluginError(f"spec {name!r} is provided twice")
                    specs[name] = file
                elif suffix == "safetensors" and isinstance(file, Path):
                    weights[name] = file
        return specs, weights

    @staticmethod
    def _check_name(plugin: Plugin, kind: str, name: str) -> None:
        if not name.startswith(f"{plugin.namespace}/") and not (plugin.at_home and "/" not in name):
            own = f"{plugin.namespace}/{name.rpartition('/')[2]}"
            raise PluginError(f"{kind} {name!r} is outside the namespace of this plugin: call it {own!r}")


def _call_hooks(source: Any) -> tuple[list[Any], list[Any]]:
    """What one plugin's hooks return, called apart from every other plugin's."""
    manager = pluggy.PluginManager("tinify")
    manager.add_hookspecs(Hooks)
    manager.register(source)
    manager.check_pending()
    found: list[list[Any]] = []
    for hook in _HOOKS:
        implemented = getattr(source, hook, None)
        if implemented is not None and not hasattr(implemented, "tinify_impl"):
            raise PluginError(f"{hook} has no @hookimpl before it, so it would never be called")
        results = getattr(manager.hook, hook)()
        if implemented is not None and not results:
            raise PluginError(f"{hook} returned None: expected a list")
        found.append([item for result in results for item in result])
    return found[0], found[1]


_current: Registry | None = None


def get_registry() -> Registry:
    """The registry of this process, made at the first call."""
    global _current
    with _lock:
        if _current is None:
            _current = Registry()
        return _current


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
