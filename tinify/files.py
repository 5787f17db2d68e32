"""Files read with a limit, and written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tinify.errors import FileError, OutputError, TinifyError

_HINTS = {
    errno.ENOENT: "its folder does not exist: make it first",
    errno.ENOTDIR: "its folder is not a folder: check the path",
    errno.EACCES: "permission denied: choose another folder",
    errno.EPERM: "permission denied: choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOSPC: "the disk is full: free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another folder",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
}


def write_atomic(path: str | os.PathLike[str], data: bytes | Callable[[BinaryIO], None]) -> None:
    """Writes ``data``, or what ``data(stream)`` writes, beside ``path`` under a temporary name, and renames it.

    Whatever interrupts, ``path`` holds either what it held before or the whole new content, and the temporary file is
    removed. A file that is replaced keeps its permissions, and a symbolic link its place. Raises :class:`OutputError`
    where the folder is missing, not writable or full, or ``path`` is a folder or a device.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomic(Path(folder) / "a.txt", b"whole")
    ...     (Path(folder) / "a.txt").read_bytes()
    b'whole'
    """
    try:
        target = _target(path)
        _write_and_rename(target.with_name(f".tinify-{secrets.token_hex(6)}.part"), target, data)
    except OSError as error:
        reason = _HINTS.get(error.errno or 0, f"{error.strerror or error}; choose another place")
        raise OutputError(f"cannot write {path}: {reason}") from error


def _target(path: str | os.PathLike[str]) -> Path:
    """The file that a path means, links followed."""
    try:
        target = Path(os.path.realpath(path))
        if not os.path.basename(path) or target.is_dir():
            raise OutputError(f"cannot write {str(path)!r}: it is a folder; name a file in it")
        if target.exists() and not target.is_file():
            raise OutputError(f"cannot write {path}: it is not a regular file; name another")
    except ValueError as error:  # a NUL, or characters that the file system's encoding has not
        raise OutputError(f"cannot write {os.fspath(path)!r}: it cannot be a file's name; choose another") from error
    return target


def _write_and_rename(temporary: Path, target: Path, data: bytes | Callable[[BinaryIO], None]) -> None:
    try:
        with open(temporary, "xb") as stream:
            if callable(data):
                data(stream)
            else:
                stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_bytes(path: str | os.PathLike[str], limit: int, error: type[TinifyError] = FileError) -> bytes:
    """The content of a file of 1 to ``limit`` bytes.

    Raises ``error`` if it is missing, a folder or a device, not readable, empty, or larger than ``limit``.

    >>> read_bytes("no such.tfy", limit=100)
    Traceback (most recent call last):
    tinify.errors.FileError: no such.tfy does not exist: check the path
    """
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise error(f"{path} is a folder: name a file in it")
        if not stat.S_ISREG(found.st_mode):
            raise error(f"{path} is not a regular file: copy its content to one")
        if found.st_size > limit:
            raise error(f"{path} has {found.st_size} bytes, over the limit of {limit}: name another file")
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError as cause:
        raise error(f"{path} does not exist: check the path") from cause
    except (OSError, ValueError) as cause:
        reason = getattr(cause, "strerror", None) or cause
        raise error(f"{os.fspath(path)!r} cannot be read: {reason}; check the path") from cause
    if not data:
        raise error(f"{path} is empty: make or fetch it again")
    return data
