"""Arguments of tinify's operators, for checks of kernels: of a shape and dtype, drawn the same every time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinify.coders import CdfTables
from tinify.entropy_models.device import DeviceTables
from tinify.testing.cases import Sample

Shape = tuple[int, ...]


def _draw(shape: Shape, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _table(dtype: torch.dtype) -> Tensor:
    return torch.exp(torch.linspace(math.log(0.11), math.log(256), 64)).to(dtype)


def _scale_indexes(shape: Shape, dtype: torch.dtype) -> tuple[Any, ...]:
    return _draw(shape, dtype).exp(), _table(dtype)


def _gaussian(shape: Shape, dtype: torch.dtype) -> tuple[Any, ...]:
    return _draw(shape, dtype), _draw(shape, dtype, 1).exp() + 0.25, _draw(shape, dtype, 2)


def _quantize_indexes(shape: Shape, dtype: torch.dtype) -> tuple[Any, ...]:
    # Latents, scales and means are float32 in every model.
    return *_gaussian(shape, torch.float32), torch.tensor([0.5]), _table(torch.float32)


def _gdn(shape: Shape, dtype: torch.dtype) -> tuple[Any, ...]:
    channels = shape[1] if len(shape) > 1 else 1
    beta, gamma = (_draw((channels, width), torch.float32, width).abs() + 0.5 for width in (1, channels))
    kind = torch.promote_types(dtype, torch.float32)
    return _draw(shape, dtype), beta[:, 0].to(kind), (gamma / channels).to(kind)


def _masked(shape: Shape, dtype: torch.dtype) -> tuple[Any, ...]:
    channels = shape[1] if len(shape) > 1 else 1
    weight = _draw((4, channels, 3, 3), dtype, 1) / 4 / max(1, channels) ** 0.5
    return _draw(shape, dtype), weight, _draw((4,), dtype, 2), [0, 1, 2, 3], [1, 1]


def _masked_backward(shape: Shape, dtype: torch.dtype) -> tuple[Any, ...]:
    x, weight, _, taps, padding = _masked(shape, dtype)
    return _draw((*shape[:1], 4, *shape[2:]), dtype, 3), x, weight, taps, padding


def _conv_at(shape: Shape, dtype: torch.dtype) -> tuple[Any, ...]:
    height, width = (*shape, 1, 1, 1)[2:4]
    places = torch.arange(0, height * width, 2)
    return *_masked(shape, dtype), places // max(1, width), places % max(1, width)


def _ordered_linear(shape: Shape, dtype: torch.dtype) -> tuple[Any, ...]:
    inputs = min(40, math.prod(shape[1:]))
    weight = _draw((inputs, 5), dtype, 1) / 4 / max(1, inputs) ** 0.5
    return _draw((shape[0], inputs), dtype), weight, _draw((5,), dtype), 0.5


def _strings(shape: Shape) -> tuple[CdfTables, Tensor, Tensor]:
    """Tables, and symbols (items, count) with the rows that code them."""
    tables = CdfTables([[0, 16384, 49152, 65535, 65536], [0, 9, 65526, 65535, 65536]], sizes=[5, 5], offsets=[-1, -1])
    size = shape[0], math.prod(shape[1:])
    symbols = (3 * _draw(size, torch.float32)).round().int()
    return tables, symbols, (_draw(size, torch.float32, 1) > 0).int()


def _flat(tables: CdfTables) -> tuple[Tensor, Tensor, Tensor]:
    form = DeviceTables.of(tables, torch.device("cpu"))
    return form.rows, form.cdf, form.table


def _rans_encode(shape: Shape, dtype: torch.dtype) -> tuple[Any, ...]:
    tables, symbols, indexes = _strings(shape)
    return symbols, indexes, *_flat(tables)[:2], 4097


def _rans_decode(shape: Shape, dtype: torch.dtype) -> tuple[Any, ...]:
    from tinify.coders.rans import for_gpus

    tables, symbols, indexes = _strings(shape)
    strings = tables.encode_batch(symbols, indexes, coder=for_gpus())
    data = torch.from_numpy(np.frombuffer(b"".join(strings), np.uint8).copy())
    return data, torch.tensor([len(string) for string in strings]).cumsum(0), indexes, *_flat(tables)


def _rans_pop(shape: Shape, dtype: torch.dtype) -> tuple[Any, ...]:
    from tinify.coders.rans_engine import Engine, Reading
    from tinify.coders.rans_strings import read_chunks

    tables, symbols, indexes = _strings((1, 5000))
    data = tables.encode(symbols[0], indexes[0])
    words, cursor, states = Reading(Engine("numpy"), tables, data, *read_chunks(data, 0, len(data), 5000)).parts
    held = (torch.tensor(one) for one in (words.view(np.int16), np.append(cursor, 0), states))
    text = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
    return indexes[0, : min(20, math.prod(shape))], text, *held, *_flat(tables)


SAMPLES: dict[str, Sample] = {
    "tinify::scale_indexes": _scale_indexes,
    "tinify::quantize_indexes": _quantize_indexes,
    "tinify::gaussian_likelihood": _gaussian,
    "tinify::gaussian_likelihood_backward": lambda shape, dtype: (_draw(shape, dtype, 4), *_gaussian(shape, dtype)),
    "tinify::add_noise": lambda shape, dtype: (_draw(shape, dtype),),
    "tinify::gdn": _gdn,
    "tinify::gdn_backward": lambda shape, dtype: (_draw(shape, dtype, 4), *_gdn(shape, dtype), False, False),
    "tinify::masked_conv2d": _masked,
    "tinify::masked_conv2d_backward": _masked_backward,
    "tinify::conv_at": _conv_at,
    "tinify::ordered_linear": _ordered_linear,
    "tinify::rans_encode": _rans_encode,
    "tinify::rans_decode": _rans_decode,
    "tinify::rans_pop": _rans_pop,
}
