"""Two sample strategies: an imbalance taker and a two-sided quoter.

A strategy is a function of (engine, book, kind, flags), compiled by Numba and called for every
message.  It reads through `tickpath.view`, keeps state in ``view.state(engine)``, whose first cells
hold the configured parameters, and asks for orders through `tickpath.emit`.
"""

from numba import njit

from tickpath import emit, event, view


@njit
def imbalance_taker(engine, book, kind, flags):
    """Take the touch when one side of it is much larger than the other.

    Parameters: 0 ratio in percent (default 1000), 1 quantity (100), 2 least shares on the larger
    side (1000).  At most one order a message, and none in a book that is not trading.
    """
    if kind != event.BOOK or not flags & event.TOP:
        return
    bid_sz, ask_sz = view.bid_sz(engine, book), view.ask_sz(engine, book)
    if bid_sz == 0 or ask_sz == 0:
        return
    parameters = view.state(engine)
    ratio = parameters[0] if parameters[0] else 1000
    quantity = parameters[1] if parameters[1] else 100
    least = parameters[2] if parameters[2] else 1000
    if max(bid_sz, ask_sz) < least or not view.is_trading(engine, book):
        return
    if bid_sz * 100 > ask_sz * ratio:
        emit.new_order(engine, book, view.BUY, quantity, view.ask_px(engine, book))
    elif ask_sz * 100 > bid_sz * ratio:
        emit.new_order(engine, book, view.SELL, quantity, view.bid_px(engine, book))


@njit
def two_sided_quoter(engine, book, kind, flags):
    """Quote both sides of one book a tick behind the touch, and follow it.

    Parameters: 0 book (required), 1 quantity (default 100), 2 ticks behind the touch (1).  The
    cells after them hold, for the bid and then the offer, user_ref_num, price, and the user_ref_num
    before that one.
    """
    cells = view.state(engine)
    if book != cells[0] or not flags & event.TOP or not view.is_trading(engine, book):
        return
    bid_px, ask_px = view.bid_px(engine, book), view.ask_px(engine, book)
    if bid_px == 0 or ask_px == 0:
        return
    quantity = cells[1] if cells[1] else 100
    away = (cells[2] if cells[2] else 1) * 100
    if bid_px > away:
        _quote(engine, book, cells, 3, view.BUY, quantity, bid_px - away)
    _quote(engine, book, cells, 6, view.SELL, quantity, ask_px + away)


@njit
def _quote(engine, book, cells, at, side, quantity, price):
    """Keep one quote at a price: a new order where none is open, replacements after that."""
    if view.order_state(engine, cells[at]) == 0:
        # The gate refused it: the order that it was to replace stands as before.
        cells[at], cells[at + 1] = cells[at + 2], 0
    is_open = view.leaves_qty(engine, cells[at]) > 0
    if is_open and cells[at + 1] == price:
        return
    cells[at + 2] = cells[at]
    if is_open:
        cells[at] = emit.replace_order(engine, cells[at], quantity, price)
    else:
        cells[at] = emit.new_order(engine, book, side, quantity, price)
    cells[at + 1] = price
