"""May this node take over?  Reasons against it in words; none: it may.

In synchronous mode the durable note decides: its heirs acknowledged whatever left, so one of them
loses nothing, and nobody else may go.  In asynchronous mode the bound on the lag decides.  Either
way the gateway has the last word about orders: its position was fixed when it was asked.
"""

from typing import NamedTuple

from tickpath.failover.member import Member
from tickpath.failover.note import Note
from tickpath.failover.role_config import RoleConfig
from tickpath.failover.role_event import Beat, GatewayAnswer, HandedOver, Standing


class Case(NamedTuple):
    """What is known when the question is asked."""

    me: Member
    standing: Standing
    told: Beat | None
    """The furthest beat that was heard."""
    handed: HandedOver | None = None
    is_forced: bool = False


class Orders(NamedTuple):
    """The gateway's last word against our own state."""

    unknown_bytes: int
    """Orders that it has, and this state does not."""
    lost_records: int
    """Records behind ours whose orders it has."""


def of_state(standing: Standing | None) -> list[str]:
    """Reasons of the state itself; no force goes past them."""
    if standing is None:
        return ["the engine has not said where it stands"]
    reasons = []
    if not standing.is_whole:
        reasons.append("its state is being loaded")
    if not standing.is_warm:
        reasons.append("not warm yet")
    if standing.mismatch is not None:
        reasons.append(f"another version than the active's: {standing.mismatch}")
    if standing.diverged is not None:
        reasons.append(f"diverged: {standing.diverged}")
    return reasons


def of_handed(standing: Standing | None, handed: HandedOver) -> list[str]:
    """Reasons against a node that was handed the role, before it asks for the lease."""
    reasons = of_state(standing)
    if not reasons and standing is not None and standing.number < handed.number:
        reasons = [f"applied up to {standing.number}, handed over at {handed.number}"]
    return reasons


def of_note(case: Case, note: Note | None, config: RoleConfig) -> list[str]:
    """Reasons that the store's note gives."""
    told, number = case.told, case.standing.number
    if case.handed is not None and (reasons := of_handed(case.standing, case.handed)):
        return reasons
    if case.is_forced or note is None:
        return []
    if case.me in note.heirs:
        if told is not None and told.epoch == note.epoch and note.is_synchronous:
            if number < told.committed and case.me != note.active:
                return [f"applied up to {number}, {told.committed} was told as acknowledged"]
        return []
    if note.is_synchronous:
        heirs = ", ".join(str(heir) for heir in note.heirs)
        return [f"{case.me} was not in sync in epoch {note.epoch}; in sync: {heirs}"]
    missed = missed_epoch(case, note)
    if missed is not None:
        return [missed]
    if told is None:
        return ["the active was never heard: how far behind this node is, is unknown"]
    lag = told.number - number
    if lag > config.max_lag_records:
        return [f"{lag} records behind, at most {config.max_lag_records} are allowed"]
    return []


def missed_epoch(case: Case, note: Note | None) -> str | None:
    """Whether somebody was active after this state's last record, without this node."""
    if note is None or case.me in note.heirs:
        return None
    # Under a note that hands over an heir may have led without one of its own.
    if note.epoch + (note.hands_over and note.is_synchronous) <= case.standing.epoch:
        return None
    return (
        f"its last record is of epoch {case.standing.epoch}, and {note.active} was active in "
        f"epoch {note.epoch}"
    )


def orders_of(standing: Standing, answer: GatewayAnswer) -> Orders:
    """What the gateway has that this state has not."""
    return Orders(
        max(0, answer.order_position - standing.order_position),
        max(0, answer.input_number - standing.number),
    )


def of_gateway(
    case: Case, note: Note | None, answer: GatewayAnswer, epoch: int, config: RoleConfig
) -> list[str]:
    """Reasons that the gateway gives; only unknown orders can be forced."""
    standing = case.standing
    if answer.highest_epoch > epoch:
        return [f"the gateway has seen epoch {answer.highest_epoch}, ours is {epoch}"]
    if answer.order_position < standing.tail_position:
        return [
            f"the gateway is at byte {answer.order_position} of the order stream, this node keeps "
            f"it from {standing.tail_position} on"
        ]
    if answer.input_number > standing.number and answer.order_position < standing.order_position:
        return [
            f"the gateway is at record {answer.input_number} with fewer bytes of orders than this "
            f"node at record {standing.number}: one of them diverged"
        ]
    orders = orders_of(standing, answer)
    if case.is_forced or not (orders.unknown_bytes or orders.lost_records):
        return []
    if note is None or note.is_synchronous:
        return [
            f"the gateway has {orders.unknown_bytes} bytes of orders up to record "
            f"{answer.input_number} that this node, at {standing.number}, does not know"
        ]
    if orders.lost_records > config.max_lag_records:
        return [
            f"{orders.lost_records} records behind the gateway, at most {config.max_lag_records} "
            "are allowed"
        ]
    return []
