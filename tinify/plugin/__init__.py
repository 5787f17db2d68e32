"""All that a plugin author imports: the hooks, ``component``, ``Slot``, ``Sig``, ``Cost`` and the limits of parameters.

A component is *declared* by a light class, importable without torch, and *implemented* by its target, imported when a
model is built::

    @component("layer", "acme/halve", target="acme.layers:Halve")
    class Halve:
        '''A strided convolution.'''

        out: Annotated[int, Range(1, 4096), "channels that come out"]

        def shape(self, x: Sig) -> Sig:
            return x.strided(2).with_channels(self.out)

    @hookimpl
    def tinify_components():
        return [Halve]
"""

from tinify.plugin.component import KINDS, RESERVED, SPEC_KINDS, Component, Slot, component
from tinify.plugin.hooks import Hooks, hookimpl
from tinify.plugin.offers import Command, Kernel, Name, Plugin
from tinify.plugin.parameters import REQUIRED, MultipleOf, Parameter, Range
from tinify.plugin.signature import Cost, ShapeError, Sig

__all__ = [
    "KINDS",
    "REQUIRED",
    "RESERVED",
    "SPEC_KINDS",
    "Command",
    "Component",
    "Cost",
    "Hooks",
    "Kernel",
    "MultipleOf",
    "Name",
    "Parameter",
    "Plugin",
    "Range",
    "ShapeError",
    "Sig",
    "Slot",
    "component",
    "hookimpl",
]
