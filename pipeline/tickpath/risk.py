"""The pre-trade gate: every intent is accepted, or rejected with one of a closed set of codes.

All checks are made, without branching, and each that fails sets the bit of its `Reject` code; the
lowest bit decides.  So the order of the checks is the order of the codes, the whole list takes the
same time for every order, and the audit shows all that was wrong.  Nothing but the engine's state
and engine time goes in: a replay gives the same verdicts.  A switch (`config.Risk.off`) clears a
check's bit; a soft level below a limit counts orders that pass it (`warned`).

Cancels and modifications only ever take shares off an order: they pass all checks.  An order is
*reducing* if its side is against the position and its quantity, together with what is already open
on that side, is no more than the position: whatever of them is executed, the position becomes
smaller and does not change its sign.  Reducing orders pass the checks of size, count, rate and
exposure, and `Kill.REDUCE_ONLY`.  They do not pass what says that the order itself is wrong or
cannot be traded now: malformed, killed, not allowed, the symbol's state, price collar, self match.

    reference      the other side's best price, if both sides are there and not too wide apart; else
                   the last sale, if it is fresh; else the prior close; else the order is rejected
    position       with all open orders of the order's side executed, and the order itself
    notional       of the order at its price; gross and net at the positions' marks with all open
                   orders.  A position is marked again when an order for its symbol is checked, at
                   the middle of the market or what stands for it: constant time
    soft levels    of what has an amount: quantity, notional, open orders, positions, gross, net,
                   the day's totals, loss.  A level is its limit times `config.Risk.soft_percent`
                   in 1/256ths, rounded down; an order is warned of that is beyond it
    duplicates     orders sent lately are remembered in a table by a hash, in which a later order
                   may take an earlier one's place: a repetition of that is not recognised
    rates          token buckets in engine time (GCRA: one arrival time instead of tokens)
    short sale     a sell order of more than the position less what open sells take.  It is marked
                   so on the wire, needs shares located if so configured, and must stand above the
                   best bid while Reg SHO's price test is in force (Rule 201: codes 1 and 2)
    replace        checked like a new order; of its quantity only what the replaced order has not
                   executed can still be, and that stands in the place of what that one has open.
                   A replacement has its predecessor's mark: one that would make a long sale a
                   short one is malformed (cancel, and send a new order)
"""

from enum import IntEnum

import numpy as np

from tickpath.jit import cold, leaf
from tickpath.layout import (
    BANDS,
    RECENT_BITS,
    band,
    book,
    engine,
    gate,
    limit,
    own,
    position,
    recent,
    side,
)
from tickpath.memory import constants

ZERO, ONE = np.uint64(0), np.uint64(1)


class Reject(IntEnum):
    """Why an intent was not sent; ACCEPTED is none.  The checks are made in this order."""

    ACCEPTED = 0
    MALFORMED = 1  # no shares, or a side, price or book that cannot be; a cancel to no fewer shares
    UNKNOWN_ORDER = 2  # of an order that is closed, was never sent, or is being replaced already
    OWN_ORDERS_FULL = 3  # its place in the table is taken by an older order that is still open
    AUDIT_FULL = 4  # decisions cannot be written down any more
    KILL_SWITCH = 5
    STRATEGY_KILLED = 6
    SYMBOL_KILLED = 7
    SYMBOL_NOT_ALLOWED = 8  # or the book has no symbol, which no switch lets pass
    HALTED = 9
    OPERATIONAL_HALT = 10
    LULD_PAUSE = 11
    TRADING_STATE_UNKNOWN = 12  # quotation only, or nothing was heard of it yet
    AUCTION = 13
    MARKET_HOURS = 14
    STALE_BOOK = 15  # a gap was declared
    SHORT_SALE_RESTRICTED = 16
    NO_LOCATE = 17
    QUANTITY = 18
    NOTIONAL = 19
    NO_REFERENCE = 20
    STALE_REFERENCE = 21
    PRICE_COLLAR = 22
    MARKET_ORDER = 23
    DUPLICATE_ORDER = 24
    ORDER_RATE = 25
    SYMBOL_ORDER_RATE = 26
    OPEN_ORDERS = 27
    SYMBOL_OPEN_ORDERS = 28
    POSITION_LONG = 29
    POSITION_SHORT = 30
    GROSS_NOTIONAL = 31
    NET_NOTIONAL = 32
    DAILY_QUANTITY = 33
    DAILY_NOTIONAL = 34
    SELF_MATCH = 35
    LOSS_LIMIT = 36


class Kill(IntEnum):
    """Levels of the kill switches.  They are latched: only an operator's reset takes them back."""

    NONE = 0
    REDUCE_ONLY = 1
    STOP = 2


class Hours(IntEnum):
    """When orders may be sent, by the venue's system events."""

    REGULAR = 0
    EXTENDED = 1
    ANY = 2


class Collar(IntEnum):
    """Whose collar an order for a symbol has."""

    BAND = 0  # that of the reference price's band
    OWN = 1
    TIGHTER = 2  # the narrower one of the two


class FillModel(IntEnum):
    """Who answers orders: see `tickpath.fills`."""

    EXCHANGE = 0
    TOUCH = 1
    THROUGH = 2
    QUEUE = 3


EXPOSURE = sum(
    1 << code
    for code in (
        *(Reject.QUANTITY, Reject.NOTIONAL, Reject.DUPLICATE_ORDER, Reject.ORDER_RATE),
        *(Reject.SYMBOL_ORDER_RATE, Reject.OPEN_ORDERS, Reject.SYMBOL_OPEN_ORDERS),
        *(Reject.POSITION_LONG, Reject.POSITION_SHORT, Reject.GROSS_NOTIONAL),
        *(Reject.NET_NOTIONAL, Reject.DAILY_QUANTITY, Reject.DAILY_NOTIONAL, Reject.LOSS_LIMIT),
    )
)
"""Checks that reducing orders pass."""

MAX_PRICE = 1_999_999_900
"""Highest limit price that OUCH takes, in 1e-4: $199,999.99."""
MARKET_PRICE = 0x7FFFFFFF
"""The price that says market order, in OUCH 4.2 and 5.0."""
MAX_SHARES = 999_999
"""Most shares that one OUCH order takes."""
_MAX_PRICE, _MAX_SHARES = np.uint64(MAX_PRICE), np.uint64(MAX_SHARES)
_MARKET_PRICE = np.uint64(MARKET_PRICE)
BUY, SELL = np.uint64(ord("B")), np.uint64(ord("S"))
SELL_SHORT = np.uint64(ord("T"))
_TRADING, _HALTED = np.uint64(ord("T")), np.uint64(ord("H"))
_PAUSED = np.uint64(ord("P"))
_HALT_CROSS, _IPO_CROSS = np.uint64(ord("H")), np.uint64(ord("I"))
_RESTRICTED, _RESTRICTED_LATER = np.uint64(ord("1")), np.uint64(ord("2"))
_SYSTEM_START, _SYSTEM_END = np.uint64(ord("S")), np.uint64(ord("E"))
_MARKET_START, _MARKET_END = np.uint64(ord("Q")), np.uint64(ord("M"))
_BASIS = np.uint64(10_000)
_HALF = np.uint64(1)
_SOFT_SHIFT, _SOFT_MASK = np.int64(8), np.int64(255)
_NOTHING = np.int64(0)
_REGULAR, _ANY = np.uint64(Hours.REGULAR), np.uint64(Hours.ANY)
_BAND, _OWN = np.uint64(Collar.BAND), np.uint64(Collar.OWN)
_STOP = np.uint64(Kill.STOP)
_EXPOSURE = np.uint64(EXPOSURE)
_ALL = np.uint64((1 << 64) - 1)
_BANDS = np.uint64(BANDS)
_RECENT_SHIFT = np.uint64(64 - RECENT_BITS)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_20, _32, _8 = np.uint64(20), np.uint64(32), np.uint64(8)

code = constants(Reject)


@leaf
def _bit(fails, number):
    return np.uint64(fails) << number


@leaf
def is_well_formed(eng, b, side_code, quantity, price):
    return (
        ((side_code == BUY) | (side_code == SELL))
        & (quantity > ZERO)
        & (quantity <= _MAX_SHARES)
        & (price > ZERO)
        & ((price <= _MAX_PRICE) | (price == _MARKET_PRICE))
        & (b > ZERO)
        & (b < engine.books(eng))
    )


# ---------------------------------------------------------------- may it be traded at all


@leaf
def _kill_bits(g, lim):
    """Bits of the three switches at a level that stops orders; those at `REDUCE_ONLY` apart."""
    everywhere, strategy, symbol = gate.killed(g), gate.strategy_killed(g), limit.killed(lim)
    stopped = (
        _bit(everywhere == _STOP, code.KILL_SWITCH)
        | _bit(strategy == _STOP, code.STRATEGY_KILLED)
        | _bit(symbol == _STOP, code.SYMBOL_KILLED)
    )
    limited = (
        _bit(everywhere == ONE, code.KILL_SWITCH)
        | _bit(strategy == ONE, code.STRATEGY_KILLED)
        | _bit(symbol == ONE, code.SYMBOL_KILLED)
    )
    return stopped, limited


@leaf
def _state_bits(eng, g, record):
    """The symbol's trading state, auctions and market hours."""
    state, cross = book.trading_state(record), book.auction(record)
    unknown_trades = gate.unknown_state_trades(g) != ZERO
    event = engine.market_hours(eng)
    in_market = event == _MARKET_START
    # The venue's day: O S Q M E C.  Before the first event nothing is known of it.
    in_system = in_market | (event == _SYSTEM_START) | (event == _MARKET_END)
    hours = gate.hours(g)
    open_now = (hours == _ANY) | (in_market if hours == _REGULAR else in_system)
    after_halt = (cross == _HALT_CROSS) | (cross == _IPO_CROSS)
    fails_unknown = (
        (state != _TRADING)
        & (state != _HALTED)
        & (state != _PAUSED)
        & (not ((state == ZERO) & unknown_trades))
    )
    return (
        _bit(state == _HALTED, code.HALTED)
        | _bit(book.operational_halt(record) != ZERO, code.OPERATIONAL_HALT)
        | _bit(state == _PAUSED, code.LULD_PAUSE)
        | _bit(fails_unknown, code.TRADING_STATE_UNKNOWN)
        | _bit(after_halt | ((cross != ZERO) & (gate.auctions_trade(g) == ZERO)), code.AUCTION)
        | _bit(not (open_now | ((event == ZERO) & unknown_trades)), code.MARKET_HOURS)
        | _bit(book.stale(record) != ZERO, code.STALE_BOOK)
    )


@leaf
def may_trade(eng, b):
    """True while the checks of the symbol's state let orders for a book pass."""
    g = gate.at(eng, ZERO)
    return _state_bits(eng, g, book.at(eng, b)) & gate.enabled(g) == ZERO


# ---------------------------------------------------------------- prices


@leaf
def _market(eng, b, g):
    """(best bid, best offer, whether they are a reference: both there, and not too far apart)."""
    bids, offers = side.at(eng, b + b), side.at(eng, b + b + ONE)
    bid, ask = side.best_px(bids), side.best_px(offers)
    both = (side.best(bids) != ZERO) & (side.best(offers) != ZERO)
    spread = ask - bid if ask > bid else ZERO
    return bid, ask, both & (spread * _BASIS <= ask * gate.max_spread_bp(g))


@leaf
def mark(eng, b):
    """What a position is valued at, in 1e-4; 0 where nothing is known."""
    bid, ask, tight = _market(eng, b, gate.at(eng, ZERO))
    last = book.last_px(book.at(eng, b))
    other = last if last != ZERO else position.prior_close(position.at(eng, b))
    return (bid + ask) >> _HALF if tight else other


@leaf
def _collar(eng, lim, reference):
    """Width of the collar around a reference price: the symbol's own, or the price's band's."""
    own_width = max(reference * limit.collar_bp(lim) // _BASIS, limit.collar_px(lim))
    bp, px = ZERO, ZERO
    for n in range(_BANDS):
        each = band.at(eng, np.uint64(n))
        applies = reference >= band.from_px(each)
        bp = band.collar_bp(each) if applies else bp
        px = band.collar_px(each) if applies else px
    width = max(reference * bp // _BASIS, px)
    whose = limit.own_collar(lim)
    narrower = own_width if own_width < width else width
    return width if whose == _BAND else (own_width if whose == _OWN else narrower)


@leaf
def _price_bits(eng, b, g, lim, is_buy, price):
    """Bits of the reference waterfall and of the collar, and the reference price."""
    bid, ask, tight = _market(eng, b, g)
    record, p = book.at(eng, b), position.at(eng, b)
    last, close = book.last_px(record), position.prior_close(p)
    fresh = (last != ZERO) & (engine.engine_time(eng) - book.last_ts(record) <= gate.max_age(g))
    known = tight | fresh | (close != ZERO)
    reference = (ask if is_buy else bid) if tight else (last if fresh else close)
    width = _collar(eng, lim, reference)
    beyond = price > reference + width if is_buy else price + width < reference
    at_market = price == _MARKET_PRICE
    bits = (
        _bit((not known) & (last == ZERO), code.NO_REFERENCE)
        | _bit((not known) & (last != ZERO), code.STALE_REFERENCE)
        | _bit(known & beyond & (not at_market), code.PRICE_COLLAR)
        | _bit(at_market & (gate.market_orders(g) == ZERO), code.MARKET_ORDER)
    )
    # A market order counts at the worst price that the collar would let a limit order have.
    worst = reference + width if is_buy else reference
    return bits, reference, worst if at_market else price


# ---------------------------------------------------------------- repetition and rates


@leaf
def _recent_key(b, is_buy, quantity, price):
    return (price | (b << _32)) * _MIX ^ (quantity << ONE | np.uint64(is_buy)) * _MIX << _20


@leaf
def _recent_of(eng, key):
    return recent.at(eng, (key * _MIX) >> _RECENT_SHIFT)


@leaf
def _repetition_bits(eng, g, lim, p, key):
    now, window = engine.engine_time(eng), gate.duplicate_window(g)
    like = _recent_of(eng, key)
    again = (recent.key(like) == key) & (now - recent.ts(like) < window)
    arrival, symbol_arrival = gate.rate_arrival(g), position.rate_arrival(p)
    ahead = arrival - now if arrival > now else ZERO
    symbol_ahead = symbol_arrival - now if symbol_arrival > now else ZERO
    return (
        _bit(again, code.DUPLICATE_ORDER)
        | _bit(ahead > gate.rate_burst(g), code.ORDER_RATE)
        | _bit(symbol_ahead > limit.rate_burst(lim), code.SYMBOL_ORDER_RATE)
    )


@leaf
def take_rate(eng, b, is_buy, quantity, price):
    """An order was accepted: it takes from both buckets, and one like it is a repetition now."""
    g, lim, p = gate.at(eng, ZERO), limit.at(eng, b), position.at(eng, b)
    now = engine.engine_time(eng)
    gate.set_rate_arrival(g, max(gate.rate_arrival(g), now) + gate.rate_interval(g))
    position.set_rate_arrival(p, max(position.rate_arrival(p), now) + limit.rate_interval(lim))
    if gate.duplicate_window(g) != ZERO:
        key = _recent_key(b, is_buy, quantity, price)
        like = _recent_of(eng, key)
        recent.set_key(like, key)
        recent.set_ts(like, now)


# ---------------------------------------------------------------- exposure


@leaf
def mark_again(eng, b):
    """Value a book's position at the present mark, in the engine's totals too."""
    g, p = gate.at(eng, ZERO), position.at(eng, b)
    new, old, held = mark(eng, b), position.mark(p), position.quantity(p)
    new = new if new != ZERO else old
    if new != old:
        moved = held * (np.int64(new) - np.int64(old))
        gate.set_net(g, gate.net(g) + moved)
        gate.set_pnl(g, gate.pnl(g) + moved)
        gate.set_gross(g, gate.gross(g) + (moved if held >= _NOTHING else -moved))
        position.set_mark(p, new)


@leaf
def pnl(p):
    """The day's profit and loss of one book's position at its mark, in 1e-4."""
    value = position.quantity(p) * np.int64(position.mark(p))
    return position.cash(p) + value - position.start_value(p)


@leaf
def _beyond(value, most, soft, number):
    """(bit if above the limit, bit if above its soft level)."""
    # most * soft // 256, in two parts because the product may not fit.
    level = (most >> _SOFT_SHIFT) * soft + (((most & _SOFT_MASK) * soft) >> _SOFT_SHIFT)
    return _bit(value > most, number), _bit(value > level, number)


@leaf
def _exposure_bits(g, lim, p, is_buy, quantity, notional, less, less_notional, is_new):
    """Bits of all that would be too much with the order: (failed, beyond the soft level).

    ``less`` and ``less_notional`` as in `check`.
    """
    soft = np.int64(gate.soft(g))
    held, shares, money = position.quantity(p), np.int64(quantity - less), np.int64(notional)
    more = np.int64(notional) - np.int64(less_notional)
    open_buy, open_sell = np.int64(position.open_buy(p)), np.int64(position.open_sell(p))
    after = held + open_buy + shares if is_buy else held - open_sell - shares
    buying, selling = gate.open_buy_notional(g), gate.open_sell_notional(g)
    net = gate.net(g)
    one_way = net + buying + more if is_buy else selling + more - net
    gross = gate.gross(g) + buying + selling + more
    orders = np.int64(gate.open_orders(g)) + np.int64(is_new)
    symbol_orders = np.int64(position.open_orders(p)) + np.int64(is_new)
    traded = np.int64(position.day_quantity(p)) + open_buy + open_sell + shares
    traded_notional = (
        np.int64(position.day_notional(p))
        + np.int64(position.open_buy_notional(p) + position.open_sell_notional(p))
        + more
    )
    all_traded = np.int64(gate.day_quantity(g)) + shares
    all_notional = np.int64(gate.day_notional(g)) + buying + selling + more
    h0, s0 = _beyond(np.int64(quantity), np.int64(limit.max_quantity(lim)), soft, code.QUANTITY)
    h1, s1 = _beyond(money, np.int64(limit.max_notional(lim)), soft, code.NOTIONAL)
    h2, s2 = _beyond(orders, np.int64(gate.max_open_orders(g)), soft, code.OPEN_ORDERS)
    h3, s3 = _beyond(
        symbol_orders, np.int64(limit.max_open_orders(lim)), soft, code.SYMBOL_OPEN_ORDERS
    )
    h4, s4 = _beyond(after, limit.max_long(lim), soft, code.POSITION_LONG)
    h5, s5 = _beyond(-after, limit.max_short(lim), soft, code.POSITION_SHORT)
    h6, s6 = _beyond(gross, gate.max_gross(g), soft, code.GROSS_NOTIONAL)
    h7, s7 = _beyond(one_way, gate.max_net(g), soft, code.NET_NOTIONAL)
    h8, s8 = _beyond(traded, np.int64(limit.max_daily_quantity(lim)), soft, code.DAILY_QUANTITY)
    h9, s9 = _beyond(all_traded, np.int64(gate.max_daily_quantity(g)), soft, code.DAILY_QUANTITY)
    ha, sa = _beyond(
        traded_notional, np.int64(limit.max_daily_notional(lim)), soft, code.DAILY_NOTIONAL
    )
    hb, sb = _beyond(all_notional, np.int64(gate.max_daily_notional(g)), soft, code.DAILY_NOTIONAL)
    hc, sc = _beyond(-pnl(p), limit.max_loss(lim), soft, code.LOSS_LIMIT)
    hd, sd = _beyond(-gate.pnl(g), gate.max_loss(g), soft, code.LOSS_LIMIT)
    hard = h0 | h1 | h2 | h3 | h4 | h5 | h6 | h7 | h8 | h9 | ha | hb | hc | hd
    return hard, s0 | s1 | s2 | s3 | s4 | s5 | s6 | s7 | s8 | s9 | sa | sb | sc | sd


@leaf
def _short_sale_bits(eng, b, g, record, p, quantity, less, price):
    """Whether a sell order is a short sale, and the bits of its two checks."""
    owned = position.quantity(p) - np.int64(position.open_sell(p)) + np.int64(less)
    short = owned < np.int64(quantity)
    bids = side.at(eng, b + b)
    test = book.reg_sho(record)
    restricted = (test == _RESTRICTED) | (test == _RESTRICTED_LATER)
    # Rule 201: a short sale may not execute or be displayed at or below the best bid.
    at_market = price == _MARKET_PRICE
    at_bid = at_market | ((side.best(bids) != ZERO) & (price <= side.best_px(bids)))
    after = np.int64(quantity) - owned
    located = after <= np.int64(position.locate(p))
    return short, (
        _bit(short & restricted & at_bid, code.SHORT_SALE_RESTRICTED)
        | _bit(short & (gate.locate_required(g) != ZERO) & (not located), code.NO_LOCATE)
    )


@leaf
def _would_match_itself(p, is_buy, price):
    """True where an own open order of the other side would be hit."""
    best_buy, best_sell = position.best_buy(p), position.best_sell(p)
    hits_sell = (best_sell != ZERO) & (price >= best_sell)
    hits_buy = (best_buy != ZERO) & ((price <= best_buy) | (price == _MARKET_PRICE))
    return hits_sell if is_buy else hits_buy


@leaf
def check(eng, b, side_code, quantity, price, less, less_notional, is_new):
    """Verdict on a new order, or on what an order would be after a replace.

    ``less`` and ``less_notional`` are what of the order is counted already, 0 for a new one: of a
    replacement the shares that the replaced order has open, and those that it has executed.
    Gives (failed, warned, reference price, side code for the wire, reducing); ``failed`` is 0 for
    an accepted order, else its lowest set bit is the `Reject` code.
    """
    if not is_well_formed(eng, b, side_code, quantity, price):
        return ONE << code.MALFORMED, ZERO, ZERO, side_code, ZERO
    g, lim, record, p = gate.at(eng, ZERO), limit.at(eng, b), book.at(eng, b), position.at(eng, b)
    is_buy = side_code == BUY
    mark_again(eng, b)
    prices, reference, counts_at = _price_bits(eng, b, g, lim, is_buy, price)
    short, short_bits = _short_sale_bits(eng, b, g, record, p, quantity, less, price)
    key = _recent_key(b, is_buy, quantity, price)
    hard, soft = _exposure_bits(
        g, lim, p, is_buy, quantity, quantity * counts_at, less, less_notional, is_new
    )
    stopped, limited = _kill_bits(g, lim)
    held = position.quantity(p)
    against = held < _NOTHING if is_buy else held > _NOTHING
    beside = position.open_buy(p) if is_buy else position.open_sell(p)
    reducing = against & (np.int64(beside - less + quantity) <= abs(held))
    always = (
        stopped
        | _bit(limit.allowed(lim) == ZERO, code.SYMBOL_NOT_ALLOWED)
        | _state_bits(eng, g, record)
        | (ZERO if is_buy else short_bits)
        | prices
        | _bit(_would_match_itself(p, is_buy, price), code.SELF_MATCH)
    )
    exposure = hard | limited | _repetition_bits(eng, g, lim, p, key)
    passes = ~(_EXPOSURE | limited) if reducing else _ALL
    nobodys = _bit(book.venue(record) == ZERO, code.SYMBOL_NOT_ALLOWED)
    failed = ((always | (exposure & passes)) & gate.enabled(g)) | nobodys
    warned = soft & ~hard & passes & gate.enabled(g)
    wire_side = SELL_SHORT if short and not is_buy else side_code
    return failed, warned, reference, wire_side, np.uint64(reducing)


@cold
def _next_best(eng, first, is_buy):
    """Best price of our own open orders from one on along their list; 0 for none."""
    best, at = ZERO, first
    while at != ZERO:
        o = own.at(eng, at - ONE)
        price = own.price(o)
        better = price > best if is_buy else price < best
        best = price if better or best == ZERO else best
        at = own.next(o)
    return best


@leaf
def find_own_best(eng, p, is_buy):
    """Recompute the best own price of a side after an order with that price closed."""
    if is_buy:
        position.set_best_buy(p, _next_best(eng, position.first_buy(p), True))
    else:
        position.set_best_sell(p, _next_best(eng, position.first_sell(p), False))
