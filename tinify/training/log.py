"""The run's log: a CSV file always, TensorBoard where it is installed and asked for."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinify.errors import InputError, OutputError
from tinify.files import write_atomic

if TYPE_CHECKING:
    from tinify.training.steps import Step

_COLUMNS = ("step", "loss", "bpp", "psnr", "norm", "lr", "speed", "val_loss", "val_bpp", "val_psnr")


class RunLog:
    """Appends a line every ``every`` steps and at every validation; a resumed run drops the lines past its step."""

    def __init__(self, path: Path, step: int = 0, every: int = 10, tensorboard: bool = False) -> None:
        self._every = every
        self._writer: Any = _tensorboard(path.parent, step) if tensorboard else None
        kept = io.StringIO(newline="")
        rows = csv.DictWriter(kept, _COLUMNS, extrasaction="ignore")
        rows.writeheader()
        try:
            rows.writerows(_lines_up_to(path, step))
            write_atomic(path, kept.getvalue().encode())
            self._file = path.open("a", newline="")
        except OSError as error:
            raise OutputError(f"cannot write the log {path}: {error}") from error
        self._csv = csv.DictWriter(self._file, _COLUMNS)

    def step(self, step: Step) -> None:
        """Keeps a training step."""
        if step.step % self._every == 0:
            self._write({name: getattr(step, name) for name in _COLUMNS[:7]}, "train")

    def validation(self, entry: dict[str, float]) -> None:
        """Keeps a validation: ``step``, ``loss``, ``bpp``, ``psnr``."""
        named = {"step": entry["step"], **{f"val_{name}": entry[name] for name in ("loss", "bpp", "psnr")}}
        self._write(named, "validation")

    def close(self) -> None:
        with suppress(OSError):  # what a full disk did not take has been reported
            self._file.close()
        if self._writer:
            self._writer.close()

    def _write(self, row: dict[str, float], kind: str) -> None:
        try:
            self._csv.writerow(row)
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write the log {self._file.name}: {error.strerror}; --resume goes on") from error
        if self._writer:
            for name, value in row.items():
                if name != "step":
                    self._writer.add_scalar(f"{kind}/{name.removeprefix('val_')}", value, int(row["step"]))


def _lines_up_to(path: Path, step: int) -> list[dict[str, str]]:
    if not step or not path.exists():
        return []
    whole = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")[0]  # a killed run may leave half a line
    rows = csv.DictReader(io.StringIO(whole, newline=""))
    return [row for row in rows if (row.get("step") or "x").isdigit() and int(row["step"]) <= step]


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("TensorBoard is not installed: pip install 'tinify-codec[train]', or leave it out") from error
    return SummaryWriter(str(folder), purge_step=step)
