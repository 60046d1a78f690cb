"""RESP, the protocol of Redis 2 and later, as far as a command and its answer take it.

Our own: it is a page, a package would be the only dependency of its kind, and none of them bounds a
call, reconnects included, by one deadline.
"""

import socket
import time
from typing import Any

from tickpath.failover.lease import LeaseError

MAX_ANSWER = 1 << 20
MAX_DEPTH = 4
_CRLF = b"\r\n"


class RespError(ValueError):
    """Bytes that are no RESP, or an answer that is an error of the server's."""


def command(*words: bytes | str | int) -> bytes:
    """A command as it is sent."""
    raw = [each if isinstance(each, bytes) else str(each).encode() for each in words]
    parts = [b"*%d" % len(raw)]
    for each in raw:
        parts += [b"$%d" % len(each), each]
    return _CRLF.join(parts) + _CRLF


def answer(stream: bytes, at: int = 0, depth: int = 0) -> tuple[Any, int] | None:
    """(value, where the next one begins); None where it is not whole yet.

    A value is bytes, an integer, None, a list of values, or a `RespError` as an object: an error
    inside a list is one of its values.  Raises `RespError` for what is no RESP.
    """
    end = stream.find(_CRLF, at)
    if end < 0:
        return None
    kind, line = stream[at : at + 1], stream[at + 1 : end]
    after = end + len(_CRLF)
    if kind == b"+":
        return line, after
    if kind == b"-":
        return RespError(line.decode("utf-8", "replace")), after
    if kind not in (b":", b"$", b"*") or not line.lstrip(b"-").isdigit():
        raise RespError(f"no RESP: {stream[at : at + 32]!r}")
    number = int(line)
    if kind == b":":
        return number, after
    if number < 0:
        return None, after
    if number > MAX_ANSWER or depth > MAX_DEPTH:
        raise RespError(f"an answer of {number} is too much")
    if kind == b"$":
        whole = after + number + len(_CRLF)
        return (stream[after : after + number], whole) if len(stream) >= whole else None
    values = []
    for _ in range(number):
        read = answer(stream, after, depth + 1)
        if read is None:
            return None
        value, after = read
        values.append(value)
    return values, after


class RespConnection:
    """A connection that is made when it is needed and again when it broke."""

    def __init__(self, address: tuple[str, int], opening: tuple[tuple[str, ...], ...] = ()):
        """``opening`` are the commands that every connection begins with."""
        self.address = address
        self._opening = opening
        self._socket: socket.socket | None = None
        self._deadline = 0.0
        self._timeout_s = 0.0

    def begin(self, timeout_s: float) -> None:
        """A call begins: all commands from now on share this time."""
        self._timeout_s, self._deadline = timeout_s, time.monotonic() + timeout_s

    def ask(self, *words: bytes | str | int) -> Any:
        """The answer to a command.

        Raises `RespError` for the server's errors, `LeaseError` where it does not answer in time;
        the command may have been carried out then.
        """
        try:
            self._connect()
            return self._once(words)
        except (OSError, EOFError) as error:
            self.close()
            host, port = self.address
            raise LeaseError(
                f"{host}:{port}: no answer within {self._timeout_s * 1e3:g} ms: "
                f"{error or type(error).__name__}"
            ) from None

    def close(self) -> None:
        """Close the connection; the next command makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        if self._socket is not None and self._is_stale(self._socket):
            self.close()
        if self._socket is not None:
            return
        self._socket = socket.create_connection(self.address, self._left())
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for each in self._opening:
                self._once(each)
        except RespError:
            self.close()
            raise

    def _is_stale(self, kept: socket.socket) -> bool:
        """Whether the server has closed it, or sent what nobody asked for."""
        kept.settimeout(0)
        try:
            kept.recv(1)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _once(self, words: tuple[bytes | str | int, ...]) -> Any:
        assert self._socket is not None
        self._socket.settimeout(self._left())
        self._socket.sendall(command(*words))
        stream = b""
        while (read := self._answer(stream)) is None:
            self._socket.settimeout(self._left())
            more = self._socket.recv(1 << 16)
            if not more or len(stream) > MAX_ANSWER:
                raise EOFError("the server closed the connection" if not more else "too long")
            stream += more
        if isinstance(read[0], RespError):
            raise read[0]
        return read[0]

    def _answer(self, stream: bytes) -> tuple[Any, int] | None:
        """`answer`; after what is no RESP nobody knows where the next one begins."""
        try:
            return answer(stream)
        except RespError as error:
            raise EOFError(str(error)) from None

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left
