"""The `.tfy` file: a header, metadata and coded tiles, to bytes and back; FORMAT.md gives the bytes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from tinify.chunks import Chunk, Fields, chunk_at, corrupt, is_kind, iter_chunks, pack_chunk, pack_file, pack_number
from tinify.errors import CorruptFileError, InputError, VersionError

#: Limits of the format; a reader checks them before it allocates.
MAX_SIDE = 65535
MAX_PIXELS = 2**28
MAX_TILES = 2**16
MAX_QUALITY = 2**20

_MAX_EXTRA = 1024
PROFILES = ("float32", "portable")
_KNOWN = ("HEAD", "QUAL", "INDX", "TILE", "ALPH", "DONE", "iccp", "exif")
_CHECKED = 128
"""Added to the profile in a file that has a digest of tables and checksums of symbols."""
_TABLES, _CHECKSUM = 4, 4

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Header:
    """What is known of a picture before any of it is decoded.

    ``model_name`` is for people; ``model_digest`` (16 bytes) is what must match. ``profile`` says in which arithmetic
    the model chose its coding tables; ``tables`` is a digest of these, 4 bytes, in a file whose tiles have checksums of
    their symbols. ``tile_size`` 0 means one tile; ``overlap`` is what neighbouring tiles share, in pixels. Raises
    :class:`InputError` for values that the format cannot hold.
    """

    width: int
    height: int
    channels: int
    model_name: str
    model_digest: bytes
    tile_size: int = 0
    overlap: int = 0
    bit_depth: int = 8
    profile: str = PROFILES[0]
    tables: bytes | None = None

    def __post_init__(self) -> None:
        sides = (self.width, self.height)
        if min(sides) < 1 or max(sides) > MAX_SIDE or self.width * self.height > MAX_PIXELS:
            limits = f"1x1 to {MAX_SIDE} a side and {MAX_PIXELS} pixels in all"
            raise InputError(f"a picture of {self.width}x{self.height}: expected {limits}")
        if self.channels not in (1, 3):
            raise InputError(f"{self.channels} channels: expected 1 (grey) or 3 (RGB)")
        if self.bit_depth != 8:
            raise InputError(f"bit depth {self.bit_depth}: expected 8")
        if self.profile not in PROFILES:
            raise InputError(f"arithmetic profile {self.profile!r}: expected one of {', '.join(PROFILES)}")
        if not self.model_name.isprintable() or not 1 <= len(self.model_name.encode()) <= 255:
            raise InputError(f"model name {self.model_name!r}: expected 1 to 255 bytes of printable text")
        if len(self.model_digest) != 16:
            raise InputError(f"a model digest of {len(self.model_digest)} bytes: expected 16")
        if self.tables is not None and len(self.tables) != _TABLES:
            raise InputError(f"a digest of tables of {len(self.tables)} bytes: expected {_TABLES}")
        _grid_size(self.width, self.height, self.tile_size, self.overlap)

    @property
    def boxes(self) -> list[Box]:
        """Where the tiles lie: see :func:`grid`."""
        return grid(self.width, self.height, self.tile_size, self.overlap)


@dataclass(frozen=True)
class Tile:
    """One tile's strings, as the model's ``compress`` returns them, and the ``shape`` that its ``decompress`` wants.

    ``checksum`` is CRC-32C of its symbols, int32 of little end in the order of coding.
    """

    strings: tuple[bytes, ...]
    shape: tuple[int, int]
    checksum: int | None = None


@dataclass(frozen=True)
class Container:
    """A whole file. ``alpha`` is a plane coded without loss; ``extra`` are other optional chunks, (type, payload).

    ``quality`` is what a model of variable rate was asked for, in thousandths.
    """

    header: Header
    tiles: tuple[Tile, ...]
    icc: bytes | None = None
    exif: bytes | None = None
    alpha: bytes | None = None
    extra: tuple[tuple[str, bytes], ...] = ()
    quality: int | None = None


def grid(width: int, height: int, tile_size: int, overlap: int) -> list[Box]:
    """The tiles' boxes, (left, top, right, bottom) in pixels, in raster order.

    Tiles start every ``tile_size - overlap`` pixels; the last of a row or column ends at the picture's edge and may be
    smaller. Raises :class:`InputError` for an overlap that leaves no step, or more than ``MAX_TILES`` tiles.

    >>> grid(10, 4, tile_size=6, overlap=2)
    [(0, 0, 6, 4), (4, 0, 10, 4)]
    """
    columns, rows = _grid_size(width, height, tile_size, overlap)
    tile, step = tile_size or max(width, height), tile_size - overlap
    return [
        (x * step, y * step, min(x * step + tile, width), min(y * step + tile, height))
        for y, x in itertools.product(range(rows), range(columns))
    ]


def _grid_size(width: int, height: int, tile_size: int, overlap: int) -> tuple[int, int]:
    fits = tile_size == 0 and 0 <= overlap <= MAX_SIDE
    if not fits and not 0 <= overlap < tile_size <= MAX_SIDE:
        wanted = f"0 <= overlap < tile size <= {MAX_SIDE}, or tile size 0"
        raise InputError(f"tiles of {tile_size} with an overlap of {overlap}: expected {wanted}")
    if fits:
        return 1, 1
    step = tile_size - overlap
    columns, rows = (1 if side <= tile_size else -(-(side - overlap) // step) for side in (width, height))
    if columns * rows > MAX_TILES:
        raise InputError(f"{columns}x{rows} tiles: expected at most {MAX_TILES} in all; choose larger tiles")
    return columns, rows


def write(container: Container) -> bytes:
    """The file's bytes; :func:`read` gives an equal container back.

    Raises :class:`InputError` for a container that the format cannot hold.

    >>> header = Header(2, 1, 3, "some-model", bytes(16))
    >>> data = write(Container(header, (Tile((b"y", b"z"), (1, 1)),)))
    >>> read(data).tiles
    (Tile(strings=(b'y', b'z'), shape=(1, 1), checksum=None),)
    """
    if len(container.tiles) != len(container.header.boxes):
        raise InputError(f"{len(container.tiles)} tiles for a grid of {len(container.header.boxes)}")
    _check_extra(container.extra)
    if container.quality is not None and not 0 < container.quality <= MAX_QUALITY:
        raise InputError(f"quality {container.quality}: expected 1 to {MAX_QUALITY} thousandths")
    checked = container.header.tables is not None
    quality = None if container.quality is None else pack_number(container.quality)
    metadata = [("QUAL", quality), ("iccp", container.icc), ("exif", container.exif), ("ALPH", container.alpha)]
    metadata += container.extra
    chunks = [pack_chunk("HEAD", _pack_header(container.header))]
    chunks += [pack_chunk(kind, payload) for kind, payload in metadata if payload is not None]
    tiles = [pack_chunk("TILE", _pack_tile(tile, checked)) for tile in container.tiles]
    if len(tiles) > 1:
        chunks.append(pack_chunk("INDX", b"".join(pack_number(len(tile)) for tile in tiles)))
    return pack_file(chunks + tiles)


def read(data: bytes) -> Container:
    """The container in a file's bytes.

    Raises a :class:`~tinify.errors.FileError`: NotTinifyFileError, VersionError, TruncatedFileError, CorruptFileError.
    """
    most = MAX_TILES + _MAX_EXTRA + 5
    chunks = list(itertools.islice(iter_chunks(data), most + 1))
    if len(chunks) > most:
        raise corrupt("there are more chunks than any picture needs")
    header = _unpack_header(chunks)
    once, extra = _sort_metadata([chunk for chunk in chunks[1:] if chunk.kind not in ("INDX", "TILE")])
    _check_tiles(len(header.boxes), chunks)
    return Container(
        header=header,
        tiles=tuple(_unpack_tile(chunk, header.tables is not None) for chunk in chunks if chunk.kind == "TILE"),
        quality=_unpack_quality(once.get("QUAL")),
        icc=once.get("iccp"),
        exif=once.get("exif"),
        alpha=once.get("ALPH"),
        extra=extra,
    )


def read_header(data: bytes) -> Header:
    """The header alone, from a file's bytes or the first few hundred of them; the rest is not looked at."""
    return _unpack_header(list(itertools.islice(iter_chunks(data), 1)))


def read_tile(data: bytes, number: int) -> Tile:
    """Tile ``number`` in raster order, found by the index; other tiles are neither read nor checked.

    Raises :class:`InputError` where there is no such tile, and what :func:`read` raises.
    """
    header = read_header(data)
    count = len(header.boxes)
    if not 0 <= number < count:
        raise InputError(f"tile {number}: expected 0 to {count - 1}")
    for chunk in iter_chunks(data):
        if chunk.kind == "INDX":
            chunk = chunk_at(data, chunk.end + sum(_unpack_index(chunk, count)[:number]))
        elif chunk.kind == "TILE" and count > 1:
            break
        if chunk.kind == "TILE":
            return _unpack_tile(chunk, header.tables is not None)
    raise corrupt(f"tile {number} is not where the index says")


def _sort_metadata(chunks: list[Chunk]) -> tuple[dict[str, bytes], tuple[tuple[str, bytes], ...]]:
    """The chunks that appear once, by type, and the unknown ones that may be passed over."""
    once: dict[str, bytes] = {}
    extra = []
    for kind, payload, _, _ in chunks:
        if kind not in _KNOWN and kind[0].isupper():
            raise VersionError(f"the file needs chunk {kind!r}, which is not known here: update tinify to read it")
        if kind not in _KNOWN:
            extra.append((kind, bytes(payload)))
        elif kind in once or kind == "HEAD":
            raise corrupt(f"chunk {kind!r} appears twice")
        else:
            once[kind] = bytes(payload)
    return once, tuple(extra)


def _check_extra(extra: tuple[tuple[str, bytes], ...]) -> None:
    if len(extra) > _MAX_EXTRA:
        raise InputError(f"{len(extra)} extra chunks: expected at most {_MAX_EXTRA}")
    for kind, _ in extra:
        if not is_kind(kind) or kind[0].isupper() or kind in _KNOWN:
            wanted = f"four ASCII letters, the first in lower case, and none of {', '.join(_KNOWN)}"
            raise InputError(f"extra chunk {kind!r}: expected {wanted}")


def _check_tiles(count: int, chunks: list[Chunk]) -> None:
    """Checks that there is a tile for each box, all in one run, after an index if there are several."""
    run = [chunk for chunk in chunks if chunk.kind in ("INDX", "TILE")]
    wanted = ["TILE"] if count == 1 else ["INDX"] + ["TILE"] * count
    if [chunk.kind for chunk in run] != wanted:
        raise corrupt(f"{sum(chunk.kind == 'TILE' for chunk in run)} tiles do not make a grid of {count}")
    if any(a.end != b.start for a, b in itertools.pairwise(run)):
        raise corrupt("other chunks stand among the tiles")
    if count > 1 and _unpack_index(run[0], count) != [tile.end - tile.start for tile in run[1:]]:
        raise corrupt("the tile index does not fit the tiles")


def _pack_header(header: Header) -> bytes:
    name = header.model_name.encode()
    numbers = (header.width, header.height, header.tile_size, header.overlap)
    profile = PROFILES.index(header.profile) + (0 if header.tables is None else _CHECKED)
    fixed = bytes([header.channels, header.bit_depth, profile, len(name)])
    return b"".join(map(pack_number, numbers)) + fixed + name + header.model_digest + (header.tables or b"")


def _unpack_header(chunks: list[Chunk]) -> Header:
    if not chunks or chunks[0].kind != "HEAD":
        raise corrupt("the first chunk is not 'HEAD'")
    fields = Fields(chunks[0].payload)
    width, height, tile_size, overlap = (fields.number() for _ in range(4))
    channels, bit_depth, profile, name_length = fields.take(4)
    name, digest = fields.take(name_length), fields.take(16)
    checked, profile = divmod(profile, _CHECKED)
    if bit_depth != 8 or profile >= len(PROFILES):
        what = f"bit depth {bit_depth} or arithmetic profile {profile}"
        raise VersionError(f"the file has {what}, not known here: update tinify to read it")
    arithmetic = PROFILES[profile], fields.take(_TABLES) if checked else None
    fields.end()
    try:
        return Header(width, height, channels, name.decode(), digest, tile_size, overlap, bit_depth, *arithmetic)
    except (InputError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"the header is wrong: {error}") from error


def _unpack_quality(payload: bytes | None) -> int | None:
    if payload is None:
        return None
    fields = Fields(payload)
    quality = fields.number()
    fields.end()
    if not 0 < quality <= MAX_QUALITY:
        raise corrupt(f"the quality is {quality} thousandths")
    return quality


def _pack_tile(tile: Tile, checked: bool) -> bytes:
    if checked != (tile.checksum is not None):
        raise InputError("tiles have checksums of their symbols if the header has a digest of tables, all or none")
    if not all(0 <= side <= MAX_SIDE for side in tile.shape):
        raise InputError(f"a tile of shape {tile.shape}: expected two numbers of 0 to {MAX_SIDE}")
    # The last string's length is what the payload leaves.
    numbers = [*tile.shape, len(tile.strings), *(len(string) for string in tile.strings[:-1])]
    first = b"" if tile.checksum is None else tile.checksum.to_bytes(_CHECKSUM, "little")
    return b"".join([first, *map(pack_number, numbers), *tile.strings])


def _unpack_tile(chunk: Chunk, checked: bool) -> Tile:
    fields = Fields(chunk.payload)
    checksum = int.from_bytes(fields.take(_CHECKSUM), "little") if checked else None
    height, width, count = fields.number(), fields.number(), fields.number()
    if max(height, width) > MAX_SIDE or count > len(chunk.payload):
        raise corrupt(f"a tile has shape {height}x{width} and {count} strings")
    lengths = [fields.number() for _ in range(count - 1)]
    strings = [fields.take(length) for length in lengths]
    if count:
        strings.append(fields.rest())
    fields.end()
    return Tile(tuple(strings), (height, width), checksum)


def _unpack_index(chunk: Chunk, count: int) -> list[int]:
    fields = Fields(chunk.payload)
    sizes = [fields.number() for _ in range(count)]
    fields.end()
    return sizes
