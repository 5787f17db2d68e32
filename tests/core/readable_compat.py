"""A slow, plain coder that follows specs/FORMAT.md, section "The field's strings", line by line."""

from __future__ import annotations

from collections.abc import Sequence

Row = tuple[list[int], int]
"""C and offset of a row."""


def encode(symbols: Sequence[int], rows: Sequence[Row]) -> bytes:
    x = 1 << 31
    words = b""

    def move() -> None:
        nonlocal x, words
        words = (x % 2**32).to_bytes(4, "little") + words
        x = x >> 32

    def push(S: int, W: int) -> None:
        nonlocal x
        if x >= W << 47:
            move()
        x = ((x // W) << 16) + x % W + S

    def push_nibble(nibble: int) -> None:
        nonlocal x
        if x >= 1 << 59:
            move()
        x = x << 4 | nibble

    for s, (C, offset) in zip(reversed(symbols), reversed(rows), strict=True):
        m = len(C) - 2
        v = s - offset
        if not 0 <= v < m:
            u = -2 * v - 1 if v < 0 else 2 * (v - m)
            nibbles = []  # the lowest first
            while u:
                nibbles.append(u % 16)
                u = u >> 4
            for nibble in reversed(nibbles):
                push_nibble(nibble)
            push_nibble(len(nibbles))
        b = v if 0 <= v < m else m
        push(C[b], C[b + 1] - C[b])
    return x.to_bytes(8, "little") + words


def decode(data: bytes, rows: Sequence[Row]) -> list[int]:
    data = data or bytes([0, 0, 0, 128, 0, 0, 0, 0])
    assert len(data) >= 8
    assert len(data) % 4 == 0
    x = int.from_bytes(data[:8], "little")
    assert 1 << 31 <= x < 1 << 63
    words = [int.from_bytes(data[at : at + 4], "little") for at in range(8, len(data), 4)]

    def refill() -> None:
        nonlocal x
        if x < 1 << 31:
            assert words
            x = x << 32 | words.pop(0)

    def pop(C: list[int]) -> int:
        nonlocal x
        slot = x % 65536
        b = max(b for b in range(len(C) - 1) if C[b] <= slot)
        S, W = C[b], C[b + 1] - C[b]
        x = W * (x >> 16) + slot - S
        refill()
        return b

    def pop_nibble() -> int:
        nonlocal x
        nibble = x % 16
        x = x >> 4
        refill()
        return nibble

    symbols = []
    for C, offset in rows:
        m = len(C) - 2
        v = pop(C)
        if v == m:
            c = pop_nibble()
            assert c <= 9
            nibbles = [pop_nibble() for _ in range(c)]
            assert not nibbles or nibbles[-1] != 0
            u = sum(nibble << 4 * place for place, nibble in enumerate(nibbles))
            v = -((u + 1) >> 1) if u % 2 else m + (u >> 1)
        assert -(2**31) <= v + offset < 2**31
        symbols.append(v + offset)
    assert x == 1 << 31
    assert not words
    return symbols
