"""Sets of clouds: what each layout's files say comes out, what is missing or damaged is named, the cache is honest."""

from __future__ import annotations

import doctest
import functools
import importlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tinify_plugins.pointcloud.clouds import Cloud, write_cloud
from tinify_plugins.pointcloud.datasets import (
    CloudFolder,
    ModelNetDataset,
    S3disDataset,
    SemanticKittiDataset,
    ShapeNetCorePartDataset,
)
from tinify_plugins.pointcloud.modelnet import read_off
from tinify_plugins.pointcloud.samples import told
from torch.utils.data import DataLoader

from tinify.datasets import DatasetError
from tinify.errors import FileError, InputError, MissingPackageError

RANDOM = np.random.default_rng(0)
SQUARE = "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n"


def rows(count: int, columns: int) -> Any:
    return RANDOM.integers(-99, 100, (count, columns)) / 64  # numbers that text and float32 hold exactly


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_table(path: Path, table: Any, delimiter: str = " ") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, table, "%.10g", delimiter)


def same(found: torch.Tensor, expected: Any, dtype: torch.dtype = torch.float32) -> bool:
    return found.dtype == dtype and np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("name", ["samples", "datasets", "modelnet"])
def test_examples_give_what_they_show(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"tinify_plugins.pointcloud.{name}"))
    assert results.attempted
    assert not results.failed


# A folder.


def test_a_folder_gives_its_clouds_in_order(tmp_path: Path) -> None:
    points = rows(20, 3)
    write_cloud(tmp_path / "b.npz", Cloud(points, points[::-1]))
    write_cloud(tmp_path / "a.NPY".lower(), Cloud(points[:5]))
    put(tmp_path / "notes.txt", "none")
    put(tmp_path / "deeper" / "c.npy", "none")
    folder = CloudFolder(tmp_path)
    first, second = folder[0], folder[1]
    assert len(folder) == 2
    assert set(first) == {"pos"}
    assert same(first["pos"], points[:5])
    assert same(second["pos"], points)
    assert same(second["normal"], points[::-1])
    assert CloudFolder(str(tmp_path), transform=lambda sample: len(sample["pos"]))[-1] == 20
    with pytest.raises(IndexError):
        folder[2]


def test_folders_without_clouds_are_named(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", "1 2 3")
    for root, match in ((tmp_path, "has no clouds"), (tmp_path / "a.txt", "is no"), (tmp_path / "b", "does not exist")):
        with pytest.raises(DatasetError, match=match):
            CloudFolder(root)
    put(tmp_path / "b.bin", b"12345")
    with pytest.raises(FileError, match=r"b\.bin .*cut short"):
        CloudFolder(tmp_path)[0]
    np.save(tmp_path / "b.npy", np.full((3, 3), np.nan))
    with pytest.raises(FileError, match=r"b\.npy .*NaN"):
        CloudFolder(tmp_path)[1]


# ModelNet.


@pytest.mark.parametrize("inner", ["", "ModelNet40"])
def test_modelnet_as_meshes(tmp_path: Path, inner: str) -> None:
    for name in ("chair/train/chair_0001", "airplane/train/airplane_0002", "airplane/test/airplane_0009"):
        put(tmp_path / inner / f"{name}.off", SQUARE)
    put(tmp_path / inner / "vase/test/vase_0001.off", SQUARE)
    train, test = ModelNetDataset(tmp_path), ModelNetDataset(tmp_path, split="test", download=False)
    assert train.classes == test.classes == ("airplane", "chair", "vase")
    assert [int(train[k]["label"]) for k in range(len(train))] == [0, 1]
    assert [int(test[k]["label"]) for k in range(len(test))] == [0, 2]
    assert same(train[0]["pos"], [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    assert same(train[0]["face"], [[0, 0], [1, 2], [2, 3]], torch.int64)


@pytest.mark.parametrize("inner", ["", "modelnet40_normal_resampled"])
@pytest.mark.parametrize("name", ["10", "40"])
def test_modelnet_as_text(tmp_path: Path, inner: str, name: str) -> None:
    table = rows(30, 6)
    names = {"train": ["night_stand_0001", "bed_0001"], "test": ["table_0003"]}
    for split, listed in names.items():
        put(tmp_path / inner / f"modelnet{name}_{split}.txt", "\n".join(listed) + "\n")
        for one in listed:
            put_table(tmp_path / inner / one.rsplit("_", 1)[0] / f"{one}.txt", table, ",")
    train = ModelNetDataset(tmp_path, name=name)
    assert train.classes == ("bed", "night_stand", "table")
    assert [int(train[k]["label"]) for k in range(len(train))] == [1, 0]
    assert same(train[0]["pos"], table[:, :3])
    assert same(train[0]["normal"], table[:, 3:])
    shutil.rmtree(tmp_path / inner / "bed")
    with pytest.raises(DatasetError, match=r"names 1 files that are missing: .*bed_0001\.txt"):
        ModelNetDataset(tmp_path, name=name)
    assert len(ModelNetDataset(tmp_path, name=name, split="test")) == 1


def test_modelnet_as_arrays(tmp_path: Path) -> None:
    whole = RANDOM.integers(-32767, 32768, (3, 20, 3), dtype=np.int16)
    scale = np.float32(1 / 32767)
    np.savez(tmp_path / "modelnet40_vase.npz", train=whole, test=whole[:1], scale=scale)
    np.savez(tmp_path / "modelnet40_zebra.npz", train=whole[1:] * scale)
    np.savez(tmp_path / "other.npz", train=whole)
    train = ModelNetDataset(tmp_path)
    assert len(train) == 5
    for index, place in enumerate((0, 1, 2, 1, 2)):
        assert same(train[index]["pos"], whole[place] * scale)
    assert len(ModelNetDataset(tmp_path, split="test")) == 1
    assert len(ModelNetDataset(tmp_path / "other.npz")) == 3
    with pytest.raises(DatasetError, match="modelnet40_test"):
        ModelNetDataset(tmp_path / "other.npz", split="test")
    for content, match in ((b"PK\3\4 but no archive", "damaged"), (b"", "empty")):
        put(tmp_path / "other.npz", content)
        with pytest.raises(FileError, match=match):
            ModelNetDataset(tmp_path / "other.npz")
    np.savez_compressed(tmp_path / "other.npz", train=whole)
    content = bytearray((tmp_path / "other.npz").read_bytes())
    content[len(content) // 3] ^= 1
    put(tmp_path / "other.npz", bytes(content))
    with pytest.raises(FileError, match="damaged"):
        ModelNetDataset(tmp_path / "other.npz")
    np.savez(tmp_path / "other.npz", train=whole[0])
    with pytest.raises(FileError, match=r"'train' of int16 \(20, 3\)"):
        ModelNetDataset(tmp_path / "other.npz")


def test_modelnet_as_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    points = rows(8 * 10, 3).reshape(8, 10, 3).astype(np.float32)
    for number, part in enumerate((points[:5], points[5:])):
        with h5py.File(tmp_path / f"ply_data_train{number}.h5", "w") as file:
            file["data"], file["label"] = part, np.full((len(part), 1), number, np.uint8)
    train = ModelNetDataset(tmp_path)
    assert len(train) == 8
    assert same(train[6]["pos"], points[6])
    assert train[6]["label"] == 1
    put(tmp_path / "ply_data_test0.h5", "none")
    with pytest.raises(FileError, match="no HDF5"):
        ModelNetDataset(tmp_path, split="test")


def test_without_h5py_its_files_ask_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    put(tmp_path / "ply_data_train0.h5", "any")
    with pytest.raises(MissingPackageError, match="pip install h5py"):
        ModelNetDataset(tmp_path)


def test_modelnet_that_is_not_there_is_named(tmp_path: Path) -> None:
    for root, match in ((tmp_path, "has none"), (tmp_path / "nowhere", "does not exist"), (None, "has no root")):
        with pytest.raises(DatasetError, match=match) as caught:
            ModelNetDataset(root)
        for word in ("CLASS/train/*.off", "modelnet40_train.txt", "ply_data_train*.h5", "modelnet40*.npz", "https://"):
            assert word in str(caught.value)
    with pytest.raises(DatasetError, match="Nothing is downloaded"):
        ModelNetDataset(tmp_path, download=True)
    for wrong in ({"name": "20"}, {"split": "valid"}):
        with pytest.raises(InputError, match="expected '10' or '40', and 'train' or 'test'"):
            ModelNetDataset(tmp_path, **wrong)


@pytest.mark.parametrize(
    ("text", "faces"),
    [
        (SQUARE, [[0, 1, 2], [0, 2, 3]]),
        (SQUARE.replace("OFF\n", "OFF"), [[0, 1, 2], [0, 2, 3]]),  # as some of ModelNet's are
        ("OFF # a square\n4 1 4\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n", [[0, 1, 2], [0, 2, 3]]),
        ("OFF\n3 0 0\n0 0 0\n1 0 0\n1 1 0\n", []),
    ],
)
def test_meshes_are_read(tmp_path: Path, text: str, faces: list[list[int]]) -> None:
    mesh = read_off(put(tmp_path / "a.off", text))
    assert mesh["face"].T.tolist() == faces
    assert len(mesh["pos"]) == int(text.removeprefix("OFF").replace(" # a square", "").split()[0])


@pytest.mark.parametrize("cut", range(len(SQUARE) - 2))
def test_meshes_cut_short_are_named(tmp_path: Path, cut: int) -> None:
    with pytest.raises(FileError, match=r"a\.off"):
        read_off(put(tmp_path / "a.off", SQUARE[:cut]))


@pytest.mark.parametrize(
    "wrong",
    [
        "OFF\nnan 1 0",
        "OFF\n1 0 0\ninf 0 0",
        "COFF\n0 0 0",
        "OFF\n0 999999999 0\n-1",
        f"{SQUARE}3 0 1 2",
        "OFF\n1e9 0 0",
    ],
)
def test_meshes_that_are_none_are_named(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(FileError, match=r"a\.off"):
        read_off(put(tmp_path / "a.off", wrong))


def test_faces_of_no_vertices_are_named(tmp_path: Path) -> None:
    for number in ("4", "-1"):
        with pytest.raises(FileError, match="4 vertices"):
            read_off(put(tmp_path / "a.off", SQUARE.replace("3 0 2 3", f"3 0 2 {number}")))


# ShapeNet.


def shapenet(root: Path) -> Any:
    table = np.concatenate([rows(25, 6), RANDOM.integers(0, 50, (25, 1))], 1)
    put(root / "synsetoffset2category.txt", "Airplane\t02691156\nTable\t04379243\n")
    shapes = {"train": ["04379243/b", "02691156/a"], "val": ["04379243/c"], "test": ["02691156/d"]}
    for split, names in shapes.items():
        listed = json.dumps([f"shape_data/{name}" for name in names])
        put(root / "train_test_split" / f"shuffled_{split}_file_list.json", listed)
        for name in names:
            put_table(root / f"{name}.txt", table)
    return table


@pytest.mark.parametrize("inner", ["", "shapenetcore_partanno_segmentation_benchmark_v0_normal"])
def test_shapenet_parts(tmp_path: Path, inner: str) -> None:
    table = shapenet(tmp_path / inner)
    train = ShapeNetCorePartDataset(tmp_path)
    assert train.classes == ("Airplane", "Table")
    assert [int(train[k]["category"]) for k in range(len(train))] == [1, 0]
    assert same(train[0]["pos"], table[:, :3])
    assert same(train[0]["normal"], table[:, 3:6])
    assert same(train[0]["label"], table[:, 6], torch.int64)
    lengths = {split: len(ShapeNetCorePartDataset(tmp_path, split=split)) for split in ("val", "trainval", "test")}
    assert lengths == {"val": 1, "trainval": 3, "test": 1}


def test_shapenet_that_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"shuffled_val_file_list\.json .*Nothing is downloaded"):
        ShapeNetCorePartDataset(tmp_path, split="val")
    with pytest.raises(InputError, match="expected one of 'train', 'val', 'trainval', 'test'"):
        ShapeNetCorePartDataset(tmp_path, split="valid")
    shapenet(tmp_path)
    for text, match in (("1 2 3", "3 columns: expected 7"), ("1 2 x", r"d\.txt is damaged.*'x'"), (" \n", "no rows")):
        put(tmp_path / "02691156" / "d.txt", text)
        with pytest.raises(FileError, match=match):
            ShapeNetCorePartDataset(tmp_path, split="test")[0]
    (tmp_path / "02691156" / "d.txt").unlink()
    with pytest.raises(DatasetError, match="names shape_data/02691156/d, and"):
        ShapeNetCorePartDataset(tmp_path, split="test")
    for text in ("[", "[]", "{}", "[1]"):
        put(tmp_path / "train_test_split" / "shuffled_test_file_list.json", text)
        with pytest.raises(FileError, match=r"shuffled_test_file_list\.json is (damaged|no list)"):
            ShapeNetCorePartDataset(tmp_path, split="test")


# SemanticKITTI.


@pytest.mark.parametrize("inner", ["", "dataset"])
def test_semantic_kitti(tmp_path: Path, inner: str) -> None:
    scan = rows(40, 4).astype("<f4")
    labels = RANDOM.integers(0, 2**32, 40, dtype=np.uint32)
    for number in (0, 1, 8):
        folder = tmp_path / inner / "sequences" / f"{number:02}"
        for frame in ("000000", "000001"):
            put(folder / "velodyne" / f"{frame}.bin", scan.tobytes())
        put(folder / "labels" / "000000.label", labels.astype("<u4").tobytes())
    data = SemanticKittiDataset(tmp_path, split="mine", sequences=(0, 1))
    assert len(data) == 4
    assert same(data[0]["pos"], scan[:, :3])
    assert same(data[0]["intensity"], scan[:, 3])
    assert same(data[0]["label"], labels & 0xFFFF, torch.int64)
    assert same(data[0]["instance"], labels >> 16, torch.int64)
    assert set(data[1]) == {"pos", "intensity"}
    assert len(SemanticKittiDataset(tmp_path, split="valid")) == 2
    with pytest.raises(DatasetError, match="no scans of sequence 2: expected"):
        SemanticKittiDataset(tmp_path)
    for wrong in ({"split": "mine"}, {"sequences": ()}):
        with pytest.raises(InputError, match="expected one"):
            SemanticKittiDataset(tmp_path, **wrong)
    put(tmp_path / inner / "sequences/00/labels/000000.label", bytes(4))
    with pytest.raises(FileError, match="1 labels for 40 points"):
        data[0]
    put(tmp_path / inner / "sequences/00/velodyne/000000.bin", bytes(20))
    with pytest.raises(FileError, match=r"000000\.bin is damaged"):
        data[0]


# S3DIS.


def test_s3dis(tmp_path: Path) -> None:
    parts = {"ceiling_1": rows(7, 6), "chair_2": rows(5, 6), "stairs_1": rows(3, 6)}
    for name, table in parts.items():
        table[:, 3:] = RANDOM.integers(0, 256, (len(table), 3))
        put_table(tmp_path / "Area_5" / "hall_1" / "Annotations" / f"{name}.txt", table)
    whole = np.concatenate(list(parts.values()))
    put_table(tmp_path / "Area_5" / "office_1" / "office_1.txt", whole)
    put(tmp_path / "Area_5" / "office_1_alignmentAngle.txt", "90")
    (tmp_path / "Area_5" / "empty").mkdir()
    data = S3disDataset(tmp_path, split="test")
    assert len(data) == 2
    for sample in (data[0], data[1]):
        assert same(sample["pos"], whole[:, :3].astype(np.float32))
        assert same(sample["color"], whole[:, 3:], torch.uint8)
    assert same(data[0]["label"], [0] * 7 + [8] * 5 + [12] * 3, torch.int64)
    assert "label" not in data[1]
    with pytest.raises(DatasetError, match="no rooms of area 1: expected"):
        S3disDataset(tmp_path)
    with pytest.raises(DatasetError, match="no rooms of area 6: expected"):
        S3disDataset(tmp_path, areas=[5, 6])
    put(tmp_path / "Area_5" / "office_1" / "office_1.txt", "1 2 3 4 5 6\n1 2 3 4 5\x10 6\n")
    with pytest.raises(FileError, match="row 1"):
        data[1]


# The cache.


@dataclass
class First:
    """Keeps so many points; counts its calls."""

    number: int
    calls: ClassVar[int] = 0

    def __call__(self, sample: Any) -> Any:
        First.calls += 1
        return {"pos": sample["pos"][: self.number], "number": self.number}


def some_clouds(root: Path) -> Path:
    root.mkdir()
    np.savez(root / "modelnet40.npz", train=rows(4 * 9, 3).reshape(4, 9, 3), test=rows(27, 3).reshape(3, 9, 3))
    return root


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_cache_gives_the_same_and_is_made_once(tmp_path: Path) -> None:
    root, cache = some_clouds(tmp_path / "in"), tmp_path / "cache"
    plain = [ModelNetDataset(root, pre_transform=First(5))[k] for k in range(4)]
    First.calls = 0
    for _ in range(2):
        data = ModelNetDataset(root, cache, pre_transform=First(5), transform=lambda sample: sample | {"new": 1})
        for found, expected in zip((data[k] for k in range(4)), plain, strict=True):
            assert torch.equal(found["pos"], expected["pos"])
            assert (found["number"], found["new"]) == (5, 1)
        assert First.calls == 4
    assert len(files_of(cache / "train")) == 4
    ModelNetDataset(root, cache, "test", "mine", pre_transform=First(5))[0]
    assert len(files_of(cache / "mine")) == 1


def test_what_changes_makes_another_cache(tmp_path: Path) -> None:
    root, cache = some_clouds(tmp_path / "in"), tmp_path / "cache"
    ModelNetDataset(root, cache)[0]
    assert len(ModelNetDataset(root, cache, pre_transform=First(3))[0]["pos"]) == 3
    assert len(ModelNetDataset(root, cache, pre_transform=First(4))[0]["pos"]) == 4
    before = ModelNetDataset(root, cache, pre_transform=First(4))[0]["pos"]
    shutil.rmtree(root)
    some_clouds(root)
    os.utime(root / "modelnet40.npz", ns=(1, 1))
    after = ModelNetDataset(root, cache, pre_transform=First(4))[0]["pos"]
    assert not torch.equal(before, after)
    assert len(files_of(cache)) == 4
    moved = root.rename(tmp_path / "moved")  # the same files elsewhere
    assert torch.equal(ModelNetDataset(moved, cache, pre_transform=First(4))[0]["pos"], after)
    assert len(files_of(cache)) == 4


@pytest.mark.parametrize("damage", [b"", b"PK\3\4", b"none"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    root, cache = some_clouds(tmp_path / "in"), tmp_path / "cache"
    before = ModelNetDataset(root, cache)[0]["pos"]
    (kept,) = files_of(cache)
    whole = kept.read_bytes()
    flipped = [bytes(byte ^ 16 * (k == at) for k, byte in enumerate(whole)) for at in range(0, len(whole), 7)]
    for content in (damage, whole[:-30], whole[:100], *flipped):
        kept.write_bytes(content)
        assert torch.equal(ModelNetDataset(root, cache)[0]["pos"], before)
    assert len(files_of(cache)) == 1


def test_caches_that_cannot_be_are_named(tmp_path: Path) -> None:
    root, cache = some_clouds(tmp_path / "in"), tmp_path / "cache"
    for wrong in (lambda sample: sample, [First(3), lambda sample: sample], torch.nn.Linear(2, 2), First(3).__call__):
        with pytest.raises(InputError, match="cannot be told from another"):
            ModelNetDataset(root, cache, pre_transform=wrong)  # type: ignore[arg-type]
        assert ModelNetDataset(root, pre_transform=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="gave name that are no numbers"):
        ModelNetDataset(root, cache, pre_transform=with_a_name)[0]
    with pytest.raises(InputError, match="gave a list"):
        ModelNetDataset(root, cache, pre_transform=list)[0]
    with pytest.raises(DatasetError, match="no cache can be written"):
        ModelNetDataset(root, put(tmp_path / "a.txt", "a file"))[0]
    data = ModelNetDataset(root, cache)
    shutil.rmtree(root)
    with pytest.raises(FileError, match=r"modelnet40\.npz was there, and is no more"):
        data[0]


def with_a_name(sample: Any) -> Any:
    return sample | {"name": "vase"}


def test_transforms_are_told_by_their_parameters() -> None:
    assert told(First(3)) == told(First(3)) != told(First(4))
    assert told([First(3), with_a_name]) != told([with_a_name, First(3)])
    assert told({"a": 1}) != told({"a": 1.0})
    assert told(with_a_name).endswith("test_cloud_datasets.with_a_name")
    for untold in (functools.partial(with_a_name), {1, 2}, torch.zeros(2), np.zeros(2), torch.Generator()):
        with pytest.raises(InputError, match="cannot be told"):
            told([untold])


def test_loaders_take_them_in_other_processes(tmp_path: Path) -> None:
    root = some_clouds(tmp_path / "in")
    data = ModelNetDataset(root, tmp_path / "cache", pre_transform=First(6))
    batches = list(DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context="fork"))
    assert [tuple(batch["pos"].shape) for batch in batches] == [(2, 6, 3)] * 2
    assert torch.equal(batches[1]["pos"][1], data[3]["pos"])
