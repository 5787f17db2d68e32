"""Kernels of plugins: each takes an operator's place on its type of device, unless something speaks against it."""

from __future__ import annotations

import importlib.util
import threading
import warnings
from dataclasses import dataclass

import torch

from tinify import environment
from tinify.errors import InputError, PluginError
from tinify.plugin import Kernel
from tinify.registry import Registry, get_registry


@dataclass(frozen=True)
class Activation:
    """A kernel, and why it does not run: ``reason`` is "" for one that does; ``broken`` says that it should."""

    kernel: Kernel
    reason: str = ""
    broken: bool = False

    @property
    def active(self) -> bool:
        return not self.reason


_DISPATCH_KEYS = {"cpu": "CPU", "cuda": "CUDA", "xpu": "XPU", "mps": "MPS"}
_libraries: list[torch.library.Library] = []  # what they registered goes with them
_made: dict[Kernel, Activation] = {}
_lock = threading.RLock()


def activate(registry: Registry | None = None) -> list[Activation]:
    """Registers with PyTorch every kernel that can run here, each once in a process, and says what became of each.

    The plain definition in :mod:`tinify.ops` does the work wherever no kernel is active. A kernel that cannot be
    imported gives a warning and harms nothing. Raises :class:`~tinify.errors.InputError` for a ``TINIFY_KERNELS`` that
    cannot be read.
    """
    with _lock:
        kernels, choice = (registry or get_registry()).kernels(), _choice()
        taken = {(made.kernel.op, made.kernel.device): made.kernel for made in _made.values() if made.active}
        for kernel in kernels:
            if kernel not in _made:
                # A module that builds a model as it is imported comes back here, and must not import itself again.
                _made[kernel] = Activation(kernel, "it is being imported")
                objection = _objection(kernel, choice, taken.get((kernel.op, kernel.device)))
                failure = "" if objection else _register(kernel)
                _made[kernel] = Activation(kernel, objection or failure, broken=bool(failure))
                if _made[kernel].active:
                    taken[kernel.op, kernel.device] = kernel
        return [_made[kernel] for kernel in kernels]


def _choice() -> dict[str, str]:
    """What ``TINIFY_KERNELS`` says: a namespace or ``none`` by operator, under "" for all operators."""
    chosen = {}
    for word in environment.words("TINIFY_KERNELS") or ():
        op, equals, namespace = word.partition("=")
        if word != "none" and not (op and equals and namespace):
            raise InputError(f"TINIFY_KERNELS has {word!r}: expected none, OP=none or OP=NAMESPACE between commas")
        chosen[_full(op) if equals else ""] = namespace or "none"
    return chosen


def _full(op: str) -> str:
    return op if "::" in op else f"tinify::{op}"


def _objection(kernel: Kernel, choice: dict[str, str], rival: Kernel | None) -> str:
    """Why a kernel is not to run, "" if nothing speaks against it."""
    wanted = choice.get(kernel.op, choice.get("", ""))
    own = kernel.provider.namespace if kernel.provider else ""
    if wanted and wanted != own:
        return f"TINIFY_KERNELS asks for {wanted}"
    if kernel.device != "cpu" and not _has(kernel.device):
        return f"this machine has no {kernel.device} device that torch can use"
    missing = [name for name in kernel.requires if not _installed(name)]
    if missing:
        return f"{', '.join(missing)} is not installed"
    if rival:
        return f"that of {rival.provider} is used: TINIFY_KERNELS={kernel.op.removeprefix('tinify::')}={own} picks this"
    return ""


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a package above it is missing, or is none
        return False


def _has(device: str) -> bool:
    try:
        return bool(torch.get_device_module(device).is_available())
    except RuntimeError:
        return False


def _register(kernel: Kernel) -> str:
    """Puts a kernel in its operator's place; what prevents that, "" if nothing."""
    try:
        target = kernel.load()
        if kernel.op in torch._library.custom_ops.OPDEFS or kernel.device not in _DISPATCH_KEYS:
            torch.library.register_kernel(kernel.op, kernel.device, target)
        else:  # not by register_kernel, which would have the first call import half of torch's compiler
            library = torch.library.Library(kernel.op.partition("::")[0], "FRAGMENT")  # type: ignore[no-untyped-call]
            library.impl(kernel.op, target, _DISPATCH_KEYS[kernel.device])  # type: ignore[no-untyped-call]
            _libraries.append(library)
    except (Exception, SystemExit) as error:
        reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        warnings.warn(f"{kernel} of {kernel.provider} is not used: {reason}", stacklevel=4)
        return reason
    return ""
