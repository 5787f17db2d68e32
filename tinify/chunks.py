"""The frame of a `.tfy` file: its first mark and version, and typed chunks with lengths and checksums."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import google_crc32c

from tinify.errors import CorruptFileError, InputError, NotTinifyFileError, TruncatedFileError, VersionError

MAGIC = b"\x89TFY\r\n\x1a\n"
MAJOR, MINOR = 1, 0
PREAMBLE = MAGIC + bytes([MAJOR, MINOR])

_MAX_PAYLOAD = 2**32 - 1
_CRC = 4
_LAST = "DONE"


class Chunk(NamedTuple):
    """A chunk whose checksum was right, and where it stands in the file."""

    kind: str
    payload: memoryview
    start: int
    end: int


def pack_chunk(kind: str, payload: bytes) -> bytes:
    """A chunk's bytes: type, length, payload, and the checksum of these."""
    if len(payload) > _MAX_PAYLOAD:
        raise InputError(f"chunk {kind!r} of {len(payload)} bytes: expected at most {_MAX_PAYLOAD}")
    body = kind.encode("ascii") + pack_number(len(payload)) + payload
    return body + _crc(body)


def pack_file(chunks: list[bytes]) -> bytes:
    """A whole file's bytes: the preamble, packed chunks, and the last chunk, whose checksum covers all before it."""
    body = b"".join([PREAMBLE, *chunks, _LAST.encode("ascii"), pack_number(0)])
    return body + _crc(body)


def iter_chunks(data: bytes) -> Iterator[Chunk]:
    """Every chunk but the last in turn, checked as it is reached; the end is checked too before the iterator ends.

    Raises NotTinifyFileError, VersionError, TruncatedFileError or CorruptFileError.

    >>> [chunk.kind for chunk in iter_chunks(pack_file([pack_chunk("abcd", b"12")]))]
    ['abcd']
    """
    check_preamble(data)
    position = len(PREAMBLE)
    while (chunk := chunk_at(data, position)).kind != _LAST:
        yield chunk
        position = chunk.end
    if chunk.end != len(data):
        raise CorruptFileError(f"{len(data) - chunk.end} bytes follow the file's end: something was appended to it")


def chunk_at(data: bytes, start: int) -> Chunk:
    """The chunk that begins at byte ``start``; raises TruncatedFileError or CorruptFileError."""
    if start + 4 > len(data):
        raise _truncated(data, start + 4)
    length, position = read_number(data, start + 4)
    end = position + length + _CRC
    if end > len(data):
        raise _truncated(data, end)
    view = memoryview(data)
    kind = str(view[start : start + 4], "latin-1")
    covered = view[0 if kind == _LAST else start : end - _CRC]
    if _crc(covered) != view[end - _CRC : end]:
        raise corrupt(f"the checksum of the chunk at byte {start} is wrong")
    if not is_kind(kind) or (kind == _LAST and length):
        raise corrupt(f"the chunk at byte {start} is {kind!r} with {length} bytes")
    return Chunk(kind, view[position : end - _CRC], start, end)


def is_kind(kind: str) -> bool:
    """Whether a string can be a chunk's type: four ASCII letters."""
    return len(kind) == 4 and kind.isascii() and kind.isalpha()


def corrupt(what: str) -> CorruptFileError:
    """The error for a damaged file, with what to do."""
    return CorruptFileError(f"{what}: the file is damaged, fetch it again")


def pack_number(value: int) -> bytes:
    """Unsigned LEB128: seven bits a byte, low ones first, the high bit set on all bytes but the last.

    >>> pack_number(300).hex()
    'ac02'
    """
    coded = bytearray()
    while value > 127:
        coded.append(value & 127 | 128)
        value >>= 7
    return bytes([*coded, value])


def read_number(data: bytes, position: int) -> tuple[int, int]:
    """The number at ``position``, below 2**32 and in its shortest form, and the position after it."""
    value = 0
    for shift, at in zip(range(0, 35, 7), itertools.count(position), strict=False):
        if at >= len(data):
            raise _truncated(data, at + 1)
        value |= (data[at] & 127) << shift
        if data[at] < 128:
            if value > _MAX_PAYLOAD or (shift and data[at] == 0):
                break
            return value, at + 1
    raise corrupt(f"the number at byte {position} is not well formed")


class Fields:
    """Reads a chunk's payload from front to back, never past its end."""

    def __init__(self, payload: bytes | memoryview) -> None:
        self._payload = bytes(payload)
        self._position = 0

    def number(self) -> int:
        """The next LEB128 number."""
        try:
            value, self._position = read_number(self._payload, self._position)
        except TruncatedFileError as error:
            raise corrupt("a field runs past the end of its chunk") from error
        return value

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        start, self._position = self._position, self._position + length
        if self._position > len(self._payload):
            raise corrupt("a field runs past the end of its chunk")
        return self._payload[start : self._position]

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(len(self._payload) - self._position)

    def end(self) -> None:
        """Checks that nothing is left."""
        if self._position != len(self._payload):
            raise corrupt("a chunk is longer than its fields")


def check_preamble(data: bytes, magic: bytes = MAGIC, known: int = MAJOR, command: str = "tinify compress") -> None:
    """Checks the first bytes of a file: the mark ``magic``, and a major version from 1 to ``known``.

    ``command`` is what makes such files. Raises NotTinifyFileError, VersionError, TruncatedFileError or
    CorruptFileError.
    """
    if not data:
        raise NotTinifyFileError("the file is empty: fetch or make it again")
    if data[: len(magic)] != magic:
        if magic.startswith(data):
            raise NotTinifyFileError(f"the file ends after {len(data)} bytes, within its first mark: fetch it again")
        if magic[1:4] in data[:6]:
            raise NotTinifyFileError("the file's first mark was damaged, as by a transfer in text mode: fetch it again")
        kind = magic[1:4].decode().lower()
        raise NotTinifyFileError(f"the file begins with {data[:8]!r} and is no .{kind} file: `{command}` makes them")
    if len(data) < len(magic) + 2:
        raise _truncated(data, len(magic) + 2)
    major, minor = data[len(magic) : len(magic) + 2]
    if major > known:
        raise VersionError(f"the file has version {major}.{minor}, known here is {known}: update tinify to read it")
    if major < 1:
        raise corrupt(f"the file has version {major}.{minor}, which never was")


def _truncated(data: bytes, end: int) -> TruncatedFileError:
    return TruncatedFileError(f"the file ends after {len(data)} bytes and needs at least {end}: fetch it again")


def _crc(data: bytes | memoryview) -> bytes:
    return int(google_crc32c.value(bytes(data))).to_bytes(_CRC, "little")
