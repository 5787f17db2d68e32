"""``tinify eval``: models over the pictures of a folder, picture by picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinify.cli.bench import settings
from tinify.cli.evaluation import check_outputs, shared, show, write
from tinify.cli.options import progress


@click.command("eval")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--qualities", metavar="Q,Q,...", help="Of a model that has several; all of its own without.")
@click.option("--as", "join", metavar="NAME", help="The models are the points of one curve of that name.")
@shared
def eval_command(
    models: tuple[str, ...],
    folder: Path,
    qualities: str | None,
    join: str | None,
    out: tuple[Path, ...],
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure each MODEL on the pictures in DIR through real files: rate, quality, time, memory.

    A MODEL is the name or file of weights, or any codec that tinify bench takes.
    """
    check_outputs(out)
    with progress("starting", quiet or as_json) as status:
        from tinify.evaluation.bench import evaluate
        from tinify.evaluation.results import to_json

        given = settings((qualities,) if qualities else ())
        results = evaluate(models, folder, qualities=given, join=join, progress=status.update, **options)
    write(results, out)
    if as_json:
        click.echo(to_json(results), nl=False)
    elif not quiet:
        show(results, pictures=True)
