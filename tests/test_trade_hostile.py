"""Somebody hostile where the exchange should be: a reason, bounded memory, the market goes on.

The feed is a real venue's; the order port is a socket that does what it likes.
"""

import contextlib
import random
import resource
import socket
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tickpath.exchange.server import Server
from tickpath.session.ouch_event import End
from tickpath.trade.run import Trader
from tickpath.wire.ouch50 import OUCH50_OUTBOUND
from tickpath.wire.soupbintcp import SOUPBINTCP, packet
from trading import CREDENTIALS, QUICK, busy, exchange_config, free_udp_port, trade_config

PATIENCE_S = 20.0
MILLISECOND_NS = 1_000_000
LIMITS = {
    "timeout_ns": 300 * MILLISECOND_NS,
    "login_timeout_ns": 200 * MILLISECOND_NS,
    "heartbeat_ns": 50 * MILLISECOND_NS,
    "max_output": 1 << 15,
}
SESSION = QUICK | {"limits": LIMITS, "max_attempts": 4, "settle_timeout_ns": 300 * MILLISECOND_NS}


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


class Hostile:
    """Listens, and gives every connection to a script that is called in each round."""

    def __init__(self, script: Callable[["Peer"], None]) -> None:
        self.script = script
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(64)
        self.sock.setblocking(False)
        self.peers: list[Peer] = []

    def round(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.peers.append(Peer(self.sock.accept()[0]))
        for each in self.peers:
            with contextlib.suppress(OSError):
                self.script(each)

    def close(self) -> None:
        for sock in (self.sock, *(each.sock for each in self.peers)):
            sock.close()


class Peer:
    """A connection of the trader's."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self.rounds = 0
        self.is_greeted = False
        self.taken = b""
        self.sequence = 1

    def read(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            self.taken += self.sock.recv(1 << 16)
        return self.taken

    def send(self, raw: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            self.sock.send(raw)

    def say(self, payload: bytes) -> None:
        """A message of the session."""
        length = len(payload) + 1
        self.send(length.to_bytes(2, "big") + b"S" + payload)

    def greet(self, sequence_number: int | None = None) -> None:
        """Accept the login, and answer the account query: as a good exchange does."""
        if not self.is_greeted and self.read():
            self.is_greeted = True
            if sequence_number is None:
                asked = SOUPBINTCP["login_request"].decode(self.taken)
                sequence_number = asked["requested_sequence_number"] or 1
            self.send(packet("login_accepted", session="T1", sequence_number=sequence_number))
            answer = OUCH50_OUTBOUND["account_query_response"]
            self.say(answer.encode(timestamp=1, next_user_ref_num=1))


class World:
    def __init__(self, directory: Path, script: Callable[[Peer], None], server: Server) -> None:
        self.hostile, self.server = Hostile(script), server
        where = server.addresses() | {"ouch": list(self.hostile.sock.getsockname())}
        said = {
            "trade": {"session": SESSION, "drop_copy": None},
            "strategy": {"parameters": [1, 1]},
        }
        config = trade_config(where, directory, **said)
        self.trader = Trader(config, busy, clock=self.clock)
        self.is_started = False
        self.trader.start()
        self.is_started = True

    def clock(self) -> int:
        if not getattr(self, "is_started", False):
            self.server.round(0)
        return time.monotonic_ns()

    def round(self) -> None:
        self.server.round(0)
        self.hostile.round()
        self.trader.round(1_000_000)

    def until(self, done: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not done():
            self.round()
            assert time.monotonic() < end, self.trader.desk.notes

    def says(self, text: str) -> bool:
        return any(text in note for note in self.trader.desk.notes)

    def market_goes_on(self) -> None:
        """The feed is taken as before, and no book is stale."""
        engine = self.trader.engine
        before = engine.messages
        self.until(lambda: engine.messages > before + 50)
        assert engine.counters["books_stale"] == engine.counters["gaps"] == 0


@contextlib.contextmanager
def world(directory: Path, script: Callable[[Peer], None]) -> Iterator[World]:
    with Server(exchange_config(free_udp_port())) as server:
        server.open_day()
        made = World(directory, script, server)
        try:
            yield made
        finally:
            made.trader._stack.close()
            made.hostile.close()


def garbage_at_once(peer: Peer) -> None:
    peer.send(random.Random(peer.rounds).randbytes(100))
    peer.rounds += 1


def garbage_after_the_login(peer: Peer) -> None:
    peer.greet()
    if peer.is_greeted:
        peer.send(b"\x00\x05?" + bytes(40))


def a_huge_length(peer: Peer) -> None:
    peer.greet()
    if peer.is_greeted:
        peer.send(b"\xff\xffS" + bytes(1_000))


def no_length(peer: Peer) -> None:
    peer.greet()
    if peer.is_greeted:
        peer.send(b"\x00\x00\x00")


def a_wrong_length(peer: Peer) -> None:
    peer.greet()
    if peer.is_greeted:
        peer.send(b"\x00\x09H" + bytes(8))


def half_open(peer: Peer) -> None:
    """It accepts the connection and says nothing, not even to the login."""


def silent_after_the_login(peer: Peer) -> None:
    peer.greet()


def byte_by_byte(peer: Peer) -> None:
    """The front of a packet for ever."""
    peer.send(b"\x00" if peer.rounds == 0 else b"\x30" if peer.rounds == 1 else b"")
    peer.rounds += 1


def closed_at_once(peer: Peer) -> None:
    peer.sock.close()


def another_sequence(peer: Peer) -> None:
    peer.greet(sequence_number=99)


def a_second_login(peer: Peer) -> None:
    peer.greet()
    if peer.is_greeted:
        peer.send(packet("login_accepted", session="T1", sequence_number=1))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (garbage_at_once, "a packet"),
        (garbage_after_the_login, "a packet type that the spec does not have"),
        (a_huge_length, "a packet longer than this side takes"),
        (no_length, "a packet type that the spec does not have"),
        (a_wrong_length, "a packet whose length or fields are not those of its type"),
        (half_open, "the login was not completed in time"),
        (byte_by_byte, "the login was not completed in time"),
        (silent_after_the_login, "the other side was silent for longer than the timeout"),
        (closed_at_once, "the transport reported the connection gone"),
        (a_second_login, "a packet that has no place in this state"),
    ],
)
def test_the_connection_ends_with_a_reason_and_the_market_goes_on(tmp_path, script, reason):
    with world(tmp_path, script) as w:
        w.until(lambda: w.says(reason))
        w.market_goes_on()
        w.until(lambda: w.trader.desk.ended is not None)
        assert w.trader.desk.ended.end is End.ATTEMPTS
        w.market_goes_on()


def test_another_sequence_than_asked_for_is_final(tmp_path):
    with world(tmp_path, another_sequence) as w:
        w.until(lambda: w.trader.desk.ended is not None)
        assert w.trader.desk.ended.end is End.OTHER_SESSION
        assert w.trader.failure is not None and "another day" in w.trader.failure
        w.market_goes_on()


def test_a_peer_that_does_not_read(tmp_path):
    def deaf(peer: Peer) -> None:
        """It logs us in, keeps the line alive, and takes nothing."""
        peer.greet()
        peer.rounds += 1
        if peer.is_greeted:
            peer.send(packet("server_heartbeat"))

    with world(tmp_path, deaf) as w:
        w.until(lambda: w.trader.desk.is_ready)
        # The system alone would take megabytes.
        stream = w.trader.line._stream
        stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 12)
        w.until(lambda: w.says("the other side does not read"))
        w.market_goes_on()
        assert w.trader.engine.counters["orders_sent"] > 100


def test_answers_without_sense(tmp_path):
    """Well-framed, and about nothing: unknown orders, wrong lengths, types that are none."""
    chance = random.Random(11)
    outbound = list(OUCH50_OUTBOUND.messages)

    def senseless(peer: Peer) -> None:
        peer.greet()
        peer.read()
        if not peer.is_greeted:
            return
        for _ in range(20):
            layout = chance.choice(outbound)
            size = layout.length + chance.choice((0, 0, 0, -1, 3))
            peer.say(layout.type.encode() + chance.randbytes(max(size - 1, 0)))
        peer.say(chance.randbytes(chance.randint(0, 60)))
        peer.say(
            OUCH50_OUTBOUND["order_executed"].encode(
                timestamp=1, user_ref_num=4_000_000, quantity=100, price=Decimal(1), match_number=1
            )
        )

    with world(tmp_path, senseless) as w:
        counters = w.trader.engine.counters
        w.until(lambda: w.trader.engine.counters["responses"] > 3_000)
        counters = w.trader.engine.counters
        assert counters["responses_unknown_order"] > 100
        assert counters["responses_wrong_length"] > 10
        assert counters["responses_unknown_type"] > 10
        w.market_goes_on()
        assert w.trader.desk.ended is None


def test_a_flood_of_answers_keeps_nobody_from_the_market(tmp_path):
    """Tens of megabytes: they go to the journal, and memory stays where it is."""
    flood = b"".join(
        (14).to_bytes(2, "big")
        + b"S"
        + OUCH50_OUTBOUND["cancel_reject"].encode(timestamp=1, user_ref_num=ref)
        for ref in range(1, 3_001)
    )

    def flooding(peer: Peer) -> None:
        peer.greet()
        peer.read()
        if peer.is_greeted:
            for _ in range(4):
                at = peer.rounds % len(flood)
                with contextlib.suppress(BlockingIOError):
                    peer.rounds += peer.sock.send(flood[at:])

    with world(tmp_path, flooding) as w:
        w.until(lambda: w.trader.engine.counters["responses"] > 20_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        w.until(lambda: w.trader.engine.counters["responses"] > 120_000)
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kib < 64 << 10, f"{grown_kib >> 10} MiB"
        w.market_goes_on()
