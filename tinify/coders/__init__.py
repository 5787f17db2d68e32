"""Entropy coding: frozen tables of probabilities, arrays in, bytes out."""

from tinify.coders.coder import BatchCoder, Coder, SymbolReader
from tinify.coders.incremental import Decoder, Encoder
from tinify.coders.quantize import PRECISION, pmf_to_quantized_cdf, pmfs_to_quantized_cdfs
from tinify.coders.tables import CdfTables

__all__ = [
    "PRECISION",
    "BatchCoder",
    "CdfTables",
    "Coder",
    "Decoder",
    "Encoder",
    "SymbolReader",
    "pmf_to_quantized_cdf",
    "pmfs_to_quantized_cdfs",
]
