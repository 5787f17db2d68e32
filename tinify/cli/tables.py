"""Plain tables on standard output: columns aligned, nothing else, so that they can be piped and searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click


def echo_table(rows: Sequence[Mapping[str, str]], *, head: bool = False, right: Sequence[str] = ()) -> None:
    """Prints rows of the same columns, one line each, indented; ``right`` names the columns whose text is set right."""
    if not rows:
        return
    shown = [{key: key for key in rows[0]}, *rows] if head else list(rows)
    shown = [{key: " ".join(text.split()) for key, text in row.items()} for row in shown]
    widths = {key: max(len(row[key]) for row in shown) for key in rows[0]}
    for row in shown:
        cells = (f"{text:>{widths[key]}}" if key in right else f"{text:<{widths[key]}}" for key, text in row.items())
        click.echo("  " + "  ".join(cells).rstrip())


def plural(word: str) -> str:
    """
    >>> plural("layer"), plural("loss")
    ('layers', 'losses')
    """
    return word + ("es" if word.endswith("s") else "s")
