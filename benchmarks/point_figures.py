"""Figures of ``points.py``: curves of rate and distortion, and clouds before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

if TYPE_CHECKING:
    from points import Cloud, Coded, Result

# Okabe and Ito's colours, which colour-blind readers tell apart as well; Draco's is grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_RIVAL = "#8a8a8a"


def draw_curves(results: Sequence[Result], path: Path, title: str) -> None:
    """D1 PSNR, D2 PSNR and Chamfer distance over bits per point; of whole files, and dashed of the strings alone."""
    figure: Any = Figure(figsize=(13.5, 4.6), layout="constrained")
    panels = (("d1_psnr", "D1 PSNR, dB"), ("d2_psnr", "D2 PSNR, dB"), ("chamfer", "Chamfer distance (mean squares)"))
    names = list(dict.fromkeys(result.codec for result in results))
    colours = dict(zip((name for name in names if name != "Draco"), _COLOURS * len(names), strict=False))
    for axes, (metric, label) in zip(figure.subplots(1, 3), panels, strict=True):
        for name in names:
            curve = sorted((one for one in results if one.codec == name), key=lambda one: one.bits_per_point)
            heights = [getattr(one, metric) for one in curve]
            line = {"color": colours.get(name, _RIVAL), "marker": "o", "markersize": 4}
            axes.plot([one.bits_per_point for one in curve], heights, linewidth=1.8, label=name, **line)
            alone = [one.strings_bits_per_point for one in curve]
            if None not in alone:
                line |= {"linestyle": "--", "linewidth": 1.0, "markerfacecolor": "white"}
                axes.plot(alone, heights, label=f"{name}, strings alone", **line)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        if metric == "chamfer":
            axes.set_yscale("log")
        axes.set_xlabel("bits per point")
        axes.set_ylabel(label)
        axes.grid(color="#e3e3e3", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(fontsize=8.5, framealpha=0.9, edgecolor="#dddddd")
    figure.suptitle(title, fontsize=10, color="#333333")
    figure.savefig(path, dpi=160)


def draw_clouds(rows: Sequence[tuple[Cloud, Sequence[tuple[Result, Coded]]]], models: int, path: Path) -> None:
    """A row for each cloud: itself, after each of the models, and after Draco at the rate that is nearest theirs."""
    columns = models + 2
    figure: Any = Figure(figsize=(3.2 * columns, 2.6 * len(rows)), layout="constrained")
    for place, (cloud, coded) in enumerate(rows):
        shown = [*coded[:models], _nearest(coded[models:], [one for _, one in coded[:models]])]
        _scatter(figure.add_subplot(len(rows), columns, place * columns + 1, projection="3d"), cloud, cloud)
        figure.axes[-1].set_title(f"{len(cloud)} points", fontsize=9)
        for column, (result, one) in enumerate(shown, 2):
            axes = figure.add_subplot(len(rows), columns, place * columns + column, projection="3d")
            _scatter(axes, one.points, cloud)
            rate = 8 * one.file / len(cloud)
            axes.set_title(f"{result.codec}, {result.setting}\n{rate:.2f} bits per point", fontsize=9)
    figure.savefig(path, dpi=130)


def _nearest(rivals: Sequence[tuple[Result, Coded]], ours: Sequence[Coded]) -> tuple[Result, Coded]:
    wanted = max((one.file for one in ours), default=0)
    return min(rivals, key=lambda pair: abs(pair[1].file - wanted))


def _scatter(axes: Any, points: Cloud, original: Cloud) -> None:
    """ModelNet's shapes stand along y; colour is height, on the original's scale."""
    across = [2, 0, 1]
    low, high = original.min(0), original.max(0)
    middle, reach = (low + high) / 2, np.maximum(high - low, 0.3) / 2
    colours = {"c": points[:, 1], "cmap": "viridis", "vmin": low[1], "vmax": high[1]}
    axes.scatter(*points[:, across].T, s=3, depthshade=False, clip_on=False, **colours)
    for setting, axis in zip((axes.set_xlim, axes.set_ylim, axes.set_zlim), across, strict=True):
        setting(middle[axis] - reach[axis], middle[axis] + reach[axis])
    axes.set_box_aspect(reach[across], zoom=1.5)
    axes.view_init(elev=35, azim=-60)
    axes.set_axis_off()
