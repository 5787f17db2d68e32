"""``tinify explain``, ``schema`` and ``diff``: what a spec makes, what may be written, how two differ; no torch."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from tinify.cli.options import assignments, json_option, preset_option, set_option
from tinify.cli.tables import echo_table
from tinify.errors import InputError
from tinify.files import write_atomic
from tinify.spec import Architecture, PartRow, Spec

DIFFERENT = 1


@click.command("explain")
@click.argument("name")
@preset_option
@set_option
@json_option
def explain_command(name: str, preset: str | None, pairs: tuple[str, ...], as_json: bool) -> None:
    """Explain the spec NAME: every part with its shapes, parameters and thousand multiply-accumulates per pixel."""
    architecture = Spec.load(name).elaborate(preset, **assignments(pairs))
    rows = [_row(row) for row in architecture.parts()]
    known = [row.cost for row in architecture.parts() if row.cost is not None]
    total = sum(cost.parameters for cost in known), sum((cost.macs for cost in known), Fraction(0))
    unknown = [row.path for row in architecture.parts() if row.cost is None and row.inputs]
    if as_json:
        facts = {"id": architecture.id, "stride": architecture.stride, "parts": rows, "parameters": total[0]}
        click.echo(json.dumps({**facts, "kMAC/pixel": float(total[1] / 1000), "without cost": unknown}, indent=1))
        return
    shown = [{key: _text(value) for key, value in row.items()} for row in rows]
    least = "at least " if unknown else ""
    last = {"path": "total", "part": "", "in -> out": "", "parameters": least + _text(total[0])}
    shown.append({**last, "kMAC/pixel": least + _text(float(total[1] / 1000))})
    click.echo(f"{architecture.name}, id {architecture.id}, pictures in multiples of {architecture.stride}")
    echo_table(shown, head=True, right=("parameters", "kMAC/pixel"))


def _row(row: PartRow) -> dict[str, Any]:
    cost: dict[str, Any] = {"parameters": None, "kMAC/pixel": None}
    if row.cost is not None:
        cost = {"parameters": row.cost.parameters, "kMAC/pixel": float(row.cost.macs / 1000)}
    elif not row.inputs:
        cost = {"parameters": 0, "kMAC/pixel": 0.0}
    return {"path": row.path or "(model)", "part": str(row), "in -> out": row.shapes, **cost}


def _text(value: Any) -> str:
    if value is None:
        return "?"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@click.command("schema")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write it to this file.")
@click.option("--check", type=click.Path(path_type=Path), help="Fail unless this file holds it.")
def schema_command(output: Path | None, check: Path | None) -> None:
    """Print the JSON Schema of specs, for editors: the language, and the components of the enabled plugins."""
    from tinify.spec.json_schema import schema

    text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    if check:
        if not check.is_file() or check.read_bytes() != text.encode():
            raise InputError(
                f"{check} is not the schema of the enabled plugins: write it with tinify schema -o {check}"
            )
        click.echo(f"{check} is current")
    elif output:
        write_atomic(output, text.encode())
    else:
        click.echo(text, nl=False)


@click.command("diff")
@click.argument("left")
@click.argument("right")
@json_option
def diff_command(left: str, right: str, as_json: bool) -> None:
    """Say how the models of two specs differ; each is NAME, FILE.yaml, or either with @PRESET behind it.

    Leaves with status 0 if they are the same model, with 1 if they are not.
    """
    flat = [_flat("model", _architecture(name).model) for name in (left, right)]
    rows = [
        {"path": path, "left": _value(flat[0], path), "right": _value(flat[1], path)}
        for path in dict.fromkeys([*flat[0], *flat[1]])
        if _value(flat[0], path) != _value(flat[1], path)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        echo_table(rows, head=True)
    else:
        click.echo(f"{left} and {right} are the same model")
    click.get_current_context().exit(DIFFERENT if rows else 0)


def _architecture(name: str) -> Architecture:
    spec, at, preset = name.rpartition("@")
    if not at or preset.endswith((".yaml", ".yml")):  # a file may have @ in its path
        return Spec.load(name).elaborate()
    return Spec.load(spec).elaborate(preset)


def _flat(path: str, node: Any) -> dict[str, str]:
    """Every leaf of a canonical form by its path."""
    if isinstance(node, dict) and node:
        items: Any = node.items()
    elif isinstance(node, list) and any(isinstance(item, dict | list) for item in node):
        items = enumerate(node)
    else:
        return {path: json.dumps(node)}
    return {key: text for name, child in items for key, text in _flat(f"{path}.{name}", child).items()}


def _value(flat: dict[str, str], path: str) -> str:
    return flat.get(path, "-")
