"""Compiles the kernels of the entropy coders before they are needed."""

from __future__ import annotations

from itertools import product

import numpy as np

from tinify.coders.rows import Integers
from tinify.coders.tables import CdfTables


def warmup() -> None:
    """Makes the entropy coders ready, so that no later call waits for a compiler.

    Kernels are compiled when first used, a second or two each, and kept on disk beside the package (or in the folder
    that the environment variable ``NUMBA_CACHE_DIR`` names): this takes about half a minute on a new machine, and less
    than a second from then on. Ready are tinify's coders for int32 symbols and int32 indexes, an index for each symbol
    or a view of one for many; other types are compiled when they come. Where there is no numba it does nothing.

    >>> warmup()
    """
    try:
        import numba  # noqa: F401
    except ImportError:
        return
    import tinify.coders.mixture_kernels  # noqa: F401 - compiled as it is imported
    from tinify.coders.compat import CompatCoder
    from tinify.coders.range_coder import RangeCoder
    from tinify.coders.rans import CHUNK, WIDE_LIMIT

    tables = CdfTables([[0, 30000, 60000, 65535, 65536]], sizes=[5], offsets=[-1])
    index = np.zeros(1, np.int32)
    # A string alone and several at once, of no header, 8 lanes, 32 lanes, chunks.
    shapes = [(1, 1), (2, 1), (5, 5000), (1, WIDE_LIMIT), (1, 2 * CHUNK)]
    for shape, dense in product(shapes, (True, False)):
        indexes: Integers = np.zeros(shape, np.int32) if dense else np.broadcast_to(index, shape)
        strings = tables.encode_batch(np.zeros(shape, np.int32), indexes)
        tables.decode_batch(strings, indexes)
    for other in CompatCoder(), RangeCoder():
        tables.decode(tables.encode(index, index, coder=other), index, coder=other)
