"""The machine that measured, as results tell it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

from tinify.evaluation.results import Machine


def machine() -> Machine:
    """This machine, the threads that torch uses, the versions, and the time.

    >>> machine().cores >= 1
    True
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Machine(
        _processor(), os.cpu_count() or 1, torch.get_num_threads(), platform.python_version(), torch.__version__, now
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
