"""Steps between a file of points and a batch of them: sizes, turns, samples, normals.

Each takes a dict of tensors, ``pos`` of (points, 3) among them, or what is like one (``data["pos"]``, ``"pos" in
data``, copied by :func:`copy.copy`), such as torch_geometric's ``Data``. It gives back a copy, and leaves what it got
as it was. Without seeds, chance is that of :func:`torch.manual_seed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinify.errors import InputError

from .metrics import estimate_normals
from .point_data import changed, faces_of, points_of, rows_of, taken


@dataclass(kw_only=True)
class Seeded:
    """Chance of its own: ``seed`` begins a row of draws, ``static_seed`` makes every draw the same.

    Every process of a loader repeats the row of ``seed`` for itself; without it their draws differ. Raises
    :class:`~tinify.errors.InputError` for both.
    """

    seed: int | None = None
    static_seed: int | None = None
    _generator: torch.Generator | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seed is not None and self.static_seed is not None:
            raise InputError(f"seed={self.seed} and static_seed={self.static_seed}: give one of them")

    def generator(self) -> torch.Generator | None:
        """What to draw the next numbers with, on a CPU; None is PyTorch's own."""
        if self.static_seed is not None:
            return torch.Generator().manual_seed(self.static_seed)
        if self.seed is not None and self._generator is None:
            self._generator = torch.Generator().manual_seed(self.seed)
        return self._generator


@dataclass(frozen=True, kw_only=True)
class NormalizeScaleV2:
    """Brings a cloud to the size of the unit cube or ball, around the mean of its points with ``center``.

    The farthest coordinate has a magnitude of 1 with ``scale_method="linf"``, the farthest point a radius of 1 with
    ``"l2"``; points that are all in one place stay there. Raises :class:`~tinify.errors.InputError` for another method,
    and for a sample without ``pos``.

    >>> NormalizeScaleV2(scale_method="l2")({"pos": torch.tensor([[0.0, 0, 5], [0, 0, 9]])})["pos"].tolist()
    [[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]]
    """

    center: bool = True
    scale_method: str = "linf"

    def __post_init__(self) -> None:
        if self.scale_method not in ("linf", "l2"):
            raise InputError(f"scale_method={self.scale_method!r}: expected 'linf' or 'l2'")

    def __call__(self, data: Any) -> Any:
        pos = points_of(data).double()  # so that a small cloud far away keeps its shape
        pos = pos - pos.mean(0) if self.center else pos
        scale = pos.abs().max() if self.scale_method == "linf" else pos.norm(dim=1).max()
        return changed(data, pos=(pos / scale if scale > 0 else pos).to(data["pos"].dtype))


@dataclass(frozen=True, kw_only=True)
class GeneratePositionNormals:
    """Adds ``normal``: unit normals of the planes that fit each point's ``neighbours`` best; their signs mean nothing.

    ``method`` is ``"pca"``, or ``"any"``, which is the same. Raises :class:`~tinify.errors.InputError` for another, and
    for a sample without ``pos``.

    >>> GeneratePositionNormals()({"pos": torch.eye(3)})["normal"].abs()
    tensor([[0.5774, 0.5774, 0.5774],
            [0.5774, 0.5774, 0.5774],
            [0.5774, 0.5774, 0.5774]])
    """

    method: str = "any"
    neighbours: int = 12

    def __post_init__(self) -> None:
        if self.method not in ("any", "pca") or self.neighbours < 3:
            raise InputError(f"{self}: expected method='any' or 'pca', and 3 neighbours or more, for a plane")

    def __call__(self, data: Any) -> Any:
        pos = points_of(data)
        return changed(data, normal=torch.from_numpy(estimate_normals(pos.cpu().numpy(), self.neighbours)).to(pos))


@dataclass(frozen=True, kw_only=True)
class RandomPermutation:
    """Puts the points in another order: all ``attrs``, which have a row for each, in the same one.

    Raises :class:`~tinify.errors.InputError` where one is missing, or they are not of one length.

    >>> RandomPermutation(attrs=("pos", "label"))({"pos": torch.zeros(4, 3), "label": torch.arange(4)})["label"].sum()
    tensor(6)
    """

    attrs: Sequence[str] = ("pos",)

    def __call__(self, data: Any) -> Any:
        rows = rows_of(data, self.attrs)
        return taken(data, self.attrs, torch.randperm(rows))


@dataclass(frozen=True)
class RandomRotateFull:
    """Turns a cloud, and its ``normal`` if it has such, about the origin: every turn is as likely.

    Raises :class:`~tinify.errors.InputError` for a sample without ``pos``.

    >>> round(float(RandomRotateFull()({"pos": torch.tensor([[3.0, 0, 4]])})["pos"].norm()), 4)
    5.0
    """

    def __call__(self, data: Any) -> Any:
        turn = random_rotation_matrix(1)[0].to(points_of(data))
        return changed(data, **{name: data[name] @ turn.T for name in ("pos", "normal") if name in data})


def random_rotation_matrix(batch_size: int, ndim: int = 3, generator: torch.Generator | None = None) -> Tensor:
    """Rotations drawn evenly from all, float32 (batch_size, ndim, ndim); their determinants are 1.

    Of a matrix of Gaussians, QR gives an even draw from the orthogonal matrices once R has a positive diagonal;
    where it mirrors, one axis is turned round. Mezzadri: How to Generate Random Matrices from the Classical Compact
    Groups, Notices of the AMS 54, 2007.

    >>> random_rotation_matrix(5, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([5, 3, 3])
    """
    q, r = torch.linalg.qr(torch.randn(batch_size, ndim, ndim, dtype=torch.float64, generator=generator))
    q = q * torch.where(r.diagonal(dim1=1, dim2=2) < 0, -1.0, 1.0)[:, None]
    q[:, :, 0] *= torch.linalg.det(q).sign()[:, None]
    turns: Tensor = q.float()
    return turns


@dataclass
class RandomSample(Seeded):
    """Keeps ``num`` points of those there are, in any order, or as they were with ``preserve_order``; None keeps all.

    Rows of ``attrs`` go together. None is drawn twice where there are enough; else each is drawn as often as any other,
    or once more. Before that, with ``remove_duplicates_by="pos"``, of points with the same ``pos`` only the first is
    left. Raises :class:`~tinify.errors.InputError` where an attribute is missing, they are not of one length, there is
    no point, or ``num`` is none; for seeds see :class:`Seeded`.

    >>> RandomSample(2, static_seed=0, preserve_order=True)({"pos": torch.eye(3)})["pos"].shape
    torch.Size([2, 3])
    """

    num: int | None = None
    _: KW_ONLY
    attrs: Sequence[str] = ("pos",)
    remove_duplicates_by: str | None = None
    preserve_order: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number(self.num)

    def __call__(self, data: Any) -> Any:
        rows = rows_of(data, self.attrs)
        left = torch.arange(rows)
        if self.remove_duplicates_by is not None:
            rows_of(data, (*self.attrs, self.remove_duplicates_by))
            _, first = np.unique(data[self.remove_duplicates_by].cpu().numpy(), axis=0, return_index=True)
            left = torch.from_numpy(np.sort(first))
        number, generator = self.num or len(left), self.generator()
        rounds = -(-number // len(left))
        drawn = torch.cat([torch.randperm(len(left), generator=generator) for _ in range(rounds)])[:number]
        return taken(data, self.attrs, left[drawn.sort().values if self.preserve_order else drawn])


@dataclass
class SamplePointsV2(Seeded):
    """Makes ``num`` points of a mesh, ``pos`` (vertices, 3) and ``face`` (3, faces), everywhere equally dense.

    Triangles are drawn by their areas, and places in them evenly. ``include_normals`` adds ``normal``, those of the
    triangles, which a mesh's own would not fit any more; ``remove_faces`` drops ``face``. Raises
    :class:`~tinify.errors.InputError` for a sample that is no mesh, or has no area; for seeds see :class:`Seeded`.
    Osada, Funkhouser, Chazelle, Dobkin: Shape Distributions, ACM Transactions on Graphics 21, 2002.

    >>> mesh = {"pos": torch.eye(3), "face": torch.tensor([[0], [1], [2]])}
    >>> SamplePointsV2(4, static_seed=0)(mesh)["pos"].sum(1).round(decimals=3)
    tensor([1., 1., 1., 1.])
    """

    num: int
    _: KW_ONLY
    remove_faces: bool = True
    include_normals: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number(self.num)

    def __call__(self, data: Any) -> Any:
        a, b, c = (corner.cpu().double() for corner in points_of(data)[faces_of(data)])
        crossed = torch.linalg.cross(b - a, c - a)
        areas = crossed.norm(dim=1).cumsum(0)
        if not len(areas) or not areas[-1] > 0:
            raise InputError(f"a mesh of {len(areas)} faces has no area: there is nowhere to put points")
        generator = self.generator()
        at, u, v = torch.rand(3, self.num, dtype=torch.float64, generator=generator)
        # Of the faces that reach so far the first that has an area; rounding may reach the very end.
        last = torch.searchsorted(areas, areas[-1])
        chosen = torch.searchsorted(areas, at * areas[-1], right=True).clamp(max=last)
        u, v = u.sqrt()[:, None], v[:, None]
        made = (1 - u) * a[chosen] + u * (1 - v) * b[chosen] + u * v * c[chosen]
        found = changed(data, pos=made.to(data["pos"]))
        if self.include_normals:
            found["normal"] = torch.nn.functional.normalize(crossed[chosen], dim=1, eps=0.0).to(data["pos"])
        elif "normal" in found:
            del found["normal"]
        if self.remove_faces:
            del found["face"]
        return found


@dataclass(frozen=True, kw_only=True)
class ToDict:
    """Makes a plain dict of a sample, ``wrapper="dict"``, or whatever ``wrapper``, called with one, makes of it.

    Raises :class:`~tinify.errors.InputError` for another word.

    >>> ToDict()({"pos": 1})
    {'pos': 1}
    """

    wrapper: str | Callable[[dict[str, Any]], Any] = "dict"

    def __post_init__(self) -> None:
        if self.wrapper != "dict" and not callable(self.wrapper):
            raise InputError(f"wrapper={self.wrapper!r}: expected 'dict', or what can be called with a dict")

    def __call__(self, data: Any) -> Any:
        plain = {name: data[name] for name in data.keys()}  # noqa: SIM118  # Data's iterator gives pairs
        return self.wrapper(plain) if callable(self.wrapper) else plain


def _check_number(number: int | None) -> None:
    if number is not None and number < 1:
        raise InputError(f"num={number}: expected 1 or more")
