"""The strategy of a rehearsal: every kind of order message, as often as the market moves.

An order's content follows from the engine's state alone, so nodes that agree send the same bytes.
Prices are at the touch and around it: some trade at once, most rest and are replaced or cancelled.
"""

from numba import njit

from tickpath import emit, event, view

RECENT = 16
"""Orders that are remembered, to be replaced or cancelled."""


@njit
def trade(engine, book, kind, flags):
    """One message whenever the touch of a book changes.

    Cells: 0 a generator, 1 the next place among the latest orders, from 2 on those.
    """
    if kind != event.BOOK or not flags & event.TOP or not view.is_trading(engine, book):
        return
    cells = view.state(engine)
    cells[0] = (cells[0] * 6364136223846793005 + 1442695040888963407) & 0x7FFFFFFFFFFFFFFF
    drawn = cells[0] >> 24
    bid_px, ask_px = view.bid_px(engine, book), view.ask_px(engine, book)
    if bid_px == 0 or ask_px == 0:
        return
    ref = cells[2 + drawn % RECENT]
    leaves, done = view.leaves_qty(engine, ref), view.cum_qty(engine, ref)
    choice, quantity, away = (drawn >> 4) % 8, 10 + (drawn >> 8) % 100, (drawn >> 16) % 4 * 100
    if leaves > 0 and choice < 3:
        emit.cancel_order(engine, ref, 0)
        return
    if leaves > 0 and choice < 6:
        price = bid_px - 300 if (drawn >> 20) % 2 else ask_px + 300
        ref = emit.replace_order(engine, ref, done + quantity, price)
    elif (drawn >> 20) % 2:
        ref = emit.new_order(engine, book, view.BUY, quantity, bid_px - away)
    else:
        ref = emit.new_order(engine, book, view.SELL, quantity, ask_px + away)
    # What would be forgotten is cancelled: orders that rest for ever are a wall at the touch, which
    # moves no more then, and nobody trades.
    forgotten = cells[2 + cells[1] % RECENT]
    if view.leaves_qty(engine, forgotten) > 0:
        emit.cancel_order(engine, forgotten, 0)
    cells[2 + cells[1] % RECENT] = ref
    cells[1] += 1
