"""What a node hears: the stream, the answers to what it asked, the gateway's refusals.

Each event is checked against what is already known before it changes anything: an epoch below the
highest, a copy, an answer that nobody waits for any more are counted and go no further.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

from tickpath.failover import commands, handover, takeover
from tickpath.failover.requests import Kind
from tickpath.failover.role_action import Abort, Extend, Follow, Undrain
from tickpath.failover.role_event import (
    Acked,
    Acquired,
    Beat,
    Drained,
    Frozen,
    GatewayAnswer,
    GatewayFailed,
    GatewayRefused,
    HandedOver,
    Held,
    Lost,
    Recorded,
    Released,
    Renewed,
    Required,
    Standing,
    Stopped,
    Stored,
    StoreFailed,
)
from tickpath.failover.role_state import RoleState
from tickpath.failover.takeover import Attempt

if TYPE_CHECKING:
    from tickpath.failover.role import Role

Answer = (
    Acquired
    | Held
    | Renewed
    | Lost
    | Released
    | Recorded
    | Stored
    | StoreFailed
    | GatewayAnswer
    | GatewayFailed
    | Frozen
    | Required
    | Drained
    | Stopped
)
_OF_ATTEMPT = (Kind.READ, Kind.ACQUIRE, Kind.GATEWAY, Kind.FREEZE)


# ------------------------------------------------------------ the stream


def _beat_heard(role: "Role", event: Beat) -> None:
    if event.epoch < role.highest_epoch:
        role.count("beats_of_old_epochs")
        return
    if (event.epoch, event.sequence) <= role.beat:
        role.count("beats_repeated")
        return
    if role.tenure is not None and event.epoch <= role.tenure.epoch:
        role.count("beats_of_others_in_our_epoch")
        return
    role.beat = (event.epoch, event.sequence)
    role.highest_epoch = event.epoch
    if role.told is None or (event.epoch, event.number) >= (role.told.epoch, role.told.number):
        role.told = event
    role.heard_ns = role.now_ns
    if role.is_active:
        role.alarm("superseded", f"another node is active in epoch {event.epoch}")
        role.stop(f"another node is active in epoch {event.epoch}")
    elif role.state is RoleState.CANDIDATE and not role.requests.is_open(Kind.ACQUIRE):
        # A grant that is on its way decides by itself.
        if role.attempt is not None and not role.attempt.ignores(event.epoch):
            takeover.abandon(role, role.attempt)
            role.attempt = None
            role.enter(RoleState.STANDBY, f"the active of epoch {event.epoch} is heard")
    if role.handover is not None and event.epoch > role.handover.epoch:
        if role.handover.phase is handover.Phase.HANDED:
            handover.ended(role, role.handover, event.epoch)


def _stands(role: "Role", event: Standing) -> None:
    role.stands(event)


def _acked(role: "Role", event: Acked) -> None:
    if role.in_sync is None or event.epoch != role.in_sync.epoch:
        role.count("acks_of_other_epochs")
    elif event.member != role.member:
        role.in_sync.acked(event, role.now_ns)


def _handed_over(role: "Role", event: HandedOver) -> None:
    waits = role.state in (RoleState.STANDBY, RoleState.CANDIDATE)
    if not waits or event.epoch < role.highest_epoch or role.tenure is not None:
        role.count("handovers_ignored")
        return
    role.highest_epoch = event.epoch
    if role.attempt is not None:
        takeover.abandon(role, role.attempt)
    role.attempt = Attempt(handed=event)
    role.enter(RoleState.CANDIDATE, f"{event.source} hands the role over at {event.number}")


# ------------------------------------------------------------ answers


def _answered(role: "Role", event: Answer) -> None:
    kind = role.requests.close(event.request)
    if kind is None:
        role.count("late_answers")
        _undone(role, event)
        return
    if isinstance(event, (StoreFailed, GatewayFailed)):
        failed(role, kind, event.reason)
    elif kind in (Kind.DRILL_READ, Kind.DRILL_GATEWAY):
        commands.drill_answered(role, event)
    elif role.attempt is not None and kind in _OF_ATTEMPT:
        _candidate_answered(role, role.attempt, event)
    elif role.is_active:
        _active_answered(role, event)
    elif isinstance(event, Stopped):
        _stopped(role)


def _undone(role: "Role", event: Answer) -> None:
    """Take back what was done though nobody waits for it any more."""
    used = role.tenure.epoch if role.tenure is not None else 0
    is_deciding = role.attempt is not None and role.attempt.phase is takeover.Phase.CHECKING
    if isinstance(event, Acquired) and event.epoch != used:
        # Granted behind our back; a copy of the grant that is used must not end it.
        role.give_back(event.epoch)
    elif isinstance(event, Frozen) and not role.is_active and not is_deciding:
        role.do(Follow())
    elif isinstance(event, Drained) and role.is_active and role.handover is None:
        role.do(Undrain())


def _candidate_answered(role: "Role", attempt: Attempt, event: Answer) -> None:
    if isinstance(event, Stored):
        takeover.stored(role, attempt, event)
    elif isinstance(event, Acquired):
        takeover.acquired(role, attempt, event)
    elif isinstance(event, Held):
        takeover.held(role, attempt, event)
    elif isinstance(event, GatewayAnswer):
        takeover.answered(role, attempt, event)
    elif isinstance(event, Frozen):
        takeover.frozen(role, attempt, event)


def _active_answered(role: "Role", event: Answer) -> None:
    assert role.tenure is not None and role.in_sync is not None
    if isinstance(event, Renewed):
        role.in_sync.store_heard(event.asked_at_ns)
        if role.tenure.renewed(event.asked_at_ns, event.ttl_ns):
            role.do(Extend(role.tenure.epoch, role.tenure.ends_ns))
    elif isinstance(event, Lost):
        _lost(role, event.reason)
    elif isinstance(event, Recorded) and not event.is_current:
        _lost(role, "the store refused a note of this epoch")
    elif isinstance(event, Recorded):
        role.in_sync.recorded()
    elif isinstance(event, Required):
        role.in_sync.required(event.number)
    elif isinstance(event, Drained) and role.handover is not None:
        handover.drained(role.handover, event.number)


def _lost(role: "Role", reason: str) -> None:
    role.tenure = None
    role.count("leases_lost")
    role.stop(f"the lease is lost: {reason}")


def failed(role: "Role", kind: Kind, reason: str) -> None:
    """What an open question means that was not answered."""
    if kind is Kind.GATEWAY and role.attempt is not None:
        takeover.unanswered(role, role.attempt, reason)
    elif kind in _OF_ATTEMPT and role.attempt is not None:
        takeover.give_up(role, role.attempt, [reason], role.config.retry_ns)
    elif kind is Kind.RENEW:
        role.count("renewals_failed")
    elif kind is Kind.NOTE and role.in_sync is not None:
        role.count("notes_unanswered")
        role.in_sync.not_recorded(role.now_ns)
    elif kind in (Kind.DRILL_READ, Kind.DRILL_GATEWAY):
        commands.drill_failed(role, reason)
    elif kind in (Kind.REQUIRE, Kind.DRAIN):
        role.stop(reason)
    elif kind is Kind.STOP:
        role.count("aborts")
        role.do(Abort("the engine's loop did not stop when it was told to"))
        role.enter(RoleState.RETIRED, "the loop does not stop: this process has to end")
    elif kind is Kind.RELEASE:
        role.count("releases_failed")


def _stopped(role: "Role") -> None:
    if role.handover is not None and not role.retires:
        handover.stopped(role, role.handover)
        return
    role.drop_tenure()
    if role.retires:
        role.retire("the operator retired this node")
    else:
        role.stand_by("stopped sending")


def _gateway_refused(role: "Role", event: GatewayRefused) -> None:
    role.highest_epoch = max(role.highest_epoch, event.highest_epoch)
    if role.is_active and role.tenure is not None and event.epoch == role.tenure.epoch:
        role.alarm("gateway_refused", event.reason)
        role.stop(f"the gateway refused an order: {event.reason}")
    else:
        role.count("refusals_of_old_epochs")


HANDLERS: dict[type, Callable[["Role", Any], None]] = {
    Beat: _beat_heard,
    Standing: _stands,
    Acked: _acked,
    HandedOver: _handed_over,
    GatewayRefused: _gateway_refused,
    **dict.fromkeys(get_args(Answer), _answered),
}
