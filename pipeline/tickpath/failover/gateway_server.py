"""The order gateway as a process: one thread, one selector, the core of `gateway` between sockets.

round    read the nodes; what one hands over is at the exchange's socket before the next is read;
         read the exchange; let time pass; write to the nodes
end      the session logs out, the nodes are left, files close; orders stay as they are

The session's directory is of one trading day: positions, sequences and epochs go on where the
files there end.
"""

import contextlib
import functools
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tickpath.config import ConfigError
from tickpath.failover.gateway import Gateway
from tickpath.failover.gateway_config import GatewayConfig, check_gateway, split_address
from tickpath.failover.gateway_error import GatewayError
from tickpath.failover.gateway_journal import WatchedJournal
from tickpath.failover.gateway_left import Left
from tickpath.failover.gateway_node import NodeLink
from tickpath.failover.gateway_nodes import Nodes
from tickpath.failover.gateway_store import GatewayStore
from tickpath.operator_socket import OperatorSocket
from tickpath.session.credentials import Credentials, load_credentials
from tickpath.session.log import SessionLog
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import End
from tickpath.session.ouch_message import DIALECTS
from tickpath.session.tcp import resolve, unix_epoch_ns
from tickpath.session.tcp_stream import READ, WRITE, Stream, seconds_until, set_busy_poll
from tickpath.trade.line import Line
from tickpath.wire.gateway import Session

SECOND_NS = 1_000_000_000
LONGEST_WAIT_S = 0.1
CLOSE_NS = 5 * SECOND_NS
"""How long the logout may take."""
BACKLOG = 64
MAX_ACCEPTS = 16
SCHEMA = "tickpath.gateway/1"
ORDERLY = (End.LOGOUT, End.STOPPED, End.END_OF_SESSION)

Say = Callable[[str], None]


class _Connection:
    """A node's socket, and what the selector watches of it."""

    def __init__(self, sock: socket.socket, link: NodeLink):
        self.stream, self.link, self.watched = Stream(sock), link, READ


class GatewayServer:
    """See the module's text.  Use it as a context manager, or call `close`."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        credentials: Credentials | None = None,
        say: Say = lambda text: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ):
        """Opens files and sockets.  Raises `GatewayError`, `SessionError`, `ConfigError`."""
        check_gateway(config)
        self.config, self._say, self._clock = config, say, clock
        self._stopping = False
        self.was_up = False
        self._connections: dict[NodeLink, _Connection] = {}
        self._said_version = -1
        self._due_ns = 0  # the next full round, whatever comes
        with contextlib.ExitStack() as stack:
            self._open(stack, credentials or load_credentials(config.credentials))
            self._stack = stack.pop_all()

    def _open(self, stack: contextlib.ExitStack, credentials: Credentials) -> None:
        config, clock = self.config, self._clock
        self.directory = _directory(config.directory)
        journal = WatchedJournal(
            self.directory / "orders.journal", protocol=config.protocol, fsync=config.fsync
        )
        stack.enter_context(journal)
        wanted = config.session.session.strip()
        if journal.session and wanted not in ("", journal.session):
            raise GatewayError(
                f"{journal.path}: of session {journal.session}, not {wanted}: another day needs "
                "another directory"
            )
        self.store = GatewayStore(
            self.directory / "gateway.log",
            protocol=config.protocol,
            fsync=config.fsync,
            max_bytes=config.max_bytes,
            max_tail=config.rules.max_tail,
            max_outcomes=config.rules.max_outcomes,
        )
        stack.enter_context(self.store)
        epoch_ns = self.store.ts_offset_ns = unix_epoch_ns(clock)
        self.session = OrderSession(
            journal,
            credentials.username,
            credentials.password,
            now_ns=clock(),
            settings=config.session,
            epoch_ns=epoch_ns,
        )
        self.gateway = Gateway(self.store, journal, self.session, config.rules, now_ns=clock())
        self.nodes = Nodes(self.gateway)
        self._selector = stack.enter_context(selectors.DefaultSelector())
        log = None
        if config.log_bytes:
            log = SessionLog(
                self.directory / "session.log",
                dialect=DIALECTS[config.protocol],
                secrets=[credentials.password],
                epoch_ns=epoch_ns,
                max_bytes=config.log_bytes,
            )
            stack.callback(log.close)
        self.line = Line(
            self.session,
            resolve(*split_address(config.orders)),
            self._selector,
            busy_poll_us=config.busy_poll_us,
            log=log,
            clock=clock,
        )
        stack.callback(self.line.close)
        self.gateway.on_sent = self.line.flush
        self._listen(stack)
        path = str(self.directory / "control.sock")
        operator = OperatorSocket(path, self._selector, self._operate, "gateway", GatewayError)
        stack.callback(operator.close)

    def _listen(self, stack: contextlib.ExitStack) -> None:
        address = resolve(*split_address(self.config.listen))
        self._socket = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setblocking(False)
            self._socket.bind(address)
            self._socket.listen(BACKLOG)
        except OSError as error:
            raise GatewayError(
                f"gateway.listen: {address[0]}:{address[1]}: {error.strerror}"
            ) from None
        self._selector.register(self._socket, READ, self._accept)
        stack.callback(self._leave_all)

    @property
    def address(self) -> tuple[str, int]:
        """Where nodes connect, with the port that the system chose for port 0."""
        host, port = self._socket.getsockname()
        return host, port

    # ------------------------------------------------------------ the loop

    def run(self, duration_s: float | None = None) -> None:
        """Serve until told to stop.

        Raises `GatewayError` where the session ended before it was up once.
        """
        end_ns = None if duration_s is None else self._clock() + int(duration_s * SECOND_NS)
        while not self._stopping and (end_ns is None or self._clock() < end_ns):
            self.round(LONGEST_WAIT_S)
            ended = self.session.ended
            if ended is not None and not self.was_up:
                raise GatewayError(f"order session: {ended}")
        self.finish()

    def stop(self) -> None:
        """End in good order; safe in a signal handler."""
        self._stopping = True

    def round(self, timeout_s: float) -> None:
        """One round; waits for bytes at most so long."""
        wait_s = seconds_until(self._due_ns, self._clock(), timeout_s)
        ready = self._selector.select(0.0 if self.config.spin else wait_s)
        if not ready and self._clock() < self._due_ns:
            return
        for key, _ in ready:
            if key.data is not None:
                key.data(self._clock())
        self.gateway.tick(self._clock())
        self.gateway.hear(self.line.poll(0.0), self._clock())
        now_ns = self._clock()
        for connection in list(self._connections.values()):
            connection.link.tick(now_ns)
            self._write(connection, now_ns)
        self._notice()
        self._due_ns = self._next_deadline(now_ns)

    def _next_deadline(self, now_ns: int) -> int:
        """Until when there is nothing to do unless bytes come."""
        for each in self._connections.values():
            if each.watched == READ and each.link.has_output:
                return now_ns
        deadlines = [self.line.next_deadline, self.store.next_deadline]
        deadlines += [each.next_deadline for each in self._connections]
        return min((each for each in deadlines if each is not None), default=now_ns + SECOND_NS)

    def _accept(self, now_ns: int) -> None:
        counters = self.gateway.counters
        for _ in range(MAX_ACCEPTS):
            try:
                sock, (host, _) = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # gone already, or the system has no more files
                counters["accepts_failed"] += 1
                return
            if len(self._connections) >= self.config.max_connections:
                counters["connections_refused"] += 1
                sock.close()
                continue
            counters["connections"] += 1
            if self.config.busy_poll_us:
                set_busy_poll(sock, self.config.busy_poll_us)
            connection = _Connection(sock, NodeLink(self.nodes, host, now_ns))
            self._connections[connection.link] = connection
            self._selector.register(sock, READ, functools.partial(self._read, connection))

    def _read(self, connection: _Connection, now_ns: int) -> None:
        received = connection.stream.read(now_ns)
        if received is None:
            connection.link.disconnected()
        elif received:
            connection.link.receive(received, now_ns)

    def _write(self, connection: _Connection, now_ns: int) -> None:
        stream, link = connection.stream, connection.link
        if not stream.write(functools.partial(link.take_output, now_ns), now_ns):
            link.disconnected()
        if link.left is not None:
            self._drop(connection, now_ns)
            return
        wanted = READ | WRITE if stream.is_waiting else READ
        if wanted != connection.watched:
            self._selector.modify(stream.sock, wanted, self._selector.get_key(stream.sock).data)
            connection.watched = wanted

    def _drop(self, connection: _Connection, now_ns: int) -> None:
        del self._connections[connection.link]
        self._selector.unregister(connection.stream.sock)
        connection.stream.close("", now_ns)

    def _leave_all(self) -> None:
        now_ns = self._clock()
        for connection in list(self._connections.values()):
            connection.link.leave(Left.CLOSED)
            connection.stream.write(functools.partial(connection.link.take_output, now_ns), now_ns)
            self._drop(connection, now_ns)

    def _notice(self) -> None:
        gateway = self.gateway
        self.was_up |= gateway.state is Session.UP
        if gateway.version != self._said_version:
            self._said_version = gateway.version
            detail = gateway.store.failure or gateway.detail
            self._say(f"{gateway.state.name.lower()}, epoch {gateway.epoch}; {detail}".rstrip("; "))

    # ------------------------------------------------------------ the end, and what it was

    def finish(self) -> None:
        """Log out; bounded in time."""
        end_ns = self._clock() + CLOSE_NS
        now_ns = self._clock()
        self.gateway.hear(self.session.logout(now_ns), now_ns)
        self.line.flush()
        self._due_ns = 0
        while self.session.ended is None and self._clock() < end_ns and self.line.is_connected:
            self.round(LONGEST_WAIT_S)

    def _operate(self, line: str, who: str, now_ns: int) -> dict[str, Any]:
        if line.split() != ["status"]:
            raise GatewayError(f"{line.strip()!r}: known: status")
        return self.result()

    def result(self) -> dict[str, Any]:
        """Where everything stands."""
        gateway, state = self.gateway, self.nodes.state()
        return {
            "schema": SCHEMA,
            **state,
            "session_state": gateway.state.name.lower(),
            "holder": gateway.store.holder,
            "nodes": {name: each.address for name, each in self.nodes.welcome.items()},
            "waiting": gateway.waiting,
            "ended": str(self.session.ended) if self.session.ended is not None else None,
            "failure": gateway.store.failure,
            "torn_bytes": gateway.store.counters.torn_bytes,
            "counters": dict(gateway.counters),
        }

    @property
    def has_finding(self) -> bool:
        """Whether something was found that somebody has to look at."""
        ended = self.session.ended
        is_orderly = ended is None or ended.end in ORDERLY
        return not is_orderly or bool(self.store.failure or self.gateway.counters["diverged"])

    def close(self) -> None:
        """Close every socket and file."""
        self._stack.close()

    def __enter__(self) -> "GatewayServer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _directory(name: str) -> Path:
    """The gateway's directory, for its owner only.  Raises `ConfigError`."""
    path = Path(name)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"gateway.directory: {path}: {error.strerror}") from None
    return path
