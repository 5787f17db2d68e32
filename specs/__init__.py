"""The specs that tinify ships: one YAML for each published architecture, its citation inside."""

from __future__ import annotations

from pathlib import Path

from tinify.plugin import hookimpl


@hookimpl
def tinify_spec_paths() -> list[Path]:
    return [Path(__file__).parent]
