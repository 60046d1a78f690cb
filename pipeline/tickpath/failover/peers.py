"""The other nodes' rings: who of them is active, as far as this host can see.

An active's beat rises and its epoch is the highest; a ring whose beat stands still is nobody's to
follow.  A node that was started again has a new ring under the same name.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tickpath.failover.node_config import Peer
from tickpath.replica.error import ReplicaError
from tickpath.replica.ring import Ring

ALIVE_NS = 100_000_000
"""A beat is of now if it has changed within so long."""
LOOK_NS = 2_000_000
"""How often the files are looked at."""


class Found(NamedTuple):
    """A node that is active, and its ring."""

    name: str
    ring: Ring


class _Seen:
    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.beat = int(ring.header["beat"])
        self.changed_ns = -ALIVE_NS


class Peers:
    """See the module's text."""

    def __init__(self, peers: Mapping[str, Peer]) -> None:
        self._peers = peers
        self._seen: dict[str, _Seen] = {}
        self._looked_ns = -LOOK_NS
        self._asked_ns = -ALIVE_NS

    def _look(self) -> None:
        for name, peer in self._peers.items():
            known = self._seen.get(name)
            try:
                ring = Ring.attach(peer.ring)
            except ReplicaError:
                continue
            # A mirror that was broken goes on in a new file, with the identity of the same ring.
            is_other = known is None or known.ring.header["identity"] != ring.header["identity"]
            if is_other or (known is not None and known.ring.header["broken"]):
                self._seen[name] = _Seen(ring)
            else:
                ring.close()

    def active(self, now_ns: int) -> Found | None:
        """The node of the highest epoch that beats; None where nobody does, as far as is known."""
        if now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = now_ns
            self._look()
        # What changed while nobody looked says nothing of now.
        is_fresh = now_ns - self._asked_ns < ALIVE_NS // 2
        self._asked_ns = now_ns
        best: tuple[int, str] | None = None
        for name, seen in self._seen.items():
            beat = int(seen.ring.header["beat"])
            if beat != seen.beat:
                seen.beat = beat
                if is_fresh:
                    seen.changed_ns = now_ns
            epoch = int(seen.ring.header["epoch"])
            is_alive = now_ns - seen.changed_ns < ALIVE_NS and not seen.ring.header["broken"]
            if is_alive and epoch and (best is None or epoch > best[0]):
                best = epoch, name
        return None if best is None else Found(best[1], self._seen[best[1]].ring)
