"""``tinify validate``: everything that is wrong with specs, for people, programs and pull requests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from tinify.cli.options import assignments, set_option
from tinify.errors import SpecError, TinifyError, UnknownNameError
from tinify.spec import Architecture, DiagnosedSpecError, Diagnostic, Spec

INVALID = 2


@dataclass
class Report:
    """What was found out about a spec: the ``ids`` of what it makes, and its ``errors``, each with its file's text."""

    name: str
    ids: dict[str, None] = field(default_factory=dict)
    errors: dict[Diagnostic, str] = field(default_factory=dict)

    def add(self, code: str, message: str) -> None:
        self.errors[Diagnostic(code, self.name, 1, 1, message)] = ""

    @contextmanager
    def collecting(self) -> Iterator[None]:
        try:
            yield
        except DiagnosedSpecError as error:
            self.errors |= {one: error.sources.get(one.file, "") for one in error.diagnostics}
        except (SpecError, UnknownNameError) as error:
            self.add("V004", str(error))


@click.command("validate")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--preset", help="Only this preset; else the defaults and every preset are checked.")
@set_option
@click.option("--meta", is_flag=True, help="Build each model without memory and compare its real shapes; needs torch.")
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text", show_default=True)
def validate_command(names: tuple[str, ...], preset: str | None, pairs: tuple[str, ...], meta: bool, form: str) -> None:
    """Check specs: each NAME is a registered spec or a YAML file. Leaves with status 2 if anything is wrong."""
    parameters = assignments(pairs)
    found: dict[Diagnostic, str] = {}
    for name in dict.fromkeys(names):
        report = diagnose(name, preset, parameters, meta)
        found |= report.errors
        if form == "text" and not report.errors:
            click.echo(f"{name}: ok, id {', '.join(report.ids)}")
    if form == "json":
        click.echo(json.dumps([_fields(one) for one in found], indent=1))
    for one, source in found.items():
        if form == "text":
            click.echo(one.render(source), err=True)
        elif form == "github":
            click.echo(_github(one))
    click.get_current_context().exit(INVALID if found else 0)


def diagnose(
    name: str, preset: str | None = None, parameters: Mapping[str, Any] | None = None, meta: bool = False
) -> Report:
    """What a spec makes with its defaults and with every preset, or with the one preset that was named."""
    report, given = Report(name), parameters or {}
    with report.collecting():
        spec = Spec.load(name)
        for choice in [preset] if preset is not None else _choices(spec, given):
            with report.collecting():
                architecture = spec.elaborate(choice, **given)
                for problem in _meta(architecture) if meta and architecture.id not in report.ids else ():
                    report.add("C003", problem)
                report.ids[architecture.id] = None
    return report


def _choices(spec: Spec, given: Mapping[str, Any]) -> list[str | None]:
    """The presets, after the defaults if these are all there (some specs leave a parameter to their presets)."""
    complete = all(name in spec.defaults or name in given for name in spec.parameters)
    return ([None] if complete or not spec.presets else []) + [*spec.presets]


def _meta(architecture: Architecture) -> list[str]:
    from tinify.models.meta import compare_with_meta

    try:
        return compare_with_meta(architecture)
    except TinifyError as error:
        return [str(error)]
    except Exception as error:  # whatever a component raises, which is what is looked for
        return [f"{type(error).__name__}: {error}" + "".join(f", {note}" for note in getattr(error, "__notes__", ()))]


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
