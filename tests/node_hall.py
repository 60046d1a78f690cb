"""Exchange, witness, gateway and two nodes in one thread, moved by hand.

A node that is not moved any more has stopped, as a process that is killed or suspended; moved again
later it is the zombie.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway_house import free_port
from patient_clock import PatientClock
from tickpath.exchange.server import Server
from tickpath.failover.gateway_config import GatewayConfig
from tickpath.failover.gateway_server import GatewayServer
from tickpath.failover.member import Member
from tickpath.failover.node import Node
from tickpath.failover.node_config import NodeConfig, checked_node
from tickpath.failover.witness_server import WitnessServer, WitnessSettings
from tickpath.replica.mirror_receiver import Receiver
from tickpath.replica.mirror_sender import Sender
from tickpath.session.credentials import Credentials, Secret
from trading import CREDENTIALS, QUICK, busy, exchange_config, free_udp_port

PATIENCE_S = 40.0
MILLISECOND_NS = 1_000_000
SLOW = {
    "beat_timeout_ns": 1_600 * MILLISECOND_NS,
    "lease_ttl_ns": 2_000 * MILLISECOND_NS,
    "lease_renew_ns": 100 * MILLISECOND_NS,
    "store_timeout_ns": 1_000 * MILLISECOND_NS,
    "gateway_timeout_ns": 1_000 * MILLISECOND_NS,
    "ack_timeout_ns": 1_000 * MILLISECOND_NS,
    "alone_after_ns": 300 * MILLISECOND_NS,
    "loop_timeout_ns": 10_000 * MILLISECOND_NS,
    "drain_timeout_ns": 4_000 * MILLISECOND_NS,
    "take_over_timeout_ns": 8_000 * MILLISECOND_NS,
}
"""Many times the usual bounds: everything shares a thread here, and the machine with others."""
_groups = itertools.count(1)


class Hall:
    """See the module's text; ``role`` goes to every node's, ``node`` to all its settings."""

    def __init__(
        self,
        path: Path,
        names: tuple[str, ...] = ("a", "b"),
        is_mirrored: bool = False,
        has_lanes: bool = False,
        breakers: Sequence[dict[str, Any]] = (),
        journal: str | None = None,
        node: dict[str, Any] | None = None,
        **role: Any,
    ) -> None:
        self.path, self.names, self.clock = path, names, PatientClock()
        self.lanes = {name: f"127.0.0.1:{free_udp_port()}" for name in names if has_lanes}
        self.sender: Sender | None = None
        self.receiver = Receiver(path / "mirror-a", "b") if is_mirrored else None
        group = f"239.255.78.{next(_groups)}:{free_udp_port()}"
        self.exchange = Server(
            exchange_config(0, feed={"group": group}, flow={"rate": 500.0}), clock=self.clock
        )
        self.exchange.open_day()
        where = self.exchange.addresses()
        self.witness = WitnessServer(
            WitnessSettings(state=str(path / "witness.state"), new=True, max_ttl_ms=4_000),
            clock=self.clock,
        )
        host, port = self.witness.address
        self.gateway = GatewayServer(
            msgspec.convert(
                {
                    "listen": f"127.0.0.1:{free_port()}",
                    "orders": "{}:{}".format(*where["ouch"]),
                    "protocol": where["protocol"],
                    "directory": str(path / "gateway"),
                    "fsync": "none",
                    "session": QUICK,
                },
                GatewayConfig,
            ),
            credentials=Credentials(
                CREDENTIALS["TICKPATH_USERNAME"], Secret(CREDENTIALS["TICKPATH_PASSWORD"])
            ),
            clock=self.clock,
        )
        controls = {name: f"127.0.0.1:{free_port()}" for name in names}
        self.said: dict[str, list[str]] = {name: [] for name in names}
        self.configs: dict[str, NodeConfig] = {}
        for name in names:
            peers = {
                each: {
                    "ring": str(self._ring(name, each)),
                    "address": controls[each],
                    "mirror": self.lanes.get(each),
                }
                for each in names
                if each != name
            }
            settings = {
                "name": name,
                "ring": str(path / f"ring-{name}"),
                "ring_bytes": 1 << 22,
                "listen": controls[name],
                "mirror": self.lanes.get(name),
                "peers": peers,
                "gateway": "{}:{}".format(*self.gateway.address),
                "lease_settings": {"addresses": [f"{host}:{port}"], "timeout_ms": 900},
                "directory": str(path / f"node-{name}"),
                "spin": True,
                "role": {**SLOW, **role},
                "breakers": list(breakers),
                "journal": journal,
                **(node or {}),
            }
            config = {
                "capacity": {
                    "symbols": 64,
                    "orders": 1 << 20,
                    "overflow_levels": 4096,
                    "trades": 1024,
                },
                "orders": {"protocol": where["protocol"]},
                "strategy": {"parameters": [4, 1]},
                "risk": {"max_position": 1_000_000, "off": ["self_match", "price_collar"]},
                "trade": {
                    "feed": group,
                    "requests": "{}:{}".format(*where["requests"]),
                    "orders": "{}:{}".format(*where["ouch"]),
                },
                "node": settings,
            }
            self.configs[name] = checked_node(msgspec.convert(config, NodeConfig))
        self.nodes: dict[str, Node] = {}

    def _ring(self, reader: str, whose: str) -> Path:
        """Where a node reads another's ring: b reads a mirror of a's, if there is one; by lanes
        each keeps mirrors of its own."""
        if self.lanes:
            return self.path / f"mirror-{whose}-of-{reader}"
        is_mirror = self.receiver is not None and reader == "b"
        return self.path / (f"mirror-{whose}" if is_mirror else f"ring-{whose}")

    def _mirror(self) -> None:
        """What goes between the sender and the receiver of the mirror."""
        if self.receiver is None or "a" not in self.nodes:
            return
        if self.sender is None or self.sender.ring is not self.nodes["a"].ring:
            self.sender = Sender(self.nodes["a"].ring)
        at, now_ns = ("10.0.0.2", 9), time.monotonic_ns()
        for raw in self.receiver.tick(now_ns):
            for answer in self.sender.take(raw, at, now_ns):
                self.receiver.take(answer, now_ns)
        for _, raw in self.sender.send(now_ns):
            for answer in self.receiver.take(raw, now_ns):
                self.sender.take(answer, at, now_ns)

    def begin(self, name: str) -> Node:
        """Start a node, while everybody else goes on."""
        made: list[Node] = []

        def start() -> None:
            node = Node(self.configs[name], busy, say=self.said[name].append, clock=self.clock)
            node.start()
            made.append(node)

        thread = threading.Thread(target=start)
        thread.start()
        while thread.is_alive():
            self.round()
        self.nodes[name] = made[0]
        return made[0]

    def round(self) -> None:
        self.exchange.round(0)
        self.gateway.round(0)
        self.witness.serve_once(0)
        for node in list(self.nodes.values()):
            node.round()
        self._mirror()

    def until(self, done: Callable[[], Any], what: str = "it never happened") -> None:
        end = time.monotonic() + PATIENCE_S
        while not done():
            self.round()
            assert time.monotonic() < end, f"{what}: {self.said}"

    def active(self) -> list[str]:
        return [name for name, node in self.nodes.items() if node.role.is_active]

    def taken(self) -> int:
        """Orders that the exchange has taken."""
        (port,) = [
            each
            for each in self.exchange.venue.ports.values()
            if each.account.username == CREDENTIALS["TICKPATH_USERNAME"]
        ]
        assert port.counters["repeated"] == 0
        return len(port.orders)

    def positions(self) -> dict[str, int]:
        port, books = self.exchange.venue.ports[1], self.exchange.venue.matching.books
        return {
            books[locate].stock: each.bought - each.sold
            for locate, each in port.holdings.items()
            if each.bought != each.sold
        }

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()
        self.gateway.close()
        self.witness.close()
        self.exchange.close()


def positions_of(node: Node) -> dict[str, int]:
    """What a node's engine holds."""
    table = node.engine.block.position
    return {
        symbol: int(table[b]["quantity"])
        for symbol, b in node.engine.symbols.items()
        if table[b]["quantity"]
    }


def inputs_of(node: Node) -> int:
    """How many inputs a node's engine has taken."""
    return node.engine.block.get("input_number")


def gate_of(node: Node) -> tuple[Member, ...]:
    """Whose acknowledgements a node's orders wait for; nobody's as well where it is shut."""
    return node.leading.gate or ()
