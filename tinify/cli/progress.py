"""The progress of a training run on a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinify.training.state import TrainingState


class Bar:
    """A progress bar on standard error: bits per pixel, PSNR, crops a second, time left, all smoothed.

    Entering it returns the function that takes each step.
    """

    def __init__(self, state: TrainingState, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = "{task.fields[bpp]:.3f} bpp  {task.fields[psnr]:.2f} dB  {task.fields[speed]:.0f} crops/s"
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(columns),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet,
        )
        self._task = self._progress.add_task("", total=state.config.steps, completed=state.step, bpp=0, psnr=0, speed=0)
        self._mean: dict[str, float] = {"bpp": 0.0, "psnr": 0.0, "speed": 0.0}

    def __enter__(self) -> Any:
        self._progress.start()
        return self._report

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def _report(self, step: Any) -> None:
        for name, mean in self._mean.items():
            value = getattr(step, name)
            if math.isfinite(value):  # a skipped batch has no figures
                self._mean[name] = 0.98 * mean + 0.02 * value if mean else value
        fields: dict[str, Any] = dict(self._mean)
        self._progress.update(self._task, completed=step.step, **fields)
