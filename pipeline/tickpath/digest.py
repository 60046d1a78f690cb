"""The book digest: one 64-bit number that any backend can compute from the live orders alone.

Each live order adds ``weight(venue, symbol, side, price, order_ref) * quantity`` to a wrapping
64-bit sum.  The weight is odd, so every change of a quantity changes the sum; a partial fill is one
multiplication.  It detects faults, not forgery: it is not a cryptographic hash.

    side_key = mix(symbol + venue * C1 + side * C2)      symbol: its 8 characters, big-endian
    weight   = mix(side_key + order_ref * C1 + price * C2) | 1
    mix(x)   = y ^ y >> 29  where  y = (x ^ x >> 32) * C3          all modulo 2**64

``side`` is 0 for bids and 1 for offers, ``price`` in 1e-4, ``venue`` the number in `VENUES`.
`reference` is the same in plain Python, for tests and other tools.
"""

from collections.abc import Iterable

import numpy as np

C1 = 0x9E3779B97F4A7C15
C2 = 0xC2B2AE3D27D4EB4F
C3 = 0xBF58476D1CE4E5B9
_MASK = (1 << 64) - 1

VENUES = {"nasdaq": 1, "cboe-bzx": 2, "cboe-byx": 3, "cboe-edga": 4, "cboe-edgx": 5}
VENUE_NAMES = {number: name for name, number in VENUES.items()}


def symbol_number(symbol: str) -> int:
    """A symbol's eight space-padded characters as a big-endian number."""
    return int.from_bytes(symbol.encode("latin-1").ljust(8)[:8], "big")


def symbol_text(number: int) -> str:
    """The text that `symbol_number` was made of."""
    return int(number).to_bytes(8, "big").decode("latin-1").rstrip(" \0")


def _mix(x: int) -> int:
    y = ((x ^ (x >> 32)) * C3) & _MASK
    return y ^ (y >> 29)


def side_key(venue: int, symbol: int, side: int) -> int:
    """Digest key of one side of one book."""
    return _mix((symbol + venue * C1 + side * C2) & _MASK)


def reference(orders: Iterable[tuple[int, str, int, int, int, int]]) -> int:
    """Digest of (venue, symbol, side, price, order_ref, quantity) rows, in plain Python."""
    total = 0
    for venue, symbol, side, price, order_ref, quantity in orders:
        key = side_key(venue, symbol_number(symbol), side)
        total += (_mix((key + order_ref * C1 + price * C2) & _MASK) | 1) * quantity
    return total & _MASK


HOT_C1, HOT_C2, HOT_C3 = np.uint64(C1), np.uint64(C2), np.uint64(C3)
