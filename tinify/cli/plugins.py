"""``tinify plugins``: which plugins there are, how each fares, and what it gives; no torch."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from tinify.cli.options import json_option
from tinify.cli.tables import echo_table, plural
from tinify.errors import PluginError
from tinify.plugin import Plugin
from tinify.registry import Registry, get_registry

_FIELDS = ("namespace", "distribution", "version", "status")


@click.command("plugins")
@click.option("--require", multiple=True, metavar="NAME", help="Fail unless this plugin is ok; may be repeated.")
@json_option
def plugins_command(require: tuple[str, ...], as_json: bool) -> None:
    """List the installed plugins: how each fares, why, and what it gives."""
    registry = get_registry()
    if as_json:
        click.echo(json.dumps([plugin_facts(registry, plugin) for plugin in registry.plugins], indent=1))
    else:
        echo_table([plugin_row(registry, plugin) for plugin in registry.plugins])
    for name in require:
        found = [plugin for plugin in registry.plugins if name in (plugin.namespace, plugin.distribution)]
        if not found:
            raise PluginError(f"plugin {name!r} is required, and not installed")
        for plugin in found:
            if plugin.status != "ok":
                raise PluginError(f"{plugin} is required, and {plugin.status}: {plugin.reason}")


def plugin_facts(registry: Registry, plugin: Plugin) -> dict[str, Any]:
    """A plugin with the number of things it gives, by kind."""
    own = (plugin.namespace, plugin.distribution)
    offers: list[Any] = [*registry.components(), *registry.kernels(), *registry.commands().values()]
    offers += registry.names().values()
    mine = [one for one in offers if one.provider and (one.provider.namespace, one.provider.distribution) == own]
    gives = Counter(getattr(one, "kind", type(one).__name__.lower()) for one in mine)
    gives["spec"] = sum(owner == plugin for owner in registry.spec_owners().values())
    return {**{key: getattr(plugin, key) for key in _FIELDS}, "gives": dict(+gives), "reason": plugin.reason}


def plugin_row(registry: Registry, plugin: Plugin) -> dict[str, str]:
    """The same for people: at the end what it gives, or why it gives nothing."""
    facts = plugin_facts(registry, plugin)
    gives = ", ".join(f"{count} {plural(kind) if count > 1 else kind}" for kind, count in facts["gives"].items())
    return {**{key: facts[key] for key in _FIELDS}, "gives": gives or facts["reason"]}
