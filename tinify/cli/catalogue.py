"""``tinify list`` and ``tinify show``: what is installed, without importing torch."""

from __future__ import annotations

import json
from typing import Any

import click

from tinify.cli.options import json_option, preset_option
from tinify.cli.tables import echo_table, plural
from tinify.errors import InputError, TinifyError, UnknownNameError
from tinify.plugin import KINDS, REQUIRED, Component
from tinify.registry import get_registry

# What can be listed: components by the plural of their kind.
KIND_OF = {plural(kind): kind for kind in KINDS}
LISTS = ("specs", "weights", "plugins", "commands", "kernels", *KIND_OF)


def _rows(kind: str) -> list[dict[str, str]]:
    registry = get_registry()
    if kind == "specs":
        return [_spec_row(name) for name in sorted(registry.spec_files())]
    if kind == "weights":
        return [{"name": name, "file": str(path)} for name, path in sorted(registry.weight_files().items())]
    if kind == "plugins":
        from tinify.cli.plugins import plugin_row

        return [plugin_row(registry, plugin) for plugin in registry.plugins]
    if kind == "commands":
        offers = registry.commands().values()
        return [{"name": c.name, "summary": c.summary, "provider": str(c.provider)} for c in offers]
    if kind == "kernels":
        kernels = registry.kernels()
        return [{"op": k.op, "device": k.device, "summary": k.summary, "provider": str(k.provider)} for k in kernels]
    parts = registry.components(KIND_OF[kind])
    newest = {part.name: part for part in parts}  # they come sorted by version
    return [
        {"name": p.name if newest[p.name] is p else p.key, "summary": p.summary, "provider": str(p.provider)}
        for p in parts
    ]


def _spec_row(name: str) -> dict[str, str]:
    from tinify.spec import Spec

    try:
        spec = Spec.load(name)
    except TinifyError:  # one plugin's bad file does not hide what the others give
        return {"name": name, "summary": f"cannot be read: tinify validate {name} says why", "presets": ""}
    return {"name": name, "summary": spec.summary, "presets": " ".join(spec.presets)}


@click.command("list")
@click.argument("kind", required=False, metavar="[KIND]")
@json_option
def list_command(kind: str | None, as_json: bool) -> None:
    """List what is installed: specs, weights, plugins, layers, entropy_models, ... (all of it without KIND)."""
    if kind is None:
        kinds = LISTS
    else:
        kinds = tuple(known for known in LISTS if kind in (known, known[:-1], KIND_OF.get(known)))
        if not kinds:
            raise UnknownNameError.among("kind", kind, LISTS)
    found = {known: _rows(known) for known in kinds}
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for known, rows in found.items():
        if rows or kind is not None:
            click.echo(f"{known}:")
        echo_table(rows)


@click.command("show")
@click.argument("name")
@preset_option
@json_option
def show_command(name: str, preset: str | None, as_json: bool) -> None:
    """Show the component or spec NAME: its parameters and, for a spec, every layer with the shapes between them."""
    registry = get_registry()
    parts = [part for part in registry.components() if name in (part.name, part.key)]
    shown: dict[str, Any] = {}
    if parts and preset is None:
        shown["components"] = [_component(part) for part in parts]
    if name in registry.spec_files() or name.endswith((".yaml", ".yml")):
        shown["spec"] = _spec(name, preset)
    elif parts and preset is not None:
        raise InputError(f"{parts[0]} has no presets: leave --preset {preset} out")
    elif not parts:
        known = {*registry.spec_files(), *(part.name for part in registry.components())}
        raise UnknownNameError.among("component or spec", name, known, registry.missing(name))
    if as_json:
        click.echo(json.dumps(shown, indent=1))
        return
    for part in shown.get("components", []):
        click.echo(f"{part['kind']} {part['name']}, version {part['version']}, from {part['provider']}")
        click.echo(f"  {part['summary']}\n  implemented by {part['target']}")
        if part["deprecated"]:
            click.echo(f"  deprecated: {part['deprecated']}")
        click.echo(f"  says what it costs: {'yes' if part['cost rule'] else 'no'}")
        takes = {**part["parameters"], **part["slots"]}
        echo_table([{"name": key, "takes": text, "help": part["help"].get(key, "")} for key, text in takes.items()])
    if "spec" in shown:
        spec = shown["spec"]
        click.echo(f"{spec['name']}: {spec['summary']}\n{spec['cite']}")
        click.echo(f"id {spec['id']}, pictures in multiples of {spec['stride']}")
        click.echo("parameters: " + ", ".join(f"{key}={value}" for key, value in spec["parameters"].items()))
        click.echo("presets: " + (" ".join(spec["presets"]) or "none"))
        click.echo("model:")
        echo_table(spec["layers"])


def _component(part: Component) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "name": part.name,
        "version": part.version,
        "summary": part.summary,
        "provider": str(part.provider),
        "target": part.target,
        "deprecated": part.deprecated,
        "cost rule": hasattr(part.declaration, "cost"),
        "parameters": {
            key: f"{taken}{'' if taken.default is REQUIRED else f', default {taken.default!r}'}"
            for key, taken in part.params.items()
        },
        "help": {key: taken.help for key, taken in part.params.items() if taken.help},
        "slots": {
            key: slot.kind
            + (f", default {slot.default}" if slot.default else ", may be left out" if slot.optional else "")
            + (f", one for each of {slot.each}" if slot.each else "")
            for key, slot in part.slots.items()
        },
    }


def _spec(name: str, preset: str | None) -> dict[str, Any]:
    from tinify.spec import Spec

    spec = Spec.load(name)
    architecture = spec.elaborate(preset=preset)
    return {
        "name": spec.name,
        "summary": spec.summary,
        "cite": spec.cite,
        "id": architecture.id,
        "stride": architecture.stride,
        "parameters": dict(architecture.parameters),
        "training": dict(architecture.training),
        "presets": list(spec.presets),
        "layers": [
            {"path": row.path or "(model)", "part": str(row), "shapes": row.shapes} for row in architecture.parts()
        ],
    }
