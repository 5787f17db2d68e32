"""The registry: what the enabled plugins offer, by kind and name."""

from __future__ import annotations

import difflib
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinify import environment
from tinify.errors import PluginError, UnknownNameError
from tinify.host import GROUP, Offers, call_hooks, find_plugins
from tinify.plugin import KINDS, Command, Component, Kernel, Name, Plugin
from tinify.plugin.offers import HOME, IN_PROCESS

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NAMESPACE = re.compile(r"[a-z][a-z0-9_]*")
_PACKAGES = ("tinify_plugins", "tinify_specs", "tinify_kernels")
_lock = threading.RLock()

Versions = dict[int, Component]


@dataclass
class _Shelf:
    """What one plugin adds, or all of them together."""

    components: dict[tuple[str, str], Versions] = field(default_factory=dict)
    specs: dict[str, tuple[Plugin, Traversable]] = field(default_factory=dict)
    weights: dict[str, Path] = field(default_factory=dict)
    kernels: list[Kernel] = field(default_factory=list)
    commands: dict[str, Command] = field(default_factory=dict)
    names: dict[tuple[str, str], Name] = field(default_factory=dict)


class Registry:
    """Every component, spec, kernel and command of the enabled plugins.

    The arguments are for tests: by default the installed entry points of group ``tinify.plugins``, and what the
    variables of :mod:`tinify.environment` say. A plugin that fails is marked ``broken`` in :attr:`plugins` and
    contributes nothing; the others are not touched by it. ``strict`` raises
    :class:`~tinify.errors.PluginError` instead.

    >>> str(Registry().component("layer", "conv").params["kernel"])
    'int, at least 1 and at most 31'
    """

    def __init__(
        self,
        entry_points: Iterable[metadata.EntryPoint] | None = None,
        disabled: Iterable[str] | None = None,
        only: Iterable[str] | None = None,
        strict: bool | None = None,
    ) -> None:
        self._plugins: list[Plugin] = []
        self._shelf = _Shelf()
        points = metadata.entry_points(group=GROUP) if entry_points is None else entry_points
        disabled = environment.words("TINIFY_DISABLE_PLUGINS") or () if disabled is None else disabled
        only = environment.words("TINIFY_PLUGINS") if only is None else only
        for plugin, load in find_plugins(points, disabled, only):
            self._plugins.append(self._load(plugin, load) if plugin.status == "ok" else plugin)
        strict = environment.read("TINIFY_STRICT_PLUGINS") in ("1", "true", "yes") if strict is None else strict
        failed = [f"{found} is {found.status}: {found.reason}" for found in self._plugins if not _fine(found)]
        if strict and failed:
            raise PluginError("; ".join(failed))

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        return tuple(self._plugins)

    def component(self, kind: str, name: str) -> Component:
        """The component of that kind and name; :class:`~tinify.errors.UnknownNameError` says what there is.

        ``name@version`` asks for one version; else the newest is meant.
        """
        found = self.find((kind,), name)
        if found is None:
            raise UnknownNameError(f"unknown {kind} {name!r}: {self.hint((kind,), name)}")
        return found

    def components(self, kind: str | None = None) -> list[Component]:
        """All components in all versions, or those of one kind, sorted by kind and name."""
        if kind is not None and kind not in KINDS:
            raise UnknownNameError.among("kind", kind, KINDS)
        order = {kind: place for place, kind in enumerate(KINDS)}
        found = [
            part
            for (own, _), versions in self._shelf.components.items()
            if kind in (None, own)
            for part in versions.values()
        ]
        return sorted(found, key=lambda part: (order[part.kind], "/" in part.name, part.name, part.version))

    def spec_files(self) -> dict[str, Traversable]:
        """The YAML file of every registered spec, by name."""
        return {name: file for name, (_, file) in self._shelf.specs.items()}

    def spec_owners(self) -> dict[str, Plugin]:
        """The plugin behind every registered spec, by name."""
        return {name: owner for name, (owner, _) in self._shelf.specs.items()}

    def weight_files(self) -> dict[str, Path]:
        """Every safetensors file that lies beside the specs, by name (``SPEC`` or ``SPEC-PRESET``)."""
        return dict(self._shelf.weights)

    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel, those of first-party plugins first."""
        return tuple(self._shelf.kernels)

    def commands(self) -> dict[str, Command]:
        """The subcommands that plugins add to the command line, by name."""
        return dict(self._shelf.commands)

    def names(self) -> dict[tuple[str, str], Name]:
        """What plugins add to tinify's public modules, by module and name."""
        return dict(self._shelf.names)

    def find(self, kinds: Iterable[str], name: str) -> Component | None:
        """The component of that name, or ``name@version``, in the first of those kinds that has it."""
        bare, at, version = name.partition("@")
        for kind in kinds:
            versions = self._shelf.components.get((kind, bare), {})
            if versions and not at:
                return versions[max(versions)]
            if version.isascii() and version.isdecimal() and int(version[:9]) in versions:
                return versions[int(version[:9])]
        return None

    def hint(self, kinds: tuple[str, ...], name: str) -> str:
        """What may help somebody who wrote a name that no component of those kinds has."""
        bare, at, version = name.partition("@")
        known = self._shelf.components
        if any(character in bare for character in ".:\\"):
            return "a spec names registered components (tinify list), never modules or files"
        for kind in kinds if at else ():
            if (kind, bare) in known:
                there = " and ".join(map(str, sorted(known[kind, bare])))
                owner = next(iter(known[kind, bare].values())).provider
                return f"{bare!r} has no version {version!r} here but {there}: another release of {owner} may have it"
        other = [kind for kind in KINDS if (kind, bare) in known and kind not in kinds]
        if other:
            return f"{bare!r} is of kind {other[0]}; {' or '.join(kinds)} is wanted here"
        names = sorted(name for kind, name in known if kind in kinds)
        found = [f"did you mean {near!r}?" for near in difflib.get_close_matches(bare, names, n=1, cutoff=0.6)]
        found += [self.missing(bare)]
        # Those of other namespaces would make every list long: who wants one has written a namespace.
        alike = [one for one in names if ("/" in one) == ("/" in bare)] or names
        return " ".join(filter(None, found)) or (f"there are: {', '.join(alike)}" if alike else "there are none")

    def missing(self, name: str) -> str:
        """Why the plugin that would have ``name`` gives nothing: "" if that is not the reason.

        A name without a namespace may be of any of tinify's own plugins that give nothing.
        """
        namespace, slash, _ = name.partition("/")
        mute = [one for one in self._plugins if one.status != "ok"]
        found = [one for one in mute if (one.namespace == namespace if slash else one.at_home)]
        if found:
            return "; ".join(f"{plugin} is {plugin.status}: {plugin.reason}" for plugin in found)
        if slash and not any(plugin.namespace == namespace for plugin in self._plugins):
            return f"no plugin {namespace!r} is installed"
        return ""

    def register(self, source: Any, namespace: str = "local") -> None:
        """Adds what a notebook, a test or a frozen application has at hand, under names that start with ``namespace/``.

        ``source`` is a declaration, a list of them, or a module or object with hooks. A declaration made again (a cell
        that ran twice) replaces itself; anything else that is taken or wrong raises
        :class:`~tinify.errors.PluginError`, and then nothing is added. Modules of tinify itself stay first-party, for
        applications that are frozen without package metadata.
        """
        known = [plugin for plugin in self._plugins if plugin.namespace == namespace]
        if not all(plugin.in_process for plugin in known):
            raise PluginError(f"namespace {namespace!r} is taken: pass another, and name the components after it")
        owner = getattr(source, "__name__", type(source).__name__)
        ours = owner.partition(".")[0] in _PACKAGES
        plugin = known[0] if known else Plugin(namespace, HOME if ours else owner, IN_PROCESS)
        self._add(plugin, call_hooks(source))
        if not known:
            self._plugins.append(plugin)

    def _load(self, plugin: Plugin, load: Any) -> Plugin:
        try:
            self._add(plugin, call_hooks(load()))
        except (Exception, SystemExit) as error:
            cause = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            return replace(plugin, status="broken", reason=cause)
        return plugin

    def _add(self, plugin: Plugin, offers: Offers) -> None:
        """Adds all that a plugin offers, or raises and adds nothing."""
        if not _NAMESPACE.fullmatch(plugin.namespace):
            raise PluginError(f"namespace {plugin.namespace!r} is not of the form lower_case")
        new, shelf = _Shelf(), self._shelf
        for declaration in offers.components:
            self._declare(plugin, declaration, new)
        for folder in offers.spec_paths:
            self._take_files(plugin, folder, new)
        for kernel in offers.kernels:
            new.kernels.append(replace(_of(Kernel, kernel, "tinify_kernels"), provider=plugin))
        for command in offers.commands:
            self._command(plugin, _of(Command, command, "tinify_commands"), new)
        for name in offers.names:
            self._name(plugin, _of(Name, name, "tinify_names"), new)
        for key, versions in new.components.items():
            shelf.components[key] = shelf.components.get(key, {}) | versions
        shelf.specs |= new.specs
        shelf.weights |= new.weights
        shelf.kernels += new.kernels
        shelf.commands |= new.commands
        shelf.names |= new.names

    def _declare(self, plugin: Plugin, declaration: Any, new: _Shelf) -> None:
        part = getattr(declaration, "__component__", None)
        if not isinstance(part, Component) or part.declaration is not declaration:
            raise PluginError(f"tinify_components gave {declaration!r}: expected classes decorated by @component")
        if not part.name.startswith(f"{plugin.namespace}/") and not (plugin.at_home and "/" not in part.name):
            own = f"{plugin.namespace}/{part.name.rpartition('/')[2]}"
            raise PluginError(f"{part} is outside the namespace of this plugin: call it {own!r}")
        if part.version in new.components.get((part.kind, part.name), {}):
            raise PluginError(f"{part} version {part.version} is declared twice")
        rival = self._shelf.components.get((part.kind, part.name), {}).get(part.version)
        if rival is not None and not _again(rival, part, plugin):
            raise PluginError(f"{part} version {part.version} is declared by {rival.provider} already")
        new.components.setdefault((part.kind, part.name), {})[part.version] = replace(part, provider=plugin)

    def _take_files(self, plugin: Plugin, folder: Traversable, new: _Shelf) -> None:
        for file in sorted(folder.iterdir(), key=lambda file: str(file.name)):
            stem, _, suffix = file.name.rpartition(".")
            name = stem if plugin.at_home else f"{plugin.namespace}/{stem}"
            if suffix == "yaml":
                rival = self._shelf.specs.get(name) or new.specs.get(name)
                if rival:
                    raise PluginError(f"spec {name!r} is provided twice: by {rival[0]} too")
                new.specs[name] = plugin, file
            elif suffix == "safetensors" and isinstance(file, Path):
                new.weights[name] = file

    def _command(self, plugin: Plugin, command: Command, new: _Shelf) -> None:
        if not plugin.at_home and command.name.partition("-")[0] != plugin.namespace:
            own = f"{plugin.namespace}-{command.name}"
            raise PluginError(f"{command} is outside the namespace of this plugin: call it {own!r}")
        rival = self._shelf.commands.get(command.name) or new.commands.get(command.name)
        if rival:
            raise PluginError(f"{command} is declared by {rival.provider} already")
        new.commands[command.name] = replace(command, provider=plugin)

    def _name(self, plugin: Plugin, name: Name, new: _Shelf) -> None:
        key = name.module, name.name
        rival = self._shelf.names.get(key) or new.names.get(key)
        if rival:
            raise PluginError(f"{name} is declared by {rival.provider} already")
        new.names[key] = replace(name, provider=plugin)


def _fine(plugin: Plugin) -> bool:
    return plugin.status in ("ok", "disabled")


def _again(rival: Component, part: Component, plugin: Plugin) -> bool:
    """Whether a declaration is one that was registered by hand before, and ran again."""
    same = all(
        getattr(rival.declaration, key) == getattr(part.declaration, key) for key in ("__module__", "__qualname__")
    )
    return same and plugin.in_process


def _of(kind: Any, offer: Any, hook: str) -> Any:
    if not isinstance(offer, kind):
        raise PluginError(f"{hook} gave {offer!r}: expected a {kind.__name__}")
    return offer


_current: Registry | None = None
_making = False


def get_registry() -> Registry:
    """The registry of this process, made at the first call.

    Raises :class:`~tinify.errors.PluginError` where a plugin asks for it while it is being imported.
    """
    global _current, _making
    with _lock:
        if _making:
            raise PluginError("plugins are being loaded: ask for what they give when it is used, not when importing")
        if _current is None:
            _making = True
            try:
                _current = Registry()
            finally:
                _making = False
        return _current


def register(source: Any, namespace: str = "local") -> None:
    """Adds components by hand to the registry of this process; see :meth:`Registry.register`."""
    get_registry().register(source, namespace)
