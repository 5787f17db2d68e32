"""Lane strings of rANS as bytes: what stands before, between and after the words; specs/FORMAT.md says why."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from tinify.errors import CorruptStreamError

Int64s = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]

CHUNKED = 1 << 7
_LANES_SHIFT, _LANES_MASK = 2, 7
_FORK, _ESCAPES = 1 << 5, 1 << 6
_KNOWN = (_LANES_MASK << _LANES_SHIFT) | _FORK | _ESCAPES


def compose(states: Int64s, tail: int, words: Words, escapes: Bytes) -> list[Any]:
    """The parts of a lane string; ``tail`` is the number of symbols that one lane coded before it forked, or 0."""
    flags = (states.size.bit_length() - 1) << _LANES_SHIFT | (_ESCAPES if escapes.size else 0)
    header = bytes([flags | _FORK]) + leb128(tail // states.size) if tail else bytes([flags])
    first = states.astype("<i8", copy=False).view("<u2").reshape(-1, 4)[:, 2::-1]
    return [header, first.tobytes(), words.astype("<u2", copy=False), escapes]


class LaneString(NamedTuple):
    """A lane string that stands somewhere in a string of bytes."""

    begin: int
    end: int
    symbols: int
    """How many there are."""
    lanes: int
    tail: int
    """The number of symbols that one lane coded before it forked, 0 if it did not."""
    escaped: bool
    header: int
    """Where its states stand."""


def read_lane_string(data: bytes, begin: int, end: int, count: int) -> LaneString:
    """The lane string that stands in ``data[begin:end]``."""
    size = end - begin
    flags = data[begin] if size else corrupt(size, "it is empty")
    if flags & ~_KNOWN:
        corrupt(size, f"its flags {flags:#04x} are of no format that this version knows")
    lanes = 1 << (flags >> _LANES_SHIFT & _LANES_MASK)
    forks = bool(flags & _FORK)
    groups, header = read_leb128(data, begin + 1, end) if forks else (0, begin + 1)
    tail = groups * lanes + count % lanes if forks else 0
    if end - header < 6 * lanes or tail > count or (forks and not tail):
        corrupt(size, "its header does not fit its length")
    return LaneString(begin, end, count, lanes, tail, bool(flags & _ESCAPES), header)


def compose_chunks(chunk: int, strings: list[list[Any]]) -> list[Any]:
    """The parts of a string in chunks of ``chunk`` symbols each, the last one of what is left."""
    lengths = [leb128(sum(memoryview(part).nbytes for part in string)) for string in strings[:-1]]
    return [bytes([CHUNKED]), leb128(chunk), *lengths, *(part for string in strings for part in string)]


def chunk_lengths(data: bytes, begin: int, end: int, count: int) -> tuple[int, int, list[int]]:
    """Of a string in chunks: the symbols of a chunk, where the first one begins, and the bytes of each.

    Only the header has to be in ``data``.
    """
    chunk, at = read_leb128(data, begin + 1, end)
    number = -(-count // chunk) if chunk else 0
    if number < 2 or number > end - begin:
        corrupt(end - begin, f"its chunks of {chunk} symbols do not fit {count} symbols")
    lengths, at = _read_numbers(data, at, end, number - 1)
    lengths.append(end - at - sum(lengths))
    if lengths[-1] < 0:
        corrupt(end - begin, "its chunks are longer than it is")
    return chunk, at, lengths


def read_chunks(data: bytes, begin: int, end: int, count: int) -> list[LaneString]:
    """The lane strings of a string, one if it is not in chunks."""
    if end == begin or data[begin] != CHUNKED:
        return [read_lane_string(data, begin, end, count)]
    chunk, at, lengths = chunk_lengths(data, begin, end, count)
    strings = []
    for number, length in enumerate(lengths):
        strings.append(read_lane_string(data, at, at + length, min(chunk, count - number * chunk)))
        at += length
    return strings


def _read_numbers(data: bytes, at: int, end: int, count: int) -> tuple[list[int], int]:
    """The ``count`` numbers that stand from ``data[at]`` on, thousands of them at once, and where they end."""
    part = np.frombuffer(data[at : min(end, at + 9 * count)], np.uint8)
    last = np.flatnonzero(part < 128)[:count]
    digits = np.diff(last, prepend=-1)
    if last.size < count or digits.max() > 9:
        corrupt(len(data), "a number in its header has no end")
    values = np.zeros(count, np.int64)
    for place in range(int(digits.max())):
        there = digits > place
        values[there] |= (part[(last - digits + 1 + place)[there]] & 127).astype(np.int64) << 7 * place
    return values.tolist(), at + int(last[-1]) + 1


def leb128(value: int) -> bytes:
    """The number in seven bits a byte, the lowest first."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def read_leb128(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number that stands at ``data[at]``, and where it ends."""
    value = 0
    for shift, byte in zip(range(0, 63, 7), data[at : min(end, at + 9)], strict=False):
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    return corrupt(len(data), "a number in its header has no end")


def corrupt(size: int, reason: str) -> NoReturn:
    """Raises :class:`~tinify.errors.CorruptStreamError` for a string of ``size`` bytes."""
    raise CorruptStreamError(
        f"an entropy-coded string of {size} bytes is damaged, or was coded with other tables or for another size: "
        f"{reason}"
    )
