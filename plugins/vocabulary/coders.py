"""Declarations of the entropy coders."""

from __future__ import annotations

from tinify.plugin import component


@component("coder", "ans", target="tinify.coders.rans:RansCoder")
class Ans:
    """Interleaved rANS with 48-bit states and 16-bit words."""


@component("coder", "ans_gpu", target="tinify.coders.rans:for_gpus")
class AnsGpu:
    """The rANS of ``ans`` in short chunks, which a GPU writes and reads by itself: 1 to 6 % more bytes."""


@component("coder", "rangecoder", target="tinify.coders.range_coder:RangeCoder")
class RangeCoder:
    """Range coder with a 48-bit span: the shortest strings of few symbols."""


@component("coder", "compat", target="tinify.coders.compat:CompatCoder")
class Compat:
    """rANS with one 64-bit state, the strings of CompressAI."""


CODERS = (Ans, AnsGpu, RangeCoder, Compat)
