"""The machine that measured, as results tell it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime

import torch

from tinify.evaluation.results import Machine
from tinify.machine import processor


def machine() -> Machine:
    """This machine, the threads that torch uses, the versions, and the time.

    >>> machine().cores >= 1
    True
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Machine(
        processor(), os.cpu_count() or 1, torch.get_num_threads(), platform.python_version(), torch.__version__, now
    )
