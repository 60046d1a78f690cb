"""Reading books from Python: as many levels as asked, orders as they queue, single books."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itch_messages import run
from reference import Reference
from scenes import add, played
from streams import SMALL, collisions
from tickpath import Engine, depth
from tickpath.digest import symbol_text

LADDER = [
    *(add(n, "B", 10 + n, 1_000_000 - 100 * n) for n in range(1, 8)),
    *(add(20 + n, "B", 5, 1_000_000 - 100 * n + 1) for n in range(1, 4)),  # sub-penny: in the tree
    *(add(40 + n, "S", 10 + n, 1_000_100 + 100 * n) for n in range(1, 6)),
    *(add(60, "B", 1, 100), add(61, "S", 1, 1_999_999_900), add(62, "S", 7, 1_000_200)),
]
BIDS = [
    *((999_901, 5, 1), (999_900, 11, 1), (999_801, 5, 1), (999_800, 12, 1), (999_701, 5, 1)),
    *((999_700, 13, 1), (999_600, 14, 1), (999_500, 15, 1), (999_400, 16, 1), (999_300, 17, 1)),
    (100, 1, 1),
]
ASKS = [
    *((1_000_200, 18, 2), (1_000_300, 12, 1), (1_000_400, 13, 1), (1_000_500, 14, 1)),
    *((1_000_600, 15, 1), (1_999_999_900, 1, 1)),
]


@pytest.fixture(scope="module")
def ladder() -> Engine:
    return played(*LADDER)


@pytest.mark.parametrize("most", [0, 1, 2, 5, 10, 11, 12, None])
def test_as_many_levels_as_asked_best_first(ladder, most):
    book = ladder.book("AAPL", most)
    assert (book.venue, book.symbol) == ("nasdaq", "AAPL")
    assert book.bids.tolist() == BIDS[:most]
    assert book.asks.tolist() == ASKS[:most]
    assert book.bids.dtype == book.asks.dtype == depth.DEPTH


def test_levels_are_counted_without_being_read(ladder):
    counts = [int(depth.count_levels(ladder.block.address, np.uint64(sd))) for sd in range(6)]
    assert counts == [0, 0, len(BIDS), len(ASKS), 0, 0]


def test_no_more_is_written_than_there_is_room_for(ladder):
    rows = np.zeros(len(BIDS), depth.DEPTH)
    address = np.uint64(rows.ctypes.data)
    for most in range(len(rows)):
        rows[:] = (7, 7, 7)
        written = depth.read_levels(ladder.block.address, np.uint64(2), address, np.uint64(most))
        assert int(written) == most
        assert rows[:most].tolist() == BIDS[:most]
        assert set(rows[most:].tolist()) == {(7, 7, 7)}
    resting = np.zeros(30, depth.QUEUED)
    resting[:] = (9, 9, 9, 9, 9, 9)
    first, last, most = np.uint64(2), np.uint64(4), np.uint64(4)
    address = np.uint64(resting.ctypes.data)
    assert depth.read_orders(ladder.block.address, first, last, address, most) == 4
    assert [tuple(row) for row in resting[4:].tolist()] == [(9, 9, 9, 9, 9, 9)] * 26


def test_resting_orders_of_one_symbol_and_of_all(ladder):
    rows = ladder.resting("AAPL")
    assert rows.dtype == depth.RESTING
    assert rows.tolist() == ladder.resting().tolist() == ladder.resting(1).tolist()
    assert rows[0].tolist() == (21, 1, 0, 999_901, 5)
    assert rows[len(BIDS)].tolist() == (41, 1, 1, 1_000_200, 11)
    assert rows[len(BIDS) + 1].tolist() == (62, 1, 1, 1_000_200, 7)


def test_an_unknown_symbol_is_a_key_error(ladder):
    with pytest.raises(KeyError, match="MSFT"):
        ladder.book("MSFT")
    with pytest.raises(KeyError, match="MSFT"):
        ladder.resting("MSFT")
    with pytest.raises(KeyError, match="2"):
        ladder.resting(2)


@given(st.integers(0, 50), st.integers(0, 12))
def test_the_first_levels_are_those_of_the_reference(seed, most):
    engine, reference = Engine(SMALL), Reference(SMALL)
    stream = list(collisions(1000 + seed, 150, range(1, 80)))
    engine.feed(run(stream))
    reference.run(stream)
    for number in engine.symbols.values():
        book = engine.book(number, most)
        for side, rows in ((0, book.bids), (1, book.asks)):
            prices = reference.prices(number, side)[:most]
            assert rows.tolist() == [reference.level(number, side, price) for price in prices]
    used = engine.block.book[engine.block.book["venue"] > 0]["symbol"].tolist()
    assert [book.symbol for book in engine.books()] == sorted(map(symbol_text, used))
