"""What the host costs: elaborating a spec of ELIC's size, and scanning a hundred installed distributions."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import click
from report import describe, finish, json_option, machine, table

from tinify.registry import get_registry
from tinify.spec import Spec

ELABORATE_MS, SCAN_MS = 20.0, 60.0
DISTRIBUTIONS = 100
# The widths that ELIC's parameter networks take, one for each group of channels (He et al. 2022).
WIDTHS = (416, 448, 512, 640, 1152)
SCAN = """
import sys, time
sys.path.insert(0, sys.argv[1])
begun = time.perf_counter()
from tinify.registry import get_registry
plugins = len(get_registry().plugins)
print(time.perf_counter() - begun, plugins)
"""
PLUGIN = """
from tinify.plugin import component, hookimpl

@component("layer", "{name}/x", target="math:pi")
class X:
    '''A layer.'''
    def shape(self, x): return x

@hookimpl
def tinify_components():
    return [X]
"""


def elaborate(rounds: int) -> float:
    """The median time, in ms, from the text of ELIC's spec to its checked architecture."""
    path = get_registry().spec_files()["elic2022-official"]
    text, times = path.read_text(encoding="utf-8"), []
    for _ in range(rounds + 3):
        begun = time.perf_counter()
        architecture = Spec.loads(text, path.name).elaborate()
        times.append(1000 * (time.perf_counter() - begun))
    groups = architecture.model["latent_codec"]["y"]["latent_codec"]["each"]
    found = tuple(group["entropy_parameters"]["in"] for group in groups)
    if found != WIDTHS:
        raise click.ClickException(f"ELIC's parameter networks take {found} channels, expected {WIDTHS}")
    return median(times[3:])


def write_distributions(folder: Path, plugins: int) -> None:
    """A hundred installed distributions with entry points, the first of them tinify plugins."""
    for index in range(DISTRIBUTIONS):
        name = f"bench{index}"
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: tinify-codec>=0.1\n"
        )
        ours = index < plugins
        group = f"[tinify.plugins]\n{name} = {name}_plugin\n" if ours else f"[console_scripts]\n{name} = {name}:main\n"
        (info / "entry_points.txt").write_text(group)
        if ours:
            (folder / f"{name}_plugin.py").write_text(PLUGIN.format(name=name))


def scan(folder: Path) -> tuple[float, int]:
    """Seconds that a fresh process takes to its registry, with a folder on its path, and the plugins there."""
    run = subprocess.run([sys.executable, "-c", SCAN, str(folder)], capture_output=True, text=True, check=True)
    seconds, plugins = run.stdout.split()
    return float(seconds), int(plugins)


def scans(rounds: int) -> dict[str, float]:
    """The median time, in ms, to a registry: as installed here, and with a hundred distributions more."""
    names = {"as installed": None, "100 more, no plugin": 0, "100 more, 10 plugins": 10, "100 more, all plugins": 100}
    with tempfile.TemporaryDirectory() as root:
        folders = {}
        for index, (name, plugins) in enumerate(names.items()):
            folders[name] = Path(root, str(index))
            folders[name].mkdir()
            if plugins is not None:
                write_distributions(folders[name], plugins)
        base = scan(folders["as installed"])[1]
        for name, plugins in names.items():
            found = scan(folders[name])[1]
            if found != base + (plugins or 0):
                raise click.ClickException(f"{name}: {found} plugins found, expected {base + (plugins or 0)}")
        times: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name, folder in folders.items():
                times[name].append(scan(folder)[0])
    return {name: 1000 * median(values) for name, values in times.items()}


@click.command()
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(1), help="Interleaved runs of each.")
@json_option
def main(rounds: int, json_file: Path | None) -> None:
    """Time the host."""
    facts = machine()
    elic_ms, scan_ms = elaborate(rounds), scans(rounds)
    bare = scan_ms["as installed"]
    click.echo(f"{describe(facts)}; median of {rounds} runs\n")
    rows = [["ELIC's spec, text to architecture", f"{elic_ms:.1f}", ""]]
    rows += [[f"registry, {name}", f"{ms:.1f}", f"{ms - bare:+.1f}"] for name, ms in scan_ms.items()]
    click.echo(table(["what", "ms", "more than as installed"], rows))
    failures = []
    if elic_ms > ELABORATE_MS:
        failures.append(f"elaborating ELIC takes {elic_ms:.1f} ms, more than {ELABORATE_MS:g}")
    more = scan_ms["100 more, no plugin"] - bare
    if more > SCAN_MS:
        failures.append(f"scanning {DISTRIBUTIONS} distributions takes {more:.1f} ms, more than {SCAN_MS:g}")
    finish({"machine": facts, "rounds": rounds, "elaborate_ms": elic_ms, "scan_ms": scan_ms}, failures, json_file)


if __name__ == "__main__":
    main()
