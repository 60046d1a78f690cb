"""Every record of the engine's block of memory, declared once.

The block starts with one `ENGINE` record; the regions follow, each an array of one record dtype.
Records name each other by index, never by address, so the block can be moved, shared or mapped
from a file.  ``layout.order.at(engine, index)`` is a record's address in hot code, and
``layout.order.quantity(address)`` a field of it; in the checked variant the index is compared with
the region's count and the address with the block (see `tickpath.memory`).

Order lifetimes decide the shapes.  An order and a price level take 16 bytes each, four to a cache
line; the two sides of a book share one line; a level's index encodes book, side and tick, so that
removing an order touches the order, its neighbours and its level, and no header in between.

    level index:  | book | side | tick modulo 1024 |      (a window level)
                  | FAR0 + n                       |      (a level outside the window)
"""

import types as python_types
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from tickpath.counters import Counter
from tickpath.jit import CHECKED, leaf
from tickpath.latency import HISTOGRAM
from tickpath.memory import accessors, constant_load, violate_index
from tickpath.order_template import TEMPLATE

WINDOW_BITS = 10
WINDOW = 1 << WINDOW_BITS
"""Ticks of a side that are found without searching."""
PAGE_BITS = 10
PAGE = 1 << PAGE_BITS
"""Orders with consecutive references that share one page of the order store."""
QUANTITY_BITS = 44
"""A level keeps its quantity in the low 44 bits of `total` and its order count above them."""
MAX_INTENTS = 16
"""Order intents a strategy may emit for one message."""
OWN_ORDERS = 1 << 16
"""Own orders that can still be cancelled or replaced."""
BANDS = 8
"""Price bands of the collar."""
OWN_EVENTS = 256
"""Events of own orders that can wait for the strategy, a power of two."""
EXECUTION_BITS = 16
NAMED_BITS = 16
RECENT_BITS = 10
REVERTS = 64
"""Limits that can be waiting to go back at one time."""
AUDIT_RECORDS = 4096
LINES = 64
HELD = 1024
"""Packets of all lines that can wait for those before them."""
HELD_BYTES = 2048
"""Largest datagram that can wait."""
ARRIVALS = 64
"""Packets of a line of which it is remembered when they came, for their twins' lead."""
GAP_RANGES = 4096
LOOKAHEAD = 64
"""Slots of the look-ahead ring; the look-ahead distance must stay below it."""


class Stage:
    """The pipeline's measured stages, in the order a packet meets them."""

    NAMES = ("frame", "line", "decode", "book", "strategy", "risk", "encode")
    TICK_TO_ORDER = len(NAMES)
    RESPONSE = len(NAMES) + 1
    LEAD_A = len(NAMES) + 2
    """Not of a stage: by how much line A was ahead of B, of packets that came on both."""
    LEAD_B = len(NAMES) + 3
    COUNT = len(NAMES) + 4


class LineKind(IntEnum):
    """How a line numbers its messages."""

    MOLD = 0  # MoldUDP64, of ITCH
    UNIT = 1  # Sequenced Unit, of PITCH


class LineState(IntEnum):
    """What a line waits for."""

    STEADY = 0  # nothing: the next packet is the next in sequence
    WINDOW = 1  # packets that are missing may still come, in another order or on the other line
    HOLE = 2  # they did not come: recovery is at work, or has not been told yet


class FeedFormat(IntEnum):
    """What UDP datagrams are taken for."""

    AUTO = 0  # Sequenced Unit where the first two bytes are the datagram's length, else MoldUDP64
    ITCH50 = 1
    PITCH = 2


class Watch:
    """Bits of `ENGINE`'s ``watch``: one load tells that a message has only to be applied."""

    SAMPLED, BBO, STRATEGY, STALE, OWN, FILLS = 1, 2, 4, 8, 16, 32


def _record(*fields: tuple, size: int | None = None) -> np.dtype:
    dtype = np.dtype(list(fields))
    assert size is None or dtype.itemsize == size, f"{dtype.names}: {dtype.itemsize} is not {size}"
    return dtype


WORD = _record(("value", "u8"))

BOOK = _record(
    ("last_ts", "u8"),  # engine time of the last print
    ("volume", "u8"),  # shares printed: E, C if printable, P, Q
    ("notional", "u8"),  # sum of price * shares of the same prints, in 1e-4
    ("ema", "i8"),  # exponential average of trade prices, 1e-4 / 65536, rounded down
    ("sma_sum", "u8"),  # sum of the last trade prices in the window
    ("last_px", "u4"),
    ("last_sz", "u4"),
    ("trades", "u4"),  # prints
    ("sma_at", "u4"),  # where the next price goes in the window
    ("sma_count", "u4"),
    ("generation", "u4"),  # how many other symbols the book had before
    # So far the line that a print touches.
    ("symbol", "u8"),  # eight space-padded characters, as the big-endian number they spell
    ("reference_px", "u4"),  # auction: current reference price (I)
    ("near_px", "u4"),
    ("far_px", "u4"),
    ("imbalance", "u4"),  # shares, saturating
    ("upper_collar_px", "u4"),  # LULD auction collar (J)
    ("lower_collar_px", "u4"),
    ("venue", "u1"),  # 0: this book is not in use
    ("trading_state", "u1"),  # H, P, Q, T of the last trading action; 0 before the first
    ("operational_halt", "u1"),  # 1 while halted on this venue
    ("reg_sho", "u1"),  # 0, 1, 2 as digits; 0 before the first
    ("auction", "u1"),  # cross type of the auction under way, 0 for none
    ("imbalance_side", "u1"),
    ("stale", "u1"),  # 1 from a gap on
    ("reserved", "u1"),
    ("round_lot_size", "u4"),
    ("position", "u4"),  # index of its symbol's position, where that is not the book's own index
    ("line", "u4"),  # index of the line that names its orders, + 1; 0: not known
    ("reserved2", "u4"),
    ("reserved3", "u8"),
    size=128,
)
SIDE = _record(
    ("key", "u8"),  # digest key of venue, symbol and side
    ("base", "u4"),  # first key of the window, a multiple of 64, and how fine its ticks are
    ("best_px", "u4"),  # 0 (bid) or 0xffffffff (offer) while the side is empty
    ("best", "u4"),  # index of the best level, 0 while the side is empty
    ("far_root", "u4"),  # tree of the levels outside the window
    ("far_best", "u4"),  # best of them
    ("summary", "u2"),  # which of the window's 16 bitmap words are not zero
    ("misses", "u2"),  # adds since the last re-centring that the ideal window would have held
    size=32,
)
LEVEL = _record(("total", "u8"), ("head", "u4"), ("tail", "u4"), size=16)
ORDER = _record(
    ("quantity", "u4"),
    ("level", "u4"),  # 0: no such order
    ("next", "u4"),
    ("previous", "u4"),
    size=16,
)
FAR = _record(
    ("price_key", "u4"),  # price, complemented on the offer side: larger is better
    ("side", "u4"),
    ("left", "u4"),
    ("right", "u4"),
    ("parent", "u4"),
    ("next_free", "u4"),
    size=24,
)
PAGE_ENTRY = _record(("number", "u8"), ("page", "u4"), ("live", "u4"), size=16)
PAGE_OWNER = _record(("number", "u8"), ("next_free", "u8"), size=16)
SPARSE_ENTRY = _record(("ref", "u8"), ("slot", "u4"), ("venue", "u4"), size=16)
SPARSE_ORDER = _record(
    ("ref", "u8"),  # as it was when `sparse_store.note_refs` was called last
    ("age", "u8"),  # larger for later orders; 0: from before our own first one
    size=16,
)
"""Of a slot whose reference does not follow from its place; a larger age came later."""
LISTED = _record(("symbol", "u8"), ("venue", "u4"), ("book", "u4"), size=16)
"""Which book a symbol of a venue has; book 0: an empty entry."""
HOLDING = _record(("symbol", "u8"), ("position", "u4"), ("reserved", "u4"), size=16)
"""Which position a symbol has; position 0: an empty entry."""
PRICE = _record(("price", "u4"))
TRADE = _record(
    ("match_number", "u8"),
    ("book", "u4"),  # 0: no trade here
    ("price", "u4"),
    ("shares", "u8"),
    ("generation", "u4"),  # the book's when the trade was printed
    ("reserved", "u4"),
    size=32,
)
_LIMITS = (
    ("max_notional", "u8"),  # 1e-4
    ("max_long", "i8"),  # shares
    ("max_short", "i8"),  # shares, as a positive number
    ("max_daily_quantity", "u8"),
    ("max_daily_notional", "u8"),
    ("max_loss", "i8"),  # 1e-4 of the day's profit and loss, as a positive number
    ("rate_interval", "u8"),  # ns of engine time that one order takes from the symbol's bucket
    ("rate_burst", "u8"),  # ns that bucket can run ahead
    ("max_quantity", "u4"),
    ("collar_bp", "u4"),  # basis points of the reference price
    ("collar_px", "u4"),  # 1e-4; the wider of the two applies
    ("max_open_orders", "u4"),
    ("own_collar", "u1"),  # 1: the two above; 0: those of the reference price's band
    ("allowed", "u1"),
    ("killed", "u1"),  # a level of `Kill`
    ("reserved", "u1"),
    ("reserved2", "u4"),
)
LIMIT = _record(*_LIMITS, size=88)
SYMBOL_LIMIT = _record(*_LIMITS, ("symbol", "u8"), size=96)
"""Limits by symbol, copied to the book when its symbol is known; the first are the defaults."""
BAND = _record(("from_px", "u4"), ("collar_bp", "u4"), ("collar_px", "u4"), size=12)
"""Price collars by the reference price: the last band that begins at or below it."""
START = _record(
    ("symbol", "u8"),
    ("quantity", "i8"),
    ("prior_close", "u4"),
    ("locate", "u4"),  # shares that may be sold short
    size=24,
)
"""What a symbol begins the day with, sorted by symbol."""
POSITION = _record(
    ("symbol", "u8"),  # whose it is; 0: nobody's
    ("quantity", "i8"),  # shares, negative when short
    ("cash", "i8"),  # 1e-4, received minus paid since the day's start
    ("start_value", "i8"),  # 1e-4: the day's first position at the prior close
    ("mark", "u8"),  # 1e-4: the price that `gross`, `net` and `pnl` of the gate count it at
    ("open_buy", "u8"),  # shares of open orders that may still be executed
    ("open_sell", "u8"),
    ("open_buy_notional", "u8"),
    ("open_sell_notional", "u8"),
    ("day_quantity", "u8"),  # shares executed
    ("day_notional", "u8"),
    ("rate_arrival", "u8"),  # theoretical arrival time of the symbol's next order
    ("best_buy", "u4"),  # highest price of our own open buys; 0: none
    ("best_sell", "u4"),  # lowest price of our own open sells; 0: none
    ("first_buy", "u4"),  # own order's place + 1
    ("first_sell", "u4"),
    ("open_orders", "u4"),
    ("prior_close", "u4"),
    ("locate", "u4"),
    ("reserved", "u4"),
    size=128,
)
GATE = _record(
    ("rate_interval", "u8"),  # ns of engine time that one order takes from the bucket
    ("rate_burst", "u8"),  # ns the bucket can run ahead
    ("rate_arrival", "u8"),  # theoretical arrival time of the next order
    ("enabled", "u8"),  # bit n: the check of `Reject` n is made
    ("gross", "i8"),  # 1e-4: sum over books of |position| at its mark
    ("net", "i8"),
    ("pnl", "i8"),  # 1e-4: the day's profit and loss, positions at their marks
    ("open_buy_notional", "i8"),  # 1e-4
    ("open_sell_notional", "i8"),
    ("day_quantity", "u8"),
    ("day_notional", "u8"),
    ("max_gross", "i8"),
    ("max_net", "i8"),
    ("max_loss", "i8"),
    ("max_daily_quantity", "u8"),
    ("max_daily_notional", "u8"),
    ("duplicate_window", "u8"),  # ns; 0: the check is off
    ("max_age", "u8"),  # ns after which a last sale is stale
    ("open_orders", "u4"),
    ("max_open_orders", "u4"),
    ("max_spread_bp", "u4"),  # of the offer: a wider market is no reference
    ("soft", "u4"),  # 1/256ths of a hard limit from which on an order is warned of
    ("killed", "u1"),  # a level of `Kill`
    ("strategy_killed", "u1"),
    ("unknown_state_trades", "u1"),
    ("hours", "u1"),  # 0 regular, 1 extended, 2 any
    ("auctions_trade", "u1"),
    ("market_orders", "u1"),  # 1: allowed
    ("locate_required", "u1"),
    ("fill_model", "u1"),  # a number of `FillModel`
    ("audit_stops", "u1"),  # 1: a full audit ring stops trading; 0: what is lost is counted
    ("immediate", "u1"),  # 1: what is not executed at once is cancelled (IOC)
    ("near_shift", "u1"),  # a limit shifted down so far is not above its soft level
    ("bands", "u1"),  # price bands of the collar in use
    ("reducing_checked", "u1"),  # 1: reducing orders pass no checks that others do not
    ("reserved", "u1"),
    ("reserved2", "u2"),
    size=176,
)
OWN = _record(
    ("order_id", "u8"),
    ("price", "u8"),
    ("market_ref", "u8"),  # the exchange's order_reference_number
    ("ahead", "u8"),  # shares in front of it in the queue (fill model)
    ("newest_ref", "u8"),  # market orders of a larger age are behind it (fill model)
    ("ts_sent", "u8"),  # engine time
    ("user_ref_num", "u4"),
    ("book", "u4"),
    ("quantity", "u4"),
    ("executed", "u4"),
    ("leaves", "u4"),  # 0: closed
    ("replaces", "u4"),  # user_ref_num of the order that this one replaces
    ("replaced_by", "u4"),  # of the replacement that was asked for
    ("next", "u4"),  # own open orders of the book and side: place + 1
    ("previous", "u4"),
    ("side", "u1"),
    ("state", "u1"),  # a number of `State`
    ("asked", "u1"),  # what the exchange has not answered yet: 1 cancel, 2 replace, 4 modify
    ("reserved", "u1"),
    ("next_named", "u4"),  # own orders whose order_id has the same hash: place + 1
    ("position", "u4"),  # index of the position that its executions change
    size=96,
)
NAMED = _record(("first", "u4"))
"""Own orders by the hash of their order_id: OUCH 4.2 names them by it.  Place + 1, 0 for none."""
EXECUTION = _record(
    ("match_number", "u8"),
    ("price", "u8"),
    ("user_ref_num", "u4"),  # 0: none here
    ("quantity", "u4"),
    size=24,
)
"""Executions of own orders, by a hash: what came before is not applied twice, and can be broken."""
OWN_EVENT = _record(
    ("price", "u8"),
    ("match_number", "u8"),
    ("user_ref_num", "u4"),
    ("book", "u4"),
    ("kind", "u4"),
    ("quantity", "u4"),
    size=32,
)
"""What happened to own orders, until the strategy has been told."""
RECENT = _record(("key", "u8"), ("ts", "u8"), size=16)
"""Orders sent lately, by a hash: see `Reject.DUPLICATE_ORDER`."""
REVERT = _record(
    ("expires", "u8"),  # engine time; 0: not in use
    ("value", "u8"),
    ("symbol", "u8"),
    ("limit", "u8"),
    size=32,
)
"""Limits that go back to what they were."""
AUDIT = _record(
    ("input_number", "u8"),
    ("ts_event", "u8"),  # engine time
    ("order_id", "u8"),
    ("symbol", "u8"),
    ("price", "u8"),
    ("failed", "u8"),  # bit n: the check of `Reject` n failed
    ("warned", "u8"),  # bit n: within its limit, but beyond the soft level
    ("position", "i8"),
    ("reference_px", "u4"),
    ("quantity", "u4"),
    ("user_ref_num", "u4"),
    ("orig_user_ref_num", "u4"),
    ("book", "u4"),
    ("kind", "u1"),
    ("side", "u1"),
    ("code", "u1"),  # `Reject`
    ("reducing", "u1"),
    size=88,
)
"""One decision of the gate."""
INTENT = _record(
    ("price", "u8"),
    ("kind", "u4"),
    ("book", "u4"),
    ("side", "u4"),
    ("quantity", "u4"),
    ("user_ref_num", "u4"),
    ("orig_user_ref_num", "u4"),
    size=32,
)
BBO = _record(
    ("bid_sz", "u8"),
    ("ask_sz", "u8"),
    ("bid_px", "u4"),
    ("ask_px", "u4"),
    size=24,
)
LINE = _record(
    ("session", "u8"),  # its first eight characters; the other two in session_tail
    ("expected", "u8"),  # sequence number of the next message
    ("first", "u8"),
    ("messages", "u8"),
    ("gap_messages", "u8"),
    ("group", "u4"),
    ("port", "u2"),
    ("session_tail", "u2"),
    ("packets", "u8"),
    ("ended", "u8"),
    ("candidate", "u8"),  # where the next packet begins if the last one, refused, was genuine
    ("unit_ns", "u8"),  # PITCH: the second that its last Time message said, as ns since midnight
    ("venue", "u4"),  # a number of `digest.VENUES`
    ("kind", "u4"),  # a number of `LineKind`
    ("b_group", "u4"),  # where the same messages come a second time; 0: nowhere
    ("b_port", "u2"),
    ("state", "u1"),  # a number of `LineState`
    ("gapped", "u1"),  # 1 from a gap on: a book of the line that is opened later is stale too
    ("first_a", "u8"),  # packets that came on line A before B, or on A alone
    ("first_b", "u8"),
    ("seen", "u8"),  # the largest sequence number that any packet says is next
    ("held", "u8"),  # packets that wait for those before them
    ("waits_since", "u8"),  # receive time of the first of them
    size=136,
)
GAP = _record(("first", "u8"), ("last", "u8"), ("line", "u8"), ("input_number", "u8"), size=32)
GROUP = _record(
    ("address", "u4"),
    ("port", "u4"),
    ("venue", "u4"),  # of its lines of PITCH; 0: `pitch_venue`
    ("a_address", "u4"),  # where the same messages come first by name, if this is a line B; else 0
    ("a_port", "u4"),
    ("reserved", "u4"),
    size=24,
)
HELD_PACKET = _record(
    ("sequence", "u8"),
    ("behind", "u8"),  # number of the message behind its last
    ("line", "u4"),  # index + 1; 0: nothing here
    ("length", "u4"),
    size=24,
)
"""A datagram that waits, which stands at the same place of `held_bytes`."""
ARRIVAL = _record(("sequence", "u8"), ("ts_recv", "u8"), size=16)
AHEAD = _record(("message", "u8"), ("order", "u8"), ("level", "u8"), ("reserved", "u8"), size=32)
"""A message that has been looked at: addresses, because they live no longer than the run."""
BYTE = _record(("value", "u1"))
CELL = _record(("value", "i8"))


class Region(NamedTuple):
    """One array of the block: how many records of which dtype."""

    name: str
    dtype: np.dtype


REGIONS = tuple(
    Region(name, dtype)
    for name, dtype in {
        "counter": WORD,
        "type_count": WORD,
        "reject": WORD,
        "book": BOOK,
        "side": SIDE,
        "bitmap": WORD,
        "level": LEVEL,
        "far": FAR,
        "order": ORDER,
        "page_entry": PAGE_ENTRY,
        "page_owner": PAGE_OWNER,
        "sparse_entry": SPARSE_ENTRY,
        "sparse_order": SPARSE_ORDER,
        "listed": LISTED,
        "holding": HOLDING,
        "sma": PRICE,
        "trade": TRADE,
        "limit": LIMIT,
        "symbol_limit": SYMBOL_LIMIT,
        "band": BAND,
        "start": START,
        "position": POSITION,
        "gate": GATE,
        "own": OWN,
        "own_books": WORD,  # bit n % 64 of word n // 64: book n may have open orders of our own
        "named": NAMED,
        "execution": EXECUTION,
        "own_event": OWN_EVENT,
        "recent": RECENT,
        "revert": REVERT,
        "audit": AUDIT,
        "intent": INTENT,
        "template": TEMPLATE,
        "egress": BYTE,
        # Rows of changed best bids and offers, a column each, so that Arrow can share them.
        "bbo_seq": WORD,
        "bbo_ts_event": WORD,
        "bbo_book": WORD,
        "bbo_bid_px": WORD,
        "bbo_bid_sz": WORD,
        "bbo_ask_px": WORD,
        "bbo_ask_sz": WORD,
        "bbo_last": BBO,
        "line": LINE,
        "gap": GAP,
        "held_packet": HELD_PACKET,
        "held_bytes": BYTE,
        "arrival": ARRIVAL,
        "group": GROUP,
        "cell": CELL,  # the strategy's own state
        "histogram": HISTOGRAM,
        "ahead": AHEAD,
        "message_length": WORD,
        "pitch_length": WORD,
        "response_length": WORD,
        "command_length": WORD,
    }.items()
)

FIXED = {
    "type_count": 256,
    "message_length": 256,
    "pitch_length": 256,
    "response_length": 256,
    "command_length": 256,
    "ahead": LOOKAHEAD,
    "counter": len(Counter),
    "gate": 1,
    "band": BANDS,
    "intent": MAX_INTENTS,
    "own_event": OWN_EVENTS,
    "recent": 1 << RECENT_BITS,
    "revert": REVERTS,
    "line": LINES,
    "held_packet": HELD,
    "held_bytes": HELD * HELD_BYTES,
    "arrival": LINES * ARRIVALS,
    "histogram": Stage.COUNT,
}
"""Records of the regions whose size no configuration changes.  They stand right behind `ENGINE`,
packed, at offsets that are constants of the compiled code: what every message touches needs no load
to be found, and does not fall into the few cache sets where pages begin."""

ENGINE = _record(
    # The inputs so far
    ("input_number", "u8"),
    ("messages", "u8"),  # market-data messages: the `seq` of outputs
    ("engine_time", "u8"),  # largest event time applied, ns since the venue's midnight
    ("book_digest", "u8"),
    ("orders_live", "u8"),
    ("timer_interval", "u8"),  # ns; 0: no timer
    ("timer_next", "u8"),
    ("alarm", "u8"),  # the earlier of the next timer and the next limit to go back
    # Stores
    ("books", "u8"),
    ("locates", "u8"),  # books below this number are Nasdaq's, by stock locate
    ("listed", "u8"),  # the next book that a symbol of another venue gets
    ("listed_used", "u8"),
    ("listed_shift", "u8"),
    ("holding_shift", "u8"),
    ("positions", "u8"),  # the next of those that are no book's own
    ("far0", "u8"),  # index of the first level outside the windows
    ("far_fresh", "u8"),
    ("far_free", "u8"),
    ("far_used", "u8"),
    ("page_mask", "u8"),
    ("page_fresh", "u8"),
    ("page_free", "u8"),
    ("page_entries", "u8"),
    ("sparse_shift", "u8"),
    ("sparse_fresh", "u8"),  # the next slot that was never used
    ("sparse_free", "u8"),
    ("sparse_live", "u8"),
    ("sparse_age", "u8"),  # of the order added last
    ("trade_mask", "u8"),
    ("sma_window", "u8"),
    ("ema_divisor", "u8"),  # window + 1
    # Strategy and orders
    ("strategy", "u8"),  # address of its machine code; 0: none
    ("strategy_latched", "u8"),
    ("strategy_error", "u8"),  # what it raised, for `invoke.explain`
    ("intents", "u8"),
    ("user_ref_num", "u8"),
    ("newest_ref", "u8"),  # reference of the market order added last
    ("next_match", "u8"),  # of the fill model's executions
    ("own_event_first", "u8"),  # events of own orders: told up to here
    ("own_event_end", "u8"),
    ("own_event", "u8"),  # the one that the strategy is being told
    ("audit_used", "u8"),
    ("warned", "u8"),  # of the last order checked: bits of soft levels that it passes
    ("reference_px", "u8"),  # of the last order checked
    ("revert_next", "u8"),  # engine time at which the next limit goes back
    ("order_protocol", "u8"),
    ("egress_used", "u8"),
    ("egress_limit", "u8"),
    ("orders_wanted", "u8"),  # 1: keep the encoded bytes until Python has taken them
    ("bbo_wanted", "u8"),
    ("audit_wanted", "u8"),  # 1: write every decision into the ring
    ("bbo_used", "u8"),
    ("bbo_limit", "u8"),
    ("message_limit", "u8"),
    ("stopped", "u8"),  # 1: the limit was reached
    ("pause", "u8"),  # 1: a buffer is nearly full, stop after this message
    # The input stream
    ("publishes", "u8"),  # address of the ring that inputs are written to; 0: none
    ("record_number", "u8"),  # of the record written or followed last
    ("epoch", "u8"),  # of whoever is active
    ("order_position", "u8"),  # bytes of encoded orders so far, each with its length before it
    ("answered", "u8"),  # number that its session gave the exchange's last answer
    ("holds", "u8"),  # bits of what keeps the strategy from being called: the failover layer's
    ("diverged", "u8"),  # why following ended: a number of `follow.Divergence`
    ("scrub_table", "u8"),  # address of the slices of the state that are said one by one
    ("scrub_slices", "u8"),
    ("scrub_every", "u8"),  # records between two of them; 0: none is said
    ("scrub_next", "u8"),  # record number from which on the next one is due
    ("scrub_slice", "u8"),  # which one it is
    # Lines
    ("groups", "u8"),  # those that are taken; 0: all
    ("group_venues", "u8"),  # records of groups, with those of which only the venue is known
    ("lines", "u8"),
    ("gaps", "u8"),
    ("watch", "u8"),  # what a message is watched for besides being applied: see `Watch`
    ("gapped", "u8"),  # 1 from the first gap on: a book that is opened later is stale too
    ("line", "u8"),  # index of the line used last
    ("reorder_packets", "u8"),  # of a line that wait before a gap is declared; 0: none
    ("reorder_ns", "u8"),  # likewise, by receive time; 0: any time
    ("recovers", "u8"),  # 1: what is missing is asked for, and nothing is declared meanwhile
    ("held", "u8"),  # packets that wait, of all lines
    ("waiting", "u8"),  # lines that are not steady
    ("ts_recv", "u8"),  # of the packet under way
    ("polled_at", "u8"),  # cycles when a live burst was lent; 0: a packet is when its turn comes
    ("bare_line", "u8"),  # index + 1 of the line that bare messages are of: a snapshot's
    ("kept", "u8"),  # bytes of the packet under way that wait
    ("run_held", "u8"),  # the place that the run under way has among the held packets, + 1
    ("market_hours", "u8"),  # event code of the last system event
    ("hours_said", "u8"),  # 1: a venue says them, 0: the clock does
    ("bare_ns", "u8"),  # as `unit_ns` of a line, of messages that came in no packet
    ("feed_format", "u8"),  # a number of `FeedFormat`
    ("pitch_venue", "u8"),  # of lines of PITCH that the configuration does not name
    # Where the loop stands, so that it can stop after any message and go on
    ("cursor", "u8"),  # address of the next message of the run under way, or, while the strategy
    # is told of one of ITCH, of that; 0: none
    ("run_end", "u8"),
    ("run_left", "u8"),
    ("run_line", "u8"),  # index of its line, + 1; 0: it came in no packet
    ("run_venue", "u8"),
    ("run_numbered", "u8"),  # 1: its messages have numbers on its line
    ("unit_ns", "u8"),  # as `unit_ns` of its line
    # Latency
    ("multiplier", "u8"),
    ("shift", "u8"),
    ("sample_mask", "u8"),  # stage stamps on packets whose number & mask is 0
    ("lent_at", "u8"),  # cycles when the packet under way was lent
    ("due_at", "u8"),  # cycles when it was due, when paced
    ("stamp", "u8"),
    ("run_kind", "u8"),  # 0 market data, else the link type of what the run is made of
    ("bare", "u8"),  # 1: the run is a daily file's, whose messages came in no packet
    ("packets", "u8"),
    ("paced", "u8"),
    ("pace_ts", "u8"),  # receive time of the first packet
    ("pace_cycles", "u8"),  # cycles at which the first packet was due
    ("pace_multiplier", "u8"),
    *[(f"{region.name}_at", "u8") for region in REGIONS],
    *[(f"{region.name}_count", "u8") for region in REGIONS],
)

ENGINE_REGION = len(REGIONS)
LINE_SIZE = 64
"""Bytes of a cache line, on which every region begins."""


def _fixed_offsets() -> tuple[dict[str, int], int]:
    """Where the fixed regions begin, and where they end."""
    dtypes = {region.name: region.dtype for region in REGIONS}
    offsets, end = {}, ENGINE.itemsize
    for name, number in FIXED.items():
        end = -(-end // LINE_SIZE) * LINE_SIZE
        offsets[name] = end
        end += number * dtypes[name].itemsize
    return offsets, end


FIXED_OFFSETS, FIXED_END = _fixed_offsets()


def _offset(name: str):
    """``offset(engine)``: where a region begins."""
    assert ENGINE.fields is not None
    if name not in FIXED:
        return constant_load(ENGINE.fields[f"{name}_at"][1])
    constant = np.uint64(FIXED_OFFSETS[name])

    @leaf
    def offset(engine):
        return constant

    return offset


def _at(name: str, dtype: np.dtype, number: int):
    """``at(engine, index)``: the address of one record of a region."""
    assert ENGINE.fields is not None
    offset_of = _offset(name)
    count_of = constant_load(ENGINE.fields[f"{name}_count"][1])
    size, region = np.uint64(dtype.itemsize), np.uint64(number)

    @leaf
    def at(engine, index):
        return engine + offset_of(engine) + index * size

    @leaf
    def checked_at(engine, index):
        if index >= count_of(engine):
            violate_index(index, region)
            return engine + offset_of(engine)
        return engine + offset_of(engine) + index * size

    return checked_at if CHECKED else at


def _space(region: Region, number: int) -> python_types.ModuleType:
    space: Any = accessors(region.name, region.dtype, number)
    space.at = _at(region.name, region.dtype, number)
    return space


engine = accessors("engine", ENGINE, ENGINE_REGION)
_SPACES = {region.name: _space(region, number) for number, region in enumerate(REGIONS)}
counter = _SPACES["counter"]
type_count = _SPACES["type_count"]
reject = _SPACES["reject"]
book = _SPACES["book"]
side = _SPACES["side"]
bitmap = _SPACES["bitmap"]
level = _SPACES["level"]
far = _SPACES["far"]
order = _SPACES["order"]
page_entry = _SPACES["page_entry"]
page_owner = _SPACES["page_owner"]
sparse_entry = _SPACES["sparse_entry"]
sparse_order = _SPACES["sparse_order"]
listed = _SPACES["listed"]
holding = _SPACES["holding"]
sma = _SPACES["sma"]
trade = _SPACES["trade"]
limit = _SPACES["limit"]
symbol_limit = _SPACES["symbol_limit"]
position = _SPACES["position"]
gate = _SPACES["gate"]
own = _SPACES["own"]
audit = _SPACES["audit"]
revert = _SPACES["revert"]
recent = _SPACES["recent"]
own_event = _SPACES["own_event"]
own_books = _SPACES["own_books"]
named = _SPACES["named"]
execution = _SPACES["execution"]
start = _SPACES["start"]
band = _SPACES["band"]
intent = _SPACES["intent"]
template = _SPACES["template"]
egress = _SPACES["egress"]
bbo_seq = _SPACES["bbo_seq"]
bbo_ts_event = _SPACES["bbo_ts_event"]
bbo_book = _SPACES["bbo_book"]
bbo_bid_px = _SPACES["bbo_bid_px"]
bbo_bid_sz = _SPACES["bbo_bid_sz"]
bbo_ask_px = _SPACES["bbo_ask_px"]
bbo_ask_sz = _SPACES["bbo_ask_sz"]
bbo_last = _SPACES["bbo_last"]
line = _SPACES["line"]
gap = _SPACES["gap"]
held_packet = _SPACES["held_packet"]
held_bytes = _SPACES["held_bytes"]
arrival = _SPACES["arrival"]
group = _SPACES["group"]
cell = _SPACES["cell"]
histogram = _SPACES["histogram"]
ahead = _SPACES["ahead"]
message_length = _SPACES["message_length"]
pitch_length = _SPACES["pitch_length"]
response_length = _SPACES["response_length"]
command_length = _SPACES["command_length"]


@leaf
def count(engine, which):
    """Add one to a counter; ``which`` is its number as ``uint64``."""
    c = counter.at(engine, which)
    counter.set_value(c, counter.value(c) + np.uint64(1))


@leaf
def count_by(engine, which, by):
    """Add ``by`` to a counter."""
    c = counter.at(engine, which)
    counter.set_value(c, counter.value(c) + by)


@leaf
def position_index(engine, b):
    """Index of a book's position: the book's own, or the one that its symbol had before."""
    elsewhere = book.position(book.at(engine, b))
    return elsewhere if elsewhere != np.uint64(0) else b


@leaf
def position_of(engine, b):
    """Address of a book's position: its symbol's, which its books on all venues share."""
    return position.at(engine, position_index(engine, b))


COUNTERS = len(Counter)
