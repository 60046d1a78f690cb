"""What is done about messages that no line brought: asked for, fetched as a snapshot, or a gap.

The engine says what is missing (`recovery.engine_lines`), `recovery` decides, and asks the servers
that the configuration names: for ITCH MoldUDP64 request servers, then GLIMPSE; for PITCH Gap
Request Proxies, then Spin.  Where nobody is named for a line, a hole is a gap at once.

Recovery's time goes on with ours, but by no more than `LONGEST_STEP_NS` from round to round: while
this process did not run it has not heard the answers either, and nobody is given up for that.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tickpath.config import ConfigError
from tickpath.engine import Engine
from tickpath.recovery import moldudp64, sequenced_unit
from tickpath.recovery.engine import LineName
from tickpath.recovery.engine_lines import EngineLines
from tickpath.recovery.error import RecoveryError
from tickpath.recovery.feed import FeedRecovery
from tickpath.recovery.glimpse import GlimpseClient
from tickpath.recovery.limits import MILLISECOND_NS, Limits
from tickpath.recovery.line import Line
from tickpath.recovery.refill import GrpRefill, MoldRefill
from tickpath.recovery.sockets import Addresses, SocketNetwork
from tickpath.recovery.spin import SpinClient
from tickpath.recovery.state import State
from tickpath.recovery.unit_link import Login
from tickpath.session.credentials import Credentials
from tickpath.session.tcp_stream import Address, resolve
from tickpath.trade.config import Trade, several, split

LONGEST_STEP_NS = 20 * MILLISECOND_NS
REQUEST_MESSAGES = 32
"""Messages of a request: a packet of 1,400 bytes has room for most of as many."""
REQUESTS_UNDER_WAY = 64
ANSWER_TIMEOUT_NS = 50 * MILLISECOND_NS
MAX_REPORTS = 64
"""Times in a round that the engine says what has changed by what was done; then the next round."""
SETTLED = State.SYNCHRONISED, State.STALE


class _Protocol(NamedTuple):
    """One protocol's lines, and its servers."""

    recovery: FeedRecovery
    network: SocketNetwork
    is_pitch: bool


class Holes:
    """See the module's text.  Raises `ConfigError`, and `SessionError` for an unknown host."""

    def __init__(
        self,
        engine: Engine,
        lines: EngineLines,
        groups: Sequence[LineName],
        trade: Trade,
        credentials: Credentials,
        clock: Callable[[], int],
    ) -> None:
        """``groups`` are the lines A, as if each were of MoldUDP64."""
        self._engine, self._lines, self._trade, self._clock = engine, lines, trade, clock
        self._now_ns = self._real_ns = clock()
        self._counters: Counter[str] = Counter()
        self._servers = {False: len(several(trade.requests)), True: len(several(trade.grp))}
        self._glimpse_line = groups[0]
        self._units: dict[int, LineName] = {}
        self._due_ns: int | None = None
        self._quiet: tuple[int, int, int] | None = None
        """How the engine's lines stand while nothing is to be done; None: something is."""
        self._limits = {False: Limits(), True: Limits()}
        self._protocols: list[_Protocol] = []
        try:
            self._protocols.append(self._itch(groups, credentials))
            self._protocols.append(self._pitch(groups, credentials))
        except RecoveryError as error:
            self.close()
            raise ConfigError(f"trade.interface: {error}") from None
        self.be_patient(trade.start_timeout_ms)

    def _itch(self, groups: Sequence[LineName], credentials: Credentials) -> _Protocol:
        trade = self._trade
        where = Addresses(
            interface=trade.interface,
            requests=_resolved(several(trade.requests)),
            snapshots=((self._glimpse_line, _resolved(several(trade.glimpse))),),
        )
        network = SocketNetwork(where, list(groups), self._time)

        def snapshot(line: LineName, at_least: int, now_ns: int) -> GlimpseClient:
            return GlimpseClient(credentials, now_ns, limits=self._limits[False])

        recovery = FeedRecovery(
            self._lines, network, moldudp64, {}, MoldRefill(network, len(where.requests)), snapshot
        )
        network.attach(recovery)
        return _Protocol(recovery, network, False)

    def _pitch(self, groups: Sequence[LineName], credentials: Credentials) -> _Protocol:
        trade = self._trade
        spins = {int(unit): _resolved(several(said)) for unit, said in trade.spin.items()}
        where = Addresses(
            interface=trade.interface,
            proxies=_resolved(several(trade.grp)),
            gap_group=split(trade.grp_group) if trade.grp_group is not None else None,
            snapshots=tuple(
                (LineName(each.group, each.port, unit), servers)
                for each in groups
                for unit, servers in spins.items()
            ),
        )
        network = SocketNetwork(where, [], self._time)
        login = Login(trade.session_sub_id, credentials.username, credentials.password)
        proxies = GrpRefill(network, login, len(where.proxies), self._units)

        def snapshot(line: LineName, at_least: int, now_ns: int) -> SpinClient:
            return SpinClient(login, at_least, now_ns, limits=self._limits[True])

        recovery = FeedRecovery(self._lines, network, sequenced_unit, {}, proxies, snapshot)
        network.attach(recovery)
        return _Protocol(recovery, network, True)

    def be_patient(self, timeout_ms: int) -> None:
        """How long missing messages are waited for from now on, without one of them coming."""
        trade, timeout_ns = self._trade, max(timeout_ms * MILLISECOND_NS, 1)
        for is_pitch, servers in self._servers.items():
            share_ns = timeout_ns // max(servers, 1)  # of each server
            answer_ns = max(min(ANSWER_TIMEOUT_NS, share_ns // 2), 1)
            self._limits[is_pitch] = Limits(
                request_messages=REQUEST_MESSAGES,
                requests_under_way=REQUESTS_UNDER_WAY,
                answer_timeout_ns=answer_ns,
                request_attempts=max(share_ns // answer_ns, 1),
                fill_timeout_ns=timeout_ns,
                fill_max_messages=trade.refill_messages,
                stale_retry_ns=trade.stale_retry_ms * MILLISECOND_NS,
            )
        for each in self._protocols:
            for line in each.recovery.lines.values():
                line.limits = self._limits[each.is_pitch]

    # ------------------------------------------------------------ rounds

    def poll(self) -> bool:
        """Hear the engine and the servers, and do what follows; True where the engine took some.

        That is next to nothing while every line is in order and no server says anything.
        """
        real_ns = self._clock()
        self._now_ns += min(max(real_ns - self._real_ns, 0), LONGEST_STEP_NS)
        self._real_ns = real_ns
        if self._is_quiet():
            return False
        before = self._engine.block.get("input_number")
        for each in self._protocols:
            self._report(each)
            each.network.poll(0.0)
            self._report(each)
        due = [each.network.next_deadline for each in self._protocols]
        self._due_ns = min((each for each in due if each is not None), default=None)
        states = [state for each in self._protocols for state in each.recovery.states.values()]
        is_in_order = all(state is State.SYNCHRONISED for state in states)
        self._quiet = (len(states), 0, self._lines.standing[2]) if is_in_order else None
        return self._engine.block.get("input_number") != before

    def _is_quiet(self) -> bool:
        if self._lines.standing != self._quiet:
            return False
        is_due = self._due_ns is not None and self._now_ns >= self._due_ns
        return not is_due and not any(each.network.has_come() for each in self._protocols)

    def _time(self) -> int:
        """Recovery's own time."""
        return self._now_ns

    def _report(self, protocol: _Protocol) -> None:
        recovery = protocol.recovery
        for _ in range(MAX_REPORTS):
            for name in self._lines.names():
                if name not in recovery.lines and self._lines.is_unit(name) == protocol.is_pitch:
                    self._add(recovery, name, protocol.is_pitch)
            if not self._lines.report(recovery, self._now_ns):
                return
        self._counters["reports_not_at_rest"] += 1

    def _add(self, recovery: FeedRecovery, name: LineName, is_pitch: bool) -> None:
        """A line has begun: who can be asked for what it lacks?"""
        trade, servers = self._trade, self._servers[is_pitch]
        if not is_pitch:
            has_snapshot = trade.glimpse is not None and name == self._glimpse_line
            if trade.glimpse is not None and recovery.lines:
                # A snapshot is of all books: it would empty those of the other line too.
                self._counters["lines_without_snapshot"] += 1
                has_snapshot = False
                for line in recovery.lines.values():
                    line.has_snapshot = False
        elif self._units.setdefault(name.unit, name) == name:
            has_snapshot = str(name.unit) in trade.spin
        else:  # the servers are one venue's, and another one has a unit of this number too
            self._counters["lines_without_servers"] += 1
            servers, has_snapshot = 0, False
        recovery.add(name, Line(self._limits[is_pitch], servers, has_snapshot))

    @property
    def networks(self) -> list[SocketNetwork]:
        """What a loop waits for: each has a ``fileno``."""
        return [each.network for each in self._protocols]

    @property
    def next_deadline(self) -> int | None:
        """When `poll` has something to do, by the caller's clock."""
        if self._due_ns is None:
            return None
        return self._real_ns + max(self._due_ns - self._now_ns, 0)

    # ------------------------------------------------------------ what is known

    @property
    def states(self) -> dict[LineName, State]:
        """Where every line stands, PITCH's behind those of MoldUDP64."""
        return {
            name: state for each in self._protocols for name, state in each.recovery.states.items()
        }

    def is_current(self, name: LineName) -> bool:
        """True where a line has everything, or has given up what it has not."""
        state = self.states.get(name)
        # Before its first message nothing of a line can be missing.
        is_settled = state in SETTLED or (state is State.UNKNOWN and self._lines.seen(name)[1] <= 1)
        return is_settled and self._lines.is_in_order(name)

    @property
    def counters(self) -> Counter[str]:
        """Everything that was counted, of all lines and servers together."""
        total = Counter(self._counters)
        for each in self._protocols:
            total.update(each.recovery.counters)
            total.update(each.network.counters)
        return total

    def close(self) -> None:
        """Close the sockets."""
        for each in self._protocols:
            each.network.close_all()


def _resolved(addresses: tuple[str, ...]) -> tuple[Address, ...]:
    return tuple(resolve(*split(each)) for each in addresses)
