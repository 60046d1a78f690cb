"""The circuit breakers of an active node: what they are fed, and what becomes of their word.

    order_latency    from the hand-over to the gateway until it says that it has the order
    reject_rate      the exchange's answers: accepted or rejected
    session_errors   the gateway's connection lost, or its session down; answers are signs of life
    feed_staleness   packets of the feed

A breaker that opens holds trading under its own name, cancels, takes one line of the feed alone, or
hands the role over, as it is configured.  Half-open, trading goes on for the probes; when they are
out it is held again until they are answered.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Literal

from tickpath.failover import role_event as told
from tickpath.failover.breaker import (
    Breaker,
    BreakerAction,
    BreakerConfig,
    BreakerEvent,
    CancelAll,
    Closed,
    HalfOpened,
    HandOverRole,
    Opened,
    StopNewOrders,
    SwitchLine,
)
from tickpath.session.ouch_message import Dialect, Kind
from tickpath.wire.table import WireError

MOST_UNDER_WAY = 1 << 16
"""Hand-overs whose latency is waited for; the oldest is forgotten for a new one."""


class NodeBreakers:
    """See the module's text."""

    def __init__(
        self,
        configs: Sequence[BreakerConfig],
        dialect: Dialect,
        now_ns: int,
        *,
        step: Callable[[told.Event], None],
        cancel_all: Callable[[str], None],
        use_line: Callable[[Literal["A", "B"]], str],
        say: Callable[[str], None],
    ) -> None:
        """``step`` tells the role; ``cancel_all`` gives the engine that command, with a reason.

        ``use_line`` takes the feed from line A or B alone, and says what came of it.
        """
        self._breakers = [Breaker(each, now_ns) for each in configs]
        self._dialect = dialect
        self._step, self._cancel_all, self._say = step, cancel_all, say
        self._use_line = use_line
        self._under_way: deque[tuple[int, int]] = deque(maxlen=MOST_UNDER_WAY)
        self._held: set[str] = set()
        self._stops = {
            each.name
            for each in configs
            if any(isinstance(action, StopNewOrders) for action in each.actions)
        }
        self.counters: Counter[str] = Counter()

    @property
    def open_names(self) -> tuple[str, ...]:
        """Breakers that are not closed."""
        return tuple(each.name for each in self._breakers if not each.is_closed)

    @property
    def states(self) -> tuple[tuple[str, str], ...]:
        """Name and state of each."""
        return tuple((each.name, each.state.name) for each in self._breakers)

    # ------------------------------------------------------------ samples

    def handed_over(self, end_position: int, now_ns: int) -> None:
        """Orders up to a position of the order stream are on their way to the gateway."""
        if not self._breakers:
            return
        self._under_way.append((end_position, now_ns))
        for each in self._breakers:
            if each.name in self._held or each.is_closed:
                continue
            if not each.may_pass(now_ns):
                self._hold(each.name, "its probes are under way")

    def accepted(self, position: int, now_ns: int) -> None:
        """The gateway has everything up to a position."""
        while self._under_way and self._under_way[0][0] <= position:
            _, handed_ns = self._under_way.popleft()
            self._sample("order_latency", now_ns - handed_ns, now_ns)

    def answered(self, payload: bytes, now_ns: int) -> None:
        """A message of the exchange."""
        if not self._breakers:
            return
        self._sample("session_errors", 0, now_ns)
        try:
            kind = self._dialect.answer(payload).kind
        except WireError:
            self.counters["answers_unknown"] += 1
            return
        if kind in (Kind.ACCEPTED, Kind.REPLACED, Kind.REJECTED):
            self._sample("reject_rate", int(kind is Kind.REJECTED), now_ns)

    def session_error(self, now_ns: int) -> None:
        """The gateway cannot be reached, or its session is down."""
        self._under_way.clear()
        self._sample("session_errors", 1, now_ns)

    def feed(self, now_ns: int) -> None:
        """Packets came."""
        self._sample("feed_staleness", 0, now_ns)

    def advance(self, now_ns: int) -> None:
        """Time goes by."""
        for each in self._breakers:
            self._hear(each.advance(now_ns))

    def _sample(self, measures: str, value: int, now_ns: int) -> None:
        for each in self._breakers:
            if each.config.measures == measures:
                self._hear(each.sample(value, now_ns))

    # ------------------------------------------------------------ what they say

    def _hear(self, events: list[BreakerEvent]) -> None:
        for event in events:
            match event:
                case Opened(name, reason, actions):
                    self.counters["opened"] += 1
                    self._say(f"breaker {name} opens: {reason}")
                    for action in actions:
                        self._act(name, reason, action)
                    if name in self._stops:  # again, where its probes were bad
                        self._hold(name, reason)
                case HalfOpened(name, probes):
                    self._say(f"breaker {name} lets {probes} orders try")
                    if name in self._stops:
                        self._resume(name)
                case Closed(name, undo):
                    self._say(f"breaker {name} closes")
                    if any(isinstance(each, StopNewOrders) for each in undo):
                        self._resume(name)

    def _act(self, name: str, reason: str, action: BreakerAction) -> None:
        match action:
            case StopNewOrders():
                self._hold(name, reason)
            case CancelAll():
                self._cancel_all(f"breaker {name}")
            case HandOverRole(to):
                self._step(told.Switchover(to))
            case SwitchLine(line):
                self._say(f"breaker {name}: {self._use_line(line)}")

    def _hold(self, name: str, reason: str) -> None:
        if name not in self._held:
            self._held.add(name)
            self._step(told.HoldTrading(f"breaker {name}", reason))

    def _resume(self, name: str) -> None:
        if name in self._held:
            self._held.discard(name)
            self._step(told.ResumeTrading(f"breaker {name}"))
