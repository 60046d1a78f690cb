"""The pre-trade gate: every intent is accepted, or rejected with one of a closed set of codes.

Each check has a `Reject` code.  `_check_all` makes all of them and sets the bit of each that
fails; the lowest bit decides, so the order of the checks is the order of the codes, and the audit
shows all that was wrong.  Before that, `_passes_all` looks whether it is plain that none can fail:
the usual case, at a third of the cost.  Either takes the same time for every order and depends on
nothing but the engine's state and engine time: a replay gives the same verdicts.  A switch
(`config.Risk.off`) clears a check's bit; a soft level below a limit counts orders that pass it
(`warned`).

Cancels and modifications only ever take shares off an order: they pass all checks.  An order is
*reducing* if its side is against the position and its quantity, together with what is already open
on that side, is no more than the position: whatever of them is executed, the position becomes
smaller and does not change its sign.  Reducing orders pass the checks of size, count, rate and
exposure, and `Kill.REDUCE_ONLY`.  They do not pass what says that the order itself is wrong or
cannot be traded now: malformed, killed, not allowed, the symbol's state, price collar, self match.
`config.Risk.reducing` makes them orders like all others.

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
    rates          token buckets in engine time (GCRA: one arrival time instead of tokens).
                   Reducing orders take from them too, as far as there is something to take
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
    RECENT_BITS,
    band,
    book,
    engine,
    gate,
    limit,
    own,
    position,
    position_of,
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
    NONE = 0  # nobody does
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
_NOTHING, _WHOLE = np.int64(0), np.int64(256)
_AMOUNTS = 14
"""Amounts that have limits: see `_amounts`."""
_REGULAR, _ANY = np.uint64(Hours.REGULAR), np.uint64(Hours.ANY)
_BAND, _OWN = np.uint64(Collar.BAND), np.uint64(Collar.OWN)
_STOP = np.uint64(Kill.STOP)
_EXPOSURE = np.uint64(EXPOSURE)
_ALL = np.uint64((1 << 64) - 1)
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
    if everywhere | strategy | symbol == ZERO:
        return ZERO, ZERO
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
def _bars_auction(g, cross):
    """1 where the auction under way, if any, bars trading."""
    after_halt = (cross == _HALT_CROSS) | (cross == _IPO_CROSS)
    return np.uint64(after_halt | ((cross != ZERO) & (gate.auctions_trade(g) == ZERO)))


@leaf
def _state_bits(eng, g, record):
    """The symbol's trading state, auctions and market hours."""
    state = book.trading_state(record)
    unknown_trades = gate.unknown_state_trades(g) != ZERO
    event = engine.market_hours(eng)
    in_market = event == _MARKET_START
    # The venue's day: O S Q M E C.  Before the first event nothing is known of it.
    in_system = in_market | (event == _SYSTEM_START) | (event == _MARKET_END)
    hours = gate.hours(g)
    open_now = (hours == _ANY) | (in_market if hours == _REGULAR else in_system)
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
        | _bars_auction(g, book.auction(record)) << code.AUCTION
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
    other = last if last != ZERO else position.prior_close(position_of(eng, b))
    return (bid + ask) >> _HALF if tight else other


@leaf
def _collar(eng, lim, reference):
    """Width of the collar around a reference price: the symbol's own, or the price's band's."""
    own_width = max(reference * limit.collar_bp(lim) // _BASIS, limit.collar_px(lim))
    bp, px = ZERO, ZERO
    for n in range(gate.bands(gate.at(eng, ZERO))):
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
    record, p = book.at(eng, b), position_of(eng, b)
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
    now, window, again = engine.engine_time(eng), gate.duplicate_window(g), False
    if window != ZERO:
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
def _arrival_after(arrival, now, interval, burst):
    """A bucket's arrival time after one order; one that may ignore it owes nothing."""
    return min(max(arrival, now), now + burst) + interval


@leaf
def take_rate(eng, b, is_buy, quantity, price):
    """An order was accepted: it takes from both buckets, and one like it is a repetition now."""
    g, lim, p = gate.at(eng, ZERO), limit.at(eng, b), position_of(eng, b)
    now = engine.engine_time(eng)
    following = _arrival_after(gate.rate_arrival(g), now, gate.rate_interval(g), gate.rate_burst(g))
    gate.set_rate_arrival(g, following)
    following = _arrival_after(
        position.rate_arrival(p), now, limit.rate_interval(lim), limit.rate_burst(lim)
    )
    position.set_rate_arrival(p, following)
    if gate.duplicate_window(g) != ZERO:
        key = _recent_key(b, is_buy, quantity, price)
        like = _recent_of(eng, key)
        recent.set_key(like, key)
        recent.set_ts(like, now)


# ---------------------------------------------------------------- exposure


@leaf
def mark_again(eng, b):
    """Value a book's position at the present mark, in the engine's totals too."""
    g, p = gate.at(eng, ZERO), position_of(eng, b)
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
def _amounts(g, p, is_buy, quantity, notional, less, less_notional, is_new):
    """What would be with the order, in the order of `_most`.

    ``less`` and ``less_notional`` as in `check`.
    """
    held, shares = position.quantity(p), np.int64(quantity - less)
    more = np.int64(notional) - np.int64(less_notional)
    open_buy, open_sell = np.int64(position.open_buy(p)), np.int64(position.open_sell(p))
    after = held + open_buy + shares if is_buy else held - open_sell - shares
    buying, selling = gate.open_buy_notional(g), gate.open_sell_notional(g)
    net = gate.net(g)
    return (
        np.int64(quantity),
        np.int64(notional),
        np.int64(gate.open_orders(g)) + np.int64(is_new),
        np.int64(position.open_orders(p)) + np.int64(is_new),
        after,
        -after,
        gate.gross(g) + buying + selling + more,
        net + buying + more if is_buy else selling + more - net,
        np.int64(position.day_quantity(p)) + open_buy + open_sell + shares,
        np.int64(gate.day_quantity(g)) + shares,
        np.int64(position.day_notional(p))
        + np.int64(position.open_buy_notional(p) + position.open_sell_notional(p))
        + more,
        np.int64(gate.day_notional(g)) + buying + selling + more,
        -pnl(p),
        -gate.pnl(g),
    )


@leaf
def _most(g, lim):
    """The limits of `_amounts`."""
    return (
        np.int64(limit.max_quantity(lim)),
        np.int64(limit.max_notional(lim)),
        np.int64(gate.max_open_orders(g)),
        np.int64(limit.max_open_orders(lim)),
        limit.max_long(lim),
        limit.max_short(lim),
        gate.max_gross(g),
        gate.max_net(g),
        np.int64(limit.max_daily_quantity(lim)),
        np.int64(gate.max_daily_quantity(g)),
        np.int64(limit.max_daily_notional(lim)),
        np.int64(gate.max_daily_notional(g)),
        limit.max_loss(lim),
        gate.max_loss(g),
    )


_CODES = tuple(
    np.uint64(each)
    for each in (
        *(Reject.QUANTITY, Reject.NOTIONAL, Reject.OPEN_ORDERS, Reject.SYMBOL_OPEN_ORDERS),
        *(Reject.POSITION_LONG, Reject.POSITION_SHORT, Reject.GROSS_NOTIONAL),
        *(Reject.NET_NOTIONAL, Reject.DAILY_QUANTITY, Reject.DAILY_QUANTITY),
        *(Reject.DAILY_NOTIONAL, Reject.DAILY_NOTIONAL, Reject.LOSS_LIMIT, Reject.LOSS_LIMIT),
    )
)


@leaf
def _are_far(g, amounts, most):
    """True where no amount is anywhere near its limit: all differences have the same sign.

    A limit shifted by `near_shift` is not above its soft level (see `limits.set_gate`).
    """
    shift = np.int64(gate.near_shift(g))
    # Written out: a loop would put both tuples into memory.
    signs = (most[0] >> shift) - amounts[0]
    signs |= (most[1] >> shift) - amounts[1]
    signs |= (most[2] >> shift) - amounts[2]
    signs |= (most[3] >> shift) - amounts[3]
    signs |= (most[4] >> shift) - amounts[4]
    signs |= (most[5] >> shift) - amounts[5]
    signs |= (most[6] >> shift) - amounts[6]
    signs |= (most[7] >> shift) - amounts[7]
    signs |= (most[8] >> shift) - amounts[8]
    signs |= (most[9] >> shift) - amounts[9]
    signs |= (most[10] >> shift) - amounts[10]
    signs |= (most[11] >> shift) - amounts[11]
    signs |= (most[12] >> shift) - amounts[12]
    signs |= (most[13] >> shift) - amounts[13]
    return signs >= _NOTHING


@cold
def _bits_beyond(g, lim, p, is_buy, quantity, notional, less, less_notional, is_new, soft):
    """Bits of the amounts beyond ``soft`` 256ths of their limits."""
    amounts = _amounts(g, p, is_buy, quantity, notional, less, less_notional, is_new)
    most, bits = _most(g, lim), ZERO
    for n in range(_AMOUNTS):
        # most * soft // 256, in two parts because the product may not fit.
        low = ((most[n] & _SOFT_MASK) * soft) >> _SOFT_SHIFT
        bits |= _bit(amounts[n] > (most[n] >> _SOFT_SHIFT) * soft + low, _CODES[n])
    return bits


@leaf
def _exposure_bits(g, lim, p, is_buy, quantity, notional, less, less_notional, is_new):
    """Bits of all that would be too much with the order: (failed, beyond the soft level)."""
    hard = _bits_beyond(g, lim, p, is_buy, quantity, notional, less, less_notional, is_new, _WHOLE)
    soft = np.int64(gate.soft(g))
    return hard, _bits_beyond(
        g, lim, p, is_buy, quantity, notional, less, less_notional, is_new, soft
    )


@leaf
def _short_sale_bits(eng, b, g, record, p, quantity, less, price):
    """Bits of the checks of a sell order that is a short sale."""
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
    return _bit(short & restricted & at_bid, code.SHORT_SALE_RESTRICTED) | _bit(
        short & (gate.locate_required(g) != ZERO) & (not located), code.NO_LOCATE
    )


@leaf
def _would_match_itself(p, is_buy, price):
    """True where an own open order of the other side would be hit."""
    best_buy, best_sell = position.best_buy(p), position.best_sell(p)
    hits_sell = (best_sell != ZERO) & (price >= best_sell)
    hits_buy = (best_buy != ZERO) & ((price <= best_buy) | (price == _MARKET_PRICE))
    return hits_sell if is_buy else hits_buy


@leaf
def _is_short(p, quantity, less):
    """True where a sell order sells more than is owned and not offered yet."""
    owned = position.quantity(p) - np.int64(position.open_sell(p)) + np.int64(less)
    return owned < np.int64(quantity)


@leaf
def _is_reducing(g, p, is_buy, quantity, less):
    held = position.quantity(p) if gate.reducing_checked(g) == ZERO else _NOTHING
    against = held < _NOTHING if is_buy else held > _NOTHING
    beside = position.open_buy(p) if is_buy else position.open_sell(p)
    return against & (np.int64(beside - less + quantity) <= abs(held))


@cold
def _check_all(eng, b, side_code, quantity, price, less, less_notional, is_new):
    """Every check, whatever the others say; gives the bits of those that fail.

    The bits of soft levels are left in the engine's `warned`, the reference in `reference_px`.
    """
    g, lim, record, p = gate.at(eng, ZERO), limit.at(eng, b), book.at(eng, b), position_of(eng, b)
    is_buy = side_code == BUY
    prices, reference, counts_at = _price_bits(eng, b, g, lim, is_buy, price)
    hard, soft = _exposure_bits(
        g, lim, p, is_buy, quantity, quantity * counts_at, less, less_notional, is_new
    )
    stopped, limited = _kill_bits(g, lim)
    always = (
        stopped
        | _bit(limit.allowed(lim) == ZERO, code.SYMBOL_NOT_ALLOWED)
        | _state_bits(eng, g, record)
        | (ZERO if is_buy else _short_sale_bits(eng, b, g, record, p, quantity, less, price))
        | prices
        | _bit(_would_match_itself(p, is_buy, price), code.SELF_MATCH)
    )
    key = _recent_key(b, is_buy, quantity, price)
    exposure = hard | limited | _repetition_bits(eng, g, lim, p, key)
    passes = ~(_EXPOSURE | limited) if _is_reducing(g, p, is_buy, quantity, less) else _ALL
    nobodys = _bit(book.venue(record) == ZERO, code.SYMBOL_NOT_ALLOWED)
    engine.set_warned(eng, soft & ~hard & passes & gate.enabled(g))
    engine.set_reference_px(eng, reference)
    return ((always | (exposure & passes)) & gate.enabled(g)) | nobodys


@leaf
def _may_go(eng, g, lim, record):
    """True where nothing that concerns the symbol, whatever the order, stands against trading."""
    in_market = (engine.market_hours(eng) == _MARKET_START) | (gate.hours(g) == _ANY)
    killed = gate.killed(g) | gate.strategy_killed(g) | limit.killed(lim)
    odd = killed | book.operational_halt(record) | book.stale(record)
    return (
        odd == ZERO
        and book.trading_state(record) == _TRADING
        and _bars_auction(g, book.auction(record)) == ZERO
        and in_market
        and limit.allowed(lim) != ZERO
        and book.venue(record) != ZERO
    )


@leaf
def _is_fair(eng, lim, p, is_buy, price, reference):
    """True where a limit order's price is within the collar and would not meet our own."""
    width = _collar(eng, lim, reference)
    if price == _MARKET_PRICE:
        return False
    if is_buy:
        return price <= reference + width and position.best_sell(p) == ZERO
    return price + width >= reference and position.best_buy(p) == ZERO


@leaf
def _is_in_time(eng, g, lim, p):
    """True where both buckets have room and repetitions are not looked for."""
    latest = engine.engine_time(eng)
    return (
        gate.rate_arrival(g) <= latest + gate.rate_burst(g)
        and position.rate_arrival(p) <= latest + limit.rate_burst(lim)
        and gate.duplicate_window(g) == ZERO
    )


@leaf
def _passes_all(eng, b, g, lim, p, is_buy, quantity, price, less, less_notional, is_new):
    """True where it is plain that no check fails and no soft level is passed.

    A row of branches that nearly always go the same way, instead of the bits of every check; what
    is not plain (an auction, a market too wide to be a reference, an own order on the other side,
    an amount beyond half of its limit) is left to `_check_all`.
    """
    record = book.at(eng, b)
    bid, ask, tight = _market(eng, b, g)
    reference = ask if is_buy else bid
    short = not is_buy and _is_short(p, quantity, less)
    test = book.reg_sho(record)
    restricted = (test == _RESTRICTED) | (test == _RESTRICTED_LATER)
    limited = restricted | (gate.locate_required(g) != ZERO)
    if not tight or (short and limited) or not _may_go(eng, g, lim, record):
        return False
    if not _is_fair(eng, lim, p, is_buy, price, reference) or not _is_in_time(eng, g, lim, p):
        return False
    amounts = _amounts(g, p, is_buy, quantity, quantity * price, less, less_notional, is_new)
    engine.set_warned(eng, ZERO)
    engine.set_reference_px(eng, reference)
    return _are_far(g, amounts, _most(g, lim))


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
    g, lim, p = gate.at(eng, ZERO), limit.at(eng, b), position_of(eng, b)
    is_buy = side_code == BUY
    mark_again(eng, b)
    failed = ZERO
    if not _passes_all(eng, b, g, lim, p, is_buy, quantity, price, less, less_notional, is_new):
        failed = _check_all(eng, b, side_code, quantity, price, less, less_notional, is_new)
    short = not is_buy and _is_short(p, quantity, less)
    reducing = np.uint64(_is_reducing(g, p, is_buy, quantity, less))
    wire_side = SELL_SHORT if short else side_code
    return failed, engine.warned(eng), engine.reference_px(eng), wire_side, reducing


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
