"""Figures of results: quality over rate, over time, or over multiplications, drawn by matplotlib."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from tinify.errors import InputError, MissingPackageError
from tinify.evaluation.deltas import decibels
from tinify.evaluation.published import KODAK, Reference, reference
from tinify.evaluation.results import CodecResult, Results
from tinify.files import write_atomic

METRICS = {
    "psnr": "PSNR of RGB, dB",
    "psnr-yuv": "PSNR of YUV 6:1:1 (BT.709), dB",
    "ms-ssim": "MS-SSIM, dB",
    "lpips": "LPIPS (less is better)",
    "rate": "bits at equal PSNR, % (less is better)",
}
AXES = {
    "bpp": "bits per pixel",
    "encode-time": "seconds to encode a picture",
    "decode-time": "seconds to decode a picture",
    "kmac": "thousand multiply-accumulates per pixel",
}
# Okabe and Ito's colours, which colour-blind readers tell apart as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GREY = "#8a8a8a"
_DASHES = ((4, 2), (1, 1.5), (6, 2, 1, 2), (8, 3), (3, 1, 1, 1, 1, 1))


@dataclass(frozen=True)
class _Line:
    label: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    published: bool = False


def draw(
    results: Sequence[Results],
    path: Path,
    *,
    metric: str = "psnr",
    axis: str = "bpp",
    curves: Sequence[str] | None = None,
    title: str | None = None,
) -> None:
    """Draws the codecs of one or more results to a .png, .svg or .pdf file.

    ``metric`` is one of ``METRICS``, ``axis`` one of ``AXES``; ``rate`` is the Bjøntegaard delta of PSNR against the
    anchor of the results, one point for each codec, and goes over time or multiplications. ``curves`` are published
    ones to show (those that the results name, without). Raises :class:`~tinify.errors.MissingPackageError` without
    matplotlib, :class:`~tinify.errors.InputError` where there is nothing to draw, and
    :class:`~tinify.errors.OutputError`.
    """
    if metric not in METRICS or axis not in AXES:
        known = f"{', '.join(METRICS)} over {', '.join(AXES)}"
        raise InputError(f"metric {metric!r} over {axis!r}: expected one of {known}")
    if (metric, axis) == ("rate", "bpp"):
        raise InputError("metric 'rate' is of whole curves, and goes over time or multiplications: choose another axis")
    named = list(dict.fromkeys(name for one in results for name in one.references)) if curves is None else list(curves)
    shown = [reference(name) for name in named]
    digests = {one.pictures.digest for one in results}
    if len(digests) > 1:
        raise InputError("these results are of different pictures: draw a figure of each")
    if curves and digests != {KODAK}:
        raise InputError("published curves are of the 24 Kodak pictures, and these results of others: leave them out")
    lines = list(_lines(results, shown if digests == {KODAK} else [], metric, axis))
    if not lines:
        raise InputError(f"nothing to draw: no codec in these results has {metric} over {axis}")
    stream = io.BytesIO()
    _figure(lines, metric, axis, title or _title(results[0])).savefig(
        stream, format=path.suffix.lower().removeprefix("."), dpi=160, bbox_inches="tight"
    )
    write_atomic(path, stream.getvalue())


def _figure(lines: Sequence[_Line], metric: str, axis: str, title: str) -> Any:
    figures = _matplotlib("matplotlib.figure")
    figure = figures.Figure(figsize=(8.0, 5.4), layout="constrained")
    axes = figure.add_subplot()
    own, published = [line for line in lines if not line.published], [line for line in lines if line.published]
    for place, line in enumerate(own):
        colour = _COLOURS[place % len(_COLOURS)]
        marker = "o" if place < len(_COLOURS) else "s"
        size = 4 if len(line.xs) > 1 else 7
        axes.plot(line.xs, line.ys, color=colour, marker=marker, markersize=size, linewidth=1.8, label=line.label)
    for place, line in enumerate(published):
        style = (0, _DASHES[place % len(_DASHES)])
        axes.plot(line.xs, line.ys, color=_GREY, linestyle=style, linewidth=1.2, label=f"{line.label}, published")
    if axis == "bpp":
        _frame(axes, own or published)
    else:
        axes.set_xscale("log")
        ticks = _matplotlib("matplotlib.ticker")
        axes.xaxis.set_major_locator(ticks.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ticks.FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(ticks.NullLocator())
    axes.set_xlabel(AXES[axis])
    axes.set_ylabel(METRICS[metric])
    axes.set_title(title, fontsize=10, loc="left", color="#333333")
    axes.grid(which="major", color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes, lines, axis)
    return figure


def _legend(axes: Any, lines: Sequence[_Line], axis: str) -> None:
    """Names in the order of the curves, the best on top; within the frame where curves leave room."""
    handles, labels = axes.get_legend_handles_labels()
    place = {"loc": "lower right"} if axis == "bpp" else {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
    axes.legend(handles, labels, fontsize=8.5, frameon=axis == "bpp", framealpha=0.9, edgecolor="#dddddd", **place)


def _frame(axes: Any, lines: Sequence[_Line]) -> None:
    """The rates that matter: up to the highest of the codecs measured, but not beyond two and a half bits."""
    right = min(2.5, max(x for line in lines for x in line.xs) * 1.05)
    ys = [y for line in lines for x, y in zip(line.xs, line.ys, strict=True) if x <= right]
    low, high = min(ys), max(ys)
    margin = 0.04 * (high - low) or 1.0
    axes.set_xlim(0, right)
    axes.set_ylim(low - margin, high + margin)


def _lines(results: Sequence[Results], curves: Sequence[Reference], metric: str, axis: str) -> Iterator[_Line]:
    for one in results:
        for codec in one.codecs:
            if metric == "rate":
                yield from _delta(one, codec, axis)
                continue
            pairs = [
                (x, y)
                for point in codec.points
                if (x := _x(codec, point, axis)) is not None and (y := _y(point, metric)) is not None
            ]
            if pairs:
                yield _Line(codec.label, tuple(x for x, _ in pairs), tuple(y for _, y in pairs))
    for curve in curves:
        values = {"psnr": curve.psnr, "ms-ssim": tuple(map(decibels, curve.ms_ssim))}.get(metric, ())
        if values and axis == "bpp":
            yield _Line(curve.label, curve.bpp, values, published=True)


def _delta(results: Results, codec: CodecResult, axis: str) -> Iterator[_Line]:
    """The codec's mean time, or multiplications, and its delta against the first anchor."""
    deltas = [delta for delta in results.bd if delta.metric == "psnr"]
    anchor = deltas[0].anchor if deltas else None
    found = {delta.codec: delta.rate_percent for delta in deltas if delta.anchor == anchor} | {anchor: 0.0}
    xs = [x for point in codec.points if (x := _x(codec, point, axis)) is not None]
    y = found.get(codec.name)
    if xs and y is not None:
        yield _Line(codec.label + (", the anchor" if codec.name == anchor else ""), (fmean(xs),), (y,))


def _x(codec: CodecResult, point: Any, axis: str) -> float | None:
    if axis == "kmac":
        return codec.kmac_per_pixel
    found: float = getattr(point, {"bpp": "bpp", "encode-time": "encode_s", "decode-time": "decode_s"}[axis])
    return found


def _y(point: Any, metric: str) -> float | None:
    value: float | None = getattr(point, metric.replace("-", "_"))
    return decibels(value) if metric == "ms-ssim" and value is not None else value


def _title(results: Results) -> str:
    count, folder = results.pictures.count, Path(results.pictures.folder).name
    return "Kodak, means of 24 pictures" if results.pictures.digest == KODAK else f"{folder}, means of {count} pictures"


def _matplotlib(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(f"figures need matplotlib ({error}): pip install 'tinify-codec[eval]'") from error
