"""How the other nodes of a group are asked: where, and by which keys."""

from typing import NamedTuple

from tickpath.failover.curve import Keys
from tickpath.failover.node_config import NodeSettings


class Reach(NamedTuple):
    """How a node is asked."""

    address: str
    server_key: bytes | None = None
    """Its public key."""
    keys: Keys | None = None
    """Of who asks."""


def reaches(settings: NodeSettings, keys: Keys | None) -> dict[str, Reach]:
    """Every other node, by name."""
    return {
        name: Reach(peer.address, peer.public_key.encode() if peer.public_key else None, keys)
        for name, peer in settings.peers.items()
    }
