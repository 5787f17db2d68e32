"""What a run draws from and is measured by: photographs, unless the model codes something else."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from tinify.models import CompressionModel
from tinify.models.domain import PICTURES, Domain
from tinify.plugin.offers import load_target
from tinify.registry import get_registry
from tinify.spec import Spec
from tinify.training.config import TrainingConfig


class Batches(Protocol):
    """Batches drawn from files, each a pure function of the seed and the step; what is no use is in ``skipped``."""

    files: list[Path]
    skipped: dict[Path, str]

    def batch(self, seed: int, step: int, crop: int = 0, size: int = 0) -> Tensor:
        """The batch of a step, of another crop or number where these are given."""
        ...

    def ahead(
        self, seed: int, steps: range, shape: Callable[[int], tuple[int, int]] | None = None
    ) -> Generator[Tensor]:
        """The batches of ``steps`` in turn; ``shape`` says crop and number of a step's."""
        ...


class Feed(Protocol):
    """All that training must know of what a model codes; a model's ``domain.training`` names the class of one."""

    def list_files(self, folder: Path) -> list[Path]:
        """The files below a folder; :class:`~tinify.errors.DataError` if there is none."""
        ...

    def check(self, model: CompressionModel, config: TrainingConfig) -> None:
        """Raises :class:`~tinify.errors.InputError` for settings that the model cannot be trained with."""
        ...

    def batches(self, files: Sequence[Path], config: TrainingConfig, workers: int, part: tuple[int, int]) -> Batches:
        """What the steps of a run are given; ``part`` (r, n) is the r-th of n processes."""
        ...

    def held_out(self, files: Sequence[Path]) -> Sequence[Any]:
        """What validation is given, read from files; :class:`~tinify.errors.DataError` if none can be read."""
        ...

    def figures(self, output: dict[str, Any], x: Tensor) -> tuple[float, float]:
        """Rate, in bits for each pixel or point, and PSNR in decibels, of a forward of ``x``."""
        ...

    def validate(self, model: CompressionModel, held_out: Sequence[Any], config: TrainingConfig) -> dict[str, float]:
        """Means of ``bpp``, ``psnr`` and ``loss`` over what is held out."""
        ...


def feed_of(domain: Domain) -> Feed:
    """The feed that a domain names; :class:`~tinify.errors.PluginError` where it cannot be had."""
    feed: Feed = load_target(domain.training, f"what trains models of {domain.name}", None)()
    return feed


def domain_of(spec: str) -> Domain:
    """What the models of a spec code."""
    model = Spec.load(spec).root.plain()["model"]
    kind = model if isinstance(model, str) else model["type"]
    domain: Domain = getattr(get_registry().component("model", kind).load(), "domain", PICTURES)
    return domain
