"""Declarations of the models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from tinify.plugin import Cost, Range, ShapeError, Sig, Slot, component


@component(
    "model",
    "autoencoder",
    target="tinify.models:Autoencoder",
    slots={
        "g_a": Slot("transform"),
        "latent_codec": Slot("latent_codec"),
        "g_s": Slot("transform"),
        "coder": Slot("coder", optional=True),
    },
)
class Autoencoder:
    """Transform coding: y = g_a(x), coded by a latent codec, x_hat = g_s(y_hat)."""

    channels: Annotated[int, Range(1, 256)] = 3

    def shape(self, slots: Callable[..., Sig], x: Sig) -> Sig:
        y = slots("g_a", x)
        y_hat = slots("latent_codec", y)
        if y_hat != y:
            raise ShapeError(
                f"the latent codec must return the latent's shape, {y}; it returns {y_hat}", "latent_codec"
            )
        x_hat = slots("g_s", y_hat)
        if x_hat != x:
            raise ShapeError(f"g_s must end at the picture's shape, {x}; it ends at {x_hat}", "g_s")
        return x_hat

    def cost(self, x: Sig) -> Cost:
        return Cost()


MODELS = (Autoencoder,)
