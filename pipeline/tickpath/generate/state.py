"""The records of a session's market, declared once: what hot code sees of them and how they start.

Every table is a NumPy array of one record dtype, and the `SESSION` record holds their addresses,
so that hot functions take a single address ``s``.  ``order.at(s, i)`` is the address of record
``i``, ``order.shares(o)`` one of its fields.  All fields but addresses, chance and text are signed,
so that hot code computes in ``int64`` throughout; -1 is no record.
"""

import types as python_types
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, types

from tickpath.jit import HOT, leaf
from tickpath.latency import REGION
from tickpath.memory import accessors, load_u64, register, unregister

F = TypeVar("F", bound=Callable[..., Any])


def inner(function: F) -> F:
    """Compile a function that only hot code calls, and leave it to LLVM where to inline it.

    A session is made of some eighty of these, and each caller optimises what it calls once more, so
    the depth of calls is what compiling costs.  Numba would also compile a function anew for every
    constant that it is called with; here constants are integers like any other.
    """
    compiled: Any = njit(**HOT)(function)  # type: ignore[call-overload]
    template = compiled.get_call_template
    compiled.get_call_template = lambda args, kws: template([types.unliteral(a) for a in args], kws)
    return cast(F, compiled)


BUY, SELL = 0, 1
"""A side is a symbol's index times two, plus one of these."""
RUNGS = 512
"""Price levels that one side of a book can have at a time."""
RECENT = 64
"""Latest orders of each symbol, from which most deletes and replaces choose."""
TRADES = 64
"""Latest prints, one of which is broken now and then."""

ORDER = np.dtype(
    [
        ("reference", "<i8"),
        ("price", "<i4"),
        ("shares", "<i4"),
        ("next", "<i4"),  # the one behind it in the queue; in a free record, the next free one
        ("previous", "<i4"),
        ("level", "<i4"),
        ("side", "<i4"),  # -1: the record is free
    ]
)
LEVEL = np.dtype(
    [
        ("shares", "<i8"),
        ("price", "<i4"),
        ("head", "<i4"),  # first in time; in a free record, the next free one
        ("tail", "<i4"),
        ("orders", "<i4"),
    ]
)
RUNG = np.dtype([("key", "<i8")])
SIDE = np.dtype([("shares", "<i8"), ("rungs", "<i4"), ("orders", "<i4")])
SYMBOL = np.dtype(
    [
        ("stock", "<u8"),  # the big-endian number that its eight characters spell
        ("fair", "<i8"),  # what the market thinks it is worth, in 1e-4
        ("listed", "<i8"),  # what it thought when the day began
        ("executed_shares", "<i8"),
        ("printable_shares", "<i8"),
        ("printable_notional", "<i8"),  # 1e-4 times shares
        ("broken_shares", "<i8"),
        ("broken_notional", "<i8"),
        ("last_price", "<i8"),
        ("half_spread", "<i4"),
        ("unit", "<i4"),  # distance between its usual price levels, in 1e-4
        ("drift", "<i4"),  # odds in 65,536 of a step in the day's direction, and its sign
        ("small", "<i4"),  # 1 where a round lot is a lot of money
        ("trading_state", "<i4"),
        ("operational", "<i4"),  # 1 while this market alone has halted it
        ("recent", "<i4"),
        ("locate", "<i4"),
    ]
)
RECENT_ORDER = np.dtype([("order", "<i4")])
TRADE = np.dtype([("match", "<i8"), ("symbol", "<i8"), ("shares", "<i8"), ("price", "<i8")])
ALIAS = np.dtype([("keep", "<i8"), ("other", "<i8")])
SLICE = np.dtype([("begin", "<i8"), ("end", "<i8"), ("weight", "<i8")])
SCRIPT = np.dtype(
    [
        ("time", "<i8"),
        ("message", "<i8"),  # where its prepared bytes begin, behind their length
        ("length", "<i4"),
        ("code", "<i4"),
        ("action", "<i4"),
        ("symbol", "<i4"),
        ("argument", "<i4"),
    ]
)
COUNT = np.dtype([("messages", "<i8")])

TABLES = {
    "order": ORDER,
    "level": LEVEL,
    "rung": RUNG,
    "side": SIDE,
    "symbol": SYMBOL,
    "recent": RECENT_ORDER,
    "trade": TRADE,
    "alias": ALIAS,
    "slice": SLICE,
    "script": SCRIPT,
    "count": COUNT,
}

SESSION = np.dtype(
    [
        ("random", "<u8"),
        ("out", "<u8"),  # where the next message goes
        ("limit", "<u8"),  # beyond it the chunk takes no further event
        ("templates", "<u8"),
        ("prepared", "<u8"),
        *[(f"{name}_at", "<u8") for name in TABLES],
        # What has been said
        ("messages", "<i8"),
        ("wanted", "<i8"),
        ("now", "<i8"),
        ("reference", "<i8"),
        ("match", "<i8"),
        ("trades", "<i8"),
        # Records in use
        ("live", "<i8"),
        ("orders_limit", "<i8"),
        ("orders_used", "<i8"),
        ("order_free", "<i8"),
        ("levels_used", "<i8"),
        ("level_free", "<i8"),
        # The script
        ("scripts", "<i8"),
        ("script_next", "<i8"),
        # The flow's pace
        ("due", "<i8"),  # when the flow acts next; FOREVER once the day's slices are over
        ("slices", "<i8"),
        ("slice_now", "<i8"),
        ("slice_left", "<i8"),  # messages that the present minute still has
        ("weight_left", "<i8"),
        ("burst_left", "<i8"),
        ("burst_pace", "<i8"),
        ("burst_symbol", "<i8"),
        # The flow's choice of what to do
        ("symbols", "<i8"),
        ("leader", "<i8"),
        ("crossed", "<i8"),
        ("live_goal", "<i8"),
        ("open_goal", "<i8"),
        ("open_weight", "<i8"),  # weight that is left when the market opens
        ("add_below", "<i8"),
        ("delete_below", "<i8"),
    ]
)

_REGIONS_END = REGION
_FIRST_REGION = _REGIONS_END - 2 - len(TABLES)
"""Regions of the checked variant: the last ones, away from the engine's."""
SESSION_REGION = _REGIONS_END - 2
FRAMER_REGION = _REGIONS_END - 1
REGIONS = {name: _FIRST_REGION + number for number, name in enumerate(TABLES)}


def _table(name: str, dtype: np.dtype, region: int) -> python_types.ModuleType:
    """The accessors of a table, and ``at(s, index)``, the address of one of its records."""
    space: Any = accessors(name, dtype, region)
    assert SESSION.fields is not None
    where, size = np.uint64(SESSION.fields[f"{name}_at"][1]), np.uint64(dtype.itemsize)

    @leaf
    def at(s, index):
        return load_u64(s + where) + np.uint64(index) * size

    space.at = at
    return space


order, level, rung, side, symbol, recent, trade, alias, slice_, script, count = (
    _table(name, dtype, REGIONS[name]) for name, dtype in TABLES.items()
)
session = accessors("session", SESSION, SESSION_REGION)


def lend(owner: object, array: np.ndarray, region: int) -> int:
    """Tell the checked variant about ``array`` for as long as ``owner`` lives; its address."""
    begin = array.ctypes.data
    register(region, array)
    weakref.finalize(owner, unregister, begin, begin + array.nbytes)
    return begin


def attach(owner: object, record: np.ndarray, tables: dict[str, np.ndarray]) -> int:
    """Put the addresses of ``tables`` into the session ``record``; the record's address."""
    for name in TABLES:
        assert tables[name].dtype == TABLES[name], name
        record[f"{name}_at"] = lend(owner, tables[name], REGIONS[name])
    return lend(owner, record, SESSION_REGION)
