"""TCP connections of accounts: a listening socket, SoupBinTCP behind it, and what was sent in it.

The protocol is `tickpath.session.soup`, whose rules for a shell are kept here: bytes in, then
`tick`, then bytes out, and no more output is taken before the last was written.  One `Door` is the
order entry, another one the drop copy, where whatever a client sends is counted and passed over.
"""

import selectors
import socket
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tickpath.exchange.error import ExchangeError
from tickpath.session import soup

MAX_READ = 1 << 14
"""Bytes taken from one connection in a round, so that none keeps the others waiting long."""
BACKLOG = 64
SEND_BUFFER = 1 << 18
"""Bytes that the system may hold for a connection, about."""


class Arrived(NamedTuple):
    """An account's message."""

    port: int
    raw: bytes


class LoggedIn(NamedTuple):
    """An account is there."""

    port: int


class LoggedOut(NamedTuple):
    """An account's last connection is gone."""

    port: int


Input = Arrived | LoggedIn | LoggedOut


class _Connection:
    """One socket and its protocol; ``pending`` is taken from the protocol, not yet written."""

    def __init__(self, sock: socket.socket, server: soup.Server) -> None:
        self.sock, self.server = sock, server
        self.pending = b""
        self.garbage = b""
        self.untold: list[soup.Event] = []  # events of calls that are no part of a round
        self.port = 0
        self.is_writing = False


class Door:
    """A listening address, and everybody who came through it."""

    def __init__(
        self,
        address: tuple[str, int],
        selector: selectors.BaseSelector,
        sessions: dict[int, soup.ServerSession],
        authenticate: Callable[[str, soup.Secret], int],
        limits: soup.Limits,
        login_limits: soup.LoginLimits,
        *,
        takes_messages: bool,
    ) -> None:
        """``authenticate`` gives an account's port, 0 for a wrong name or password.

        Raises `ExchangeError` where the address cannot be listened to.
        """
        self.counters: Counter[str] = Counter()
        self.sessions = sessions
        self._selector, self._takes_messages = selector, takes_messages
        self._ports = {id(session): port for port, session in sessions.items()}

        def session_of(username: str, password: soup.Secret) -> soup.ServerSession | None:
            return sessions.get(authenticate(username, password))

        self._acceptor = soup.Acceptor(session_of, limits=limits, login_limits=login_limits)
        self._connections: set[_Connection] = set()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(BACKLOG)
        except OSError as error:
            self._socket.close()
            where = "{}:{}".format(*address)
            raise ExchangeError(
                f"orders: {where}: cannot be listened to: {error.strerror or error}"
            ) from None
        self._socket.setblocking(False)
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._socket.getsockname()

    # ------------------------------------------------------------ a round

    def tick(self, now_ns: int) -> list[Input]:
        """Let time pass on every connection."""
        inputs: list[Input] = []
        for connection in list(self._connections):
            events, connection.untold = connection.untold, []
            inputs += self._inputs(connection, events + connection.server.tick(now_ns))
        return inputs

    def write(self, now_ns: int) -> None:
        """Write what waits, as far as the sockets take it; end what is over."""
        for connection in list(self._connections):
            self._write(connection, now_ns)

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do at the latest."""
        if any(each.untold for each in self._connections):
            return 0
        deadlines = (each.server.next_deadline for each in self._connections)
        return min((each for each in deadlines if each is not None), default=None)

    # ------------------------------------------------------------ faults and the end

    def disconnect(self, port: int, now_ns: int) -> None:
        """Cut an account off, without a farewell; the next `tick` says so."""
        for connection in self._connections:
            if connection.port == port:
                connection.untold += connection.server.close(now_ns, "on request")
                self.counters["disconnected_on_request"] += 1

    def spoil(self, port: int, garbage: bytes) -> None:
        """Write bytes of no meaning into an account's connection."""
        for connection in self._connections:
            if connection.port == port:
                connection.garbage += garbage
                self.counters["garbage_bytes"] += len(garbage)

    def end(self, now_ns: int) -> None:
        """End all sessions: whoever is there gets the rest and the end."""
        for session in self.sessions.values():
            session.end(now_ns)

    @property
    def is_silent(self) -> bool:
        """True where nothing waits to be written."""
        return not any(
            each.pending or each.server.has_output or each.server.closed for each in
            self._connections
        )  # fmt: skip

    def close(self) -> None:
        """Close every socket."""
        for connection in list(self._connections):
            self._drop(connection)
        self._selector.unregister(self._socket)
        self._socket.close()

    # ------------------------------------------------------------ sockets

    def _accept(self, now_ns: int) -> list[Input]:
        while True:
            try:
                sock, peer = self._socket.accept()
            except BlockingIOError:
                return []
            except OSError:  # gone before it was taken, or no descriptor left
                self.counters["accepts_failed"] += 1
                return []
            server = self._acceptor.accept(now_ns, peer[0])
            if server is None:
                sock.close()
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            connection = _Connection(sock, server)
            self._connections.add(connection)

            def ready(now_ns: int, connection: _Connection = connection) -> list[Input]:
                return self._read(connection, now_ns)

            self._selector.register(sock, selectors.EVENT_READ, ready)

    def _read(self, connection: _Connection, now_ns: int) -> list[Input]:
        if connection not in self._connections:
            return []
        try:
            raw = connection.sock.recv(MAX_READ)
        except BlockingIOError:
            return []
        except OSError:
            raw = b""
        if not raw:
            events = connection.server.disconnected(now_ns)
        else:
            events = connection.server.receive(raw, now_ns)
        return self._inputs(connection, events)

    def _inputs(self, connection: _Connection, events: list[soup.Event]) -> list[Input]:
        """What the protocol's events are for the venue."""
        inputs: list[Input] = []
        for event in events:
            if isinstance(event, soup.Unsequenced):
                if self._takes_messages:
                    inputs.append(Arrived(connection.port, event.payload))
                else:
                    self.counters["messages_refused"] += 1
            elif isinstance(event, soup.LoggedIn):
                connection.port = self._ports[id(connection.server.session)]
                inputs.append(LoggedIn(connection.port))
            elif isinstance(event, soup.Closed):
                self.counters[f"closed_{event.reason.name.lower()}"] += 1
                session = connection.server.session
                if session is not None and session.connection is None:
                    inputs.append(LoggedOut(connection.port))
        return inputs

    def _write(self, connection: _Connection, now_ns: int) -> None:
        server = connection.server
        try:
            while True:
                if not connection.pending:
                    connection.pending = server.take_output()
                    if connection.garbage:
                        connection.pending += connection.garbage
                        connection.garbage = b""
                if not connection.pending:
                    break
                sent = connection.sock.send(connection.pending)
                connection.pending = connection.pending[sent:]
        except BlockingIOError:
            pass
        except OSError:
            connection.pending = b""
            if server.closed is None:
                connection.untold += server.disconnected(now_ns)
        is_told = not connection.untold and server.next_deadline is None
        if server.closed is not None and is_told:
            self._drop(connection)
            return
        is_writing = bool(connection.pending)
        if is_writing != connection.is_writing:
            connection.is_writing = is_writing
            # Who does not read his answers is not read from either, and times out in the end.
            events = selectors.EVENT_WRITE if is_writing else selectors.EVENT_READ
            key = self._selector.get_key(connection.sock)
            self._selector.modify(connection.sock, events, key.data)

    def _drop(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.sock)
        connection.sock.close()
