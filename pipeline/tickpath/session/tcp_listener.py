"""A listening TCP address: the server's side of SoupBinTCP on sockets, for tests and tools.

    listener = Listener(("127.0.0.1", 0), acceptor)
    for server, event in listener.poll(0.001):
        server.session.publish(...)                     # goes out with the next `poll` or `flush`

Connections beyond the acceptor's limit are closed at once, and nobody is read more of in a round
than `tcp_stream.MAX_READ` bytes.
"""

import selectors
import socket
import time

import msgspec

from tickpath.session.error import SessionError
from tickpath.session.log import SessionLog
from tickpath.session.soup_acceptor import Acceptor
from tickpath.session.soup_event import Event
from tickpath.session.soup_server import Server
from tickpath.session.tcp_stream import READ, WRITE, Address, Clock, Stream, seconds_until

BACKLOG = 64
MAX_ACCEPTS = 16
"""Connections taken in one round."""


class ListenerCounters(msgspec.Struct):
    """What happened at a listening socket."""

    accepted: int = 0
    refused: int = 0
    """Connections beyond the acceptor's limit, closed at once."""
    accept_failed: int = 0
    """Connections that the system could not hand over."""


class Listener:
    """A listening address, and the connections that came in by it."""

    def __init__(
        self,
        address: Address,
        acceptor: Acceptor,
        *,
        log: SessionLog | None = None,
        clock: Clock = time.monotonic_ns,
    ):
        """Raises `SessionError` where the address cannot be listened to."""
        self.acceptor = acceptor
        self.counters = ListenerCounters()
        self._clock = clock
        self._log = log
        self._streams: dict[Server, tuple[Stream, int]] = {}  # and what is watched of each
        self._untold: list[tuple[Server, Event]] = []  # of rounds that were not asked
        self._selector = selectors.DefaultSelector()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setblocking(False)
            self._socket.bind(address)
            self._socket.listen(BACKLOG)
        except OSError as error:
            self._socket.close()
            raise SessionError(
                f"{address[0]}:{address[1]} cannot be listened to: {error.strerror}"
            ) from None
        self._selector.register(self._socket, READ)

    @property
    def address(self) -> Address:
        """Where it listens, with the port that the system chose for port 0."""
        host, port = self._socket.getsockname()
        return host, port

    def poll(self, timeout: float | None = 0.0) -> list[tuple[Server, Event]]:
        """One round; waits for bytes at most ``timeout`` seconds, None: until something is due."""
        self.flush()
        deadlines = (each.next_deadline for each in self._streams)
        deadline_ns = min((each for each in deadlines if each is not None), default=None)
        for key, ready in self._selector.select(seconds_until(deadline_ns, self._clock(), timeout)):
            if key.data is None:
                self._accept()
            elif ready & READ:
                self._read(key.data)
        now_ns = self._clock()
        for server in self._streams:
            self._tell(server, server.tick(now_ns))
        self.flush()
        told, self._untold = self._untold, []
        return told

    def flush(self) -> None:
        """Write what every connection has, and close those that have ended."""
        now_ns = self._clock()
        for server, (stream, watched) in list(self._streams.items()):
            if not stream.write(server.take_output, now_ns):
                self._tell(server, server.disconnected(now_ns))
            if server.closed is not None:
                self._tell(server, server.tick(now_ns))
                self._drop(server, stream)
                continue
            wanted = READ | WRITE if stream.is_waiting or server.has_output else READ
            if wanted != watched:
                self._selector.modify(stream.sock, wanted, server)
                self._streams[server] = (stream, wanted)

    def close(self) -> None:
        """Close every socket."""
        for server, (stream, _) in list(self._streams.items()):
            self._tell(server, server.disconnected(self._clock()))
            self._drop(server, stream)
        self._selector.close()
        self._socket.close()

    def _accept(self) -> None:
        for _ in range(MAX_ACCEPTS):
            try:
                sock, (host, port) = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # the other side has gone already, or the system has no more files
                self.counters.accept_failed += 1
                return
            server = self.acceptor.accept(self._clock(), host)
            if server is None:
                self.counters.refused += 1
                sock.close()
                continue
            log = None if self._log is None else self._log.line(f"{host}:{port}")
            self.counters.accepted += 1
            self._streams[server] = (Stream(sock, log), READ)
            self._selector.register(sock, READ, server)

    def _read(self, server: Server) -> None:
        stream, _ = self._streams[server]
        now_ns = self._clock()
        received = stream.read(now_ns)
        if received is None:
            self._tell(server, server.disconnected(now_ns))
        elif received:
            self._tell(server, server.receive(received, now_ns))

    def _tell(self, server: Server, events: list[Event]) -> None:
        self._untold += ((server, event) for event in events)

    def _drop(self, server: Server, stream: Stream) -> None:
        del self._streams[server]
        self._selector.unregister(stream.sock)
        stream.close(str(server.closed), self._clock())
