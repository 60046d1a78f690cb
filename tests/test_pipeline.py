"""The pipeline: the same state from any packing, every byte accounted for, nothing lost."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from comparison import TRAFFIC, assert_bytes, assert_equal
from itch_messages import frame, message, mold, packets, run
from reference import Reference
from reference_orders import twin
from scenes import TS, add, cancel
from streams import CAPACITY, SMALL, collisions, market
from tickpath import Config, Engine, emit, event, view
from tickpath.clock import now_cycles
from tickpath.config import SWITCHES, Risk, StrategyConfig
from tickpath.packet import LINK_ETHERNET, LINK_MESSAGES, PACKET
from tickpath.pipeline import whole_messages
from tickpath.state import BBO_ROWS, EGRESS_BYTES
from trader import busy, trading


def lend(raws: list[bytes], link: int = LINK_ETHERNET) -> tuple[np.ndarray, list[np.ndarray]]:
    """A burst of packets, and the arrays that hold their bytes."""
    held = [np.frombuffer(raw + b"\0", np.uint8) for raw in raws]
    lent = np.zeros(len(raws), PACKET)
    for at, raw in enumerate(raws):
        lent[at] = (held[at].ctypes.data, 0, len(raw), len(raw), link, 0, 0)
    return lent, held


# ---------------------------------------------------------------- packing and chunking


def state(engine: Engine) -> dict:
    """What must not depend on how the messages were packed."""
    return {
        "book_digest": engine.book_digest,
        "state_digest": engine.state_digest,
        "resting": engine.resting().tolist(),
        "orders": engine.take_orders(),
        "rejects": engine.rejects_by_code,
        "counters": {k: n for k, n in engine.counters.items() if k not in TRAFFIC},
        "types": engine.messages_by_type,
        "input_number": engine.block.get("input_number"),
        "books": engine.block.book.tobytes(),
    }


def fed_whole(stream: list[bytes]) -> Engine:
    engine = Engine(trading(timer_interval_ms=300), strategy=busy)
    engine.feed(run(stream))
    return engine


STREAMS = {"market": list(market(1, 2500)), "collisions": list(collisions(2, 2500))}


@pytest.fixture(scope="module", params=STREAMS)
def whole(request) -> tuple[list[bytes], dict]:
    stream = STREAMS[request.param]
    engine = fed_whole(stream)
    reference = Reference(engine.config, twin(busy))
    reference.run(stream)
    expected = state(engine)
    assert expected["orders"] == reference.desk.sent and len(expected["orders"]) > 5
    engine._orders = list(expected["orders"])
    assert_equal(engine, reference)
    return stream, expected


@pytest.mark.parametrize("seed", range(6))
def test_the_same_state_from_any_chunks(whole, seed):
    stream, expected = whole
    raw, rng, at = run(stream), random.Random(seed), 0
    engine = Engine(trading(timer_interval_ms=300), strategy=busy)
    while at < len(raw):
        size = rng.choice([0, 1, 2, 3, rng.randint(1, 60), rng.randint(1, 5000)])
        chunk = raw[at : at + size]
        engine.feed(rng.choice([bytes, bytearray, memoryview])(chunk))
        at += size
    assert state(engine) == expected
    assert_bytes(engine.counters)


@pytest.mark.parametrize("each", [1, 2, 3, 5, 8, 13, 16, 17, 31, 33, 40, 333, 1400])
def test_the_same_state_from_packets_of_any_size(whole, each):
    stream, expected = whole
    engine = Engine(trading(timer_interval_ms=300), strategy=busy)
    for raw in packets(stream, each):
        engine.feed_packet(raw)
    assert state(engine) == expected
    assert_bytes(engine.counters)
    assert engine.counters["packets"] == -(-len(stream) // each)


@pytest.mark.parametrize("burst", [1, 7, 64, 5000])
def test_the_same_state_from_bursts_of_packets_of_all_sizes(whole, burst):
    stream, expected = whole
    rng, raws, at = random.Random(burst), [], 0
    while at < len(stream):
        count = rng.randint(1, 30)
        raws.append(frame(mold(stream[at : at + count], 1 + at), padding=bytes(rng.randint(0, 9))))
        at += count
    engine = Engine(trading(timer_interval_ms=300), strategy=busy)
    for first in range(0, len(raws), burst):
        lent, held = lend(raws[first : first + burst])
        engine.process(lent)
        del held
    assert state(engine) == expected
    assert_bytes(engine.counters)


def test_the_same_state_from_runs_and_duplicated_packets(whole):
    stream, expected = whole
    raws = packets(stream, 11)
    engine = Engine(trading(timer_interval_ms=300), strategy=busy)
    for raw in raws:
        engine.feed_packet(raw)
        engine.feed_packet(raw)
    dropped = engine.counters["duplicate_messages"]
    assert dropped == len(stream)
    found = state(engine)
    assert found["counters"].pop("duplicate_messages") == dropped
    assert found["counters"] == {
        k: n for k, n in expected["counters"].items() if k != "duplicate_messages"
    }
    assert {**found, "counters": 0} == {**expected, "counters": 0}


# ---------------------------------------------------------------- bytes


@settings(max_examples=60)
@given(st.binary(max_size=200), st.integers(0, 5))
def test_a_run_is_cut_behind_its_last_whole_message(tail, count):
    head = run([add(n) for n in range(count)])
    raw = np.frombuffer(head + tail, np.uint8) if head + tail else np.zeros(0, np.uint8)
    at = 0
    while at + 2 <= len(raw) and at + 2 + int.from_bytes(raw[at : at + 2].tobytes(), "big") <= len(
        raw
    ):
        at += 2 + int.from_bytes(raw[at : at + 2].tobytes(), "big")
    assert int(whole_messages(np.uint64(raw.ctypes.data), np.uint64(len(raw)))) == at >= len(head)


def test_the_rest_of_a_run_waits_for_the_next_call():
    raw = run([add(1), add(2)])
    engine = Engine(SMALL)
    for cut in range(len(raw)):
        engine.feed(raw[cut : cut + 1])
    assert engine.orders_live == 2
    assert engine.counters["bytes"] == engine.counters["bytes_messages"] == len(raw)
    engine.feed(b"")
    engine.feed(b"\x00")
    assert engine.counters["bytes"] == len(raw)


def test_a_lent_run_with_a_tail_is_processed_up_to_it():
    engine = Engine(SMALL)
    raw = run([add(1), add(2)]) + b"\x00\x24A"
    lent, held = lend([raw], LINK_MESSAGES)
    engine.process(lent)
    del held
    assert engine.orders_live == 2
    assert engine.counters["bytes_skipped"] == 3
    assert_bytes(engine.counters)


# ---------------------------------------------------------------- best bid and offer


def bbo_rows(stream: list[bytes], chunk: int) -> tuple[list[tuple], int]:
    """Rows that the engine gave, and in how many calls."""
    rows, calls = [], []

    def keep(columns):
        calls.append(len(columns["seq"]))
        names = ("seq", "ts_event", "book", "bid_px", "bid_sz", "ask_px", "ask_sz")
        rows.extend(zip(*(columns[name].tolist() for name in names), strict=True))

    engine = Engine(SMALL, on_bbo=keep)
    for at in range(0, len(stream), chunk):
        engine.feed(run(stream[at : at + chunk]))
    assert_bytes(engine.counters)
    return rows, len(calls)


def reference_rows(stream: list[bytes]) -> list[tuple]:
    """A row whenever the best bid or offer of any symbol is another than before."""
    reference, rows = Reference(SMALL), []
    last: dict[int, tuple] = {}
    for number, raw in enumerate(stream, 1):
        reference.apply(raw)
        for book in range(SMALL.capacity.symbols):
            top = (*reference.top(book, 0), *reference.top(book, 1))
            if top != last.get(book, (0, 0, 0, 0)):
                rows.append((number, reference.time, book, *top))
                last[book] = top
    return rows


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("chunk", [1, 50, 4000])
def test_a_row_for_every_change_of_the_best_bid_or_offer(seed, chunk):
    stream = list(collisions(30 + seed, 3000, range(1, 40) if seed else None))
    rows, _ = bbo_rows(stream, chunk)
    assert rows == reference_rows(stream)


def test_rows_beyond_the_buffer_are_handed_over_on_the_way():
    stream = [add(1, shares=2 * BBO_ROWS + 5), *[cancel(1, 1)] * (2 * BBO_ROWS + 4)]
    rows, calls = bbo_rows(stream, len(stream))
    assert [row[0] for row in rows] == list(range(1, len(stream) + 1))
    assert [row[4] for row in rows] == list(range(len(stream), 0, -1))
    assert calls == 3


# ---------------------------------------------------------------- pauses and limits


@njit
def sixteen(engine, book, kind, flags):
    """As many orders as a message may make; what happens to them makes none."""
    if kind == event.ORDER:
        return
    for quantity in range(1, 17):
        emit.new_order(engine, 1, view.BUY, quantity, 1_000_000)


FREE = Config(
    capacity=CAPACITY,
    risk=Risk(off=list(SWITCHES)),
    strategy=StrategyConfig(cells=1),
)


@pytest.mark.parametrize("packed", [False, True])
def test_orders_beyond_the_send_buffer_are_handed_over_on_the_way(packed):
    stream = [add(1), *[message("S", 0, TS, event_code="Q")] * 2999]
    engine = Engine(FREE, strategy=sixteen)
    if packed:
        for raw in packets(stream, 1000):
            engine.feed_packet(raw)
    else:
        engine.feed(run(stream))
    orders = engine.take_orders()
    assert len(orders) == 16 * 3000 and len(b"".join(orders)) > 2 * EGRESS_BYTES
    refs = [int.from_bytes(order[1:5], "big") for order in orders]
    assert refs == list(range(1, 48_001))
    assert engine.messages == 3000 and engine.counters["orders_sent"] == 48_000
    assert_bytes(engine.counters)


def test_a_pause_in_a_run_touches_no_line():
    """A daily run that pauses goes on as a run: messages of packets are not taken for known."""
    engine = Engine(FREE, strategy=sixteen)
    engine.feed_packet(frame(mold([add(1)], 1)))
    engine.feed(run([message("S", 0, TS, event_code="Q")] * 3000))
    engine.feed_packet(frame(mold([add(2)], 2)))
    assert engine.orders_live == 2 and engine.counters["duplicate_messages"] == 0
    assert engine.lines()[0]["next"] == 3 and engine.lines()[0]["messages"] == 2
    assert engine.counters["mold_truncated"] == 0


def test_on_orders_gets_what_take_orders_would():
    stream, taken = list(market(4, 1500)), []
    engine = Engine(trading(), strategy=busy, on_orders=lambda view: taken.append(bytes(view)))
    engine.feed(run(stream))
    assert engine.take_orders() == []
    other = Engine(trading(), strategy=busy)
    other.feed(run(stream))
    assert b"".join(taken) == run(other.take_orders()) != b""


@pytest.mark.parametrize("limit", [1, 7, 10, 11, 25, 100])
@pytest.mark.parametrize("packed", [False, True])
def test_a_limit_of_messages_stops_exactly_there(limit, packed):
    stream = [add(n) for n in range(1, 41)]
    engine = Engine(SMALL)
    engine.block.set("message_limit", limit)
    if packed:
        lent, held = lend(packets(stream, 10))
        engine.process(lent)
        engine.process(lent)
        del held
    else:
        engine.feed(run(stream))
        engine.feed(run(stream))
    assert engine.messages == min(limit, 40 if packed else 80)
    assert engine.orders_live == min(limit, 40)


def test_a_packet_that_is_not_due_yet_waits():
    """Paced: the first is due at once, the second in an hour."""
    engine = Engine(SMALL)
    lent, held = lend(packets([add(1), add(2)], 1))
    lent["ts_recv"] = [10, 10 + 3_600_000_000_000]
    one_cycle_each_ns = {"pace_multiplier": 1 << 14, "multiplier": 1 << 10, "shift": 10}
    started = {"pace_ts": 10, "pace_cycles": now_cycles(), "paced": 1}
    for name, value in {**one_cycle_each_ns, **started}.items():
        engine.block.set(name, value)
    assert engine.advance(lent) == 1
    assert engine.orders_live == 1 and engine.counters["packets"] == 1
    engine.block.set("pace_multiplier", 0)
    assert engine.advance(lent, 1) == 2
    assert engine.orders_live == 2
    del held
