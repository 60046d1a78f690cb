"""A node's lanes: its ring to the other nodes, and theirs to here, in its own loop.

    own ring        sent to whoever joins at ``node.mirror``
    a peer's ring   kept in the peer's ``ring``, as it is sent from the peer's ``mirror``

Each is as good as a `tickpath mirror` process, and speaks with one; who has neither address set has
its peers on this host, or keeps such processes.  A mirror that is followed is also looked at by
every poll of the ring (`replica.lane_receiver.LaneTransport`), so that records are acknowledged
where the node's loop is, not where its turn comes.
"""

import socket
from collections import Counter
from pathlib import Path

from tickpath.clock import Clock
from tickpath.failover.node_config import NodeSettings
from tickpath.replica.error import ReplicaError
from tickpath.replica.lane_receiver import LaneReceiver, LaneTransport
from tickpath.replica.lane_sender import LaneSender
from tickpath.replica.mirror import Address, Settings
from tickpath.replica.ring import Ring, RingTransport
from tickpath.trade.config import split

SETTINGS = Settings(beat_ms=2)
"""Beats are what a standby hears of an active that has nothing to do."""


def _resolved(address: str, key: str) -> Address:
    """By number, as datagrams say where they come from."""
    host, number = split(address)
    try:
        return socket.gethostbyname(host), number
    except OSError as error:
        raise ReplicaError(f"{key}: {address}: {error.strerror or error}") from None


class Lanes:
    """See the module's text; `turn` is called in every turn of the node's loop."""

    def __init__(self, settings: NodeSettings, ring: Ring, clock: Clock | None = None) -> None:
        """Raises `ReplicaError` where an address cannot be had."""
        self._ring = ring
        self.sender: LaneSender | None = None
        self.receivers: dict[str, LaneReceiver] = {}
        try:
            if settings.mirror is not None:
                listen = _resolved(settings.mirror, "node.mirror")
                self.sender = LaneSender(ring, listen, SETTINGS, clock)
            for name, peer in settings.peers.items():
                if peer.mirror is not None:
                    source = _resolved(peer.mirror, f"node.peers.{name}.mirror")
                    path, ours = Path(peer.ring), settings.name
                    # One that a kill has left has the identity of the next, and stands still.
                    path.unlink(missing_ok=True)
                    self.receivers[name] = LaneReceiver(path, ours, source, SETTINGS)
        except ReplicaError:
            self.close()
            raise

    def turn(self, ring: Ring) -> int:
        """Send what is new in the node's ring, and take what came; gives how much was Python's."""
        came = 0
        if self.sender is not None:
            if ring is not self._ring:
                self._ring = ring
                self.sender.begin(ring)
            came += self.sender.turn()
        for each in self.receivers.values():
            came += each.turn()
        return came

    def transport(self, name: str, ring: Ring, follower: str, behind: int | None) -> RingTransport:
        """What lends a peer's ring; raises as `RingTransport`."""
        lane = self.receivers.get(name)
        if lane is None:
            return RingTransport(ring, follower, behind)
        return LaneTransport(ring, follower, lane, behind)

    @property
    def sockets(self) -> list[LaneSender | LaneReceiver]:
        """What can become readable, for a selector."""
        return [*([self.sender] if self.sender is not None else []), *self.receivers.values()]

    @property
    def counters(self) -> Counter[str]:
        """What all of them have counted."""
        counted = Counter[str]()
        for each in self.sockets:
            counted.update(each.counters)
        return counted

    def close(self) -> None:
        """Let go of sockets and of the mirrors' files; nobody may follow them any more."""
        for each in self.sockets:
            each.close()
        for lane in self.receivers.values():
            lane.receiver.path.unlink(missing_ok=True)
        self.sender, self.receivers = None, {}
