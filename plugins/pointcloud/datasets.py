"""Sets of point clouds in local files: a folder's, ModelNet, ShapeNet's parts, SemanticKITTI, S3DIS."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinify.datasets.image import DatasetError, Transform
from tinify.errors import FileError, InputError
from tinify.files import read_bytes

from .clouds import MAX_BYTES, SUFFIXES, read_cloud
from .modelnet import ModelNetDataset
from .samples import Arrays, CloudSamples, Item, Root, read_table

__all__ = ["CloudFolder", "ModelNetDataset", "S3disDataset", "SemanticKittiDataset", "ShapeNetCorePartDataset"]

_KITTI = {"train": (0, 1, 2, 3, 4, 5, 6, 7, 9, 10), "valid": (8,), "test": tuple(range(11, 22))}
_AREAS = {"train": (1, 2, 3, 4, 6), "test": (5,)}
_PARTS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}
_STUFF = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa", "bookcase", "board",
    "clutter",
)  # fmt: skip


class CloudFolder(CloudSamples):
    """The clouds directly in ``root``, in the order of their names; other files are passed over.

    Files are those that :func:`~tinify_plugins.pointcloud.clouds.read_cloud` reads; a sample has ``pos``, and
    ``normal`` where the file has normals. Raises what :class:`~tinify_plugins.pointcloud.samples.CloudSamples` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/cube.npy", np.ones((8, 3), np.float32))
    ...     CloudFolder(folder)[0]["pos"].shape
    torch.Size([8, 3])
    """

    expected = f"files ending in {', '.join(SUFFIXES)}"

    def __init__(self, root: Root, transform: Transform | None = None) -> None:
        super().__init__(root, transform=transform)

    def _get_items(self) -> Sequence[Item]:
        if not self.root.is_dir():
            raise self._missing(f"{self.root} is not a folder")
        files = sorted(path for path in self.root.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
        if not files:
            raise self._missing(f"{self.root} has no clouds")
        return [Item((file,)) for file in files]

    def _read(self, item: Item) -> Arrays:
        cloud = read_cloud(item.files[0])
        return {"pos": cloud.points} if cloud.normals is None else {"pos": cloud.points, "normal": cloud.normals}


class ShapeNetCorePartDataset(CloudSamples):
    """Shapes of 16 categories with the parts that their points belong to.

    ``root`` is the unpacked archive, or the folder around it; ``split`` is ``"train"``, ``"val"``, ``"trainval"`` or
    ``"test"``, as its lists say. A sample has ``pos``, ``normal``, ``label``, int64 (points,), which are parts, 0 to
    49, and ``category``, the shape's place in ``classes``. Nothing is downloaded, whatever ``download`` says. Raises
    what :class:`~tinify_plugins.pointcloud.samples.CloudSamples` does, and InputError for another split.
    Yi, Kim, Ceylan, Shen, Yan, Su, Lu, Huang, Sheffer, Guibas: A Scalable Active Framework for Region Annotation in 3D
    Shape Collections, SIGGRAPH Asia 2016.
    """

    def __init__(
        self,
        root: Root = None,
        cache_root: Root = None,
        split: str = "train",
        split_name: str | None = None,
        pre_transform: Transform | None = None,
        transform: Transform | None = None,
        name: str = "shapenetcore_partanno_segmentation_benchmark_v0_normal",
        download: bool = True,
    ) -> None:
        if split not in _PARTS:
            raise InputError(f"split={split!r}: expected one of {', '.join(map(repr, _PARTS))}")
        self.name = name
        self.classes: tuple[str, ...] = ()
        self.expected = (
            f"synsetoffset2category.txt, train_test_split/shuffled_{_PARTS[split][0]}_file_list.json and the files it "
            f"names, or {name}/ with these, which is {name}.zip from https://shapenet.cs.stanford.edu/media"
        )
        super().__init__(root, cache_root, split, split_name, pre_transform, transform)

    def _get_items(self) -> Sequence[Item]:
        for folder in (self.root, self.root / self.name):
            lists = [folder / "train_test_split" / f"shuffled_{part}_file_list.json" for part in _PARTS[self.split]]
            names = folder / "synsetoffset2category.txt"
            if names.is_file() and all(path.is_file() for path in lists):
                rows = [line.split() for line in names.read_text("utf-8").splitlines() if line.strip()]
                numbers = {number: place for place, (_, number) in enumerate(sorted(rows))}
                self.classes = tuple(name for name, _ in sorted(rows))
                return [self._item(folder, name, numbers) for path in lists for name in _listed(path)]
        raise self._missing(f"{self.root} has no ShapeNet parts")

    def _item(self, folder: Path, name: str, numbers: dict[str, int]) -> Item:
        category, shape = name.split("/")[-2:]
        file = folder / category / f"{shape}.txt"
        if category not in numbers or not file.is_file():
            raise DatasetError(f"a list of {folder} names {name}, and {file} is missing: unpack the archive anew")
        return Item((file,), label=numbers[category])

    def _read(self, item: Item) -> Arrays:
        rows = read_table(item.files[0], (7,))
        parts, category = rows[:, 6].astype(np.int64), np.int64(item.label or 0)
        return {"pos": rows[:, :3], "normal": rows[:, 3:6], "label": parts, "category": category}


class SemanticKittiDataset(CloudSamples):
    """Scans of a street by a turning laser, 120,000 points or so each.

    ``root`` has ``sequences/00/velodyne/000000.bin`` and so on, or ``dataset/`` with these. ``sequences`` are those of
    ``split`` where they are not given: 0 to 7, 9 and 10 of ``"train"``, 8 of ``"valid"``, 11 to 21 of ``"test"``; with
    them, ``split`` may be any word. A sample has ``pos`` in metres, ``intensity``, float32 (points,), and where
    ``labels/000000.label`` is, ``label`` and ``instance``, int64 (points,), as the file has them. Nothing is
    downloaded, whatever ``download`` says. Raises what :class:`~tinify_plugins.pointcloud.samples.CloudSamples` does,
    and InputError for another split.
    Behley, Garbade, Milioto, Quenzel, Behnke, Stachniss, Gall: SemanticKITTI: A Dataset for Semantic Scene
    Understanding of LiDAR Sequences, ICCV 2019.
    """

    def __init__(
        self,
        root: Root = None,
        cache_root: Root = None,
        split: str = "train",
        split_name: str | None = None,
        sequences: Sequence[int] | None = None,
        pre_transform: Transform | None = None,
        transform: Transform | None = None,
        download: bool = True,
    ) -> None:
        self.sequences = _of_split(split, _KITTI, sequences, "sequences")
        self.expected = (
            f"sequences/{self.sequences[0]:02}/velodyne/*.bin, or dataset/ with these, which are KITTI's scans with "
            "the labels from http://www.semantic-kitti.org/dataset.html"
        )
        super().__init__(root, cache_root, split, split_name, pre_transform, transform)

    def _get_items(self) -> Sequence[Item]:
        items = []
        for number in self.sequences:
            inner = Path("sequences", f"{number:02}")
            folder = next((one for one in (self.root / inner, self.root / "dataset" / inner) if one.is_dir()), None)
            scans = [] if folder is None else sorted(folder.glob("velodyne/*.bin"))
            if not scans:
                raise self._missing(f"{self.root} has no scans of sequence {number}")
            for scan in scans:
                labels = scan.parent.with_name("labels") / f"{scan.stem}.label"
                items.append(Item((scan, labels) if labels.is_file() else (scan,)))
        return items

    def _read(self, item: Item) -> Arrays:
        rows = np.frombuffer(read_bytes(item.files[0], MAX_BYTES), "<f4").reshape(-1, 4)
        arrays = {"pos": rows[:, :3], "intensity": rows[:, 3]}
        if len(item.files) == 1:
            return arrays
        labels = np.frombuffer(read_bytes(item.files[1], MAX_BYTES), "<u4").astype(np.int64)
        if len(labels) != len(rows):
            raise FileError(f"{item.files[1]} has {len(labels)} labels for {len(rows)} points: fetch both again")
        return arrays | {"label": labels & 0xFFFF, "instance": labels >> 16}


class S3disDataset(CloudSamples):
    """Rooms of six areas of office buildings, a million points or so each.

    ``root`` has ``Area_1/office_1/Annotations/chair_1.txt`` and so on, or ``Area_1/office_1/office_1.txt``, a room in
    one file. ``areas`` are those of ``split`` where they are not given, 1, 2, 3, 4 and 6 of ``"train"``, 5 of
    ``"test"``; with them, ``split`` may be any word. A sample has ``pos`` in metres, ``color``, uint8 (points, 3), and
    from annotations ``label``, int64 (points,), a place in ``classes``. Nothing is downloaded, whatever ``download``
    says. Raises what :class:`~tinify_plugins.pointcloud.samples.CloudSamples` does, and InputError for another split.
    Armeni, Sener, Zamir, Jiang, Brilakis, Fischer, Savarese: 3D Semantic Parsing of Large-Scale Indoor Spaces, CVPR
    2016.
    """

    classes = _STUFF

    def __init__(
        self,
        root: Root = None,
        cache_root: Root = None,
        split: str = "train",
        split_name: str | None = None,
        areas: Sequence[int] | None = None,
        pre_transform: Transform | None = None,
        transform: Transform | None = None,
        download: bool = True,
    ) -> None:
        self.areas = _of_split(split, _AREAS, areas, "areas")
        self.expected = (
            f"Area_{self.areas[0]}/ROOM/Annotations/*.txt or Area_{self.areas[0]}/ROOM/ROOM.txt, which are "
            "Stanford3dDataset_v1.2_Aligned_Version.zip from http://buildingparser.stanford.edu/dataset.html"
        )
        super().__init__(root, cache_root, split, split_name, pre_transform, transform)

    def _get_items(self) -> Sequence[Item]:
        items = []
        for area in self.areas:
            rooms = [path for path in sorted(self.root.glob(f"Area_{area}/*")) if path.is_dir()]
            found = [sorted(room.glob("Annotations/*.txt")) or list(room.glob(f"{room.name}.txt")) for room in rooms]
            if not any(found):
                raise self._missing(f"{self.root} has no rooms of area {area}")
            items += [Item(tuple(files)) for files in found if files]
        return items

    def _read(self, item: Item) -> Arrays:
        tables = [read_table(file, (6,)) for file in item.files]
        rows = np.concatenate(tables)
        arrays = {"pos": rows[:, :3], "color": rows[:, 3:].astype(np.uint8)}
        if item.files[0].parent.name != "Annotations":
            return arrays
        kinds = [file.stem.rsplit("_", 1)[0] for file in item.files]
        labels = [self.classes.index(kind) if kind in self.classes else len(self.classes) - 1 for kind in kinds]
        return arrays | {"label": np.repeat(np.array(labels, np.int64), [len(table) for table in tables])}


def _of_split(split: str, known: dict[str, tuple[int, ...]], given: Sequence[int] | None, what: str) -> tuple[int, ...]:
    if given is None and split not in known:
        raise InputError(f"split={split!r}: expected one of {', '.join(map(repr, known))}, or {what}=(...)")
    numbers = known[split] if given is None else tuple(given)
    if not numbers:
        raise InputError(f"{what}={given!r}: expected one at least")
    return numbers


def _listed(path: Path) -> list[str]:
    try:
        names = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise FileError(f"{path} is damaged: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not names:
        raise FileError(f"{path} is no list of names: expected ['shape_data/02691156/...', ...]")
    return names
