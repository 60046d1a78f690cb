"""The active's side of a planned switchover: note it, drain, wait, stop, release and tell.

While the note is recorded, trading goes on: it says that the other may go on under it, so that
nobody waits for a disk once inputs stay where they are.  The lease is given back and the other is
told at the same moment: whoever asks for it too early asks again.

Before it stops, anything that does not go well ends in `Undrain`, and the active goes on as it was.
After it stopped it is a standby like others, which leaves the other its time: if nobody is heard by
then, it takes the role back by a lease of its own.
"""

from enum import Enum
from typing import TYPE_CHECKING

from tickpath.failover.member import Member
from tickpath.failover.requests import Kind
from tickpath.failover.role_action import Done, Drain, HandOver, Refused, Undrain

if TYPE_CHECKING:
    from tickpath.failover.role import Role

COMMAND = "switchover"


class Phase(Enum):
    """How far a switchover is."""

    SETTLING = "the note of it is not recorded yet"
    DRAINING = "the loop stops taking input"
    CATCHING_UP = "the other has not acknowledged the last record yet"
    STOPPING = "the loop stops"
    HANDED = "the other is to take over"


class Handover:
    """One switchover."""

    def __init__(self, to: Member, epoch: int, now_ns: int, timeout_ns: int):
        self.to, self.epoch = to, epoch
        self.phase = Phase.SETTLING
        self.until_ns = now_ns + timeout_ns
        self.number = 0
        """The last record of this active."""


def chosen(role: "Role", to: str | None) -> tuple[Member | None, list[str]]:
    """The member to hand over to, or the reasons why there is none."""
    in_sync = role.in_sync
    if in_sync is None or not role.is_active:
        return None, [f"this node is {role.state.name.lower()}, not active"]
    if role.handover is not None:
        return None, [f"a switchover to {role.handover.to.name} is under way"]
    if in_sync.noted is None:
        return None, ["the in-sync set is not recorded yet"]
    named = in_sync.noted.in_sync
    if not in_sync.noted.is_synchronous:
        named = tuple(sorted(in_sync.heard, key=str))
    found = [each for each in named if to in (None, each.name)]
    good = [each for each in found if in_sync.is_good(each, role.now_ns)]
    if good:
        return good[0], []
    return None, [f"{to or 'no standby'} is not in sync and ready" if to else "no standby is ready"]


def begin(role: "Role", to: Member) -> None:
    """Begin handing over."""
    assert role.tenure is not None
    assert role.in_sync is not None
    timeout_ns = role.config.store_timeout_ns + role.config.drain_timeout_ns
    role.handover = Handover(to, role.tenure.epoch, role.now_ns, timeout_ns)
    role.in_sync.hands_over = True
    role.count("handovers_begun")


def advance(role: "Role", handover: Handover) -> None:
    """The next step, or the end where it takes too long."""
    assert role.in_sync is not None
    if handover.phase is Phase.SETTLING and role.in_sync.is_handing_over:
        if not role.in_sync.is_good(handover.to, role.now_ns):
            call_off(role, handover, f"{handover.to.name} is not in sync and ready any more")
            return
        handover.phase = Phase.DRAINING
        handover.until_ns = role.now_ns + role.config.drain_timeout_ns
        role.do(Drain(role.requests.open(Kind.DRAIN, role.now_ns, role.config.loop_timeout_ns)))
    if handover.phase is Phase.CATCHING_UP:
        heard = role.in_sync.heard.get(handover.to)
        if heard is not None and heard.number >= handover.number:
            handover.phase = Phase.STOPPING
            role.stop(f"the role is handed over to {handover.to.name}")
            return
    is_early = handover.phase in (Phase.SETTLING, Phase.DRAINING, Phase.CATCHING_UP)
    if is_early and role.now_ns >= handover.until_ns:
        call_off(role, handover, f"{handover.phase.value}, for too long")


def call_off(role: "Role", handover: Handover, reason: str) -> None:
    """Go on as before; nothing was given away yet."""
    if handover.phase is not Phase.SETTLING:
        role.requests.give_up(Kind.DRAIN)
        role.do(Undrain())
    if role.in_sync is not None:
        role.in_sync.hands_over = False
    role.handover = None
    role.count("handovers_called_off")
    role.do(Refused(COMMAND, (reason,)))


def drained(handover: Handover, number: int) -> None:
    """The last record is known."""
    handover.number = number
    handover.phase = Phase.CATCHING_UP


def stopped(role: "Role", handover: Handover) -> None:
    """Give the lease back, so that the other need not wait for its end: it is its turn."""
    role.drop_tenure()
    handover.phase = Phase.HANDED
    handover.until_ns = role.now_ns + role.config.take_over_timeout_ns
    role.do(HandOver(handover.to.name, handover.epoch, handover.number))
    role.stand_by(f"{handover.to.name} is to take over")


def ended(role: "Role", handover: Handover, active_epoch: int | None) -> None:
    """Somebody is active again, or nobody came."""
    role.handover = None
    if active_epoch is None:
        role.count("handovers_not_taken")
        role.alarm("handover_not_taken", f"{handover.to.name} did not take over in time")
        return
    role.count("handovers_done")
    role.do(Done(COMMAND, f"handed over at record {handover.number}; epoch {active_epoch}"))
