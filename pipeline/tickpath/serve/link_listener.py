"""A listening TCP address for any sans-I/O server whose connections are `Link`s.

What a connection says is taken late where its server is late on purpose: from the time that was
drawn when it came in.  Bounds: connections, bytes read in a round, and what a link itself bounds.
"""

import selectors
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from tickpath.serve.error import ServeError
from tickpath.session.soup_event import Closed, Event
from tickpath.session.tcp_stream import READ, WRITE, Address, Stream

BACKLOG = 64
MAX_CONNECTIONS = 64
MAX_ACCEPTS = 16


class Link(Protocol):
    """One connection, seen from the server: see `session.soup_link` and `recovery.unit_link`."""

    closed: Closed | None

    def receive(self, received: bytes, now_ns: int) -> list[Event]:
        """Take bytes."""

    def tick(self, now_ns: int) -> list[Event]:
        """Let time pass."""

    def disconnected(self, now_ns: int) -> list[Event]:
        """The connection is gone."""

    def take_output(self) -> bytes:
        """Bytes to write."""

    @property
    def has_output(self) -> bool:
        """Whether there are any."""

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do."""


class LinkListener:
    """See the module's text."""

    def __init__(
        self,
        address: Address,
        selector: selectors.BaseSelector,
        accept: Callable[[int, str], Link | None],
        delay_ns: Callable[[], int],
    ) -> None:
        """Raises `ServeError` where the address cannot be listened to."""
        self.counters: Counter[str] = Counter()
        self._selector, self._accept, self._delay_ns = selector, accept, delay_ns
        self._links: dict[Any, tuple[Stream, int]] = {}  # and from when on it is heard
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setblocking(False)
            self._socket.bind(address)
            self._socket.listen(BACKLOG)
        except OSError as error:
            self._socket.close()
            where = f"{address[0]}:{address[1]}"
            raise ServeError(f"{where}: cannot be listened to: {error.strerror}") from None
        selector.register(self._socket, READ, self._come_in)

    @property
    def address(self) -> Address:
        """Where it listens."""
        host, port = self._socket.getsockname()
        return host, port

    def poll(self, now_ns: int) -> list[Event]:
        """Hear what has come, let time pass, write what there is; call it in every round."""
        told: list[Event] = []
        for link, (stream, since_ns) in list(self._links.items()):
            if now_ns < since_ns:
                continue
            received = stream.read(now_ns)
            if received is None:
                told += link.disconnected(now_ns)
            elif received:
                told += link.receive(received, now_ns)
            told += link.tick(now_ns)
            if not stream.write(link.take_output, now_ns):
                told += link.disconnected(now_ns)
            is_written = not stream.is_waiting and not link.has_output
            if link.closed is not None and (is_written or stream.error):
                self._drop(link, stream, now_ns)
                continue
            wanted = READ if is_written else READ | WRITE
            self._selector.modify(stream.sock, wanted, self._ready)
        return told

    def next_deadline(self) -> int | None:
        """When `poll` has something to do even if nothing comes."""
        due = [
            max(since_ns, deadline)
            for link, (_, since_ns) in self._links.items()
            if (deadline := link.next_deadline) is not None
        ]
        return min(due, default=None)

    def close(self, now_ns: int) -> None:
        """Close every socket."""
        for link, (stream, _) in list(self._links.items()):
            link.disconnected(now_ns)
            self._drop(link, stream, now_ns)
        self._selector.unregister(self._socket)
        self._socket.close()

    def _come_in(self, now_ns: int) -> None:
        for _ in range(MAX_ACCEPTS):
            try:
                sock, (host, _) = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.counters["accepts_failed"] += 1
                return
            link = self._accept(now_ns, host) if len(self._links) < MAX_CONNECTIONS else None
            if link is None:
                self.counters["connections_refused"] += 1
                sock.close()
                continue
            self.counters["connections"] += 1
            self._links[link] = Stream(sock), now_ns + self._delay_ns()
            self._selector.register(sock, READ, self._ready)

    def _ready(self, now_ns: int) -> None:
        """Something can be read or written: `poll` does it."""

    def _drop(self, link: Link, stream: Stream, now_ns: int) -> None:
        del self._links[link]
        self._selector.unregister(stream.sock)
        stream.close(str(link.closed), now_ns)
