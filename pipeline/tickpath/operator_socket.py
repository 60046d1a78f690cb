"""The operator's socket: a line in, a line of JSON out, for whoever may open the file.

The socket is a file that only its owner can open, or a group too; who speaks is the user of the
peer process, as the kernel says.  A line that cannot be done is answered with ``{"error": ...}``.
Connections, bytes of a line and bytes of answers that wait to be read are bounded; whoever goes
beyond is cut off and counted, and nobody is read from while an answer waits for him.
"""

import contextlib
import grp
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
MAX_LINE = 1 << 16
MAX_ANSWERS = 1 << 24
MAX_LINES = 64
"""Lines of one connection that are answered in a round."""
TIMEOUT_S = 10.0
_PEER = struct.Struct("3i")

Run = Callable[[str, str, int], dict[str, Any]]
"""(line, user, now_ns) -> answer."""


class _Peer:
    """A connection: what came and is no whole line, and what was not written yet."""

    def __init__(self, sock: socket.socket, who: str) -> None:
        self.sock, self.who = sock, who
        self.lines = bytearray()
        self.answers = bytearray()


class OperatorSocket:
    """The listening socket and its connections, on the selector of a loop.

    The loop calls ``key.data(now_ns)`` of what is ready, whose result means nothing (an empty
    list).  ``run`` may raise an ``error``, whose text is the answer then.
    """

    def __init__(
        self,
        path: str,
        selector: selectors.BaseSelector,
        run: Run,
        whom: str,
        error: type[Exception],
        group: str | None = None,
    ) -> None:
        """``whom`` is what listens, for messages; members of ``group`` may open the file too.

        Raises `ConfigError` where the file cannot be listened to.
        """
        self.path = path
        self.counters: Counter[str] = Counter()
        self._run, self._error, self._selector = run, error, selector
        self._peers: set[_Peer] = set()
        self._socket = _listening(path, whom, group)
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
            sock, _ = self._socket.accept()
        except OSError:
            self.counters["accepts_failed"] += 1
            return []
        if len(self._peers) >= MAX_CONNECTIONS:
            self.counters["connections_refused"] += 1
            sock.close()
            return []
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        sock.setblocking(False)
        peer = _Peer(sock, _user(_PEER.unpack(raw)[1]))
        self._peers.add(peer)
        self._selector.register(sock, selectors.EVENT_READ, lambda now: self._serve(peer, now))
        return []

    def _serve(self, peer: _Peer, now_ns: int) -> list:
        if peer not in self._peers:
            return []
        if peer.answers:
            self._write(peer)
        elif b"\n" in peer.lines or self._read(peer):
            self._answer_lines(peer, now_ns)
        return []

    def _read(self, peer: _Peer) -> bool:
        try:
            raw = peer.sock.recv(MAX_LINE)
        except BlockingIOError:
            return False
        except OSError:
            raw = b""
        peer.lines += raw
        is_too_long = len(peer.lines) > MAX_LINE and b"\n" not in peer.lines
        if raw and not is_too_long:
            return True
        self.counters["lines_too_long"] += is_too_long
        self._drop(peer)
        return False

    def _answer_lines(self, peer: _Peer, now_ns: int) -> None:
        for _ in range(MAX_LINES):
            end = peer.lines.find(b"\n")
            if end < 0 or len(peer.answers) > MAX_ANSWERS:
                break
            line = bytes(peer.lines[:end]).decode("utf-8", "replace")
            del peer.lines[: end + 1]
            self.counters["commands"] += 1
            try:
                answer = self._run(line, peer.who, now_ns)
            except self._error as error:
                answer = {"error": str(error)}
            peer.answers += json.dumps(answer).encode() + b"\n"
        self._write(peer)

    def _write(self, peer: _Peer) -> None:
        try:
            while peer.answers:
                del peer.answers[: peer.sock.send(peer.answers)]
        except BlockingIOError:
            if len(peer.answers) > MAX_ANSWERS:
                self.counters["answers_not_read"] += 1
                self._drop(peer)
                return
        except OSError:  # gone
            self.counters["answers_not_read"] += 1
            self._drop(peer)
            return
        key = self._selector.get_key(peer.sock)
        # Whole lines that came and were more than a round's wait for the next time it can write.
        is_busy = bool(peer.answers) or b"\n" in peer.lines
        events = selectors.EVENT_WRITE if is_busy else selectors.EVENT_READ
        if key.events != events:
            self._selector.modify(peer.sock, events, key.data)

    def _drop(self, peer: _Peer) -> None:
        self._peers.discard(peer)
        self._selector.unregister(peer.sock)
        peer.sock.close()


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise OSError(0, f"there is no group {name}") from None


def _listening(path: str, whom: str, group: str | None) -> socket.socket:
    """A socket at ``path`` for its owner and a group; one that nobody listens to is replaced."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(path) == 0:
                    raise OSError(0, f"another {whom} listens there")
            os.unlink(path)
        before = os.umask(0o177)
        try:
            listening.bind(path)
        finally:
            os.umask(before)
        if group is not None:
            os.chown(path, -1, _group(group))
            os.chmod(path, 0o660)
        listening.listen(MAX_CONNECTIONS)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        why = error.strerror or error
        raise ConfigError(f"control: {path}: cannot be listened to: {why}") from None
    return listening


def ask(path: str, line: str, whom: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """The answer of the process that listens at ``path``, a ``whom``.

    Raises `ConfigError` where there is none, or nothing more of it came within ``timeout_s``.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
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
            why = error.strerror or error
            raise ConfigError(f"control: {path}: no {whom} answers: {why}") from None
    return json.loads(raw)
