"""Every image architecture of CompressAI against tinify's, with the same weights, in the same run."""

from __future__ import annotations

import importlib.util
import math
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
from pair import PAIRS, save_weights
from report import describe, finish, in_new_process, json_option, machine, table
from stopwatch import HALF, OURS, PEER, TRANSFORMS, has_bfloat16, peak, time_all, trained_loss

# How many times faster than CompressAI: float32 and bfloat16 both ways, or what is coded position by position.
FLOAT, BFLOAT, REST = 1.3, 3.0, 20.0
SERIAL = {"compress": 2.5, "decompress": 6.0}
SERIAL_WHOLE = ("mbt2018", "cheng2020-anchor")
# What bfloat16 may cost, in dB; untrained weights are taken to code the picture as well as this, in dB.
LOSS, CODED = 0.05, 35.0
TRAINED = "tinify-photo"


@click.command()
@click.option("--arch", "names", multiple=True, type=click.Choice(list(PAIRS)), help="Repeatable; all if not given.")
@click.option(
    "--image",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A photograph; it is resized to 768x512.",
)
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1), help="Interleaved runs of each.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="CPU threads of each.")
@json_option
def main(names: tuple[str, ...], image: Path | None, rounds: int, threads: int, json_file: Path | None) -> None:
    """Time compress and decompress of a 768x512 picture by every architecture, and say where the time goes."""
    if importlib.util.find_spec("compressai") is None:
        raise click.ClickException("CompressAI is not installed here: benchmarks/README.md says how to install it")
    image = image or Path(str(files("skimage") / "data" / "coffee.png"))
    facts = machine(threads)
    found: dict[str, dict[str, Any]] = {}
    for name in names or PAIRS:
        click.echo(f"{name} ...", err=True)
        found[name] = _measure(name, image, rounds, threads)
    trained = None
    if has_bfloat16():
        weights = Path(str(files("tinify_specs") / f"{TRAINED}.safetensors"))
        trained = in_new_process(trained_loss, weights, image, threads)
    click.echo(f"768x512, medians of {rounds} rounds; {describe(facts)}\n")
    for way in TRANSFORMS:
        click.echo(f"{_speeds(way, found)}\n\n{_parts(way, found)}\n")
    click.echo(f"{_sizes(found)}\n")
    failures = [f"{name}: {failure}" for name, one in found.items() for failure in _failures(name, one)]
    if trained is None:
        click.echo("This processor has no bfloat16: nothing is said of them.")
    else:
        lost, more = trained["lost"], trained["bytes"]
        click.echo(f"bfloat16 costs {TRAINED} {lost:.4f} dB of {trained['float32_psnr']:.2f}, and {more:.2%} of bytes")
        failures += [f"{TRAINED}: bfloat16 costs {lost:.3f} dB, more than {LOSS}"] if lost > LOSS else []
    finish({"machine": facts, "architectures": found, "trained": trained}, failures, json_file)


def _measure(name: str, image: Path, rounds: int, threads: int) -> dict[str, Any]:
    """All that is found of one architecture."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "model.safetensors"
        try:
            in_new_process(save_weights, checkpoint, image, name)
        except OSError as error:
            raise click.ClickException(f"{image} cannot be read as a picture: {error}") from error
        found = in_new_process(time_all, checkpoint, image, name, rounds, threads)
        ways = found["seconds"]
        found["memory"] = {way: in_new_process(peak, way, checkpoint, image, name, threads) for way in ways}
    if "bfloat16_psnr" in found:
        found["bfloat16_loss"] = 10 * math.log10(1 + 10 ** ((CODED - found["bfloat16_psnr"]) / 10))
    found["ratios"] = {
        way: {part: {key: _ratio(found, way, part, key) for key in ways if key != PEER} for part in ("total", "rest")}
        for way in TRANSFORMS
    }
    return found


def _ratio(found: dict[str, Any], way: str, part: str, key: str) -> float:
    seconds = found["seconds"]
    return float(seconds[PEER][way][part] / seconds[key][way][part])


def _failures(name: str, one: dict[str, Any]) -> list[str]:
    """The targets that are missed."""
    wanted: list[tuple[str, float, float]] = []
    for way, ratios in one["ratios"].items():
        total, rest = ratios["total"], ratios["rest"]
        if not PAIRS[name].serial:
            wanted += [(way, total[OURS], FLOAT)]
            wanted += [(f"{way} with bfloat16", total[HALF], BFLOAT)] if HALF in total else []
        else:
            wanted += [(f"the rest of {way}", rest[OURS], REST)]
            wanted += [(way, total[OURS], SERIAL[way])] if name in SERIAL_WHOLE else []
    missed = [f"{what}: {PEER} takes {has:.2f} of what tinify takes, not {of}" for what, has, of in wanted if has < of]
    memory, size, loss = one["memory"], one["bytes"], one.get("bfloat16_loss", 0.0)
    missed += [f"{memory[OURS]:.0f} MiB, {PEER} {memory[PEER]:.0f}"] if memory[OURS] > memory[PEER] else []
    missed += [f"{size[OURS]} bytes, {PEER} {size[PEER]}"] if size[OURS] > 1.001 * size[PEER] + 64 else []
    missed += [f"bfloat16 costs {loss:.3f} dB at {CODED:.0f}, more than {LOSS}"] if loss > LOSS else []
    return missed


def _speeds(way: str, found: dict[str, dict[str, Any]]) -> str:
    keys = [key for key in (OURS, HALF, PEER) if any(key in one["seconds"] for one in found.values())]
    rows = []
    for name, one in found.items():
        seconds = [f"{one['seconds'][key][way]['total']:.3f}" for key in keys]
        rows.append([name, *seconds, *(f"{one['ratios'][way]['total'][key]:.2f}" for key in keys[:-1])])
    return table([way, *(f"{key} s" for key in keys), *(f"{PEER} / {key}" for key in keys[:-1])], rows)


def _parts(way: str, found: dict[str, dict[str, Any]]) -> str:
    parts = [*TRANSFORMS[way], "rest"]
    rows = [
        [f"{name}, {key}", *(f"{seconds[way][part] * 1000:.1f}" if part in seconds[way] else "" for part in parts)]
        for name, one in found.items()
        for key, seconds in one["seconds"].items()
    ]
    return table([f"{way}, ms", *parts], rows)


def _sizes(found: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, one in found.items():
        size, memory = one["bytes"], one["memory"]
        half = [""] * 3
        if HALF in memory:
            half = [f"{memory[HALF]:.0f}", f"{one['bfloat16_psnr']:.1f}", f"{one['bfloat16_loss']:.3f}"]
        rows.append([name, size[OURS], size[PEER], f"{memory[OURS]:.0f}", f"{memory[PEER]:.0f}", *half])
    columns = ["picture", "bytes", f"bytes, {PEER}", "MiB, peak", f"MiB, {PEER}", "MiB, bfloat16"]
    return table([*columns, "dB to float32", "dB lost"], rows)


if __name__ == "__main__":
    main()
