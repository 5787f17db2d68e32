"""Compression models, built from specs or assembled by hand."""

from tinify.models.autoencoder import Autoencoder
from tinify.models.base import CompressionModel
from tinify.models.build import build_model, build_part, create_model

__all__ = ["Autoencoder", "CompressionModel", "build_model", "build_part", "create_model"]
