"""The operator's socket: a line in, a line of JSON out, for whoever may open the file.

The socket is a file that only its owner can open; who speaks is the user of the peer process, as
the kernel says.  Connections, bytes of a line and waiting bytes of answers are bounded; whoever
goes beyond is cut off and counted.
"""

import contextlib
import json
import os
import pwd
import selectors
import socket
import stat
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

from tickpath.config import ConfigError

MAX_CONNECTIONS = 16
MAX_LINE = 1 << 12
MAX_ANSWER = 1 << 24
TIMEOUT_S = 10.0
_PEER = struct.Struct("3i")

Run = Callable[[str, str], dict[str, Any]]
"""(line, user) -> answer."""


class OperatorSocket:
    """The listening socket and its connections.  Raises `ConfigError`."""

    def __init__(self, path: str, selector: selectors.BaseSelector, run: Run) -> None:
        self.path = path
        self.counters: Counter[str] = Counter()
        self._run = run
        self._selector = selector
        self._peers: dict[socket.socket, tuple[str, bytearray]] = {}
        self._socket = _listening(path)
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Close everything and remove the file."""
        for peer in list(self._peers):
            self._drop(peer)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def _accept(self, now_ns: int) -> None:
        try:
            peer, _ = self._socket.accept()
        except OSError:
            return
        if len(self._peers) >= MAX_CONNECTIONS:
            self.counters["connections_refused"] += 1
            peer.close()
            return
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        peer.setblocking(False)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_ANSWER)
        self._peers[peer] = _user(_PEER.unpack(raw)[1]), bytearray()
        self._selector.register(peer, selectors.EVENT_READ, lambda now: self._read(peer))

    def _read(self, peer: socket.socket) -> None:
        if peer not in self._peers:
            return
        who, line = self._peers[peer]
        try:
            raw = peer.recv(MAX_LINE)
        except BlockingIOError:
            return
        except OSError:
            raw = b""
        line += raw
        if not raw or (len(line) > MAX_LINE and b"\n" not in line):
            self.counters["lines_too_long"] += bool(raw)
            self._drop(peer)
            return
        while (end := line.find(b"\n")) >= 0:
            text = bytes(line[:end]).decode("utf-8", "replace")
            del line[: end + 1]
            if not self._answer(peer, self._run(text, who)):
                return

    def _answer(self, peer: socket.socket, answer: dict[str, Any]) -> bool:
        self.counters["commands"] += 1
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


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _listening(path: str) -> socket.socket:
    """A socket at ``path`` for its owner only; one that nobody listens to any more is replaced."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(path) == 0:
                    raise OSError(0, "another process listens there")
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
        raise ConfigError(f"{path}: cannot be listened to: {error.strerror or error}") from None
    return listening


def ask(path: str, line: str) -> dict[str, Any]:
    """The answer of the process that listens at ``path``.  Raises `ConfigError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT_S)
        try:
            sock.connect(path)
            sock.sendall(line.replace("\n", " ").encode() + b"\n")
            raw = bytearray()
            while not raw.endswith(b"\n"):
                chunk = sock.recv(1 << 16)
                if not chunk:
                    raise OSError(0, "closed without an answer")
                raw += chunk
        except OSError as error:
            raise ConfigError(f"{path}: nobody answers: {error.strerror or error}") from None
    return json.loads(raw)
