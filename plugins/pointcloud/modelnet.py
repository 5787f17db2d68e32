"""ModelNet: shapes of 10 or 40 classes, in each of the forms that they are handed round in."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinify.datasets.image import DatasetError, Transform
from tinify.errors import FileError, InputError, MissingPackageError
from tinify.files import read_bytes

from .clouds import MAX_BYTES
from .samples import Arrays, CloudSamples, Item, Root, read_table

_NAMES, _SPLITS = ("10", "40"), ("train", "test")


class ModelNetDataset(CloudSamples):
    """The shapes of ModelNet40, or with ``name="10"`` of ModelNet10; ``split`` is ``"train"`` or ``"test"``.

    ``root`` is a folder with one of these, or the folder around it:

    * meshes, ``airplane/train/airplane_0001.off``: ``pos`` are the vertices, ``face`` int64 (3, faces), ``label``;
      :class:`~tinify_plugins.pointcloud.transforms.SamplePointsV2` makes points of them;
    * ``modelnet40_normal_resampled``, lists and ``airplane/airplane_0001.txt``: ``pos``, ``normal``, ``label``;
    * ``modelnet40_ply_hdf5_2048``, ``ply_data_train0.h5`` and so on: ``pos``, ``label``, and ``normal`` if it is there;
      these take h5py;
    * ``modelnet40*.npz``, or such a file for ``root``, with arrays ``train`` and ``test``, (clouds, points, 3), whole
      numbers of them multiplied by the array ``scale``: ``pos``.

    ``classes`` are the classes' names, where the files tell them; ``label`` is the place in them, int64 without axes.
    Nothing is downloaded, whatever ``download`` says. What else there is to know says
    :class:`~tinify_plugins.pointcloud.samples.CloudSamples`, also what it raises.
    Wu, Song, Khosla, Yu, Zhang, Tang, Xiao: 3D ShapeNets: A Deep Representation for Volumetric Shapes, CVPR 2015.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/modelnet40.npz", train=np.zeros((5, 64, 3), np.int16), scale=1 / 32767)
    ...     ModelNetDataset(folder)[4]["pos"].shape
    torch.Size([64, 3])
    """

    def __init__(
        self,
        root: Root = None,
        cache_root: Root = None,
        split: str = "train",
        split_name: str | None = None,
        name: str = "40",
        pre_transform: Transform | None = None,
        transform: Transform | None = None,
        download: bool = True,
    ) -> None:
        if str(name) not in _NAMES or split not in _SPLITS:
            raise InputError(f"name={name!r}, split={split!r}: expected '10' or '40', and 'train' or 'test'")
        self.name = str(name)
        self.classes: tuple[str, ...] = ()
        self._archives: dict[Path, Arrays] = {}
        self.expected = (
            f"ModelNet{name}'s {split} split, as CLASS/{split}/*.off (from https://modelnet.cs.princeton.edu), as "
            f"modelnet{name}_{split}.txt with CLASS/*.txt or ply_data_{split}*.h5 (modelnet40_normal_resampled.zip, "
            "modelnet40_ply_hdf5_2048.zip from https://shapenet.cs.stanford.edu/media), or as modelnet"
            f"{name}*.npz with an array {split!r}"
        )
        super().__init__(root, cache_root, split, split_name, pre_transform, transform)

    def _get_items(self) -> Sequence[Item]:
        layouts: tuple[Callable[[], list[Item]], ...] = (self._meshes, self._lists, self._tables, self._archive)
        for layout in layouts:
            if items := layout():
                return items
        raise self._missing(f"{self.root} has none")

    def _meshes(self) -> list[Item]:
        for folder in (self.root, self.root / f"ModelNet{self.name}"):
            files = sorted(folder.glob(f"*/{self.split}/*.off"))
            if files:
                self.classes = tuple(sorted({path.parent.parent.name for path in folder.glob("*/t*/*.off")}))
                return [Item((file,), label=self.classes.index(file.parent.parent.name)) for file in files]
        return []

    def _lists(self) -> list[Item]:
        for folder in (self.root, self.root / "modelnet40_normal_resampled"):
            lists = {split: folder / f"modelnet{self.name}_{split}.txt" for split in _SPLITS}
            if lists[self.split].is_file():
                names = {split: path.read_text("utf-8").split() for split, path in lists.items() if path.is_file()}
                self.classes = tuple(sorted({_class(name) for one in names.values() for name in one}))
                files = [(folder / _class(name) / f"{name}.txt", _class(name)) for name in names[self.split]]
                absent = [file for file, _ in files if not file.is_file()]
                if absent:
                    raise DatasetError(f"{lists[self.split]} names {len(absent)} files that are missing: {absent[0]}")
                return [Item((file,), label=self.classes.index(shape)) for file, shape in files]
        return []

    def _tables(self) -> list[Item]:
        for folder in (self.root, self.root / "modelnet40_ply_hdf5_2048"):
            files = sorted(folder.glob(f"ply_data_{self.split}*.h5")) if self.name == "40" else []
            if files:
                names = folder / "shape_names.txt"
                self.classes = tuple(names.read_text("utf-8").split()) if names.is_file() else ()
                return self._rows(files)
        return []

    def _archive(self) -> list[Item]:
        one = self.root.suffix == ".npz" and self.root.is_file()
        return self._rows([self.root] if one else sorted(self.root.glob(f"modelnet{self.name}*.npz")))

    def _rows(self, files: Sequence[Path]) -> list[Item]:
        """An item for every cloud of arrays of many, which are read once."""
        read = {file: _hdf5(file) if file.suffix == ".h5" else _npz(file, self.split) for file in files}
        self._archives = {file: arrays for file, arrays in read.items() if arrays}
        return [Item((file,), index=k) for file, arrays in self._archives.items() for k in range(len(arrays["pos"]))]

    def _read(self, item: Item) -> Arrays:
        file = item.files[0]
        if item.index is not None:
            arrays = {name: array[item.index] for name, array in self._archives[file].items() if name != "scale"}
            scale = self._archives[file].get("scale")
            return arrays if scale is None else arrays | {"pos": arrays["pos"] * scale}
        if file.suffix == ".off":
            return read_off(file) | {"label": np.int64(item.label or 0)}
        rows = read_table(file, (6,), ",")
        return {"pos": rows[:, :3], "normal": rows[:, 3:], "label": np.int64(item.label or 0)}


def read_off(path: Path) -> Arrays:
    """The mesh of an ``.off`` file: ``pos``, float64 (vertices, 3), and ``face``, int64 (3, faces).

    Faces of more corners are cut into triangles around their first; the first line may be ``OFF``, or as some of
    ModelNet's are ``OFF490 518 0``. Raises :class:`~tinify.errors.FileError` for what is missing, cut short or no mesh.
    """
    text = re.sub(r"#[^\n]*", "", read_bytes(path, MAX_BYTES).decode("utf-8", "replace"))
    if not text.lstrip().startswith("OFF"):
        raise FileError(f"{path} does not begin with OFF: it is another kind of file")
    try:
        numbers = np.array(text.lstrip()[3:].split(), np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError("there are numbers that are none")
        vertices, faces = (int(number) for number in numbers[:2])
        pos, rest = numbers[3 : 3 + 3 * vertices].reshape(vertices, 3), numbers[3 + 3 * vertices :].astype(np.int64)
        face = rest.reshape(faces, 4)[:, 1:] if (rest[::4] == 3).all() else _fans(rest, faces)
    except (IndexError, ValueError) as error:
        raise FileError(f"{path} has not the vertices and faces that it says: was it cut short? ({error})") from error
    if face.size and not 0 <= face.min() <= face.max() < vertices:
        raise FileError(f"{path} has {vertices} vertices and a face with number {face.max()}: it is damaged")
    return {"pos": pos, "face": np.ascontiguousarray(face.T)}


def _fans(corners: NDArray[np.int64], faces: int) -> NDArray[np.int64]:
    """Triangles (many, 3) of polygons, each of them its number of corners and then these."""
    found, at = [], 0
    for _ in range(faces):
        if corners[at] < 1:
            raise ValueError(f"a face of {corners[at]} corners")
        polygon = corners[at + 1 : at + 1 + corners[at]]
        found += [(polygon[0], polygon[k], polygon[k + 1]) for k in range(1, len(polygon) - 1)]
        at += 1 + int(corners[at])
    if at != len(corners):
        raise ValueError(f"faces take {at} numbers, and there are {len(corners)}")
    return np.array(found, np.int64).reshape(-1, 3)


def _class(name: str) -> str:
    return name.rsplit("_", 1)[0]


def _npz(path: Path, split: str) -> Arrays:
    """The clouds of a split, nothing where the file has none of it."""
    try:
        with np.load(BytesIO(read_bytes(path, MAX_BYTES)), allow_pickle=False) as archive:
            if split not in archive.files:
                return {}
            pos, scale = archive[split], archive["scale"] if "scale" in archive.files else None
    except FileError:
        raise
    except Exception as error:  # zip and zlib have many of their own
        raise FileError(f"{path} is damaged, or is no .npz file: {error}") from error
    if pos.ndim != 3 or pos.shape[2] != 3 or pos.dtype.kind not in "iuf":
        raise FileError(f"{path} has {split!r} of {pos.dtype} {pos.shape}: expected numbers of (clouds, points, 3)")
    return {"pos": pos} if scale is None or pos.dtype.kind == "f" else {"pos": pos, "scale": np.float32(scale)}


def _hdf5(path: Path) -> Arrays:
    try:
        h5py: Any = importlib.import_module("h5py")
    except ImportError as error:
        raise MissingPackageError(
            f"{path.name} takes h5py: pip install h5py; other forms of ModelNet do not"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            named = {"pos": "data", "normal": "normal", "label": "label"}
            arrays = {name: np.asarray(file[key]) for name, key in named.items() if key in file}
    except OSError as error:
        raise FileError(f"{path} is damaged, or is no HDF5 file: {error}") from error
    if "pos" not in arrays or arrays["pos"].ndim != 3:
        raise FileError(f"{path} has no table 'data' of (clouds, points, 3): it is another file")
    if "label" in arrays:
        arrays["label"] = arrays["label"].reshape(-1).astype(np.int64)
    return arrays
