"""A slow, plain coder that follows specs/FORMAT.md, section "Range-coded strings", line by line."""

from __future__ import annotations

from collections.abc import Sequence

Row = tuple[list[int], int]
"""C and offset of a row."""


def leb128(u: int) -> list[int]:
    return [u] if u < 128 else [u % 128 + 128, *leb128(u >> 7)]


def encode(symbols: Sequence[int], rows: Sequence[Row]) -> bytes:
    A, R, k = 0, 1 << 48, 0

    def narrow(S: int, W: int) -> None:
        nonlocal A, R, k
        unit = R >> 16
        A, R = A + S * unit, W * unit
        if R < 1 << 32:
            A, R, k = A << 16, R << 16, k + 1

    for s, (C, offset) in zip(symbols, rows, strict=True):
        m = len(C) - 2
        v = s - offset
        b = v if 0 <= v < m else m
        narrow(C[b], C[b + 1] - C[b])
        if b == m:
            for byte in leb128(-2 * v - 1 if v < 0 else 2 * (v - m)):
                narrow(byte << 8, 256)
    for t in (0, 1, 2):
        e = 48 - 8 * t
        multiples = [number for number in ((A >> e) << e, ((A >> e) + 1) << e) if A <= number < A + R]
        if multiples:
            return (multiples[0] >> e).to_bytes(2 * k + t, "big")
    raise AssertionError("a span of 2^32 holds a multiple of 2^32")


def decode(data: bytes, rows: Sequence[Row]) -> list[int]:
    A, R, k = 0, 1 << 48, 0

    def part() -> int:
        """What the string says, as a number of 48 + 16 k bits; bytes behind its end are zero."""
        size = 6 + 2 * k
        return int.from_bytes((data + bytes(size))[:size], "big")

    def slot() -> int:
        found = (part() - A) // (R >> 16)
        assert 0 <= found < 65536
        return found

    def narrow(S: int, W: int) -> None:
        nonlocal A, R, k
        unit = R >> 16
        A, R = A + S * unit, W * unit
        if R < 1 << 32:
            A, R, k = A << 16, R << 16, k + 1
        assert 2 * k <= len(data)

    symbols = []
    for C, offset in rows:
        m = len(C) - 2
        b = max(b for b in range(m + 1) if C[b] <= slot())
        narrow(C[b], C[b + 1] - C[b])
        v = b
        if b == m:
            escape_bytes = []
            while not escape_bytes or escape_bytes[-1] >= 128:
                escape_bytes.append(slot() >> 8)
                narrow(escape_bytes[-1] << 8, 256)
                assert len(escape_bytes) <= 5
            u = sum((byte % 128) << 7 * place for place, byte in enumerate(escape_bytes))
            assert escape_bytes == leb128(u)
            v = -((u + 1) >> 1) if u % 2 else m + (u >> 1)
        assert -(2**31) <= v + offset < 2**31
        symbols.append(v + offset)
    assert data == encode(symbols, rows)
    return symbols
