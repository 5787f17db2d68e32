"""Rate and distortion of trained models of video beside x264 and x265: the same frames, files on disk, one measure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from report import describe, finish, json_option, machine, table

Pixels = NDArray[np.uint8]

# Those of libx264 and libx265: each pair is a codec's name here, and whether it may have B-frames.
RIVALS = {
    "x264": ("libx264", True),
    "x264, no B-frames": ("libx264", False),
    "x265": ("libx265", True),
    "x265, no B-frames": ("libx265", False),
}
# Full range, and BT.709 as in the metric: at best 4:2:0 comes back as RGB with 39 to 45 dB.
_RGB: dict[str, Any] = {
    "format": "rgb24",
    "src_colorspace": "ITU709",
    "dst_colorspace": "ITU709",
    "src_color_range": "JPEG",
}
_YUV: dict[str, Any] = {
    "format": "yuv420p",
    "src_colorspace": "ITU709",
    "dst_colorspace": "ITU709",
    "dst_color_range": "JPEG",
}


@dataclass(frozen=True)
class Clip:
    """Frames in memory, all of one size."""

    name: str
    frames: tuple[Pixels, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width, _ = self.frames[0].shape
        return width, height


@dataclass(frozen=True)
class Measured:
    """A clip by a codec at a setting; PSNR in decibels, means over the frames."""

    codec: str
    setting: str
    clip: str
    bytes: int
    bpp: float
    psnr: float
    psnr_yuv: float


def read(path: Path, limit: int | None) -> Clip:
    """The clip in a file or folder, to the even width and height that chroma of 4:2:0 has."""
    from tinify_plugins.video.clips import open_clip

    frames = tuple(islice(open_clip(path).frames, limit))
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    return Clip(path.stem, tuple(np.ascontiguousarray(frame[:height, :width]) for frame in frames))


def measure(codec: str, setting: str, clip: Clip, file: Path, decoded: Iterator[Pixels]) -> Measured:
    """What the frames that a file holds are worth, and how many bytes it has."""
    from tinify_plugins.video.metrics import rgb_to_yuv420, yuv_psnr

    found = []
    for frame, hat in zip(clip.frames, decoded, strict=True):
        error = float(np.mean((frame.astype(np.float64) - hat) ** 2))
        found.append((10 * np.log10(255**2 / error), yuv_psnr(rgb_to_yuv420(frame), rgb_to_yuv420(hat))["yuv"]))
    size, (width, height) = file.stat().st_size, clip.size
    rgb, yuv = (float(np.mean(values)) for values in zip(*found, strict=True))
    return Measured(codec, setting, clip.name, size, 8 * size / (len(clip.frames) * width * height), rgb, yuv)


@cache
def load(model: Path) -> Any:
    """The codec of a checkpoint."""
    from tinify_plugins.video.codec import VideoCodec

    from tinify.checkpoint import load_checkpoint

    return VideoCodec(load_checkpoint(model))


def ours(model: Path, setting: str, clip: Clip, group: int, file: Path) -> tuple[Measured, int]:
    """The clip through a ``.tfv`` file; and how many decoded frames are not the encoder's own."""
    codec, (width, height) = load(model), clip.size
    with file.open("wb") as out:
        sums = [digest(hat) for _, hat in codec.encode(clip.frames, width, height, Fraction(25), out, group)]
    with file.open("rb") as stream:
        hats = [played.pixels for played in codec.decode(stream)]
    wrong = sum(digest(hat) != own for hat, own in zip(hats, sums, strict=True))
    return measure("tinify", setting, clip, file, iter(hats)), wrong


def digest(frame: Pixels) -> bytes:
    """A frame's pixels, short enough to keep."""
    return hashlib.sha256(frame.tobytes()).digest()


def theirs(name: str, quality: int, clip: Clip, group: int, file: Path) -> Measured:
    """The clip through an elementary stream of x264 or x265: preset medium, tuned for PSNR, one thread."""
    import av

    library, b_frames = RIVALS[name]
    width, height = clip.size
    settings: dict[str, Any] = {"keyint": group, "min-keyint": group, "scenecut": 0}
    settings |= {} if b_frames else {"bframes": 0}
    # x265 would write its settings into the stream; x264 does, some 700 bytes, and cannot be told not to.
    settings |= {"info": 0, "pools": 1, "frame-threads": 1, "log-level": "none"} if library == "libx265" else {}
    text = ":".join(f"{key}={value}" for key, value in settings.items())
    options = {"preset": "medium", "tune": "psnr", "crf": str(quality), library.removeprefix("lib") + "-params": text}
    with av.open(str(file), "w", format="h264" if library == "libx264" else "hevc") as container:
        stream: Any = container.add_stream(library, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = width, height, "yuv420p", 1
        for pixels in clip.frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(interpolation="AREA", **_YUV)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(file)) as container:
        hats: list[Any] = [
            frame.reformat(interpolation="AREA", **_RGB).to_ndarray() for frame in container.decode(video=0)
        ]
    return measure(name, f"crf {quality}", clip, file, iter(hats))


def means(found: list[Measured]) -> dict[tuple[str, str], Measured]:
    """By codec and setting, the mean over the clips."""
    parts: dict[tuple[str, str], list[Measured]] = {}
    for one in found:
        parts.setdefault((one.codec, one.setting), []).append(one)
    return {
        key: Measured(
            *key,
            "mean",
            round(fmean(one.bytes for one in group)),
            fmean(one.bpp for one in group),
            fmean(one.psnr for one in group),
            fmean(one.psnr_yuv for one in group),
        )
        for key, group in parts.items()
    }


def draw(found: list[Measured], path: Path) -> None:
    """Both PSNRs over the rate, means over the clips: a line for each codec."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    lines: dict[str, list[Measured]] = {}
    for one in means(found).values():
        lines.setdefault(one.codec, []).append(one)
    kinds = {"psnr": "PSNR of RGB, dB", "psnr_yuv": "PSNR of YUV 4:2:0 (6:1:1), dB"}
    for place, (key, label) in zip(figure.subplots(1, 2), kinds.items(), strict=True):
        for name, points in lines.items():
            points = sorted(points, key=lambda one: one.bpp)
            colour = "#0072B2" if name == "tinify" else "#D55E00" if "264" in name else "#009E73"
            style = "-" if name == "tinify" or "no" not in name else "--"
            values = [getattr(one, key) for one in points]
            place.plot([one.bpp for one in points], values, style, marker="o", markersize=3, color=colour, label=name)
        place.set_xlabel("bits per pixel")
        place.set_ylabel(label)
        place.set_xscale("log")
        place.minorticks_off()
        place.set_xticks([0.01, 0.02, 0.05, 0.1, 0.2, 0.5], ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5"])
        place.grid(alpha=0.3)
        place.legend()
    figure.savefig(path, dpi=90)


@click.command()
@click.option("--clip", "clips", type=click.Path(path_type=Path, exists=True), multiple=True, required=True)
@click.option("--model", "models", type=click.Path(path_type=Path, exists=True), multiple=True, required=True)
@click.option("--frames", type=click.IntRange(1), help="Of each clip no more than this many.")
@click.option("--group", type=click.IntRange(1), default=12, show_default=True, help="Frames to a key frame, for all.")
@click.option("--crf", default="20,24,28,32,36,40", show_default=True, help="Of x264 and x265, with commas between.")
@click.option("--files", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for all files.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw both PSNRs over the rate.")
@json_option
def main(
    clips: tuple[Path, ...],
    models: tuple[Path, ...],
    frames: int | None,
    group: int,
    crf: str,
    files: Path,
    plot: Path | None,
    json_file: Path | None,
) -> None:
    """Code clips by every model, and by x264 and x265 with as many frames to a key frame."""
    facts = machine(1)
    click.echo(f"{describe(facts)}; a key frame every {group} frames\n")
    files.mkdir(parents=True, exist_ok=True)
    found, failures = [], []
    for clip in (read(path, frames) for path in clips):
        for number, model in enumerate(models):
            setting = model.parent.name if model.stem == "model" else model.stem
            one, wrong = ours(model, setting, clip, group, files / f"{clip.name}-{number}.tfv")
            found.append(one)
            failures += [f"{wrong} frames of {clip.name} by {model} are not the encoder's own"] * bool(wrong)
        for name, (library, b_frames) in RIVALS.items():
            for quality in map(int, crf.split(",")):
                stem = f"{clip.name}-{library}-{quality}{'' if b_frames else '-no-b'}"
                file = files / f"{stem}{'.h264' if library == 'libx264' else '.h265'}"
                found.append(theirs(name, quality, clip, group, file))
    for part in ([*means(found).values()], found):
        columns = ["codec", "setting", "clip", "bytes", "bits per pixel", "PSNR, RGB", "PSNR, YUV"]
        cells = [[*asdict(one).values()] for one in part]
        click.echo(
            table(columns, [[*row[:4], f"{row[4]:.4f}", *(f"{v:.2f}" for v in row[5:])] for row in cells]) + "\n"
        )
    if plot:
        draw(found, plot)
    finish({"machine": facts, "group": group, "clips": [asdict(one) for one in found]}, failures, json_file)


if __name__ == "__main__":
    main()
