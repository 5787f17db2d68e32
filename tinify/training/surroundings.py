"""Where a run ran: versions, machine and commit, which results depend on though no recipe names them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tinify
from tinify.files import write_atomic
from tinify.machine import processor, release

PACKAGES = ("torch", "numpy", "numba", "pillow", "safetensors", "lightning-fabric")


def surroundings(device: str) -> dict[str, Any]:
    """Versions of tinify, Python and packages, the processors and threads, and the commit of tinify's checkout.

    >>> sorted(surroundings("cpu"))
    ['commit', 'cores', 'device', 'packages', 'platform', 'processor', 'python', 'threads', 'tinify']
    """
    import torch

    return {
        "tinify": tinify.__version__,
        "commit": _commit(Path(tinify.__file__).parent),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := release(name))},
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
    }


def add_start(path: Path, start: Mapping[str, Any]) -> None:
    """Adds a start, or resumption, of a run to the list in a JSON file."""
    try:
        before = json.loads(path.read_bytes())
    except (OSError, ValueError):
        before = []
    starts = [*before, dict(start)] if isinstance(before, list) else [dict(start)]
    write_atomic(path, (json.dumps(starts, indent=1) + "\n").encode())


def _commit(folder: Path) -> str | None:
    """The commit checked out, with ``+`` where files differ from it; None where ``folder`` is in no checkout."""
    try:
        # The first fails where the folder lies in another project's checkout.
        _, head, changed = (
            subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True).stdout
            for words in (
                ["ls-files", "--error-unmatch", "__init__.py"],
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no", "."],
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.strip() + "+" * bool(changed.strip())
