"""The tables of a report as HTML; every text that comes from outside is escaped here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from tinify.evaluation.report.merge import Merged
from tinify.evaluation.results import CodecResult, Point, Results

_METRICS = {"psnr": "PSNR", "psnr_yuv": "PSNR YUV", "ms_ssim": "MS-SSIM"}


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the number by which it is sorted; without a number it is text."""

    text: str
    value: float | None = None


def number(value: float | None, form: str, unit: str = "", scale: float = 1) -> Cell:
    """A number as a cell; empty for None.

    >>> number(0.0321, ".1f", " ms", 1000).text
    '32.1 ms'
    """
    return Cell("") if value is None else Cell(f"{value * scale:{form}}{unit}".replace("-", "−"), value)


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Cell]], tall: bool = False) -> str:
    """A table that sorts by a click on a heading; a column is (title, kind), with kind text, number or wrap."""
    head = "".join(
        f'<th scope="col" data-kind="{kind}"{"" if kind == "number" else _TEXT}><button type="button">{escape(title)}'
        "</button></th>"
        for title, kind in columns
    )
    body = "".join(f"<tr>{_row(columns, row)}</tr>" for row in rows)
    scroll = "scroll tall" if tall else "scroll"
    return (
        f'<div class="{scroll}" tabindex="0" role="group" aria-label="Table, scrolls"><table class="sortable">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


_TEXT = ' class="text"'


def _row(columns: Sequence[tuple[str, str]], row: Sequence[Cell]) -> str:
    first, *rest = row
    cells = [f'<th scope="row">{escape(first.text)}</th>']
    for (_, kind), cell in zip(columns[1:], rest, strict=True):
        value = "" if cell.value is None else f"{cell.value:.10g}"
        if kind == "number":
            cells.append(f'<td data-v="{value}">{escape(cell.text) or "–"}</td>')
        else:
            cells.append(f'<td class="text {kind}">{escape(cell.text)}</td>')
    return "".join(cells)


def codecs_table(merged: Merged) -> str:
    """One row for each codec: deltas of the first metric, times, memory, costs, rates and distortions."""
    pairs = list(dict.fromkeys((one.metric, one.anchor) for one in merged.bd if one.metric == merged.bd[0].metric))
    labels = _labels(merged)
    columns = [("codec", "text")]
    columns += [
        (f"BD-rate {_METRICS.get(metric, metric)} to {labels.get(anchor, anchor)}", "number")
        for metric, anchor in pairs
    ]
    columns += [(title, "number") for title in ("encode ms", "decode ms", "peak MiB", "kMAC per pixel", "parameters")]
    columns += [("bpp", "number"), ("PSNR dB", "number")]
    rows = []
    for codec in merged.codecs:
        points = codec.points
        deltas = {(one.metric, one.anchor): one for one in merged.bd if one.codec == codec.name}
        row = [Cell(codec.label)]
        for pair in pairs:
            found = deltas.get(pair)
            mark = " *" if found and found.warning else ""
            row.append(number(found.rate_percent if found else None, "+.1f", f" %{mark}"))
        row.append(number(_median([p.encode_s for p in points]), ".1f", scale=1000))
        row.append(number(_median([p.decode_s for p in points]), ".1f", scale=1000))
        row += [number(codec.peak_mib, ",.0f"), number(codec.kmac_per_pixel, ",.1f"), number(codec.parameters, ",d")]
        row += [_range([p.bpp for p in points], ".2f"), _range([p.psnr for p in points], ".1f")]
        rows.append(row)
    warned = any(one.warning for one in merged.bd)
    star = " * with a warning, which stands in the next table." if warned else ""
    return table(columns, rows) + f'<p class="hint">Times are medians over the settings.{star}</p>'


def deltas_table(merged: Merged) -> str:
    """One row for each Bjøntegaard delta, with the shared part of the ranges and the warning."""
    if not merged.bd:
        return "<p>The results have no BD-rates.</p>"
    labels = _labels(merged)
    columns = [("codec", "text"), ("anchor", "text"), ("metric", "text"), ("BD-rate", "number")]
    columns += [("BD-quality dB", "number"), ("overlap", "number"), ("warning", "wrap")]
    rows = [
        [
            Cell(labels.get(one.codec, one.codec)),
            Cell(labels.get(one.anchor, one.anchor)),
            Cell(_METRICS.get(one.metric, one.metric)),
            number(one.rate_percent, "+.2f", " %"),
            number(one.quality_db, "+.2f"),
            number(one.overlap, ".0f", " %", 100),
            Cell(one.warning or ""),
        ]
        for one in merged.bd
    ]
    return table(columns, rows)


def points_table(merged: Merged) -> str:
    """One row for each codec at each setting, folded away."""
    columns = [("codec", "text")]
    columns += [(title, "number") for title in ("quality", "bpp", "estimated bpp", "PSNR dB", "PSNR YUV dB", "MS-SSIM")]
    columns += [(title, "number") for title in ("LPIPS", "encode ms", "decode ms")]
    rows = [_point_row(codec, point) for codec in merged.codecs for point in codec.points]
    found = table(columns, rows, tall=True)
    return f"<details><summary>All {len(rows)} measured settings</summary>{found}</details>"


def _point_row(codec: CodecResult, point: Point) -> list[Cell]:
    return [
        Cell(codec.label),
        number(point.quality, "g"),
        number(point.bpp, ".4f"),
        number(point.estimated_bpp, ".4f"),
        number(point.psnr, ".2f"),
        number(point.psnr_yuv, ".2f"),
        number(point.ms_ssim, ".4f"),
        number(point.lpips, ".4f"),
        number(point.encode_s, ".1f", scale=1000),
        number(point.decode_s, ".1f", scale=1000),
    ]


def setting(merged: Merged) -> str:
    """Where was measured, and on which pictures, for each file of results; then where the published curves are from."""
    parts = []
    for file, one in merged.results.items():
        title = f"<h3>{escape(file)}</h3>" if len(merged.results) > 1 else ""
        rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in _facts(one))
        parts.append(f"{title}<dl>{rows}</dl>")
    cited = "".join(f"<dt>{escape(curve.label)}</dt><dd>{escape(curve.note)}</dd>" for curve in merged.references)
    return "".join(parts) + (f"<h3>Published curves</h3><dl>{cited}</dl>" if cited else "")


def _facts(results: Results) -> list[tuple[str, str]]:
    machine, pictures = results.machine, results.pictures
    sizes = sorted({f"{width}×{height}" for width, height in pictures.sizes})
    facts = [
        ("processor", f"{machine.cpu}, {machine.cores} cores, {machine.threads} threads used"),
        ("software", f"Python {machine.python}" + (f", PyTorch {machine.torch}" if machine.torch else "")),
        ("date", machine.date),
        ("pictures", f"{pictures.count} of {pictures.folder}: {', '.join(sizes[:6])}{', …' if len(sizes) > 6 else ''}"),
        ("digest", pictures.digest),
    ]
    return [*facts, *(("skipped", reason) for reason in pictures.skipped), *(("note", note) for note in results.notes)]


def _labels(merged: Merged) -> dict[str, str]:
    """What a name is shown as; an anchor may be a published curve."""
    measured = {codec.name: codec.label for codec in merged.codecs}
    return {curve.name: curve.label for curve in merged.references} | measured


def _range(values: list[float], form: str) -> Cell:
    if not values:
        return Cell("")
    low, high = min(values), max(values)
    return Cell(f"{low:{form}}" if low == high else f"{low:{form}} – {high:{form}}", low)


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None
