"""The same symbols on every machine: crops coded under each setting, and decoded under every other.

A setting is a process of its own: threads, memory layout, oneDNN, instruction sets, batches, carriers, another
installation of torch, a GPU. Each codes its share of the crops, and all decode all.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np


@dataclass(frozen=True)
class Setting:
    """What a process is told; ``variables`` are of its environment."""

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    channels_last: bool = True
    onednn: bool = True
    batch: int = 1
    carrier: str = "float32"
    device: str = "cpu"
    python: str = sys.executable


def caps(aten: str, onednn: str, mkl: str) -> dict[str, str]:
    return {"ATEN_CPU_CAPABILITY": aten, "ONEDNN_MAX_CPU_ISA": onednn, "MKL_ENABLE_INSTRUCTIONS": mkl}


TILE = 512
MOST_TIME = 1.25

AVX2, SCALAR = caps("avx2", "AVX2", "AVX2"), caps("default", "SSE41", "SSE4_2")
SETTINGS = [
    Setting("as it comes"),
    Setting("2 threads", threads=2),
    Setting("channels first", channels_last=False),
    Setting("oneDNN off", onednn=False),
    Setting("AVX2", AVX2),
    Setting("AVX2, 2 threads, channels first", AVX2, 2, channels_last=False),
    Setting("scalar", SCALAR),
    Setting("scalar, oneDNN off", SCALAR, onednn=False),
    Setting("batch of 8", batch=8),
    Setting("float64", carrier="float64"),
    Setting("float64, scalar", SCALAR, carrier="float64"),
    Setting("integer", carrier="integer"),
    Setting("integer, AVX2", AVX2, carrier="integer"),
    Setting("integer, scalar, batch of 8", SCALAR, batch=8, carrier="integer"),
]


def crops(folders: list[Path], count: int) -> list[Any]:
    """Groups of 8 crops of one size, uint8 (8, 3, side, side); the last groups are hostile."""
    from tinify.training.data import list_images, read_rgb

    random = np.random.default_rng(0)
    files = [file for folder in folders for file in list_images(folder)]
    groups: list[Any] = []
    while len(groups) < -(-count // 8):
        side = 128 if len(groups) % 4 == 3 else 64
        group: list[Any] = []
        while len(group) < 8:
            pixels = read_rgb(files[random.integers(len(files))])
            if min(pixels.shape[:2]) >= side:
                top, left = (int(random.integers(length - side + 1)) for length in pixels.shape[:2])
                group.append(pixels[top : top + side, left : left + side].transpose(2, 0, 1))
        groups.append(np.stack(group))
    return groups + list(hostile(random))


def hostile(random: Any) -> Iterator[Any]:
    """Constants, noise, extremes."""
    place = np.arange(64)
    plain = [np.full((3, 64, 64), level, np.uint8) for level in (0, 1, 127, 128, 254, 255)]
    board = ((place[:, None] + place) % 2 * 255).astype(np.uint8)
    stripes = np.broadcast_to(place % 2 * 255, (64, 64)).astype(np.uint8)
    shapes = [board, 255 - board, stripes, stripes.T, (place[:, None] * 4).astype(np.uint8) + 0 * board, board // 255]
    noise = [random.integers(0, 256, (3, 64, 64), np.uint8) for _ in range(8)]
    extremes = [(random.integers(0, 2, (3, 64, 64)) * 255).astype(np.uint8) for _ in range(8)]
    every = [*plain, *(np.broadcast_to(shape, (3, 64, 64)) for shape in shapes), *noise, *extremes]
    every += [np.roll(one, 1, 0) for one in every][: -len(every) % 8]
    for first in range(0, len(every), 8):
        yield np.stack(every[first : first + 8])


@click.group()
def cli() -> None:
    """Look for symbols that differ between machines."""


@cli.command("worker", hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
def worker(folder: Path) -> None:
    """What a setting does: reads ``task.json`` in a folder, writes its result beside it."""
    import torch

    from tinify.checkpoint import load_checkpoint
    from tinify.exact import use_carrier

    task = json.loads((folder / "task.json").read_text())
    setting = Setting(**task["setting"])
    torch.set_num_threads(setting.threads)
    model: Any = load_checkpoint(task["model"], setting.device)
    if not setting.channels_last:
        model.to(memory_format=torch.contiguous_format)
    use_carrier(model, setting.carrier)
    groups = pickle.loads((folder / "crops.pickle").read_bytes())
    warnings.filterwarnings("ignore", "TF32 acceleration")  # of switching oneDNN off
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=setting.onednn):
        if task["share"] is not None:
            found: Any = [coded(model, groups[place], asked(model, place), setting) for place in task["share"]], None
        else:
            strings = pickle.loads((folder / "strings.pickle").read_bytes())
            symbols = [
                [decoded(model, one, quality) for one in batches(items, setting.batch)] for quality, items in strings
            ]
            found = symbols, pictures(model, folder, task["write"])
    (folder / "result.pickle").write_bytes(pickle.dumps(found))


def pictures(model: Any, folder: Path, write: list[str]) -> list[Any]:
    """Pixels of each file, as they come and exactly; None where one does not decode. Files are written if asked."""
    from tinify.codec import Codec
    from tinify.errors import TinifyError
    from tinify.images import read_picture

    for number, path in enumerate(write):
        picture = read_picture(Path(path))
        for name, tile in (("tiles", TILE), ("whole", 4096)):
            (folder / f"{number}-{name}.tfy").write_bytes(Codec(model, tile=tile).compress(picture))
    found: list[Any] = []
    for file in sorted(folder.glob("*.tfy")):
        for exact in (False, True) if model.arithmetic == "portable" else (False,):
            try:
                found.append(Codec(model, exact_pixels=exact).decompress(file.read_bytes()).pixels)
            except TinifyError as error:
                click.echo(f"{file.name}: {error}", err=True)
                found.append(None)
    return found


def asked(model: Any, place: int) -> float | None:
    """The quality of a group, from the lowest to the highest in turn."""
    if model.qualities is None:
        return None
    low, high = model.qualities
    return float(round(low + (high - low) * (place * 0.37 % 1), 3))


def coded(model: Any, group: Any, quality: float | None, setting: Setting) -> tuple[float | None, list[Any]]:
    """Quality, and of each crop its strings, the latent's shape, and what a decoder has to find."""
    import torch

    from tinify.latent_codecs.witness import witness

    items = []
    for pixels in group:
        x = torch.tensor(pixels, device=setting.device)[None].float() / 255
        x = x.contiguous(memory_format=torch.channels_last if setting.channels_last else torch.contiguous_format)
        with witness() as seen:
            packed = model.compress(x, **({} if quality is None else {"quality": quality}))
        strings = [one[0] for one in packed["strings"]]
        items.append((strings, tuple(packed["shape"]), seen.checksum, fingerprint(packed["y_hat"])))
    return quality, items


def batches(items: list[Any], size: int) -> list[list[Any]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def decoded(model: Any, items: list[Any], quality: float | None) -> list[tuple[int | None, int | None]]:
    """The checksum of each item's symbols, if it is alone, and that of its latent; None where nothing decodes."""
    import torch

    from tinify.errors import TinifyError
    from tinify.latent_codecs.witness import witness

    strings = [list(one) for one in zip(*(item[0] for item in items), strict=True)]
    asked = {} if quality is None else {"quality": quality}
    try:
        with witness() as seen:
            y_hat = model.latent_codec.decompress(strings, torch.Size(items[0][1]), **asked)["y_hat"]
    except TinifyError:
        return [(None, None)] * len(items)
    alone = seen.checksum if len(items) == 1 else None
    return [(alone, fingerprint(one)) for one in y_hat]


def fingerprint(y_hat: Any) -> int:
    import google_crc32c

    return int(google_crc32c.value(y_hat.cpu().contiguous().numpy().tobytes()))


def run(setting: Setting, folder: Path, model: Path, share: list[int] | None, write: list[Path] | None = None) -> Any:
    """What a process of that setting found: of the crops that are its share, or of all, and of files."""
    files = [str(path.resolve()) for path in write or ()]
    task = {"setting": asdict(setting), "model": str(model.resolve()), "share": share, "write": files}
    (folder / "task.json").write_text(json.dumps(task))
    variables = os.environ | {"OMP_NUM_THREADS": str(setting.threads)} | setting.variables
    subprocess.run([setting.python, __file__, "worker", str(folder)], env=variables, check=True)
    return pickle.loads((folder / "result.pickle").read_bytes())


@cli.command("speed")
@click.argument("models", metavar="FLOAT PORTABLE", nargs=2, type=click.Path(path_type=Path, exists=True))
@click.option("--image", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--rounds", default=15, show_default=True, help="The least of so many, float and portable in turn.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def speed(models: tuple[Path, Path], image: Path, rounds: int, json_file: Path | None) -> None:
    """Time a picture by FLOAT weights and by the PORTABLE ones that were made of them, one after the other."""
    import torch
    from report import describe, finish, machine, table

    from tinify.checkpoint import load_checkpoint
    from tinify.codec import Codec
    from tinify.images import read_picture

    picture, codecs = read_picture(image), [Codec(load_checkpoint(model)) for model in models]
    files = [codec.compress(picture) for codec in codecs]
    seconds: dict[str, list[list[float]]] = {"compress": [[], []], "decompress": [[], []]}
    for _ in range(rounds):
        for place, (codec, data) in enumerate(zip(codecs, files, strict=True)):
            begun = time.perf_counter()
            codec.compress(picture)
            middle = time.perf_counter()
            codec.decompress(data)
            seconds["compress"][place].append(middle - begun)
            seconds["decompress"][place].append(time.perf_counter() - middle)
    least = {what: [min(some) for some in both] for what, both in seconds.items()}
    facts = machine(torch.get_num_threads())
    click.echo(describe(facts))
    rows = [[what, *(f"{one:.3f}" for one in both), f"{both[1] / both[0]:.2f}"] for what, both in least.items()]
    click.echo(table(["", "float, s", "portable, s", "portable over float"], rows))
    ratio = least["decompress"][1] / least["decompress"][0]
    failures = [f"decoding takes {ratio:.2f} times as long, more than {MOST_TIME}"] if ratio > MOST_TIME else []
    finish({**facts, "seconds": least}, failures, json_file)


@cli.command("compare")
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.option("--data", "folders", type=click.Path(path_type=Path, exists=True), multiple=True, required=True)
@click.option("--crops", "count", default=2000, show_default=True, help="Beside the hostile ones.")
@click.option("--python", "others", multiple=True, help="Another Python, with another torch; may be repeated.")
@click.option("--file", "files", type=click.Path(path_type=Path), multiple=True, help="A picture, in tiles and whole.")
@click.option("--only", multiple=True, help="Names of settings; all without.")
@click.option("--control", is_flag=True, help="MODEL is of float arithmetic: differences have to show.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def compare(
    model: Path,
    folders: tuple[Path, ...],
    count: int,
    others: tuple[str, ...],
    files: tuple[Path, ...],
    only: tuple[str, ...],
    control: bool,
    json_file: Path | None,
) -> None:
    """Code crops of photographs by MODEL, a checkpoint, and hostile ones, under all settings, and compare."""
    import torch
    from report import describe, finish, machine, table

    settings = [*SETTINGS, *(Setting(f"other torch {n + 1}", python=path) for n, path in enumerate(others))]
    if torch.cuda.is_available():
        settings += [Setting(f"cuda, {one}", carrier=one, device="cuda") for one in ("float32", "float64", "integer")]
        settings.append(Setting("cuda, batch of 8", batch=8, device="cuda"))
    settings = [one for one in settings if not only or one.name in only]
    rows: list[dict[str, Any]] = []
    first: list[Any] = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        groups = crops(list(folders), count)
        (folder / "crops.pickle").write_bytes(pickle.dumps(groups))
        places = range(len(groups))
        coded: dict[int, Any] = {}
        for number, setting in enumerate(settings):
            share = list(places[number :: len(settings)])
            coded |= dict(zip(share, run(setting, folder, model, share)[0], strict=True))
        (folder / "strings.pickle").write_bytes(pickle.dumps([coded[place] for place in places]))
        for setting in settings:
            begun = time.perf_counter()
            found, pixels = run(setting, folder, model, None, [] if rows else list(files))
            first = first or pixels
            wrong = [0] * len(settings)
            for place in places:
                wrong[place % len(settings)] += differing(found[place], coded[place][1], control)
            seconds = round(time.perf_counter() - begun, 1)
            rows.append({"decoded by": setting.name, "crops": 8 * len(groups), "different": sum(wrong)})
            rows[-1] |= {"of settings": sum(count > 0 for count in wrong)} | compared(first, pixels)
            rows[-1] |= {"seconds": seconds}
            click.echo(json.dumps(rows[-1]), err=True)
    facts = machine(1)
    click.echo(describe(facts))
    click.echo(table(list(rows[0]), [list(row.values()) for row in rows]))
    different = sum(row["different"] for row in rows)
    failures = ["no symbols differ: the comparison sees nothing"] if control and not different else []
    failures += [f"{different} crops differ"] if different and not control else []
    for row in rows if not control else ():
        if row["files amiss"] or row["levels apart"] > 1 or row["exactly"]:
            failures.append(f"{row['decoded by']}: pixels or files are not as they must be")
    finish({**facts, "model": str(model), "settings": rows}, failures, json_file)


def compared(first: list[Any], pixels: list[Any]) -> dict[str, int]:
    """Files that do not decode, and by how many levels pixels are apart at most, as they come and exactly."""
    apart = [
        abs(one.astype(int) - other).max() if one is not None and other is not None else 0
        for one, other in zip(first, pixels, strict=True)
    ]
    amiss = sum(one is None for one in pixels)
    return {
        "files amiss": amiss,
        "levels apart": int(max(apart[::2], default=0)),
        "exactly": int(max(apart[1::2], default=0)),
    }


def differing(found: list[list[Any]], coded: list[Any], control: bool) -> int:
    """How many crops of a group are others than were coded.

    Means of float arithmetic differ in the last bits, which is no other symbol: of these only the symbols count.
    """
    pairs = zip((one for batch in found for one in batch), coded, strict=True)
    if control:
        return sum(symbols != wanted[2] for (symbols, latent), wanted in pairs if symbols or latent is None)
    return sum(latent != wanted[3] or symbols not in (wanted[2], None) for (symbols, latent), wanted in pairs)


if __name__ == "__main__":
    cli()
