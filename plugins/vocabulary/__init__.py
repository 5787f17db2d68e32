"""The common vocabulary: the parts that published architectures are made of, declared without torch."""

from __future__ import annotations

from tinify.plugin import hookimpl

from . import blocks, coders, entropy_models, latent_codecs, layers, losses, models, picture_codecs


@hookimpl
def tinify_components() -> list[type]:
    return [
        *layers.LAYERS,
        *blocks.BLOCKS,
        *entropy_models.ENTROPY_MODELS,
        *latent_codecs.LATENT_CODECS,
        *coders.CODERS,
        *losses.LOSSES,
        *models.MODELS,
        *picture_codecs.PICTURE_CODECS,
    ]
