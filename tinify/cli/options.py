"""The options that several commands share; light, so that listing starts quickly."""

from __future__ import annotations

from typing import Any

import click

from tinify.errors import InputError

quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
force_option = click.option("--force", "-f", is_flag=True, help="Overwrite an output that was not named.")
precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Of the transforms; bfloat16 is quicker where the processor has it.",
)
preset_option = click.option("--preset", help="A preset of the spec.")
set_option = click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter of the spec; may be repeated."
)


def assignments(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``N=64`` to a parameter; the spec checks types and bounds.

    >>> assignments(("N=64", "rate=0.5", "groups=[16, M - 16]"))
    {'N': 64, 'rate': 0.5, 'groups': [16, 'M - 16']}
    """
    from tinify.spec.reader import read

    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--set {pair}: expected NAME=VALUE, such as --set N=64")
        parameters[name] = read(f"value: {value}", f"--set {name}").mapping["value"].plain()
    return parameters


def progress(message: str, quiet: bool) -> Any:
    """A spinner on standard error while something takes its time."""
    from rich.console import Console

    return Console(stderr=True, quiet=quiet).status(message)
