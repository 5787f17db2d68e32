"""The page of a report: template, style, program, data and pictures put together into one HTML text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from tinify import __version__
from tinify.errors import InputError
from tinify.evaluation.report.merge import Merged
from tinify.evaluation.report.panels import Panel
from tinify.evaluation.report.tables import codecs_table, deltas_table, points_table, setting

_PROGRAM = ("charts.js", "comparer.js", "page.js")


def page(merged: Merged, panels: Sequence[Panel] = (), absent: str = "No pictures were given.") -> str:
    """The HTML text; ``absent`` says in the comparer's place why there are no panels.

    Nothing in it is loaded from elsewhere, and the browser is told so (Content-Security-Policy): only the page's own
    style and program run, whatever a name in the results may hold.
    """
    style, program = _part("page.css"), _program()
    count = len(merged.codecs)
    title = f"{count} {'codec' if count == 1 else 'codecs'} on {_pictures(merged)}"
    return Template(_part("page.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(program)}",
        title=escape(title),
        lead=escape(", ".join(codec.label for codec in merged.codecs)),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in merged.notes),
        style=style,
        comparer=_comparer(panels, absent),
        codecs=codecs_table(merged),
        deltas=deltas_table(merged),
        points=points_table(merged),
        setting=setting(merged),
        version=escape(__version__),
        data=_inert(_data(merged, panels)),
        script=program,
    )


def embedded(text: str) -> dict[str, Any]:
    """The data that a page holds: ``codecs``, ``bd``, ``references`` and ``panels``.

    Raises :class:`~tinify.errors.InputError` where the text is no report.
    """
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    if not found:
        raise InputError("the text holds no report: give one that tinify report wrote")
    data: dict[str, Any] = json.loads(found[1])
    return data


def _data(merged: Merged, panels: Sequence[Panel]) -> dict[str, Any]:
    return {
        "codecs": [asdict(codec) for codec in merged.codecs],
        "bd": [asdict(one) for one in merged.bd],
        "references": [asdict(curve) for curve in merged.references],
        "panels": [
            {
                "picture": panel.picture,
                "width": panel.width,
                "height": panel.height,
                "sides": [
                    {"codec": s.codec, "size": s.size, "bpp": s.bpp, "psnr": s.psnr, "data": _uri(s.png)}
                    for s in panel.sides
                ],
            }
            for panel in panels
        ],
    }


def _inert(data: dict[str, Any]) -> str:
    """JSON without a character that could end its element or begin another."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _comparer(panels: Sequence[Panel], absent: str) -> str:
    if not panels:
        return f"<p>{escape(absent)}</p>"
    return Template(_part("comparer.html")).substitute(hint=escape(_HINT))


_HINT = (
    "Drag the divider, or use the slider with the arrow keys. What is shown is the middle of the picture, stored "
    "without loss (PNG); bytes, bits per pixel and PSNR are those of the whole picture."
)


def _pictures(merged: Merged) -> str:
    sets = {one.pictures.digest: one.pictures for one in merged.results.values()}
    if len(sets) != 1:
        return f"{len(sets)} sets of pictures"
    count = next(iter(sets.values())).count
    return f"{count} {'picture' if count == 1 else 'pictures'}"


def _program() -> str:
    """The scripts in a scope of their own."""
    return '"use strict";\n(() => {\n' + "\n".join(map(_part, _PROGRAM)) + "})();\n"


def _part(name: str) -> str:
    return (files("tinify.evaluation.report") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """A source of a Content-Security-Policy: this text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
