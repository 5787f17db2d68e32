"""``tinify validate``: everything that is wrong with specs, for people, programs and pull requests."""

from __future__ import annotations

import json
from typing import Any

import click

from tinify.cli.options import assignments, set_option
from tinify.errors import SpecError, UnknownNameError
from tinify.spec import Architecture, DiagnosedSpecError, Diagnostic, Spec

INVALID = 2


@click.command("validate")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--preset", help="Only this preset; else the defaults and every preset are checked.")
@set_option
@click.option("--meta", is_flag=True, help="Build each model without memory and compare its real shapes; needs torch.")
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text", show_default=True)
def validate_command(names: tuple[str, ...], preset: str | None, pairs: tuple[str, ...], meta: bool, form: str) -> None:
    """Check specs: each NAME is a registered spec or a YAML file. Leaves with status 2 if anything is wrong."""
    found: dict[Diagnostic, str] = {}
    for name in names:
        try:
            made = _architectures(name, preset, assignments(pairs))
            problems = [problem for architecture in made if meta for problem in _meta(architecture)]
            found |= {Diagnostic("C003", name, 1, 1, problem): "" for problem in problems}
        except DiagnosedSpecError as error:
            found |= {one: error.sources.get(one.file, "") for one in error.diagnostics}
        except (SpecError, UnknownNameError) as error:
            found[Diagnostic("V004", name, 1, 1, str(error))] = ""
        else:
            if form == "text" and not problems:
                ids = ", ".join(dict.fromkeys(architecture.id for architecture in made))
                click.echo(f"{name}: ok, id {ids}")
    if form == "json":
        click.echo(json.dumps([_fields(one) for one in found], indent=1))
    for one, source in found.items():
        if form == "text":
            click.echo(one.render(source), err=True)
        elif form == "github":
            click.echo(_github(one))
    click.get_current_context().exit(INVALID if found else 0)


def _architectures(name: str, preset: str | None, parameters: dict[str, Any]) -> list[Architecture]:
    """What the spec makes with its defaults and with every preset, or with the one preset that was named."""
    spec = Spec.load(name)
    if preset is not None:
        return [spec.elaborate(preset, **parameters)]
    needy = {key for key, parameter in spec.parameters.items() if key not in spec.defaults and key not in parameters}
    return [spec.elaborate(each, **parameters) for each in ([] if needy and spec.presets else [None]) + [*spec.presets]]


def _meta(architecture: Architecture) -> list[str]:
    from tinify.models.meta import compare_with_meta

    return compare_with_meta(architecture)


def _fields(one: Diagnostic) -> dict[str, Any]:
    return {key: getattr(one, key) for key in ("file", "line", "column", "code", "message", "hint")}


def _github(one: Diagnostic) -> str:
    """A workflow command, which puts the error beside its line in a pull request."""

    def escape(text: str, more: str = "") -> str:
        for character in "%\r\n" + more:
            text = text.replace(character, f"%{ord(character):02X}")
        return text

    place = f"file={escape(one.file, ':,')},line={one.line},col={one.column},title={escape(one.code, ':,')}"
    return f"::error {place}::{escape(' '.join(filter(None, (one.message, one.hint))))}"
