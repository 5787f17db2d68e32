"""Models by name: trained weights, the calls for those who just want a codec, and the field's entry points."""

from tinify.names import names_of
from tinify.zoo.codecs import codec_for, compress, decompress, load_codec, load_model
from tinify.zoo.entries import EntryPoints
from tinify.zoo.image import (
    bmshj2018_factorized,
    bmshj2018_factorized_relu,
    bmshj2018_hyperprior,
    cheng2020_anchor,
    cheng2020_anchor_checkerboard,
    cheng2020_attn,
    elic2022_chandelier,
    elic2022_official,
    image_models,
    mbt2018,
    mbt2018_mean,
)
from tinify.zoo.pretrained import load_pretrained, load_state_dict

models = EntryPoints()
"""Every entry point of the field by its name, ``models["mbt2018"](quality=3)``, those of plugins among them."""

__all__ = [
    "bmshj2018_factorized",
    "bmshj2018_factorized_relu",
    "bmshj2018_hyperprior",
    "cheng2020_anchor",
    "cheng2020_anchor_checkerboard",
    "cheng2020_attn",
    "codec_for",
    "compress",
    "decompress",
    "elic2022_chandelier",
    "elic2022_official",
    "image_models",
    "load_codec",
    "load_model",
    "load_pretrained",
    "load_state_dict",
    "mbt2018",
    "mbt2018_mean",
    "models",
]

__getattr__ = names_of(__name__)
