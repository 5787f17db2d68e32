"""Strings that were written once and must be read, and written again, for ever; ``--write`` adds new ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinify.coders import CdfTables, Coder
from tinify.coders.compat import CompatCoder
from tinify.coders.range_coder import RangeCoder
from tinify.coders.rans import GPU, RansCoder

FOLDER = Path(__file__).with_name("golden_strings")
TABLES = CdfTables(
    [[0, 200, 65300, 65535, 65536, 0], [0, 16384, 32768, 49152, 65535, 65536], [0, 65535, 65536, 0, 0, 0]],
    [5, 6, 3],
    [-1, 0, 7],
)


def message(count: int) -> tuple[Any, Any]:
    """Symbols and rows by a rule that needs no random numbers; few of them are rare, some escape."""
    at = np.arange(count, dtype=np.int64)
    mixed = at * 2654435761 % 4294967296 >> 16
    rows = np.where(mixed % 61 == 0, 1, np.where(mixed % 3 == 0, 2, 0)).astype(np.int32)
    symbols = np.where(rows == 1, mixed % 4, np.where(rows == 2, 7, np.where(mixed % 331 == 0, mixed % 3 - 1, 0)))
    symbols[at % 50_021 == 1000] = -70_000
    symbols[at % 60_013 == 2000] = 2**31 - 1
    return symbols.astype(np.int32), rows


# The name says the format's version; a new version gets new files beside the old.
STRINGS: dict[str, tuple[Coder, int]] = {
    "rans0-empty": (RansCoder(), 0),
    "rans0-tiny": (RansCoder(), 2500),
    "rans0-8-lanes": (RansCoder(), 30_000),
    "rans0-32-lanes": (RansCoder(), 262_144),
    "rans0-chunks": (RansCoder(), 700_001),
    "rans0-gpu": (RansCoder(profile=GPU), 40_000),
    "rangecoder0": (RangeCoder(), 20_000),
    "compat": (CompatCoder(), 20_000),
}


@pytest.mark.parametrize("name", STRINGS)
def test_golden_strings(name: str) -> None:
    coder, count = STRINGS[name]
    symbols, rows = message(count)
    data = (FOLDER / f"{name}.bin").read_bytes()
    assert (TABLES.decode(data, rows, coder=coder) == symbols).all()
    assert TABLES.encode(symbols, rows, coder=coder) == data


def test_every_golden_file_is_read() -> None:
    assert {path.stem for path in FOLDER.glob("*.bin")} == set(STRINGS)


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    FOLDER.mkdir(exist_ok=True)
    for name, (coder, count) in STRINGS.items():
        path = FOLDER / f"{name}.bin"
        if not path.exists():
            path.write_bytes(TABLES.encode(*message(count), coder=coder))
