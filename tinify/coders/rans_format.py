"""The numbers of the rANS format, and the record of a string being read; specs/FORMAT.md explains them."""

from __future__ import annotations

BUCKETS = 256
"""Parts of the slot range, by which decoding narrows its search for a bin."""
ESCAPE_BYTES = 5
"""The longest escape: 35 bits hold the distance between any symbol and any row."""
TINY_LOW = 1 << 40
"""Below it a tiny string's state is refilled, by bytes."""
LANES_LOW = 1 << 32
"""Below it a lane's state is refilled, by words."""
ESCAPED = -(2**15)
"""What stands for the escape among the symbols of packed tables."""

CURSOR = WORD, END, ESCAPE, FLOOR, LANE, LANES, JOIN, ORIGIN = range(8)
"""Of a lane string being read: the next word, where words end, where the next escape ends and the first may begin, the
lane of the next symbol, the number of lanes, the symbols until the lanes join (-1: they do not), and the byte of the
string where word 0 would be."""

STATUS = FINE, OTHER_ROWS, UNSOUND, NOT_MET, TOO_WIDE, BAD_START, BAD_END = range(7)
"""How a kernel ends: well; an index of no row; a string that ends too early or an escape that is none; lanes that do
not meet where they join; a symbol that the type of the output cannot hold; a lane that begins out of range; a string
that ends before its last symbol, or after it."""
