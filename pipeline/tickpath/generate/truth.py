"""What is true of a generated session: the oracle that a replay of it is compared with."""

from dataclasses import dataclass, field

import numpy as np

SYMBOL_TRUTH = np.dtype(
    [
        ("stock_locate", "<u2"),  # in PITCH, the symbol's number in the alphabet
        ("stock", "S8"),  # without padding
        ("trading_state", "S1"),  # in PITCH, the trading status that was said last
        ("bid_px", "<i8"),  # prices in 1e-4, 0 where the side is empty
        ("bid_sz", "<i8"),
        ("ask_px", "<i8"),
        ("ask_sz", "<i8"),
        ("bid_orders", "<i8"),  # all that rest on the side
        ("bid_shares", "<i8"),
        ("ask_orders", "<i8"),
        ("ask_shares", "<i8"),
        ("executed_shares", "<i8"),  # of displayed orders: E and C, printable or not
        # E, printable C, P and Q, broken ones included; in PITCH every execution and trade, but no
        # auction summary
        ("printable_shares", "<i8"),
        ("printable_notional", "<i8"),  # price in 1e-4 times shares, of the same
        ("broken_shares", "<i8"),  # B; in PITCH trade breaks
        ("broken_notional", "<i8"),
        ("last_price", "<i8"),  # of the last print, 0 for none
    ]
)
RESTING = np.dtype(
    [
        ("stock_locate", "<i4"),
        ("side", "<i4"),  # ord("B") or ord("S")
        ("price", "<i4"),  # in 1e-4
        ("shares", "<i4"),
        ("order_reference_number", "<i8"),  # in PITCH, the order's identifier
    ]
)


@dataclass(frozen=True)
class FaultCounts:
    """Packets that each fault befell, and what it cost: exact, not expected, numbers.

    A ``garbage`` packet either had bytes replaced (``garbled``) or was followed by one of nonsense
    (``inserted``), which no clean session has.
    """

    loss: int = 0
    duplicate: int = 0
    reorder: int = 0
    truncate: int = 0
    garbage: int = 0
    garbled: int = 0
    inserted: int = 0
    messages_lost: int = 0
    messages_duplicated: int = 0


@dataclass(frozen=True)
class Truth:
    """A finished session.

    ``messages`` counts what was said: in PITCH time messages too, and not what it has no message
    for.  ``messages_by_type`` counts by type code (in PITCH, the character with that number);
    ``symbols`` has a `SYMBOL_TRUTH` record for each
    symbol, in the order of locates.  ``packets`` counts what was sent before any fault, heartbeats
    and the end of session included (0 for daily files).
    """

    messages: int
    messages_by_type: dict[str, int]
    live_orders: int
    symbols: np.ndarray = field(repr=False)
    packets: int = 0
    heartbeats: int = 0
    faults: FaultCounts = field(default_factory=FaultCounts)
