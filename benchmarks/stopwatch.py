"""Seconds, bytes, pixels and memory of one architecture: tinify in float32 and with bfloat16, and CompressAI."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from pair import PAIRS, load_ours, load_peer, photo
from torch import Tensor, nn

OURS, HALF, PEER = "tinify", "tinify, bfloat16", "CompressAI"
TRANSFORMS = {"compress": ("g_a", "h_a", "h_s"), "decompress": ("h_s", "g_s")}
# CompressAI takes many seconds where it codes position by position: this many rounds of it are enough.
SERIAL_ROUNDS = 2

Seconds = dict[str, float]
"""Seconds of each transform by name, of the ``rest``, and the ``total``."""


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Subject:
    """A model that times its transforms wherever they are called."""

    def __init__(self, model: Any, x: Tensor, rounds: int) -> None:
        self.model, self.x, self.rounds = model, x, rounds
        self.spent: Seconds = {}
        self.watched: set[str] = set()
        self.runs: dict[str, list[Seconds]] = {way: [] for way in TRANSFORMS}
        for path, part in model.named_modules():
            name = path.rpartition(".")[2]
            if any(name in names for names in TRANSFORMS.values()):
                self.watched.add(name)
                self._watch(name, part)

    def run(self) -> None:
        """Compresses and decompresses once, and keeps the seconds."""
        self.packed = self._timed("compress", lambda: self.model.compress(self.x))
        self._timed("decompress", lambda: self.decode(self.packed))

    def decode(self, packed: Any) -> Tensor:
        """The picture in what a model of these weights has compressed."""
        x_hat: Tensor = self.model.decompress(packed["strings"], packed["shape"])["x_hat"]
        return x_hat

    def medians(self) -> dict[str, Seconds]:
        """Medians of the rounds but the first, which compiles and allocates."""
        return {
            way: {name: median(run[name] for run in runs[1:]) for name in runs[0]} for way, runs in self.runs.items()
        }

    @property
    def size(self) -> int:
        return sum(len(string) for strings in self.packed["strings"] for string in strings)

    def _timed(self, way: str, function: Callable[[], Any]) -> Any:
        self.spent = {name: 0.0 for name in TRANSFORMS[way] if name in self.watched}
        begun = time.perf_counter()
        result = function()
        total = time.perf_counter() - begun
        self.runs[way].append({**self.spent, "rest": total - sum(self.spent.values()), "total": total})
        return result

    def _watch(self, name: str, part: nn.Module) -> None:
        begun = 0.0

        def before(*_: Any) -> None:
            nonlocal begun
            begun = time.perf_counter()

        def after(*_: Any) -> None:
            self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - begun

        part.register_forward_pre_hook(before)
        part.register_forward_hook(after)


def load(way: str, checkpoint: Path, image: Path, name: str, rounds: int = 1) -> Subject:
    """One way to code the picture; tinify's as its codec runs them. ``name`` is for CompressAI only."""
    x = photo(image)
    if way == PEER:
        return Subject(load_peer(checkpoint, name), x, min(rounds, SERIAL_ROUNDS) if PAIRS[name].serial else rounds)
    model = load_ours(checkpoint)
    if way == HALF:
        model.transform_dtype = torch.bfloat16
    return Subject(model, x.contiguous(memory_format=torch.channels_last), rounds)


@torch.no_grad()
def time_all(checkpoint: Path, image: Path, name: str, rounds: int, threads: int) -> dict[str, Any]:
    """Median seconds and coded bytes of every way, the rounds interleaved; PSNR of bfloat16 against float32 in dB."""
    torch.set_num_threads(threads)
    names = (OURS, HALF, PEER) if has_bfloat16() else (OURS, PEER)
    ways = {way: load(way, checkpoint, image, name, rounds) for way in names}
    for number in range(rounds + 1):
        for subject in ways.values():
            if number <= subject.rounds:
                subject.run()
    found: dict[str, Any] = {
        "seconds": {way: subject.medians() for way, subject in ways.items()},
        "bytes": {way: subject.size for way, subject in ways.items()},
    }
    if HALF in ways:
        packed = ways[OURS].packed  # the very same latent, so that all that differs is the synthesis
        found["bfloat16_psnr"] = psnr(ways[HALF].decode(packed), ways[OURS].decode(packed))
    return found


@torch.no_grad()
def trained_loss(checkpoint: Path, image: Path, threads: int) -> dict[str, float]:
    """What bfloat16 costs a trained model on the way to the bytes and back: PSNR in dB, and relative bytes."""
    torch.set_num_threads(threads)
    full, half = (load(way, checkpoint, image, "") for way in (OURS, HALF))
    full.run()
    half.run()
    decibels = [psnr(subject.decode(subject.packed), subject.x) for subject in (full, half)]
    return {"float32_psnr": decibels[0], "lost": decibels[0] - decibels[1], "bytes": half.size / full.size - 1}


@torch.no_grad()
def peak(way: str, checkpoint: Path, image: Path, name: str, threads: int) -> float:
    """Peak resident memory of this process in MiB, after it loaded one library and coded the picture."""
    torch.set_num_threads(threads)
    subject = load(way, checkpoint, image, name)
    for _ in range(1 if PAIRS[name].serial else 3):
        subject.run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB


def psnr(a: Tensor, b: Tensor) -> float:
    """Of two pictures in [0, 1], in dB."""
    return -10 * math.log10(float((a - b).double().square().mean()) or 1e-20)
