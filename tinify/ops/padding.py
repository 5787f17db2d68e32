"""Padding to sizes that a network takes."""

from __future__ import annotations

from tinify.errors import InputError

Padding = tuple[int, int, int, int]


def compute_padding(
    in_h: int, in_w: int, *, out_h: int | None = None, out_w: int | None = None, min_div: int = 1
) -> tuple[Padding, Padding]:
    """Centred padding to a multiple of ``min_div`` (or to ``out_h`` x ``out_w``), and its undoing.

    Returns two tuples (left, right, top, bottom) for ``torch.nn.functional.pad``; the second negates the first.

    >>> compute_padding(5, 8, min_div=4)
    ((0, 0, 1, 2), (0, 0, -1, -2))
    """
    out_h = -(-in_h // min_div) * min_div if out_h is None else out_h
    out_w = -(-in_w // min_div) * min_div if out_w is None else out_w
    if out_h % min_div or out_w % min_div or out_h < in_h or out_w < in_w:
        raise InputError(
            f"cannot pad {in_h}x{in_w} to {out_h}x{out_w}: the target must be a multiple of {min_div} and no smaller"
        )
    top, left = (out_h - in_h) // 2, (out_w - in_w) // 2
    pad = (left, out_w - in_w - left, top, out_h - in_h - top)
    return pad, (-pad[0], -pad[1], -pad[2], -pad[3])
