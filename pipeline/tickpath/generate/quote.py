"""Where an order is put: around what the market thinks a stock is worth, never across the book.

Each symbol has a fair price that wanders, most of them aimlessly, some with the day's direction.
Orders stand half a spread and a heavy-tailed number of units away from it, on the tick of their
price: a cent, or a hundredth of one below a dollar.  The fair price may run a little ahead of the
book but never far, so the book follows it through deletes and trades and need not be moved.
"""

import numpy as np

from tickpath.generate.book import best
from tickpath.generate.draw import below, bits, chance, octave, share
from tickpath.generate.state import SELL, inner, session, symbol
from tickpath.jit import leaf

CENT = 100
DOLLAR = 10_000
STUB_BID = 1 * CENT
STUB_OFFER = 1_999_999_900
"""Stub quotes: 0.01, and 199,999.99, the highest price that the feed has."""

_STUBS = 6
"""Stub quotes among 65,536 orders."""
_DEEP_OCTAVES = 10
_AIMLESS = 8_192
"""Odds in 65,536 of a step up or down without a reason."""
_COIN, _QUARTER = np.uint64(1), np.uint64(3)
_LEASH_UNITS = 6
"""Units that the fair price may be ahead of the opposite best price."""


@leaf
def floor_tick(price):
    return price if price < DOLLAR else price - price % CENT


@leaf
def ceil_tick(price):
    return price if price <= DOLLAR else price + (-price) % CENT


@leaf
def below_by_tick(price):
    """The next price that a bid may have below an offer."""
    return price - (1 if price <= DOLLAR else CENT)


@leaf
def above_by_tick(price):
    return price + (1 if price < DOLLAR else CENT)


@inner
def wander(s, index):
    """Move a symbol's fair price by a step, or not, and keep it near its book and its past."""
    y = symbol.at(s, index)
    fair, unit, drift = symbol.fair(y), symbol.unit(y), symbol.drift(y)
    drawn = bits(s)
    odds = share(drawn, 65_536)
    if odds < abs(drift):
        fair += unit if drift > 0 else -unit
    elif odds >= 65_536 - _AIMLESS:
        fair += unit if drawn & _COIN else -unit
    offer, bid = best(s, 2 * index + SELL), best(s, 2 * index)
    if offer:
        fair = min(fair, offer + _LEASH_UNITS * unit)
    if bid:
        fair = max(fair, bid - _LEASH_UNITS * unit)
    listed = symbol.listed(y)
    fair = min(max(fair, listed // 2), listed * 2)
    symbol.set_fair(y, fair)
    return fair


@inner
def _passive(s, sd, price):
    """The price, or the nearest one that does not meet the other side; 0 where there is none."""
    opposite = best(s, sd ^ 1)
    if sd & 1 == 0:
        return below_by_tick(opposite) if opposite and price >= opposite else price
    return above_by_tick(opposite) if opposite and price <= opposite else price


@inner
def _through(s, sd, price):
    """A price that locks or crosses the other side, for books that are to be crossed."""
    opposite = best(s, sd ^ 1)
    if opposite in (0, STUB_BID, STUB_OFFER):
        return price
    if chance(s, 32768):
        return opposite
    return above_by_tick(opposite) if sd & 1 == 0 else max(below_by_tick(opposite), 1)


@inner
def price(s, sd):
    """A price for a new order on a side; 0 where the book leaves none."""
    y = symbol.at(s, sd >> 1)
    fair, unit = symbol.fair(y), symbol.unit(y)
    drawn = bits(s)
    if share(drawn, 65536) < _STUBS:
        wanted = STUB_OFFER if sd & 1 else STUB_BID
        return _passive(s, sd, wanted)
    away = (octave(s, _DEEP_OCTAVES) - 1) * unit
    away += below(s, symbol.half_spread(y)) + 1 if drawn & _QUARTER == 0 else symbol.half_spread(y)
    if sd & 1 == 0:
        wanted = max(floor_tick(fair - away), 1)
    else:
        wanted = min(ceil_tick(fair + away), STUB_OFFER)
    if session.crossed(s) and chance(s, 66):
        return _through(s, sd, wanted)
    return _passive(s, sd, wanted)


@inner
def size(s, small):
    """Shares of a new order: mostly round lots, some odd ones, a few large."""
    drawn = below(s, 100)
    if small:
        return octave(s, 5) if drawn < 80 else 100 * octave(s, 3)
    if drawn < 58:
        return 100
    if drawn < 72:
        return 100 * (2 + below(s, 4))
    if drawn < 80:
        return 100 * octave(s, 5)
    if drawn < 97:
        return 1 + below(s, 99)
    return 100 * octave(s, 10)
