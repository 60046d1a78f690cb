"""Books and their symbols: a book is in use from the first message that names its symbol.

For Nasdaq a book's index is the stock locate of the day; book 0 is nobody's (locate 0 is the
venue's own).  A book's digest keys are made of its symbol, so its symbol can change only while it
holds no orders (a new session after the old one was emptied).
"""

import numpy as np

from tickpath.counters import Counter
from tickpath.digest import HOT_C1, HOT_C2, HOT_C3
from tickpath.jit import cold, leaf
from tickpath.layout import book, count, engine, limit, side, symbol_limit
from tickpath.memory import copy_bytes

ZERO, ONE = np.uint64(0), np.uint64(1)
_H29, _H32 = np.uint64(29), np.uint64(32)
_MISMATCH = np.uint64(Counter.SYMBOL_MISMATCH)


@leaf
def _side_key(venue, symbol, s):
    x = symbol + venue * HOT_C1 + s * HOT_C2
    y = (x ^ (x >> _H32)) * HOT_C3
    return y ^ (y >> _H29)


@leaf
def is_open(eng, book_index):
    """True once the book's symbol is known."""
    return side.key(side.at(eng, book_index + book_index)) != ZERO


@cold
def _set_limits(eng, book_index, symbol):
    """Give a book the limits of its symbol, or the defaults, which stand first in the table."""
    chosen = symbol_limit.at(eng, ZERO)
    for index in range(ONE, engine.symbol_limit_count(eng)):
        candidate = symbol_limit.at(eng, index)
        if symbol_limit.symbol(candidate) == symbol:
            chosen = candidate
    copy_bytes(limit.at(eng, book_index), chosen, limit.SIZE)


@cold
def open_book(eng, book_index, venue, symbol):
    """Give a book its symbol; a book with orders keeps the one it has."""
    b = book.at(eng, book_index)
    if book.venue(b) != ZERO and book.symbol(b) == symbol:
        return
    bids = side.at(eng, book_index + book_index)
    offers = side.at(eng, book_index + book_index + ONE)
    if side.best(bids) != ZERO or side.best(offers) != ZERO:
        count(eng, _MISMATCH)
        return
    book.set_venue(b, venue)
    book.set_symbol(b, symbol)
    # After a gap, adds to a book that nobody knew of may be missing as well.
    book.set_stale(b, engine.gapped(eng))
    side.set_key(bids, _side_key(venue, symbol, ZERO))
    side.set_key(offers, _side_key(venue, symbol, ONE))
    _set_limits(eng, book_index, symbol)
