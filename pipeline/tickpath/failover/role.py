"""A node's role: standby or active, decided so that no two nodes ever trade at once.

    role = Role(Member("a", incarnation), config, now_ns)
    actions = role.step(event, now_ns)      # every event, with this node's monotonic clock
    role.due_ns                             # a Tick is due by then at the latest

The invariants: what is sent as active is sent under a lease whose end, by this node's own clock,
has not come; an order leaves only when all members acknowledged it that the durable note names
(`in_sync`); and no promotion is made but under a lease, with the note and the gateway read after
it was granted (`takeover`).  The lease's end is looked at before any event is, so a process that
was stopped for a while fences itself before it does anything else; and since a control thread may
be slow, the engine's loop itself compares its clock with the end that `Promote` and `Extend` give.

At worst the loop does not stop when it is told to: then the process has to end (`Abort`).
"""

from collections import Counter

from tickpath.failover import commands, eligibility, handover, takeover
from tickpath.failover.handover import Handover
from tickpath.failover.hearing import HANDLERS, failed
from tickpath.failover.in_sync import InSync
from tickpath.failover.member import Member
from tickpath.failover.requests import Kind, Requests
from tickpath.failover.role_action import (
    GATE,
    POLICY,
    TAKEOVER,
    Action,
    Alarm,
    Entered,
    Follow,
    Hold,
    Promote,
    Release,
    Renew,
    Resume,
    StopSending,
)
from tickpath.failover.role_config import RoleConfig
from tickpath.failover.role_event import Beat, Event, Health, Standing
from tickpath.failover.role_state import RoleState
from tickpath.failover.takeover import Attempt
from tickpath.failover.tenure import Tenure


class Role:
    """See the module's text."""

    def __init__(self, member: Member, config: RoleConfig, now_ns: int):
        self.member, self.config, self.now_ns = member, config, now_ns
        self.state = RoleState.STARTING
        self.counters: Counter[str] = Counter()
        self.requests = Requests()
        self.standing: Standing | None = None
        self.health = Health()
        self.unhealthy_since_ns: int | None = None
        self.handed_over_ns: int | None = None
        self.told: Beat | None = None
        """The furthest beat that was heard."""
        self.heard_ns = now_ns
        """When the active was last heard (or this node began to listen)."""
        self.highest_epoch = 0
        self.tenure: Tenure | None = None
        self.attempt: Attempt | None = None
        self.in_sync: InSync | None = None
        self.handover: Handover | None = None
        self.drill: commands.DrillRun | None = None
        self.holds: set[str] = set()
        """Sources that hold trading; meant where this node is active."""
        self.wishes_mode: bool | None = None
        """An operator's change of mode that is not recorded yet."""
        self.is_lagging = False
        self.retires = False
        self.beat = (0, 0)
        self._out: list[Action] = []

    # ------------------------------------------------------------ for the shell

    @property
    def is_active(self) -> bool:
        """Whether this node makes the records now."""
        return self.state is RoleState.ACTIVE

    @property
    def epoch(self) -> int:
        """The epoch of this node's lease, or the highest that it knows of."""
        return self.tenure.epoch if self.tenure else self.highest_epoch

    @property
    def due_ns(self) -> int:
        """The latest time for the next `Tick`; the shell may come earlier."""
        candidates = [self.now_ns + self.config.retry_ns]
        if self.tenure is not None:
            candidates += [self.tenure.ends_ns, self.tenure.renew_ns]
        due_ns = self.requests.due_ns()
        if due_ns is not None:
            candidates.append(due_ns)
        return max(self.now_ns, min(candidates))

    def ready(self) -> list[str]:
        """Why this node would not do well as the active, in words; empty: it is ready."""
        return commands.not_ready(self)

    def unfit(self) -> list[str]:
        """What is wrong with this node itself; `Acked.is_ready` says that there is nothing."""
        return commands.unfit(self)

    def step(self, event: Event, now_ns: int) -> list[Action]:
        """Take an event; gives what is to be done, in order."""
        self._out = []
        if now_ns < self.now_ns:
            self.count("clock_backwards")
        # A process that stood still gave its loop no time either.
        late_ns = now_ns - self.due_ns
        if late_ns > self.config.retry_ns:
            self.requests.put_off(Kind.STOP, late_ns)
        self.now_ns = max(self.now_ns, now_ns)
        if self.tenure is not None and self.tenure.is_over(self.now_ns):
            self._lease_ended()
        handle = HANDLERS.get(type(event))
        if handle is not None:
            handle(self, event)
        elif not commands.take(self, event):
            raise TypeError(f"{event!r} is no event of a role")
        for kind in self.requests.expired(self.now_ns):
            self.count("requests_timed_out")
            failed(self, kind, f"{kind.value}: no answer in time")
        self._advance()
        return self._out

    # ------------------------------------------------------------ what the parts use

    def do(self, action: Action) -> None:
        """Add an action to this step's."""
        self._out.append(action)

    def count(self, name: str) -> None:
        """Count an outcome."""
        self.counters[name] += 1

    def alarm(self, name: str, text: str) -> None:
        """Count it, and have somebody look."""
        self.count(name)
        self.do(Alarm(name, text))

    def enter(self, state: RoleState, reason: str) -> None:
        """Change the state."""
        if state is not self.state:
            self.state = state
            self.do(Entered(state.name, reason))

    def stop(self, reason: str, *, retires: bool = False) -> None:
        """Fence this node: nothing leaves from here on.  Only the loop's word ends it."""
        self.retires |= retires
        if not self.is_active:
            return
        self.requests.give_up()
        timeout_ns = self.config.loop_timeout_ns
        request = self.requests.open(Kind.STOP, self.now_ns, timeout_ns)
        self._out.insert(0, StopSending(request, reason))
        self.count("stops")
        self.in_sync, self.wishes_mode = None, None
        if self.handover is not None and self.handover.phase is not handover.Phase.STOPPING:
            self.handover = None
            self.count("handovers_called_off")
        self.enter(RoleState.STOPPING, reason)

    def stand_by(self, reason: str) -> None:
        """Follow whoever is active; the time of silence begins anew."""
        self.heard_ns = self.now_ns
        self.attempt = None
        self.enter(RoleState.STANDBY, reason)
        self.do(Follow())

    def promote(
        self,
        promote: Promote,
        is_synchronous: bool,
        is_expecting: bool,
        inherited: frozenset[Member] | None,
    ) -> None:
        """Be the active under the lease that is held; its gate is shut."""
        self.count("promotions")
        self.attempt = None
        self.do(promote)
        self.in_sync = InSync(
            self.member,
            self.config,
            self.requests,
            epoch=promote.epoch,
            number=promote.next_number,
            inherited=inherited,
        )
        self.counters["notes_inherited"] += inherited is not None
        self.in_sync.is_synchronous = is_synchronous
        self.in_sync.expects_standby = is_expecting
        self.holds = set(self.standing.held if self.standing else ()) - {GATE, TAKEOVER}
        self.holds.add(TAKEOVER)
        takeover.hold_for_unknown(self, promote)
        if self.config.after_takeover == "hold":
            self.hold(POLICY, "trading is resumed by the operator after a takeover")
        lost = f"; {promote.records_lost} records lost" if promote.records_lost else ""
        self.enter(RoleState.ACTIVE, f"epoch {promote.epoch} behind record {promote.number}{lost}")

    def hold(self, source: str, reason: str) -> None:
        """Make no new orders while this source holds."""
        if source not in self.holds:
            self.holds.add(source)
            self.do(Hold(source, reason))

    def resume(self, source: str) -> None:
        """This source holds no longer."""
        if source in self.holds:
            self.holds.remove(source)
            self.do(Resume(source))

    def be_candidate(self, reason: str) -> None:
        """Try to become the active; the attempt is made."""
        self.enter(RoleState.CANDIDATE, reason)

    def stands(self, standing: Standing) -> None:
        """The engine says where it is."""
        self.standing = standing
        if standing.incarnation is not None:
            self.member = Member(self.member.name, standing.incarnation)
        if self.in_sync is not None:
            self.in_sync.at(standing.number)

    def retire(self, reason: str) -> None:
        """Take no further part."""
        self.requests.give_up()
        self.drop_tenure()
        self.attempt = self.handover = self.drill = None
        self.enter(RoleState.RETIRED, reason)

    def _lease_ended(self) -> None:
        """First of all in a step: nothing else is looked at by a node without a lease."""
        if self.is_active:
            self.count("leases_ended_here")
            self.stop("the lease has ended by this node's own clock")
        elif self.attempt is not None:
            takeover.give_up(self, self.attempt, ["the lease has ended"], self.config.retry_ns)

    def drop_tenure(self) -> None:
        """Give a lease back that is not used any more, if it may still be ours."""
        tenure, self.tenure = self.tenure, None
        if tenure is not None and not tenure.is_over(self.now_ns):
            self.give_back(tenure.epoch)

    def give_back(self, epoch: int) -> None:
        """Free a lease; whether it worked is not waited for."""
        timeout_ns = self.config.store_timeout_ns
        self.do(Release(self.requests.open(Kind.RELEASE, self.now_ns, timeout_ns), epoch))

    # ------------------------------------------------------------ as time goes by

    def _advance(self) -> None:
        if self.state is RoleState.STARTING and not eligibility.of_state(self.standing):
            self.enter(RoleState.STANDBY, "the engine is ready")
        if self.state is RoleState.STANDBY:
            self._watch()
        if self.state is RoleState.CANDIDATE and self.attempt is not None:
            takeover.advance(self, self.attempt)
        if self.is_active:
            self._lead()
        commands.advance_drill(self)

    def _watch(self) -> None:
        """Whether the active has been silent for too long."""
        if self.handover is not None:
            if self.now_ns < self.handover.until_ns:
                return
            handover.ended(self, self.handover, None)
        silent_ns = self.now_ns - self.heard_ns
        if silent_ns >= self.config.beat_timeout_ns and not eligibility.of_state(self.standing):
            self.count("silences")
            self.attempt = Attempt()
            self.enter(RoleState.CANDIDATE, f"no active was heard for {silent_ns / 1e6:.1f} ms")

    def _lead(self) -> None:
        """Renew, keep the in-sync set, hand over: what an active has to do."""
        in_sync, tenure = self.in_sync, self.tenure
        assert in_sync is not None and tenure is not None
        if self.now_ns >= tenure.renew_ns and not self.requests.is_open(Kind.RENEW):
            timeout_ns = self.config.store_timeout_ns
            request = self.requests.open(Kind.RENEW, self.now_ns, timeout_ns)
            tenure.renew_ns = self.now_ns + self.config.lease_renew_ns
            self.do(Renew(request, tenure.epoch))
        if self.handover is not None and self.handover.phase is not handover.Phase.SETTLING:
            handover.advance(self, self.handover)
            return
        for action in in_sync.advance(self.now_ns):
            self.do(action)
        if in_sync.wants_new_epoch is not None:
            self.count("epochs_given_up")
            self.stop(in_sync.wants_new_epoch)
            return
        self._gate()
        commands.advance_active(self)
        if self.handover is not None:
            handover.advance(self, self.handover)

    def _gate(self) -> None:
        """Trade when orders can leave; a change of mode is done when it is recorded."""
        in_sync = self.in_sync
        assert in_sync is not None
        if in_sync.gate is not None:
            self.resume(TAKEOVER)
        if in_sync.is_stuck and in_sync.gate is not None:
            self.hold(GATE, in_sync.waits_for or "no standby is in sync")
        elif not in_sync.is_stuck:
            self.resume(GATE)
