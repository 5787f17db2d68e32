"""Clouds of any size as blocks of about as many points as a model takes, each about within the unit ball."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .clouds import Points


@dataclass(frozen=True)
class Block:
    """Points (n, 3) about within the unit ball, and where they are: times ``scale``, plus ``centre``."""

    points: Points
    centre: Points
    scale: np.float32

    @classmethod
    def of(cls, points: Points) -> Block:
        """Points moved to their mean and divided by the largest distance from it; one point alone by 1."""
        centre = points.mean(0, dtype=np.float64).astype(np.float32)
        radius = np.float32(np.sqrt(np.square(points - centre, dtype=np.float64).sum(1).max()))
        scale = radius if radius > 0 else np.float32(1)
        return cls((points - centre) / scale, centre, scale)

    def placed(self, points: Points) -> Points:
        """Points of the unit ball where the block is."""
        return points * self.scale + self.centre


def split(points: Points, most: int) -> list[NDArray[np.int64]]:
    """Indexes of ``points`` in parts of at most ``most`` that lie together, as few and as even as can be.

    Parts are halved, in proportion, along the axis on which they are longest (Bentley: Multidimensional Binary Search
    Trees Used for Associative Searching, CACM 18, 1975).

    >>> [len(part) for part in split(np.random.default_rng(0).random((10, 3), np.float32), 4)]
    [4, 3, 3]
    """
    found: list[NDArray[np.int64]] = []
    waiting = [(np.arange(len(points)), -(-len(points) // most))]
    while waiting:
        part, count = waiting.pop()
        if count == 1:
            found.append(part)
            continue
        places = points[part]
        axis = int(np.argmax(places.max(0) - places.min(0)))
        first = -(-count // 2)
        # As many points to a block on either side: no block gets more than the share of all.
        middle = -(-len(part) * first // count)
        order = part[np.argsort(places[:, axis], kind="stable")]
        waiting += [(order[middle:], count - first), (order[:middle], first)]
    return found


def filled(points: Points, count: int) -> Points:
    """As many points: all of them, and again from the first."""
    return points[np.arange(count) % len(points)]
