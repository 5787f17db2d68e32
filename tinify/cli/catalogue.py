"""``tinify list`` and ``tinify show``: what is installed, without importing torch."""

from __future__ import annotations

import json
from typing import Any

import click

from tinify.cli.options import json_option
from tinify.errors import UnknownNameError
from tinify.plugin import KINDS
from tinify.registry import get_registry

# What can be listed: components by the plural of their kind.
KIND_OF = {f"{kind}{'es' if kind.endswith('s') else 's'}": kind for kind in KINDS}
LISTS = ("specs", "weights", "plugins", *KIND_OF)


def _rows(kind: str) -> list[dict[str, str]]:
    registry = get_registry()
    if kind == "specs":
        from tinify.spec import Spec

        specs = ((name, Spec.load(name)) for name in sorted(registry.spec_files()))
        return [{"name": name, "summary": spec.summary, "presets": " ".join(spec.presets)} for name, spec in specs]
    if kind == "weights":
        return [{"name": name, "file": str(path)} for name, path in sorted(registry.weight_files().items())]
    if kind == "plugins":
        fields = ("namespace", "distribution", "version", "status", "reason")
        return [{field: getattr(plugin, field) for field in fields} for plugin in registry.plugins]
    return [{"name": c.name, "summary": c.summary, "provider": str(c.provider)} for c in registry.components(KIND_OF[kind])]


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
        _print(rows)


@click.command("show")
@click.argument("name")
@click.option("--preset", help="Elaborate a spec with one of its presets.")
@json_option
def show_command(name: str, preset: str | None, as_json: bool) -> None:
    """Show the component or spec NAME: its parameters and, for a spec, every layer with the shapes between them."""
    registry = get_registry()
    parts = [c for c in registry.components() if c.name == name]
    shown: dict[str, Any] = {}
    if parts and preset is None:
        shown["components"] = [
            {
                "kind": c.kind,
                "name": c.name,
                "version": c.version,
                "summary": c.summary,
                "provider": str(c.provider),
                "target": c.target,
                "parameters": {
                    key: str(p) + ("" if repr(p.default) == "REQUIRED" else f", default {p.default!r}")
                    for key, p in c.params.items()
                },
                "slots": {key: slot.kind for key, slot in c.slots.items()},
            }
            for c in parts
        ]
    else:
        if name not in registry.spec_files() and not name.endswith((".yaml", ".yml")):
            raise UnknownNameError.among(
                "component or spec", name, {*registry.spec_files(), *(c.name for c in registry.components())}
            )
        shown["spec"] = _spec(name, preset)
    if as_json:
        click.echo(json.dumps(shown, indent=1))
        return
    for part in shown.get("components", []):
        click.echo(f"{part['kind']} {part['name']}, version {part['version']}, from {part['provider']}")
        click.echo(f"  {part['summary']}\n  implemented by {part['target']}")
        _print([{"name": key, "takes": text} for key, text in {**part["parameters"], **part["slots"]}.items()])
    if "spec" in shown:
        spec = shown["spec"]
        click.echo(f"{spec['name']}: {spec['summary']}\n{spec['cite']}")
        click.echo(f"id {spec['id']}, pictures in multiples of {spec['stride']}")
        click.echo("parameters: " + ", ".join(f"{key}={value}" for key, value in spec["parameters"].items()))
        click.echo("presets: " + (" ".join(spec["presets"]) or "none"))
        click.echo("model:")
        for path, text in spec["layers"]:
            click.echo(f"  {path:<38} {text}")


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
        "layers": [*_layers("", architecture.model)],
    }


def _layers(path: str, node: Any) -> Any:
    """(path, description) of every component of a canonical model, depth first; paths are those of the state dict."""
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield from _layers(f"{path}.{index}", child)
        return
    children = {key: value for key, value in node.items() if isinstance(value, dict) or _is_sequence(value)}
    skipped = {"type", "kind", "version", "in", *children}
    arguments = ", ".join(f"{key}={value}" for key, value in node.items() if key not in skipped)
    entering = f"{node['in']} channels -> " if "in" in node else ""
    yield path or "(model)", f"{entering}{node['type']}({arguments})"
    for key, child in children.items():
        yield from _layers(f"{path}.{key}" if path else key, child)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _print(rows: list[dict[str, str]]) -> None:
    if rows:
        widths = {key: max(len(row[key]) for row in rows) for key in rows[0]}
        for row in rows:
            click.echo("  " + "  ".join(f"{row[key]:<{widths[key]}}" for key in row).rstrip())
