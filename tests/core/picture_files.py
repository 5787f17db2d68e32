"""Picture files made for tests."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image


def png(width: int, height: int, depth: int, kind: int, raw: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG file made by hand, for what Pillow does not write."""

    def chunk(name: bytes, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*parts) for parts in chunks)


def saved(image: Image.Image, form: str, **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    stream.seek(0)
    return stream
