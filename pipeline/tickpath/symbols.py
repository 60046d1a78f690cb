"""Books and their symbols: a book is in use from its directory entry or its first order on.

For Nasdaq a book's index is the stock locate of the day; book 0 is nobody's (locate 0 is the
venue's own).  Other venues name symbols in full: theirs get the next book behind Nasdaq's, which a
table by venue and symbol finds again.  A position is a symbol's: all its books share it, on
whichever venue and under whichever locate they are opened, today or on a later day.

A book's digest keys are made of its symbol, so its symbol can change only while it holds no orders,
nor open ones of our own (a new session after the old one was emptied); what was known of the old
symbol is forgotten then, but for its position.
"""

import numpy as np

from tickpath import own_orders
from tickpath.counters import Counter
from tickpath.digest import HOT_C1, HOT_C2, HOT_C3
from tickpath.jit import cold, entry, leaf
from tickpath.layout import (
    book,
    count,
    engine,
    holding,
    limit,
    line,
    listed,
    position,
    side,
    start,
    symbol_limit,
)
from tickpath.memory import copy_bytes, prefetch, store_u64

ZERO, ONE = np.uint64(0), np.uint64(1)
_H29, _H32 = np.uint64(29), np.uint64(32)
_WORD_BYTES = np.uint64(8)
_BOOK_WORDS = book.SIZE // _WORD_BYTES
_MISMATCH = np.uint64(Counter.SYMBOL_MISMATCH)
_OUT_OF_RANGE = np.uint64(Counter.SYMBOL_OUT_OF_RANGE)
_NOT_LISTED = np.uint64(Counter.SYMBOLS_NOT_LISTED)


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
def _start_day(eng, book_index, symbol):
    """Give a book what its symbol begins the day with, if the start-of-day file says so."""
    first, last = ZERO, engine.start_count(eng)
    while first < last:
        middle = (first + last) >> ONE
        if start.symbol(start.at(eng, middle)) < symbol:
            first = middle + ONE
        else:
            last = middle
    if first < engine.start_count(eng):
        found = start.at(eng, first)
        if start.symbol(found) == symbol:
            own_orders.start_position(
                eng,
                book_index,
                start.quantity(found),
                start.prior_close(found),
                start.locate(found),
            )


@leaf
def _forget(b):
    """Zero a book's record: prints, averages and states were those of another symbol."""
    generation = book.generation(b) + ONE
    for word in range(_BOOK_WORDS):
        store_u64(b + word * _WORD_BYTES, ZERO)
    book.set_generation(b, generation)


# ---------------------------------------------------------------- symbols by name


@leaf
def _listed(eng, venue, symbol):
    """The table's entry of a symbol, or the empty one where it would be."""
    mask = engine.listed_count(eng) - ONE
    at = _home(eng, venue, symbol)
    found = listed.at(eng, at)
    while listed.book(found) != ZERO:
        if listed.symbol(found) == symbol and listed.venue(found) == venue:
            break
        at = (at + ONE) & mask
        found = listed.at(eng, at)
    return found


@leaf
def _home(eng, venue, symbol):
    return (symbol + venue) * HOT_C1 >> engine.listed_shift(eng)


@leaf
def fetch(eng, venue, symbol):
    """Bring a symbol's entry close."""
    prefetch(listed.at(eng, _home(eng, venue, symbol)))


@leaf
def book_of(eng, venue, symbol):
    """The book of a venue's symbol; 0 where it has none yet."""
    return listed.book(_listed(eng, venue, symbol))


@cold
def _list(eng, book_index, venue, symbol):
    """Enter a symbol, so that its book is found by its name."""
    found = _listed(eng, venue, symbol)
    if listed.book(found) == ZERO:
        # Half of the table stays empty, so that every search ends.
        if engine.listed_used(eng) >= engine.listed_count(eng) >> ONE:
            count(eng, _NOT_LISTED)
            return
        engine.set_listed_used(eng, engine.listed_used(eng) + ONE)
    listed.set_symbol(found, symbol)
    listed.set_venue(found, venue)
    listed.set_book(found, book_index)


@leaf
def _holding(eng, symbol):
    """The table's entry of a symbol's position, or the empty one where it would be."""
    mask = engine.holding_count(eng) - ONE
    at = symbol * HOT_C1 >> engine.holding_shift(eng)
    found = holding.at(eng, at)
    # There are at most half as many positions as entries.
    while holding.position(found) != ZERO and holding.symbol(found) != symbol:
        at = (at + ONE) & mask
        found = holding.at(eng, at)
    return found


@leaf
def _free_position(eng, book_index):
    """The index that a new symbol's position gets: the book's, if that is nobody's; 0: none."""
    if position.symbol(position.at(eng, book_index)) == ZERO:
        return book_index
    spare = engine.positions(eng)
    return spare if spare < engine.position_count(eng) else ZERO


@leaf
def _hold(eng, index, symbol):
    """Make a position a symbol's."""
    if index >= engine.positions(eng):
        engine.set_positions(eng, index + ONE)
    position.set_symbol(position.at(eng, index), symbol)
    found = _holding(eng, symbol)
    holding.set_symbol(found, symbol)
    holding.set_position(found, index)


@cold
def open_listed(eng, venue, symbol):
    """Give a venue's symbol the next book; 0, counted, where there are no more."""
    book_index = engine.listed(eng)
    if book_index >= engine.books(eng):
        count(eng, _OUT_OF_RANGE)
        return ZERO
    engine.set_listed(eng, book_index + ONE)
    open_book(eng, book_index, venue, symbol)
    return book_index


@entry
def list_all(eng):
    """Make the tables of symbols anew from books and positions (after a restore)."""
    for b in range(ONE, engine.books(eng)):
        record = book.at(eng, b)
        if book.venue(record) != ZERO:
            _list(eng, b, book.venue(record), book.symbol(record))
    for index in range(ONE, engine.position_count(eng)):
        symbol = position.symbol(position.at(eng, index))
        if symbol != ZERO:
            _hold(eng, index, symbol)


@leaf
def _is_gapped(eng, book_index):
    """Whether messages of a book that is new may have been missed."""
    if book_index < engine.locates(eng):
        return engine.gapped(eng)
    of = engine.run_line(eng)
    return line.gapped(line.at(eng, of - ONE)) if of != ZERO else ZERO


@cold
def open_book(eng, book_index, venue, symbol):
    """Give a book its symbol; a book with orders keeps the one it has."""
    b = book.at(eng, book_index)
    if book.venue(b) != ZERO and book.symbol(b) == symbol:
        return
    bids = side.at(eng, book_index + book_index)
    offers = side.at(eng, book_index + book_index + ONE)
    held = holding.position(_holding(eng, symbol))
    index = held if held != ZERO else _free_position(eng, book_index)
    is_used = (side.best(bids) != ZERO) | (side.best(offers) != ZERO)
    known = book.venue(b) != ZERO
    if is_used or index == ZERO or (known and own_orders.is_in_use(eng, book_index)):
        count(eng, _MISMATCH)
        return
    if known:
        _forget(b)
    book.set_venue(b, venue)
    book.set_symbol(b, symbol)
    # After a gap, adds to a book that nobody knew of may be missing as well.
    book.set_stale(b, _is_gapped(eng, book_index))
    if book_index >= engine.locates(eng):
        book.set_line(b, engine.run_line(eng))
    side.set_key(bids, _side_key(venue, symbol, ZERO))
    side.set_key(offers, _side_key(venue, symbol, ONE))
    _set_limits(eng, book_index, symbol)
    _list(eng, book_index, venue, symbol)
    book.set_position(b, ZERO if index == book_index else index)
    if held == ZERO:
        _hold(eng, index, symbol)
        _start_day(eng, book_index, symbol)
