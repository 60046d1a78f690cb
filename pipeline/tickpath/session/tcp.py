"""An order session over TCP; sockets are in this module, `tcp_listener` and `tcp_stream` alone.

    line = OrderLine(session, ("127.0.0.1", 4001))
    while session.ended is None:
        for event in line.poll(0.001): ...              # waits for bytes, at most so long
        for event in line.send([order]): ...            # written to the socket at once

Non-blocking, IPv4, without Nagle's algorithm; one thread drives everything by `poll`, whose every
round reads, lets time pass, writes.  The clock is the system's monotonic one, or one that a test
gives; whatever it shows is what the session's times mean.
"""

import errno
import os
import selectors
import socket
import time
from collections.abc import Iterable

from tickpath.session.log import LineLog, SessionLog
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import ConnectWanted
from tickpath.session.soup_event import Event
from tickpath.session.tcp_listener import Listener
from tickpath.session.tcp_stream import (
    READ,
    SECOND_NS,
    WRITE,
    Address,
    Clock,
    Stream,
    resolve,
    seconds_until,
    set_busy_poll,
    unix_epoch_ns,
)

__all__ = ["Listener", "OrderLine", "resolve", "unix_epoch_ns"]


class OrderLine:
    """The connection of an order session, made and made again as the session wants it."""

    def __init__(
        self,
        session: OrderSession,
        address: Address,
        *,
        connect_timeout_ns: int = 5 * SECOND_NS,
        busy_poll_us: int = 0,
        log: SessionLog | None = None,
        clock: Clock = time.monotonic_ns,
    ):
        self.session = session
        self.address = address
        self.connect_timeout_ns = connect_timeout_ns
        self.busy_poll_us = busy_poll_us
        self.findings: list[str] = []
        """What this machine does not do as it was asked, once each."""
        self._clock = clock
        self._log = log
        self._selector = selectors.DefaultSelector()
        self._stream: Stream | None = None
        self._watched = 0  # what the selector watches of the stream
        self._connect_deadline_ns: int | None = None  # set while the connection is being made
        self._events: list[Event] = []

    def poll(self, timeout: float | None = 0.0) -> list[Event]:
        """One round; waits for bytes at most ``timeout`` seconds, None: until something is due."""
        if self._events:  # of a round that was not asked
            timeout = 0.0
        self._wait(seconds_until(self._next_deadline(), self._clock(), timeout))
        self._pass_time()
        self.flush()
        told, self._events = self._events, []
        return told

    def send(self, messages: Iterable[bytes]) -> list[Event]:
        """Send OUCH messages now; see `OrderSession.send_all`."""
        told = self.session.send_all(messages, self._clock())
        self.flush()
        return told

    def flush(self) -> None:
        """Write what the session has, as far as the socket takes it."""
        stream = self._stream
        if stream is None or self._connect_deadline_ns is not None:
            return
        now_ns = self._clock()
        if not stream.write(self.session.take_output, now_ns):
            self._events += self.session.disconnected(now_ns)
        if not self.session.has_line:
            self._drop("the session has left it")
        elif stream.is_waiting or self.session.has_output:
            self._watch(READ | WRITE)
        else:
            self._watch(READ)

    def close(self) -> None:
        """Close the socket, whatever the session thinks."""
        self._drop("closed")
        self._selector.close()

    @property
    def is_connected(self) -> bool:
        """True while there is a socket whose connection is made."""
        return self._stream is not None and self._connect_deadline_ns is None

    def _next_deadline(self) -> int | None:
        deadlines = (self.session.next_deadline, self._connect_deadline_ns)
        return min((each for each in deadlines if each is not None), default=None)

    def _wait(self, seconds: float | None) -> None:
        if self._stream is None:
            if seconds:
                time.sleep(seconds)
            return
        for _, ready in self._selector.select(seconds):
            if self._connect_deadline_ns is not None:
                self._connected()
            elif ready & READ:
                self._read()

    def _read(self) -> None:
        assert self._stream is not None
        now_ns = self._clock()
        received = self._stream.read(now_ns)
        if received is None:
            self._tell(self.session.disconnected(now_ns))
        elif received:
            self._tell(self.session.receive(received, now_ns))

    def _pass_time(self) -> None:
        now_ns = self._clock()
        if self._connect_deadline_ns is not None and now_ns >= self._connect_deadline_ns:
            milliseconds = self.connect_timeout_ns // 1_000_000
            self._not_connected(f"no answer within {milliseconds} ms")
        self._tell(self.session.tick(now_ns))

    def _tell(self, events: list[Event]) -> None:
        self._events += events
        if any(isinstance(event, ConnectWanted) for event in events):
            self._connect()

    # ------------------------------------------------------------ connecting

    def _connect(self) -> None:
        self._drop("another one is wanted")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._stream = Stream(sock, self._line_log())
        if self.busy_poll_us:
            self._find(set_busy_poll(sock, self.busy_poll_us))
        self._connect_deadline_ns = self._clock() + self.connect_timeout_ns
        code = sock.connect_ex(self.address)
        if code in (0, errno.EINPROGRESS):
            self._watch(WRITE)
        else:
            self._not_connected(os.strerror(code))

    def _connected(self) -> None:
        assert self._stream is not None
        code = self._stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._not_connected(os.strerror(code))
            return
        self._connect_deadline_ns = None
        self._watch(READ)
        self._tell(self.session.connected(self._clock()))

    def _not_connected(self, why: str) -> None:
        self._drop(why)
        host, port = self.address
        self._tell(self.session.connect_failed(f"{host}:{port}: {why}", self._clock()))

    def _drop(self, why: str) -> None:
        if self._stream is None:
            return
        self._watch(0)
        closed = self.session.client.closed if self.session.client is not None else None
        if self._connect_deadline_ns is None and closed is not None:
            why = str(closed)
        self._stream.close(why, self._clock())
        self._stream = self._connect_deadline_ns = None

    def _watch(self, wanted: int) -> None:
        if self._stream is None or wanted == self._watched:
            return
        if not self._watched:
            self._selector.register(self._stream.sock, wanted)
        elif not wanted:
            self._selector.unregister(self._stream.sock)
        else:
            self._selector.modify(self._stream.sock, wanted)
        self._watched = wanted

    def _line_log(self) -> LineLog | None:
        host, port = self.address
        return None if self._log is None else self._log.line(f"{host}:{port}")

    def _find(self, finding: str | None) -> None:
        if finding is not None and finding not in self.findings:
            self.findings.append(finding)
