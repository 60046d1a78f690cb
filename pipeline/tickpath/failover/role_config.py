"""How a node plays its role: bounds of every wait, and the policies that are the operator's."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Nanoseconds = Annotated[int, Meta(ge=1, le=3_600_000_000_000)]
MILLISECOND = 1_000_000


class RoleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times in nanoseconds.  Raises `ValueError` where they contradict each other."""

    mode: Literal["synchronous", "asynchronous"] = "synchronous"
    """Of an active's first note; the operator changes it while it runs."""
    in_sync_members: Annotated[int, Meta(ge=1, le=7)] = 1
    """Standbys that must have acknowledged before an order leaves: each of them may take over."""
    may_run_alone: bool = True
    """Whether an active without an in-sync standby goes on, after a note in the lease store."""
    alone_after_ns: Annotated[int, Meta(ge=0, le=3_600_000_000_000)] = 5 * MILLISECOND
    """How long it waits for a standby that was just heard before it runs alone."""
    after_takeover: Literal["resume", "hold"] = "resume"
    on_unknown_orders: Literal["hold", "resume"] = "hold"
    """After a takeover that does not know some of the gateway's orders."""
    hand_over_when_unhealthy: bool = False
    unhealthy_after_ns: Nanoseconds = 500 * MILLISECOND
    hand_over_pause_ns: Nanoseconds = 10_000 * MILLISECOND
    """Between two hand-overs that nobody asked for."""

    beat_timeout_ns: Nanoseconds = 50 * MILLISECOND
    lease_ttl_ns: Nanoseconds = 50 * MILLISECOND
    lease_renew_ns: Nanoseconds = 10 * MILLISECOND
    lease_margin_percent: Annotated[int, Meta(ge=1, le=90)] = 20
    store_timeout_ns: Nanoseconds = 25 * MILLISECOND
    gateway_timeout_ns: Nanoseconds = 25 * MILLISECOND
    retry_ns: Nanoseconds = 5 * MILLISECOND
    """Between two attempts on the lease, while somebody else holds it."""
    retry_handed_ns: Nanoseconds = 1 * MILLISECOND
    """The same while it is being given back to this node."""
    retry_gateway_ns: Nanoseconds = 500 * MILLISECOND
    """The longest pause behind leases that were of no use, since the gateway did not answer; it
    begins at ``retry_ns`` and doubles, for every such lease uses up an epoch."""
    retry_ineligible_ns: Nanoseconds = 50 * MILLISECOND
    """Before a node that may not take over, or could not, looks again."""
    ack_timeout_ns: Nanoseconds = 30 * MILLISECOND
    """A standby is in sync while it acknowledges within this bound."""
    rejoin_after_ns: Nanoseconds = 30 * MILLISECOND
    """How long a standby must have been within the bound before it counts."""
    note_retry_ns: Nanoseconds = 5 * MILLISECOND
    loop_timeout_ns: Nanoseconds = 100 * MILLISECOND
    """For the engine's own loop to do what it is told; beyond it the process must end."""
    drain_timeout_ns: Nanoseconds = 50 * MILLISECOND
    """For the other to have all records, once no input is taken; then the active goes on."""
    take_over_timeout_ns: Nanoseconds = 200 * MILLISECOND
    """For the node that was handed the role; then the old active takes it back."""
    force_timeout_ns: Nanoseconds = 10_000 * MILLISECOND
    drill_timeout_ns: Nanoseconds = 1_000 * MILLISECOND
    max_lag_records: Annotated[int, Meta(ge=0, le=1 << 40)] = 10_000
    """In asynchronous mode: beyond it an alarm, and no takeover but a forced one."""

    @property
    def tenure_ns(self) -> int:
        """How long after it was asked for a lease of our ttl is used."""
        return self.lease_ttl_ns * (100 - self.lease_margin_percent) // 100

    def __post_init__(self) -> None:
        if self.lease_renew_ns * 2 > self.tenure_ns:
            raise ValueError(
                f"lease_renew_ns {self.lease_renew_ns}: at least two renewals must fit into the "
                f"{self.tenure_ns} ns that a lease is used (lease_ttl_ns less its margin)"
            )
