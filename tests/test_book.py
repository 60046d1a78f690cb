"""Books: every stated outcome, and whole states equal to the reference on streams that collide."""

import pytest
from hypothesis import given, settings

from comparison import assert_equal
from itch_messages import run
from reference import Reference
from scenes import add, cancel, counted, delete, execute, follow, played, queue, replace
from streams import SMALL, collisions, messages
from structure import validate
from tickpath import Config, Engine
from tickpath.config import Capacity
from tickpath.layout import PAGE

# ---------------------------------------------------------------- outcomes, one by one


def test_orders_queue_first_in_first_out_and_levels_stand_best_first():
    engine = played(
        *(add(1), add(2, price=999_900), add(3), add(4, "S", 50, 1_000_100)),
        *(add(5, "S", 60, 1_000_300), add(6, price=1_000_050), add(7, "S", 70, 1_000_100)),
    )
    assert queue(engine) == [
        *((6, 0, 1_000_050, 100), (1, 0, 1_000_000, 100), (3, 0, 1_000_000, 100)),
        *((2, 0, 999_900, 100), (4, 1, 1_000_100, 50), (7, 1, 1_000_100, 70)),
        (5, 1, 1_000_300, 60),
    ]
    book = engine.book("AAPL")
    assert book.bids.tolist() == [(1_000_050, 100, 1), (1_000_000, 200, 2), (999_900, 100, 1)]
    assert book.asks.tolist() == [(1_000_100, 120, 2), (1_000_300, 60, 1)]
    assert counted(engine) == {}


def test_a_partial_execution_keeps_the_place_in_the_queue():
    engine = played(add(1), add(2), execute(1, 40))
    assert queue(engine) == [(1, 0, 1_000_000, 60), (2, 0, 1_000_000, 100)]


def test_a_replacement_goes_to_the_end_of_the_queue():
    engine = played(add(1), add(2), replace(1, 3))
    assert queue(engine) == [(2, 0, 1_000_000, 100), (3, 0, 1_000_000, 100)]


def test_a_replacement_may_keep_its_reference():
    engine = played(add(1), add(2), replace(1, 1, shares=7))
    assert queue(engine) == [(2, 0, 1_000_000, 100), (1, 0, 1_000_000, 7)]
    assert counted(engine) == {}


@pytest.mark.parametrize("operation", [execute(9, 1), cancel(9, 1), delete(9), replace(9, 10)])
def test_an_unknown_reference_is_ignored(operation):
    engine = played(add(1), operation)
    assert queue(engine) == [(1, 0, 1_000_000, 100)]
    assert counted(engine) == {"unknown_order_ref": 1}


def test_a_reference_that_is_live_keeps_the_old_order():
    engine = played(add(1), add(1, "S", 5, 1_000_200))
    assert queue(engine) == [(1, 0, 1_000_000, 100)]
    assert counted(engine) == {"duplicate_order_ref": 1}


def test_a_replacement_onto_a_live_reference_only_removes_the_original():
    engine = played(add(1), add(2), replace(1, 2, shares=7))
    assert queue(engine) == [(2, 0, 1_000_000, 100)]
    assert counted(engine) == {"duplicate_order_ref": 1}


@pytest.mark.parametrize(
    ("operation", "counter"), [(execute(1, 101), "over_execution"), (cancel(1, 101), "over_cancel")]
)
def test_more_than_is_left_takes_the_order_off(operation, counter):
    engine = played(add(1), operation)
    assert queue(engine) == []
    assert counted(engine) == {counter: 1}


@pytest.mark.parametrize("operation", [execute(1, 100), cancel(1, 100), delete(1)])
def test_exactly_what_is_left_takes_the_order_off_without_a_count(operation):
    engine = played(add(1), operation)
    assert queue(engine) == [] and engine.book_digest == 0
    assert counted(engine) == {}


@pytest.mark.parametrize("operation", [add(2, shares=0), execute(1, 0), cancel(1, 0)])
def test_zero_shares_are_ignored(operation):
    engine = played(add(1), operation)
    assert queue(engine) == [(1, 0, 1_000_000, 100)]
    assert counted(engine) == {"zero_quantity": 1}


def test_a_replacement_by_zero_shares_removes_the_original():
    engine = played(add(1), replace(1, 2, shares=0))
    assert queue(engine) == []
    assert counted(engine) == {"zero_quantity": 1}


@pytest.mark.parametrize(
    "operation",
    [execute(1, 40, locate=2), cancel(1, 40, locate=2), delete(1, 2), replace(1, 3, locate=2)],
)
def test_where_the_locate_is_another_the_order_decides(operation):
    engine = played(add(1), add(2, locate=2, stock="MSFT"), operation)
    assert counted(engine) == {"symbol_mismatch": 1}
    assert engine.book("MSFT").bids.tolist() == [(1_000_000, 100, 1)]


@pytest.mark.parametrize(
    ("bid", "offer", "expected"),
    [
        (1_000_000, 1_000_100, {}),
        (1_000_000, 1_000_000, {"locked_book": 1}),
        (1_000_001, 1_000_000, {"crossed_book": 1}),
        (0xFFFFFFFF, 0, {"crossed_book": 1}),
        (0, 0xFFFFFFFF, {}),
    ],
)
@pytest.mark.parametrize("first", ["bid", "offer"])
def test_a_new_best_price_that_locks_or_crosses_is_counted(bid, offer, expected, first):
    pair = [add(1, "B", price=bid), add(2, "S", price=offer)]
    assert counted(played(*(pair if first == "bid" else pair[::-1]))) == expected


@pytest.mark.parametrize(("side", "price"), [("S", 0), ("B", 0xFFFFFFFF), ("S", 0xFFFFFFFF)])
def test_an_extreme_price_alone_crosses_nothing(side, price):
    engine = played(add(1, side, price=price))
    assert queue(engine) == [(1, int(side == "S"), price, 100)]
    assert counted(engine) == {}


def test_a_full_level_leaves_the_order_out():
    most = 0xFFFFFFFF
    engine, reference = Engine(SMALL), Reference(SMALL)
    stream = [add(ref, shares=most) for ref in range(1, 2050)] + [add(3000, shares=5)]
    engine.feed(run(stream))
    reference.run(stream)
    assert_equal(engine, reference)
    assert counted(engine) == {"level_full": 1}
    assert engine.book("AAPL").bids.tolist() == [(1_000_000, 2048 * most + 5, 2049)]
    validate(engine)


def test_a_level_takes_half_a_million_orders_and_counts_the_rest():
    most = (1 << 19) - 1
    engine = Engine(Config(capacity=Capacity(symbols=2, orders=1 << 20)))
    for first in range(0, most + 10, 65_536):
        refs = range(first, min(first + 65_536, most + 10))
        engine.feed(run([add(ref, shares=1) for ref in refs]))
    assert engine.book("AAPL").bids.tolist() == [(1_000_000, most, most)]
    assert counted(engine) == {"level_full": 10}


def test_a_full_order_store_leaves_the_order_out_and_goes_on():
    tiny = Config(capacity=Capacity(symbols=4, orders=2 * PAGE, overflow_levels=2048, trades=1024))
    engine = played(
        *(add(1), add(2), add(PAGE), add(2 * PAGE), replace(1, 2 * PAGE), delete(2)),
        *(add(2 * PAGE), add(2), delete(2 * PAGE), delete(PAGE)),
        config=tiny,
    )
    # Three times a third page was wanted while both others held a living order.
    assert tiny.capacity.orders == 2 * PAGE
    assert queue(engine) == []
    assert counted(engine) == {"order_store_full": 3}


# ---------------------------------------------------------------- streams that collide


@settings(max_examples=150)
@given(messages())
def test_equal_to_the_reference_after_every_message(stream):
    engine, reference = Engine(SMALL), Reference(SMALL)
    for each in stream:
        engine.feed(run([each]))
        reference.apply(each)
        assert_equal(engine, reference)
    validate(engine)


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_the_reference_on_long_collisions(seed):
    met = follow(collisions(seed, 10_000)).counters
    for anomaly in (
        *("unknown_order_ref", "duplicate_order_ref", "symbol_mismatch", "over_execution"),
        *("over_cancel", "zero_quantity", "crossed_book", "locked_book", "side_invalid"),
        *("recentres", "overflow_adds", "broken_trades", "time_backwards", "wrong_length"),
    ):
        assert met[anomaly] > 5, f"the stream does not meet {anomaly}"


@pytest.mark.parametrize("refs", [300, 5000])
def test_equal_to_the_reference_with_deep_queues(refs):
    follow(collisions(refs, 8_000, range(1, refs)), whole_every=1000)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 118))
def test_equal_to_the_reference_on_very_long_collisions(seed):
    spread = (None, range(1, 40), range(1, 3000))[seed % 3]
    follow(collisions(seed, 250_000, spread), whole_every=5000)
