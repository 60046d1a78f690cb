"""The operator's socket: a line in, a line of JSON out, for whoever may open the file.

The socket is a file that only its owner can open.  A line is a command of `command`; an answer is
its JSON object, or ``{"error": ...}``.  Connections, the bytes of a line and the bytes of answers
that are not read are bounded, and whoever goes beyond is cut off and counted.
"""

import contextlib
import json
import os
import selectors
import socket
import stat
from collections import Counter
from collections.abc import Callable
from typing import Any

from tickpath.exchange.error import ExchangeError

MAX_CONNECTIONS = 16
MAX_LINE = 1 << 16
MAX_ANSWERS = 1 << 24
TIMEOUT_S = 10.0

Run = Callable[[str, int], dict[str, Any]]
"""(line, now_ns) -> answer; raises `ExchangeError`."""


class Control:
    """The listening socket and its connections."""

    def __init__(self, path: str, selector: selectors.BaseSelector, run: Run) -> None:
        self.counters: Counter[str] = Counter()
        self.path, self._run, self._selector = path, run, selector
        self._peers: dict[socket.socket, bytearray] = {}
        self._socket = _listening(path)
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Close everything and remove the file."""
        for peer in list(self._peers):
            self._drop(peer)
        self._selector.unregister(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def _accept(self, now_ns: int) -> list:
        try:
            peer, _ = self._socket.accept()
        except OSError:
            return []
        if len(self._peers) >= MAX_CONNECTIONS:
            self.counters["connections_refused"] += 1
            peer.close()
            return []
        # Answers are written at once: an operator who does not read waits for nobody but himself.
        peer.setblocking(False)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_ANSWERS)
        self._peers[peer] = bytearray()
        self._selector.register(peer, selectors.EVENT_READ, lambda now: self._read(peer, now))
        return []

    def _read(self, peer: socket.socket, now_ns: int) -> list:
        if peer not in self._peers:
            return []
        try:
            raw = peer.recv(MAX_LINE)
        except BlockingIOError:
            return []
        except OSError:
            raw = b""
        lines = self._peers[peer]
        lines += raw
        if not raw or (len(lines) > MAX_LINE and b"\n" not in lines):
            self.counters["lines_too_long"] += bool(raw)
            self._drop(peer)
            return []
        while (end := lines.find(b"\n")) >= 0:
            line = bytes(lines[:end]).decode("utf-8", "replace")
            del lines[: end + 1]
            if not self._answer(peer, line, now_ns):
                break
        return []

    def _answer(self, peer: socket.socket, line: str, now_ns: int) -> bool:
        self.counters["commands"] += 1
        try:
            answer = self._run(line, now_ns)
        except ExchangeError as error:
            answer = {"error": str(error)}
        raw = json.dumps(answer).encode() + b"\n"
        try:
            while raw:
                raw = raw[peer.send(raw) :]
        except OSError:  # it does not read, or is gone
            self.counters["answers_not_read"] += 1
            self._drop(peer)
            return False
        return True

    def _drop(self, peer: socket.socket) -> None:
        del self._peers[peer]
        self._selector.unregister(peer)
        peer.close()


def _listening(path: str) -> socket.socket:
    """A socket at ``path`` for its owner only; one that nobody listens to any more is replaced."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(path) == 0:
                    raise OSError(0, "another exchange listens there")
            os.unlink(path)
        before = os.umask(0o177)
        try:
            listening.bind(path)
        finally:
            os.umask(before)
        listening.listen(MAX_CONNECTIONS)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ExchangeError(
            f"control: {path}: cannot be listened to: {error.strerror or error}"
        ) from None
    return listening


def ask(path: str, line: str) -> dict[str, Any]:
    """The answer of the venue that listens at ``path``.  Raises `ExchangeError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT_S)
        try:
            sock.connect(path)
            sock.sendall(line.replace("\n", " ").encode() + b"\n")
            raw = bytearray()
            while not raw.endswith(b"\n"):
                chunk = sock.recv(MAX_LINE)
                if not chunk:
                    raise OSError(0, "it was closed without an answer")
                raw += chunk
        except OSError as error:
            raise ExchangeError(
                f"control: {path}: no exchange answers: {error.strerror or error}"
            ) from None
    return json.loads(raw)
