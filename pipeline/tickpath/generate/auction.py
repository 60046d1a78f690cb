"""Crosses and what is said around them: imbalances before, collars in a pause, the bulk print.

A cross executes displayed orders of one side, best first and head first, as non-printable
executions at the cross price; the on-open or on-close interest that meets them was never on the
book.  The bulk print that follows carries all of the cross, so tapes count it once.  A symbol with
nothing near its fair price crosses zero shares.
"""

from tickpath.generate import book, quote
from tickpath.generate.draw import below, chance, octave
from tickpath.generate.flow import is_near
from tickpath.generate.messages import (
    say_collar,
    say_cross,
    say_executed_at,
    say_imbalance,
)
from tickpath.generate.pace import spare
from tickpath.generate.pick import best_pair
from tickpath.generate.state import SELL, inner, order, symbol
from tickpath.generate.templates import LONGEST

MAX_CROSSED = 12
"""Displayed orders that one cross executes at most."""
MOST_BYTES = (MAX_CROSSED + 1) * LONGEST

_BUY_MORE, _SELL_MORE, _BALANCED, _TOO_FEW = ord("B"), ord("S"), ord("N"), ord("O")
_LESS_THAN_ONE, _NOT_CALCULATED = ord("L"), ord(" ")
_ONE, _TEN_TO_TWENTY, _TO_THIRTY, _MORE = ord("1"), ord("A"), ord("B"), ord("C")
_COLLAR_PERCENT = 5


@inner
def _variation(near, reference):
    """Price variation indicator: how far ``near`` is from ``reference``, in percent bands."""
    if near == 0 or reference == 0:
        return _NOT_CALCULATED
    percent = abs(near - reference) * 100 // reference
    if percent < 1:
        return _LESS_THAN_ONE
    if percent < 10:
        return _ONE + percent - 1
    if percent < 20:
        return _TEN_TO_TWENTY
    return _TO_THIRTY if percent < 30 else _MORE


@inner
def imbalance(s, index, cross_type):
    """Say what would cross now; nothing where neither side is near the fair price."""
    y = symbol.at(s, index)
    fair = symbol.fair(y)
    offer, bid = best_pair(s, index)
    if not is_near(fair, offer) and not is_near(fair, bid):
        say_imbalance(s, index, 0, 0, _TOO_FEW, 0, 0, 0, cross_type, _NOT_CALCULATED)
        return
    buys = is_near(fair, bid)
    reference = bid if buys else offer
    paired = 100 * (octave(s, 8) - 1) + below(s, 100)
    missing = 0 if chance(s, 6_000) else 100 * octave(s, 8)
    more = _BUY_MORE if chance(s, 32_768) else _SELL_MORE
    tick = quote.above_by_tick(reference) - reference
    near = max(reference + (below(s, 5) - 2) * tick, tick)
    far = max(near + (below(s, 9) - 4) * tick, tick)
    say_imbalance(
        s,
        index,
        paired,
        missing,
        more if missing else _BALANCED,
        reference,
        near,
        far,
        cross_type,
        _variation(near, reference),
    )


@inner
def _cross_price(s, sd, fair):
    """The price of the best or second-best level of a side, 0 where neither is near the fair one.

    A cross at the second takes orders of the first at a price better than theirs.
    """
    n = book.rungs_of(s, sd)
    if n == 0 or not is_near(fair, book.best(s, sd)):
        return 0
    if n > 1 and chance(s, 16_384):
        second = book.price_on(s, sd, n - 2)
        if is_near(fair, second):
            return second
    return book.best(s, sd)


@inner
def cross(s, index, cross_type):
    """Execute what a cross takes from the book, then print all of it."""
    fair = symbol.fair(symbol.at(s, index))
    sd = 2 * index + (SELL if chance(s, 32_768) else 0)
    price = _cross_price(s, sd, fair)
    if price == 0:
        sd ^= 1
        price = _cross_price(s, sd, fair)
    if price == 0:
        say_cross(s, index, 0, 0, cross_type)
        return
    wanted = 100 * octave(s, 8) + below(s, 100)
    left = wanted
    for _ in range(MAX_CROSSED):
        top = book.best(s, sd)
        # One message is kept for the bulk print.
        if left == 0 or spare(s) <= 1 or top == 0 or book.rank(top, sd) < book.rank(price, sd):
            break
        chosen = book.first(s, sd)
        shares = min(left, order.shares(order.at(s, chosen)))
        say_executed_at(s, chosen, shares, price, False)
        book.reduce(s, chosen, shares)
        left -= shares
    say_cross(s, index, wanted, price, cross_type)


@inner
def collar(s, index, extension):
    """Say the prices between which a paused symbol may reopen; wider at each extension."""
    y = symbol.at(s, index)
    reference = quote.floor_tick(symbol.fair(y))
    width = reference * _COLLAR_PERCENT * (extension + 1) // 100
    lower, upper = quote.floor_tick(reference - width), quote.ceil_tick(reference + width)
    say_collar(s, index, reference, lower, upper, extension)
