"""The operator's socket: who may speak, how much, and what becomes of those who do not read."""

import contextlib
import json
import os
import pwd
import selectors
import socket
import stat
import threading

import pytest

from tickpath import operator_socket
from tickpath.config import ConfigError
from tickpath.operator_socket import MAX_CONNECTIONS, MAX_LINE, OperatorSocket, ask


class RefusedError(ValueError):
    pass


class Desk:
    """A loop with an operator's socket."""

    def __init__(self, path: str) -> None:
        self.selector = selectors.DefaultSelector()
        self.socket = OperatorSocket(path, self.selector, self.run, "desk", RefusedError)
        self.lines: list[tuple[str, str]] = []

    def run(self, line: str, who: str, now_ns: int) -> dict:
        self.lines.append((line, who))
        if line == "refuse":
            raise RefusedError("not today")
        return {"said": line * 200_000 if line == "much" else line, "now": now_ns}

    def move(self, rounds: int = 5) -> None:
        for _ in range(rounds):
            for key, _ in self.selector.select(0.01):
                key.data(7)

    def close(self) -> None:
        self.socket.close()
        self.selector.close()


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "control.sock")


@pytest.fixture
def desk(path):
    made = Desk(path)
    yield made
    made.close()
    assert not os.path.exists(path)


def connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    sock.setblocking(False)
    return sock


def read(desk: Desk, sock: socket.socket, until: bytes = b"\n") -> bytes:
    raw = b""
    for _ in range(1_000):
        desk.move(1)
        with contextlib.suppress(BlockingIOError):
            chunk = sock.recv(1 << 16)
            raw += chunk
            if not chunk:
                break
        if raw.endswith(until):
            break
    return raw


def test_lines_and_answers(desk, path):
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    sock = connected(path)
    sock.sendall(b"one\ntw")
    assert json.loads(read(desk, sock)) == {"said": "one", "now": 7}
    sock.sendall(b"o\nrefuse\n")
    first, second = read(desk, sock, b'today"}\n').splitlines()
    assert json.loads(first)["said"] == "two" and json.loads(second) == {"error": "not today"}
    me = pwd.getpwuid(os.getuid()).pw_name
    assert desk.lines == [("one", me), ("two", me), ("refuse", me)]
    assert desk.socket.counters["commands"] == 3


def test_a_long_answer_waits_for_its_reader(desk, path):
    sock = connected(path)
    sock.sendall(b"much\nafter\n")
    raw = read(desk, sock, b'"after", "now": 7}\n')
    assert [len(line) > 800_000 for line in raw.splitlines()] == [True, False]


def test_who_reads_nothing_is_cut_off(desk, path, monkeypatch):
    monkeypatch.setattr(operator_socket, "MAX_ANSWERS", 1 << 20)
    sock = connected(path)
    sock.sendall(b"much\nmuch\nmuch\nmuch\n")
    desk.move(20)
    assert desk.socket.counters["answers_not_read"] == 1
    other = connected(path)
    other.sendall(b"still here\n")
    assert json.loads(read(desk, other))["said"] == "still here"


def test_nobody_is_read_from_while_an_answer_waits_for_him(desk, path):
    sock = connected(path)
    sock.sendall(b"much\n")
    desk.move()
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            sock.send(b"more\n" * 10_000)
        desk.move(1)
    assert len(desk.lines) == 1


def test_lines_that_are_too_long(desk, path):
    sock = connected(path)
    sock.sendall(b"x" * (MAX_LINE + 1))
    assert read(desk, sock) == b""
    assert desk.socket.counters["lines_too_long"] == 1 and desk.lines == []


def test_bytes_that_are_no_text(desk, path):
    sock = connected(path)
    sock.sendall(b"\xff\xfe\x00\n")
    assert json.loads(read(desk, sock))["said"] == "\ufffd\ufffd\x00"


def test_connections_are_bounded(desk, path):
    socks = [connected(path) for _ in range(MAX_CONNECTIONS)]
    desk.move(MAX_CONNECTIONS + 2)
    one_more = connected(path)
    assert read(desk, one_more) == b"" and desk.socket.counters["connections_refused"] == 1
    socks[0].close()
    desk.move()
    again = connected(path)
    again.sendall(b"hello\n")
    assert json.loads(read(desk, again))["said"] == "hello"


def test_a_dead_socket_is_replaced_and_a_live_one_is_not(desk, path, tmp_path):
    with pytest.raises(ConfigError, match="cannot be listened to: another desk listens there"):
        Desk(path)
    dead = str(tmp_path / "dead.sock")
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(dead)
    left.close()
    other = Desk(dead)
    other.close()


@pytest.mark.parametrize("name", ["no/such/control.sock", "x" * 200])
def test_where_nobody_can_listen(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be listened to"):
        Desk(str(tmp_path / name))


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match="cannot be listened to"):
        Desk(str(path))
    assert path.read_text() == "data"


def test_ask(desk, path):
    answers: list[dict] = []
    asking = threading.Thread(target=lambda: answers.append(ask(path, "two\nlines", "desk")))
    asking.start()
    while asking.is_alive():
        desk.move(1)
    assert answers == [{"said": "two lines", "now": 7}]


def test_nobody_answers(tmp_path):
    with pytest.raises(ConfigError, match="no desk answers: No such file"):
        ask(str(tmp_path / "none"), "status", "desk")
