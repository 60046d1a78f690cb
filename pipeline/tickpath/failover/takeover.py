"""From silence to a promotion: look, ask for the lease, look again, ask the gateway, decide.

The first look at the store keeps a node that may not take over from asking for the lease; who was
handed the role needs none.  The second counts: it is made under the lease, when nobody else can
change the note.  The gateway is asked under the same lease, which shuts out every older active
before the position is told.
"""

from enum import Enum
from typing import TYPE_CHECKING

from tickpath.failover import eligibility
from tickpath.failover.eligibility import Case
from tickpath.failover.member import Member
from tickpath.failover.note import Note, NoteError, decode
from tickpath.failover.requests import Kind
from tickpath.failover.role_action import (
    UNKNOWN_ORDERS,
    Acquire,
    AskGateway,
    Follow,
    Freeze,
    Hold,
    Promote,
    ReadStore,
)
from tickpath.failover.role_event import Acquired, Frozen, GatewayAnswer, HandedOver, Held, Stored
from tickpath.failover.tenure import Tenure

if TYPE_CHECKING:
    from tickpath.failover.role import Role


MOST_DOUBLINGS = 16
"""Of the pause behind a lease that was of no use."""


class Phase(Enum):
    """How far an attempt got."""

    WAITING = "for the next attempt"
    READING = "the lease store is read"
    ACQUIRING = "the lease is asked for"
    CHECKING = "the lease is ours; note and gateway are asked"


class Attempt:
    """A candidate's attempts, until it is promoted or hears an active."""

    def __init__(self, handed: HandedOver | None = None, forced_until_ns: int | None = None):
        self.handed = handed
        self.forced_until_ns = forced_until_ns
        self.phase = Phase.WAITING
        self.again_ns = 0
        self.seen: Stored | None = None
        """The store before the lease was asked for."""
        self.stored: Stored | None = None
        self.answer: GatewayAnswer | None = None
        self.is_frozen = False
        self.reasons: tuple[str, ...] = ()
        """Why the last attempt did not succeed."""
        self.gateway_failures = 0
        """Leases that were of no use, since the gateway did not answer."""

    def ignores(self, epoch: int) -> bool:
        """Whether a beat of this epoch does not end it: forced, or the epoch was handed over."""
        is_handed = self.handed is not None and epoch <= self.handed.epoch
        return is_handed or self.forced_until_ns is not None


def advance(role: "Role", attempt: Attempt) -> None:
    """Begin the next attempt when it is due."""
    now_ns = role.now_ns
    if attempt.forced_until_ns is not None and now_ns >= attempt.forced_until_ns:
        attempt.forced_until_ns = None
        role.alarm("force_lapsed", "the forced takeover was not possible in time")
    if attempt.phase is Phase.WAITING and now_ns >= attempt.again_ns:
        attempt.seen = attempt.stored = attempt.answer = None
        if not role.health.is_gateway_there:
            # A lease would be of no use, and its epoch used up.
            role.count("takeovers_without_gateway")
            attempt.reasons = ("there is no connection to the gateway",)
            attempt.again_ns = now_ns + role.config.retry_ns
        elif attempt.handed is not None:
            _acquire_handed(role, attempt, attempt.handed)
        else:
            attempt.phase = Phase.READING
            request = role.requests.open(Kind.READ, now_ns, role.config.store_timeout_ns)
            role.do(ReadStore(request))


def _acquire_handed(role: "Role", attempt: Attempt, handed: HandedOver) -> None:
    """Ask for the lease that is being given back: whom its holder named need not look first."""
    reasons = eligibility.of_handed(role.standing, handed)
    if reasons:
        give_up(role, attempt, reasons, role.config.retry_ineligible_ns)
    else:
        _acquire(role, attempt)


def _acquire(role: "Role", attempt: Attempt) -> None:
    attempt.phase = Phase.ACQUIRING
    request = role.requests.open(Kind.ACQUIRE, role.now_ns, role.config.store_timeout_ns)
    role.do(Acquire(request, role.config.lease_ttl_ns))


def case_of(role: "Role", attempt: Attempt) -> Case:
    """What is known; the engine has said where it stands."""
    assert role.standing is not None
    is_forced = attempt.forced_until_ns is not None
    return Case(role.member, role.standing, role.told, attempt.handed, is_forced)


def stored(role: "Role", attempt: Attempt, event: Stored) -> None:
    """The store was read: before the lease, or under it."""
    role.highest_epoch = max(role.highest_epoch, event.epoch)
    if attempt.phase is Phase.READING:
        attempt.seen = event
        reasons = _reasons(role, attempt, event)
        if reasons:
            give_up(role, attempt, reasons, role.config.retry_ineligible_ns)
            return
        _acquire(role, attempt)
    elif attempt.phase is Phase.CHECKING:
        attempt.stored = event
        decide(role, attempt)


def _reasons(role: "Role", attempt: Attempt, event: Stored) -> list[str]:
    """Reasons against this node by its state and by what the store says."""
    reasons = eligibility.of_state(role.standing)
    if reasons:
        return reasons
    try:
        note = decode(event.note)
    except NoteError as error:
        return [str(error)]
    had_note = attempt.handed is not None or (attempt.seen is not None and attempt.seen.note)
    if note is None and had_note:
        return ["the lease store has lost its note"]
    return eligibility.of_note(case_of(role, attempt), note, role.config)


def acquired(role: "Role", attempt: Attempt, event: Acquired) -> None:
    """The lease is ours: look again, and shut older actives out at the gateway."""
    tenure = Tenure(event.epoch, event.asked_at_ns, event.ttl_ns, role.config)
    stale = event.epoch <= role.highest_epoch
    role.tenure = tenure
    if stale or tenure.is_over(role.now_ns):
        why = f"is not above {role.highest_epoch}" if stale else "came when it was over"
        give_up(role, attempt, [f"the grant of epoch {event.epoch} {why}"], role.config.retry_ns)
        return
    role.highest_epoch = event.epoch
    attempt.phase = Phase.CHECKING
    now_ns = role.now_ns
    role.do(Freeze(role.requests.open(Kind.FREEZE, now_ns, role.config.loop_timeout_ns)))
    request = role.requests.open(Kind.READ, now_ns, role.config.store_timeout_ns)
    role.do(ReadStore(request))
    request = role.requests.open(Kind.GATEWAY, now_ns, role.config.gateway_timeout_ns)
    role.do(AskGateway(request, event.epoch))


def held(role: "Role", attempt: Attempt, event: Held) -> None:
    """Somebody else has the lease: wait for its beats, or for its end."""
    role.highest_epoch = max(role.highest_epoch, event.epoch)
    role.count("lease_held")
    attempt.phase = Phase.WAITING
    config = role.config
    is_handed = attempt.handed is not None and event.epoch <= attempt.handed.epoch
    attempt.again_ns = role.now_ns + (config.retry_handed_ns if is_handed else config.retry_ns)
    attempt.reasons = (f"{event.holder} holds the lease, epoch {event.epoch}",)


def answered(role: "Role", attempt: Attempt, event: GatewayAnswer) -> None:
    """The gateway told its position."""
    attempt.answer, attempt.gateway_failures = event, 0
    decide(role, attempt)


def unanswered(role: "Role", attempt: Attempt, reason: str) -> None:
    """The gateway did not answer: each lease that it makes useless has used up an epoch."""
    config = role.config
    pause_ns = config.retry_ns << min(attempt.gateway_failures, MOST_DOUBLINGS)
    attempt.gateway_failures += 1
    role.count("takeovers_without_answer")
    give_up(role, attempt, [reason], max(config.retry_ns, min(pause_ns, config.retry_gateway_ns)))


def frozen(role: "Role", attempt: Attempt, event: Frozen) -> None:
    """The state stays as it is until this is decided."""
    role.stands(event.standing)
    attempt.is_frozen = True
    decide(role, attempt)


def give_up(role: "Role", attempt: Attempt, reasons: list[str], again_in_ns: int) -> None:
    """Not this time; what was acquired is given back."""
    role.count("takeovers_refused")
    if attempt.forced_until_ns is not None and tuple(reasons) != attempt.reasons:
        role.alarm("force_not_possible", "; ".join(reasons))
    abandon(role, attempt)
    attempt.phase = Phase.WAITING
    attempt.again_ns = role.now_ns + again_in_ns
    attempt.reasons = tuple(reasons)


def abandon(role: "Role", attempt: Attempt) -> None:
    """Wait for no answer of this attempt any more; follow again, and give the lease back."""
    role.requests.give_up(Kind.READ, Kind.ACQUIRE, Kind.GATEWAY, Kind.FREEZE)
    if attempt.phase is Phase.CHECKING:
        attempt.is_frozen = False
        role.do(Follow())
    role.drop_tenure()


def decide(role: "Role", attempt: Attempt) -> None:
    """Promote, when both answers are there and nothing speaks against it."""
    event, answer, tenure = attempt.stored, attempt.answer, role.tenure
    if event is None or answer is None or tenure is None or not attempt.is_frozen:
        return
    reasons = _reasons(role, attempt, event)
    if event.epoch != tenure.epoch:
        reasons = [f"the lease store is at epoch {event.epoch}, ours was {tenure.epoch}"]
    if not reasons:
        note = decode(event.note)
        case = case_of(role, attempt)
        reasons = eligibility.of_gateway(case, note, answer, tenure.epoch, role.config)
    if reasons:
        give_up(role, attempt, reasons, role.config.retry_ineligible_ns)
        return
    is_synchronous = role.config.mode == "synchronous" if note is None else note.is_synchronous
    is_expecting = attempt.handed is not None
    promote = promotion(role, attempt, note, answer)
    role.promote(promote, is_synchronous, is_expecting, _inherited(role, attempt, note))


def _inherited(role: "Role", attempt: Attempt, note: Note | None) -> frozenset[Member] | None:
    """The other heirs of a note that hands over to this node; None where there is no such note."""
    handed = attempt.handed
    if handed is None or note is None or not (note.hands_over and note.is_synchronous):
        return None
    if note.epoch != handed.epoch or role.member not in note.heirs:
        return None
    return frozenset(note.heirs) - {role.member}


def promotion(role: "Role", attempt: Attempt, note: Note | None, answer: GatewayAnswer) -> Promote:
    """The promotion, with what is lost by it."""
    standing, tenure = role.standing, role.tenure
    assert standing is not None and tenure is not None
    orders = eligibility.orders_of(standing, answer)
    may_lose = note is not None and not (
        role.member in note.heirs and (note.is_synchronous or role.member == note.active)
    )
    told = role.told.number if role.told else 0
    heard_ns = role.now_ns - role.heard_ns if role.told else None
    return Promote(
        epoch=tenure.epoch,
        number=standing.number,
        next_number=max(standing.number, answer.input_number) + 1,
        order_position=answer.order_position,
        until_ns=tenure.ends_ns,
        is_forced=attempt.forced_until_ns is not None,
        records_lost=max(told - standing.number, orders.lost_records, 0) if may_lose else 0,
        unheard_ns=heard_ns if may_lose else 0,
        missed_epochs=eligibility.missed_epoch(case_of(role, attempt), note) is not None,
        unknown_order_bytes=orders.unknown_bytes,
    )


def hold_for_unknown(role: "Role", promote: Promote) -> None:
    """Orders that nobody here knows: hold until they are settled, or by policy only tell."""
    is_behind = promote.unknown_order_bytes or promote.next_number > promote.number + 1
    if is_behind:
        text = (
            f"the gateway has {promote.unknown_order_bytes} bytes of orders, up to record "
            f"{promote.next_number - 1}, that this node does not know"
        )
    elif promote.missed_epochs:
        text = (
            f"somebody was active after record {promote.number}: the gateway's orders may be "
            "others than this node's"
        )
    else:
        return
    role.alarm("unknown_orders", text)
    if role.config.on_unknown_orders == "hold":
        role.holds.add(UNKNOWN_ORDERS)
        role.do(Hold(UNKNOWN_ORDERS, text))
