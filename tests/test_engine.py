"""The engine as an object: feeding, taking, reading, and two of them side by side."""

import gc
import weakref

import numpy as np
import pytest

from itch_messages import frame, message, mold, packets, run
from scenes import TS, add, cancel, delete, execute
from streams import CAPACITY, SMALL, collisions, market
from tickpath import Book, Config, Engine
from tickpath.config import Risk, StrategyConfig
from tickpath.counters import Counter
from tickpath.engine import group_text
from tickpath.latency import HISTOGRAM
from tickpath.layout import Stage
from tickpath.packet import LINK_RAW, PACKET
from trader import CANCEL, NEW, busy, script, scripted, trading


def test_the_ten_lines_of_the_docstring():
    engine = Engine(Config(capacity=CAPACITY), strategy="tickpath.samples:imbalance_taker")
    open_now = message("S", 0, TS, event_code="Q")
    trading_now = message("H", 1, TS, stock="AAPL", trading_state="T")
    engine.feed(run([open_now, trading_now, add(1, "B", 5000), add(2, "S", 100, 1_000_100)]))
    (order,) = engine.take_orders()
    assert order[:1] == b"O"
    book = engine.book("AAPL")
    assert isinstance(book, Book)
    assert book.bids["price"].tolist() == [1_000_000] and book.asks["orders"].tolist() == [1]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_anything_that_holds_bytes_can_be_fed(kind):
    engine = Engine(SMALL)
    raw = run([add(1), add(2)])
    engine.feed(kind(raw[:40]))
    engine.feed(kind(raw[40:]))
    engine.feed_packet(kind(frame(mold([add(3)], 1))))
    engine.feed_packet(kind(frame(mold([add(4)], 2))[14:]), link=LINK_RAW)
    assert engine.orders_live == 4


def test_nothing_can_be_fed():
    engine = Engine(SMALL)
    engine.feed(b"")
    engine.process(np.zeros(0, PACKET))
    assert {name for name, count in engine.counters.items() if count} == set()
    engine.feed_packet(b"")
    assert engine.counters["packets"] == engine.counters["frame_truncated"] == 1


def test_every_counter_has_its_name():
    assert list(Engine(SMALL).counters) == [each.name.lower() for each in Counter]
    assert len(Counter) == len({int(each) for each in Counter})


def test_orders_are_taken_once():
    engine = Engine(
        scripted([(NEW, 1, 5, 1_000_000), (NEW, -1, 5, 1_000_100)], risk=Risk(allowed=True)),
        strategy=script,
    )
    news = message("S", 0, TS, event_code="Q")
    quotes = [add(1), add(2, "S", 100, 1_000_100)]
    engine.feed(run([message("H", 1, TS, trading_state="T"), *quotes, news, news]))
    assert len(engine.take_orders()) == 2
    assert engine.take_orders() == []


def test_symbols_and_books():
    engine = Engine(SMALL)
    engine.feed(run([add(1, stock="ZVZZT", locate=3), add(2, stock="AAPL", locate=5)]))
    assert engine.symbols == {"ZVZZT": 3, "AAPL": 5}
    assert [book.symbol for book in engine.books()] == ["AAPL", "ZVZZT"]
    assert engine.book(3).symbol == engine.book("ZVZZT").symbol == "ZVZZT"
    for unknown in ("MSFT", 1, 999, -1):
        with pytest.raises(KeyError):
            engine.book(unknown)


def test_arrays_of_the_block_are_the_engines_memory():
    engine = Engine(SMALL)
    positions = engine.block.position
    positions["quantity"][1] = 5
    assert engine.block.position["quantity"][1] == 5
    with pytest.raises(AttributeError):
        _ = engine.block.no_such_region


def test_two_engines_do_not_know_each_other():
    one, other = Engine(SMALL), Engine(SMALL)
    stream = list(collisions(3, 2000))
    for at in range(0, len(stream), 50):
        one.feed(run(stream[at : at + 50]))
        other.feed(run(stream[at : at + 25]))
    alone = Engine(SMALL)
    alone.feed(run(stream))
    assert one.book_digest == alone.book_digest and one.counters["unknown_type"]
    assert other.messages == 1000


def test_an_engine_gives_its_memory_back():
    engine = Engine(SMALL)
    engine.feed(run([add(1)]))
    gone = weakref.ref(engine.block)
    del engine
    gc.collect()
    assert gone() is None


def test_what_an_engine_gave_outlives_it():
    engine = Engine(SMALL)
    engine.feed(run([add(1)]))
    bids, resting = engine.book("AAPL").bids, engine.resting()
    del engine
    gc.collect()
    assert bids.tolist() == [(1_000_000, 100, 1)] and len(resting) == 1


# ---------------------------------------------------------------- digests of the state


def test_the_state_digest_is_the_same_for_the_same_inputs():
    stream = run(list(market(5, 1500)))
    digests = set()
    for _ in range(2):
        engine = Engine(trading(), strategy=busy)
        engine.feed(stream)
        digests.add(engine.state_digest)
    assert len(digests) == 1


def _position(block):
    block.position["quantity"][1] = 1


def _cash(block):
    block.position["cash"][1] = 1


def _cell(block):
    block.cell["value"][9] += 1


def _own(block):
    block.own["leaves"][1] += 1


def _gate(block):
    block.gate["rate_arrival"][0] += 1


def _killed(block):
    block.gate["killed"][0] = 1


def _last_ref(block):
    block.set("user_ref_num", 1000)


def _book(block):
    block.set("book_digest", 1)


@pytest.mark.parametrize(
    "change", [_position, _cash, _cell, _own, _gate, _killed, _last_ref, _book]
)
def test_the_state_digest_sees_what_is_ours(change):
    config = scripted([(NEW, 1, 5, 1_000_000)], risk=Risk(unknown_trading_state="trade"))
    engine = Engine(config, strategy=script)
    engine.feed(run([add(1), message("S", 0, TS, event_code="Q")]))
    before = engine.state_digest
    change(engine.block)
    assert engine.state_digest != before


def test_the_state_digest_sees_no_lines_and_no_latencies():
    packed, fed = Engine(SMALL), Engine(SMALL)
    stream = [add(n) for n in range(1, 60)]
    fed.feed(run(stream))
    for raw in packets(stream, 7):
        packed.feed_packet(raw)
    assert packed.state_digest == fed.state_digest


# ---------------------------------------------------------------- lines, histograms


def test_lines_and_gaps_as_python_sees_them():
    engine = Engine(SMALL)
    engine.feed_packet(frame(mold([add(1)], 7, b"AB")))
    engine.feed_packet(frame(mold([], 9, b"AB", 0xFFFF)))
    assert engine.lines() == [
        {
            "session": "AB",
            "group": "233.54.12.111:26477",
            "first": 7,
            "next": 9,
            "packets": 2,
            "messages": 1,
            "missing": 1,
            "first_a": 0,
            "first_b": 0,
            "waiting": 0,
            "state": "STEADY",
            "ended": True,
        }
    ]
    (gap,) = engine.gaps()
    assert (gap.session, gap.group, gap.first, gap.last) == ("AB", "233.54.12.111:26477", 8, 8)


def test_a_group_as_text():
    assert group_text(0xE9360C6F, 26477) == "233.54.12.111:26477"


def test_every_stage_has_a_histogram():
    config = scripted([(NEW, 1, 5, 1_000_000), (CANCEL, 1, 0, 0)])
    engine = Engine(config, strategy=script)
    quotes = [add(1), add(2, "S", 100, 1_000_100)]
    for raw in packets([message("H", 1, TS, trading_state="T"), *quotes], 1):
        engine.feed_packet(raw)
    news = message("S", 0, TS, event_code="Q")
    for raw in packets([news, news], 1, first=4):
        engine.feed_packet(raw)
    for stage in (*Stage.NAMES, "tick_to_order", "response"):
        assert engine.histogram(stage).dtype == HISTOGRAM
    assert len(engine.take_orders()) == 2
    with pytest.raises(ValueError):
        engine.histogram("no_such_stage")


def test_counters_of_a_day_in_small():
    engine = Engine(SMALL)
    engine.feed(run([add(1), execute(1, 30), cancel(1, 30), delete(1), delete(1)]))
    assert engine.messages == 5
    assert engine.messages_by_type == {"A": 1, "E": 1, "X": 1, "D": 2}
    assert engine.counters["unknown_order_ref"] == 1


def test_strategy_cells_start_with_the_parameters():
    config = Config(capacity=CAPACITY, strategy=StrategyConfig(cells=5, parameters=[3, -1]))
    assert Engine(config).block.cell["value"].tolist() == [3, -1, 0, 0, 0]


def test_memory_is_touched_only_where_it_is_used():
    """Half a gigabyte of orders costs address space, not memory."""

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    before = resident()
    engine = Engine(Config())
    engine.feed(run([add(1)]))
    assert engine.block.size > 1 << 29
    assert resident() - before < 256 << 20
