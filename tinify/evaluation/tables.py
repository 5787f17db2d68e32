"""Results as tables: Markdown for people, CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields

from tinify.evaluation.results import BdResult, CodecResult, PictureScore, Point, Results

_LEFT = 1
_METRICS = {"psnr": "PSNR", "psnr_yuv": "PSNR YUV", "ms_ssim": "MS-SSIM"}
Row = dict[str, str]


def point_rows(results: Results) -> list[Row]:
    """A row for every codec and quality, ready to be shown; columns without any figure are left out."""
    rows = [_point_row(codec, point) for codec in results.codecs for point in codec.points]
    return [{key: value for key, value in row.items() if any(other[key] for other in rows)} for row in rows]


def picture_rows(codec: CodecResult) -> list[Row]:
    """A row for every picture at every quality of one codec."""
    return [
        {"picture": score.name, "quality": _number(point.quality, "g"), "bytes": str(score.bytes), **_figures(score)}
        for point in codec.points
        for score in point.pictures
    ]


def cost_rows(results: Results) -> list[Row]:
    """A row for every codec of which any cost is known."""
    rows = [
        {
            "codec": codec.name,
            "parameters": "" if codec.parameters is None else f"{codec.parameters:,}",
            "kMAC/pixel": _number(codec.kmac_per_pixel, ".1f"),
            "peak MiB": _number(codec.peak_mib, ".0f"),
        }
        for codec in results.codecs
    ]
    return [row for row in rows if any(value for key, value in row.items() if key != "codec")]


def bd_rows(results: Results) -> list[Row]:
    """A row for every codec, anchor and metric."""
    return [_bd_row(delta) for delta in results.bd]


def markdown(results: Results) -> str:
    """The whole result as a Markdown page."""
    m, p = results.machine, results.pictures
    torch = f", torch {m.torch}" if m.torch else ""
    parts = [
        "# Evaluation",
        f"{p.count} pictures of `{p.folder}` (digest {p.digest}), {m.date}; {m.cpu}, {m.cores} cores, {m.threads} "
        f"threads, Python {m.python}{torch}. Rates are of whole files, distances of 8-bit pixels, all are means over "
        "the pictures; seconds are medians of the codec alone.",
        _table(point_rows(results)),
    ]
    if costs := cost_rows(results):
        parts += [_table(costs)]
    if any(codec.peak_mib for codec in results.codecs):
        parts += ["Peak memory is that of a process of its own that opens the codec and codes the largest picture."]
    if results.bd:
        parts += ["## Bjøntegaard deltas", _table(bd_rows(results))]
    if results.notes or p.skipped:
        parts += ["## Notes", "\n".join(f"* {note}" for note in (*results.notes, *p.skipped))]
    return "\n\n".join(parts) + "\n"


def comma_separated(results: Results) -> str:
    """A line for every codec, quality and picture, and one for their mean, in which ``picture`` is empty."""
    stream = io.StringIO()
    columns = [field.name for field in fields(PictureScore) if field.name != "name"]
    writer = csv.DictWriter(stream, ["codec", "quality", "picture", *columns], lineterminator="\n")
    writer.writeheader()
    for codec in results.codecs:
        for point in codec.points:
            start = {"codec": codec.name, "quality": point.quality}
            mean = {name: getattr(point, name) for name in columns if name != "bytes"}
            writer.writerow(start | {"picture": ""} | mean)
            for score in point.pictures:
                writer.writerow(start | {"picture": score.name} | {name: getattr(score, name) for name in columns})
    return stream.getvalue()


def _point_row(codec: CodecResult, point: Point) -> Row:
    return {"codec": codec.name, "quality": _number(point.quality, "g"), **_figures(point)}


def _figures(one: Point | PictureScore) -> Row:
    return {
        "bpp": _number(one.bpp, ".4f"),
        "estimated": _number(one.estimated_bpp, ".4f"),
        "PSNR": _number(one.psnr, ".2f"),
        "YUV": _number(one.psnr_yuv, ".2f"),
        "Y": _number(one.psnr_y, ".2f"),
        "U": _number(one.psnr_u, ".2f"),
        "V": _number(one.psnr_v, ".2f"),
        "MS-SSIM": _number(one.ms_ssim, ".4f"),
        "LPIPS": _number(one.lpips, ".4f"),
        "encode s": _number(one.encode_s, ".3f"),
        "decode s": _number(one.decode_s, ".3f"),
    }


def _bd_row(delta: BdResult) -> Row:
    return {
        "codec": delta.codec,
        "anchor": delta.anchor,
        "of": _METRICS.get(delta.metric, delta.metric),
        "rate %": _number(delta.rate_percent, "+.1f"),
        "dB": _number(delta.quality_db, "+.2f"),
        "overlap": f"{delta.overlap:.0%}",
        "warning": delta.warning or "",
    }


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    rules = ["---"] * _LEFT + ["---:"] * (len(rows[0]) - _LEFT)
    lines = [list(rows[0]), rules, *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
