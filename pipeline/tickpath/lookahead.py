"""Looking ahead within a run of messages, so that cache misses overlap.

Applying a message touches two or three lines that are not in any cache.  Which ones follows from
the message and from each other: the order's slot and an add's level from the message, the order's
level and neighbours from its slot.  So each message is looked at twice before it is applied:
`DISTANCE` * 2 messages ahead its slot (and level) are fetched, `DISTANCE` ahead what those point
to.  Nothing is changed and nothing is decided here; a wrong guess costs a useless fetch.  It adds
no latency: only messages that have arrived in the same packet are looked at.
"""

import numpy as np

from tickpath import order_store, window
from tickpath.jit import leaf
from tickpath.layout import LOOKAHEAD, ahead, bitmap, book, engine, level, order, side, sma, trade
from tickpath.memory import prefetch
from tickpath.span import PREFIX, of_mold
from tickpath.wire.hot import peek
from tickpath.wire.itch50 import ITCH50

DISTANCE = 8
"""Messages between the two looks, and between the second one and the message's turn."""

_ADD, _REPLACE = ITCH50["add_order_no_mpid_attribution"], ITCH50["order_replace"]
_EXECUTED = ITCH50["order_executed"]
_type = peek(_ADD, "message_type")
_stock_locate = peek(_ADD, "stock_locate")
_ref = peek(_ADD, "order_reference_number")
_letter = peek(_ADD, "buy_sell_indicator")
_price = peek(_ADD, "price")
_new_price = peek(_REPLACE, "price")
_match_number = peek(_EXECUTED, "match_number")
_A, _F, _E, _U = (np.uint64(ord(code)) for code in "AFEU")
_S = np.uint64(ord("S"))
_RING = np.uint64(LOOKAHEAD - 1)
_WORD, _SIDE_BITS, _BOOK_BITS = np.uint64(6), np.uint64(10), np.uint64(11)
_INSIDE = np.uint64(1023)
ZERO, ONE = np.uint64(0), np.uint64(1)
BYTES = np.uint64(PREFIX + np.uint64(max(_ADD.length, _REPLACE.length)))
"""Bytes behind a message's prefix that the first look may read."""


@leaf
def likely_level(sd, price):
    """The level of a price if it is a tick of the side's window; another of the side's if not.

    Whether a window's ticks are fine is guessed from the price, which is in a register.
    """
    tick = price if price < window.DOLLAR else price // window.TICK
    return (sd << _SIDE_BITS) | ((tick ^ (_INSIDE * (sd & ONE))) & _INSIDE)


@leaf
def fetch_level(eng, lvl):
    """Fetch a window level and its bitmap word (64 levels a word, 16 words a side)."""
    prefetch(level.at(eng, lvl))
    prefetch(bitmap.at(eng, lvl >> _WORD))


@leaf
def _guess(eng, m):
    """The order's slot, the book, and the level of an add: (slot's address, book, level)."""
    kind, ref, locate = _type(m), _ref(m), _stock_locate(m)
    entry = order_store.entry_of(eng, ref)
    is_add = (kind == _A) | (kind == _F)
    locate = locate if locate < engine.books(eng) else ZERO
    sd = locate + locate + np.uint64(_letter(m) == _S)
    lvl = likely_level(sd, _price(m)) * np.uint64(is_add)
    return order.at(eng, order_store.slot_of(entry, ref)), locate, lvl


@leaf
def fetch(eng, m):
    """The first look: the order's slot, the sides (they share a line), an add's level, a book.

    Gives the slot's address and the level.
    """
    o, locate, lvl = _guess(eng, m)
    prefetch(o)
    prefetch(side.at(eng, locate + locate))
    fetch_level(eng, lvl)
    prefetch(book.at(eng, locate * np.uint64(_type(m) == _E)))
    return o, lvl


@leaf
def fetch_more(eng, m):
    """The second look, at a message that is not in the ring."""
    o, _, lvl = _guess(eng, m)
    _follow(eng, m, o, level.at(eng, lvl))


@leaf
def _look_first(eng, m, k):
    o, lvl = fetch(eng, m)
    place = ahead.at(eng, k & _RING)
    ahead.set_message(place, m)
    ahead.set_order(place, o)
    ahead.set_level(place, level.at(eng, lvl))


@leaf
def _look_again(eng, k):
    place = ahead.at(eng, k & _RING)
    _follow(eng, ahead.message(place), ahead.order(place), ahead.level(place))


@leaf
def _follow(eng, m, o, likely):
    """Fetch the order's level and neighbours, where an add is queued, and what only some need."""
    lvl = order.level(o)
    prefetch(order.at(eng, order.next(o)))
    prefetch(order.at(eng, order.previous(o)))
    prefetch(order.at(eng, level.tail(likely)))
    if lvl < engine.far0(eng):
        fetch_level(eng, lvl)
        kind = _type(m)
        if kind == _U:
            fetch_level(eng, likely_level(lvl >> _SIDE_BITS, _new_price(m)))
        elif kind == _E:
            b = lvl >> _BOOK_BITS
            prefetch(sma.at(eng, b * engine.sma_window(eng) + book.sma_at(book.at(eng, b))))
            prefetch(trade.at(eng, _match_number(m) & engine.trade_mask(eng)))
    else:
        prefetch(level.at(eng, lvl))


def _in_turn(away, look, others):
    """A look at the message ``away`` ones behind the turn, and the other looks."""
    distance = np.uint64(away)

    @leaf
    def looks(eng, looked, turn):
        if turn + distance < looked:
            look(eng, turn + distance)
        others(eng, looked, turn)

    return looks


@leaf
def _no_look(eng, looked, turn):
    """Behind the last one."""


def ring(span, body, least, look_first, *later):
    """(``fill``, ``step``) of one feed, whose loop looks at messages by them.

    ``span`` gives the bytes from one message to the next, ``body`` where in those it begins,
    ``least`` what the first look may read.  ``look_first`` is the first look, at ``(engine,
    message, number)``, ``later`` are those after it, at ``(engine, number)``, `DISTANCE` messages
    apart; the number's place in the ring is what they share.
    """
    furthest = np.uint64((1 + len(later)) * DISTANCE)
    assert furthest < LOOKAHEAD
    look_again = _no_look
    for number, look in enumerate(reversed(later), 1):
        look_again = _in_turn(number * DISTANCE, look, look_again)

    @leaf
    def fill(eng, m, end, looked):
        """Look at messages from ``m`` until the ring holds enough; gives (m, looked)."""
        while looked < furthest and m + least <= end:
            look_first(eng, m + body, looked)
            m += span(m)
            looked += ONE
        return m, looked

    @leaf
    def step(eng, m, end, looked, turn):
        """One message more at each look; gives (m, looked).

        ``turn`` is the message that is applied next.
        """
        if m + least <= end:
            look_first(eng, m + body, looked)
            m += span(m)
            looked += ONE
        look_again(eng, looked, turn)
        return m, looked

    return fill, step


fill, step = ring(of_mold, PREFIX, BYTES, _look_first, _look_again)
