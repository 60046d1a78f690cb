"""Those who are asked for missing messages: MoldUDP64 request servers, or Gap Request Proxies.

A request server is asked by a datagram and answers with one, or not at all.  A proxy is asked over
a connection that is made at the start and made again when it is lost; it says what becomes of each
request, and the messages come to the group of gap responses.
"""

from collections import Counter, deque
from typing import Protocol

from tickpath.recovery import moldudp64
from tickpath.recovery.engine import LineName
from tickpath.recovery.event import Event, Refused
from tickpath.recovery.grp import GapAnswer, GrpClient, Quotas
from tickpath.recovery.limits import SECOND_NS
from tickpath.recovery.network import Network, Peer
from tickpath.recovery.state import Refusal
from tickpath.recovery.unit_link import Login, UnitLimits
from tickpath.session.soup_event import Closed
from tickpath.session.soup_event import Event as LinkEvent

Told = list[tuple[LineName, Event]]
REFILL = "refill"


class Refill(Protocol):
    """Servers that can be asked, by number."""

    servers: int
    counters: Counter[str]

    def start(self, now_ns: int) -> None:
        """Make the connections that are to be there before anything is missing."""

    def ask(
        self, line: LineName, session: bytes, server: int, first: int, count: int, now_ns: int
    ) -> Told:
        """Ask for messages; gives what is known of the outcome at once."""

    def connected(self, peer: Peer, now_ns: int) -> Told:
        """A connection is made."""

    def received(self, peer: Peer, received: bytes, now_ns: int) -> Told:
        """Bytes have come on a connection."""

    def disconnected(self, peer: Peer, now_ns: int) -> Told:
        """A connection is lost, or could not be made."""

    def tick(self, now_ns: int) -> Told:
        """Let time pass."""

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do."""


class MoldRefill:
    """MoldUDP64 request servers."""

    def __init__(self, network: Network, servers: int) -> None:
        self.servers = servers
        self.counters: Counter[str] = Counter()
        self._network = network

    def start(self, now_ns: int) -> None:
        """Nothing: there are no connections."""

    def ask(
        self, line: LineName, session: bytes, server: int, first: int, count: int, now_ns: int
    ) -> Told:
        """Send a request packet."""
        self._network.ask(server, line, moldudp64.request(session, first, count))
        return []

    def connected(self, peer: Peer, now_ns: int) -> Told:
        """There are none."""
        return []

    def received(self, peer: Peer, received: bytes, now_ns: int) -> Told:
        """There are none."""
        return []

    def disconnected(self, peer: Peer, now_ns: int) -> Told:
        """There are none."""
        return []

    def tick(self, now_ns: int) -> Told:
        """Nothing is awaited."""
        return []

    @property
    def next_deadline(self) -> int | None:
        """Nothing is awaited."""
        return None


class GrpRefill:
    """Gap Request Proxies: the first one is the primary, all are logged into from the start."""

    MAX_WAITING = 256
    """Requests that wait for one connection; further ones are refused."""
    RECONNECT_NS = SECOND_NS
    """How long after a connection was lost it is made again."""

    def __init__(
        self,
        network: Network,
        login: Login,
        servers: int,
        lines: dict[int, LineName],
        *,
        limits: UnitLimits = UnitLimits(),  # noqa: B008 - frozen
        quotas: Quotas = Quotas(),  # noqa: B008 - frozen
    ) -> None:
        """``lines`` are the lines by unit."""
        self.servers = servers
        self.counters: Counter[str] = Counter()
        self._network, self._login, self._lines = network, login, lines
        self._limits, self._quotas = limits, quotas
        self._clients: dict[int, GrpClient] = {}
        self._spent: dict[int, deque[int]] = {each: deque() for each in range(servers)}
        self._waiting: dict[int, dict[tuple[int, int], int]] = {each: {} for each in range(servers)}
        self._reconnect_ns: dict[int, int] = {}

    def start(self, now_ns: int) -> None:
        """Connect to every proxy."""
        for server in range(self.servers):
            self._network.connect(Peer(REFILL, server))

    def ask(
        self, line: LineName, session: bytes, server: int, first: int, count: int, now_ns: int
    ) -> Told:
        """Ask a proxy; one whose connection is lost refuses, one that is being made is awaited."""
        client = self._clients.get(server)
        if client is not None:
            told = self._told(server, client.ask(line.unit, first, count, now_ns), now_ns)
            self._flush(server)
            return told
        waiting = self._waiting[server]
        if server in self._reconnect_ns or len(waiting) >= self.MAX_WAITING:
            return [(line, Refused(server, first, Refusal.UNAVAILABLE))]
        waiting[line.unit, first] = count
        return []

    def connected(self, peer: Peer, now_ns: int) -> Told:
        """Log in, and ask what waits."""
        server = peer.number
        client = self._clients[server] = GrpClient(
            self._login,
            now_ns,
            limits=self._limits,
            quotas=self._quotas,
            spent=self._spent[server],
        )
        self.counters["grp_connections"] += 1
        waiting, self._waiting[server] = self._waiting[server], {}
        told: Told = []
        for (unit, first), count in waiting.items():
            told += self._told(server, client.ask(unit, first, count, now_ns), now_ns)
        self._flush(server)
        return told

    def received(self, peer: Peer, received: bytes, now_ns: int) -> Told:
        """What the proxy says."""
        client = self._clients.get(peer.number)
        if client is None:
            return []
        told = self._told(peer.number, client.receive(received, now_ns), now_ns)
        self._flush(peer.number)
        return told

    def disconnected(self, peer: Peer, now_ns: int) -> Told:
        """Refuse what waits, and connect again later."""
        server = peer.number
        client = self._clients.get(server)
        if client is not None:
            return self._told(server, client.disconnected(now_ns), now_ns)
        return self._lost(server, now_ns)

    def tick(self, now_ns: int) -> Told:
        """Heartbeats, timeouts, connections that are made again."""
        told: Told = []
        for server, client in list(self._clients.items()):
            told += self._told(server, client.tick(now_ns), now_ns)
            self._flush(server)
        for server, due_ns in list(self._reconnect_ns.items()):
            if now_ns >= due_ns:
                del self._reconnect_ns[server]
                self._network.connect(Peer(REFILL, server))
        return told

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do."""
        due = [*self._reconnect_ns.values()]
        due += (d for c in self._clients.values() if (d := c.next_deadline) is not None)
        return min(due, default=None)

    def _told(self, server: int, events: list[LinkEvent], now_ns: int) -> Told:
        told: Told = []
        for event in events:
            if isinstance(event, GapAnswer):
                line = self._lines.get(event.unit)
                if line is not None and event.refusal is not None:
                    told.append((line, Refused(server, event.first, event.refusal)))
            elif isinstance(event, Closed):
                self.counters["grp_connections_lost"] += 1
                self.counters.update(self._clients.pop(server).counters)
                self._network.close(Peer(REFILL, server))
                told += self._lost(server, now_ns)
        return told

    def _lost(self, server: int, now_ns: int) -> Told:
        self._reconnect_ns[server] = now_ns + self.RECONNECT_NS
        waiting, self._waiting[server] = self._waiting[server], {}
        return [
            (self._lines[unit], Refused(server, first, Refusal.UNAVAILABLE))
            for unit, first in waiting
        ]

    def _flush(self, server: int) -> None:
        client = self._clients.get(server)
        while client is not None and (output := client.take_output()):
            self._network.write(Peer(REFILL, server), output)
