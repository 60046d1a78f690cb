"""The book in SystemVerilog, Verilated and in process, against dictionaries.

The small store has 512 slots, so that buckets fill up and references collide all the time.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tickpath_backends.hdl import book_model, verilated
from tickpath_backends.hdl.book_check import LEVEL, OFF_GRID, STORE_FULL, compare
from tickpath_backends.hdl.book_flow import CENTS, Flow
from tickpath_backends.hdl.book_reference import Book, Op, Status, operations

if reason := verilated.why_not():
    pytest.skip(reason, allow_module_level=True)

SMALL = 6
LATENCY = 8
ADD, EXECUTE, CANCEL, DELETE, REPLACE = Op
SELL = 1

HOT = Flow(3, symbols=1, live=12, recent=0.7, ticks=12, mix=(45, 20, 15, 10, 10))
FLOWS = {
    "mixed": Flow(1),
    "gaps": Flow(2, gaps=0.5),
    "one symbol": HOT,
    "one symbol, gaps": replace(HOT, seed=4, gaps=0.3),
    "six orders": replace(HOT, seed=12, live=6, ticks=4, recent=0.8, gaps=0.3),
    "replaces": Flow(5, symbols=2, live=30, recent=0.6, ticks=15, mix=(20, 5, 5, 5, 65)),
    "sparse": Flow(6, symbols=2, live=150, ticks=500, jump=0.05, mix=(52, 5, 3, 30, 10)),
    "sparse, gaps": Flow(13, symbols=2, live=150, ticks=500, gaps=0.4, mix=(52, 5, 3, 30, 10)),
    "full": Flow(7, symbols=16, live=420, recent=0.4, mix=(60, 10, 5, 15, 10)),
    "sequential": Flow(14, symbols=16, live=400, recent=0.4, sequential=True),
}
"""Flows whose prices stay within a window of where the market is."""
FAR_FLOWS = {
    "far": Flow(8, symbols=3, live=100, ticks=1500, mix=(50, 10, 5, 25, 10)),
    "jumps": Flow(9, symbols=2, live=60, ticks=300, jump=0.02, stride=1500),
    "far jumps": Flow(10, symbols=2, live=20, ticks=1200, jump=0.02, stride=2500, gaps=0.3),
    "off the grid": Flow(11, symbols=4, live=40, ticks=1500, odd=0.1, gaps=0.1),
}


def compiled(index_bits):
    # `mutants` puts sources with a fault in their place.
    directory = os.environ.get(book_model.SOURCES_VARIABLE)
    sources = book_model.SOURCES
    if directory:
        sources = tuple(Path(directory) / path.name for path in sources)
    # A fault is looked for once, so its model is compiled quickly rather than well.
    return book_model.library({"IW": index_bits}, sources, "-O1" if directory else "-O2")


@pytest.fixture(scope="module")
def library():
    return compiled(SMALL)


@pytest.fixture(scope="module")
def large():
    """In the real size."""
    made = book_model.BookModel(compiled(15), CENTS)
    yield made
    made.close()


@pytest.fixture
def model(library):
    made = book_model.BookModel(library, CENTS)
    yield made
    made.close()


def checked(model, rows):
    """Results of operations, all compared with the reference."""
    made = rows if isinstance(rows, np.ndarray) else operations(rows)
    results = model.run(made)
    assert np.array_equal(results["sideband"], np.arange(len(made)))
    return results, compare(made, results, Book(SMALL, CENTS))


@pytest.mark.parametrize("name", FLOWS)
def test_random_operations(model, name):
    made = replace(FLOWS[name]).operations(20_000)
    results, seen = checked(model, made)
    assert seen.rescans == 0
    for op in Op:
        latency = results["latency"][made["op"] == op]
        assert int(latency.min()) == LATENCY
        # The others waited for the engine, whose symbol they are of, or behind such a one.
        assert float((latency == LATENCY).mean()) > 0.93
    assert seen.changes > 500


@pytest.mark.parametrize("name", FAR_FLOWS)
def test_prices_beyond_the_window(model, name):
    _, seen = checked(model, replace(FAR_FLOWS[name]).operations(10_000))
    assert seen.far > 100
    assert seen.rescans > 0
    assert seen.statuses.get(Status.OFF_GRID, 0) > 0 or name != "off the grid"


def test_every_anomaly_occurs(model):
    _, seen = checked(model, Flow(21, symbols=8, live=440, bad=0.05, recent=0.4).operations(8000))
    wanted = set(Status) - {Status.FAR, Status.OFF_GRID}
    assert wanted <= set(seen.statuses)


def test_a_level_that_is_too_large_is_flagged(model):
    """From half of what it can hold on, whether it is the best or behind it."""
    most = (1 << 32) - 1
    rows = [(ADD, 8, n + 1, 0, SELL, 4000000, most) for n in range(9)]
    rows += [(ADD, 9, 100 + n, 0, 0, 3000000, most) for n in range(9)]
    rows += [(ADD, 9, 120, 0, 0, 3000100, 1), (DELETE, 9, 120, 0, 0, 0, 0, 20)]
    results, _ = checked(model, rows)
    assert [bool(each & LEVEL) for each in results["flags"]] == [False] * 8 + [True] + [
        False
    ] * 8 + [True] * 3


def test_an_operation_in_two_cycles_of_any_kind(model):
    # One order is replaced all the time, each time by the next operation's old one.
    rows = [(ADD, 0, 1, 0, SELL, 500000, 10)]
    rows += [(REPLACE, 0, n, n + 1, 0, 500000 + 100 * (n % 3), 10 + n) for n in range(1, 2000)]
    results, _ = checked(model, rows)
    spacing = np.diff(results["accepted"].astype(np.int64))
    assert set(spacing[20:]) == {2}
    assert set(results["latency"][20:]) == {LATENCY}


def test_a_reset_in_the_middle_forgets_everything(model):
    flow = replace(FLOWS["replaces"])
    for cycles in (301, 302, 317, 1000):
        model.run(flow.operations(5000), cycles)
        model.reset()
        checked(model, Flow(cycles, symbols=3, live=40, ticks=30).operations(500))
        model.reset()


def test_quantities_of_zero(model):
    rows = [
        (ADD, 1, 10, 0, 0, 500000, 0),
        (DELETE, 1, 10),
        (ADD, 1, 10, 0, 0, 500000, 7),
        (EXECUTE, 1, 10, 0, 0, 0, 0),
        (CANCEL, 1, 10, 0, 0, 0, 0),
        (REPLACE, 1, 10, 11, 0, 500100, 0),
        (DELETE, 1, 10),
        (DELETE, 1, 11),
    ]
    results, _ = checked(model, rows)
    zero, unknown = int(Status.ZERO), int(Status.UNKNOWN)
    assert list(results["status"]) == [zero, unknown, 0, zero, zero, zero, unknown, unknown]
    assert list(results["changed"]) == [0, 0, 1, 0, 0, 1, 0, 0]


def test_references_of_another_symbol(model):
    rows = [
        (ADD, 1, 10, 0, 0, 500000, 7),
        (ADD, 2, 10, 0, 0, 500000, 7),
        (EXECUTE, 2, 10, 0, 0, 0, 5),
        (REPLACE, 2, 10, 12, 0, 500100, 5),
        (DELETE, 2, 10),
        (DELETE, 1, 10),
    ]
    for gap in (0, 1, 2, 3, 4, 5, 6, 20):
        results, _ = checked(model, [(*row, *(0,) * (7 - len(row)), gap) for row in rows])
        no, twice = int(Status.MISMATCH), int(Status.DUPLICATE)
        assert list(results["status"]) == [0, twice, no, no, no, 0]
        model.reset()


@pytest.mark.parametrize("op", [EXECUTE, CANCEL, REPLACE])
def test_an_order_is_acted_on_at_every_distance(model, op):
    """Add, then reduce, then delete one order, so many cycles apart."""
    rows, ref = [], 1 << 40
    for first in range(10):
        for second in range(10):
            ref += 16
            new = ref + 1
            rows.append((ADD, 3, ref, 0, SELL, 500, 100))
            rows.append((op, 3, ref, new, 0, 501, 40, first))
            rows.append((DELETE, 3, new if op == REPLACE else ref, 0, 0, 0, 0, second))
            rows.append((DELETE, 3, ref, 0, 0, 0, 0, first))
    checked(model, rows)


def levels(symbol, side, count, step, base=30000, first=1):
    """Adds of one order on each of so many levels, worst first; references from ``first``."""
    away = range(count, 0, -1)
    return [
        (ADD, symbol, first + n, 0, side, 100 * (base + (n if side else -n) * step), 10)
        for n in away
    ]


@pytest.mark.parametrize("side", [0, 1])
def test_changes_at_the_limit_of_the_drain(model, side):
    """The last operations before a block come as late as they can, and the refill sees them.

    A cache of eight is brought to five levels, which blocks the symbol; the four operations that
    still follow delete the best ones, and one brings a level just below the cached ones, in a group
    of 32 ticks where none was.
    """
    rows, first = [], 1 << 32
    for last in range(5):
        for gap in range(4):
            rows += levels(4, side, 12, 40, first=first)
            rows.append((DELETE, 5, 1, 0, 0, 0, 0, 200))
            for n in range(1, 4):
                rows.append((DELETE, 4, first + n))
            for n in range(5):
                away = 8 * 40 + 20 + n
                price = 100 * (30000 + (away if side else -away))
                new = first + 100 + n
                if n == last:
                    rows.append((ADD, 4, new, 0, side, price, 5, gap))
                elif n == last + 1:
                    rows.append((REPLACE, 4, first + 4 + n, new, 0, price, 6))
                else:
                    rows.append((DELETE, 4, first + 4 + n))
            for n in range(1, 13):
                rows.append((DELETE, 4, first + n, 0, 0, 0, 0, 3 * (n % 2)))
            rows += [(DELETE, 4, first + 100 + n) for n in range(5)]
            first += 1000
    checked(model, rows)


@pytest.mark.parametrize("side", [0, 1])
def test_a_burst_of_deletes_never_runs_out(model, side):
    """As many levels as can be leave before a block shows, for every number of levels cached."""
    rows, first = [], 1 << 32
    for ahead in range(9):
        rows += levels(4, side, 40, 7, first=first)
        rows.append((DELETE, 5, 1, 0, 0, 0, 0, 200))
        rows += [(DELETE, 4, first + n, 0, 0, 0, 0, 100) for n in range(1, ahead + 1)]
        rows += [(DELETE, 4, first + n) for n in range(ahead + 1, 41)]
        first += 1000
    checked(model, rows)


def test_a_refill_is_written_between_operations_of_others(model):
    """While a symbol is refilled others' operations write their rows in every second cycle.

    If one of them took the place of the refill's write, the burst that follows would run out.
    """
    rows, first, other = [], 1 << 32, 1 << 50
    for between in range(12, 60):
        rows += levels(4, SELL, 24, 9, first=first)
        rows.append((DELETE, 5, 1, 0, 0, 0, 0, 200))
        for burst in range(4):
            rows += [(DELETE, 4, first + 1 + 6 * burst + n) for n in range(6)]
            for n in range(between // 2):
                rows.append((ADD, 6, other, 0, n % 2, 4000000 + 100 * (n % 2), 1))
                other += 1
            rows[-1] = (*rows[-1], between % 2)
        rows += [(DELETE, 6, other - 1 - n) for n in range(between // 2 * 4)]
        first += 1000
    checked(model, rows)


def test_windows_at_their_edges(model):
    """Levels at the first and the last tick of a window, one before it and one behind it."""
    rows, first = [], 1 << 32
    for side in (0, 1):
        for symbol, tick in ((8, 100), (7, 1)):
            sign = 1 if side else -1
            for away in (1023 - 256, 1024 - 256, 1023, 1024, -256, -257, -1024, -1025, 512, 513):
                price = (40000 + sign * away) * tick
                rows.append((ADD, symbol, first, 0, side, 40000 * tick, 1, 60))
                rows.append((ADD, symbol, first + 1, 0, side, price, 2, 60))
                rows.append((EXECUTE, symbol, first + 1, 0, 0, 0, 1, 60))
                rows.append((DELETE, symbol, first, 0, 0, 0, 0, 60))
                rows.append((EXECUTE, symbol, first + 1, 0, 0, 0, 1, 60))
                first += 10
    _, seen = checked(model, rows)
    assert seen.far > 0
    assert seen.rescans > 0


def test_prices_at_the_ends_of_their_range(model):
    top = (1 << 32) - 1
    rows, first = [], 1
    for side in (0, 1):
        for symbol, prices in (
            (7, (0, 1, 300, top, top - 1, top - 400)),
            (8, (0, 100, top // 100 * 100)),
        ):
            for price in prices:
                rows.append((ADD, symbol, first, 0, side, price, top, 50))
                rows.append((ADD, symbol, first + 1, 0, side, price, top, 0))
                rows.append((EXECUTE, symbol, first, 0, 0, 0, top - 1, 0))
                rows.append((DELETE, symbol, first, 0, 0, 0, 0, 50))
                rows.append((DELETE, symbol, first + 1, 0, 0, 0, 0, 50))
                first += 10
    checked(model, rows)


def test_every_price_near_a_tick_is_told_apart(model):
    """On the grid or off it, for prices all over the range: the flag of a fresh symbol."""
    draw = np.random.default_rng(5)
    rows, expected = [], []
    for n, price in enumerate(draw.integers(1, 1 << 32, 3000)):
        near = int(price) if n % 2 else int(price) // 100 * 100
        rows.append((ADD, 8, 1000 + n, 0, SELL, near, 1, 40))
        rows.append((DELETE, 8, 1000 + n, 0, 0, 0, 0, 40))
        expected.append(near % 100 != 0)
    results, _ = checked(model, rows)
    said = (results["status"][::2] & int(Status.OFF_GRID)) != 0
    assert list(said) == expected
    assert results["flags"][-1] & OFF_GRID


def test_every_sum_of_a_price_s_parts_is_told_apart(model):
    """The grid is told by a sum of three parts of the price (book.sv): all sums that there are."""
    rows, expected = [], []
    for n, difference in enumerate(each for each in range(-1023, 2047) if each):
        low = max(0, min(difference, 1023))
        middle, high = max(0, -difference), max(0, difference - 1023)
        price = high << 22 | middle << 12 | low << 2
        rows.append((ADD, 8, 1000 + n, 0, SELL, price, 1, 40))
        rows.append((DELETE, 8, 1000 + n, 0, 0, 0, 0, 40))
        expected.append(price % 100 != 0)
    results, _ = checked(model, rows)
    said = (results["status"][::2] & int(Status.OFF_GRID)) != 0
    assert list(said) == expected and not all(expected)


def test_a_rescan_finds_orders_wherever_they_are(model):
    """In a store that is nearly full each order in turn is the best of a side that was lost."""
    prices = [4_000_000 + 150_000 * n for n in range(480)]
    rows = [(ADD, 8, 1 + n, 0, SELL, price, 5, 20) for n, price in enumerate(prices)]
    rows += [(DELETE, 8, 1 + n, 0, 0, 0, 0, 20) for n in range(len(prices))]
    _, seen = checked(model, rows)
    assert seen.rescans == len(prices) - 1


def test_a_side_that_is_lost_is_found_again(model):
    """Its window is empty while far orders live: the true top is published, behind a rescan.

    The operation behind the one that emptied the window is on its way already, and comes again.
    """
    far = 100 * (40000 + 3000)
    rows = [
        (ADD, 8, 1, 0, SELL, 4000000, 5),
        (ADD, 8, 2, 0, SELL, far, 6, 100),
        (ADD, 8, 3, 0, SELL, far + 100, 7),
        (DELETE, 8, 1, 0, 0, 0, 0, 100),
        (EXECUTE, 8, 2, 0, 0, 0, 6, 0),
        (DELETE, 8, 3, 0, 0, 0, 0, 255),
    ]
    results, seen = checked(model, rows)
    assert (seen.rescans, seen.far) == (1, 2)
    assert list(results["rescans"]) == [0, 0, 0, 1, 0, 0]
    assert int(results["latency"].max()) < 400


@pytest.mark.parametrize("kind", [DELETE, EXECUTE, REPLACE])
def test_what_is_called_back_comes_again_once(model, kind):
    """Operations of all kinds, symbols and distances behind one that loses its side."""
    draw = np.random.default_rng(int(kind))
    rows, first = [], 1 << 32
    for turn in range(200):
        gap = turn // 6 % 10
        side, symbol = turn % 2, 8 + turn % 3
        sign = 1 if side else -1
        near, far = 4000000, 4000000 + sign * 300000
        rows.append((ADD, symbol, first, 0, side, near, 5, 20))
        for n in range(1, 4):
            rows.append((ADD, symbol, first + n, 0, side, far + sign * 100 * n, 5, 20))
        last = (kind, symbol, first, first + 9, 0, far + sign * 200000, 5, 30)
        rows.append(last if kind == REPLACE else (kind, symbol, first, 0, 0, 0, 5, 30))
        others = [
            (DELETE, symbol, first + 1),
            (ADD, symbol, first + 10, 0, side, near, 3),
            (ADD, symbol, first + 11, 0, 1 - side, near - sign * 5000, 3),
            (REPLACE, symbol, first + 2, first + 12, 0, far, 8),
            (ADD, 20, first + 13, 0, side, near, 9),
            (EXECUTE, symbol, first + 3, 0, 0, 0, 2),
            (ADD, 20, first, 0, side, near, 9),  # the reference of the one that is gone
            (DELETE, symbol, first + 77),
        ]
        draw.shuffle(others)
        for n, row in enumerate(others):
            row = tuple(int(each) for each in row)
            rows.append((*row, *(0,) * (7 - len(row)), gap if n % 3 == turn % 3 else gap // 4))
        rows += [(DELETE, symbol, first + n, 0, 0, 0, 0, 60) for n in (1, 3, 9, 10, 11, 12)]
        rows += [(DELETE, 20, first + n) for n in (0, 13)]
        first += 1000
    _, seen = checked(model, rows)
    assert seen.rescans >= 200


def test_one_order_more_than_the_profile_has_is_flagged(large):
    """At that order, of its symbol; room is there again when one leaves."""
    large.reset()
    rows = [(ADD, 1, n + 1, 0, n % 2, 4000000 + 100 * (n % 7), 1) for n in range(65_536)]
    rows += [(REPLACE, 1, 5, 70_000, 0, 4000000, 2), (ADD, 2, 70_001, 0, 0, 4000000, 1)]
    rows += [(DELETE, 1, 1), (DELETE, 1, 2), (ADD, 3, 70_002, 0, 0, 4000000, 1)]
    made = operations(rows)
    results = large.run(made)
    compare(made, results, Book(15, CENTS))
    assert list(results["flags"][-5:]) == [0, STORE_FULL, 0, 0, 0]


def test_a_rescan_reads_only_rows_that_may_matter(large):
    """Each pass, in the real size: its words of bits, and what orders of the side there were."""
    large.reset()
    rows = [(ADD, 8, 1, 0, SELL, 4000000, 5), (ADD, 8, 2, 0, SELL, 4300000, 6, 100)]
    rows += [(ADD, 9, 10 + n, 0, SELL, 4000000 + 100 * n, 5) for n in range(500)]
    rows += [(ADD, 8, 1000 + n, 0, SELL, 4000000, 5) for n in range(500)]
    rows += [(DELETE, 8, 1000 + n) for n in range(500)]
    # Behind the first rescan the store is known to have nothing else of the side.
    rows += [(DELETE, 8, 1, 0, 0, 0, 0, 255), (ADD, 8, 1, 0, SELL, 4000000, 5, 255)] * 4
    made = operations(rows)
    results = large.run(made)
    seen = compare(made, results, Book(15, CENTS))
    waits = [int(each) for each in results["latency"][results["rescans"] == 1]]
    assert seen.rescans == len(waits) == 4
    assert 500 < waits[0] < 4_000 and max(waits[1:]) < 500


@pytest.mark.parametrize("side", [0, 1])
def test_dropped_levels_are_remembered_while_others_are_busy(model, side):
    """A window moves and drops levels while far orders of another symbol come in every 2 cycles."""
    rows, first, sign = [], 1 << 32, 1 if side else -1
    rows.append((ADD, 6, 1, 0, side, 4000000, 5, 100))
    for busy in range(24):
        for n, away in enumerate((0, 700, -900)):
            price = 100 * (30000 + sign * away)
            rows.append((ADD, 4, first + n, 0, side, price, 5, 100 * (n < 2)))
        others = range(first + 100, first + 130)
        rows += [(ADD, 6, n, 0, side, 4000000 + sign * 300000, 1) for n in others]
        rows[-30] = (*rows[-30], busy)
        rows += [(DELETE, 6, n) for n in others]
        # The best leaves: what was dropped is found again.
        rows.append((DELETE, 4, first + 2, 0, 0, 0, 0, 100))
        rows.append((EXECUTE, 4, first, 0, 0, 0, 1, 200))
        rows += [(DELETE, 4, first + 1, 0, 0, 0, 0, 100), (DELETE, 4, first, 0, 0, 0, 0, 100)]
        first += 1000
    _, seen = checked(model, rows)
    assert seen.rescans > 0


@pytest.mark.long
def test_65536_live_orders_in_long_churn():
    model = book_model.BookModel(book_model.library({"IW": 15}), CENTS)
    book = Book(15, CENTS)
    for sequential in (True, False):
        live = {"live": 65_536, "ticks": 400, "bad": 0.002, "sequential": sequential}
        flow = Flow(30 + sequential, mix=(100, 0, 0, 0, 0), **live)
        for count, mix in ((66_000, (100, 0, 0, 0, 0)), (500_000, (60, 10, 8, 12, 10))):
            flow.mix = mix
            made = flow.operations(count)
            results = model.run(made)
            seen = compare(made, results, book)
            assert seen.rescans == 0
            assert Status.FULL not in seen.statuses
            assert int(results["latency"].min()) == LATENCY
        assert len(book.orders) > 64_000
        model.reset()
        book = Book(15, CENTS)
    model.close()
