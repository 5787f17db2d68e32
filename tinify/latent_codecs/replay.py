"""Launches of a scan recorded once for a shape, as a CUDA graph: to decode another latent of it is a launch."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tinify.latent_codecs.context_device import DeviceScan
from tinify.latent_codecs.serial import Serial, SerialDecoder

Run = Callable[[Any, Any, Any], None]
_MOST = 4
"""Shapes that are kept for a codec, each with the memory that its launches write to."""


@dataclass
class _Recording:
    """What the launches read and write, and what runs them."""

    scan: DeviceScan
    serial: SerialDecoder
    steps: Any
    replay: Callable[[], None]


_lock = threading.Lock()
_kept: WeakKeyDictionary[nn.Module, dict[Any, _Recording | None]] = WeakKeyDictionary()


def scanned(codec: nn.Module, run: Run, steps: Any, scan: Any, serial: Serial) -> Tensor:
    """The latent after ``run(steps, scan, serial)``, or after others that were recorded, in their place.

    A shape is run as it is when it is first met, which compiles all kernels; recorded, and replayed, the second time;
    and replayed from then on.
    """
    form = serial.form if isinstance(scan, DeviceScan) and isinstance(serial, SerialDecoder) else None
    if form is None or not _records(scan.device):
        run(steps, scan, serial)
        return _finished(scan, serial)
    assert isinstance(serial, SerialDecoder)
    with _lock:  # what was recorded reads and writes the same memory every time
        kept, key = _kept.setdefault(codec, {}), (scan.form, form)
        met, known = key in kept, kept.pop(key, None)
        if not met:
            run(steps, scan, serial)
        elif known and known.serial.take(serial):
            known.scan.take(scan)
            known.replay()
        else:
            known = _recorded(run, steps, scan, serial)
        kept[key] = known
        while len(kept) > _MOST:
            del kept[next(iter(kept))]
        return _finished(known.scan, known.serial) if known else _finished(scan, serial)


def _finished(scan: Any, serial: Serial) -> Tensor:
    serial.finish()
    y_hat: Tensor = scan.result()
    return y_hat


def _recorded(run: Run, steps: Any, scan: DeviceScan, serial: SerialDecoder) -> _Recording | None:
    """The launches of a scan, recorded and replayed; None where they had to be run one by one."""
    serial.make_room()
    try:
        replay = _record(lambda: run(steps, scan, serial))
    except RuntimeError as error:  # nothing has been launched
        warnings.warn(f"decoding goes on launch by launch: they cannot be recorded, {error}", stacklevel=2)
        serial.rewind()
        run(steps, scan, serial)
        return None
    replay()
    return _Recording(scan, serial, steps, replay)


def _records(device: torch.device) -> bool:
    return device.type == "cuda"


def _record(run: Callable[[], None]) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="relaxed"):  # a kernel may still have to be loaded
        run()
    return graph.replay
