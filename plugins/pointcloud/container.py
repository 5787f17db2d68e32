"""The `.tfp` file: a header, and a chunk for each block of a cloud. docs/point-clouds.md has the bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinify.chunks import Chunk, Fields, check_preamble, chunk_at, corrupt, pack_chunk, pack_number
from tinify.errors import CorruptFileError, InputError

from .blocks import Block
from .clouds import Points

MAGIC = b"\x89TFP\r\n\x1a\n"
MAJOR, MINOR = 1, 0

#: Limits of the format; a reader checks them before it allocates.
MAX_POINTS = 2**28
MAX_BLOCK = 2**20
MAX_STRINGS = 64

_HEAD, _BLOCK, _LAST = "HEAD", "BLCK", "OVER"


@dataclass(frozen=True)
class Header:
    """What is known of a cloud before any of it is decoded: its points, and the model."""

    points: int
    model_name: str
    model_digest: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.points <= MAX_POINTS:
            raise InputError(f"a cloud of {self.points} points: expected 1 to {MAX_POINTS}")
        if not self.model_name.isprintable() or not 1 <= len(self.model_name.encode()) <= 255:
            raise InputError(f"model name {self.model_name!r}: expected 1 to 255 bytes of printable text")
        if len(self.model_digest) != 16:
            raise InputError(f"a model digest of {len(self.model_digest)} bytes: expected 16")


@dataclass(frozen=True)
class Coded:
    """One coded block: how many points it had, where it is, and a string and its positions for each latent."""

    points: int
    centre: Points
    scale: np.float32
    strings: tuple[bytes, ...]
    sizes: tuple[int, ...]

    @property
    def block(self) -> Block:
        """The place of the block, without its points."""
        return Block(np.zeros((0, 3), np.float32), self.centre, self.scale)


def write(header: Header, blocks: list[Coded]) -> bytes:
    """The bytes of a file."""
    name = header.model_name.encode()
    fields = b"".join(map(pack_number, (header.points, len(name)))) + name + header.model_digest
    chunks = [pack_chunk(_HEAD, fields), *map(_pack, blocks), pack_chunk(_LAST, pack_number(len(blocks)))]
    return MAGIC + bytes([MAJOR, MINOR]) + b"".join(chunks)


def read(data: bytes) -> tuple[Header, list[Coded]]:
    """What a file holds.

    Raises :class:`~tinify.errors.NotTinifyFileError`, VersionError, TruncatedFileError or CorruptFileError for one that
    cannot be used.
    """
    header, at = read_header(data)
    blocks: list[Coded] = []
    while (chunk := chunk_at(data, at)).kind == _BLOCK:
        blocks.append(_unpack(chunk, len(blocks)))
        at = chunk.end
    if chunk.kind != _LAST:
        raise corrupt(f"the chunk at byte {at} is {chunk.kind!r}")
    fields = Fields(chunk.payload)
    count = fields.number()
    fields.end()
    if count != len(blocks) or sum(block.points for block in blocks) != header.points:
        raise corrupt(f"the file says it has {count} blocks and {header.points} points, and has others")
    if chunk.end != len(data):
        raise CorruptFileError(f"{len(data) - chunk.end} bytes follow the file's end: something was added")
    return header, blocks


def read_header(data: bytes) -> tuple[Header, int]:
    """The header, and where the first block begins."""
    start = len(MAGIC) + 2
    check_preamble(data[:start], MAGIC, MAJOR, "tinify points compress")
    head = chunk_at(data, start)
    if head.kind != _HEAD:
        raise corrupt(f"the file begins with a chunk {head.kind!r}")
    fields = Fields(head.payload)
    points, length = fields.number(), fields.number()
    try:
        header = Header(points, fields.take(length).decode(), fields.take(16))
    except (UnicodeDecodeError, InputError) as error:
        raise corrupt(f"the header cannot be right ({error})") from error
    fields.end()
    return header, head.end


def _pack(block: Coded) -> bytes:
    numbers = [block.points, len(block.strings), *block.sizes, *map(len, block.strings)]
    place = np.array([*block.centre, block.scale], "<f4").tobytes()
    return pack_chunk(_BLOCK, place + b"".join([*map(pack_number, numbers), *block.strings]))


def _unpack(chunk: Chunk, number: int) -> Coded:
    fields = Fields(chunk.payload)
    place = np.frombuffer(fields.take(16), "<f4")
    points, count = fields.number(), fields.number()
    if not np.isfinite(place).all() or not place[3] > 0:
        raise corrupt(f"block {number} says that it is {place[3]} large, about {place[:3]}")
    if not 1 <= points <= MAX_BLOCK or not 1 <= count <= MAX_STRINGS:
        raise corrupt(f"block {number} says that it has {points} points and {count} strings")
    sizes = tuple(fields.number() for _ in range(count))
    if max(sizes) > MAX_BLOCK:
        raise corrupt(f"block {number} says that it has a latent of {max(sizes)} positions")
    lengths = [fields.number() for _ in range(count)]
    strings = tuple(fields.take(length) for length in lengths)
    fields.end()
    return Coded(points, place[:3].astype(np.float32), np.float32(place[3]), strings, sizes)
