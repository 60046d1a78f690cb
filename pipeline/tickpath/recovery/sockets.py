"""A `network.Network` of real sockets, IPv4, non-blocking, for one thread off the hot path.

    sockets = SocketNetwork(addresses, names)
    recovery = FeedRecovery(engine, sockets, ...)
    sockets.attach(recovery)                  # raises RecoveryError where a socket cannot be had
    while ...: sockets.poll(0.001)            # what came, then what is due

A loop with a selector of its own registers the network there (it has a `fileno`), waits until
`next_deadline` at the most, and polls without waiting.

A line asks from a socket of its own, so an answer is known by the socket it comes to.  Connections
are made in the background; one that is not made in time is a lost one.  What cannot be sent now is
counted and left to the timeouts of whoever asked.
"""

import errno
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tickpath.recovery.engine import LineName
from tickpath.recovery.error import RecoveryError
from tickpath.recovery.feed import SNAPSHOT, FeedRecovery
from tickpath.recovery.limits import SECOND_NS
from tickpath.recovery.network import Peer
from tickpath.session.tcp_stream import READ, WRITE, Address, Clock, Stream, seconds_until

MAX_DATAGRAMS = 256
"""Datagrams taken from one socket in a round."""
DATAGRAM_BYTES = 65_536
RECEIVE_BUFFER = 1 << 22
CONNECT_TIMEOUT_NS = 3 * SECOND_NS
MAX_PENDING = 1 << 20
"""Bytes that may wait to be sent on a connection; beyond it the connection is given up."""
_MULTICAST = 0b1110


class Addresses(NamedTuple):
    """Where the servers are."""

    interface: str = "127.0.0.1"
    """The address of the interface that everything goes over."""
    requests: tuple[Address, ...] = ()
    """MoldUDP64 request servers, in the order in which they are asked."""
    proxies: tuple[Address, ...] = ()
    """Gap Request Proxies, likewise."""
    gap_group: Address | None = None
    """Where the proxies send messages to."""
    snapshots: tuple[tuple[LineName, tuple[Address, ...]], ...] = ()
    """Snapshot servers of each line, tried in turn."""


def join(group: Address, interface: str, receive_buffer: int = RECEIVE_BUFFER) -> socket.socket:
    """A socket that a group's (or our own address's) datagrams come to.  Raises `OSError`."""
    receiving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        receiving.setblocking(False)
        receiving.bind(group)
        address = socket.inet_aton(group[0])
        if address[0] >> 4 == _MULTICAST:
            member = struct.pack("4s4s", address, socket.inet_aton(interface))
            receiving.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    except OSError:
        receiving.close()
        raise
    return receiving


class _Connection:
    """A TCP connection, being made or made."""

    def __init__(self, stream: Stream, deadline_ns: int) -> None:
        self.stream = stream
        self.deadline_ns: int | None = deadline_ns
        """Set while it is being made."""
        self.pending = bytearray()

    def take(self) -> bytes:
        taken = bytes(self.pending)
        self.pending.clear()
        return taken


class SocketNetwork:
    """See the module's text."""

    def __init__(
        self, addresses: Addresses, lines: list[LineName], clock: Clock = time.monotonic_ns
    ) -> None:
        """Raises `RecoveryError` where a socket cannot be had."""
        self.counters: Counter[str] = Counter()
        self._addresses, self._clock = addresses, clock
        self._snapshots = dict(addresses.snapshots)
        self._recovery: FeedRecovery | None = None
        self._selector = selectors.DefaultSelector()
        self._asking: dict[LineName, socket.socket] = {}
        self._connections: dict[Peer, _Connection] = {}
        self._untold: list[Callable[[], None]] = []
        try:
            for name in lines if addresses.requests else []:
                self._asking[name] = asking = join((addresses.interface, 0), addresses.interface)
                self._selector.register(asking, READ, name)
            if addresses.gap_group is not None:
                self._gaps = join(addresses.gap_group, addresses.interface)
                self._selector.register(self._gaps, READ, None)
        except OSError as error:
            self.close_all()
            raise RecoveryError(
                f"recovery over {addresses.interface}: {error.strerror or error}; name an address "
                "of this machine"
            ) from None

    def attach(self, recovery: FeedRecovery) -> None:
        """The recovery that everything is told to; makes its first connections."""
        self._recovery = recovery
        recovery.start(self._clock())

    def fileno(self) -> int:
        """Readable where `poll` has something to hear."""
        return self._selector.fileno()  # type: ignore[attr-defined]

    def has_come(self) -> bool:
        """True where `poll` has something to hear now."""
        return bool(self._selector.get_map() and self._selector.select(0))

    @property
    def next_deadline(self) -> int | None:
        """When `poll` has something to do even if nothing comes."""
        assert self._recovery is not None, "attach a recovery first"
        if self._untold:
            return 0
        due = [self._recovery.next_deadline]
        due += [each.deadline_ns for each in self._connections.values()]
        return min((each for each in due if each is not None), default=None)

    def poll(self, timeout: float | None = 0.0) -> None:
        """One round; waits at most ``timeout`` seconds, None: until something is due."""
        wait = seconds_until(self.next_deadline, self._clock(), timeout)
        recovery = self._recovery
        assert recovery is not None
        for key, ready in self._selector.select(wait):
            if isinstance(key.data, Peer):
                self._stream_ready(key.data, ready)
            else:
                self._datagrams(key.fileobj, key.data)  # type: ignore[arg-type]
        untold, self._untold = self._untold, []
        for tell in untold:
            tell()
        now_ns = self._clock()
        for peer, connection in list(self._connections.items()):
            if connection.deadline_ns is not None and now_ns >= connection.deadline_ns:
                self._lost(peer, "connect_timeouts")
        recovery.tick(self._clock())

    def close_all(self) -> None:
        """Close every socket."""
        for peer in list(self._connections):
            self.close(peer)
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    # ------------------------------------------------------------ what recovery asks

    def ask(self, server: int, line: LineName, datagram: bytes) -> None:
        """See `network.Network`."""
        try:
            self._asking[line].sendto(datagram, self._addresses.requests[server])
        except OSError:
            self.counters["asks_failed"] += 1

    def connect(self, peer: Peer) -> None:
        """See `network.Network`."""
        if peer.kind == SNAPSHOT:
            servers = self._snapshots.get(peer.line, ()) if peer.line is not None else ()
            address = servers[peer.number % len(servers)] if servers else None
        else:
            address = self._addresses.proxies[peer.number]
        if address is None:
            self._untold.append(lambda: self._tell_lost(peer))
            return
        self.counters["connects"] += 1
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection = _Connection(Stream(sock), self._clock() + CONNECT_TIMEOUT_NS)
        if sock.connect_ex(address) not in (0, errno.EINPROGRESS):
            sock.close()
            self.counters["connects_failed"] += 1
            self._untold.append(lambda: self._tell_lost(peer))
            return
        self._connections[peer] = connection
        self._selector.register(sock, WRITE, peer)

    def write(self, peer: Peer, contents: bytes) -> None:
        """See `network.Network`."""
        connection = self._connections.get(peer)
        if connection is None:
            return
        connection.pending += contents
        if len(connection.pending) > MAX_PENDING:
            self._untold.append(lambda: self._lost(peer, "connections_too_slow"))
        self._flush(peer, connection)

    def close(self, peer: Peer) -> None:
        """See `network.Network`."""
        connection = self._connections.pop(peer, None)
        if connection is not None:
            self._selector.unregister(connection.stream.sock)
            connection.stream.close("closed", self._clock())

    # ------------------------------------------------------------ what sockets say

    def _datagrams(self, receiving: socket.socket, line: LineName | None) -> None:
        assert self._recovery is not None
        for _ in range(MAX_DATAGRAMS):
            try:
                raw = receiving.recv(DATAGRAM_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # a server's port is closed
                self.counters["receive_errors"] += 1
                continue
            self._recovery.answer(raw, self._clock(), line)

    def _stream_ready(self, peer: Peer, ready: int) -> None:
        assert self._recovery is not None
        connection = self._connections.get(peer)
        if connection is None:
            return
        if connection.deadline_ns is not None:
            sock = connection.stream.sock
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._lost(peer, "connects_failed")
                return
            connection.deadline_ns = None
            self._selector.modify(sock, READ, peer)
            self._recovery.connected(peer, self._clock())
            return
        if ready & WRITE:
            self._flush(peer, connection)
        if ready & READ:
            received = connection.stream.read(self._clock())
            if received is None:
                self._lost(peer, "connections_lost")
            elif received:
                self._recovery.received(peer, received, self._clock())

    def _flush(self, peer: Peer, connection: _Connection) -> None:
        stream = connection.stream
        if not stream.write(connection.take, self._clock()):
            self._untold.append(lambda: self._lost(peer, "connections_lost"))
            return
        self._selector.modify(stream.sock, READ | (WRITE if stream.is_waiting else 0), peer)

    def _lost(self, peer: Peer, why: str) -> None:
        if peer in self._connections:
            self.counters[why] += 1
            self.close(peer)
            self._tell_lost(peer)

    def _tell_lost(self, peer: Peer) -> None:
        assert self._recovery is not None
        self._recovery.disconnected(peer, self._clock())
