"""The market's loop: the script and the flow, merged by time, one message after another.

It ends when exactly the planned number has been said, and stops before that whenever the chunk is
full: an event is only begun where there is room for the longest one.
"""

import numpy as np

from tickpath.generate import auction, book, flow, pace
from tickpath.generate import script as scripts
from tickpath.generate.messages import say_prepared
from tickpath.generate.state import inner, level, order, script, session, symbol
from tickpath.jit import entry

EVENT_BYTES = max(flow.MOST_BYTES, auction.MOST_BYTES)
"""Room that one event may need in the chunk."""

_STATE, _OPERATIONAL = scripts.STATE, scripts.OPERATIONAL
_IMBALANCE, _CROSS, _COLLAR, _LAST = (
    scripts.IMBALANCE,
    scripts.CROSS,
    scripts.COLLAR,
    scripts.LAST,
)


@inner
def _follow_script(s):
    """Say the script's next message and do what goes with it."""
    e = script.at(s, session.script_next(s))
    session.set_script_next(s, session.script_next(s) + 1)
    session.set_now(s, max(session.now(s), script.time(e)))
    action, index, argument = script.action(e), script.symbol(e), script.argument(e)
    if action == _IMBALANCE:
        auction.imbalance(s, index, argument)
    elif action == _CROSS:
        auction.cross(s, index, argument)
    elif action == _COLLAR:
        auction.collar(s, index, argument)
    else:
        say_prepared(s, e)
        if action == _STATE:
            symbol.set_trading_state(symbol.at(s, index), argument)
        elif action == _OPERATIONAL:
            symbol.set_operational(symbol.at(s, index), argument)


@entry
def begin(s):
    """Set the flow going."""
    pace.go_on(s, 0)
    flow.aim(s)


@entry
def fill_chunk(s):
    """Say messages until the chunk is full or the session is over; the chunk's end."""
    while session.out(s) < session.limit(s):
        next_entry, spare = session.script_next(s), pace.spare(s)
        due = session.due(s) if spare > 0 else pace.FOREVER
        if next_entry < session.scripts(s):
            e = script.at(s, next_entry)
            waits = script.action(e) == _LAST and spare > 0
            if not waits and script.time(e) <= due:
                _follow_script(s)
                continue
        elif spare <= 0:
            break
        before = session.messages(s)
        session.set_now(s, max(session.now(s), session.due(s)))
        flow.step(s)
        pace.go_on(s, session.messages(s) - before)
    return session.out(s)


@entry
def walk(s, symbols, out):
    """Write every resting order into ``out``, by locate, bids first, best first, oldest first."""
    n = 0
    for sd in range(2 * symbols):
        for position in range(book.rungs_of(s, sd) - 1, -1, -1):
            index = np.int64(level.head(level.at(s, book.level_on(s, sd, position))))
            while index >= 0:
                o = order.at(s, index)
                out[n]["stock_locate"] = symbol.locate(symbol.at(s, sd >> 1))
                out[n]["side"] = ord("S") if sd & 1 else ord("B")
                out[n]["price"] = order.price(o)
                out[n]["shares"] = order.shares(o)
                out[n]["order_reference_number"] = order.reference(o)
                n += 1
                index = np.int64(order.next(o))
    return n
