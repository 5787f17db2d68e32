"""What a run's pictures were: a digest of their names and contents, and what has changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinify.files import write_atomic

_BLOCK = 1 << 20
_SHOWN = 3


@dataclass(frozen=True)
class Contents:
    """Files by name (folder's number, then path inside it): size, time of change, and SHA-256 of the content."""

    files: Mapping[str, tuple[int, int, str]]

    @property
    def digest(self) -> str:
        """SHA-256 of all names and contents, in hexadecimal."""
        lines = "".join(f"{name}\0{sha}\n" for name, (_, _, sha) in sorted(self.files.items()))
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()

    def save(self, path: Path) -> None:
        """Writes the digest and the files as JSON."""
        write_atomic(path, json.dumps({"sha256": self.digest, "files": self.files}, indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> Contents:
        """What ``save`` wrote, empty if there is none that can be read."""
        try:
            files: dict[str, Any] = json.loads(path.read_bytes())["files"]
            return cls({name: (int(size), int(time), str(sha)) for name, (size, time, sha) in files.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls({})

    def changes(self, now: Contents) -> str:
        """What differs ``now``, in words; empty if nothing does."""
        named = {
            "gone": self.files.keys() - now.files.keys(),
            "new": now.files.keys() - self.files.keys(),
            "altered": {name for name, file in self.files.items() if now.files.get(name, file)[2] != file[2]},
        }
        return "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in named.items() if names)


def contents(folders: Sequence[tuple[Path, Sequence[Path]]], known: Contents | None = None) -> Contents:
    """The contents of each folder's files.

    A file of the same size and time as in ``known`` is not read again. One that cannot be read, which a run skips, has
    no content.
    """
    seen = known.files if known else {}
    found = {}
    for number, (folder, files) in enumerate(folders):
        for path in files:
            name = f"{number}/{path.relative_to(folder).as_posix()}"
            try:
                stat = path.stat()
                size, time, sha = seen.get(name, (-1, -1, ""))
                if (size, time) != (stat.st_size, stat.st_mtime_ns):
                    sha = _sha256(path)
                found[name] = (stat.st_size, stat.st_mtime_ns, sha)
            except OSError:
                found[name] = (-1, -1, "")
    return Contents(found)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _some(names: set[str]) -> str:
    shown = [name.partition("/")[2] for name in sorted(names)[:_SHOWN]]
    return ", ".join(shown + ["..."] * (len(names) > _SHOWN))
