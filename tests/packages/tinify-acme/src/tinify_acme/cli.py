"""The command ``tinify acme``."""

from __future__ import annotations

import click

from tinify import Spec


@click.command("acme")
@click.argument("spec", default="acme/tiny")
def acme_command(spec: str) -> None:
    """Say which parts of SPEC are acme's."""
    for row in Spec.load(spec).elaborate().parts():
        if row.type.startswith("acme/"):
            click.echo(f"{row.path}: {row}")
