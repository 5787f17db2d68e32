"""What plugins offer beside components and specs: kernels, commands, names of the field."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from installed_plugins import Installer, fresh, status

from tinify.errors import PluginError

OFFERS = """
from tinify.plugin import Command, Kernel, hookimpl

@hookimpl
def tinify_kernels():
    return [{kernel}]

@hookimpl
def tinify_commands():
    return [{command}]
"""
KERNEL, COMMAND = "Kernel('tinify::f', 'cuda', 'math:pi')", "Command('acme', 'math:pi', 'Says hello.')"


def test_kernels_and_commands_come_from_plugins(install: Installer, tmp_path: Path) -> None:
    install("acme", OFFERS.format(kernel=KERNEL, command=f"{COMMAND}, Command('acme-more', 'math:nothing')"))
    registry = fresh(tmp_path)
    kernel = registry.kernels()[-1]
    assert (kernel.op, kernel.device, kernel.load()) == ("tinify::f", "cuda", math.pi)
    command = registry.commands()["acme"]
    assert str(command.provider) == "plugin acme (tinify-acme 1.0)"
    assert command.summary == "Says hello."
    with pytest.raises(PluginError, match=r"command 'acme-more' of plugin acme .* cannot be loaded from math:nothing"):
        registry.commands()["acme-more"].load()


@pytest.mark.parametrize(
    ("kernel", "command", "reason"),
    [
        ("3", COMMAND, "tinify_kernels gave 3: expected a Kernel"),
        (KERNEL, "print", "tinify_commands gave <built-in function print>: expected a Command"),
        (KERNEL.replace("::", "."), COMMAND, "an op is 'namespace::name', got 'tinify.f'"),
        (KERNEL.replace("cuda", "cuda:0"), COMMAND, "a device is a word"),
        (KERNEL.replace(":pi", ""), COMMAND, "a target is 'module:attribute', got 'math'"),
        (KERNEL, COMMAND.replace("'acme'", "'train'"), "command 'train' is outside the namespace"),
        (KERNEL, COMMAND.replace("'acme'", "'Acme'"), "a command is lower-case, got 'Acme'"),
        (KERNEL, f"{COMMAND}, {COMMAND}", "command 'acme' is declared by"),
    ],
)
def test_wrong_kernels_and_commands_break_their_plugin_alone(
    install: Installer, tmp_path: Path, kernel: str, command: str, reason: str
) -> None:
    install("acme", OFFERS.format(kernel=kernel, command=command))
    registry = fresh(tmp_path)
    [(state, why)] = status(registry, "acme")
    assert state == "broken"
    assert reason in why
    assert "acme" not in registry.commands()
    assert not [found for found in registry.kernels() if found.provider and found.provider.namespace == "acme"]


NAMES = """
from tinify.plugin import Name, hookimpl

@hookimpl
def tinify_names():
    return [{names}]
"""
PI = "Name('tinify.models', 'Pie', 'math:pi')"


def test_names_of_the_field_come_from_plugins(install: Installer, tmp_path: Path) -> None:
    install("acme", NAMES.format(names=f"{PI}, Name('tinify.layers', 'Pie', 'math:nothing')"))
    names = fresh(tmp_path).names()
    assert names["tinify.models", "Pie"].load() == math.pi
    assert str(names["tinify.models", "Pie"].provider) == "plugin acme (tinify-acme 1.0)"
    with pytest.raises(PluginError, match=r"name tinify\.layers\.Pie of plugin acme .* cannot be loaded"):
        names["tinify.layers", "Pie"].load()


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ("3", "tinify_names gave 3: expected a Name"),
        (PI.replace("models", "cli"), "a module is one of tinify.datasets, "),
        (PI.replace("Pie", "_pie"), "a name is public, got '_pie'"),
        (PI.replace(":pi", ""), "a target is 'module:attribute', got 'math'"),
        (f"{PI}, {PI}", "name tinify.models.Pie is declared by plugin acme"),
    ],
)
def test_wrong_names_break_their_plugin_alone(install: Installer, tmp_path: Path, names: str, reason: str) -> None:
    install("acme", NAMES.format(names=names))
    registry = fresh(tmp_path)
    [(state, why)] = status(registry, "acme")
    assert state == "broken"
    assert reason in why
    assert not [name for name in registry.names().values() if name.provider and name.provider.namespace == "acme"]
