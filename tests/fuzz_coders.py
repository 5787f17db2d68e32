"""Fuzzes the decoders of strings: ``python tests/fuzz_coders.py --streams 2000000``; nothing may crash, hang or differ.

Every stream is a sound one of some layout with a few bytes changed, cut off or added. It is read whole by the vector
kernels, and in slices by them or the scalar ones. They must agree: both name the damage, or both give the same symbols.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tinify.coders import CdfTables
from tinify.coders.rans import Profile, RansCoder
from tinify.errors import CorruptStreamError

MESSAGES = 200
VECTORS, SCALAR = RansCoder("vectors"), RansCoder("scalar")


def random_tables(random: np.random.Generator) -> CdfTables:
    """A few rows, narrow and wide."""
    rows, offsets = [], []
    for _ in range(int(random.integers(1, 6))):
        bins = int(random.choice([2, 3, 9, 60, 900]))
        cuts = np.unique(random.integers(1, 65536, bins - 1))
        rows.append([0, *cuts.tolist(), 65536])
        offsets.append(-int(random.integers(0, 1000)))
    width = max(map(len, rows))
    return CdfTables([row + [0] * (width - len(row)) for row in rows], [len(row) for row in rows], offsets)


def mutated(string: bytes, random: np.random.Generator) -> bytes:
    """The string with some damage."""
    data = bytearray(string)
    for _ in range(int(random.integers(1, 4))):
        kind, place = random.integers(0, 4), int(random.integers(0, len(data))) if data else 0
        if kind < 2 and data:
            data[place] = int(random.integers(0, 256))
        elif kind == 2:
            del data[place:]
        else:
            data[place:place] = random.bytes(int(random.integers(1, 5)))
    return bytes(data)


def whole(tables: CdfTables, data: bytes, indexes: np.ndarray) -> bytes | None:
    """The symbols by the vector kernels, all at once; None where the damage was named."""
    try:
        return tables.decode(data, indexes, coder=VECTORS).tobytes()
    except CorruptStreamError:
        return None


def in_slices(tables: CdfTables, data: bytes, indexes: np.ndarray, coder: RansCoder, cut: int) -> bytes | None:
    """The same in two slices."""
    out = np.zeros(indexes.size, np.int32)
    try:
        reader = coder.decoder(tables, data, indexes.size)
        reader.pop(indexes[:cut], out[:cut])
        reader.pop(indexes[cut:], out[cut:])
        reader.finish()
    except CorruptStreamError:
        return None
    return out.tobytes()


def main(streams: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    begun, done, named = time.perf_counter(), 0, 0
    while done < streams:
        tables = random_tables(random)
        count = int(random.choice([1, 40, 300, 4097, 4100, 4200, 5000]))
        indexes = random.integers(0, len(tables), count, dtype=np.int32)
        symbols = (tables.offsets[indexes] + random.integers(-2, 12, count)).astype(np.int32)
        lanes, chunk = int(random.choice([8, 8, 32, 16])), int(random.choice([0, 0, 1000, 2048]))
        profile = Profile(lanes, chunk, forks=bool(random.random() < 0.7))
        sound = RansCoder("scalar", profile).encode(tables, symbols, indexes)
        for _ in range(min(MESSAGES, streams - done)):
            data, cut = mutated(sound, random), int(random.integers(0, count + 1))
            found = whole(tables, data, indexes)
            other = VECTORS if random.random() < 0.5 else SCALAR
            assert found == in_slices(tables, data, indexes, other, cut), (seed, done, data.hex()[:200])
            named += found is None
            done += 1
    print(f"{done} streams, {named} named as damaged, {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.streams, given.seed)
