"""Runs ``tinify`` in this process, as its own process would run it."""

from __future__ import annotations

import contextlib
import io
from importlib import metadata
from typing import NamedTuple

_COMMAND = next(iter(metadata.entry_points(group="console_scripts", name="tinify")))


class Run(NamedTuple):
    """What became of a command."""

    exit_code: int
    stdout: str
    stderr: str


def run(*words: object) -> Run:
    """Runs ``tinify`` with those words.

    >>> run("list", "coders").stdout.split()[:2]
    ['coders:', 'ans']
    """
    main = _COMMAND.load()
    out, err = io.StringIO(), io.StringIO()
    status: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            status = ended.code
    return Run(status if isinstance(status, int) else int(status is not None), out.getvalue(), err.getvalue())
