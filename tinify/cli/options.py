"""The options that several commands share; light, so that listing starts quickly."""

from __future__ import annotations

from typing import Any

import click

quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
force_option = click.option("--force", "-f", is_flag=True, help="Overwrite an output that was not named.")


def progress(message: str, quiet: bool) -> Any:
    """A spinner on standard error while something takes its time."""
    from rich.console import Console

    return Console(stderr=True, quiet=quiet).status(message)
