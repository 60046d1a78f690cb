"""What a node's loop says of itself for those who must not touch it: one object, replaced whole.

The loop makes a new one every `EVERY_NS` (every `LATEST_NS` while there always is work), and at a
change of its role at once; whoever reads has the reference and needs no lock.  Its age says whether
the loop turns.  It has no positions and no order: what everybody who reaches the address may know.
"""

import msgspec
import numpy as np

EVERY_NS, LATEST_NS = 20_000_000, 60_000_000


class Follower(msgspec.Struct, frozen=True):
    """A standby, as its active sees it."""

    name: str
    lag_records: int
    is_ready: bool


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """See the module's text.  Times are of the node's monotonic clock."""

    at_ns: int
    """When the loop was here."""
    name: str
    state: str
    """A `RoleState` by name."""
    epoch: int
    ready: bool
    reasons: tuple[str, ...] = ()
    """Why it is not ready."""
    record_number: int = 0
    input_number: int = 0
    lag_records: int | None = None
    """Records that were published and not taken here; None for who follows nobody."""
    followers: tuple[Follower, ...] = ()
    in_sync: int = 0
    """Members of the gate."""
    is_gate_open: bool = False
    is_synchronous: bool = True
    order_position: int = 0
    handed_position: int = 0
    confirmed_position: int = 0
    until_ns: int = 0
    """The end of the lease by this clock; 0 for who has none."""
    heard_ns: int = 0
    """When the active's beat was heard last."""
    beats: int = 0
    fed_ns: int = 0
    """When packets of the feed came last; 0: none yet."""
    is_feed_current: bool = False
    session: str = "DOWN"
    """Of the order gateway with the exchange."""
    held: tuple[str, ...] = ()
    breakers: tuple[tuple[str, str], ...] = ()
    """Name and `BreakerState`."""
    counters: dict[str, int]
    """Of the node and its role."""
    engine: np.ndarray
    """A copy of the engine's counters, in the order of `counters.Counter`."""


def starting(name: str, now_ns: int) -> Published:
    """Of a node whose loop does not turn yet."""
    return Published(
        at_ns=now_ns,
        name=name,
        state="STARTING",
        epoch=0,
        ready=False,
        reasons=("its engine is not ready yet",),
        counters={},
        engine=np.zeros(0, np.uint64),
    )
