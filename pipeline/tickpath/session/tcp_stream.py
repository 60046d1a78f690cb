"""One non-blocking TCP socket: bytes in, bytes out, and never more waiting than one chunk.

Output is taken from the session only when what was taken before has been written, so that the
session's own bounds see a reader that is slow.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable

from tickpath.session.error import SessionError
from tickpath.session.log import LineLog

MAX_READ = 1 << 16
"""Bytes read in one round, so that nobody keeps the others waiting."""
MAX_CHUNKS = 16
"""Chunks written in one round."""
SECOND_NS = 1_000_000_000
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
SO_BUSY_POLL: int = getattr(socket, "SO_BUSY_POLL", 46)

Address = tuple[str, int]
Take = Callable[[], bytes]
Clock = Callable[[], int]


def resolve(host: str, port: int) -> Address:
    """The IPv4 address of a name.  May ask a name server and wait; raises `SessionError`."""
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise SessionError(f"{host}:{port}: no IPv4 address: {what}") from None
    return found[0][4][0], found[0][4][1]  # type: ignore[return-value]


def set_busy_poll(sock: socket.socket, busy_poll_us: int) -> str | None:
    """Let reads spin in the driver for so many microseconds; gives why that is not so."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_BUSY_POLL, busy_poll_us)
        if sock.getsockopt(socket.SOL_SOCKET, SO_BUSY_POLL) == busy_poll_us:
            return None
        return "busy poll is off: the system took another value"
    except PermissionError:
        return (
            f"busy poll is off: more than net.core.busy_read needs CAP_NET_ADMIN; run: sysctl -w "
            f"net.core.busy_read={busy_poll_us}"
        )
    except OSError as error:
        return f"busy poll is off: {error.strerror}"


def unix_epoch_ns(clock: Clock = time.monotonic_ns) -> int:
    """The Unix time at which a clock shows 0: the ``epoch_ns`` of sessions and logs."""
    return time.time_ns() - clock()


def seconds_until(deadline_ns: int | None, now_ns: int, timeout: float | None) -> float | None:
    """How long to wait for bytes: until the next deadline, and never longer than ``timeout``."""
    if deadline_ns is None:
        return timeout
    until = max(0, deadline_ns - now_ns) / SECOND_NS
    return until if timeout is None else min(timeout, until)


class Stream:
    """See the module's text.  Nagle's algorithm is off."""

    def __init__(self, sock: socket.socket, log: LineLog | None = None):
        self.sock = sock
        self.log = log
        self.error = ""
        """Why it is gone; empty while it is not, and where the other side closed it."""
        self._pending = b""
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, now_ns: int) -> bytes | None:
        """What has come, at most `MAX_READ` bytes; None where the connection is gone."""
        try:
            received = self.sock.recv(MAX_READ)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            self.error = error.strerror or str(error)
            return None
        if self.log is not None and received:
            self.log.received(received, now_ns)
        return received or None

    def write(self, take: Take, now_ns: int) -> bool:
        """Write what waits, then what ``take`` gives; False where the connection is gone."""
        for _ in range(MAX_CHUNKS):
            self._pending = self._pending or take()
            if not self._pending:
                return True
            try:
                count = self.sock.send(self._pending)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError as error:
                self.error = error.strerror or str(error)
                return False
            if self.log is not None:
                self.log.sent(self._pending[:count], now_ns)
            self._pending = self._pending[count:]
            if self._pending:
                return True
        return True

    @property
    def is_waiting(self) -> bool:
        """True where bytes wait for room in the system's buffer."""
        return bool(self._pending)

    def close(self, why: str, now_ns: int) -> None:
        """Close the socket; what still waits is lost."""
        if self.log is not None:
            self.log.closed(f"{why} ({self.error})" if self.error else why, now_ns)
        with contextlib.suppress(OSError):
            self.sock.close()
