"""The configuration of `tickpath node`: the engine's and the feed's, and who else there is.

[node]
name = "a"
ring = "/dev/shm/tickpath-a"
listen = "127.0.0.1:7601"
gateway = "127.0.0.1:26500"
lease = "witness"
[node.lease_settings]
addresses = ["127.0.0.1:7401"]
[node.peers.b]
ring = "/dev/shm/tickpath-b"
address = "127.0.0.1:7602"

Nodes on hosts of their own also say where their rings are sent from (`node_lanes`):

[node]
mirror = "10.0.0.1:7801"
[node.peers.b]
mirror = "10.0.0.2:7801"
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tickpath.config import Component, ConfigError, Natural, Positive
from tickpath.failover.breaker import BreakerConfig
from tickpath.failover.lease import STORES
from tickpath.failover.role_config import RoleConfig
from tickpath.replica.ring import CAPACITY
from tickpath.trade.config import Address, TradeConfig, checked, decoded

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,16}$")]


class Peer(Component, frozen=True):
    """Another node of the group."""

    ring: str
    """Its ring of inputs, or the mirror of it here."""
    address: Address
    """Where it answers other nodes: its ``listen``."""
    public_key: Annotated[str, Meta(pattern=r"^[!-~]{40}$")] | None = None
    """Of its ``keys``: what `tickpath cluster keys` printed."""
    mirror: Address | None = None
    """Where its ring is sent from (UDP): its ``mirror``, or a `tickpath mirror send`; this node
    keeps the mirror in ``ring`` then.  Without it the ring is of this host, or a `tickpath mirror
    receive` keeps it."""
    control: str | None = None
    """Its operators' socket, where it runs on this host: `tickpath cluster` finds it by that."""


class NodeSettings(Component, frozen=True):
    """This node, and where the others are."""

    name: Name = "a"
    ring: str = "/dev/shm/tickpath-a"
    ring_bytes: Positive = CAPACITY
    mirror: Address | None = None
    """Where other nodes get this one's ring from (UDP, neither encrypted nor authenticated), sent
    by the node's own loop; without it by nobody, or by `tickpath mirror send`."""
    listen: Address = "127.0.0.1:7601"
    """Where other nodes ask this one; they cannot change it.  Loopback, unless there are keys: then
    every user of this host can read the state there, and say that the role was handed over, which
    takes no lease from anybody."""
    keys: str | None = None
    """A file with this node's CurveZMQ keys (`tickpath cluster keys`); then every peer needs a
    ``public_key``, both sides prove who they are, and what they say is encrypted."""
    control: str | None = None
    """The Unix socket by which operators change this node; ``control`` in its directory."""
    control_group: str | None = None
    """A group whose members may open it; else its owner alone."""
    http: Address | None = None
    """Where /health, /ready, /role and /metrics are; read-only, for everybody who reaches it."""
    check: Address | None = None
    """Where a line is answered by a line (``PING``, ``agent``, ``active``, ...): load balancers."""
    stale_ms: Annotated[int, Meta(ge=100, le=60_000)] = 500
    """A node whose loop has not turned for so long is not healthy."""
    notify: tuple[str, ...] = ()
    """A command that is run when the role changes, with TICKPATH_ROLE and others beside it."""
    notify_timeout_ms: Positive = 10_000
    peers: dict[str, Peer] = msgspec.field(default_factory=dict)
    gateway: Address = "127.0.0.1:26500"
    lease: str = "witness"
    """The lease store: witness, etcd, redis or kubernetes."""
    lease_settings: dict[str, Any] = msgspec.field(default_factory=dict)
    directory: str = "tickpath-node"
    """Where the state of a node that diverged is kept."""
    journal: str | None = None
    """A journal of this node's ring (`tickpath journal write`), which a start recovers from where
    nobody is active.  Such a node takes over when it is told to (`force`): it cannot know whether
    another one has more."""
    scrub_records: Natural = 1_000
    """After how many records the next slice of the state is said, for standbys to compare; 0:
    never.  See `tickpath.scrub`."""
    spin: bool = False
    """Whether the loop never sleeps: a core for some tens of microseconds less."""
    role: RoleConfig = RoleConfig()
    breakers: tuple[BreakerConfig, ...] = ()
    """Circuit breakers of an active; see `tickpath.failover.breaker`."""

    @property
    def control_path(self) -> str:
        """Where the operators' socket is."""
        return self.control or str(Path(self.directory) / "control")


class NodeConfig(TradeConfig, frozen=True):
    """The trader's configuration with the part that only a node has."""

    node: NodeSettings = NodeSettings()


def load(path: str | Path) -> NodeConfig:
    """Read a TOML file.  Raises `ConfigError` with one line: file, key, what is expected."""
    return checked_node(decoded(path, NodeConfig), str(path))


def checked_node(config: NodeConfig, source: str = "configuration") -> NodeConfig:
    """The configuration as a node runs with it.  Raises `ConfigError`."""
    node = config.node
    if node.lease not in STORES:
        raise ConfigError(f"{source}: node.lease: {node.lease}: there are {', '.join(STORES)}")
    if node.name in node.peers:
        raise ConfigError(f"{source}: node.peers: {node.name} is this node's own name")
    names = [each.name for each in node.breakers]
    if len(set(names)) < len(names):
        raise ConfigError(f"{source}: node.breakers: two have the same name")
    rings = [node.ring, *(each.ring for each in node.peers.values())]
    if len(set(rings)) < len(rings):
        raise ConfigError(f"{source}: node.ring: every node has a ring of its own")
    if config.transport.orders_to is not None:
        raise ConfigError(
            f"{source}: transport.orders_to: a node's orders go by its gateway, which fences"
        )
    _check_reach(node, source)
    return checked(config, source)


def _check_reach(node: NodeSettings, source: str) -> None:
    """Nodes that do not know each other by keys meet on this host only."""
    places = {"node.listen": node.listen}
    for name, peer in node.peers.items():
        places[f"node.peers.{name}.address"] = peer.address
        if (node.keys is None) != (peer.public_key is None):
            lacks = "node.keys" if node.keys is None else f"node.peers.{name}.public_key"
            raise ConfigError(f"{source}: {lacks} is missing: both sides need keys, or none")
    for key, address in places.items():
        if node.keys is None and not is_loopback(address):
            raise ConfigError(
                f"{source}: {key}: {address}: without node.keys only loopback addresses are taken"
            )


def is_loopback(address: str) -> bool:
    """Whether an `Address` is of this host and nobody else's."""
    host = address.rpartition(":")[0]
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
