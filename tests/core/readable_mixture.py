"""A slow, plain coder that follows specs/FORMAT.md, section "Strings of Gaussian mixtures", line by line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from readable_rans import leb128, push

Component = tuple[int, int, int]
"""Row of the scale, mean, weight."""


def nearest_normal(i: int) -> int:
    if i > 768:
        return 2**24 - nearest_normal(1536 - i)
    return math.floor(2**24 * 0.5 * math.erfc((768 - i) / 128 / math.sqrt(2)) + 0.5)


N = [nearest_normal(i) for i in range(1537)]


class Scale:
    """What belongs to a row of the scales."""

    def __init__(self, scale: float, tail_mass: float) -> None:
        self.R = min(max(math.floor(2**23 / scale + 0.5), 1), 2**31 - 1)
        self.tail_mass = tail_mass

    def reach(self, w: int) -> int:
        b = w.bit_length() - 1
        i = 0
        while not (
            i == 768
            or N[768 - i] << b <= 2**23
            or N[768 - i] <= self.tail_mass * 2**23
            or ((N[768 - i] - N[767 - i]) << b) * self.R < 2**39
        ):
            i += 1
        return min((i << 24) // self.R, 2**28 - 1)


class Mixture:
    """Bins of one symbol."""

    def __init__(self, scales: Sequence[Scale], components: Sequence[Component]) -> None:
        rows = [scales[row] for row, _, _ in components]
        means = [min(max(mean, 1 - 2**28), 2**28 - 1) for _, mean, _ in components]
        weights = [weight for _, _, weight in components]
        assert all(0 <= weight <= 65536 for weight in weights)
        assert abs(sum(weights) - 65536) <= 256
        top = weights.index(max(weights))
        c = (means[top] + 128) >> 8
        live = [(row.reach(weight), mean) for row, mean, weight in zip(rows, means, weights, strict=True) if weight]
        self.low = max(c - 4096, min(c, *((mean - far + 127) >> 8 for far, mean in live)))
        self.high = min(c + 4096, max(c, *((mean + far + 128) >> 8 for far, mean in live)))
        self.n = self.high - self.low + 1
        weights[top] += 65536 - sum(weights)
        assert weights[top] >= 0
        self.components = list(zip(rows, means, weights, strict=True))

    def below(self, s: int) -> int:
        total = 0
        for scale, mean, weight in self.components:
            z = (((256 * s - 128 - mean) * scale.R) >> 16) + 768 * 256
            z = min(max(z, 0), 1536 * 256 - 1)
            i, f = z // 256, z % 256
            total += weight * (256 * N[i] + f * (N[i + 1] - N[i]))
        return total >> 16

    def start(self, v: int) -> int:
        if v == 0:
            return 0
        return 65536 if v == self.n + 1 else (((65535 - self.n) * self.below(self.low + v)) >> 32) + v

    def bin_and_escape(self, s: int) -> tuple[int, int, list[int]]:
        v = s - self.low
        if 0 <= v < self.n:
            return self.start(v), self.start(v + 1) - self.start(v), []
        u = -2 * v - 1 if v < 0 else 2 * (v - self.n)
        return self.start(self.n), 65536 - self.start(self.n), leb128(u)


def encode(symbols: Sequence[int], mixtures: Sequence[Mixture]) -> bytes:
    backwards: list[int] = []
    x = 65536 if symbols else 0

    def code(S: int, W: int) -> None:
        nonlocal x
        while x >= W << 32:
            backwards.append(x % 256)
            x >>= 8
        x = push(x, S, W)

    for s, mixture in zip(reversed(symbols), reversed(mixtures), strict=True):
        S, W, escape_bytes = mixture.bin_and_escape(s)
        for byte in reversed(escape_bytes):
            code(byte << 8, 256)
        code(S, W)
    while x:
        backwards.append(x % 256)
        x >>= 8
    return bytes(reversed(backwards))


def decode(data: bytes, mixtures: Sequence[Mixture]) -> list[int]:
    assert data[:1] != b"\0"
    rest = list(data)
    x = 0
    symbols = []

    def refill() -> None:
        nonlocal x
        while x < 1 << 40 and rest:
            x = x << 8 | rest.pop(0)

    refill()
    for mixture in mixtures:
        slot = x % 65536
        v = max(v for v in range(mixture.n + 1) if mixture.start(v) <= slot)
        S, W = mixture.start(v), mixture.start(v + 1) - mixture.start(v)
        x = W * (x >> 16) + slot - S
        refill()
        if v == mixture.n:
            u, k, byte = 0, 0, 128
            while byte >= 128:
                assert k < 5
                byte = (x >> 8) % 256
                x = (x >> 16) << 8 | x % 256
                refill()
                u += (byte % 128) << 7 * k
                k += 1
            assert byte or k == 1
            v = -((u + 1) >> 1) if u % 2 else mixture.n + (u >> 1)
        s = v + mixture.low
        assert -(2**31) <= s < 2**31
        symbols.append(s)
    assert x == (65536 if mixtures else 0)
    assert not rest
    return symbols
