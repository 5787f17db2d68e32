"""Entropy coding: frozen tables of probabilities, arrays in, bytes out."""

from tinify.coders.coder import Coder, SymbolReader
from tinify.coders.quantize import PRECISION, pmf_to_quantized_cdf
from tinify.coders.tables import CdfTables, Decoder

__all__ = ["PRECISION", "CdfTables", "Coder", "Decoder", "SymbolReader", "pmf_to_quantized_cdf"]
