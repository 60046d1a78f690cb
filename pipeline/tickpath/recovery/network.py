"""What recovery asks of a network: datagrams to servers, and connections that it names itself.

`sockets` is one of real sockets; tests have one that is a queue of events.  Whoever implements it
calls `feed.FeedRecovery.connected`, ``received``, ``disconnected`` and ``answer``, never from
within one of these methods.
"""

from typing import NamedTuple, Protocol

from tickpath.recovery.engine import LineName


class Peer(NamedTuple):
    """The other end of a TCP connection."""

    kind: str
    """``"refill"``: a server that is asked for messages; ``"snapshot"``: one of a line's books."""
    number: int
    """Of the server, or how many snapshots the line has asked for so far."""
    line: LineName | None = None


class Network(Protocol):
    """See the module's text."""

    def ask(self, server: int, line: LineName, datagram: bytes) -> None:
        """Send a request for messages of a line; the answer is any datagram that comes back."""

    def connect(self, peer: Peer) -> None:
        """Begin to connect."""

    def write(self, peer: Peer, contents: bytes) -> None:
        """Send bytes on a connection that is made."""

    def close(self, peer: Peer) -> None:
        """Close a connection, or stop making it: nothing more is told of it.  It may be gone."""
