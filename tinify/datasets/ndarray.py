"""Arrays as a data set."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch.utils.data import Dataset

from tinify.errors import InputError


class NdArrayDataset(Dataset[Any]):
    """Arrays cut along their first axis: an item is a tuple of one element of each, or the element with ``single``.

    Raises :class:`~tinify.errors.InputError` for arrays of different lengths, for none, and for ``single`` with
    several.

    >>> import numpy as np
    >>> [int(item) for item in NdArrayDataset(np.arange(3), 10 * np.arange(3))[2]]
    [2, 20]
    >>> NdArrayDataset(np.arange(3), single=True)[2]
    np.int64(2)
    """

    def __init__(self, *arrays: NDArray[Any], single: bool = False) -> None:
        lengths = [len(array) for array in arrays]
        if not arrays or len(set(lengths)) > 1:
            raise InputError(f"expected arrays of one length, got {len(arrays)} of lengths {lengths}")
        if single and len(arrays) > 1:
            raise InputError(f"single=True is for one array, got {len(arrays)}")
        self.arrays = arrays
        self.single = single

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> Any:
        return self.arrays[0][index] if self.single else tuple(array[index] for array in self.arrays)
