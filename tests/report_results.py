"""Small results of an evaluation, for the tests of what shows them."""

from __future__ import annotations

from collections.abc import Sequence

from tinify.evaluation.results import BdResult, CodecResult, Machine, PictureScore, PictureSet, Point, Results

NAMES = ("a.png", "b.png", "c.png")


def codec(name: str, label: str, gain: float, names: Sequence[str] = NAMES, **costs: float) -> CodecResult:
    """Four points of a plausible curve, ``gain`` decibels above the lowest one."""
    return CodecResult(name, label, tuple(_point(q, gain, names) for q in (1, 2, 3, 4)), **costs)  # type: ignore[arg-type]


def _point(quality: float, gain: float, names: Sequence[str]) -> Point:
    bpp, psnr, similar, seconds = 0.15 * 2**quality, 26 + 3 * quality + gain, 1 - 0.1 / 2**quality, 0.01 * quality
    scores = [
        PictureScore(name, round(6144 * bpp), bpp, psnr + k, psnr + 1 + k, similar, seconds, seconds)
        for k, name in enumerate(names)
    ]
    return Point(quality, bpp, psnr + 1, psnr + 2, similar, seconds, seconds, pictures=tuple(scores))


def results(
    names: Sequence[str] = NAMES, folder: str = "no such folder", label: str = "Ours", digest: str = "ab12"
) -> Results:
    """Two codecs, one of them a model, with a delta that has a warning."""
    codecs = (
        codec("jpeg", "JPEG 4:2:0", 0, names),
        codec("ours", label, 3, names, kmac_per_pixel=41.5, parameters=6_000_000, peak_mib=512.0),
    )
    delta = BdResult("ours", "jpeg", "psnr", -31.5, 2.5, 0.4, "the curves share 40 % of their range")
    machine = Machine("A processor", 2, 2, "3.11", None, "2026-01-02")
    pictures = PictureSet(folder, len(names), digest, tuple(names), tuple((96, 64) for _ in names))
    return Results(machine, pictures, codecs, (delta,))
