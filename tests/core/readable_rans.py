"""A slow, plain coder that follows specs/FORMAT.md, section "Entropy-coded strings", line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Row = tuple[list[int], int]
"""C and offset of a row."""


def leb128(u: int) -> list[int]:
    return [u] if u < 128 else [u % 128 + 128, *leb128(u >> 7)]


def bin_and_escape(s: int, row: Row) -> tuple[int, list[int]]:
    C, offset = row
    m = len(C) - 2
    v = s - offset
    if 0 <= v < m:
        return v, []
    return m, leb128(-2 * v - 1 if v < 0 else 2 * (v - m))


def symbol_of(b: int, row: Row, escape_bytes: Iterator[int]) -> int:
    C, offset = row
    m = len(C) - 2
    if b < m:
        return b + offset
    u = 0
    for k, byte in enumerate(escape_bytes):
        u += (byte % 128) << 7 * k
        if byte < 128:
            break
    v = -((u + 1) >> 1) if u % 2 else m + (u >> 1)
    return v + offset


def push(x: int, S: int, W: int) -> int:
    return ((x // W) << 16) + x % W + S


def pop(x: int, row: Row) -> tuple[int, int]:
    C, _ = row
    slot = x % 65536
    b = max(k for k in range(len(C) - 1) if C[k] <= slot)
    return b, (C[b + 1] - C[b]) * (x >> 16) + slot - C[b]


def encode(symbols: Sequence[int], rows: Sequence[Row]) -> bytes:
    n = len(symbols)
    if n <= 4096:
        return encode_tiny(symbols, rows)
    if n < 655360:
        return encode_lanes(symbols, rows)
    c = 2
    while 2 * c <= n // 327680:
        c *= 2
    return encode_chunks(symbols, rows, (n + c - 1) // c)


def decode(data: bytes, rows: Sequence[Row]) -> list[int]:
    if len(rows) <= 4096:
        return decode_tiny(data, rows)
    return decode_chunks(data, rows) if data[0] == 128 else decode_lanes(data, rows)


def encode_chunks(
    symbols: Sequence[int], rows: Sequence[Row], s: int, K: int | None = None, fork: bool = True
) -> bytes:
    parts = [slice(first, first + s) for first in range(0, len(symbols), s)]
    strings = [encode_lanes(symbols[part], rows[part], K or 32, fork) for part in parts]
    lengths = [byte for string in strings[:-1] for byte in leb128(len(string))]
    return bytes([128, *leb128(s), *lengths]) + b"".join(strings)


def decode_chunks(data: bytes, rows: Sequence[Row]) -> list[int]:
    n, rest = len(rows), data[1:]

    def number() -> int:
        nonlocal rest
        end = first_below_128(rest) + 1
        value = sum((byte % 128) << 7 * k for k, byte in enumerate(rest[:end]))
        rest = rest[end:]
        return value

    s = number()
    count = (n + s - 1) // s
    assert count >= 2
    lengths = [number() for _ in range(count - 1)]
    symbols = []
    for k in range(count):
        length = lengths[k] if k < count - 1 else len(rest)
        assert length <= len(rest)
        symbols += decode_lanes(rest[:length], rows[k * s : (k + 1) * s])
        rest = rest[length:]
    return symbols


def encode_tiny(symbols: Sequence[int], rows: Sequence[Row]) -> bytes:
    backwards = []  # the string from its end on
    x = 0

    def code(S: int, W: int) -> None:
        nonlocal x
        while x >= W << 32:
            backwards.append(x % 256)
            x >>= 8
        x = push(x, S, W)

    for s, row in zip(reversed(symbols), reversed(rows), strict=True):
        b, escape_bytes = bin_and_escape(s, row)
        for byte in reversed(escape_bytes):
            code(byte << 8, 256)
        code(row[0][b], row[0][b + 1] - row[0][b])
    while x:
        backwards.append(x % 256)
        x >>= 8
    return bytes(reversed(backwards))


def decode_tiny(data: bytes, rows: Sequence[Row]) -> list[int]:
    assert data[:1] != b"\0"
    rest = list(data)
    x = 0

    def refill() -> None:
        nonlocal x
        while x < 1 << 40 and rest:
            x = x << 8 | rest.pop(0)

    def escape_bytes() -> Iterator[int]:
        nonlocal x
        while True:
            byte = (x >> 8) % 256
            x = (x >> 16) << 8 | x % 256
            refill()
            yield byte

    refill()
    symbols = []
    for row in rows:
        b, x = pop(x, row)
        refill()
        symbols.append(symbol_of(b, row, escape_bytes()))
    assert x == 0
    assert not rest
    return symbols


def encode_lanes(symbols: Sequence[int], rows: Sequence[Row], K: int | None = None, fork: bool = True) -> bytes:
    """The writer's own choice of ``K`` and ``fork`` unless told otherwise."""
    n = len(symbols)
    if K is None:
        K = 8 if n < 262144 else 32
    backwards: list[int] = []  # the words from the end on
    escapes: list[int] = []  # in the order of the string
    alone = fork
    lanes = [1 << 32] * (1 if fork else K)
    r = 0
    for i in range(n - 1, -1, -1):
        if alone and len(backwards) >= 2 * (K - 1) and (i + 1) % K == 0:
            alone = False
            r = n - (i + 1)
            for _ in range(1, K):
                a, b = backwards.pop(), backwards.pop()
                lanes.append(1 << 32 | a << 16 | b)
        b, escape_bytes = bin_and_escape(symbols[i], rows[i])
        escapes += escape_bytes[::-1]
        S, W = rows[i][0][b], rows[i][0][b + 1] - rows[i][0][b]
        x = lanes[i % len(lanes)]
        if x >= W << 32:
            backwards.append(x % 65536)
            x >>= 16
        lanes[i % len(lanes)] = push(x, S, W)
    flags = (len(lanes).bit_length() - 1) << 2 | bool(r) << 5 | bool(escapes) << 6
    states = [word for x in lanes for word in (x >> 32, (x >> 16) % 65536, x % 65536)]
    words = b"".join(word.to_bytes(2, "little") for word in states + backwards[::-1])
    return bytes([flags]) + bytes(leb128(r // K) if r else []) + words + bytes(escapes)


def decode_lanes(data: bytes, rows: Sequence[Row]) -> list[int]:
    n = len(rows)
    flags, rest = data[0], data[1:]
    assert flags & 0b10000011 == 0
    K = 1 << (flags >> 2 & 7)
    r = 0
    if flags >> 5 & 1:
        t = sum((byte % 128) << 7 * k for k, byte in enumerate(rest[: first_below_128(rest) + 1]))
        r = t * K + n % K
        assert 1 <= r <= n
        rest = rest[first_below_128(rest) + 1 :]
    escapes = list(rest)
    words = [int.from_bytes(rest[k : k + 2], "little") for k in range(0, len(rest) - 1, 2)]
    lanes = []
    for _ in range(K):
        high, middle, low = words[:3]
        lanes.append(high << 32 | middle << 16 | low)
        words = words[3:]
    words.reverse()  # to pop from the end

    def escape_bytes() -> Iterator[int]:
        while True:
            yield escapes.pop()

    symbols = []
    for i, row in enumerate(rows):
        if r and i == n - r:
            for x in reversed(lanes[1:]):
                assert x >> 32 == 1
                words += [x % 65536, (x >> 16) % 65536]
            lanes = lanes[:1]
        b, x = pop(lanes[i % len(lanes)], row)
        if x < 1 << 32:
            x = x << 16 | words.pop()
        lanes[i % len(lanes)] = x
        symbols.append(symbol_of(b, row, escape_bytes()))
    assert set(lanes) == {1 << 32}
    words_read = len(rest) // 2 - len(words)
    assert 2 * words_read + len(rest) - len(escapes) == len(rest)
    return symbols


def first_below_128(data: bytes) -> int:
    return next(k for k, byte in enumerate(data) if byte < 128)
