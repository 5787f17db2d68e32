"""``tinify plugins`` and ``tinify doctor``: which plugins there are and how they fare, and what is amiss here."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import click

from tinify.cli.options import json_option
from tinify.cli.tables import echo_table
from tinify.environment import VARIABLES
from tinify.errors import PluginError
from tinify.host import GROUP
from tinify.plugin import Plugin
from tinify.plugin.offers import HOME, normal
from tinify.registry import Registry, get_registry

UNHEALTHY = 1
# Modules of the extras, and what they give.
_EXTRAS = {"tensorboard": "train: logs for TensorBoard", "triton": "gpu: kernels for CUDA"}


@click.command("plugins")
@click.option("--require", multiple=True, metavar="NAME", help="Fail unless this plugin is ok; may be repeated.")
@json_option
def plugins_command(require: tuple[str, ...], as_json: bool) -> None:
    """List the installed plugins: how each fares, why, and what it gives."""
    registry = get_registry()
    rows = [_row(registry, plugin) for plugin in registry.plugins]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        echo_table([{**row, "gives": _counts(row["gives"]) or row["reason"], "reason": ""} for row in rows])
    for name in require:
        found = [plugin for plugin in registry.plugins if name in (plugin.namespace, plugin.distribution)]
        if not found:
            raise PluginError(f"plugin {name!r} is required, and not installed")
        for plugin in found:
            if plugin.status != "ok":
                raise PluginError(f"{plugin} is required, and {plugin.status}: {plugin.reason}")


def _row(registry: Registry, plugin: Plugin) -> dict[str, Any]:
    own = (plugin.namespace, plugin.distribution)
    offers: list[Any] = [*registry.components(), *registry.kernels(), *registry.commands().values()]
    mine = [one for one in offers if one.provider and (one.provider.namespace, one.provider.distribution) == own]
    gives = Counter(getattr(one, "kind", type(one).__name__.lower()) for one in mine)
    gives["spec"] = sum(owner == plugin for owner in registry.spec_owners().values())
    fields = ("namespace", "distribution", "version", "status")
    return {**{key: getattr(plugin, key) for key in fields}, "gives": dict(+gives), "reason": plugin.reason}


def _counts(gives: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in gives.items()).replace("losss", "losses")


@click.command("doctor")
@json_option
def doctor_command(as_json: bool) -> None:
    """Look for what is amiss with this installation. Leaves with status 1 if something is."""
    findings = [*_versions(), *_distributions(), *_plugins(), *_extras(), *_kernels(), *_variables()]
    if as_json:
        click.echo(json.dumps([dict(zip(("state", "text"), one, strict=True)) for one in findings], indent=1))
    else:
        echo_table([{"state": state, "text": text} for state, text in findings])
    click.get_current_context().exit(UNHEALTHY if any(state == "problem" for state, _ in findings) else 0)


Findings = Iterator[tuple[str, str]]


def _versions() -> Findings:
    found = [f"Python {platform.python_version()}"]
    for name in (HOME, "torch", "numpy", "numba", "triton"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            if name not in ("triton",):
                yield "problem", f"{name} is not installed: python -m pip install {name}"
    yield "ok", ", ".join(found)


def _distributions() -> Findings:
    """Distributions that stand in each other's way."""
    names = Counter(normal(found.name) for found in metadata.distributions() if found.name)
    if "tinify" in names:
        yield (
            "problem",
            "the distribution 'tinify', another company's client, is installed and writes to the same folder: "
            f"python -m pip uninstall tinify, then python -m pip install --force-reinstall {HOME}",
        )
    if names[HOME] > 1:
        places = {str(found.locate_file("")) for found in metadata.distributions() if normal(found.name or "") == HOME}
        yield "warning", f"{HOME} is installed {names[HOME]} times, the first counts: {', '.join(sorted(places))}"


def _plugins() -> Findings:
    for point in metadata.entry_points(group=GROUP):
        if importlib.util.find_spec(point.module.partition(".")[0]) is None:
            yield (
                "problem",
                f"plugin {point.name} names the module {point.module}, which is not there: a stale entry point; "
                f"install {point.dist.name if point.dist else 'its distribution'} again, or uninstall it",
            )
    for plugin in get_registry().plugins:
        if plugin.status == "ok":
            continue
        yield ("ok" if plugin.status == "disabled" else "problem"), f"{plugin} is {plugin.status}: {plugin.reason}"
    yield "ok", f"{sum(plugin.status == 'ok' for plugin in get_registry().plugins)} plugins are loaded"


def _extras() -> Findings:
    for module, gives in _EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            yield "ok", f"{module} is not installed ({gives})"


def _kernels() -> Findings:
    for kernel in get_registry().kernels():
        missing = [name for name in kernel.requires if importlib.util.find_spec(name) is None]
        state = f"needs {', '.join(missing)}" if missing else "ready, where torch has such a device"
        yield "ok", f"{kernel} of {kernel.provider}: {state}"


def _variables() -> Findings:
    for name, text in VARIABLES.items():
        if name in os.environ:
            yield "ok", f"{name}={os.environ[name]} ({text})"
    for name in sorted(os.environ):
        if name.startswith("TINIFY_") and name not in VARIABLES:
            yield "warning", f"{name} is set, but tinify reads no such variable; it reads {', '.join(VARIABLES)}"
