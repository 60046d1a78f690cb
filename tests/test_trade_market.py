"""The market into the engine, with a publisher that loses, delays and answers as it is told."""

import random
import socket
import time
from collections.abc import Callable

import msgspec
import pytest

from itch_messages import message, mold
from tickpath.config import ConfigError
from tickpath.engine import Engine
from tickpath.layout import HELD
from tickpath.session.credentials import Credentials, Secret
from tickpath.trade.config import TradeConfig, checked
from tickpath.trade.holes import LONGEST_STEP_NS
from tickpath.trade.market import Market
from trading import free_udp_port

ROUNDS = 20_000
USER = Credentials("TICK", Secret("REHEARSAL"))
SMALL = {"symbols": 64, "orders": 1 << 14, "overflow_levels": 4096, "trades": 1024}
MAX_BYTES = 1_400


def where(sock: socket.socket) -> str:
    return "{}:{}".format(*sock.getsockname())


def udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


class World:
    """A market whose messages are stock directories of symbol 1, by number."""

    def __init__(self, servers: int = 1, feed: dict | None = None, **trade) -> None:
        self.servers = [udp() for _ in range(servers)]
        self.groups = {"A": ("127.0.0.1", free_udp_port()), "B": ("127.0.0.2", free_udp_port())}
        a, b = ("{}:{}".format(*each) for each in self.groups.values())
        said = {
            "feed": {"lines_b": {a: b}} | (feed or {}),
            "capacity": SMALL,
            "trade": {
                "requests": [where(each) for each in self.servers],
                "start_timeout_ms": 200,
                "gap_timeout_ms": 100,
            }
            | trade,
        }
        self.config = checked(msgspec.convert(said, TradeConfig))
        self.engine = Engine(self.config)
        self.skipped_ns = 0
        self.market = Market(self.engine, self.config, USER, self.clock)
        self.silent: set[int] = set()
        """Servers that do not answer."""
        self.published = 0
        self.asked: list[tuple[int, int, int]] = []  # server, first message, count
        self.answer: Callable[[int, int], bytes] = self.packet

    def clock(self) -> int:
        return time.monotonic_ns() + self.skipped_ns

    def publish(self, first: int, count: int = 1, on: str = "A") -> None:
        self.published = max(self.published, first + count - 1)
        for line in on:
            self.send(self.packet(first, count), line)

    def send(self, raw: bytes, line: str = "A") -> None:
        self.servers[0].sendto(raw, self.groups[line])

    def packet(self, first: int, count: int, session: bytes = b"SESSION-1") -> bytes:
        return mold(
            [message("R", 1, at, stock="AAA") for at in range(first, first + count)],
            first,
            session,
        )

    def heartbeat(self, behind: int, line: str = "A") -> None:
        self.send(mold([], behind, b"SESSION-1"), line)

    def serve(self) -> None:
        """Answer requests, as far as a packet has room."""
        for number, server in enumerate(self.servers):
            try:
                while True:
                    request, sender = server.recvfrom(100)
                    first, count = int.from_bytes(request[10:18], "big"), request[19]
                    self.asked.append((number, first, count))
                    most = min(count, (MAX_BYTES - 20) // 41, self.published + 1 - first)
                    if number not in self.silent and most > 0:
                        server.sendto(self.answer(first, most), sender)
            except BlockingIOError:
                continue

    def start(self, meanwhile: Callable[[], None] = lambda: None) -> list[str]:
        said: list[str] = []

        def is_stopped() -> bool:
            self.serve()
            meanwhile()
            return False

        self.market.start(is_stopped, said.append)
        return said

    def until(self, messages: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        for _ in range(ROUNDS):
            meanwhile()
            self.serve()
            taken = self.market.take(lambda: None)
            if self.engine.messages == messages and self.market.is_current:
                return
            if not taken:
                time.sleep(0.0005)
        raise AssertionError(
            (self.engine.messages, self.market.lines(), dict(self.market.counters))
        )

    @property
    def gaps(self) -> list[tuple[int, int]]:
        return [(each.first, each.last) for each in self.engine.gaps()]

    @property
    def state(self) -> str:
        (line,) = self.market.lines()
        return line["recovery"]

    def close(self) -> None:
        self.market.close()
        for each in self.servers:
            each.close()


@pytest.fixture
def worlds():
    made: list[World] = []

    def world(*said, **settings) -> World:
        made.append(World(*said, **settings))
        return made[-1]

    yield world
    for each in made:
        each.close()


# ---------------------------------------------------------------- the start


def test_one_line_alone_until_both_are_taken_again(worlds):
    world = worlds()
    world.publish(1, on="AB")
    world.start()
    assert world.market.use_line("B") is None
    world.publish(2, on="A")
    world.publish(3, on="B")  # 2 is asked for, then: it is not taken from A
    world.until(3)
    assert world.asked == [(0, 2, 1)]
    assert world.market.counters["packets_unheeded"] == 1
    assert world.market.use_line("both") is None
    world.publish(4, on="A")
    world.until(4)
    assert world.market.counters["packets_unheeded"] == 1


def test_the_day_so_far(worlds):
    world = worlds()
    world.publish(500, 3)
    world.start()
    assert world.engine.messages == 502 and world.gaps == []
    assert world.market.is_current and world.state == "SYNCHRONISED"


def test_a_day_that_has_not_begun(worlds):
    world = worlds()
    world.heartbeat(1)
    world.start()
    assert world.engine.messages == 0 and world.asked == [] and world.state == "UNKNOWN"
    world.publish(1, 5)
    world.until(5)
    assert world.state == "SYNCHRONISED"


def test_a_day_longer_than_one_packet_is_believed(worlds):
    """The first packet is far beyond message 1: the second one says the same."""
    world = worlds(refill_messages=1, feed={"reorder_packets": 4})
    world.silent = {0}
    far = 2_000_000
    world.publish(far, 2)
    published = iter(range(far + 2, far + 12))

    def go_on() -> None:
        if (number := next(published, None)) is not None:
            world.publish(number)

    world.start(go_on)
    assert world.gaps[0][0] == 1 and world.gaps[0][1] >= far - 1
    assert world.engine.counters["sequence_jumps"] >= 1


@pytest.mark.parametrize("first", [3_000_000, 1 << 62])
def test_a_stray_first_packet_is_not_believed(worlds, first):
    """It cannot make the line drop the day, nor a hole that nobody can fill."""
    world = worlds()
    world.send(mold([message("R", 1, 1, stock="AAA")], first, b"SESSION-1"))
    world.publish(5, 3)
    world.start()
    world.publish(8)
    world.until(8)
    assert world.gaps == [] and world.state == "SYNCHRONISED"


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
    world.silent = {0}
    world.publish(50)
    world.start()
    assert world.gaps == [(1, 49)] and world.market.counters["messages_given_up"] == 49
    assert world.state == "STALE"
    world.silent = set()
    world.publish(53)
    world.until(4)
    assert world.gaps == [(1, 49)] and world.engine.block.book[1]["stale"]


def test_a_stop_ends_the_start(worlds):
    world = worlds()
    world.silent = {0}
    world.publish(50)
    world.market.start(lambda: True, print)
    assert world.engine.messages == 0


# ---------------------------------------------------------------- what is lost


def test_live_and_lost(worlds):
    world, calls = worlds(), []
    world.publish(1)
    world.start()
    for first in (2, 3, 6, 7, 10):
        world.publish(first)
    world.market.take(lambda: calls.append(1))
    assert calls
    world.until(10)
    assert world.gaps == [] and world.engine.counters["duplicate_messages"] == 0
    assert world.market.counters["messages_recovered"] == 4


def test_the_last_packet_is_missed_by_the_heartbeat_behind_it(worlds):
    world = worlds()
    world.publish(1)
    world.start()
    world.published = 3
    world.heartbeat(4)
    world.until(3)
    assert world.gaps == []


def test_a_gap_that_nobody_fills_is_one_in_time(worlds):
    world = worlds()
    world.publish(1)
    world.start()
    world.silent = {0}
    world.publish(5)
    world.until(2)
    assert world.gaps == [(2, 4)] and len(world.asked) > 1


def test_gaps_that_are_not_waited_for(worlds):
    world = worlds(gap_timeout_ms=0)
    world.publish(1)
    world.start()
    world.silent = {0}
    world.publish(5)
    world.until(2)
    assert world.gaps == [(2, 4)]


def test_without_anybody_to_ask(worlds):
    world = worlds(requests=None)
    world.publish(77)
    world.start()
    world.publish(80)
    world.until(2)
    assert world.gaps == [(1, 76), (78, 79)] and world.state == "STALE"


def test_a_packet_that_is_cut_short(worlds):
    """Its header promises five messages and there are two: the other three are asked for."""
    world = worlds()
    world.publish(1)
    world.start()
    whole = world.packet(2, 5)
    world.send(whole[: 20 + 2 * 41])
    world.until(3)
    world.publish(7)
    world.until(7)
    assert world.gaps == []


def test_the_next_server_is_asked_where_one_is_silent(worlds):
    # Four answers are waited for: each by LONGEST_STEP_NS too long, that is still in time.
    world = worlds(servers=3, gap_timeout_ms=300)
    world.silent = {0, 1}
    world.publish(1)
    world.start()
    world.publish(5)
    world.until(5)
    assert world.gaps == [] and {each for each, _, _ in world.asked} == {0, 1, 2}
    assert world.market.counters["servers_changed"] == 2
    asked = [each for each, _, _ in world.asked]
    assert asked == sorted(asked)  # one after another


def test_answers_that_are_lost_late_doubled_and_overlap(worlds):
    """Whatever comes of requests: no gap, no message twice, and the end is reached."""
    world, chance = worlds(gap_timeout_ms=60_000), random.Random(5)
    world.publish(1)
    world.start()
    late: list[tuple[bytes, tuple]] = []

    def serve() -> None:
        server = world.servers[0]
        try:
            while True:
                request, sender = server.recvfrom(100)
                first, count = int.from_bytes(request[10:18], "big"), request[19]
                first = max(1, first + chance.choice((0, 0, 0, -7, 5)))  # overlapping others
                first = min(first, world.published)  # a server has no message of tomorrow
                most = min(count, world.published + 1 - first)
                for _ in range(chance.choice((0, 1, 1, 2))):
                    late.append((world.packet(first, chance.randint(1, most)), sender))
        except BlockingIOError:
            pass
        chance.shuffle(late)
        for _ in range(len(late) // 2 + 1):
            if late:
                server.sendto(*late.pop())

    world.serve = serve
    for first in (400, 401, 900, 902):
        world.publish(first)
    world.until(902)
    assert world.gaps == [] and world.engine.block.get("gaps") == 0
    assert world.market.counters["answers_late"] and world.market.counters["answers_kept"]


def test_a_pause_of_our_own_gives_nobody_up(worlds):
    """An hour in which this process did not run is not an hour of the server's silence."""
    world = worlds()
    world.publish(1)
    world.start()
    world.publish(5)
    world.market.take(lambda: None)
    for _ in range(3):
        world.skipped_ns += 3_600_000_000_000
        world.market.take(lambda: None)
    assert world.gaps == [] and LONGEST_STEP_NS * 4 < 100_000_000
    world.until(5)
    assert world.gaps == []


# ---------------------------------------------------------------- two lines


def test_what_one_line_loses_the_other_has(worlds):
    world = worlds(feed={"reorder_packets": 8, "reorder_us": 10_000_000})
    world.publish(1, on="AB")
    world.start()
    chance = random.Random(1)
    for first in range(2, 400):
        world.publish(first, on=chance.choice(("A", "B", "AB", "BA")))
        if first % 7 == 0:
            world.market.take(lambda: None)
    world.until(399)
    assert world.gaps == [] and world.asked == []
    (line,) = world.market.lines()
    assert line["first_a"] and line["first_b"]
    assert world.engine.counters["packets_second"] > 50


def test_the_feed_comes_on_line_b_alone(worlds):
    world = worlds()
    world.publish(3, on="B")
    world.start()
    assert world.engine.messages == 3 and world.gaps == []


def test_several_groups(worlds):
    other = ("127.0.0.1", free_udp_port())
    world = worlds(feed={"groups": ["{}:{}".format(*other)]})
    world.publish(4)
    with pytest.raises(ConfigError, match=f"no packet came to {other[0]}:{other[1]}"):
        world.start()
    world.groups["C"] = other
    world.send(world.packet(2, 1, b"OTHER"), "C")
    world.start()
    lines = {each["session"]: each["next"] for each in world.market.lines()}
    assert lines == {"SESSION-1": 5, "OTHER": 3}


# ---------------------------------------------------------------- convergence


def test_a_start_while_the_feed_runs_on_beyond_what_can_be_held(worlds):
    """More live packets than the engine holds come while the day is fetched: each time fewer."""
    world = worlds(start_timeout_ms=5_000)
    so_far, per_round, rounds = 100_000, 60, 100
    world.publish(so_far)
    sent = 0

    def live() -> None:
        nonlocal sent
        if sent < rounds:
            sent += 1
            for _ in range(per_round):
                world.publish(world.published + 1)

    world.start(live)
    world.until(so_far + rounds * per_round, live)
    assert world.gaps == [] and world.engine.messages == world.published
    assert world.engine.counters["packets_held_dropped"] > HELD
    assert world.market.counters["holes"] > 1
