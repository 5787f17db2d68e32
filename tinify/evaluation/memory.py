"""Peak memory of a codec, in a process of its own: it opens the codec, encodes one picture and decodes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tinify.errors import InputError

_TIMEOUT = 3600


def peak_memory(codec: str, picture: Path, quality: float | None, precision: str = "float32") -> float:
    """MiB resident at most in a fresh process that encodes and decodes a picture; libraries and pixels count.

    Raises :class:`~tinify.errors.InputError` where that process fails, as with a codec that only this one knows.
    """
    job = json.dumps({"codec": codec, "picture": str(picture.resolve()), "quality": quality, "precision": precision})
    command = [sys.executable, "-c", "from tinify.evaluation.memory import main; main()"]
    try:
        run = subprocess.run(command, input=job, capture_output=True, text=True, check=True, timeout=_TIMEOUT)
        return float(run.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InputError(f"no peak memory of {codec}: a process of its own fails ({last})") from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"no peak memory of {codec}: not done in {_TIMEOUT} seconds") from error


def main() -> None:
    """What that process does: reads its job from standard input and prints MiB."""
    job = json.load(sys.stdin)
    from tinify.evaluation.codec import open_codec
    from tinify.evaluation.pictures import read_pixels

    codec = open_codec(job["codec"], precision=job["precision"])
    pixels = read_pixels(Path(job["picture"]))
    codec.decode(codec.encode(pixels, job["quality"]))
    print(peak_of_this_process())


def peak_of_this_process() -> float:
    """MiB that this process had resident at most."""
    # Linux counts the memory of the process that started this one into ru_maxrss, but not into VmHWM.
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    import resource

    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
