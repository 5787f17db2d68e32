"""The files of a run: those to train on and to validate on, and whether they are still those it was begun with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tinify.errors import DataError
from tinify.training.digest import Contents, contents
from tinify.training.state import TrainingState

DATA = "data.json"

# Without a validation folder, so many files are taken out of the training folders, evenly spaced.
HELD_OUT = 16


@dataclass(frozen=True)
class Files:
    """Files to train on and files to validate on, by the folders that they were found in."""

    folders: tuple[tuple[Path, tuple[Path, ...]], ...]
    training: tuple[Path, ...]
    held_out: tuple[Path, ...]

    @classmethod
    def find(
        cls, data: Sequence[Path], validation: Sequence[Path], list_files: Callable[[Path], Sequence[Path]], what: str
    ) -> Files:
        """What ``list_files`` finds below the folders; :class:`~tinify.errors.DataError` where there are none."""
        if not data:
            raise DataError(f"no folder of {what}: give --data, or write `data: FOLDER` in the recipe")
        folders = tuple((folder, tuple(list_files(folder))) for folder in (*data, *validation))
        training = [path for _, files in folders[: len(data)] for path in files]
        held_out = [path for _, files in folders[len(data) :] for path in files]
        return cls(folders, tuple(training), tuple(held_out))

    def with_held_out(self) -> Files:
        """The same, or, where nothing is held out, with some of the training files held out."""
        if self.held_out:
            return self
        count = min(HELD_OUT, len(self.training) // 10)
        held_out = tuple(self.training[index * len(self.training) // count] for index in range(count))
        return replace(
            self, training=tuple(path for path in self.training if path not in {*held_out}), held_out=held_out
        )

    def check(self, state: TrainingState, out: Path, changed: bool) -> Contents:
        """Notes in ``state`` what the files are, and returns it.

        Raises :class:`~tinify.errors.DataError` for a run that was begun with others, unless they may have ``changed``.
        """
        before = Contents.load(out / DATA)
        now = contents(self.folders, before)
        then = state.origin.get("data", now.digest)
        if then != now.digest and not changed:
            what = before.changes(now) if before.digest == then else ""
            raise DataError(
                f"the files are not those that the run was begun with{': ' if what else ''}{what}; "
                "put them back, or go on with these by --changed-data"
            )
        state.origin["data"] = now.digest
        return now
