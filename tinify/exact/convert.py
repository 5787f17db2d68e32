"""From a float model to its exact form: the parts that choose coding tables are exchanged, all others stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from tinify.errors import InputError
from tinify.exact.choose import Seen, exact_activation, exact_layer, rounded_slope
from tinify.exact.entry import ExactActivation
from tinify.exact.forms import form_of
from tinify.exact.layers import ExactLayer, shell_of

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_MOVES = (nn.Identity, nn.PixelShuffle, nn.PixelUnshuffle)
_ACTIVATIONS = nn.ReLU.__module__


@dataclass(frozen=True)
class Change:
    """One module of a float model that has an exact form, and the activation that its entry takes over."""

    path: str
    module: nn.Module
    slope: float = 1.0
    taken: bool = False
    """Whether this is an activation that a layer's entry takes over."""


def changes(model: nn.Module, paths: list[str]) -> list[Change]:
    """What has to be exchanged in the parts at ``paths``, in the order of their modules, one for every place.

    A ReLU or leaky ReLU that stands just before a layer in an ``nn.Sequential``, or before moves of its channels, goes
    into the layer's entry: it becomes an identity. What has a form of its own is exchanged as a whole. Raises
    :class:`~tinify.errors.InputError` for what has no exact form.
    """
    taken = _taken(model, paths)
    slopes = {id(layer): _slope(activation) for activation, layer in taken.items()}
    found = []
    for path in paths:
        for where, module in _parts(path, model.get_submodule(path)):
            if form_of(module) or _slope(module) is not None or isinstance(module, LAYERS):
                slope = slopes.get(id(module))
                found.append(Change(where, module, 1.0 if slope is None else slope, module in taken))
            elif type(module).__module__ == _ACTIVATIONS or next(module.parameters(recurse=False), None) is not None:
                raise InputError(f"{where}: {type(module).__name__} has no exact form")
    return found


def exchange(model: nn.Module, paths: list[str], make: Callable[[Change], nn.Module]) -> list[Change]:
    """Puts ``make(change)`` in the place of every module to be exchanged in the parts at ``paths``."""
    listed = changes(model, paths)
    first = {change.module: change for change in reversed(listed)}

    def made(module: nn.Module) -> nn.Module:
        try:
            return nn.Identity() if first[module].taken else make(first[module])
        except InputError as error:
            raise InputError(f"{first[module].path}: {error}") from error

    put(model, [(change.path, change.module) for change in listed], made)
    return listed


def put(model: nn.Module, places: Iterable[tuple[str, nn.Module]], make: Callable[[Any], nn.Module]) -> None:
    """Puts ``make(module)`` in the place of every module listed with its path: one, however many places it has."""
    device = next((parameter.device for parameter in model.parameters()), None)
    done: dict[nn.Module, nn.Module] = {}
    for path, module in list(places):
        if module not in done:
            done[module] = make(module).to(device).train(module.training)
            if hasattr(module, "spec_node"):
                done[module].spec_node = module.spec_node
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, done[module])


def shell(change: Change) -> nn.Module:
    """The exact form of a module, its integers still zero: what a checkpoint fills."""
    make = form_of(change.module)
    if make is not None:
        return make(change.module)
    return shell_of(change.module) if isinstance(change.module, LAYERS) else ExactActivation(0)


def fitted(change: Change, seen: dict[int, Seen]) -> nn.Module:
    """The exact form of a module by what came into it."""
    module, make = change.module, form_of(change.module)
    if make is not None:
        return make(module)
    known = seen[id(module)]
    if not known.count:
        raise InputError("the calibration never reached this layer: does the model use it at all?")
    if isinstance(module, LAYERS):
        return exact_layer(module, known, rounded_slope(change.slope))
    return exact_activation(known, rounded_slope(_slope(module) or 0.0))


@contextmanager
def watched(model: nn.Module, paths: list[str]) -> Iterator[dict[int, Seen]]:
    """What comes into every module whose exact form hangs on it, by its id, while the model runs."""
    seen: dict[int, Seen] = {}
    hooks = []
    for change in changes(model, paths):
        if id(change.module) not in seen and not form_of(change.module):
            seen[id(change.module)] = Seen()
            hooks.append(change.module.register_forward_pre_hook(partial(_note, change, seen[id(change.module)])))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def exact_layers(model: nn.Module) -> Iterator[tuple[str, ExactLayer]]:
    """Every exact layer of a model with its path."""
    return ((name, part) for name, part in model.named_modules() if isinstance(part, ExactLayer))


def use_carrier(model: nn.Module, carrier: str) -> None:
    """Lets every exact layer compute in ``carrier``: see :mod:`tinify.exact.arithmetic`."""
    for _, layer in exact_layers(model):
        layer.carrier = carrier


def _parts(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """A module and all within it by path, as often as they stand there, but nothing within what has its own form."""
    yield path, module
    for name, child in module._modules.items() if not form_of(module) else ():
        if child is not None:
            yield from _parts(f"{path}.{name}", child)


def _note(change: Change, seen: Seen, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    sides = 2 if isinstance(module, nn.Linear) else inputs[0].ndim if not isinstance(module, LAYERS) else 4
    if inputs[0].ndim != sides:
        raise InputError(
            f"{change.path}: its exact form takes (batch, channels{', height, width' * (sides > 2)}) alone"
        )
    seen.add(inputs[0])


def _taken(model: nn.Module, paths: list[str]) -> dict[nn.Module, nn.Module]:
    """The activations that the entry of a layer takes over, each with its layer: both stand in one place alone."""
    taken: dict[nn.Module, nn.Module] = {}
    uses = Counter(child for module in model.modules() for child in module._modules.values())
    for chain in (chain for path in paths for chain in _chains(model.get_submodule(path))):
        for place, module in enumerate(chain):
            if _slope(module) is None or uses[module] != 1:
                continue
            rest = (one for one in chain[place + 1 :] if not isinstance(one, _MOVES))
            layer = next(rest, None)
            if isinstance(layer, LAYERS) and uses[layer] == 1:
                taken[module] = layer
    return taken


def _chains(root: nn.Module) -> Iterator[list[nn.Module]]:
    """Modules that run one after another: the flattened content of every outermost ``nn.Sequential``."""
    if type(root) is nn.Sequential:
        flat = list(_flat(root))
        yield flat
        inner = [one for one in flat if not isinstance(one, (*LAYERS, *_MOVES))]
    else:
        inner = list(root.children())
    for child in inner:
        yield from _chains(child)


def _flat(chain: nn.Sequential) -> Iterator[nn.Module]:
    for child in chain:
        if type(child) is nn.Sequential:
            yield from _flat(child)
        else:
            yield child


def _slope(module: nn.Module) -> float | None:
    """What an activation multiplies negative numbers by; None for any other module."""
    if isinstance(module, nn.LeakyReLU):
        return module.negative_slope
    return 0.0 if isinstance(module, nn.ReLU) else None
