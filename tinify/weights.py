"""Where weights are: those that installed packages carry beside their specs, found by name without torch."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from tinify.errors import CheckpointError, UnknownNameError
from tinify.registry import get_registry

DEFAULT = "tinify-photo"
FORMAT = "1"


def find_weights(name: str = DEFAULT, quality: float | None = None) -> Path:
    """The file of a model's weights: a path, a full name (``tinify-photo``), or a spec's name and a quality.

    A spec may have a file for each quality, ``SPEC-q1``, ``SPEC-q2`` and so on; without ``quality`` its name means the
    middle one. Raises :class:`~tinify.errors.UnknownNameError`.

    >>> find_weights("tinify-photo").suffix
    '.safetensors'
    """
    return choose_weights(name, quality)[0]


def choose_weights(name: str, quality: float | None) -> tuple[Path, float | None]:
    """The file of :func:`find_weights`, and the quality if it is for the model, one of variable rate, to say."""
    known = get_registry().weight_files()
    if name in known or name.endswith(".safetensors") or Path(name).is_file():
        return known.get(name, Path(name)), quality
    qualities = sorted(int(q) for spec, _, q in (key.rpartition("-q") for key in known) if spec == name and q.isdigit())
    if not qualities:
        specs = {key.rpartition("-q")[0] for key in known}
        if name in get_registry().spec_files():
            raise UnknownNameError(
                f"{name} has no weights here: train it (tinify train {name} ...) and give the file; "
                f"there are weights of: {', '.join(sorted(specs)) or 'nothing'}"
            )
        raise UnknownNameError.among("weights", name, {*known, *specs})
    quality = qualities[len(qualities) // 2] if quality is None else quality
    if quality not in qualities:
        offered = ", ".join(map(str, qualities))
        raise UnknownNameError(f"{name} has no weights of quality {quality:g}; there are: {offered}")
    return known[f"{name}-q{quality:g}"], None


def read_notes(path: Path) -> dict[str, str]:
    """The text notes in a checkpoint; :class:`~tinify.errors.CheckpointError` if it is not one of tinify's."""
    if not path.is_file():
        raise CheckpointError(f"there is no weights file {path}")
    try:
        with safe_open(path, "np") as file:
            notes = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a safetensors file, or is damaged: {error}") from error
    if notes.get("tinify_checkpoint") != FORMAT:
        said = notes.get("tinify_checkpoint")
        raise CheckpointError(f"{path} is not a tinify checkpoint of format {FORMAT} (it says {said!r})")
    return notes
