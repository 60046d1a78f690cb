"""What a node's role is told, each event with the node's monotonic time beside it.

Answers carry the ``request`` of the action they answer; one that nobody waits for any more is
counted and changes nothing (a late grant is released).
"""

import msgspec

from tickpath.failover.member import Member


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a node."""


class Tick(Event, frozen=True):
    """Time went by.  Due at `Role.due_ns` at the latest."""


# ---------------------------------------------------------------- the stream


class Beat(Event, frozen=True):
    """A sign of life that the active's own loop put on the stream.

    ``sequence`` rises with every beat of an epoch: a copy that comes late proves nothing.
    """

    epoch: int
    sequence: int
    number: int
    """The active's last record."""
    committed: int
    """The last record that all in-sync standbys have acknowledged (asynchronous: ``number``)."""


class Standing(Event, frozen=True):
    """Where this node's own engine stands.  Every change, and at least once per beat interval."""

    number: int
    """The last record that is applied, without a hole before it."""
    epoch: int
    """The epoch in which that record was made."""
    order_position: int
    """Bytes of the order stream behind that record."""
    tail_position: int
    """Where the order stream begins that this node can still hand over."""
    is_whole: bool = True
    """False while a snapshot is being loaded: ``number`` says nothing yet."""
    is_missing: bool = False
    """Whether later records are known of and missing.  It keeps no heir from taking over: nothing
    that left depends on what an heir has not acknowledged."""
    is_warm: bool = True
    mismatch: str | None = None
    """Build, configuration, strategy or layout that is not the active's, in words."""
    diverged: str | None = None
    """Where this state's digest left the active's, in words."""
    held: tuple[str, ...] = ()
    """Sources of `Hold` that are in force in the recorded state: they outlive their active."""
    incarnation: int | None = None
    """A new one of this state (`Member`), since it was thrown away or loaded; None: as before."""


class Acked(Event, frozen=True):
    """A standby has *applied* everything up to ``number`` of the stream of ``epoch``.

    Sent for every batch of records, and as an echo of every beat.
    """

    member: Member
    epoch: int
    number: int
    is_ready: bool


class HandedOver(Event, frozen=True):
    """The active of ``epoch`` has stopped behind record ``number`` and names this node."""

    source: str
    epoch: int
    number: int


# ---------------------------------------------------------------- this node's loop


class Frozen(Event, frozen=True):
    """No record of the stream is taken any more; this is where the state stays."""

    request: int
    standing: Standing


class Required(Event, frozen=True):
    """The gate of `Require` is in force from record ``number`` on, which is its own record."""

    request: int
    number: int


class Drained(Event, frozen=True):
    """No input is taken any more; ``number`` is the last record."""

    request: int
    number: int
    order_position: int


class Stopped(Event, frozen=True):
    """Nothing is sent any more: no order, no record, no beat."""

    request: int


# ---------------------------------------------------------------- the lease store


class Acquired(Event, frozen=True):
    """`lease.Lease`: ``asked_at_ns`` is this node's monotonic clock before the request left."""

    request: int
    epoch: int
    asked_at_ns: int
    ttl_ns: int


class Held(Event, frozen=True):
    """`lease.Held`: somebody else has the lease."""

    request: int
    holder: str
    epoch: int


class Renewed(Event, frozen=True):
    """The lease goes on."""

    request: int
    asked_at_ns: int
    ttl_ns: int


class Lost(Event, frozen=True):
    """`lease.Lost`: the lease is not ours any more."""

    request: int
    reason: str


class Released(Event, frozen=True):
    """The lease is free."""

    request: int


class Recorded(Event, frozen=True):
    """The note is durable, or (not ``is_current``) refused since the epoch is another's."""

    request: int
    is_current: bool


class Stored(Event, frozen=True):
    """`lease.Stored`: what the store knows."""

    request: int
    epoch: int
    holder: str | None
    note: bytes


class StoreFailed(Event, frozen=True):
    """`lease.LeaseError`: no answer in time; whether it was done is unknown."""

    request: int
    reason: str


# ---------------------------------------------------------------- the order gateway


class GatewayAnswer(Event, frozen=True):
    """``order_position`` and ``input_number`` of the last hand-over that was accepted."""

    request: int
    highest_epoch: int
    order_position: int
    input_number: int


class GatewayFailed(Event, frozen=True):
    """The gateway gave no answer in time."""

    request: int
    reason: str


class GatewayRefused(Event, frozen=True):
    """A hand-over of this node was refused: a newer epoch was seen, or its bytes differ."""

    epoch: int
    highest_epoch: int
    reason: str


# ---------------------------------------------------------------- health and operator


class Health(Event, frozen=True):
    """What the shell sees of lines and sessions; the names of breakers that are open."""

    is_feed_fresh: bool = True
    is_session_up: bool = True
    breakers_open: tuple[str, ...] = ()
    is_gateway_there: bool = True
    """Whether there is a connection to the order gateway: without one no lease is of use."""


class Switchover(Event, frozen=True):
    """Operator: hand the role over, to a node by name or to the best one (None)."""

    to: str | None = None


class Force(Event, frozen=True):
    """Operator: take over although this node is not known to be in sync.

    It breaks neither a lease that is held nor the gateway's order of epochs.
    """


class SetMode(Event, frozen=True):
    """Operator: synchronous or not."""

    is_synchronous: bool


class HoldTrading(Event, frozen=True):
    """No new orders; ``source`` is who says so: the operator, or a breaker by name."""

    source: str = "operator"
    reason: str = "the operator holds trading"


class ResumeTrading(Event, frozen=True):
    """New orders again as far as this source is concerned."""

    source: str = "operator"


class UnknownResolved(Event, frozen=True):
    """Orders that the gateway knew and this node did not are settled against the exchange."""


class Retire(Event, frozen=True):
    """Operator: stop for good, never to take over again in this process."""


class Drill(Event, frozen=True):
    """Operator: say whether a takeover would succeed now, without one."""
