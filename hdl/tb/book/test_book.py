"""cocotb bench of the book: a driver with idle cycles, a monitor, the reference as scoreboard.

What is covered is counted: every kind of operation behind every other one of the same symbol and of
the same order, by their distance in cycles, and every status.  Latency in cycles is asserted.
"""

import random
from collections import Counter, deque

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tickpath_backends.hdl.book_check import compare
from tickpath_backends.hdl.book_flow import CENTS, Flow
from tickpath_backends.hdl.book_model import RESULT
from tickpath_backends.hdl.book_reference import Book, Op, Status
from tickpath_backends.hdl.coverage import Coverage

INDEX_BITS = 6
LATENCY = 8
PORTS = {
    "op": "op",
    "symbol": "symbol",
    "is_sell": "is_sell",
    "order_ref": "order_ref",
    "new_order_ref": "new_order_ref",
    "price": "price",
    "shares": "shares",
}
OUTPUTS = ("bid_px", "ask_px", "bid_sz", "ask_sz", "symbol", "status", "flags", "sideband")
IDLE = {
    "none": lambda draw: 0,
    "some": lambda draw: draw.randrange(8),
    "long": lambda draw: draw.choice((0, 1, 2, 12, 40)),
}


class Bench:
    """The book with its clock; all is sampled at falling edges, where registers stand still."""

    def __init__(self, dut):
        self.dut = dut
        self.cycle = 0
        self.accepted = deque()
        self.results = []
        Clock(dut.clk, 3104, "ps").start()

    async def reset(self):
        dut = self.dut
        dut.rst.value, dut.in_valid.value, dut.cfg_we.value = 1, 0, 0
        for _ in range(4):
            await FallingEdge(dut.clk)
        dut.rst.value = 0
        for symbol in range(64):
            dut.cfg_we.value, dut.cfg_symbol.value = 1, symbol
            dut.cfg_cent.value = int(symbol in CENTS)
            await FallingEdge(dut.clk)
        dut.cfg_we.value = 0
        while int(dut.in_ready.value) == 0:
            await FallingEdge(dut.clk)

    async def _next(self):
        """To the next cycle; what is published in it is taken."""
        await FallingEdge(self.dut.clk)
        self.cycle += 1
        dut = self.dut
        if not int(dut.out_valid.value):
            return
        at = self.accepted.popleft()
        r = np.zeros((), RESULT)
        for name in OUTPUTS:
            r[name] = int(getattr(dut, f"out_{name}").value) & (1 << 64) - 1
        r["changed"] = int(dut.out_bid_changed.value) | int(dut.out_ask_changed.value) << 1
        # The operation was accepted by the edge before cycle `at`, its top loaded by the one
        # before this cycle.
        r["accepted"], r["latency"] = at, self.cycle - at
        r["rescans"] = int(dut.out_rescanned.value)
        self.results.append(r)

    async def run(self, operations, idle, seed):
        draw = random.Random(seed)
        dut = self.dut
        for number, o in enumerate(operations):
            for _ in range(IDLE[idle](draw)):
                await self._next()
            dut.in_valid.value = 1
            for port, name in PORTS.items():
                getattr(dut, f"in_{port}").value = int(o[name])
            dut.in_sideband.value = number
            while True:
                ready = int(dut.in_ready.value)
                if ready:
                    self.accepted.append(self.cycle + 1)
                await self._next()
                if ready:
                    break
            dut.in_valid.value = 0
        for _ in range(20_000):
            if len(self.results) == len(operations):
                return np.array(self.results)
            await self._next()
        raise AssertionError(f"{len(self.results)} tops for {len(operations)} operations")


def cover(operations, results, covered):
    """Which pairs of kinds came within 8 cycles, by symbol and by order."""
    last_symbol, last_order = {}, {}
    for o, r in zip(operations, results, strict=True):
        at, op = int(r["accepted"]), Op(int(o["op"]))
        for what, key, table in (
            ("symbol", int(o["symbol"]), last_symbol),
            ("order", int(o["order_ref"]), last_order),
        ):
            if key in table and at - table[key][0] <= 8:
                covered[what, table[key][1], op, at - table[key][0]] += 1
            table[key] = (at, op)
        if op == Op.REPLACE:
            last_order[int(o["new_order_ref"])] = (at, op)
        for status in Status(int(r["status"])):
            covered["status", status] += 1


COVERED = Counter()


@cocotb.test()
@cocotb.parametrize(
    idle=["none", "some", "long"],
    flow=[
        Flow(51, symbols=1, live=8, recent=0.8, ticks=8, mix=(40, 15, 15, 10, 20)),
        Flow(52, symbols=4, live=400, recent=0.4, bad=0.04, mix=(50, 15, 10, 10, 15)),
        Flow(53, symbols=2, live=80, ticks=1300, odd=0.05, jump=0.01, stride=900),
    ],
)
async def operations_against_the_reference(dut, idle, flow):
    bench = Bench(dut)
    await bench.reset()
    operations = Flow(
        **{k: v for k, v in vars(flow).items() if k in Flow.__dataclass_fields__ and k != "orders"}
    ).operations(1500)
    results = await bench.run(operations, idle, flow.seed)
    compare(operations, results, Book(INDEX_BITS, CENTS))
    assert list(results["sideband"]) == list(range(len(operations)))
    for op in Op:
        assert int(results["latency"][operations["op"] == op].min()) == LATENCY
    cover(operations, results, COVERED)


@cocotb.test()
async def reset_in_the_middle(dut):
    bench = Bench(dut)
    await bench.reset()
    first = Flow(54, symbols=2, live=30, ticks=20).operations(200)
    task = cocotb.start_soon(bench.run(first, "none", 1))
    while len(bench.results) < 120:
        await FallingEdge(dut.clk)
    task.cancel()
    bench.accepted.clear()
    bench.results.clear()
    await bench.reset()
    operations = Flow(55, symbols=2, live=30, ticks=20).operations(300)
    results = await bench.run(operations, "some", 2)
    compare(operations, results, Book(INDEX_BITS, CENTS))


@cocotb.test()
async def zz_coverage_is_complete(dut):
    """Runs last: every pair of kinds at every distance that can be, and every status."""
    bins = Coverage("book")
    pairs = [(first, second) for first in Op for second in Op]
    for first, second in pairs:
        apart = {d: COVERED["symbol", first, second, d] for d in range(2, 9)}
        group = f"{second.name} behind {first.name}"
        bins.declare(group, [f"same symbol, {d} cycles apart" for d in apart])
        for d, times in apart.items():
            bins.hit(group, f"same symbol, {d} cycles apart", times)
        # What follows a delete of the same reference is an anomaly, and rarer.
        if first != Op.DELETE and second != Op.ADD:
            bins.declare(group, ["same order, at once"])
            bins.hit(group, "same order, at once", COVERED["order", first, second, 2])
    bins.declare("status", [status.name for status in Status])
    for status in Status:
        bins.hit("status", status.name, COVERED["status", status])
    dut._log.info("covered %d pairs, %d operations", len(COVERED), sum(COVERED.values()))
    bins.measured("accepted to top of book", LATENCY)
    bins.finish()
