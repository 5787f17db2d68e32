"""Point sets: samples and neighbours against their definitions, files of clouds, distances between clouds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tinify_plugins.pointcloud import sets
from tinify_plugins.pointcloud.clouds import Cloud, read_cloud, write_cloud
from tinify_plugins.pointcloud.metrics import chamfer_distance, d1_psnr, d2_psnr, estimate_normals
from tinify_plugins.pointcloud.sets import (
    farthest_point_sample,
    index_points,
    nearest_neighbours,
    query_ball_point,
)

from tinify.errors import FileError, InputError, OutputError


def cloud(count: int, seed: int = 0, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, count, 3, generator=torch.Generator().manual_seed(seed))


def squares(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a[:, :, None].double() - b[:, None].double()).square().sum(-1)


@given(st.integers(1, 60), st.data(), st.integers(0, 99))
def test_samples_are_the_farthest_of_all(count: int, data: st.DataObject, seed: int) -> None:
    xyz = cloud(count, seed)
    number = data.draw(st.integers(1, count))
    chosen = farthest_point_sample(xyz, number)
    assert chosen.shape == (2, number)
    distance = squares(xyz, xyz)
    for item in range(2):
        picked = chosen[item].tolist()
        assert picked[0] == 0
        assert len(set(picked)) == number
        for k in range(1, number):
            nearest = distance[item][:, picked[:k]].min(1).values
            assert float(nearest[picked[k]]) == pytest.approx(float(nearest.max()), rel=1e-5)


@settings(max_examples=30)
@given(st.integers(1, 50), st.integers(1, 12), st.integers(1, 9), st.floats(0.01, 1.5), st.integers(0, 99))
def test_balls_hold_the_first_points_within(count: int, queries: int, nsample: int, radius: float, seed: int) -> None:
    xyz, new = cloud(count, seed), cloud(queries, seed + 1)
    found = query_ball_point(radius, nsample, xyz, new)
    assert found.shape == (2, queries, nsample)
    distance = squares(new, xyz)
    for item in range(2):
        for query in range(queries):
            inside = [k for k in range(count) if distance[item, query, k] <= radius**2]
            got = found[item, query].tolist()
            if any(abs(float(distance[item, query, k]) - radius**2) < 1e-6 for k in range(count)):
                continue  # at the border, where float32 may differ
            wanted = inside[:nsample] or [int(distance[item, query].argmin())]
            assert got == wanted + [wanted[0]] * (nsample - len(wanted))


@given(st.integers(1, 40), st.data(), st.integers(0, 99))
def test_neighbours_are_the_nearest(count: int, data: st.DataObject, seed: int) -> None:
    xyz, queries = cloud(count, seed), cloud(7, seed + 1)
    k = data.draw(st.integers(1, count))
    distance, index = nearest_neighbours(queries, xyz, k)
    expected = squares(queries, xyz).sort(2).values[..., :k]
    torch.testing.assert_close(distance.double(), expected, atol=1e-6, rtol=1e-4)
    gathered = (index_points(xyz, index) - queries[:, :, None]).square().sum(-1)
    torch.testing.assert_close(gathered, distance)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    xyz, queries = cloud(300), cloud(120, 1)
    whole = nearest_neighbours(queries, xyz, 5)[1], query_ball_point(0.2, 8, xyz, queries)
    monkeypatch.setattr(sets, "_ELEMENTS", 2000)
    parts = nearest_neighbours(queries, xyz, 5)[1], query_ball_point(0.2, 8, xyz, queries)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_sets_that_are_none_are_named() -> None:
    for wrong in (torch.rand(4, 3), torch.rand(1, 0, 3), torch.zeros(1, 4, 3, dtype=torch.int32)):
        with pytest.raises(InputError, match="a cloud is"):
            farthest_point_sample(wrong, 1)
    for count in (0, 5):
        with pytest.raises(InputError, match=f"{count} samples of 4 points"):
            farthest_point_sample(cloud(4), count)
        with pytest.raises(InputError, match=f"{count} neighbours among 4 points"):
            nearest_neighbours(cloud(4), cloud(4), count)


# Files.


@pytest.mark.parametrize("suffix", [".ply", ".npy", ".npz"])
@pytest.mark.parametrize("normals", [False, True])
def test_clouds_come_back(tmp_path: Path, suffix: str, normals: bool) -> None:
    if suffix == ".ply":
        pytest.importorskip("trimesh")
    points = np.random.default_rng(0).random((50, 3), np.float32)
    given_ = Cloud(points, points[::-1] if normals else None)
    write_cloud(tmp_path / f"a{suffix}", given_)
    found = read_cloud(tmp_path / f"a{suffix}")
    assert np.array_equal(found.points, points)
    if suffix != ".npy":
        assert (found.normals is not None) == normals
        assert not normals or np.array_equal(found.normals, points[::-1])  # type: ignore[arg-type]


def test_other_forms_are_read(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    (tmp_path / "a.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    assert read_cloud(tmp_path / "a.off").points.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    (tmp_path / "a.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
        "1 2 3\n4 5 6\n"
    )
    assert read_cloud(tmp_path / "a.ply").points.tolist() == [[1, 2, 3], [4, 5, 6]]
    np.arange(8, dtype="<f4").tofile(tmp_path / "a.bin")
    assert read_cloud(tmp_path / "a.bin").points.tolist() == [[0, 1, 2], [4, 5, 6]]
    np.savez(tmp_path / "many.npz", points=np.full((3, 4, 3), 32767, np.int16), scale=np.float32(1 / 32767))
    assert np.allclose(read_cloud(tmp_path / "many.npz", item=2).points, 1)
    with pytest.raises(InputError, match="has 3 clouds: say which, from 0 to 2"):
        read_cloud(tmp_path / "many.npz")


@pytest.mark.parametrize(
    ("name", "content", "error", "match"),
    [
        ("a.obj", b"x", InputError, "does not end in"),
        ("a.bin", b"12345", FileError, "cut short"),
        ("a.npy", b"no array", FileError, "damaged"),
        ("a.npz", b"no archive", FileError, "damaged"),
        ("a.ply", b"ply\nformat", FileError, "damaged"),
        ("a.off", b"OFF\n9 9 9\n", FileError, "damaged"),
        ("a.npy", b"", FileError, "empty"),
    ],
)
def test_files_that_are_no_clouds_are_named(tmp_path: Path, name: str, content: bytes, error: Any, match: str) -> None:
    pytest.importorskip("trimesh")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=match):
        read_cloud(tmp_path / name)
    with pytest.raises(FileError, match="does not exist"):
        read_cloud(tmp_path / "nowhere.npy")
    with pytest.raises(OutputError, match="does not end in"):
        write_cloud(tmp_path / "a.xyz", Cloud(np.zeros((1, 3))))


def test_clouds_that_are_none_are_named() -> None:
    good = np.zeros((4, 3))
    for points, normals, match in (
        (np.zeros((0, 3)), None, "no points"),
        (np.zeros((4, 2)), None, "expected numbers"),
        (np.full((4, 3), np.nan), None, "NaN"),
        (good, np.zeros((3, 3)), "4 points with 3 normals"),
        (good, np.full((4, 3), np.inf), "normals have NaN"),
    ):
        with pytest.raises(InputError, match=match):
            Cloud(points, normals)


# Distances.


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_distances_are_their_definitions(count: int, other: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((count, 3)), rng.random((other, 3))
    table = ((a[:, None] - b[None]) ** 2).sum(-1)
    forth, back = table.min(1).mean(), table.min(0).mean()
    assert chamfer_distance(a, b) == pytest.approx(forth + back)
    assert d1_psnr(a, b, peak=2.0) == pytest.approx(10 * math.log10(12 / max(forth, back)))
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    planes = [((b[table.argmin(1)] - a) * normals).sum(1), ((b - a[table.argmin(0)]) * normals[table.argmin(0)]).sum(1)]
    worst = max(float((errors**2).mean()) for errors in planes)
    assert d2_psnr(a, b, normals=normals) == pytest.approx(10 * math.log10(3 / worst))
    assert d2_psnr(a, b, normals=normals) >= d1_psnr(a, b) - 1e-9


def test_equal_clouds_are_at_no_distance() -> None:
    a = np.random.default_rng(0).random((30, 3))
    assert chamfer_distance(a, a[::-1]) == 0
    assert d1_psnr(a, a[::-1]) == d2_psnr(a, a[::-1]) == math.inf
    with pytest.raises(InputError):
        chamfer_distance(a, a[:0])


def test_normals_of_a_plane_stand_on_it() -> None:
    flat = np.random.default_rng(0).random((200, 3)) * [1, 1, 0]
    assert np.allclose(np.abs(estimate_normals(flat)), [0, 0, 1], atol=1e-6)
    moved = flat + np.array([0.01, 0, 0])  # along the plane
    assert d2_psnr(flat, moved) == math.inf or d2_psnr(flat, moved) > 100 > d1_psnr(flat, moved)
