"""What people and breakers ask of a node, and what it says about itself.

Every command ends in `Done` or `Refused`, at once or when its bound is over.
"""

from typing import TYPE_CHECKING

from tickpath.failover import eligibility, handover, takeover
from tickpath.failover.eligibility import Case
from tickpath.failover.note import NoteError, decode
from tickpath.failover.requests import Kind
from tickpath.failover.role_action import (
    GATE,
    POLICY,
    TAKEOVER,
    UNKNOWN_ORDERS,
    AskGateway,
    Done,
    ReadStore,
    Refused,
)
from tickpath.failover.role_event import (
    Drill,
    Event,
    Force,
    GatewayAnswer,
    Health,
    HoldTrading,
    ResumeTrading,
    Retire,
    SetMode,
    Stored,
    Switchover,
    Tick,
    UnknownResolved,
)
from tickpath.failover.takeover import Attempt

if TYPE_CHECKING:
    from tickpath.failover.role import Role


class DrillRun:
    """A drill that is under way."""

    def __init__(self, begun_ns: int, until_ns: int):
        self.begun_ns, self.until_ns = begun_ns, until_ns
        self.stored: Stored | None = None
        self.answer: GatewayAnswer | None = None


def take(role: "Role", event: Event) -> bool:
    """Carry an event out that is not the stream's and not an answer; gives whether it is one."""
    match event:
        case Tick():
            pass
        case Health():
            _health(role, event)
        case Switchover(to):
            _switchover(role, to)
        case Force():
            _force(role)
        case SetMode(is_synchronous):
            _set_mode(role, is_synchronous)
        case HoldTrading() | ResumeTrading() | UnknownResolved():
            _trading(role, event)
        case Retire():
            _retire(role)
        case Drill():
            _drill(role)
        case _:
            return False
    return True


# ---------------------------------------------------------------- health


def unfit(role: "Role") -> list[str]:
    """What is wrong with this node itself; goes to the active with its acknowledgements."""
    reasons = eligibility.of_state(role.standing)
    if not role.health.is_feed_fresh:
        reasons.append("its feed is stale")
    if not role.health.is_session_up:
        reasons.append("the order session is down")
    reasons += [f"breaker {name} is open" for name in role.health.breakers_open]
    return reasons


def not_ready(role: "Role") -> list[str]:
    """All that keeps this node from being, or becoming, a good active now."""
    reasons = unfit(role)
    state = role.state.name
    if state in ("RETIRED", "STOPPING"):
        reasons.append(f"{state.lower()}: {role.state.value}")
    if state == "CANDIDATE" and role.attempt is not None:
        reasons += role.attempt.reasons or ("no active is heard, a takeover is under way",)
    if role.standing is not None and role.standing.is_missing:
        reasons.append(f"records behind {role.standing.number} are missing")
    if state == "STANDBY" and role.told is not None and role.standing is not None:
        lag = role.told.number - role.standing.number
        if lag > role.config.max_lag_records:
            reasons.append(f"{lag} records behind the active")
    if role.is_active and role.in_sync is not None and role.in_sync.waits_for is not None:
        reasons.append(role.in_sync.waits_for)
    if role.is_active:
        reasons += [f"trading is held: {source}" for source in sorted(role.holds - {GATE})]
    return reasons


def _health(role: "Role", event: Health) -> None:
    role.health = event
    is_well = event.is_feed_fresh and event.is_session_up and not event.breakers_open
    if is_well:
        role.unhealthy_since_ns = None
    elif role.unhealthy_since_ns is None:
        role.unhealthy_since_ns = role.now_ns


def advance_active(role: "Role") -> None:
    """A change of mode that is recorded now; a hand-over for bad health; an alarm for lag."""
    in_sync, config = role.in_sync, role.config
    assert in_sync is not None
    if role.wishes_mode is not None and in_sync.noted is not None:
        is_noted = in_sync.noted.is_synchronous == role.wishes_mode
        if is_noted and in_sync.gate == frozenset(in_sync.noted.in_sync):
            word = "synchronous" if role.wishes_mode else "asynchronous"
            role.wishes_mode = None
            role.do(Done("mode", f"{word} from record {in_sync.gate_number} on"))
    lag = in_sync.lag_records()
    is_lagging = not in_sync.is_synchronous and lag is not None and lag > config.max_lag_records
    if is_lagging and not role.is_lagging:
        role.alarm("lag", f"the best standby is {lag} records behind")
    role.is_lagging = is_lagging
    since_ns, last_ns = role.unhealthy_since_ns, role.handed_over_ns
    if not config.hand_over_when_unhealthy or since_ns is None:
        return
    if last_ns is not None and role.now_ns - last_ns < config.hand_over_pause_ns:
        return
    if role.now_ns - since_ns >= config.unhealthy_after_ns:
        to, _ = handover.chosen(role, None)
        if to is not None:
            role.handed_over_ns = role.now_ns
            role.alarm("unhealthy", f"handing over to {to.name}: {'; '.join(unfit(role))}")
            handover.begin(role, to)


# ---------------------------------------------------------------- commands


def _switchover(role: "Role", to: str | None) -> None:
    member, reasons = handover.chosen(role, to)
    if member is None:
        role.count("switchovers_refused")
        role.do(Refused(handover.COMMAND, tuple(reasons)))
    else:
        handover.begin(role, member)


def _force(role: "Role") -> None:
    reasons = eligibility.of_state(role.standing)
    if role.state.name not in ("STANDBY", "CANDIDATE"):
        reasons.append(f"this node is {role.state.name.lower()}")
    elif role.tenure is not None:
        reasons.append("a takeover is about to be decided")
    if role.handover is not None:
        reasons.append(f"a switchover to {role.handover.to.name} is under way")
    if reasons:
        role.count("forces_refused")
        role.do(Refused("force", tuple(reasons)))
        return
    role.count("forces")
    if role.attempt is not None:
        takeover.abandon(role, role.attempt)
    role.attempt = Attempt(forced_until_ns=role.now_ns + role.config.force_timeout_ns)
    role.be_candidate("the operator forces a takeover")


def _set_mode(role: "Role", is_synchronous: bool) -> None:
    if role.in_sync is None or role.handover is not None:
        role.do(Refused("mode", ("only an active changes it, and not while it hands over",)))
        return
    role.in_sync.is_synchronous = is_synchronous
    role.wishes_mode = is_synchronous


def _trading(role: "Role", event: HoldTrading | ResumeTrading | UnknownResolved) -> None:
    command = "hold" if isinstance(event, HoldTrading) else "resume"
    if not role.is_active or role.handover is not None:
        role.do(Refused(command, ("only an active changes it, and not while it hands over",)))
        return
    if isinstance(event, HoldTrading):
        if event.source in (TAKEOVER, GATE):
            role.do(Refused(command, (f"{event.source} is the role's own",)))
            return
        role.hold(event.source, event.reason)
    elif isinstance(event, UnknownResolved):
        role.resume(UNKNOWN_ORDERS)
    else:
        role.resume(event.source)
        if event.source == "operator":
            role.resume(POLICY)
    others = f"; held: {', '.join(sorted(role.holds))}" if role.holds else ""
    role.do(Done(command, f"done{others}"))


def _retire(role: "Role") -> None:
    role.count("retirements")
    if role.is_active or role.state.name == "STOPPING":
        role.stop("the operator retires this node", retires=True)
    else:
        role.retire("the operator retired this node")
    role.do(Done("retire", "this node takes no further part"))


# ---------------------------------------------------------------- drills


def _drill(role: "Role") -> None:
    """Ask store and gateway what a takeover would ask, and change nothing."""
    if role.drill is not None:
        role.do(Refused("drill", ("one is under way",)))
        return
    timeout_ns = role.config.drill_timeout_ns
    role.drill = DrillRun(role.now_ns, role.now_ns + timeout_ns)
    role.do(ReadStore(role.requests.open(Kind.DRILL_READ, role.now_ns, timeout_ns)))
    role.do(AskGateway(role.requests.open(Kind.DRILL_GATEWAY, role.now_ns, timeout_ns), 0))


def drill_answered(role: "Role", event: Event) -> None:
    """One of its answers came."""
    if role.drill is None:
        return
    if isinstance(event, Stored):
        role.drill.stored = event
    elif isinstance(event, GatewayAnswer):
        role.drill.answer = event


def drill_failed(role: "Role", reason: str) -> None:
    """One of its answers will not come."""
    if role.drill is not None:
        role.drill = None
        role.count("drills_failed")
        role.do(Refused("drill", (reason,)))


def advance_drill(role: "Role") -> None:
    """Say what came out, once it is known."""
    drill = role.drill
    if drill is None:
        return
    if role.now_ns >= drill.until_ns:
        drill_failed(role, "no answer in time")
        return
    if drill.stored is None or drill.answer is None:
        return
    role.drill = None
    reasons = _against(role, drill.stored, drill.answer)
    role.count("drills_failed" if reasons else "drills_passed")
    took_ms = (role.now_ns - drill.begun_ns) / 1e6
    if reasons:
        role.do(Refused("drill", tuple(reasons)))
    else:
        role.do(Done("drill", f"a takeover would succeed; it was answered in {took_ms:.3f} ms"))


def _against(role: "Role", stored: Stored, answer: GatewayAnswer) -> list[str]:
    """Reasons against a takeover now, if the active died at this moment."""
    reasons = unfit(role)
    if role.standing is None:
        return reasons
    try:
        note = decode(stored.note)
    except NoteError as error:
        return [*reasons, str(error)]
    case = Case(role.member, role.standing, role.told)
    epoch = max(stored.epoch, role.highest_epoch) + 1
    reasons += eligibility.of_note(case, note, role.config)
    # An active's records are on their way at any time: only what is not explained by that counts.
    if answer.input_number <= (role.told.number if role.told else 0):
        return reasons
    return reasons + eligibility.of_gateway(case, note, answer, epoch, role.config)
