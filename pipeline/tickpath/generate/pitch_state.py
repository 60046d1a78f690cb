"""What the translation to PITCH remembers of the market, declared once.

The market says where an order stands by reference alone, and what PITCH asks for beyond that is
kept here: the identifier that an order keeps when it is modified, what is left of it, its price;
each symbol's unit, status and prints; the latest prints, which may be broken.  The records are
unsigned throughout, and hot code computes in ``uint64``.
"""

import types as python_types
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickpath.generate.draw import column
from tickpath.generate.listing import Listing
from tickpath.generate.plan import SessionPlan
from tickpath.generate.state import REGIONS, SESSION_REGION, TRADES, lend
from tickpath.jit import leaf
from tickpath.memory import accessors, load_u64

LIVE = np.dtype(
    [
        ("reference", "<u8"),  # the market's; 0: the slot is free
        ("order_id", "<u8"),
        ("price", "<u4"),
        ("shares", "<u4"),
    ]
)
"""A slot of the table of live orders, see `pitch_orders`."""
ISSUE = np.dtype(
    [
        ("stock", "<u8"),  # the big-endian number that its eight characters spell
        ("unit", "<u8"),  # from 0
        ("order_base", "<u8"),  # what its unit adds to references
        ("trading_state", "<u8"),  # trading status but for the market's own halt
        ("operational", "<u8"),  # 1 while this market alone has halted it
        ("reg_sho_action", "<u8"),
        ("trading_status", "<u8"),  # as it was said last
        ("executed_shares", "<u8"),
        ("printable_shares", "<u8"),
        ("printable_notional", "<u8"),
        ("broken_shares", "<u8"),
        ("broken_notional", "<u8"),
        ("last_price", "<u8"),
    ]
)
"""A symbol as the translation sees it, by locate."""
PRINT = np.dtype(
    [
        ("match", "<u8"),
        ("issue", "<u8"),
        ("shares", "<u8"),
        ("price", "<u8"),
        ("cross", "<u8"),  # 1 for a cross's bulk print, which PITCH has no execution for
    ]
)
TYPE_COUNT = np.dtype([("messages", "<u8")])

TABLES = {"live": LIVE, "issue": ISSUE, "latest": PRINT, "type_count": TYPE_COUNT}

TRANSLATION = np.dtype(
    [
        *[(f"{name}_at", "<u8") for name in TABLES],
        ("live_mask", "<u8"),
        ("live_shift", "<u8"),
        ("prints", "<u8"),
        ("execution_base", "<u8"),
        ("hidden_base", "<u8"),  # added to the order base for orders that were never displayed
        ("messages", "<u8"),
        (
            "strangers",
            "<u8",
        ),  # orders or prints that were not known: 0, or the translation is wrong
        ("second", "<u8"),  # of the last time message of a run; NO_SECOND before the first
        ("units", "<u8"),
    ]
)

NO_SECOND = 1 << 32
STATUS_TRADING = ord("T")
_REGIONS = {
    "live": REGIONS["order"],
    "issue": REGIONS["symbol"],
    "latest": REGIONS["trade"],
    "type_count": REGIONS["count"],
}
"""Each table shares the checked variant's region with the one of the market that it follows."""


def _table(name: str, dtype: np.dtype, region: int) -> python_types.ModuleType:
    """The accessors of a table, and ``at(t, index)``, the address of one of its records."""
    space: Any = accessors(name, dtype, region)
    assert TRANSLATION.fields is not None
    where, size = np.uint64(TRANSLATION.fields[f"{name}_at"][1]), np.uint64(dtype.itemsize)

    @leaf
    def at(t, index):
        return load_u64(t + where) + index * size

    space.at = at
    return space


live, issue, latest, type_count = (
    _table(name, dtype, _REGIONS[name]) for name, dtype in TABLES.items()
)
translation = accessors("translation", TRANSLATION, SESSION_REGION)


def unit_of(index: np.ndarray, plan: SessionPlan) -> np.ndarray:
    """Units, from 0, of symbols: ranges of the alphabet, as on the exchange."""
    return index * plan.units // plan.symbols


@dataclass(frozen=True)
class Translation:
    """The tables of one session and the record that finds them."""

    record: np.ndarray
    tables: dict[str, np.ndarray]
    address: np.uint64


def new_translation(owner: object, plan: SessionPlan, listing: Listing, orders: int) -> Translation:
    """A translation for a market of at most ``orders`` live orders; lives as long as ``owner``."""
    slots = 1 << max((2 * orders).bit_length(), 4)
    issues = np.zeros(plan.symbols, ISSUE)
    issues["stock"] = listing.symbols["stock"]
    issues["unit"] = unit_of(np.arange(plan.symbols), plan)
    # Identifiers of a unit are dense in a corner of the 64-bit numbers that is the unit's own.
    corners = (np.uint64(64) + np.arange(1, plan.units + 1, dtype=np.uint64)) << np.uint64(54)
    bases = corners + (column(plan.seed, "order ids", plan.units) >> np.uint64(11))
    issues["order_base"] = bases[issues["unit"].astype(np.int64)]
    issues["trading_state"] = issues["trading_status"] = STATUS_TRADING
    issues["reg_sho_action"] = ord("0")
    tables = {
        "live": np.zeros(slots, LIVE),
        "issue": issues,
        "latest": np.zeros(TRADES, PRINT),
        "type_count": np.zeros(256, TYPE_COUNT),
    }
    record = np.zeros(1, TRANSLATION)
    record["live_mask"], record["live_shift"] = slots - 1, 64 - (slots.bit_length() - 1)
    record["execution_base"] = int(column(plan.seed, "executions", 1)[0]) >> 4
    record["hidden_base"] = 1 << 40
    record["second"], record["units"] = NO_SECOND, plan.units
    for name, table in tables.items():
        record[f"{name}_at"] = lend(owner, table, _REGIONS[name])
    return Translation(record, tables, np.uint64(lend(owner, record, SESSION_REGION)))
