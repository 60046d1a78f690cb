"""The book behind its FIFO, at the rate of a 10 Gb/s line: what waits, and how long."""

import numpy as np
import pytest

from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath_backends.hdl import book_model, verilated
from tickpath_backends.hdl.book_check import compare
from tickpath_backends.hdl.book_flow import CENTS, Flow
from tickpath_backends.hdl.book_reference import Book, Op, operations

if reason := verilated.why_not():
    pytest.skip(reason, allow_module_level=True)

SMALL, DEPTH = 6, 256
CLOCK_MHZ = 322.265625
MESSAGE_BYTES = ITCH50["order_delete"].length + MOLDUDP64["message_block"].length
CYCLES = MESSAGE_BYTES * 8 / 10_000 * CLOCK_MHZ
"""Between two deletes back to back on the wire, within one packet."""
ADD, EXECUTE, CANCEL, DELETE, REPLACE = Op


@pytest.fixture(scope="module")
def library():
    return book_model.library_with_fifo({"IW": SMALL, "DEPTH": DEPTH})


@pytest.fixture
def model(library):
    made = book_model.BookModel(library, CENTS)
    yield made
    made.close()


def at_line_rate(made, first=0):
    """Operations with gaps as back-to-back deletes have them."""
    due = np.floor(np.arange(len(made) - first + 1) * CYCLES).astype(int)
    made["gap"][first + 1 :] = np.diff(due)[: len(made) - first - 1] - 1
    return made


def peak(model):
    assert not model.model.outputs[0]["fifo_lost"]
    return int(model.model.outputs[0]["fifo_peak"])


def sweep(levels, step):
    """One order a level, both sides of two symbols, then all deleted, best first."""
    rows, ref = [], 0
    for symbol in (4, 5):
        for side in (0, 1):
            for n in range(levels):
                ref += 1
                price = 100 * (30000 + (n if side else -n) * step)
                rows.append((ADD, symbol, ref, 0, side, price, 10, 40))
    return rows, [(DELETE, 4 + n // (2 * levels), n + 1) for n in range(ref)]


def test_a_delete_takes_five_cycles_on_the_wire():
    assert MESSAGE_BYTES == 21
    assert 5.41 < CYCLES < 5.42


@pytest.mark.parametrize(("count", "step"), [(100, 1), (80, 9), (22, 33)])
def test_a_sweep_of_all_levels_at_line_rate(model, count, step):
    # The small store has 512 slots, and a side's levels have to be in its window.
    adds, deletes = sweep(count, step)
    made = at_line_rate(operations([*adds, *deletes]), len(adds))
    results = model.run(made)
    assert compare(made, results, Book(SMALL, CENTS)).rescans == 0
    assert int(results["latency"].min()) == 8
    # Refills make a delete take 6.4 cycles (8.3 where each level has a word of bits to itself).
    assert peak(model) <= len(deletes) // 2
    assert int(results["latency"][len(adds) :].max()) <= 100 + 10 * peak(model)


def test_any_operations_at_line_rate(model):
    flow = Flow(41, symbols=4, live=300, ticks=300, recent=0.3)
    made = at_line_rate(flow.operations(10_000))
    results = model.run(made)
    compare(made, results, Book(SMALL, CENTS))
    assert peak(model) <= 32


def test_faster_than_the_book_they_wait_in_order(model):
    # Sixty operations in sixty cycles: half of them have to wait, in both parts of the FIFO.
    rows = [(ADD, n % 8, n, 0, n % 2, 500000, n) for n in range(1, 61)]
    made = operations(rows)
    results = model.run(made)
    assert compare(made, results, Book(SMALL, CENTS)).rescans == 0
    assert 20 < peak(model) < 60


def test_what_finds_no_room_is_counted(model):
    rows = [(ADD, 1, 1, 0, 0, 500000, 5)]
    rows += [(EXECUTE, 1, 1, 0, 0, 0, 1)] * (3 * DEPTH + 200)
    given = model.model.inputs[0]
    for row in operations(rows):
        given["in_valid"] = 1
        for port in ("op", "symbol", "order_ref", "is_sell", "price", "shares"):
            given[f"in_{port}"] = row[port]
        model.model.step()
    given["in_valid"] = 0
    model.model.step(4 * DEPTH)
    said = model.model.outputs[0]
    assert said["fifo_lost"] == 1
    assert said["fifo_dropped"] > 0
    given["count_select"] = 0  # executions of an order that is gone
    model.model.step(3)
    taken = len(rows) - 1 - 5 - int(said["fifo_dropped"])
    assert int(model.model.outputs[0]["count_value"]) == taken


@pytest.mark.long
@pytest.mark.parametrize(("count", "step"), [(760, 1), (240, 3), (22, 34)])
def test_sweeps_of_a_whole_window(count, step):
    made = book_model.BookModel(book_model.library_with_fifo({"IW": 15, "DEPTH": 16384}), CENTS)
    adds, deletes = sweep(count, step)
    given = at_line_rate(operations([*adds, *deletes]), len(adds))
    results = made.run(given)
    assert compare(given, results, Book(15, CENTS)).rescans == 0
    worst = int(results["latency"][len(adds) :].max()) - 8
    print(f"{len(deletes)} deletes, step {step}: peak {peak(made)}, worst wait {worst} cycles")
    assert peak(made) < len(deletes) // 2
    made.close()


@pytest.mark.long
def test_the_longest_rescan_at_line_rate():
    """Nearly all of the store is read while deletes go on arriving: nothing is lost.

    The second pass is short: the first has cleared the bits of rows that had nothing (rescan.sv).
    """
    made = book_model.BookModel(book_model.library_with_fifo({"IW": 15, "DEPTH": 16384}), CENTS)
    rows = [(ADD, 4, 1, 0, 1, 3000000, 5, 100), (ADD, 4, 2, 0, 1, 3400000, 5, 200)]
    # Orders of the side have been in all rows.
    for _ in range(2):
        rows += [(ADD, 4, 10 + n, 0, 1, 3000000, 5, 4) for n in range(40_000)]
        rows += [(DELETE, 4, 10 + n, 0, 0, 0, 0, 4) for n in range(40_000)]
    rows += [(ADD, 5, 10 + n, 0, 0, 3000000 - 100 * (n % 500), 5, 4) for n in range(20_000)]
    first = len(rows)
    rows += [(DELETE, 4, 1, 0, 0, 0, 0, 255)]
    rows += [(DELETE, 5, 10 + n) for n in range(20_000)]
    given = at_line_rate(operations(rows), first)
    results = made.run(given)
    seen = compare(given, results, Book(15, CENTS))
    assert seen.rescans == 1
    longest = int(results["latency"].max()) - 8
    print("peak", peak(made), "worst wait, cycles", longest)
    assert 2**15 < longest < 2 * (2**15 + 1_280) + 500
    assert peak(made) < 12_800
    made.close()
