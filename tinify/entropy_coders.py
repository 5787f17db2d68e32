"""Entropy coders by name: those that there are, and the one for calls that name none."""

from __future__ import annotations

from tinify.coders.coder import Coder
from tinify.coders.default import RANS, choose, default_name
from tinify.errors import InputError
from tinify.plugin.parameters import REQUIRED
from tinify.registry import get_registry

_FIRST = (RANS, "rangecoder")


def available_entropy_coders() -> list[str]:
    """The names of all registered coders: tinify's own, then those of plugins.

    >>> available_entropy_coders()[:2]
    ['ans', 'rangecoder']
    """
    names = dict.fromkeys(part.name for part in get_registry().components("coder"))
    return sorted(names, key=lambda name: ("/" in name, name not in _FIRST, name))


def get_entropy_coder() -> str:
    """The name of the coder that is used where none is given, ``"ans"`` unless another was set."""
    return default_name()


def set_entropy_coder(name: str) -> None:
    """Sets the coder of this process, in all its threads, for calls that are given none.

    These are :class:`~tinify.coders.CdfTables` and ``compress`` and ``decompress`` of entropy models, latent codecs and
    models whose ``coder`` is None. Their strings say nothing of the coder: whoever decodes them sets the same one.

    Files stay what they are. :class:`~tinify.codec.Codec`, :func:`tinify.compress`, :func:`tinify.decompress` and the
    command line code by the model's own coder, and by ``ans`` for a model without one, whatever is set here. For files
    of another coder, name it in the model's spec (``coder: rangecoder``) or pass it to
    :meth:`~tinify.models.CompressionModel.use_coder`: then it is part of the model, and of its digest.

    Raises :class:`~tinify.errors.UnknownNameError` for a name that no plugin registers, and
    :class:`~tinify.errors.InputError` for what is no name, or names a coder that cannot be made without parameters.

    >>> set_entropy_coder("rangecoder")
    >>> get_entropy_coder()
    'rangecoder'
    >>> set_entropy_coder("ans")
    """
    if not isinstance(name, str):
        raise InputError(
            f"{name!r} is no name of an entropy coder: expected one of {', '.join(available_entropy_coders())} "
            "(a coder itself can be passed to the call, or to use_coder of a model)"
        )
    choose(name, _made(name))


def _made(name: str) -> Coder:
    component = get_registry().component("coder", name)
    missing = [key for key, parameter in component.params.items() if parameter.default is REQUIRED]
    missing += [key for key, slot in component.slots.items() if not slot.optional]
    if missing:
        raise InputError(
            f"{component} cannot be the default, for it needs {', '.join(missing)}: make it by "
            "tinify.models.build_part, and pass it to the call or to use_coder of a model"
        )
    values = {key: parameter.default for key, parameter in component.params.items()}
    made: Coder = component.load()(**values, **dict.fromkeys(component.slots))
    return made
