"""Laws of the steps on points: sizes, turns, samples of clouds and of meshes, normals, chance that repeats."""

from __future__ import annotations

import doctest
import pickle
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tinify_plugins.pointcloud import transforms
from tinify_plugins.pointcloud.samples import told
from tinify_plugins.pointcloud.transforms import (
    GeneratePositionNormals,
    NormalizeScaleV2,
    RandomPermutation,
    RandomRotateFull,
    RandomSample,
    SamplePointsV2,
    ToDict,
    random_rotation_matrix,
)
from torch import Tensor

from tinify.errors import InputError


class Data:
    """What torch_geometric's samples have in common with a dict: attributes by their names, pairs when iterated."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.__dict__.items())

    def keys(self) -> list[str]:
        return list(self.__dict__)


def cloud(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * 4 - 1


def sample(count: int, seed: int = 0) -> dict[str, Tensor]:
    """Points whose labels are their numbers."""
    return {"pos": cloud(count, seed), "label": torch.arange(count)}


def box() -> dict[str, Tensor]:
    """The surface of a box of 1x2x3, whose faces look outwards."""
    corners = torch.tensor([[x, y, z] for x in (0, 1) for y in (0, 2) for z in (0, 3)], dtype=torch.float32)
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    faces = [face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))]
    return {"pos": corners, "face": torch.tensor(faces).T}


STEPS = (
    NormalizeScaleV2(),
    NormalizeScaleV2(center=False, scale_method="l2"),
    GeneratePositionNormals(),
    RandomPermutation(),
    RandomRotateFull(),
    RandomSample(3),
    SamplePointsV2(5, include_normals=True),
    ToDict(),
)


def test_examples_give_what_they_show() -> None:
    results = doctest.testmod(transforms)
    assert results.attempted
    assert not results.failed


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_dicts_and_what_is_like_them_are_left_as_they_were(step: Any) -> None:
    given_, like = box(), Data(**box())
    torch.manual_seed(3)
    found = step(given_)
    torch.manual_seed(3)
    of_like = step(like)
    assert set(given_) == set(like.keys()) == {"pos", "face"}
    assert all(torch.equal(given_[name], value) and torch.equal(like[name], value) for name, value in box().items())
    assert set(found) == set(of_like.keys())
    assert all(torch.equal(found[name], of_like[name]) for name in found)
    assert isinstance(of_like, dict if isinstance(step, ToDict) else Data)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_steps_are_told_and_travel(step: Any) -> None:
    assert told(step) == told(pickle.loads(pickle.dumps(step)))
    assert told(step).startswith(f"tinify_plugins.pointcloud.transforms.{type(step).__name__}(")


@pytest.mark.parametrize("step", STEPS[:-1], ids=lambda step: type(step).__name__)
@pytest.mark.parametrize("pos", [None, np.zeros((4, 3)), torch.zeros(4, 2), torch.zeros(0, 3), torch.zeros(4, 3).int()])
def test_samples_that_are_none_are_named(step: Any, pos: Any) -> None:
    if isinstance(step, RandomPermutation | RandomSample) and isinstance(pos, Tensor) and len(pos):
        return  # which take any rows
    with pytest.raises(InputError, match=r"'?pos'?"):
        step({} if pos is None else {"pos": pos, "face": box()["face"]})


# Sizes.


@given(st.integers(1, 40), st.integers(0, 99), st.booleans(), st.floats(1e-30, 1e30), st.floats(-1e3, 1e3))
def test_clouds_fit_the_cube_or_the_ball(count: int, seed: int, center: bool, size: float, away: float) -> None:
    pos = ((cloud(count, seed).double() + away) * size).float()
    cube = NormalizeScaleV2(center=center)({"pos": pos})["pos"]
    ball = NormalizeScaleV2(center=center, scale_method="l2")({"pos": pos})["pos"]
    assert cube.dtype == ball.dtype == torch.float32
    assert cube.abs().max() in (0, 1)
    assert float(ball.norm(dim=1).max()) in (0, pytest.approx(1, abs=1e-6))
    if center:
        assert torch.allclose(cube.mean(0), torch.zeros(3), atol=1e-5)
    torch.testing.assert_close(ball * cube.norm(dim=1).max(), cube, atol=1e-5, rtol=1e-5)  # shapes are kept


def test_points_in_one_place_stay() -> None:
    for method in ("linf", "l2"):
        assert not NormalizeScaleV2(scale_method=method)({"pos": torch.full((4, 3), 7.0)})["pos"].any()
    with pytest.raises(InputError, match="expected 'linf' or 'l2'"):
        NormalizeScaleV2(scale_method="l1")


# Turns.


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_rotations_are_rotations(batch: int, ndim: int, seed: int) -> None:
    turns = random_rotation_matrix(batch, ndim, torch.Generator().manual_seed(seed)).double()
    assert turns.shape == (batch, ndim, ndim)
    torch.testing.assert_close(turns @ turns.mT, torch.eye(ndim).double().expand_as(turns), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(batch).double(), atol=1e-5, rtol=0)
    again = random_rotation_matrix(batch, ndim, torch.Generator().manual_seed(seed)).double()
    assert torch.equal(turns, again)


def test_every_rotation_is_as_likely() -> None:
    count = 40000
    turns = random_rotation_matrix(count, generator=torch.Generator().manual_seed(0)).double()
    # Coordinates of a point of the sphere are even on [-1, 1] (Archimedes): mean 0, square 1/3, every sign as often.
    error = 4 / count**0.5
    assert float(turns.mean(0).abs().max()) < error
    assert float((turns.square().mean(0) - 1 / 3).abs().max()) < error
    assert float(((turns > 0).double().mean(0) - 0.5).abs().max()) < error
    # The angle has the density (1 - cos a) / pi, by which E trace = 0 and E trace^2 = 1.
    trace = turns.diagonal(dim1=1, dim2=2).sum(1)
    assert abs(float(trace.mean())) < error
    assert abs(float(trace.square().mean()) - 1) < 3 * error


@given(st.integers(1, 30), st.integers(0, 99))
def test_a_turn_keeps_distances_and_turns_normals_along(count: int, seed: int) -> None:
    torch.manual_seed(seed)
    pos = cloud(count, seed)
    found = RandomRotateFull()({"pos": pos, "normal": pos / pos.norm(dim=1, keepdim=True)})
    before, after = (torch.cdist(one.double(), one.double()) for one in (pos, found["pos"]))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found["pos"].norm(dim=1), pos.norm(dim=1))
    torch.testing.assert_close(found["normal"] * pos.norm(dim=1, keepdim=True), found["pos"], atol=1e-5, rtol=1e-4)


# Orders and samples.


@given(st.integers(1, 50), st.integers(0, 99))
def test_permutations_lose_nothing(count: int, seed: int) -> None:
    torch.manual_seed(seed)
    given_ = sample(count, seed)
    found = RandomPermutation(attrs=("pos", "label"))(given_)
    assert sorted(found["label"].tolist()) == list(range(count))
    assert torch.equal(given_["pos"][found["label"]], found["pos"])
    alone = RandomPermutation()(given_)
    assert torch.equal(alone["label"], given_["label"])  # not among the attributes


@given(st.integers(1, 30), st.integers(1, 80), st.booleans(), st.integers(0, 99))
def test_samples_repeat_a_point_only_where_they_must(count: int, num: int, ordered: bool, seed: int) -> None:
    given_ = sample(count, seed)
    found = RandomSample(num, attrs=("pos", "label"), preserve_order=ordered, seed=seed)(given_)
    assert len(found["pos"]) == num
    assert torch.equal(given_["pos"][found["label"]], found["pos"])
    often = Counter(found["label"].tolist())
    assert {often[k] for k in range(count)} <= {num // count, -(-num // count)}
    if ordered:
        assert found["label"].tolist() == sorted(found["label"].tolist())


def test_every_point_is_as_likely_in_a_sample() -> None:
    step = RandomSample(2, attrs=("label",), seed=0)
    drawn = torch.cat([step(sample(5))["label"] for _ in range(4000)])
    shares = torch.bincount(drawn) / len(drawn)
    assert float((shares - 0.2).abs().max()) < 0.02


def test_duplicates_are_left_out_first() -> None:
    given_ = {"pos": torch.eye(3)[torch.tensor([2, 0, 2, 1, 0])], "label": torch.arange(5)}
    step = RandomSample(attrs=("pos", "label"), remove_duplicates_by="pos", preserve_order=True)
    assert step(given_)["label"].tolist() == [0, 1, 3]
    by_label = {"pos": torch.eye(3), "label": torch.tensor([7, 7, 4])}
    assert RandomSample(remove_duplicates_by="label", preserve_order=True)(by_label)["pos"].tolist() == [
        [1, 0, 0],
        [0, 0, 1],
    ]


@pytest.mark.parametrize("make", [lambda **seeds: RandomSample(9, **seeds), lambda **seeds: SamplePointsV2(9, **seeds)])
def test_seeds_repeat_what_is_drawn(make: Any) -> None:
    given_ = box() | {"pos": torch.cat([box()["pos"], cloud(40)])}

    def draws(step: Any) -> list[Tensor]:
        return [step(given_)["pos"] for _ in range(3)]

    def equal(a: list[Tensor], b: list[Tensor]) -> bool:
        return all(map(torch.equal, a, b))

    torch.manual_seed(0)
    a, b = draws(make(seed=1)), draws(make(seed=1))
    assert equal(a, b)
    assert not torch.equal(a[0], a[1])
    assert not equal(a, draws(make(seed=2)))
    still = draws(make(static_seed=1))
    assert equal(still, [a[0]] * 3)
    free = draws(make())
    assert not equal(free, draws(make()))
    torch.manual_seed(0)  # which seeds did not touch
    assert equal(free, draws(make()))
    with pytest.raises(InputError, match="seed=1 and static_seed=2"):
        make(seed=1, static_seed=2)


def test_a_row_of_draws_goes_on_after_a_journey() -> None:
    step = RandomSample(4, seed=5)
    step(sample(30))
    again = pickle.loads(pickle.dumps(step))
    assert torch.equal(step(sample(30))["pos"], again(sample(30))["pos"])
    assert told(step) == told(RandomSample(4, seed=5))  # whatever it has drawn


def test_samples_that_cannot_be_are_named() -> None:
    for wrong in (0, -3):
        with pytest.raises(InputError, match=f"num={wrong}: expected 1"):
            RandomSample(wrong)
        with pytest.raises(InputError, match=f"num={wrong}: expected 1"):
            SamplePointsV2(wrong)
    with pytest.raises(InputError, match="without tensors normal"):
        RandomSample(2, attrs=("pos", "normal"))(sample(4))
    with pytest.raises(InputError, match="without tensors normal"):
        RandomSample(2, remove_duplicates_by="normal")(sample(4))
    with pytest.raises(InputError, match=r"'label': 3"):
        RandomPermutation(attrs=("pos", "label"))(sample(4) | {"label": torch.arange(3)})
    with pytest.raises(InputError, match="to take"):
        RandomSample(attrs=())(sample(4))


# Meshes.


def test_points_lie_on_the_surface_everywhere_as_densely() -> None:
    count = 60000
    found = SamplePointsV2(count, include_normals=True, seed=0)(box())
    assert set(found) == {"pos", "normal"}
    size = torch.tensor([1.0, 2.0, 3.0])
    pos, normal = found["pos"], found["normal"]
    axis = normal.abs().argmax(1)
    assert torch.equal(normal.abs(), torch.eye(3)[axis])  # of a box
    side = pos.gather(1, axis[:, None])[:, 0]
    outwards = normal.gather(1, axis[:, None])[:, 0] > 0
    torch.testing.assert_close(side, torch.where(outwards, size[axis], 0.0), atol=1e-6, rtol=0)
    assert float(pos.min()) >= -1e-6
    assert bool((pos <= size + 1e-6).all())
    areas = torch.tensor([6.0, 3.0, 2.0]) / 22
    for k in range(3):
        for out in (True, False):
            on = (axis == k) & (outwards == out)
            assert float(on.float().mean()) == pytest.approx(float(areas[k]), abs=4 / count**0.5)
            across = pos[on][:, [a for a in range(3) if a != k]] / size[[a for a in range(3) if a != k]]
            # Even on the unit square, also across the edge that parts it into triangles.
            quarters = torch.histogramdd(across, [4, 4], range=[0.0, 1.0, 0.0, 1.0])[0] / len(across)
            assert float((quarters - 1 / 16).abs().max()) < 0.015


@given(st.integers(0, 99), st.integers(1, 20))
def test_points_are_within_a_triangle(seed: int, num: int) -> None:
    corners = cloud(3, seed)
    found = SamplePointsV2(num, seed=seed, remove_faces=False)({"pos": corners, "face": torch.tensor([[0], [1], [2]])})
    assert set(found) == {"pos", "face"}
    weights = torch.linalg.lstsq(
        torch.cat([corners.T.double(), torch.ones(1, 3).double()]),
        torch.cat([found["pos"].T.double(), torch.ones(1, num).double()]),
    ).solution
    assert float(weights.min()) > -1e-4
    torch.testing.assert_close(weights.sum(0), torch.ones(num).double(), atol=1e-4, rtol=0)


def test_faces_without_area_are_never_drawn() -> None:
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9], [9, 9, 9]])
    face = torch.tensor([[3, 4, 3], [0, 1, 2], [3, 3, 4]]).T
    found = SamplePointsV2(500, seed=0)({"pos": pos, "face": face, "normal": pos})
    assert float(found["pos"].abs().max()) <= 1
    assert "normal" not in found  # the vertices' own, which do not fit any more
    for nowhere in (face[:, [0, 2]], face[:, :0]):
        with pytest.raises(InputError, match=f"{nowhere.shape[1]} faces has no area"):
            SamplePointsV2(5)({"pos": pos, "face": nowhere})
    for wrong in (face + 3, face - 1, face.float(), face.T[:2], "faces"):
        with pytest.raises(InputError, match="'face' of a sample"):
            SamplePointsV2(5)({"pos": pos, "face": wrong})
    with pytest.raises(InputError, match="without 'face'"):
        SamplePointsV2(5)({"pos": pos})


# Normals.


@given(st.integers(0, 99), st.integers(20, 60))
def test_normals_of_a_plane_are_units_that_stand_on_it(seed: int, count: int) -> None:
    turn = random_rotation_matrix(1, generator=torch.Generator().manual_seed(seed))[0]
    flat = cloud(count, seed) * torch.tensor([1.0, 1, 0])
    normal = GeneratePositionNormals(neighbours=9)({"pos": flat @ turn.T})["normal"]
    assert normal.dtype == torch.float32
    torch.testing.assert_close(normal.norm(dim=1), torch.ones(count))
    torch.testing.assert_close((normal @ turn[:, 2]).abs(), torch.ones(count), atol=1e-3, rtol=0)


def test_other_methods_are_named() -> None:
    for wrong in ({"method": "open3d"}, {"neighbours": 2}):
        with pytest.raises(InputError, match="expected method='any' or 'pca', and 3 neighbours"):
            GeneratePositionNormals(**wrong)
    with pytest.raises(InputError, match="wrapper='list': expected 'dict'"):
        ToDict(wrapper="list")
    assert ToDict(wrapper=sorted)({"pos": 1, "label": 2}) == ["label", "pos"]
