"""Laws of the data sets: what is on disk comes out, and what is not is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from tinify.datasets import (
    CacheDataset,
    DatasetError,
    ImageFolder,
    NdArrayDataset,
    PreGeneratedMemmapDataset,
    StackDataset,
    Vimeo90kDataset,
)
from tinify.errors import DataError, ImageError, InputError

RANDOM = np.random.default_rng(0)
Pixels = NDArray[np.uint8]


def photo(height: int = 4, width: int = 5) -> Pixels:
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def items(data: Any) -> list[Any]:
    return [data[index] for index in range(len(data))]


def test_a_folder_gives_its_pictures_in_order(tmp_path: Path) -> None:
    pictures = {name: photo(*size) for name, size in (("b.png", (3, 4)), ("a.bmp", (1, 1)), ("c.PNG", (7, 2)))}
    for name, pixels in pictures.items():
        save(tmp_path / "train" / name, pixels)
    save(tmp_path / "train" / "deeper" / "d.png", photo())
    save(tmp_path / "test" / "e.png", photo())
    (tmp_path / "train" / "notes.txt").write_text("no picture")
    folder = ImageFolder(tmp_path)
    assert [path.name for path in folder.samples] == ["a.bmp", "b.png", "c.PNG"]
    for image, path in zip(items(folder), folder.samples, strict=True):
        assert isinstance(image, Image.Image)
        assert image.mode == "RGB"
        assert np.array_equal(image, pictures[path.name])


def test_the_transform_is_given_a_pillow_image(tmp_path: Path) -> None:
    pixels = photo()
    save(tmp_path / "valid" / "a.png", pixels)
    (made,) = items(ImageFolder(str(tmp_path), transform=lambda image: np.asarray(image) // 2, split="valid"))
    assert np.array_equal(made, pixels // 2)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    (tmp_path / "train").mkdir()
    Image.fromarray(photo()).convert(mode).save(tmp_path / "train" / "a.png")
    (image,) = items(ImageFolder(tmp_path))
    assert (image.mode, image.size) == ("RGB", (5, 4))
    with Image.open(tmp_path / "train" / "a.png") as expected:
        assert np.array_equal(image, expected.convert("RGB"))


def test_sixteen_bits_become_eight_without_clipping(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    Image.fromarray(np.array([[0, 0x8080, 0xFFFF]], np.uint16)).save(tmp_path / "train" / "a.png")
    (image,) = items(ImageFolder(tmp_path))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 0x80, 0xFF]


@pytest.mark.parametrize("damage", [b"", b"no picture", None])
def test_a_damaged_picture_is_named(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "train" / "bad.png"
    save(path, photo(64, 64))
    path.write_bytes(path.read_bytes()[:600] if damage is None else damage)
    with pytest.raises(ImageError, match=r"train/bad\.png"):
        items(ImageFolder(tmp_path))


def test_folders_that_are_missing_or_empty_are_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for split, words in (("train", "has no pictures: expected files ending in"), ("valid", "valid is not a folder")):
        with pytest.raises(DatasetError, match=words) as raised:
            ImageFolder(tmp_path, split=split)
        assert isinstance(raised.value, RuntimeError)
        assert isinstance(raised.value, DataError)


def test_a_loader_of_several_processes_reads_a_folder(tmp_path: Path) -> None:
    pictures = [photo() for _ in range(5)]
    for index, pixels in enumerate(pictures):
        save(tmp_path / "train" / f"{index}.png", pixels)
    loader: DataLoader[Any] = DataLoader(ImageFolder(tmp_path, np.array), batch_size=2, num_workers=2)
    assert np.array_equal(np.concatenate([np.asarray(batch) for batch in loader]), pictures)


@pytest.mark.parametrize(("tuplet", "prefix"), [(3, "tri"), (7, "sep")])
@pytest.mark.parametrize(("split", "suffix"), [("train", "trainlist"), ("valid", "testlist")])
def test_vimeo_gives_every_frame_of_the_listed_clips(
    tmp_path: Path, tuplet: int, prefix: str, split: str, suffix: str
) -> None:
    clips = ["00002/0001", "00001/0007"]
    frames = [photo() for _ in range(2 * tuplet)]
    for index, pixels in enumerate(frames):
        clip, frame = divmod(index, tuplet)
        save(tmp_path / "sequences" / clips[clip] / f"im{frame + 1}.png", pixels)
    (tmp_path / f"{prefix}_{suffix}.txt").write_text("\n".join(clips) + "\n\n")
    assert np.array_equal(items(Vimeo90kDataset(tmp_path, np.array, split, tuplet)), frames)


def test_what_vimeo_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "tri_testlist.txt").write_text("\n")
    with pytest.raises(DatasetError, match=r"tri_trainlist\.txt is missing"):
        Vimeo90kDataset(tmp_path)
    with pytest.raises(DatasetError, match=r"tri_testlist\.txt lists no clips"):
        Vimeo90kDataset(tmp_path, split="valid")
    for wrong in ({"tuplet": 5}, {"split": "test"}):
        with pytest.raises(InputError, match="expected 3 or 7, and 'train' or 'valid'"):
            Vimeo90kDataset(tmp_path, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("split", "name"), [("train", "training.npy"), ("valid", "validation.npy")])
@pytest.mark.parametrize("size", [4, (4, 6)])
def test_a_file_of_crops_gives_them_back(tmp_path: Path, split: str, name: str, size: Any) -> None:
    height, width = (size, size) if isinstance(size, int) else size
    crops = RANDOM.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    crops.tofile(tmp_path / name)
    data = PreGeneratedMemmapDataset(tmp_path, np.array, split, size)
    assert np.array_equal(items(data), crops)
    assert isinstance(PreGeneratedMemmapDataset(str(tmp_path), None, split, size)[-1], Image.Image)


def test_what_a_file_of_crops_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown split 'test'"):
        PreGeneratedMemmapDataset(tmp_path, split="test")
    with pytest.raises(DatasetError, match=r"training\.npy is missing: .*256, 256"):
        PreGeneratedMemmapDataset(tmp_path)
    for size in (0, 47):
        (tmp_path / "training.npy").write_bytes(bytes(size))
        with pytest.raises(DatasetError, match=f"has {size} bytes, not a multiple of 4x4x3"):
            PreGeneratedMemmapDataset(tmp_path, image_size=4)


def test_arrays_and_stacks_give_elements_side_by_side() -> None:
    one, two = np.arange(4), np.arange(8).reshape(4, 2)
    pairs = NdArrayDataset(one, two)
    assert [(int(a), b.tolist()) for a, b in items(pairs)] == [(i, [2 * i, 2 * i + 1]) for i in range(4)]
    assert items(NdArrayDataset(one, single=True)) == [0, 1, 2, 3]
    stack: Dataset[Any] = StackDataset(a=NdArrayDataset(one, single=True), b=NdArrayDataset(one * 2, single=True))
    assert items(stack) == [{"a": i, "b": 2 * i} for i in range(4)]


def test_arrays_that_do_not_match_are_named() -> None:
    with pytest.raises(InputError, match=r"got 2 of lengths \[3, 4\]"):
        NdArrayDataset(np.arange(3), np.arange(4))
    with pytest.raises(InputError, match=r"got 0 of lengths \[\]"):
        NdArrayDataset()
    with pytest.raises(InputError, match="single=True is for one array, got 2"):
        NdArrayDataset(np.arange(3), np.arange(3), single=True)


class Counted(CacheDataset):
    """Squares, which counts how often it reads."""

    def __init__(self, *arguments: Any, count: int = 3, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.count = count
        self.reads = 0

    def _get_items(self) -> Sequence[int]:
        return range(self.count)

    def _load_item(self, item: int) -> dict[str, Any]:
        self.reads += 1
        return {"x": np.full((2, 2), item, np.float32), "square": item**2}


def double(sample: Any) -> dict[str, Any]:
    return {"x": 2 * sample["x"], "square": sample["square"]}


def total(sample: Any) -> float:
    return float(sample["x"].sum() + sample["square"])


def test_a_cache_changes_nothing_but_reads_once(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "cache"
    plain = Counted(pre_transform=double, transform=total)
    first, second = (Counted(folder, double, total) for _ in range(2))
    expected = [8.0 * item + item**2 for item in range(3)]
    assert items(plain) == items(first) == items(first) == items(second) == expected
    assert (plain.reads, first.reads, second.reads) == (3, 3, 0)
    assert sorted(path.name for path in folder.parent.rglob("*")) == ["cache", "square.npy", "x.npy"]


def test_a_cached_sample_can_be_written_to(tmp_path: Path) -> None:
    data = Counted(tmp_path)
    data[1]["x"][:] = 9
    assert data[1]["x"].tolist() == [[1, 1], [1, 1]]


def test_a_cache_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def uneven(sample: Any) -> dict[str, Any]:
        return {"x": np.zeros(1 + int(sample["square"]))}

    with pytest.raises(DatasetError, match="a cached sample must be like the first"):
        items(Counted(tmp_path / "cache", uneven))
    with pytest.raises(DatasetError, match="Counted has no items"):
        items(Counted(tmp_path / "cache", count=0))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "other.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"no cache can be written to .* it must be new, or empty"):
        items(Counted(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


def test_what_a_subclass_must_say_is_named() -> None:
    with pytest.raises(NotImplementedError, match="CacheDataset must say by _get_items"):
        len(CacheDataset())
    with pytest.raises(NotImplementedError, match="must say by _load_item"):
        CacheDataset()._load_item(0)
