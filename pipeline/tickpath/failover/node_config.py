"""The configuration of `tickpath node`: the engine's and the feed's, and who else there is.

[node]
name = "a"
ring = "/dev/shm/tickpath-a"
control = "127.0.0.1:7601"
gateway = "127.0.0.1:26500"
lease = "witness"
[node.lease_settings]
addresses = ["127.0.0.1:7401"]
[node.peers.b]
ring = "/dev/shm/tickpath-b"
control = "127.0.0.1:7602"
"""

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
    """Its ring of inputs, or the mirror of it here (`tickpath mirror receive`)."""
    control: Address
    """Where it answers questions."""


class NodeSettings(Component, frozen=True):
    """This node, and where the others are."""

    name: Name = "a"
    ring: str = "/dev/shm/tickpath-a"
    ring_bytes: Positive = CAPACITY
    control: Address = "127.0.0.1:7601"
    """Whoever reaches it can read the state and give orders to this node: a private network."""
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
    return checked(config, source)
