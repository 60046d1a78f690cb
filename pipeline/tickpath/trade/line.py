"""One TCP connection at a time, without waiting: what the session machines' bytes travel on."""

import errno
import selectors
import socket
from typing import Any

RECEIVE_BYTES = 1 << 16
MAX_RECEIVES = 16
"""Reads in one round: a peer that never stops does not keep the loop from its other work."""
MAX_PENDING = 1 << 20
"""Bytes that may wait to be written before no more are taken from the session."""


class Line:
    """A client's connection that is opened, lost and opened again."""

    def __init__(self, address: tuple[str, int], selector: selectors.BaseSelector) -> None:
        self.address = address
        self.why = ""
        """Why the last connection could not be made or was lost."""
        self._selector = selector
        self._socket: socket.socket | None = None
        self._connecting = False
        self._lost = False
        self._closing = False
        self._pending = bytearray()

    @property
    def is_open(self) -> bool:
        """True while there is a socket."""
        return self._socket is not None

    @property
    def has_room(self) -> bool:
        """True where more can be written."""
        return self._socket is not None and len(self._pending) < MAX_PENDING

    def open(self) -> None:
        """Begin to connect; `progress` tells how it went."""
        self.close()
        self.why, self._lost, self._closing = "", False, False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connecting = True
        code = self._socket.connect_ex(self.address)
        if code not in (0, errno.EINPROGRESS):
            self._fail(errno.errorcode.get(code, str(code)))
            return
        events = selectors.EVENT_READ | selectors.EVENT_WRITE
        self._selector.register(self._socket, events, None)

    def progress(self) -> bool | None:
        """True once when the connection was made, False once when it could not be, else None."""
        if not self._connecting:
            return None
        if self._socket is None:
            self._connecting = False
            return False
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(errno.errorcode.get(code, str(code)))
            self._connecting = False
            return False
        try:
            self._socket.getpeername()
        except OSError:
            return None
        self._connecting = False
        self._selector.modify(self._socket, selectors.EVENT_READ, None)
        return True

    def take(self) -> bytes:
        """What has come."""
        received = bytearray()
        for _ in range(MAX_RECEIVES):
            if self._socket is None or self._connecting:
                break
            try:
                raw = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                self._fail(error.strerror or str(error))
                break
            if not raw:
                self._fail("closed by the other side")
                break
            received += raw
        return bytes(received)

    def was_lost(self) -> bool:
        """True once after an established connection was lost."""
        lost, self._lost = self._lost, False
        return lost

    def write(self, raw: bytes) -> None:
        """Bytes to send, in order."""
        self._pending += raw

    def flush(self) -> None:
        """Send what can be sent now."""
        while self._pending and self._socket is not None and not self._connecting:
            try:
                sent = self._socket.send(self._pending)
            except BlockingIOError:
                self._want(selectors.EVENT_READ | selectors.EVENT_WRITE)
                return
            except OSError as error:
                self._fail(error.strerror or str(error))
                return
            del self._pending[:sent]
        if self._socket is not None and not self._connecting:
            self._want(selectors.EVENT_READ)
            if self._closing:
                self.close()

    def _want(self, events: int) -> None:
        if self._socket is not None and self._selector.get_key(self._socket).events != events:
            self._selector.modify(self._socket, events, None)

    def close_when_written(self) -> None:
        """Close as soon as nothing waits to be written."""
        self._closing = self._socket is not None and not self._connecting

    def _fail(self, why: str) -> None:
        self._lost = not self._connecting
        self.close()
        self.why = why

    def close(self) -> None:
        """Close the socket, if there is one; what was not written is gone."""
        if self._socket is not None:
            self._forget(self._socket)
            self._socket.close()
        self._socket = None
        self._pending.clear()

    def _forget(self, sock: Any) -> None:
        try:
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            return
