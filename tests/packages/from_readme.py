"""Writes the files of the README's first plugin: ``python from_readme.py DIR``, or another page as second argument."""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
# A line that begins with a file's name, then the block with its text.
_FILE = re.compile(r"^`([\w./-]+\.\w+)`[^\n]*\n\n```\w+\n(.*?)^```", re.DOTALL | re.MULTILINE)


def files(page: Path = README) -> dict[str, str]:
    """The files that a page shows: path to text."""
    return dict(_FILE.findall(page.read_text(encoding="utf-8")))


def write(folder: Path, page: Path = README) -> None:
    """Writes them below a folder, which is made."""
    for name, text in files(page).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))
