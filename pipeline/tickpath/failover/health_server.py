"""HTTP and line answers on a thread of their own, which reads what the loop has published.

One thread, one selector: connections, bytes of a request and the time that a connection has are
bounded, and whoever goes beyond is cut off and counted.  An HTTP connection has one request, and
only GET and HEAD; a line connection any number until it is silent.  The loop is never asked and
never waited for.  All that it shares with this thread is the interpreter, so the thread rests
`REST_S` after each answer: however many ask, the loop has most of the time.
"""

import contextlib
import os
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

from tickpath.failover import metrics
from tickpath.failover.control_error import ControlError
from tickpath.failover.health import Page, View
from tickpath.failover.published import Published
from tickpath.trade.config import split

MOST_CONNECTIONS = 32
MOST_REQUEST_BYTES = 8192
MOST_LINE_BYTES = 256
TIMEOUT_S = 2.0
"""Of a connection: for a whole request and its answer, or between two lines."""
TICK_S = 0.25
REST_S = 0.004


class _Connection:
    def __init__(self, sock: socket.socket, is_http: bool, now_s: float) -> None:
        self.sock, self.is_http = sock, is_http
        self.input, self.output = bytearray(), bytearray()
        self.ends_s = now_s + TIMEOUT_S
        self.is_last = False


class HealthServer:
    """See the module's text; with neither address it does nothing."""

    def __init__(
        self,
        http: str | None,
        check: str | None,
        stale_ms: int,
        published: Callable[[], Published],
        clock: Callable[[], int] = time.monotonic_ns,
        until_ns: Callable[[], int] | None = None,
    ) -> None:
        """``clock`` is that of what is published, ``until_ns`` gives the lease's end.

        Raises `ControlError` for an address that cannot be listened at.
        """
        self.counters: Counter[str] = Counter()
        self._stale_ms, self._published, self._clock = stale_ms, published, clock
        self._until_ns = until_ns
        self._answered = 0
        self._selector = selectors.DefaultSelector()
        self._listening: list[socket.socket] = []
        self._connections: set[_Connection] = set()
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake[0], selectors.EVENT_READ)
        self._is_stopped = False
        self._thread: threading.Thread | None = None
        try:
            if http is not None:
                self._listen("node.http", http, True)
            if check is not None:
                self._listen("node.check", check, False)
        except BaseException:
            self.close()
            raise
        if self._listening:
            self._thread = threading.Thread(target=self._run, name="health", daemon=True)
            self._thread.start()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [each.getsockname()[:2] for each in self._listening]

    def _listen(self, key: str, address: str, is_http: bool) -> None:
        try:
            sock = socket.create_server(split(address), backlog=MOST_CONNECTIONS)
        except OSError as error:
            raise ControlError(f"{key}: {address}: {error.strerror or error}") from None
        sock.setblocking(False)
        self._listening.append(sock)
        self._selector.register(sock, selectors.EVENT_READ, (sock, is_http))

    def close(self) -> None:
        """Stop, and close everything."""
        self._is_stopped = True
        os.write(self._wake[1], b"\0")
        if self._thread is not None:
            self._thread.join(2 * TICK_S + TIMEOUT_S)
        for connection in list(self._connections):
            self._drop(connection)
        for sock in self._listening:
            sock.close()
        self._selector.close()
        for end in self._wake:
            os.close(end)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._is_stopped:
            for key, events in self._selector.select(TICK_S):
                if isinstance(key.data, tuple):
                    self._accept(*key.data)
                elif isinstance(key.data, _Connection):
                    self._serve(key.data, events)
            time.sleep(self._answered * REST_S)
            self._answered = 0
            now_s = time.monotonic()
            for each in [each for each in self._connections if now_s >= each.ends_s]:
                self.counters["timed_out"] += 1
                self._drop(each)

    def _accept(self, listening: socket.socket, is_http: bool) -> None:
        try:
            sock, _ = listening.accept()
        except OSError:
            self.counters["accepts_failed"] += 1
            return
        if len(self._connections) >= MOST_CONNECTIONS:
            self.counters["connections_refused"] += 1
            sock.close()
            return
        sock.setblocking(False)
        connection = _Connection(sock, is_http, time.monotonic())
        self._connections.add(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def _drop(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.sock)
        connection.sock.close()

    def _serve(self, connection: _Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_READ and not connection.output:
                most = MOST_REQUEST_BYTES if connection.is_http else MOST_LINE_BYTES
                raw = connection.sock.recv(most)
                if not raw:
                    self._drop(connection)
                    return
                connection.input += raw
                self._answer(connection)
            if connection.output:
                del connection.output[: connection.sock.send(connection.output)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.counters["connections_lost"] += 1
            self._drop(connection)
            return
        if connection.is_last and not connection.output:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_WR)
            self._drop(connection)
            return
        wanted = selectors.EVENT_WRITE if connection.output else selectors.EVENT_READ
        self._selector.modify(connection.sock, wanted, connection)

    def _view(self) -> View:
        until_ns = None if self._until_ns is None else self._until_ns()
        return View(self._published(), self._clock(), self._stale_ms, until_ns)

    def _answer(self, connection: _Connection) -> None:
        try:
            if connection.is_http:
                self._answer_request(connection)
            else:
                self._answer_lines(connection)
        except Exception as error:  # a mistake of ours must not end the thread
            self.counters["failed"] += 1
            connection.is_last = True
            if connection.is_http:
                self._put(connection, Page(500, _error(type(error).__name__)))

    # ------------------------------------------------------------ lines

    def _answer_lines(self, connection: _Connection) -> None:
        while (end := connection.input.find(b"\n")) >= 0:
            word = bytes(connection.input[:end]).strip().decode("ascii", "replace")
            del connection.input[: end + 1]
            self.counters["lines"] += 1
            self._answered += 1
            connection.output += f"{self._view().line(word)}\n".encode()
            connection.ends_s = time.monotonic() + TIMEOUT_S
        if len(connection.input) > MOST_LINE_BYTES:
            self.counters["lines_too_long"] += 1
            connection.output += b"error: the line is too long\n"
            connection.is_last = True

    # ------------------------------------------------------------ HTTP

    def _answer_request(self, connection: _Connection) -> None:
        head, found, _ = bytes(connection.input).partition(b"\r\n\r\n")
        if not found and len(connection.input) <= MOST_REQUEST_BYTES:
            return
        connection.is_last = True
        self._answered += 1
        self.counters["requests"] += 1
        method, _, rest = head.split(b"\r\n", 1)[0].partition(b" ")
        target, _, version = rest.partition(b" ")
        if not found:
            self._put(connection, Page(431, _error("the request is too long")))
        elif not version.startswith(b"HTTP/1.") or not target.startswith(b"/"):
            self._put(connection, Page(400, _error("no request")))
        elif method not in (b"GET", b"HEAD"):
            self._put(connection, Page(405, _error("GET and HEAD only")))
        else:
            path = target.partition(b"?")[0].decode("ascii", "replace")
            self._put(connection, self._page(path), method == b"HEAD")

    def _page(self, path: str) -> Page:
        view = self._view()
        return metrics.page(view) if path == "/metrics" else view.page(path)

    def _put(self, connection: _Connection, page: Page, is_head: bool = False) -> None:
        if page.code >= 400 and page.code != 503:
            self.counters["requests_refused"] += 1
        connection.output += (
            f"HTTP/1.1 {page.code} {HTTPStatus(page.code).phrase}\r\n"
            f"Content-Type: {page.kind}\r\nContent-Length: {len(page.content)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n"
            + ("Allow: GET, HEAD\r\n" if page.code == 405 else "")
            + "\r\n"
        ).encode()
        if not is_head:
            connection.output += page.content


def _error(text: str) -> bytes:
    return f'{{"error": "{text}"}}\n'.encode()
