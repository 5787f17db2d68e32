"""Clouds in files: points, and normals where there are some."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinify.errors import FileError, InputError, MissingPackageError, OutputError
from tinify.files import read_bytes, write_atomic

Points = NDArray[np.float32]

MAX_BYTES = 2**31
SUFFIXES = (".ply", ".npy", ".npz", ".off", ".bin")
_WRITTEN = (".ply", ".npy", ".npz")


@dataclass(frozen=True)
class Cloud:
    """Points (n, 3), and normals (n, 3) or None. Raises :class:`~tinify.errors.InputError` for what is none.

    >>> len(Cloud(np.zeros((5, 3), np.float32)).points)
    5
    """

    points: Points
    normals: Points | None = None

    def __post_init__(self) -> None:
        for name, array in (("points", self.points), ("normals", self.normals)):
            if array is None:
                continue
            found = np.asarray(array)
            if found.ndim != 2 or found.shape[1] != 3 or found.dtype.kind not in "fiu":
                raise InputError(f"{name} are {found.dtype} of {found.shape}: expected numbers of (points, 3)")
            if not np.isfinite(found).all():
                raise InputError(f"{name} have NaN or infinite coordinates: leave these points out")
            object.__setattr__(self, name, np.ascontiguousarray(found, np.float32))
        if not len(self.points):
            raise InputError("a cloud of no points: expected one at least")
        if self.normals is not None and len(self.normals) != len(self.points):
            raise InputError(f"{len(self.points)} points with {len(self.normals)} normals: expected as many")


def read_cloud(path: Path, item: int | None = None) -> Cloud:
    """The cloud in a file: ``.ply``, ``.off`` (its vertices), ``.npy``, ``.npz`` (``points`` or ``xyz``, or its only
    array), or ``.bin``, KITTI's float32 x, y, z and intensity.

    Of an array of many clouds, (clouds, points, 3), ``item`` says which. Raises :class:`~tinify.errors.FileError` for
    what cannot be read, InputError for what is no cloud.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} does not end in {', '.join(SUFFIXES)}")
    if suffix in (".npy", ".npz"):
        return _of_arrays(_arrays(path), path, item)
    data = read_bytes(path, MAX_BYTES)
    try:
        if suffix == ".bin":
            if len(data) % 16:
                raise FileError(f"{path} has {len(data)} bytes, which are no points of four float32: it is cut short")
            return Cloud(np.frombuffer(data, "<f4").reshape(-1, 4)[:, :3])
        return _mesh(data, suffix)
    except (FileError, InputError, MissingPackageError):
        raise
    except Exception as error:
        raise FileError(f"{path} is damaged, or is no {suffix} file: {error}") from error


def read_clouds(path: Path, split: str) -> list[Points]:
    """All clouds in a file: many of an array (clouds, points, 3), of the array named ``split`` where there is one."""
    if path.suffix.lower() not in (".npy", ".npz"):
        return [read_cloud(path).points]
    arrays = _arrays(path)
    chosen = arrays.get(split)
    several = chosen if chosen is not None else next((one for one in arrays.values() if one.ndim == 3), None)
    if several is None or several.ndim != 3:
        return [_of_arrays(arrays, path, None).points]
    kept = {key: arrays[key] for key in ("scale",) if key in arrays}
    return [_of_arrays({"points": one, **kept}, path, None).points for one in several]


def _arrays(path: Path) -> dict[str, Any]:
    """The arrays of a numpy file by name; that of an .npy is called points."""
    try:
        array = np.load(BytesIO(read_bytes(path, MAX_BYTES)), allow_pickle=False)
        if path.suffix.lower() == ".npz":
            return {key: array[key] for key in array.files}
        return {"points": array}
    except FileError:
        raise
    except Exception as error:
        raise FileError(f"{path} is damaged, or is no {path.suffix} file: {error}") from error


def _of_arrays(arrays: dict[str, Any], path: Path, item: int | None) -> Cloud:
    numbers = {key: array for key, array in arrays.items() if array.ndim in (2, 3) and array.shape[-1] in (3, 4)}
    known = [key for key in ("points", "xyz", "xyzi", "pos", "test", "train") if key in numbers]
    if not known and len(numbers) != 1:
        raise InputError(f"{path} has the arrays {', '.join(arrays) or 'none'}: expected points, (points, 3)")
    points = numbers[known[0]] if known else next(iter(numbers.values()))
    if points.ndim == 3:
        if item is None or not 0 <= item < len(points):
            raise InputError(f"{path} has {len(points)} clouds: say which, from 0 to {len(points) - 1}")
        points = points[item]
    scale = arrays.get("scale")
    points = points[:, :3] * np.float32(scale) if scale is not None and points.dtype.kind in "iu" else points[:, :3]
    normals = arrays.get("normals")
    return Cloud(points, normals if normals is not None and normals.ndim == 2 else None)


def _mesh(data: bytes, suffix: str) -> Cloud:
    trimesh = _trimesh()
    found: Any = trimesh.load(BytesIO(data), file_type=suffix[1:], process=False)
    if not hasattr(found, "vertices"):
        raise InputError("it has no vertices")
    normals = found.metadata.get("_ply_raw", {}).get("vertex", {}).get("data")
    named = normals is not None and getattr(normals, "dtype", None) is not None and normals.dtype.names
    own = np.stack([normals[axis] for axis in ("nx", "ny", "nz")], 1) if named and "nx" in normals.dtype.names else None
    return Cloud(np.asarray(found.vertices), own)


def write_cloud(path: Path, cloud: Cloud) -> None:
    """Writes ``.ply`` (binary), ``.npy`` or ``.npz``, whole or not at all."""
    suffix = path.suffix.lower()
    stream = BytesIO()
    columns = [cloud.points] if cloud.normals is None else [cloud.points, cloud.normals]
    if suffix == ".ply":
        names = "x y z" if cloud.normals is None else "x y z nx ny nz"
        head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(cloud.points)}"]
        head += [f"property float {name}" for name in names.split()]
        stream.write("\n".join([*head, "end_header", ""]).encode())
        stream.write(np.concatenate(columns, 1).astype("<f4").tobytes())
    elif suffix == ".npy":
        np.save(stream, cloud.points)
    elif suffix == ".npz":
        np.savez(stream, **dict(zip(("points", "normals"), columns, strict=False)))  # type: ignore[arg-type]
    else:
        raise OutputError(f"{path} does not end in {', '.join(_WRITTEN)}")
    write_atomic(path, stream.getvalue())


def _trimesh() -> Any:
    try:
        import trimesh
    except ImportError as error:
        raise MissingPackageError(
            ".ply and .off files take trimesh: pip install 'tinify-codec[pointcloud]'; .npy, .npz and .bin need nothing"
        ) from error
    return trimesh
