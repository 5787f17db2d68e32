"""What a plugin offers beside components, the record of the plugin itself, and how a target is loaded."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any

from tinify.errors import PluginError

HOME, IN_PROCESS = "tinify-codec", "in this process"
TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_OP = re.compile(r"[A-Za-z_]\w*::[A-Za-z_]\w*", re.ASCII)
OPEN_MODULES = tuple(
    f"tinify.{part}"
    for part in ("datasets", "entropy_models", "latent_codecs", "layers", "losses", "models", "transforms", "zoo")
)
_COMMAND = re.compile(r"[a-z][a-z0-9_]*(-[a-z0-9_]+)*")


@dataclass(frozen=True)
class Plugin:
    """One plugin: its namespace (the entry point's name), where it came from, and how it fares.

    ``status`` is ``"ok"``, ``"disabled"``, ``"incompatible"``, ``"conflict"`` or ``"broken"``; ``reason`` says why when
    it is not ok.
    """

    namespace: str
    distribution: str
    version: str
    status: str = "ok"
    reason: str = ""

    @property
    def at_home(self) -> bool:
        """Whether it ships with tinify, and so may own names without a namespace."""
        return normal(self.distribution) == HOME

    @property
    def in_process(self) -> bool:
        """Whether it was registered by hand."""
        return self.version == IN_PROCESS

    def __str__(self) -> str:
        return f"plugin {self.namespace} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Kernel:
    """An implementation of the torch operator ``op`` (``"namespace::name"``) for one type of device.

    ``target`` is a function of the operator's signature, imported only where that device and every module in
    ``requires`` are there.

    >>> str(Kernel("tinify::scale_indexes", "cuda", "acme.kernels:scale_indexes", requires=("triton",)))
    'kernel of tinify::scale_indexes for cuda'
    """

    op: str
    device: str
    target: str
    requires: tuple[str, ...] = ()
    summary: str = ""
    provider: Plugin | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "requires", tuple(self.requires))
        _check(self, bool(_OP.fullmatch(self.op)), f"an op is 'namespace::name', got {self.op!r}")
        _check(self, self.device.isidentifier(), f"a device is a word like 'cuda', got {self.device!r}")
        _check(self, bool(TARGET.fullmatch(self.target)), f"a target is 'module:attribute', got {self.target!r}")

    def load(self) -> Any:
        """Imports the function; :class:`~tinify.errors.PluginError` if that fails."""
        return load_target(self.target, self, self.provider)

    def __str__(self) -> str:
        return f"kernel of {self.op} for {self.device}"


@dataclass(frozen=True)
class Command:
    """A subcommand of ``tinify``, named after the plugin's namespace (``acme``, or ``acme-inspect``).

    ``target`` is a ``click.Command``, imported only when the command runs.
    """

    name: str
    target: str
    summary: str = ""
    provider: Plugin | None = None

    def __post_init__(self) -> None:
        _check(self, bool(_COMMAND.fullmatch(self.name)), f"a command is lower-case, got {self.name!r}")
        _check(self, bool(TARGET.fullmatch(self.target)), f"a target is 'module:attribute', got {self.target!r}")

    def load(self) -> Any:
        """Imports the click command; :class:`~tinify.errors.PluginError` if that fails."""
        return load_target(self.target, self, self.provider)

    def __str__(self) -> str:
        return f"command {self.name!r}"


@dataclass(frozen=True)
class Name:
    """A public name that a module of tinify gets: ``Name("tinify.models", "Ours", "acme.models:Ours")``.

    A script that moves over from another library finds a plugin's classes where that library had them. ``target`` is
    imported when the name is first asked for; a name that the module has itself is never replaced.
    """

    module: str
    name: str
    target: str
    provider: Plugin | None = None

    def __post_init__(self) -> None:
        _check(self, self.module in OPEN_MODULES, f"a module is one of {', '.join(OPEN_MODULES)}; got {self.module!r}")
        _check(self, self.name.isidentifier() and self.name[0] != "_", f"a name is public, got {self.name!r}")
        _check(self, bool(TARGET.fullmatch(self.target)), f"a target is 'module:attribute', got {self.target!r}")

    def load(self) -> Any:
        """Imports what it names; :class:`~tinify.errors.PluginError` if that fails."""
        return load_target(self.target, self, self.provider)

    def __str__(self) -> str:
        return f"name {self.module}.{self.name}"


def load_target(target: str, what: object, provider: Plugin | None) -> Any:
    """What ``"module:attribute"`` names; :class:`~tinify.errors.PluginError` says whose it is if it cannot be had."""
    module, _, path = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in path.split("."):
            found = getattr(found, attribute)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{what} of {provider or 'no plugin'} cannot be loaded from {target}: {type(error).__name__}: {error}"
        ) from error
    return found


def normal(name: str) -> str:
    """A distribution's name in its one spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _check(offer: object, right: bool, what: str) -> None:
    if not right:
        raise PluginError(f"{offer} is declared wrongly: {what}")
