"""What a node's role asks of the shell around it, in order.

Every action with a ``request`` is answered by an event with the same one, or given up after a bound
of its own.
"""

import msgspec

from tickpath.failover.member import Member

TAKEOVER, GATE, POLICY, UNKNOWN_ORDERS = "takeover", "gate", "policy", "unknown orders"


class Action(msgspec.Struct, frozen=True):
    """Something to do."""


# ---------------------------------------------------------------- the lease store


class Acquire(Action, frozen=True):
    """`LeaseStore.acquire` -> Acquired, Held or StoreFailed."""

    request: int
    ttl_ns: int


class Renew(Action, frozen=True):
    """`LeaseStore.renew` -> Renewed, Lost or StoreFailed."""

    request: int
    epoch: int


class Release(Action, frozen=True):
    """`LeaseStore.release` -> Released or StoreFailed."""

    request: int
    epoch: int


class RecordNote(Action, frozen=True):
    """`LeaseStore.record` -> Recorded or StoreFailed."""

    request: int
    epoch: int
    note: bytes


class ReadStore(Action, frozen=True):
    """`LeaseStore.read` -> Stored or StoreFailed."""

    request: int


# ---------------------------------------------------------------- the order gateway


class AskGateway(Action, frozen=True):
    """Ask for epoch and position -> GatewayAnswer or GatewayFailed.

    The gateway makes ``epoch`` its highest, durably, *before* it answers: from then on the position
    it tells cannot be moved by an older active.  Epoch 0 only asks (a drill).
    """

    request: int
    epoch: int


# ---------------------------------------------------------------- this node's loop


class Freeze(Action, frozen=True):
    """Take no more records from the stream: what is decided now is decided on this state.

    -> Frozen.  `Promote` or `Follow` comes next.
    """

    request: int


class Promote(Action, frozen=True):
    """Be the active: make the records and the beats of ``epoch`` from ``next_number`` on.

    The first record says that the epoch begins, and what is written here; it ends the holds
    `TAKEOVER` and `GATE` of whoever was active before and begins `TAKEOVER`.  No order leaves
    before the first `Require`, and nothing at all at or behind ``until_ns``.  The next hand-over
    starts at ``order_position``: orders made so far that the gateway does not have go from there.
    """

    epoch: int
    number: int
    """The last record of the state that is promoted."""
    next_number: int
    """``number`` + 1, or behind the numbers that somebody else may have used for lost records."""
    order_position: int
    until_ns: int
    is_forced: bool = False
    records_lost: int = 0
    """Records that somebody told of, and this state does not have."""
    unheard_ns: int | None = 0
    """What the active before recorded within this time before the takeover is lost as well; None:
    it was never heard.  0 where nothing that was acknowledged can be lost."""
    missed_epochs: bool = False
    """Somebody was active after this state's last record: the gateway's orders may be others than
    this state's up to the same position, and orders that this state made may not have been sent."""
    unknown_order_bytes: int = 0
    """Bytes of orders that the gateway has and this state does not; the stream goes on behind."""


class Extend(Action, frozen=True):
    """Orders may leave until ``until_ns`` of this node's monotonic clock."""

    epoch: int
    until_ns: int


class Require(Action, frozen=True):
    """The gate, itself a record: an order leaves when all ``members`` acknowledged its record.

    None of them: it leaves at once.  -> Required
    """

    request: int
    members: tuple[Member, ...]
    is_synchronous: bool


class Hold(Action, frozen=True):
    """Make no new orders while this source holds; itself a record.

    Sources are the operator, breakers by name, and the role's own: `TAKEOVER` and `GATE` belong to
    one epoch, `POLICY` and `UNKNOWN_ORDERS` hold until they are resumed.
    """

    source: str
    reason: str


class Resume(Action, frozen=True):
    """This source holds no longer; orders are made again where no source does.  A record too."""

    source: str


class Drain(Action, frozen=True):
    """Take no more input; let go what may still leave.  -> Drained"""

    request: int


class Undrain(Action, frozen=True):
    """Take input again: the hand-over did not come about."""


class StopSending(Action, frozen=True):
    """At once: no order, no record, no beat from here on.  -> Stopped"""

    request: int
    reason: str


class Follow(Action, frozen=True):
    """Be a standby: follow the stream of whoever is active."""


class HandOver(Action, frozen=True):
    """Tell node ``to`` that it is its turn (`HandedOver` there); it may be lost."""

    to: str
    epoch: int
    number: int


# ---------------------------------------------------------------- people


class Entered(Action, frozen=True):
    """The role's state changed; for notify hooks and the log."""

    state: str
    reason: str


class Alarm(Action, frozen=True):
    """Somebody should look; ``name`` is also the counter's."""

    name: str
    text: str


class Refused(Action, frozen=True):
    """An operator's command is not carried out, with all reasons."""

    command: str
    reasons: tuple[str, ...]


class Done(Action, frozen=True):
    """An operator's command, or what came of it."""

    command: str
    text: str


class Abort(Action, frozen=True):
    """End this process now: its loop does not do what it is told."""

    reason: str
