"""Runs a script of this folder, written for CompressAI, with that library or with tinify in its place."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def run_script(name: str, library: str, *arguments: object) -> Any:
    """What the script prints, parsed; the name of the library is all that changes in its text."""
    path = Path(__file__).with_name(name)
    text = path.read_text(encoding="utf-8").replace("compressai", library)
    printed, before = io.StringIO(), sys.argv
    sys.argv = [name, *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(text, str(path), "exec"), {"__name__": "__main__"})
    finally:
        sys.argv = before
    return json.loads(printed.getvalue())
