"""Coding tables and int32, as tests write them down."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinify.coders import CdfTables

INT32 = np.iinfo(np.int32)


def tables_of(rows: list[list[int]], offsets: list[int]) -> CdfTables:
    width = max(map(len, rows))
    return CdfTables([row + [0] * (width - len(row)) for row in rows], [len(row) for row in rows], offsets)


def plain_rows(tables: CdfTables, indexes: Any) -> list[Any]:
    rows = [
        (cdf[:size].tolist(), int(o)) for cdf, size, o in zip(tables.cdfs, tables.sizes, tables.offsets, strict=True)
    ]
    return [rows[index] for index in indexes]
