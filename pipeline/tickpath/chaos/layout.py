"""What a group is made of, where each part is, and the configuration files that say so.

    exchange --- gateway --- a, b (, c) --- lease store (or three)
        `------- feed -------'

Each is a host of its own (`namespaces`), or all are on the loopback interface.  Between hosts the
inputs go by `tickpath mirror`, or by the nodes' own lanes; nodes that share a host may read each
other's rings.  Where the network is impaired there is one more host, ``wire``, and everything
between two others goes through it (`relay`).
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tickpath.chaos import stores
from tickpath.chaos.namespaces import Host
from tickpath.chaos.stores import Store
from tickpath.failover.curve import Keys, write_keys

MILLISECOND_NS = 1_000_000
ACCOUNT = "TRADER"
CREDENTIALS = {"TICKPATH_USERNAME": ACCOUNT, "TICKPATH_PASSWORD": "rehearse"}
STRATEGY = "tickpath.chaos.trader:trade"
SESSION = "REHEARSAL"
SYMBOLS = ("AAA=150", "BBB=20", "CCC=75")
GROUP, RELAYED_GROUP = "239.255.79.1", "239.255.79.2"
RING_BYTES = 1 << 24
ORDERS = 1 << 22
"""Order slots of a node: at `Layout.rate` references a second, for a group that lives two hours.
A page of 1,024 of them is held while one of its orders lives."""
LOOPBACK = "127.0.0.1"
WIRE = "wire"
_PORTS = {"orders": 26400, "requests": 26478, "feed": 26477, "gateway": 26500}


Rings = Literal["mirrored", "lanes", "shared"]


@dataclass(frozen=True)
class Layout:
    """How many there are of what; two runs with equal layouts can share a group."""

    nodes: tuple[str, ...] = ("a", "b")
    store: Store = "witness"
    stores: int = 1
    """How many servers keep it."""
    network: Literal["namespaces", "loopback"] = "namespaces"
    rings: Rings = "mirrored"
    is_impaired: bool = False
    journals: bool = False
    timeout_ms: int = 200
    """Of a node's silence and of its lease; the other bounds keep the proportion that they have to
    a node's default of 50."""
    rate: float = 600.0
    """Other people's actions a second at the exchange."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host by name."""
        wire = (WIRE,) if self.is_impaired else ()
        return ("exchange", "gateway", *self.store_names, *self.nodes, *wire)

    @property
    def store_names(self) -> tuple[str, ...]:
        """The servers of the lease store."""
        return tuple(f"{self.store}-{number}" for number in range(1, self.stores + 1))

    def role(self) -> dict[str, int]:
        """A node's bounds, in nanoseconds; see `failover.role_config`."""
        unit = self.timeout_ms * MILLISECOND_NS
        return {
            "beat_timeout_ns": unit,
            "lease_ttl_ns": unit,
            "lease_renew_ns": unit // 5,
            "store_timeout_ns": unit // 2,
            "gateway_timeout_ns": unit // 2,
            "ack_timeout_ns": unit * 3 // 5,
            "rejoin_after_ns": unit * 3 // 5,
            "loop_timeout_ns": unit * 2,
            "drain_timeout_ns": unit,
            "take_over_timeout_ns": unit * 4,
        }


def free_port(kind: int) -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((LOOPBACK, 0))
        return sock.getsockname()[1]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)


def toml(said: Mapping[str, Any], name: str = "") -> str:
    """A nested dictionary as TOML."""
    plain = {key: value for key, value in said.items() if not isinstance(value, Mapping)}
    lines = [f"[{name}]"] if name and plain else []
    lines += [f"{key} = {_value(value)}" for key, value in plain.items()]
    for key, value in said.items():
        if isinstance(value, Mapping):
            lines.append(toml(value, f"{name}.{key}" if name else key))
    return "\n".join(lines)


class Places:
    """Addresses and files of a group, and its configuration files."""

    def __init__(
        self, layout: Layout, directory: Path, rings: Path, hosts: Mapping[str, Host]
    ) -> None:
        self.layout, self.directory, self.rings, self._hosts = layout, directory, rings, hosts
        stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
        self.orders = self._at("exchange", _PORTS["orders"], stream)
        self.requests = self._at("exchange", _PORTS["requests"], datagram)
        feed_port = _PORTS["feed"] if hosts else free_port(datagram)
        self.feed_source = f"{GROUP}:{feed_port}"
        self.gateway = self._at("gateway", _PORTS["gateway"], stream)
        port, kind = stores.port(layout.store), stores.kind(layout.store)
        self.store = {name: self._at(name, port, kind) for name in layout.store_names}
        self.store_peers = {
            name: self._at(name, stores.PEER_PORT, stream) for name in layout.store_names
        }
        self.nodes = {name: self._at(name, 7601, stream) for name in layout.nodes}
        """Where nodes answer each other."""
        self.keys: dict[str, Keys] = {}
        """Of nodes that do not share a host."""
        self.mirror = {name: self._at(name, 7701, datagram) for name in layout.nodes}
        self.relays: dict[str, dict[str, str]] = {}
        self.exchange_socket = str(directory / "exchange.sock")
        self._relay()

    def _at(self, host: str, port: int, kind: int) -> str:
        if self._hosts:
            return f"{self._hosts[host].address}:{port}"
        return f"{LOOPBACK}:{free_port(kind)}"

    def address(self, host: str) -> str:
        """The IPv4 address of a host."""
        return self._hosts[host].address if self._hosts else LOOPBACK

    def _relay(self) -> None:
        """Where nodes find everybody: at the wire, where the network is impaired."""
        stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
        self.feed = self.feed_source
        self.gateway_seen = self.gateway
        self.store_seen, self.mirror_seen = dict(self.store), dict(self.mirror)
        if not self.layout.is_impaired:
            return
        self.feed = f"{RELAYED_GROUP}:{self.feed_source.rpartition(':')[2]}"
        self.gateway_seen = self._at(WIRE, 26500, stream)
        self.relays["feed"] = {"kind": "feed", "listen": self.feed_source, "to": self.feed}
        self.relays["gateway"] = {"kind": "tcp", "listen": self.gateway_seen, "to": self.gateway}
        kind = stores.kind(self.layout.store)
        for number, (name, at) in enumerate(self.store.items()):
            self.store_seen[name] = self._at(WIRE, stores.port(self.layout.store) + number, kind)
            relay = {"kind": "udp" if kind == datagram else "tcp", "to": at}
            self.relays[name] = {**relay, "listen": self.store_seen[name]}
        for number, (name, at) in enumerate(self.mirror.items()):
            self.mirror_seen[name] = self._at(WIRE, 7701 + number, datagram)
            relay = {"kind": "udp", "listen": self.mirror_seen[name], "to": at}
            self.relays[f"mirror-{name}"] = relay

    def ring(self, node: str) -> Path:
        """A node's own ring."""
        return self.rings / f"ring-{node}"

    def seen_ring(self, reader: str, node: str) -> Path:
        """What another node reads instead of it."""
        if self.layout.rings == "shared":
            return self.ring(node)
        return self.rings / f"{reader}-sees-{node}"

    def control(self, node: str) -> str:
        """The operators' socket of a node."""
        return str(self.directory / f"node-{node}" / "control")

    def key_file(self, node: str) -> str:
        """Where the keys of a node are."""
        return str(self.directory / f"{node}.key")

    def journal(self, node: str) -> Path:
        """Where the journal of a node's ring is."""
        return self.directory / f"journal-{node}"

    # ------------------------------------------------------------ files

    def write(self, seed: int) -> None:
        """Write all configuration files, and the nodes' keys."""
        if self._hosts:
            self.keys = {name: write_keys(self.key_file(name)) for name in self.layout.nodes}
        (self.directory / "exchange.toml").write_text(toml(self._exchange(seed)))
        (self.directory / "gateway.toml").write_text(toml({"gateway": self._gateway()}))
        for name in self.layout.nodes:
            (self.directory / f"{name}.toml").write_text(toml(self._node(name)))

    def _exchange(self, seed: int) -> dict[str, Any]:
        host, _, port = self.orders.rpartition(":")
        return {
            "symbols": list(SYMBOLS),
            "seed": seed,
            "session": SESSION,
            "flow": {"rate": self.layout.rate},
            "feed": {
                "group": self.feed_source,
                "interface": host,
                "ttl": 1 if self._hosts else 0,
                "request_port": int(self.requests.rpartition(":")[2]),
            },
            "orders": {"address": host, "port": int(port)},
            "accounts": [{"username": ACCOUNT, "max_orders": 10_000_000}],
        }

    def _gateway(self) -> dict[str, Any]:
        rules: dict[str, Any] = {}
        if self._hosts:
            seen = {
                name: self.address(WIRE if self.layout.is_impaired else name)
                for name in self.layout.nodes
            }
            rules = {"nodes": seen}
        return {
            "listen": self.gateway,
            "orders": self.orders,
            "directory": "gateway",
            "session": {
                "messages_per_second": 1_000_000,
                "message_burst": 100_000,
                "reconnect_first_ns": 50 * MILLISECOND_NS,
                "max_attempts": 1_000,
            },
            "rules": rules,
        }

    def _node(self, name: str) -> dict[str, Any]:
        layout = self.layout
        peers = {
            each: {"ring": str(self.seen_ring(name, each)), "address": self.nodes[each]}
            | ({"public_key": self.keys[each].public.decode()} if self.keys else {})
            | ({"mirror": self.mirror_seen[each]} if layout.rings == "lanes" else {})
            for each in layout.nodes
            if each != name
        }
        node = {
            "name": name,
            "ring": str(self.ring(name)),
            "ring_bytes": RING_BYTES,
            "listen": self.nodes[name],
            "gateway": self.gateway_seen,
            "directory": str(self.directory / f"node-{name}"),
            **stores.lease(
                layout.store, list(self.store_seen.values()), max(1, layout.timeout_ms * 2 // 5)
            ),
            "peers": peers,
            "role": layout.role(),
        }
        if self.keys:
            node["keys"] = self.key_file(name)
        if layout.rings == "lanes":
            node["mirror"] = self.mirror[name]
        if layout.journals:
            node["journal"] = str(self.journal(name))
        return {
            "capacity": {"symbols": 64, "orders": ORDERS, "overflow_levels": 4096, "trades": 1024},
            "strategy": {"name": STRATEGY},
            "risk": {"max_position": 1_000_000, "off": ["self_match", "price_collar"]},
            "trade": {
                "feed": self.feed,
                "interface": self.address(name),
                "requests": self.requests,
            },
            "node": node,
        }

    def store_command(self, name: str, is_new: bool) -> list[str]:
        """The command line that runs a server of the lease store."""
        max_ttl_ms = max(1_000, 2 * self.layout.timeout_ms)
        return stores.command(
            self.layout.store,
            name,
            self.store,
            self.store_peers,
            self.directory,
            max_ttl_ms,
            is_new,
        )
