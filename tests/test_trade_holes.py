"""What trading does about holes, with the servers of `tickpath serve` on real sockets.

The server has a thread of its own; nothing is decided by the time but that what must come comes.
"""

import contextlib
import random
import threading
import time
from collections import Counter

import msgspec
import numpy as np
import pytest

from itch_messages import message, mold
from recovery_world import MS, Plan, streams_of
from tickpath.engine import Engine
from tickpath.packet import PACKET
from tickpath.recovery import sequenced_unit
from tickpath.recovery.engine import LineName
from tickpath.recovery.engine_lines import EngineLines, lend_datagram
from tickpath.serve.config import Serve
from tickpath.serve.line_faults import LinePlan
from tickpath.serve.publisher import Pace
from tickpath.serve.server import FeedServer
from tickpath.serve.unruly import UnrulyPlan
from tickpath.session.credentials import Credentials, Secret
from tickpath.trade.config import TradeConfig, checked
from tickpath.trade.holes import Holes
from tickpath.trade.market import Market
from trading import free_udp_port

PATIENCE_S = 60.0
USER = Credentials("TICK", Secret("REHEARSAL"))
SMALL = {
    "symbols": 64,
    "orders": 1 << 16,
    "sparse_orders": 4096,
    "overflow_levels": 4096,
    "trades": 1024,
}


@pytest.fixture(autouse=True, scope="module")
def compiled():
    """The first packets compile for longer than anybody waits for here: do that before."""
    engine = Engine()
    engine.process(np.zeros(0, PACKET))
    EngineLines.warm_up()


LOSSY = LinePlan(loss=0.1, duplicate=0.1, reorder=0.1, corrupt=0.03, jitter_us=100)
QUIET = LinePlan()


@contextlib.contextmanager
def served(config: Serve, streams):
    """A feed server that runs in a thread, and the event that lets it begin."""
    begun, stopped = threading.Event(), threading.Event()
    with FeedServer(config, streams) as server:

        def run() -> None:
            begun.wait()
            server.run(stopped.is_set)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server, begun
        finally:
            stopped.set()
            begun.set()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def text(address) -> str:
    return "{}:{}".format(*address)


class Rehearsal:
    """A feed with faults, followed by the market of a trader."""

    def __init__(self, feed: str, seed: int, *, names=(), late: bool = False, **said) -> None:
        """``names`` are the servers that are told of; with ``late`` it joins when all is said."""
        self.streams = streams_of(Plan(feed=feed, messages=900), random.Random(seed))
        self.feed, self.names, self.late = feed, names, late
        self.trade = said.pop("trade", {})
        self.lines = [("127.0.0.1", free_udp_port()), ("127.0.0.2", free_udp_port())]
        self.gap_group = ("127.0.0.1", free_udp_port())
        common = {
            "plans": (LOSSY, LOSSY),
            "pace": Pace(packets_per_second=3_000, heartbeat_ns=20 * MS),
            "seed": seed,
            "image_interval_ms": 20,
            "linger_s": 3_600.0,
        }
        self.config = Serve(lines=tuple(self.lines), gap_group=self.gap_group, **common | said)

    def _settings(self, where: dict) -> TradeConfig:
        known = {
            "requests": lambda: text(where["requests"]),
            "glimpse": lambda: text(where["glimpse"]),
            "grp": lambda: text(where["grp"]),
            "spin": lambda: {unit: text(each) for unit, each in where["spin"].items()},
        }
        trade = {
            "feed": text(self.lines[0]),
            "start_timeout_ms": 20_000,
            "gap_timeout_ms": 20_000,
            "stale_retry_ms": 100,
            **{name: known[name]() for name in self.names},
        }
        if "grp" in self.names:
            trade["grp_group"] = text(self.gap_group)
        a, b = map(text, self.lines)
        feed = {"lines_b": {a: b}, "reorder_packets": 4, "pitch_venue": "cboe-byx"}
        said = {"capacity": SMALL, "feed": feed, "trade": trade | self.trade}
        return checked(msgspec.convert(said, TradeConfig))

    def run(self) -> Counter:
        with served(self.config, self.streams) as (server, begun):
            config = self._settings(server.addresses())
            self.engine = Engine(config)
            end = time.monotonic() + PATIENCE_S
            if self.late:
                begun.set()
            while self.late and any(each.next_sequence < each.behind for each in self.streams):
                time.sleep(0.01)
                assert time.monotonic() < end
            market = self.market = Market(self.engine, config, USER, time.monotonic_ns)
            with contextlib.closing(market):
                begun.set()  # its lines are bound: from here on all can come live
                market.start(lambda: False, lambda text: None)
                while not self._is_over():
                    if not market.take(lambda: None):
                        time.sleep(0.001)
                    assert time.monotonic() < end, (market.lines(), market.counters)
                self.said = market.lines()
                return market.counters

    def _is_over(self) -> bool:
        ends = {stream.unit: stream.behind for stream in self.streams}
        lines = self.market.lines()
        return (
            len(lines) == len(ends)
            and self.market.is_current
            and all(
                each["next"] == behind
                for each, behind in zip(lines, self._behind(lines, ends), strict=True)
            )
        )

    def _behind(self, lines, ends):
        if self.feed == "itch50":
            return list(ends.values())
        return [ends[int(each["session"].removeprefix("unit "))] for each in lines]

    def check(self) -> None:
        """The books are those of the clean feed, and none is stale."""
        config = self.engine.config
        clean = Engine(msgspec.structs.replace(config, feed=msgspec.structs.replace(
            config.feed, recovers=False, groups=[])))  # fmt: skip
        line = LineName(*self.lines[0])
        for stream in self.streams:
            for packed in stream.packets:
                raw = stream.datagram(packed)
                clean.process(lend_datagram(line, raw, 0))
        assert self.engine.book_digest == clean.book_digest
        assert self.engine.orders_live == clean.orders_live > 0
        assert not self.engine.block.book["stale"].any() and not self.engine.gaps()
        assert {each["recovery"] for each in self.said} == {"SYNCHRONISED"}


ITCH, PITCH = ("requests", "glimpse"), ("grp", "spin")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("feed", "names"), [("itch50", ITCH), ("pitch", PITCH)])
def test_two_lossy_lines_and_unruly_servers(feed, names, seed):
    rehearsal = Rehearsal(
        feed,
        seed,
        names=names,
        both=LinePlan(loss=0.05, burst=0.3),
        requests=UnrulyPlan(silent=0.2),
        snapshots=UnrulyPlan(refuse=0.2, cut=0.2),
    )
    counters = rehearsal.run()
    rehearsal.check()
    assert counters["holes_filled"] and counters["messages_recovered"]
    assert rehearsal.engine.counters["packets_second"]
    assert rehearsal.engine.counters["packets_reordered"]


@pytest.mark.parametrize(("feed", "names"), [("itch50", ITCH), ("pitch", PITCH)])
def test_a_start_when_the_day_is_said_asks_for_it(feed, names):
    rehearsal = Rehearsal(feed, 5, names=names, late=True, plans=(QUIET, QUIET))
    counters = rehearsal.run()
    rehearsal.check()
    said = sum(len(each.messages) for each in rehearsal.streams)
    assert said // 2 < counters["messages_recovered"] <= said == rehearsal.engine.messages
    assert not counters["snapshots"]


@pytest.mark.parametrize(("feed", "names"), [("itch50", ITCH), ("pitch", PITCH)])
def test_a_start_with_too_much_to_ask_for_fetches_a_snapshot(feed, names):
    rehearsal = Rehearsal(
        feed, 6, names=names, late=True, plans=(QUIET, QUIET), trade={"refill_messages": 10}
    )
    counters = rehearsal.run()
    rehearsal.check()
    assert counters["snapshots_taken"] == len(rehearsal.streams)
    assert counters["holes_too_wide"] and not counters["requests"]


@pytest.mark.parametrize(("feed", "names"), [("itch50", ["glimpse"]), ("pitch", ["spin"])])
def test_a_start_with_nobody_to_ask_fetches_a_snapshot(feed, names):
    rehearsal = Rehearsal(feed, 7, names=names, late=True, plans=(QUIET, QUIET))
    counters = rehearsal.run()
    rehearsal.check()
    assert counters["snapshots_taken"] == len(rehearsal.streams)
    assert not counters["holes_too_wide"]


@pytest.mark.parametrize("feed", ["itch50", "pitch"])
def test_a_start_with_nobody_at_all_is_a_gap(feed):
    rehearsal = Rehearsal(feed, 8, late=True, plans=(QUIET, QUIET))
    counters = rehearsal.run()
    assert {each["recovery"] for each in rehearsal.said} == {"STALE"}
    assert len(rehearsal.engine.gaps()) == len(rehearsal.streams)
    # What was being sent when it joined came live.
    said = sum(len(each.messages) for each in rehearsal.streams)
    assert counters["messages_given_up"] + rehearsal.engine.messages == said
    assert counters["messages_given_up"] > said // 2


def test_a_stale_line_gets_good_again():
    """Snapshots are refused until the gap is declared; later tries of one succeed."""
    rehearsal = Rehearsal(
        "itch50", 9, names=["glimpse"], late=True, plans=(QUIET, QUIET),
        snapshots=UnrulyPlan(refuse=0.9),
    )  # fmt: skip
    with served(rehearsal.config, rehearsal.streams) as (server, begun):
        end = time.monotonic() + PATIENCE_S
        begun.set()
        while rehearsal.streams[0].next_sequence < rehearsal.streams[0].behind:
            time.sleep(0.01)
        config = rehearsal._settings(server.addresses())
        engine = Engine(config)
        with contextlib.closing(Market(engine, config, USER, time.monotonic_ns)) as market:
            market.start(lambda: False, lambda text: None)
            while market.lines()[0]["recovery"] != "SYNCHRONISED":
                market.take(lambda: None)
                time.sleep(0.001)
                assert time.monotonic() < end, market.counters
            assert market.counters["snapshots_failed"]
            assert not engine.block.book["stale"].any()


# ---------------------------------------------------------------- whose servers


def holes_of(*packets: tuple[LineName, bytes], **trade) -> Holes:
    """Holes of an engine that has taken packets."""
    groups = sorted({name._replace(unit=0) for name, _ in packets})
    said = {
        "capacity": SMALL,
        "feed": {"groups": [f"{each.group}:{each.port}" for each in groups]},
        "trade": trade,
    }
    config = checked(msgspec.convert(said, TradeConfig))
    engine = Engine(config)
    for name, raw in packets:
        engine.process(lend_datagram(name, raw, 0))
    holes = Holes(engine, EngineLines(engine), groups, config.trade, USER, time.monotonic_ns)
    holes.poll()
    return holes


def itch(sequence: int) -> bytes:
    return mold([message("S", 0, 1, event_code="O")], sequence)


def test_a_snapshot_is_not_fetched_where_itch_comes_on_two_lines():
    """It would empty the books of the other line."""
    lines = [LineName("239.1.1.1", 1), LineName("239.1.1.2", 1)]
    holes = holes_of((lines[0], itch(5)), (lines[1], itch(5)), glimpse="127.0.0.1:9")
    with contextlib.closing(holes):
        assert holes.counters["lines_without_snapshot"] == 1
        recovery = holes._protocols[0].recovery
        assert [recovery.lines[each].has_snapshot for each in lines] == [False, False]


def test_a_unit_of_another_venue_is_not_asked_for_here():
    raw = sequenced_unit.join(b"", 3, 1, [])
    lines = [LineName("239.1.1.1", 1, 3), LineName("239.1.1.2", 1, 3)]
    holes = holes_of(*((each, raw) for each in lines), spin={"3": "127.0.0.1:9"})
    with contextlib.closing(holes):
        assert holes.counters["lines_without_servers"] == 1
        recovery = holes._protocols[1].recovery
        assert [recovery.lines[each].has_snapshot for each in lines] == [True, False]
