"""An order gateway, a small exchange and nodes, all without sockets, in time that a test moves."""

from pathlib import Path

from test_session_ouch import Exchange, Words
from test_session_soup import PASSWORD
from tickpath.failover.gateway import Gateway
from tickpath.failover.gateway_client_link import (
    ClientLink,
    ClientSettings,
    Group,
    hand_over_frames,
)
from tickpath.failover.gateway_event import Event
from tickpath.failover.gateway_journal import WatchedJournal
from tickpath.failover.gateway_node import NodeLink
from tickpath.failover.gateway_nodes import Nodes
from tickpath.failover.gateway_settings import GatewaySettings
from tickpath.failover.gateway_store import GatewayStore
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import ConnectWanted
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.soup import LoginLimits, Secret

MILLISECOND = 10**6
SETTLING = {"settle_timeout_ns": 100 * MILLISECOND, "catch_up_ns": 20 * MILLISECOND}


def stream(*messages: bytes) -> bytes:
    """Messages as they stand in the order stream."""
    return b"".join(len(each).to_bytes(2, "big") + each for each in messages)


class Hall:
    """A gateway's process and its neighbours; `kill` and `start` are those of the process."""

    def __init__(
        self,
        path: Path,
        protocol: str = "ouch50",
        settings: GatewaySettings = GatewaySettings(),  # noqa: B008 - frozen
        store: dict | None = None,
        **orders,
    ):
        self.words = Words(protocol)
        self.path, self.settings, self.store_options = path, settings, store or {}
        self.order_settings = OrderSettings(
            **{"messages_per_second": 10**6, "max_attempts": 1000, **SETTLING, **orders}
        )
        self.exchange = Exchange(self.words)
        self.exchange.acceptor.login_limits = LoginLimits(max_connections=10**6)
        self.received: list[bytes] = []
        """Every message that reached the exchange, in order."""
        take = self.exchange.take

        def took(message: bytes, now_ns: int) -> None:
            self.received.append(message)
            take(message, now_ns)

        self.exchange.take = took
        self.now_ns = 0
        self.nodes: list[Node] = []
        self.is_open = False
        self.start()

    def start(self) -> None:
        protocol = self.words.dialect.name
        self.journal = WatchedJournal(self.path / "journal", protocol=protocol, fsync="none")
        try:
            self.store = GatewayStore(
                self.path / "gateway", protocol=protocol, fsync="none", **self.store_options
            )
            try:
                self._begin()
            except BaseException:
                self.store.close()
                raise
        except BaseException:
            self.journal.close()
            raise
        self.is_open = True

    def _begin(self) -> None:
        self.session = OrderSession(
            self.journal,
            "user",
            Secret(PASSWORD),
            now_ns=self.now_ns,
            settings=self.order_settings,
        )
        self.gateway = Gateway(
            self.store, self.journal, self.session, self.settings, now_ns=self.now_ns
        )
        self.links = Nodes(self.gateway)

    def kill(self) -> None:
        """The process is gone, with all that was not on its way."""
        self.is_open = False
        self.journal.close()
        self.store.close()
        self.exchange.server = None
        self.nodes.clear()

    def up(self) -> "Hall":
        """Until orders go out."""
        for _ in range(100):
            self.pump()
            if self.gateway.state.name == "UP":
                return self
            self.now_ns += 10 * MILLISECOND
        raise AssertionError(self.session.state)

    def hear(self, events) -> None:
        self.gateway.hear(events, self.now_ns)
        if any(isinstance(event, ConnectWanted) for event in events):
            self.exchange.accept(self.now_ns)
            self.hear(self.session.connected(self.now_ns))

    def pump(self, rounds: int = 1000) -> None:
        """Carry everything that waits between exchange, gateway and nodes."""
        self.gateway.tick(self.now_ns)
        self.hear(self.session.tick(self.now_ns))
        for _ in range(rounds):
            server = self.exchange.server
            output = self.session.take_output() if server is not None else b""
            answer = server.take_output() if server is not None else b""
            if not output and not answer:
                break
            if output:
                self.exchange.receive(output, self.now_ns)
            if answer:
                self.hear(self.session.receive(answer, self.now_ns))
            self.hear(self.session.tick(self.now_ns))
        server = self.exchange.server
        if server is not None:
            server.tick(self.now_ns)
            if server.closed is not None and self.session.has_line:
                self.exchange.server = None
                self.hear(self.session.disconnected(self.now_ns))
        for each in list(self.nodes):
            each.carry()

    def wait(self, duration_ns: int, step_ns: int = 10 * MILLISECOND) -> None:
        end_ns = self.now_ns + duration_ns
        while self.now_ns < end_ns:
            self.now_ns = min(self.now_ns + step_ns, end_ns)
            self.pump()

    def cut(self) -> None:
        """The exchange's line is lost, with whatever was on it."""
        if self.exchange.server is not None:
            self.exchange.server.disconnected(self.now_ns)
        self.exchange.server = None
        if self.session.has_line:
            self.hear(self.session.disconnected(self.now_ns))

    def hand(self, node: str, epoch: int, position: int, content: bytes, number: int = 0):
        """A hand-over without a connection; gives the gateway's answer."""
        return self.gateway.hand_over(node, epoch, position, number, content, self.now_ns)

    def orders(self) -> list[bytes]:
        """What reached the exchange, but for the session's own questions."""
        query = self.words.dialect.query() if self.words.is_50 else None
        return [each for each in self.received if each != query]


class Node:
    """A node's connection, both sides."""

    def __init__(
        self,
        hall: Hall,
        name: str = "a",
        *,
        next_answer: int = 1,
        next_outcome: int = 1,
        address: str = "127.0.0.1",
        group: Group = Group(),  # noqa: B008 - frozen
        settings: ClientSettings = ClientSettings(),  # noqa: B008 - frozen
    ):
        self.hall, self.settings = hall, settings
        self.link = NodeLink(hall.links, address, hall.now_ns)
        self.client = ClientLink(name, group, next_answer, next_outcome, settings, hall.now_ns)
        self.events: list[Event] = []
        self.is_reading = True
        hall.nodes.append(self)
        self.carry()

    def carry(self) -> None:
        """Bytes both ways."""
        now_ns = self.hall.now_ns
        self.events += self.client.tick(now_ns)
        for _ in range(1000):
            up = bytes(self.client.output)
            self.client.output.clear()
            if up and self.link.left is None:
                self.link.receive(up, now_ns)
            self.link.tick(now_ns)
            down = self.link.take_output(now_ns) if self.is_reading else b""
            if down:
                self.events += self.client.receive(down, now_ns)
            if not up and not down:
                break
        if self.link.left is not None and self.client.lost is None:
            self.events += self.client.disconnected(self.link.left.name)

    def hand(self, epoch: int, position: int, content: bytes = b"", number: int = 0) -> None:
        most = self.settings.max_message
        self.client.send(hand_over_frames(epoch, position, number, content, most), self.hall.now_ns)
        self.carry()
        self.hall.pump()

    def take(self) -> list[Event]:
        """Events since the last call."""
        events, self.events = self.events, []
        return events
