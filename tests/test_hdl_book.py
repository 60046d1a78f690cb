"""The book in SystemVerilog, Verilated and in process, against dictionaries."""

import pytest

from tickpath_backends.hdl import book_model, verilated
from tickpath_backends.hdl.book_check import Checked, compare
from tickpath_backends.hdl.book_flow import CENTS, Flow
from tickpath_backends.hdl.book_reference import Book

if reason := verilated.why_not():
    pytest.skip(reason, allow_module_level=True)

SMALL = 6
"""Index bits of the small store: 512 slots, so that buckets fill up and collide."""

FLOWS = {
    "mixed": Flow(1),
    "gaps": Flow(2, gaps=0.5),
    "one symbol": Flow(3, symbols=1, live=12, recent=0.7, ticks=12, mix=(45, 20, 15, 10, 10)),
    "one symbol, gaps": Flow(4, symbols=1, live=12, recent=0.7, ticks=12, gaps=0.3),
    "replaces": Flow(5, symbols=2, live=30, recent=0.6, ticks=15, mix=(20, 5, 5, 5, 65)),
    "sparse": Flow(6, symbols=2, live=150, ticks=500, jump=0.05, mix=(52, 5, 3, 30, 10)),
    "full": Flow(7, symbols=16, live=420, recent=0.4, mix=(60, 10, 5, 15, 10)),
}


@pytest.mark.parametrize("name", FLOWS)
def test_random_operations(name):
    model = book_model.BookModel(book_model.library({"IW": SMALL}), CENTS)
    operations = FLOWS[name].operations(10_000)
    results = model.run(operations)
    seen = compare(operations, results, Book(SMALL, CENTS))
    model.close()
    assert isinstance(seen, Checked)
    assert seen.lost == 0
    assert int(results["latency"].min()) == 8
