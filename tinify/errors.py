"""Every error that tinify raises on purpose.

TinifyError                     base of all; the command line prints it in one message and exits with status 2
├── PluginError                 a plugin is broken, disabled, incompatible, or claims what is not its own
├── UnknownNameError            no component, spec, preset or parameter of that name; lists what there is
├── SpecError                   a spec has errors; carries every diagnostic with file, line and column
├── CheckpointError             a weights file is missing, damaged, has NaN, or does not fit its spec
│   └── StateDictError          a state dict that is not the model's; lists what differs
├── TablesMissingError          decoding asked of a model that has no coding tables
├── InputError                  a tensor, array or option that the called function cannot take
├── MissingPackageError         an optional package that was asked for is not installed
├── ImageError                  not an image, of no size, or larger than the declared limits
├── DataError                   a training or validation folder without usable images
├── DivergedError               training produced a loss or gradient that is not a number
├── OutputError                 the output cannot be written
└── FileError                   a .tfy file cannot be read
    ├── NotTinifyFileError      another kind of file, or one damaged by a text-mode transfer
    ├── VersionError            written by a newer major version of the format
    ├── TruncatedFileError      ends before its declared end
    ├── CorruptFileError        a checksum, length or field is wrong
    ├── CorruptStreamError      the entropy coder's own integrity check failed
    └── WrongModelError         coded by another model than the one at hand
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TinifyError(Exception):
    """Base of every error that tinify raises on purpose."""


class PluginError(TinifyError):
    """A plugin is broken, disabled, incompatible, or claims what is not its own."""


class UnknownNameError(TinifyError):
    """No component, spec, preset or parameter of that name."""

    @classmethod
    def among(cls, what: str, name: str, known: Iterable[str], reason: str = "") -> UnknownNameError:
        """The error for ``name``, with the nearest known name and the list of all, and why one may be missing there.

        >>> str(UnknownNameError.among("layer", "gnd", ["conv", "gdn"]))
        "unknown layer 'gnd': did you mean 'gdn'? There are: conv, gdn"
        """
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" did you mean {near[0]!r}?" if near else ""
        listing = f" There are: {', '.join(names)}" if names else " There are none."
        return cls(f"unknown {what} {name!r}:{hint}{listing}{f' ({reason})' if reason else ''}")


class SpecError(TinifyError):
    """A spec has errors; see :mod:`tinify.spec` for the diagnostics it carries."""


class CheckpointError(TinifyError):
    """A weights file is missing, damaged, has NaN, or does not fit its spec."""


class StateDictError(CheckpointError, RuntimeError):
    """A state dict that is not the model's; a RuntimeError too, as PyTorch raises in its place."""


class TablesMissingError(TinifyError):
    """Decoding asked of a model that has no coding tables."""


class InputError(TinifyError, ValueError):
    """A tensor, array or option that the called function cannot take."""


class MissingPackageError(TinifyError):
    """An optional package that was asked for is not installed."""


class ImageError(TinifyError):
    """Not an image, of no size, or larger than the declared limits."""


class DataError(TinifyError):
    """A training or validation folder without usable images."""


class DivergedError(TinifyError):
    """Training produced a loss or gradient that is not a number."""


class OutputError(TinifyError):
    """The output cannot be written."""


class FileError(TinifyError):
    """A .tfy file cannot be read."""


class NotTinifyFileError(FileError):
    """Another kind of file, or one damaged by a text-mode transfer."""


class VersionError(FileError):
    """Written by a newer major version of the format."""


class TruncatedFileError(FileError):
    """Ends before its declared end."""


class CorruptFileError(FileError):
    """A checksum, length or field is wrong."""


class CorruptStreamError(FileError):
    """The entropy coder's own integrity check failed."""


class WrongModelError(FileError):
    """Coded by another model than the one at hand."""
