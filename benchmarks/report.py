"""What every benchmark says beside its figures: machine, versions, a Markdown table, a JSON file, the verdict."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from tinify.machine import processor, release

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGES = ("tinify-codec", "torch", "numpy", "numba", "pillow", "compressai")

json_option = click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the result here too."
)


def machine(threads: int | None = None) -> dict[str, Any]:
    """The processor, its cores, the threads in use (None if not set) and the versions of what is measured."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := release(name))},
    }


def describe(facts: Mapping[str, Any]) -> str:
    """One line of prose of what :func:`machine` found."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    threads = "" if facts["threads"] is None else f", {facts['threads']} threads"
    system = f"{facts['system']}, Python {facts['python']}"
    return f"{facts['processor']}, {facts['cores']} cores{threads}, {system}; {packages}"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column is text, the others are figures.

    >>> print(table(["codec", "dB"], [["JPEG", 27.5]]))
    | codec | dB |
    |---|---:|
    | JPEG | 27.5 |
    """
    rules = ["---", *["---:"] * (len(columns) - 1)]
    head = ["| " + " | ".join(columns) + " |", "|" + "|".join(rules) + "|"]
    return "\n".join([*head, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def finish(result: Mapping[str, Any], failures: Sequence[str], json_file: Path | None) -> None:
    """Writes the JSON file and the verdict; leaves with status 1 if something is not as it must be."""
    if json_file:
        json_file.write_text(json.dumps({**result, "failures": list(failures)}, indent=1) + "\n")
    for failure in failures:
        click.echo(f"FAILED: {failure}")
    click.echo("not reached" if failures else "all reached")
    sys.exit(1 if failures else 0)


def in_new_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's result, from a fresh interpreter that shares nothing with this one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()
