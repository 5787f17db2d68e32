"""Files are written whole or not at all, and read within limits."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify.errors import FileError, ImageError, OutputError
from tinify.files import read_bytes, write_atomic


@given(st.binary(min_size=1, max_size=100))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "some.bin"
    write_atomic(path, data)
    assert read_bytes(path, limit=len(data)) == data
    with pytest.raises(FileError, match="over the limit"):
        read_bytes(path, limit=len(data) - 1)


def test_a_function_may_write(tmp_path: Path) -> None:
    def save(stream: BinaryIO) -> None:
        stream.write(b"ab")
        stream.seek(1)
        stream.write(b"c")

    write_atomic(str(tmp_path / "out"), save)
    assert (tmp_path / "out").read_bytes() == b"ac"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
@pytest.mark.parametrize("before", [None, b"before"])
def test_an_interruption_leaves_all_as_it_was(
    tmp_path: Path, interruption: type[BaseException], before: bytes | None
) -> None:
    path = tmp_path / "out"
    if before is not None:
        path.write_bytes(before)

    def save(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise interruption

    with pytest.raises(interruption):
        write_atomic(path, save)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_failed_rename_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "out", b"data")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "choose"),
    ],
)
def test_an_error_of_the_disk_is_named(tmp_path: Path, number: int, words: str) -> None:
    def save(stream: BinaryIO) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError, match=words):
        write_atomic(tmp_path / "out", save)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for path, words in [
        (tmp_path / "none" / "out", "does not exist"),
        (tmp_path / "file" / "out", "not a folder"),
        (tmp_path, "is a folder"),
        (f"{tmp_path}/new/", "is a folder"),
        ("", "is a folder"),
        (tmp_path / ("n" * 300), "too long"),
        (tmp_path / "a\0b", "cannot be a file's name"),
    ]:
        with pytest.raises(OutputError, match=words):
            write_atomic(path, b"data")
    with pytest.raises(OutputError, match="not a regular file"):
        write_atomic(os.devnull, b"data")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_permissions_and_links_outlive_a_replacement(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    real.chmod(0o600)
    link.symlink_to(real)
    write_atomic(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o600


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_atomic(tmp_path / "ours", b"x")
    (tmp_path / "usual").write_bytes(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("error", [FileError, ImageError])
def test_files_that_cannot_be_read(tmp_path: Path, error: type[FileError]) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for path, words in [
        (tmp_path / "none", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty", "is empty"),
        (tmp_path / "empty" / "x", "cannot be read"),
        (tmp_path / "pipe", "not a regular file"),
        ("a\0b", "cannot be read"),
    ]:
        with pytest.raises(error, match=words):
            read_bytes(path, 100, error)
