"""A plugin that declares a layer in tinify's own namespace."""

from tinify.plugin import Sig, component, hookimpl


@component("layer", "gdn", target="torch.nn:Identity")
class Gdn:
    """Not the GDN that a spec means."""

    def shape(self, x: Sig) -> Sig:
        return x


@hookimpl
def tinify_components():
    return [Gdn]
