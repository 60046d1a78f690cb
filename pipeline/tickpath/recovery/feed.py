"""The lines of one feed under recovery: `step` for each, its actions done, the servers spoken to.

    recovery = FeedRecovery(engine, network, moldudp64, {name: Line(...)}, refill, snapshots)
    recovery.start(now)
    recovery.hole(name, first, last, now)       the engine says what no line brought
    recovery.advanced(name, expected, now)      ... and what it has, when that has changed
    recovery.began(name, session, now)          ... and that another session has begun
    recovery.answer(datagram, now)              from the network, like the next three
    recovery.tick(now)                          at `next_deadline` at the latest

No sockets and no clock.  The invariant is that the engine's methods are called from here only, in
the order in which `step` gives the actions; while a hole is open that is the only way forward.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping

from tickpath.recovery.datagram import Codec
from tickpath.recovery.engine import LineEngine, LineName
from tickpath.recovery.event import (
    Action,
    Advanced,
    Answer,
    Ask,
    Clear,
    CloseSnapshot,
    Deliver,
    DeliverSnapshot,
    Event,
    GiveUp,
    Hole,
    OpenSnapshot,
    SnapshotFailed,
    SnapshotReady,
    Splice,
    Tick,
)
from tickpath.recovery.line import Line
from tickpath.recovery.network import Network, Peer
from tickpath.recovery.refill import REFILL, Refill, Told
from tickpath.recovery.snapshot_client import Snapshot, SnapshotClient
from tickpath.recovery.state import State
from tickpath.recovery.step import step
from tickpath.session.soup_event import Closed
from tickpath.session.soup_event import Event as LinkEvent

SnapshotMaker = Callable[[LineName, int, int], SnapshotClient]
"""(line, the least that the snapshot has to go on with, now) -> the client of a connection."""
SNAPSHOT = "snapshot"


class FeedRecovery:
    """See the module's text."""

    def __init__(
        self,
        engine: LineEngine,
        network: Network,
        codec: Codec,
        lines: Mapping[LineName, Line],
        refill: Refill | None = None,
        snapshots: SnapshotMaker | None = None,
    ) -> None:
        self.lines = dict(lines)
        self.codec = codec
        self._engine, self._network = engine, network
        self._refill, self._make_snapshot = refill, snapshots
        self._counters: Counter[str] = Counter()
        self._by_unit = {name.unit: name for name in self.lines}
        self._opened: dict[LineName, tuple[Peer, int]] = {}  # line -> connection, at_least
        self._clients: dict[Peer, SnapshotClient] = {}
        self._made = 0

    def add(self, name: LineName, line: Line) -> None:
        """A line that was not known in advance; a unit's answers are those of its first line."""
        self.lines[name] = line
        self._by_unit.setdefault(name.unit, name)

    # ------------------------------------------------------------ what happens

    def start(self, now_ns: int) -> None:
        """Make the connections that are there from the start."""
        if self._refill is not None:
            self._refill.start(now_ns)

    def hole(
        self, name: LineName, first: int, last: int, now_ns: int, session: bytes = b""
    ) -> None:
        """The engine holds packets behind messages ``first`` to ``last``."""
        self._happened([(name, Hole(first, last, session))], now_ns)

    def began(self, name: LineName, session: bytes, now_ns: int) -> None:
        """A line's messages are those of another session from now on, and none is missing."""
        self._happened([(name, Hole(1, 0, session))], now_ns)

    def advanced(self, name: LineName, next_sequence: int, now_ns: int) -> None:
        """The engine has everything before a message."""
        self._happened([(name, Advanced(next_sequence))], now_ns)

    def answer(self, raw: bytes, now_ns: int, name: LineName | None = None) -> None:
        """A datagram from a request server (of the line that it was asked for) or a proxy."""
        found = self.codec.split(raw)
        if found is None:
            self._counters["answers_damaged"] += 1
            return
        name = self._by_unit.get(found.unit) if name is None else name
        line = None if name is None else self.lines.get(name)
        if name is None or line is None or found.session != line.session:
            self._counters["answers_of_others"] += 1
            return
        if found.messages:
            self._happened([(name, Answer(found.sequence, found.behind, raw))], now_ns)

    def connected(self, peer: Peer, now_ns: int) -> None:
        """A connection that was wanted is made."""
        if peer.kind == REFILL and self._refill is not None:
            self._happened(self._refill.connected(peer, now_ns), now_ns)
        elif peer.line is not None and self._is_open(peer) and self._make_snapshot is not None:
            at_least = self._opened[peer.line][1]
            self._clients[peer] = self._make_snapshot(peer.line, at_least, now_ns)
            self._flush(peer)

    def received(self, peer: Peer, received: bytes, now_ns: int) -> None:
        """Bytes have come on a connection."""
        if peer.kind == REFILL and self._refill is not None:
            self._happened(self._refill.received(peer, received, now_ns), now_ns)
        elif peer in self._clients:
            self._snapshot(peer, self._clients[peer].receive(received, now_ns), now_ns)

    def disconnected(self, peer: Peer, now_ns: int) -> None:
        """A connection is lost, or could not be made."""
        if peer.kind == REFILL and self._refill is not None:
            self._happened(self._refill.disconnected(peer, now_ns), now_ns)
        elif peer in self._clients:
            self._snapshot(peer, self._clients[peer].disconnected(now_ns), now_ns)
        elif peer.line is not None and self._is_open(peer):
            del self._opened[peer.line]
            self._happened([(peer.line, SnapshotFailed("no connection"))], now_ns)

    def tick(self, now_ns: int) -> None:
        """Let time pass."""
        if self._refill is not None:
            self._happened(self._refill.tick(now_ns), now_ns)
        for peer, client in list(self._clients.items()):
            if peer in self._clients:
                self._snapshot(peer, client.tick(now_ns), now_ns)
        for name, line in self.lines.items():
            due_ns = line.next_deadline
            if due_ns is not None and now_ns >= due_ns:
                self._happened([(name, Tick())], now_ns)

    # ------------------------------------------------------------ what is known

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do; None where nothing is awaited."""
        due = [line.next_deadline for line in self.lines.values()]
        due += [client.next_deadline for client in self._clients.values()]
        if self._refill is not None:
            due.append(self._refill.next_deadline)
        return min((each for each in due if each is not None), default=None)

    @property
    def counters(self) -> Counter[str]:
        """Everything that was counted, of all lines together."""
        total = Counter(self._counters)
        for line in self.lines.values():
            total.update(line.counters)
        if self._refill is not None:
            total.update(self._refill.counters)
        return total

    @property
    def states(self) -> dict[LineName, State]:
        """Where every line stands."""
        return {name: line.state for name, line in self.lines.items()}

    # ------------------------------------------------------------ what is done

    def _happened(self, told: Told, now_ns: int) -> None:
        """Steps, and the steps that follow from their actions; `step` bounds them."""
        waiting: deque[tuple[LineName, Event]] = deque(told)
        while waiting:
            name, event = waiting.popleft()
            line = self.lines.get(name)
            if line is None:
                self._counters["lines_unknown"] += 1
                continue
            for action in step(line, event, now_ns):
                waiting += self._do(name, line, action, now_ns)

    def _do(self, name: LineName, line: Line, action: Action, now_ns: int) -> Told:
        match action:
            case Ask(server, first, count):
                assert self._refill is not None
                return self._refill.ask(name, line.session, server, first, count, now_ns)
            case Deliver(datagram):
                self._engine.deliver(name, datagram)
            case Clear():
                self._engine.clear(name)
            case DeliverSnapshot(messages):
                self._engine.deliver_snapshot(name, messages)
            case Splice(next_sequence):
                self._engine.splice(name, next_sequence)
            case GiveUp(first, last):
                self._engine.give_up(name, first, last)
            case OpenSnapshot(at_least):
                self._made += 1
                peer = Peer(SNAPSHOT, self._made, name)
                self._opened[name] = peer, at_least
                self._network.connect(peer)
            case CloseSnapshot():
                self._close(name)
        return []

    def _is_open(self, peer: Peer) -> bool:
        return peer.line in self._opened and self._opened[peer.line][0] == peer

    def _close(self, name: LineName) -> None:
        opened = self._opened.pop(name, None)
        if opened is not None:
            self._forget(opened[0])
            self._network.close(opened[0])

    def _forget(self, peer: Peer) -> None:
        client = self._clients.pop(peer, None)
        if client is not None:
            self._counters.update(getattr(client, "counters", {}))

    def _snapshot(self, peer: Peer, events: list[LinkEvent], now_ns: int) -> None:
        name = peer.line
        assert name is not None
        self._flush(peer)
        for event in events:
            if isinstance(event, Snapshot) and self._is_open(peer):
                ready = SnapshotReady(event.next_sequence, event.messages)
                self._happened([(name, ready)], now_ns)
            elif isinstance(event, Closed) and self._is_open(peer):
                self._close(name)
                self._counters[f"snapshots_closed_{event.reason.name.lower()}"] += 1
                self._happened([(name, SnapshotFailed(str(event)))], now_ns)

    def _flush(self, peer: Peer) -> None:
        client = self._clients.get(peer)
        while client is not None and (output := client.take_output()):
            self._network.write(peer, output)
