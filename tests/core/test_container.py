"""The `.tfy` file: what is written is read, whatever is damaged is refused, and the bytes are those of FORMAT.md."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable
from importlib.resources import files

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify.chunks import MAGIC, Fields, iter_chunks, pack_chunk, pack_file, pack_number, read_number
from tinify.container import (
    MAX_PIXELS,
    MAX_QUALITY,
    MAX_SIDE,
    Container,
    Header,
    Tile,
    grid,
    read,
    read_header,
    read_tile,
    write,
)
from tinify.errors import (
    CorruptFileError,
    FileError,
    InputError,
    NotTinifyFileError,
    TinifyError,
    TruncatedFileError,
    VersionError,
)

DIGEST = bytes(range(16))
HEADER = Header(768, 512, 3, "tinify-photo", DIGEST, tile_size=2048, overlap=64)
SMALL = Container(
    Header(5, 3, 1, "m", DIGEST, tile_size=4, overlap=1),
    (Tile((b"first", b""), (1, 2)), Tile((b"second",), (300, 0))),
    icc=b"profile",
    exif=b"",
    alpha=b"plane",
    extra=(("note", b"kept"), ("note", b"")),
)
BYTES = write(SMALL)


@st.composite
def containers(draw: st.DrawFn) -> Container:
    side = st.integers(1, 300)
    tile_size = draw(st.integers(0, 200))
    overlap = draw(st.integers(0, max(0, tile_size - 20))) if tile_size > 20 else 0
    name = draw(
        st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF).filter(str.isprintable), min_size=1, max_size=20)
    )
    header = Header(
        draw(side),
        draw(side),
        draw(st.sampled_from([1, 3])),
        name,
        draw(st.binary(min_size=16, max_size=16)),
        tile_size=max(20, tile_size) if tile_size else 0,
        overlap=overlap,
        profile=draw(st.sampled_from(["float32", "portable"])),
        tables=draw(st.none() | st.binary(min_size=4, max_size=4)),
    )
    tile = st.builds(
        Tile,
        st.lists(st.binary(max_size=300), max_size=4).map(tuple),
        st.tuples(st.integers(0, MAX_SIDE), st.integers(0, MAX_SIDE)),
        st.none() if header.tables is None else st.integers(0, 2**32 - 1),
    )
    some = draw(st.lists(tile, min_size=1, max_size=3))
    tiles = tuple(some[i % len(some)] for i in range(len(header.boxes)))
    block = st.none() | st.binary(max_size=30)
    extra = st.lists(st.tuples(st.sampled_from(["note", "xAZz"]), st.binary(max_size=9)), max_size=3).map(tuple)
    quality = draw(st.none() | st.integers(1, MAX_QUALITY))
    return Container(header, tiles, draw(block), draw(block), draw(block), draw(extra), quality)


@given(containers())
def test_what_is_written_is_read(container: Container) -> None:
    data = write(container)
    assert read(data) == container
    assert read_header(data) == container.header
    for number in {0, len(container.tiles) // 2, len(container.tiles) - 1}:
        assert read_tile(data, number) == container.tiles[number]


def test_there_is_a_checksum_of_symbols_for_each_tile() -> None:
    with pytest.raises(InputError, match="a digest of tables of 3 bytes: expected 4"):
        dataclasses.replace(HEADER, tables=b"123")
    marked = dataclasses.replace(SMALL.header, tables=b"1234")
    checked = tuple(dataclasses.replace(tile, checksum=7) for tile in SMALL.tiles)
    for header, tiles in ((marked, SMALL.tiles), (SMALL.header, checked), (marked, (checked[0], SMALL.tiles[1]))):
        with pytest.raises(InputError, match="all or none"):
            write(dataclasses.replace(SMALL, header=header, tiles=tiles))
    assert len(write(dataclasses.replace(SMALL, header=marked, tiles=checked))) == len(BYTES) + 4 + 2 * 4


@given(st.binary(min_size=1, max_size=9) | st.binary(max_size=60).map(lambda tail: MAGIC + b"\1\0" + tail))
def test_no_other_bytes_are_a_file(data: bytes) -> None:
    with pytest.raises(FileError):
        read(data)


@pytest.mark.parametrize("length", range(len(BYTES)))
def test_a_cut_file_is_refused(length: int) -> None:
    with pytest.raises(NotTinifyFileError if length < len(MAGIC) else TruncatedFileError):
        read(BYTES[:length])


def test_any_flipped_bit_is_refused() -> None:
    for position in range(len(BYTES)):
        for bit in range(8):
            damaged = bytearray(BYTES)
            damaged[position] ^= 1 << bit
            with pytest.raises(FileError):
                read(bytes(damaged))


@given(st.integers(0, len(BYTES) - 1), st.integers(0, len(BYTES)), st.binary(max_size=5))
def test_any_other_damage_is_refused(start: int, stop: int, patch: bytes) -> None:
    damaged = BYTES[:start] + patch + BYTES[stop:]
    if damaged != BYTES:
        with pytest.raises(FileError):
            read(damaged)


@pytest.mark.parametrize("appended", [b"\0", b"\n", BYTES])
def test_what_follows_the_end_is_refused(appended: bytes) -> None:
    with pytest.raises(CorruptFileError, match="follow"):
        read(BYTES + appended)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b"\r\n", b"\n"),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: bytes(byte & 127 for byte in data),
        lambda data: data.decode("latin-1").encode(),
        lambda data: data.decode(errors="replace").encode(),
    ],
)
def test_damage_by_text_mode_is_named(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(NotTinifyFileError, match="text mode"):
        read(damage(BYTES))


def test_other_files_are_named() -> None:
    with pytest.raises(NotTinifyFileError, match="is empty"):
        read(b"")
    with pytest.raises(NotTinifyFileError, match="PNG"):
        read(b"\x89PNG\r\n\x1a\n and so on")


def test_versions() -> None:
    with pytest.raises(VersionError, match=r"2\.7.*update"):
        read(MAGIC + b"\2\7")
    with pytest.raises(CorruptFileError, match="never was"):
        read(MAGIC + b"\0\0")
    later = bytearray(BYTES[:-4])
    later[9] = 9
    assert read(bytes(later) + _crc(bytes(later))) == SMALL


HEAD = pack_chunk("HEAD", next(iter(iter_chunks(BYTES))).payload.tobytes())
ONE = pack_chunk("HEAD", b"\5\3\0\0\1\10\0\1m" + DIGEST)
TILE = pack_chunk("TILE", b"\1\1\1string")


def test_a_needed_chunk_that_is_unknown_asks_for_an_update() -> None:
    with pytest.raises(VersionError, match=r"'Need'.*update"):
        read(pack_file([ONE, pack_chunk("Need", b""), TILE]))
    assert read(pack_file([ONE, TILE, pack_chunk("mayb", b"1")])).extra == (("mayb", b"1"),)


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [TILE],
        [TILE, ONE],
        [ONE],
        [ONE, ONE, TILE],
        [ONE, TILE, TILE],
        [ONE, pack_chunk("iccp", b""), pack_chunk("iccp", b""), TILE],
        [ONE, pack_chunk("INDX", pack_number(len(TILE))), TILE],
        [HEAD, TILE, TILE],
        [HEAD, pack_chunk("INDX", bytes([len(TILE)])), TILE, TILE],
        [HEAD, pack_chunk("INDX", bytes([len(TILE), 1])), TILE, TILE],
        [HEAD, pack_chunk("INDX", bytes([len(TILE)] * 2)), TILE, pack_chunk("note", b""), TILE],
        [ONE, pack_chunk("TILE", b"")],
        [ONE, pack_chunk("TILE", b"\1\1\0string")],
        [ONE, pack_chunk("TILE", b"\1\1\2\7string")],
        [ONE, pack_chunk("TILE", b"\1\1\xff\xff\xff\xff\x0fstring")],
        [ONE, pack_chunk("TILE", b"\xff\xff\xff\x7f\1\1string")],
        [pack_chunk("HEAD", b"\0\3\0\0\1\10\0\1m" + DIGEST), TILE],
        [pack_chunk("HEAD", b"\5\3\0\0\2\10\0\1m" + DIGEST), TILE],
        [pack_chunk("HEAD", b"\5\3\0\0\1\10\0\1\xff" + DIGEST), TILE],
        [pack_chunk("HEAD", b"\5\3\0\0\1\10\0\1\x1b" + DIGEST), TILE],
        [pack_chunk("HEAD", b"\5\3\0\0\1\10\0\0" + DIGEST), TILE],
        [pack_chunk("HEAD", b"\5\3\0\0\1\10\0\1m" + DIGEST[1:]), TILE],
        [pack_chunk("HEAD", b"\5\3\0\0\1\10\0\1m" + DIGEST + b"\0"), TILE],
        [pack_chunk("HEAD", b"\5\3\4\4\1\10\0\1m" + DIGEST), TILE],
        [pack_chunk("HEAD", b"\xff\xff\3\xff\xff\3\1\0\1\10\0\1m" + DIGEST), TILE],
    ],
)
def test_whole_but_senseless_files_are_refused(chunks: list[bytes]) -> None:
    with pytest.raises(CorruptFileError):
        read(pack_file(chunks))


@pytest.mark.parametrize("head", [b"\5\3\0\0\1\20\0\1m", b"\5\3\0\0\1\10\2\1m"])
def test_header_values_of_the_future_ask_for_an_update(head: bytes) -> None:
    with pytest.raises(VersionError, match="update"):
        read(pack_file([pack_chunk("HEAD", head + DIGEST), TILE]))


def test_a_flood_of_chunks_is_refused() -> None:
    with pytest.raises(CorruptFileError, match="more chunks"):
        read(pack_file([ONE, *[pack_chunk("note", b"")] * 70_000, TILE]))


def test_a_declared_length_is_not_trusted() -> None:
    with pytest.raises(TruncatedFileError):
        read(MAGIC + b"\1\0HEAD\xff\xff\xff\xff\x0f")


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"height": -1},
        {"width": MAX_SIDE + 1},
        {"width": MAX_SIDE, "height": MAX_PIXELS // MAX_SIDE + 1},
        {"channels": 2},
        {"bit_depth": 16},
        {"profile": "float99"},
        {"model_name": ""},
        {"model_name": "n" * 256},
        {"model_name": "a\nb"},
        {"model_name": "\udc80"},
        {"model_digest": b"short"},
        {"tile_size": 64},
        {"tile_size": -1, "overlap": -2},
        {"tile_size": 2, "overlap": 0},
        {"tile_size": MAX_SIDE + 1},
    ],
)
def test_headers_that_the_format_cannot_hold(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Header(**{**vars(HEADER), **change})


@pytest.mark.parametrize(
    "change",
    [
        {"tiles": ()},
        {"tiles": (SMALL.tiles[0], Tile((b"",), (-1, 0)))},
        {"tiles": (SMALL.tiles[0], Tile((b"",), (1, MAX_SIDE + 1)))},
        {"extra": (("Need", b""),)},
        {"extra": (("exif", b""),)},
        {"extra": (("long.", b""),)},
        {"extra": (("b4ad", b""),)},
        {"extra": (("note", b""),) * 2000},
    ],
)
def test_containers_that_the_format_cannot_hold(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        write(Container(**{**vars(SMALL), **change}))


def test_tiles_that_are_not_there() -> None:
    for number in (-1, 2):
        with pytest.raises(InputError, match="0 to 1"):
            read_tile(BYTES, number)
    with pytest.raises(CorruptFileError, match="index"):
        read_tile(pack_file([HEAD, TILE, TILE]), 1)


def test_a_tile_is_read_though_others_are_damaged() -> None:
    damaged = BYTES.replace(b"first", b"worst")
    assert read_tile(damaged, 1) == SMALL.tiles[1]
    with pytest.raises(CorruptFileError):
        read(damaged)


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4))
def test_headers_are_small(strings: list[bytes]) -> None:
    data = write(Container(HEADER, (Tile(tuple(strings), (32, 48)),)))
    assert len(data) - sum(map(len, strings)) <= 86 + 2 * len(strings)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 60), st.data())
def test_a_grid_covers_the_picture(width: int, height: int, tile_size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, max(0, tile_size - 1)))
    boxes = grid(width, height, tile_size, overlap)
    cover = np.zeros((height, width), int)
    fresh = []
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert tile_size == 0 or max(right - left, bottom - top) <= tile_size
        fresh.append((cover[top:bottom, left:right] == 0).any())
        cover[top:bottom, left:right] += 1
    assert cover.min() == 1 or overlap
    assert cover.min() >= 1
    assert all(fresh)
    if overlap == 0:
        assert cover.max() == 1
    if tile_size == 0 or max(width, height) <= tile_size:
        assert boxes == [(0, 0, width, height)]
    starts = sorted({left for left, *_ in boxes})
    assert all(b - a == tile_size - overlap for a, b in itertools.pairwise(starts))


@given(st.integers(0, 2**32 - 1), st.binary(max_size=3))
def test_numbers(value: int, tail: bytes) -> None:
    packed = pack_number(value)
    assert read_number(packed + tail, 0) == (value, len(packed))
    assert len(packed) == max(1, -(-value.bit_length() // 7))


@given(st.binary(max_size=8))
def test_only_the_shortest_form_of_a_number_is_read(data: bytes) -> None:
    try:
        value, end = read_number(data, 0)
    except FileError:
        return
    assert pack_number(value) == data[:end]


@given(st.binary(max_size=20), st.integers(0, 30))
def test_fields_end_where_their_payload_ends(payload: bytes, length: int) -> None:
    fields = Fields(payload)
    if length > len(payload):
        with pytest.raises(CorruptFileError):
            fields.take(length)
    else:
        assert fields.take(length) + fields.rest() == payload
        fields.end()


def test_the_bytes_are_those_of_the_written_format() -> None:
    """The example of FORMAT.md: built by hand from its tables, and as its hexadecimal listing has it."""
    head = b"HEAD\x25" + b"\x80\x06\x80\x04\x80\x10\x40" + b"\3\10\0\x0a" + b"example-q1" + DIGEST
    tile = b"TILE\x0b" + b"\x20\x30\2" + b"\4" + b"main" + b"hyp"
    body = MAGIC + b"\1\0" + head + _crc(head) + tile + _crc(tile) + b"DONE\0"
    header = Header(768, 512, 3, "example-q1", DIGEST, tile_size=2048, overlap=64)
    data = write(Container(header, (Tile((b"main", b"hyp"), (32, 48)),)))
    assert data == body + _crc(body)
    text = (files("tinify_specs") / "FORMAT.md").read_text(encoding="utf-8")
    section = text.split("\n## The container\n")[1].split("\n## ")[0]
    listing = re.findall(r"^ +[0-9a-f]{4}:((?: [0-9a-f]{2})+)", section, re.MULTILINE)
    assert bytes.fromhex("".join(listing)) == data


def test_errors_say_what_to_do() -> None:
    messages = []
    for length in range(len(BYTES)):
        try:
            read(BYTES[:length])
        except TinifyError as error:
            messages.append(str(error))
    assert len(messages) == len(BYTES)
    assert all("again" in message for message in messages)


def _crc(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(4, "little")
