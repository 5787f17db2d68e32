"""Lane strings of rANS as bytes: what stands before, between and after the words; specs/FORMAT.md says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from tinify.coders.rans_format import LANES_LOW
from tinify.errors import CorruptStreamError

Int64s = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]

CHUNKED = 1 << 7
_LANES_SHIFT, _LANES_MASK = 2, 7
_FORK, _ESCAPES = 1 << 5, 1 << 6
_KNOWN = (_LANES_MASK << _LANES_SHIFT) | _FORK | _ESCAPES


def compose(states: Int64s, tail: int, words: Words, escapes: Bytes) -> bytes:
    """A lane string; ``tail`` is the number of symbols that one lane coded before it forked, 0 if it did not."""
    flags = (states.size.bit_length() - 1) << _LANES_SHIFT | (_ESCAPES if escapes.size else 0)
    header = bytes([flags | _FORK]) + leb128(tail // states.size) if tail else bytes([flags])
    first = states.astype("<i8", copy=False).view("<u2").reshape(-1, 4)[:, 2::-1]
    return b"".join((header, first.tobytes(), words.astype("<u2", copy=False).tobytes(), escapes.tobytes()))


@dataclass(frozen=True)
class LaneString:
    """A lane string being read: ``data[begin:end]``, of ``count`` symbols."""

    data: bytes
    begin: int
    end: int
    count: int
    lanes: int
    tail: int
    escaped: bool
    header: int
    """Where its states begin."""

    @property
    def words(self) -> int:
        """An upper limit of the number of its words, the escapes being taken for words too."""
        return (self.end - self.header) // 2

    def start(self, words: Words, at: int, cursor: Int64s, states: Int64s) -> None:
        """Copies the words to ``words[at:]``, where there is room for one more, and sets cursor and states."""
        end = at + self.words
        # A copy, because a join puts words back.
        words[at:end] = np.frombuffer(self.data, "<u2", self.words, self.header)
        words[end] = 0
        first = at + 3 * self.lanes
        parts = words[at:first].astype(np.int64)
        states[:] = parts[::3] << 32 | parts[1::3] << 16 | parts[2::3]
        if states.min() < LANES_LOW:
            self.corrupt("a lane begins out of range")
        join = self.count - self.tail if self.tail else -1
        cursor[:] = first, end, self.end, self.header + 6 * self.lanes, 0, self.lanes, join

    def finish(self, at: int, cursor: Int64s, states: Int64s) -> None:
        """Raises :class:`~tinify.errors.CorruptStreamError` unless the string was consumed exactly."""
        word, _, escape, _, _, lanes, _ = cursor.tolist()
        used = self.header + 2 * (word - at) == escape
        sound = states[:lanes].tolist() == [LANES_LOW] * lanes
        if not used or not sound or self.escaped != (escape < self.end):
            self.corrupt("it does not end with its last symbol")

    def corrupt(self, reason: str) -> NoReturn:
        """Raises :class:`~tinify.errors.CorruptStreamError`."""
        corrupt(self.end - self.begin, reason)


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
    return LaneString(data, begin, end, count, lanes, tail, bool(flags & _ESCAPES), header)


def compose_chunks(chunk: int, strings: list[bytes]) -> bytes:
    """A string in chunks of ``chunk`` symbols each, the last one of what is left."""
    lengths = [leb128(len(string)) for string in strings[:-1]]
    return b"".join((bytes([CHUNKED]), leb128(chunk), *lengths, *strings))


def read_chunks(data: bytes, begin: int, end: int, count: int) -> list[LaneString]:
    """The lane strings of a string, one if it is not in chunks."""
    if end == begin or data[begin] != CHUNKED:
        return [read_lane_string(data, begin, end, count)]
    chunk, at = read_leb128(data, begin + 1, end)
    number = -(-count // chunk) if chunk else 0
    if number < 2 or number > end - begin:
        corrupt(end - begin, f"its chunks of {chunk} symbols do not fit {count} symbols")
    lengths = []
    for _ in range(number - 1):
        length, at = read_leb128(data, at, end)
        lengths.append(length)
    strings = []
    for number, length in enumerate([*lengths, end - at - sum(lengths)]):
        if not 0 <= length <= end - at:
            corrupt(end - begin, "its chunks are longer than it is")
        strings.append(read_lane_string(data, at, at + length, min(chunk, count - number * chunk)))
        at += length
    return strings


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
