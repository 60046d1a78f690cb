"""The feed into the engine, with a publisher that loses, delays and answers as it is told."""

import socket
import time

import pytest

from itch_messages import message, mold
from tickpath.config import ConfigError
from tickpath.trade.config import Trade
from tickpath.trade.market import Market
from trading import engine_with, free_udp_port

ROUNDS = 2_000


class World:
    """A market whose messages are stock directories of symbol 1, by number."""

    def __init__(self, can_ask: bool = True, **trade) -> None:
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("127.0.0.1", 0))
        self.server.setblocking(False)
        self.where = ("127.0.0.1", free_udp_port())
        host, port = self.server.getsockname()
        config = Trade(
            feed="{}:{}".format(*self.where), requests=f"{host}:{port}" if can_ask else None,
            start_timeout_ms=200, gap_timeout_ms=100, **trade,
        )  # fmt: skip
        self.engine = engine_with(())
        self.base = self.engine.messages
        self.market = Market(self.engine, config, time.monotonic_ns)
        self.answers = True
        self.asked = 0

    def publish(self, first: int, count: int = 1) -> None:
        self.server.sendto(self.packet(first, count), self.where)

    def packet(self, first: int, count: int) -> bytes:
        return mold([message("R", 1, at, stock="AAA") for at in range(first, first + count)], first)

    def serve(self) -> None:
        """Answer requests."""
        try:
            while True:
                request, sender = self.server.recvfrom(100)
                self.asked += 1
                first, count = int.from_bytes(request[10:18], "big"), request[19]
                if self.answers:
                    self.server.sendto(self.packet(first, count), sender)
        except BlockingIOError:
            return

    def start(self) -> list[str]:
        said: list[str] = []

        def is_stopped() -> bool:
            self.serve()
            return False

        self.market.start(is_stopped, said.append)
        return said

    def until(self, messages: int) -> None:
        for _ in range(ROUNDS):
            self.serve()
            self.market.take(lambda: None)
            if self.engine.messages - self.base == messages:
                return
            time.sleep(0.0005)
        raise AssertionError((self.engine.messages - self.base, dict(self.market.counters)))

    @property
    def gaps(self) -> int:
        return self.engine.counters["gaps"]


@pytest.fixture
def worlds():
    made: list[World] = []

    def world(*said, **settings) -> World:
        made.append(World(*said, **settings))
        return made[-1]

    yield world
    for each in made:
        each.market.close()
        each.server.close()


def test_the_day_so_far(worlds):
    world = worlds()
    world.publish(500, 3)
    world.start()
    assert world.engine.messages - world.base == 502 and world.gaps == 0
    assert world.market.catch_up.is_current


def test_live_and_lost(worlds):
    world, calls = worlds(), []
    world.publish(1)
    world.start()
    for first in (2, 3, 6, 7, 10):
        world.publish(first)
    world.market.take(lambda: calls.append(1))
    assert calls
    world.until(10)
    assert world.gaps == 0 and world.engine.counters["duplicate_messages"] == 0


def test_nothing_comes_at_all(worlds):
    world = worlds()
    with pytest.raises(ConfigError, match=r"no packet came to 127.0.0.1:\d+ over .* in 0.2 s"):
        world.start()
    world = worlds(feed_session="WANTED")
    world.publish(1)
    with pytest.raises(ConfigError, match="none of WANTED came to"):
        world.start()
    assert world.market.counters["packets_of_another_session"] == 1


def test_nobody_answers_and_the_day_goes_on_with_a_gap(worlds):
    world = worlds()
    world.answers = False
    world.publish(50)
    world.start()
    assert world.gaps == 1 and world.market.counters["messages_given_up"] == 49
    assert world.engine.counters["gap_messages"] == 49
    world.answers = True
    world.publish(53)
    world.until(4)
    assert world.gaps == 1 and world.engine.block.book[1]["stale"]


def test_a_gap_that_nobody_fills_is_one_in_time(worlds):
    world = worlds()
    world.publish(1)
    world.start()
    world.answers = False
    world.publish(5)
    world.until(2)
    assert world.gaps == 1 and world.asked >= 1


def test_without_anybody_to_ask(worlds):
    world = worlds(can_ask=False)
    world.publish(77)
    world.start()
    world.publish(80)
    world.until(2)
    assert world.gaps == 2 and world.engine.counters["gap_messages"] == 76 + 2


def test_a_packet_that_is_cut_short(worlds):
    """Its header promises five messages and there are two: the other three are asked for."""
    world = worlds()
    world.publish(1)
    world.start()
    whole = world.packet(2, 5)
    world.server.sendto(whole[: 20 + 2 * 41], world.where)
    world.until(3)
    world.publish(7)
    world.until(7)
    assert world.gaps == 0


def test_a_stop_ends_the_start(worlds):
    world = worlds()
    world.answers = False
    world.publish(50)
    world.market.start(lambda: True, print)
    assert world.engine.messages == world.base
