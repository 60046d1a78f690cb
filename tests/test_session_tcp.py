"""Sessions on real sockets: the loopback, port 0, one thread; no outcome depends on the time."""

import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from test_session_ouch import NAME, Exchange, Words
from test_session_soup import PASSWORD, SECOND
from tickpath.session import tcp_stream
from tickpath.session.error import SessionError
from tickpath.session.log import SessionLog
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import (
    ConnectWanted,
    End,
    Ended,
    LineLost,
    Ready,
    SessionState,
)
from tickpath.session.ouch_message import DIALECTS, Kind
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.soup import (
    Closed,
    Limits,
    LoggedIn,
    LoginLimits,
    Reason,
    Secret,
    Sequenced,
    Unsequenced,
)
from tickpath.session.store import Journal
from tickpath.session.tcp import Listener, OrderLine, resolve, unix_epoch_ns
from tickpath.wire.soupbintcp import packet

LOOPBACK = "127.0.0.1"
PATIENCE_S = 20.0
"""How long a test waits for what must come; nothing is decided by it but a failure."""


class Clock:
    """The system's clock, and what the test adds to it."""

    def __init__(self):
        self.ahead_ns = 0

    def __call__(self) -> int:
        return time.monotonic_ns() + self.ahead_ns


class Venue:
    """The exchange of the other tests behind a listening socket."""

    def __init__(self, clock: Clock, words: Words, published=(), port: int = 0, **options):
        self.clock = clock
        self.exchange = Exchange(words, published)
        self.exchange.acceptor.limits = options.pop("limits", Limits())
        self.exchange.acceptor.login_limits = options.pop("login_limits", LoginLimits())
        self.listener = Listener((LOOPBACK, port), self.exchange.acceptor, clock=clock, **options)
        self.told = []

    def poll(self) -> None:
        for server, event in self.listener.poll(0):
            self.told.append(event)
            if isinstance(event, Unsequenced):
                self.exchange.server = server
                self.exchange.take(event.payload, self.clock())
        self.listener.flush()


class Floor:
    """A venue and a line to it, polled in turns."""

    def __init__(self, tmp_path, protocol="ouch50", *, line=None, settings=None, **options):
        self.clock = Clock()
        self.words = Words(protocol)
        self.venue: Venue | None = Venue(self.clock, self.words, **options)
        self.address = self.venue.listener.address
        self.journal = Journal(tmp_path / "j", protocol=protocol, fsync="none")
        self.session = OrderSession(
            self.journal,
            "user",
            Secret(PASSWORD),
            now_ns=self.clock(),
            settings=settings or OrderSettings(reconnect_first_ns=1_000_000),
        )
        self.line = OrderLine(self.session, self.address, clock=self.clock, **(line or {}))
        self.told = []

    def until(self, is_done: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not is_done():
            if self.venue is not None:
                self.venue.poll()
            self.told += self.line.poll(0.001)
            assert time.monotonic() < end, f"{self.session.state}: {self.told[-5:]}"

    def until_ready(self) -> None:
        self.until(lambda: self.session.state is SessionState.READY)

    def send(self, *messages: bytes) -> None:
        self.told += self.line.send(messages)

    def close(self) -> None:
        self.line.close()
        self.journal.close()
        if self.venue is not None:
            self.venue.listener.close()


@pytest.fixture
def floor(tmp_path):
    made = []

    def make(*arguments, **options) -> Floor:
        made.append(Floor(tmp_path, *arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


# ---------------------------------------------------------------- the plain way


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_orders_and_answers(floor, protocol):
    desk = floor(protocol)
    desk.until_ready()
    words = desk.words
    desk.send(*[words.enter(n) for n in range(1, 51)])
    desk.send(*[words.cancel(n) for n in range(1, 41)])
    desk.until(lambda: len(desk.session.port.orders) == 10)
    assert desk.venue.exchange.live.keys() == {words.key(n) for n in range(41, 51)}
    assert isinstance(desk.told[0], ConnectWanted)
    desk.told += desk.session.logout(desk.clock())
    desk.until(lambda: desk.session.ended)
    assert desk.told[-1] == Ended(End.LOGOUT)
    assert desk.venue.told[-1] == Closed(Reason.LOGOUT)
    assert not desk.line.is_connected and desk.line.poll(0) == []


def test_many_messages_each_way_with_small_buffers(floor):
    """More than the system's buffers hold, so that writes are cut and waited for."""
    desk = floor(settings=OrderSettings(messages_per_second=10**9, message_burst=10**6))
    desk.until_ready()
    desk.line._stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    words = desk.words
    count = 4000
    for first in range(1, count, 500):
        desk.send(*[words.enter(n) for n in range(first, first + 500)])
    desk.until(lambda: len(desk.session.port.orders.leaves) == count)
    assert desk.venue.exchange.enters() == list(range(1, count + 1))
    assert [each.number for each in desk.journal.received()] == list(range(1, count + 2))


def test_nagle_is_off_on_both_sides(floor):
    desk = floor()
    desk.until_ready()
    (stream, _) = next(iter(desk.venue.listener._streams.values()))
    for sock in (desk.line._stream.sock, stream.sock):
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not sock.getblocking()


def test_both_logs(floor, tmp_path):
    dialect = DIALECTS["ouch50"]
    logs = [SessionLog(tmp_path / name, dialect=dialect) for name in ("desk.log", "venue.log")]
    desk = floor(line={"log": logs[0]}, log=logs[1])
    desk.until_ready()
    desk.send(desk.words.enter(1))
    desk.until(lambda: desk.session.port.orders.leaves)
    desk.told += desk.session.logout(desk.clock())
    desk.until(lambda: desk.session.ended)
    texts = [log.path.read_text() for log in logs]
    for text, login, end in (
        (texts[0], " > login_request username=user password=***", "closed: LOGOUT"),
        (texts[1], " < login_request username=user password=***", "closed: LOGOUT"),
    ):
        assert login in text and end in text and "order_accepted timestamp=0 user_ref_num=1" in text
        assert PASSWORD not in text


def test_epoch():
    clock = Clock()
    assert abs(unix_epoch_ns(clock) + clock() - time.time_ns()) < 5 * SECOND


# ---------------------------------------------------------------- connecting


def test_refused_connections_and_a_venue_that_comes_up_later(floor):
    desk = floor()
    desk.venue.listener.close()
    desk.venue = None
    desk.until(lambda: len([e for e in desk.told if isinstance(e, LineLost)]) >= 3)
    lost = next(event for event in desk.told if isinstance(event, LineLost))
    assert lost.detail == f"{LOOPBACK}:{desk.address[1]}: Connection refused"
    desk.venue = Venue(desk.clock, desk.words, port=desk.address[1])
    desk.until_ready()


def test_connection_that_is_not_answered(floor):
    """A listening socket whose queue is full drops what knocks."""
    full = socket.socket()
    full.bind((LOOPBACK, 0))
    full.listen(0)
    held = [socket.socket() for _ in range(3)]
    for each in held:
        each.setblocking(False)
        each.connect_ex(full.getsockname())
    desk = floor(line={"connect_timeout_ns": 3 * SECOND})
    desk.line.address = full.getsockname()
    desk.until(lambda: any(isinstance(event, ConnectWanted) for event in desk.told))
    desk.told += desk.line.poll(0)
    assert not desk.line.is_connected
    desk.clock.ahead_ns += 3 * SECOND
    desk.told += desk.line.poll(0)
    lost = next(event for event in reversed(desk.told) if isinstance(event, LineLost))
    assert lost.detail.endswith("no answer within 3000 ms")
    for each in (*held, full):
        each.close()


def test_names_are_resolved():
    assert resolve("127.0.0.1", 4001) == ("127.0.0.1", 4001)
    assert resolve("localhost", 1)[0].startswith("127.")
    for name in ("no.such.host.invalid", "x" * 300):
        with pytest.raises(SessionError, match="no IPv4 address"):
            resolve(name, 1)


def test_address_that_cannot_be_listened_to(floor):
    desk = floor()
    with pytest.raises(SessionError, match="cannot be listened to: Address already in use"):
        Listener(desk.address, desk.venue.exchange.acceptor)


# ---------------------------------------------------------------- lost lines


def test_venue_that_goes_and_comes_back(floor):
    desk = floor()
    desk.until_ready()
    desk.send(desk.words.enter(1))
    desk.until(lambda: desk.session.port.orders.leaves)
    session = desk.venue.exchange.session
    published = [session.message(n) for n in range(1, session.next_sequence)]
    desk.venue.listener.close()
    desk.venue = Venue(desk.clock, desk.words, published, port=desk.address[1])
    desk.until(lambda: len([e for e in desk.told if isinstance(e, Ready)]) == 2)
    assert desk.session.port.orders.leaves == {1: 100}
    numbers = [event.sequence for event in desk.told if isinstance(event, Sequenced)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_connection_that_is_reset(floor):
    desk = floor()
    desk.until_ready()
    (stream, _) = next(iter(desk.venue.listener._streams.values()))
    stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    desk.venue.listener._drop(*next((k, v[0]) for k, v in desk.venue.listener._streams.items()))
    desk.until(lambda: any(isinstance(event, LineLost) for event in desk.told))
    desk.until_ready()


def test_newer_login_closes_the_older_socket(floor, tmp_path):
    desk = floor()
    desk.until_ready()
    with Journal(tmp_path / "k", protocol="ouch50", fsync="none") as journal:
        other = OrderSession(journal, "user", Secret(PASSWORD), now_ns=desk.clock())
        line = OrderLine(other, desk.address, clock=desk.clock)
        # The desk does not reconnect here: two such sessions would take turns for ever.
        desk.session._backoff.attempts = 1
        desk.until(lambda: line.poll(0) is None or other.state is SessionState.READY)
        desk.until(lambda: desk.session.ended)
        assert desk.session.ended.end is End.ATTEMPTS
        assert Closed(Reason.TAKEN_OVER, LOOPBACK) in desk.venue.told
        line.close()


# ---------------------------------------------------------------- hostile peers


class Peer:
    """A raw socket to the venue."""

    def __init__(self, desk: Floor):
        self.desk = desk
        self.sock = socket.create_connection(desk.address)
        self.sock.settimeout(PATIENCE_S)

    def send(self, raw: bytes) -> None:
        self.sock.sendall(raw)

    def until_closed(self) -> bytes:
        """What came until the venue closed the connection."""
        self.sock.setblocking(False)
        received, end = b"", time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.desk.venue.poll()
            try:
                got = self.sock.recv(65536)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return received
            if not got:
                return received
            received += got
        raise AssertionError("the venue did not close the connection")


def login(username="user", password=PASSWORD, **values) -> bytes:
    values = {"requested_sequence_number": 1, **values}
    return packet("login_request", username=username, password=password, **values)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", Reason.UNKNOWN_PACKET),
        (b"\xff\xffU" + bytes(100), Reason.OVERSIZED_PACKET),
        (packet("unsequenced_data", message=b"x"), Reason.UNEXPECTED_PACKET),
        (login(password="wrong"), Reason.NOT_AUTHORIZED),
        (login(requested_session="DAY9"), Reason.SESSION_NOT_AVAILABLE),
        (login(requested_sequence_number=99), Reason.SEQUENCE_NOT_AVAILABLE),
        (login() + login(), Reason.UNEXPECTED_PACKET),
        (login() + b"\x00\x00\x00", Reason.UNKNOWN_PACKET),
    ],
)
def test_misdeed_ends_its_connection_and_no_other(floor, raw, reason):
    desk = floor()
    desk.until_ready()
    peer = Peer(desk)
    peer.send(raw)
    peer.until_closed()
    reasons = [event.reason for event in desk.venue.told if isinstance(event, Closed)]
    assert set(reasons) - {Reason.TAKEN_OVER} == {reason}
    if Reason.TAKEN_OVER in reasons:
        desk.until(lambda: any(isinstance(event, LineLost) for event in desk.told))
    desk.until_ready()
    desk.send(desk.words.enter(desk.session.port.highest + 1))
    desk.until(lambda: desk.session.port.orders.leaves)
    peer.sock.close()


def test_login_flood(floor):
    limits = LoginLimits(logins_per_second=1, login_burst=8, max_wrong_passwords=3)
    desk = floor(login_limits=limits)
    desk.venue.exchange.acceptor._bucket = type(desk.venue.exchange.acceptor._bucket)(1, 8)
    desk.until_ready()
    reasons = []
    for _ in range(40):  # more than half a minute fills the bucket for
        peer = Peer(desk)
        peer.send(login(password="wrong"))
        answer = peer.until_closed()
        assert answer == packet("login_rejected", reject_reason_code="A")
        reasons.append([e for e in desk.venue.told if isinstance(e, Closed)][-1].reason)
        peer.sock.close()
    assert reasons[:4] == [Reason.NOT_AUTHORIZED] * 3 + [Reason.LOGIN_LOCKED]
    assert set(reasons[4:]) == {Reason.LOGIN_LOCKED, Reason.LOGIN_FLOOD}
    desk.send(desk.words.enter(1))
    desk.until(lambda: desk.session.port.orders.leaves)


def test_more_connections_than_are_taken(floor):
    desk = floor(login_limits=LoginLimits(max_connections=3))
    desk.until_ready()
    peers = [Peer(desk) for _ in range(2)]
    desk.until(lambda: len(desk.venue.exchange.acceptor.connections) == 3)
    late = [Peer(desk) for _ in range(5)]
    for peer in late:
        assert peer.until_closed() == b""
    assert desk.venue.listener.counters.refused == 5
    # Those who never say anything make room when their time is over.
    desk.clock.ahead_ns += 11 * SECOND
    for peer in peers:
        peer.until_closed()
    assert desk.venue.told.count(Closed(Reason.LOGIN_TIMEOUT)) == 2
    for peer in (*peers, *late):
        peer.sock.close()


def test_slow_reader(floor):
    """A client that logs in and never reads: the venue gives it up, its memory stays bounded."""
    desk = floor(limits=Limits(max_output=1 << 16))
    peer = Peer(desk)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.send(login())
    venue = desk.venue
    end = time.monotonic() + PATIENCE_S
    while not any(isinstance(event, LoggedIn) for event in venue.told):
        venue.poll()
        assert time.monotonic() < end
    server = venue.exchange.session.connection
    published = 0
    while server.closed is None:
        for _ in range(100):
            venue.exchange.session.publish(bytes(1000), venue.clock())
        published += 100
        venue.poll()
        assert published < 100_000
    assert server.closed.reason is Reason.SLOW_READER
    venue.poll()
    assert not venue.listener._streams
    peer.sock.close()


# ---------------------------------------------------------------- busy poll


class Socket:
    """A socket option that the system refuses, ignores or takes."""

    def __init__(self, error: OSError | None = None, value: int | None = None):
        self.error, self.value = error, value

    def setsockopt(self, level, name, value):
        if self.error is not None:
            raise self.error
        self.taken = value

    def getsockopt(self, level, name):
        return self.taken if self.value is None else self.value


def test_busy_poll_says_what_the_system_did():
    assert tcp_stream.set_busy_poll(Socket(), 50) is None
    assert "took another value" in tcp_stream.set_busy_poll(Socket(value=0), 50)
    refused = tcp_stream.set_busy_poll(Socket(PermissionError(1, "no")), 50)
    assert refused.endswith("run: sysctl -w net.core.busy_read=50")
    unknown = tcp_stream.set_busy_poll(Socket(OSError(92, "Protocol not available")), 50)
    assert unknown == "busy poll is off: Protocol not available"


def test_line_without_busy_poll_works_and_says_so_once(floor, monkeypatch):
    monkeypatch.setattr(tcp_stream, "SO_BUSY_POLL", 9999)
    desk = floor(line={"busy_poll_us": 50})
    for _ in range(2):
        desk.until_ready()
        desk.session.client.close(desk.clock())
        desk.session._lost(Reason.DISCONNECTED, "")
    assert desk.line.findings == ["busy poll is off: Protocol not available"]


# ---------------------------------------------------------------- kill -9

TRADER = """
import sys, time
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import Ready, SessionState
from tickpath.session.ouch_message import DIALECTS
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.soup import Secret
from tickpath.session.store import Journal
from tickpath.session.tcp import OrderLine

path, port = sys.argv[1], int(sys.argv[2])
end = time.monotonic() + 60
while True:
    try:
        journal = Journal(path, protocol="ouch50", fsync="none")
        break
    except Exception:
        assert time.monotonic() < end
settings = OrderSettings(messages_per_second=10**6, message_burst=1000)
session = OrderSession(journal, "user", Secret("s3cret"), now_ns=time.monotonic_ns(),
                       settings=settings)
line = OrderLine(session, ("127.0.0.1", port))
enter = DIALECTS["ouch50"].inbound["enter_order"]
number = 0
while session.ended is None and time.monotonic() < end:
    for event in line.poll(0.001):
        if isinstance(event, Ready):
            number = event.next_user_ref_num
            print("ready", flush=True)
    if session.state is SessionState.READY and len(session.port.orders.unanswered) < 50:
        burst = [enter.encode(user_ref_num=n, quantity=1) for n in range(number, number + 7)]
        number += 7
        line.send(burst)
"""


def test_killed_trader_sends_no_order_twice_and_loses_no_message(floor, tmp_path):
    desk = floor()
    desk.journal.close()
    exchange = desk.venue.exchange
    generator = random.Random(5)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "pipeline")}
    arguments = [sys.executable, "-c", TRADER, str(tmp_path / "j"), str(desk.address[1])]
    for _ in range(5):
        trader = subprocess.Popen(arguments, env=environment)
        begun = exchange.session.next_sequence
        wanted = begun + generator.randint(1, 400)
        end = time.monotonic() + 60
        while exchange.session.next_sequence < wanted:
            desk.venue.poll()
            assert time.monotonic() < end and trader.poll() is None
        trader.send_signal(signal.SIGKILL)
        trader.wait()
    enters = exchange.enters()
    assert len(enters) == len(set(enters)) > 5
    with Journal(tmp_path / "j", protocol="ouch50", fsync="none") as journal:
        desk.session = OrderSession(journal, "user", Secret(PASSWORD), now_ns=desk.clock())
        desk.line = OrderLine(desk.session, desk.address, clock=desk.clock)
        desk.until_ready()
        session = exchange.session
        published = [session.message(n) for n in range(1, session.next_sequence)]
        assert [each.payload for each in journal.received()] == published
        assert set(desk.session.port.orders.leaves) == set(exchange.live)
        sent = [each.number for each in journal.sent() if each.number]
        enters = exchange.enters()  # what was still in the system's buffers is among them
        assert len(enters) == len(set(enters)) and len(sent) == len(set(sent))
        assert set(enters) <= set(sent)
        assert set(sent) - set(enters) <= set(desk.session.port.settled)
        assert [kind for kind, _ in exchange.seen].count(Kind.QUERY) >= 6
    assert exchange.session.name == NAME
