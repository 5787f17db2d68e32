"""The `.tfv` file: a header, and a chunk for each frame with a checksum of its own. FORMAT.md has the bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

from tinify.chunks import Chunk, Fields, check_preamble, chunk_at, corrupt, pack_chunk, pack_number
from tinify.container import PROFILES
from tinify.errors import CorruptFileError, InputError, TruncatedFileError, VersionError

MAGIC = b"\x89TFV\r\n\x1a\n"
MAJOR, MINOR = 1, 0

#: Limits of the format; a reader checks them before it allocates.
MAX_SIDE = 16384
MAX_FRAME_BYTES = 2**28
MAX_GROUP = 2**16
MAX_STRINGS = 64

_KEY, _INTER, _LAST = "KEYF", "DIFF", "OVER"
_SCAN = 1 << 16


@dataclass(frozen=True)
class Header:
    """What is known of a clip before any of it is decoded; ``group`` is how many frames a key frame begins at most.

    ``profile`` says in which arithmetic the model chose its coding tables, and ``tables`` is a digest of these, 4
    bytes, in a file whose frames have checksums of their symbols.
    Raises :class:`~tinify.errors.InputError` for values that the format cannot hold.
    """

    width: int
    height: int
    rate: Fraction
    group: int
    model_name: str
    model_digest: bytes
    profile: str = PROFILES[0]
    tables: bytes | None = None

    def __post_init__(self) -> None:
        if not 1 <= min(self.width, self.height) <= max(self.width, self.height) <= MAX_SIDE:
            raise InputError(f"frames of {self.width}x{self.height}: expected 1 to {MAX_SIDE} a side")
        if not 0 < self.rate.numerator < 2**32 > self.rate.denominator:
            raise InputError(f"{self.rate} frames a second: expected a positive fraction of numbers below 2^32")
        if not 1 <= self.group <= MAX_GROUP:
            raise InputError(f"groups of {self.group} frames: expected 1 to {MAX_GROUP}")
        if not self.model_name.isprintable() or not 1 <= len(self.model_name.encode()) <= 255:
            raise InputError(f"model name {self.model_name!r}: expected 1 to 255 bytes of printable text")
        if len(self.model_digest) != 16:
            raise InputError(f"a model digest of {len(self.model_digest)} bytes: expected 16")
        if self.profile not in PROFILES:
            raise InputError(f"arithmetic profile {self.profile!r}: expected one of {', '.join(PROFILES)}")
        if self.tables is not None and len(self.tables) != 4:
            raise InputError(f"a digest of tables of {len(self.tables)} bytes: expected 4")


@dataclass(frozen=True)
class Frame:
    """One coded frame: its number from 0, whether it needs no other, its strings and a hyper-latent's size.

    ``checksum`` is that of its symbols, where the file has them.
    """

    number: int
    key: bool
    strings: tuple[bytes, ...]
    shape: tuple[int, int]
    checksum: int | None = None


class Writer:
    """Writes a file to a stream, frame by frame; :meth:`finish` ends it."""

    def __init__(self, stream: BinaryIO, header: Header) -> None:
        self._stream = stream
        self._count = 0
        name = header.model_name.encode()
        fields = [header.width, header.height, header.rate.numerator, header.rate.denominator, header.group, len(name)]
        payload = b"".join(map(pack_number, fields)) + name + header.model_digest
        if header.tables is not None:
            payload += bytes([PROFILES.index(header.profile)]) + header.tables
        self._checked = header.tables is not None
        stream.write(MAGIC + bytes([MAJOR, MINOR]) + pack_chunk("HEAD", payload))

    def write(self, strings: Sequence[bytes], shape: Sequence[int], key: bool, checksum: int | None = None) -> int:
        """Appends a frame, with the checksum of its symbols if the header has tables; returns the bytes it took."""
        if self._checked != (checksum is not None):
            raise InputError("frames have checksums of their symbols if the header has a digest of tables, all or none")
        numbers = [self._count, *shape, len(strings), *map(len, strings)]
        last = b"" if checksum is None else checksum.to_bytes(4, "little")
        chunk = pack_chunk(_KEY if key else _INTER, b"".join([*map(pack_number, numbers), *strings, last]))
        self._stream.write(chunk)
        self._count += 1
        return len(chunk)

    def finish(self) -> None:
        """Says how many frames there are."""
        self._stream.write(pack_chunk(_LAST, pack_number(self._count)))


class Reader:
    """Reads a file from a stream that can seek, frame by frame, in memory for one.

    Raises :class:`~tinify.errors.NotTinifyFileError`, VersionError, TruncatedFileError or CorruptFileError for a header
    that cannot be used.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        stream.seek(0, 2)
        self._size = stream.tell()
        check_preamble(self._bytes(0, len(MAGIC) + 2), MAGIC, MAJOR, "tinify video compress")
        head = self._chunk(len(MAGIC) + 2)
        if head.kind != "HEAD":
            raise corrupt(f"the file begins with a chunk {head.kind!r}")
        self._first = head.end
        fields = Fields(head.payload)
        width, height, up, down, group, length = (fields.number() for _ in range(6))
        if not down:
            raise corrupt("the frame rate has a denominator of zero")
        try:
            name, digest = fields.take(length).decode(), fields.take(16)
            profile, *tables = fields.rest() or b"\0"
            if profile >= len(PROFILES):
                raise VersionError(f"this file has arithmetic profile {profile}, not known here: update tinify")
            known = PROFILES[profile], bytes(tables) or None
            self.header = Header(width, height, Fraction(up, down), group, name, digest, *known)
        except (UnicodeDecodeError, InputError) as error:
            raise corrupt(f"the header cannot be right ({error})") from error

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames from the key frame at or before ``start`` on, each with its checksum verified.

        Raises TruncatedFileError or CorruptFileError where one cannot be read, or the file does not end as it says.
        """
        at, number = self._seek(start), None
        while True:
            chunk = self._chunk(at)
            if chunk.kind == _LAST:
                fields = Fields(chunk.payload)
                count = fields.number()
                fields.end()
                if number is not None and count != number + 1:
                    raise corrupt(f"the file says it has {count} frames, and its last is number {number}")
                if chunk.end != self._size:
                    raise CorruptFileError(f"{self._size - chunk.end} bytes follow the file's end: something was added")
                return
            frame = self._frame(chunk)
            if number is not None and frame.number != number + 1:
                raise corrupt(f"frame {frame.number} follows frame {number}")
            number, at = frame.number, chunk.end
            yield frame

    def salvage(self) -> Iterator[Frame]:
        """What can be read of a damaged file: frames whose checksums are right, from key frame to key frame."""
        at, number = self._first, None
        while at < self._size:
            try:
                chunk = self._chunk(at)
                if chunk.kind == _LAST:
                    return
                frame = self._frame(chunk)
                if not frame.key and (number is None or frame.number != number + 1):
                    raise corrupt(f"frame {frame.number} has lost the frame before")
                number, at = frame.number, chunk.end
            except (TruncatedFileError, CorruptFileError):
                number, at = None, self._next_key(at + 1)
                continue
            yield frame

    def _seek(self, start: int) -> int:
        """Where the last key frame at or before frame ``start`` begins."""
        if start <= 0:
            return self._first
        found = at = self._first
        while at < self._size:
            kind, length, begin = self._peek(at)
            if kind == _LAST:
                break
            number = Fields(self._bytes(begin, min(5, length))).number()
            if number > start:
                break
            found = at if kind == _KEY else found
            at = begin + length + 4
        return found

    def _next_key(self, at: int) -> int:
        """Where the next bytes stand that may begin a key frame; the size of the file if there are none."""
        while at < self._size:
            block = self._bytes(at, min(_SCAN, self._size - at))
            place = block.find(_KEY.encode())
            if place >= 0:
                return at + place
            at += max(1, len(block) - 3)
        return self._size

    def _chunk(self, at: int) -> Chunk:
        kind, length, begin = self._peek(at)
        if length > MAX_FRAME_BYTES:
            raise corrupt(f"the chunk {kind!r} at byte {at} says that it has {length} bytes")
        end = begin + length + 4
        if end > self._size:
            raise TruncatedFileError(f"the file ends after {self._size} bytes and needs at least {end}: fetch it again")
        found = chunk_at(self._bytes(at, end - at), 0)
        return Chunk(found.kind, found.payload, at, end)

    def _peek(self, at: int) -> tuple[str, int, int]:
        """Type and length of the chunk at a byte, and where its payload begins."""
        head = self._bytes(at, min(9, max(0, self._size - at)))
        if len(head) < 5:
            raise TruncatedFileError(f"the file ends after {self._size} bytes, within a chunk: fetch it again")
        fields = Fields(head[4:])
        try:
            length = fields.number()
        except CorruptFileError as error:
            if self._size - at < 9:
                raise TruncatedFileError(f"the file ends after {self._size} bytes, within a chunk") from error
            raise
        return str(head[:4], "latin-1"), length, at + 4 + len(pack_number(length))

    def _bytes(self, at: int, length: int) -> bytes:
        self._stream.seek(at)
        return self._stream.read(length)

    def _frame(self, chunk: Chunk) -> Frame:
        if chunk.kind not in (_KEY, _INTER):
            raise corrupt(f"the chunk at byte {chunk.start} is {chunk.kind!r}")
        fields = Fields(chunk.payload)
        number, height, width, count = (fields.number() for _ in range(4))
        if not 1 <= count <= MAX_STRINGS or not 1 <= min(height, width) <= max(height, width) <= MAX_SIDE:
            raise corrupt(f"frame {number} says that it has {count} strings, of a latent of {height}x{width}")
        lengths = [fields.number() for _ in range(count)]
        strings = tuple(fields.take(length) for length in lengths)
        checksum = None if self.header.tables is None else int.from_bytes(fields.take(4), "little")
        fields.end()
        return Frame(number, chunk.kind == _KEY, strings, (height, width), checksum)
