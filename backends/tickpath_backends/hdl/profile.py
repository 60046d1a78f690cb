"""The hardware profile: capacities, what travels between the blocks, and the codes in it.

The one declaration that hdl/gen/layout.x (DSLX) and hdl/gen/layout.svh (SystemVerilog) are
generated from.  A struct's first field has the highest bits, in DSLX, in a SystemVerilog packed
struct and in the ports that XLS makes of either, so all three are the same vector.

Kinds: ``u1`` to ``u64`` unsigned, ``s40`` signed, any other name a struct declared before it.
Prices are in 1e-4 dollars, times in nanoseconds since the venue's midnight.

Every block hands a `Sideband` on unchanged: the engine time and the number of the input message
that an order follows from, and the packet's tag, by which the shell finds the time stamps of the
stages.
"""

from enum import IntEnum
from typing import NamedTuple

from tickpath.profile import CAPACITIES, Check, Trigger


class Profile(NamedTuple):
    """Capacities of the hardware, all fixed when it is built; those that software keeps are its."""

    symbols: int = CAPACITIES.symbols
    symbol_bits: int = CAPACITIES.symbol_bits
    live_orders: int = CAPACITIES.live_orders
    order_slots: int = CAPACITIES.order_slots
    window_ticks: int = CAPACITIES.window_ticks
    tick_bits: int = CAPACITIES.tick_bits
    cached_levels: int = CAPACITIES.cached_levels
    level_bits: int = CAPACITIES.level_bits
    tick_below_dollar: int = CAPACITIES.tick_below_dollar
    tick_from_dollar: int = CAPACITIES.tick_from_dollar
    one_dollar: int = CAPACITIES.one_dollar
    message_bytes: int = 50
    """Of the longest ITCH message."""
    fix_head_bytes: int = 128
    """Of a FIX order in front of its order type: the session's constants fill it exactly."""

    fix_message_bytes: int = 231
    """Of the longest FIX order: `fix_order` says of what."""


PROFILE = Profile()


class Op(IntEnum):
    """What an operation does to the book."""

    ADD = 0
    EXECUTE = 1
    CANCEL = 2
    DELETE = 3
    REPLACE = 4


class Kind(IntEnum):
    """What a message is to the hardware."""

    OPERATION = 0
    TRADING_ACTION = 1
    DIRECTORY = 2
    SYSTEM_EVENT = 3
    OTHER = 4
    """Known to the protocol, nothing to do."""
    UNKNOWN = 5
    MALFORMED = 6
    """Of a known type and not of its length."""
    SIDE_INVALID = 7


ENUMS: tuple[tuple[type[IntEnum], int], ...] = ((Op, 3), (Kind, 3), (Trigger, 2), (Check, 3))
"""Codes, and how many bits they have."""


class Struct(NamedTuple):
    """What a port carries: name, meaning, and fields (name, kind), highest bits first."""

    name: str
    what: str
    fields: tuple[tuple[str, str], ...]


_SYMBOL = f"u{PROFILE.symbol_bits}"
_LEVEL = f"u{PROFILE.level_bits}"
_ARRIVAL = "u50"
"""A rate bucket's arrival time: a time, a burst and an interval of 48 bits each fit."""

STRUCTS: tuple[Struct, ...] = (
    Struct(
        "Sideband",
        "Goes with a message through all stages.",
        (("ts_event", "u48"), ("input_number", "u64"), ("tag", "u16")),
    ),
    Struct(
        "Decoded",
        "Fields of one ITCH message; what a message has not is zero.",
        (
            ("kind", "u3"),
            ("op", "u3"),
            ("stock_locate", "u16"),
            ("ts_event", "u48"),
            ("order_ref", "u64"),
            ("new_order_ref", "u64"),
            ("is_sell", "u1"),
            ("price", "u32"),
            ("shares", "u32"),
            ("stock", "u64"),
            ("state", "u8"),
            ("is_print", "u1"),
        ),
    ),
    Struct(
        "Operation",
        "Decode to book.",
        (
            ("op", "u3"),
            ("symbol", _SYMBOL),
            ("order_ref", "u64"),
            ("new_order_ref", "u64"),
            ("is_sell", "u1"),
            ("price", "u32"),
            ("shares", "u32"),
            ("sideband", "Sideband"),
        ),
    ),
    Struct(
        "Top",
        "Book to trigger; a side of size 0 is empty.",
        (
            ("symbol", _SYMBOL),
            ("bid_px", "u32"),
            ("bid_sz", _LEVEL),
            ("ask_px", "u32"),
            ("ask_sz", _LEVEL),
            ("bid_changed", "u1"),
            ("ask_changed", "u1"),
            ("orders_overflow", "u1"),
            ("window_overflow", "u1"),
            ("sideband", "Sideband"),
        ),
    ),
    Struct(
        "TriggerParameters",
        "Of one symbol's trigger.",
        (
            ("kind", "u2"),
            ("is_sell", "u1"),
            ("price", "u32"),
            ("spread", "u32"),
            ("ratio_log2", "u3"),
            ("least", "u32"),
            ("quantity", "u32"),
            ("slippage", "u16"),
        ),
    ),
    Struct(
        "Intent",
        "Trigger to risk.",
        (
            ("symbol", _SYMBOL),
            ("is_sell", "u1"),
            ("price", "u32"),
            ("quantity", "u32"),
            ("sideband", "Sideband"),
        ),
    ),
    Struct(
        "Fired",
        "What a trigger makes of a top of book: whether it fires, whether what it waits for holds "
        "now (buying, selling), and the best price that the order is measured at.",
        (("fires", "u1"), ("holds", "u2"), ("reference_px", "u32"), ("intent", "Intent")),
    ),
    Struct(
        "GateLimits",
        "Limits that all symbols share.",
        (("is_killed", "u1"), ("rate_interval", "u48"), ("rate_burst", "u48")),
    ),
    Struct(
        "SymbolLimits",
        "Limits of one symbol.",
        (
            ("is_enabled", "u1"),
            ("is_cents", "u1"),
            ("max_quantity", "u32"),
            ("max_notional", "u64"),
            ("collar_ticks", "u16"),
            ("max_long", "u32"),
            ("max_short", "u32"),
            ("rate_interval", "u48"),
            ("rate_burst", "u48"),
        ),
    ),
    Struct("GateState", "What the orders so far left in the gate.", (("rate_arrival", _ARRIVAL),)),
    Struct(
        "SymbolState",
        "What the orders so far left of one symbol: long is position and open buys, short is "
        "open sells less position.",
        (
            ("is_halted", "u1"),
            ("long_exposure", "s40"),
            ("short_exposure", "s40"),
            ("rate_arrival", _ARRIVAL),
        ),
    ),
    Struct(
        "Verdict",
        "Risk to encode.",
        (("is_accepted", "u1"), ("failed", f"u{len(Check)}"), ("is_short", "u1")),
    ),
    Struct(
        "Products",
        "Price and quantity multiplied in halves of 16 bits: one multiplier of an FPGA each.",
        (("high", "u32"), ("upper", "u32"), ("lower", "u32"), ("low", "u32")),
    ),
    Struct(
        "Gated",
        "A verdict, and the states after it.",
        (("verdict", "Verdict"), ("gate", "GateState"), ("state", "SymbolState")),
    ),
    Struct(
        "Order",
        "What the encoders write; ``symbol`` is the number that its eight characters spell.",
        (
            ("order_id", "u64"),
            ("user_ref_num", "u32"),
            ("side", "u8"),
            ("quantity", "u32"),
            ("symbol", "u64"),
            ("price", "u32"),
        ),
    ),
    Struct(
        "Stamp",
        "What a FIX session writes when it sends: nine digits of four bits, and the time as text.",
        (("msg_seq_num", "u36"), ("sending_time", "u168")),
    ),
    Struct(
        "FixMessage",
        "A FIX order, zeros behind it; of length 0 where nothing is to be sent.",
        (("message", f"u{8 * PROFILE.fix_message_bytes}"), ("length", "u9")),
    ),
    Struct(
        "Reduced",
        "An order after an execution, a cancel or its end.",
        (("remaining", "u32"), ("taken", "u32"), ("is_gone", "u1")),
    ),
    Struct(
        "Level",
        "A price level's quantity; ``is_lost`` where it would have left its range and was clamped.",
        (("quantity", _LEVEL), ("is_lost", "u1")),
    ),
    Struct(
        "Tick",
        "A price in the window: its index, and whether it is in the window and on the grid.",
        (("index", f"u{PROFILE.tick_bits}"), ("is_tracked", "u1")),
    ),
    Struct(
        "Vwap",
        "Volume and money of the prints so far.",
        (("volume", "u64"), ("notional", "u64")),
    ),
    Struct(
        "Average",
        "An exponential moving average in 1e-4 / 65536.",
        (("has_print", "u1"), ("value", "u48")),
    ),
    Struct(
        "Divisor",
        "window + 1, and 2 to the power of 49 divided by it, rounded down.",
        (("divisor", "u20"), ("reciprocal", "u49")),
    ),
)

BY_NAME = {each.name: each for each in STRUCTS}


def bits_of(kind: str) -> int:
    """How many bits a kind has."""
    if kind in BY_NAME:
        return sum(bits_of(each) for _, each in BY_NAME[kind].fields)
    return int(kind[1:])


assert 1 << PROFILE.symbol_bits == PROFILE.symbols
assert 1 << PROFILE.tick_bits == PROFILE.window_ticks
