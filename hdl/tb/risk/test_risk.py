"""cocotb bench of the gate: intents with and without gaps, tables written and released meanwhile.

The scoreboard is the plain Python reference; what is written beside the traffic counts from the
cycle of its strobe on.  Latency in cycles is asserted, and that every check has failed alone.
"""

import random
from collections import Counter
from functools import partial

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tickpath_backends.hdl.back_reference import Intent, Reference
from tickpath_backends.hdl.coverage import Coverage
from tickpath_backends.hdl.profile import Check
from tickpath_backends.hdl.registers import Table, packed

LATENCY = 6
INTERVAL = 4
SYMBOLS = 3
TRADING, HALTED = ord("T"), ord("H")
GAPS = {
    "none": lambda draw: 0,
    "the gate's": lambda draw: INTERVAL - 1,
    "near": lambda draw: draw.randrange(8),
    "far": lambda draw: draw.choice((4, 5, 9, 30)),
}
STROBES = ("in_valid", "limits_we", "action_valid", "state_valid", "release_valid")
BESIDE = ("limits", "a release", "a trading state", "the kill switch", "the gate's rate")
COVERED = Counter()


class Bench:
    """The gate with its clock; all is set and sampled at falling edges."""

    def __init__(self, dut):
        self.dut = dut
        self.cycle = 0
        self.reference = Reference(lambda intent, is_short, number: b"")
        self.given = []  # (cycle, intent)
        self.due = []  # (cycle of the first verdict that it concerns, what changes)
        self.verdicts = []  # (cycle, verdict, intent)
        self.dropped = 0
        self.releasing = None
        Clock(dut.clk, 3104, "ps").start()

    async def reset(self):
        dut = self.dut
        dut.rst.value = 1
        for name in (*STROBES, "is_killed", "gate_rate_interval", "gate_rate_burst", "r_symbol"):
            getattr(dut, name).value = 0
        self.reference.killed = False
        for _ in range(4):
            await FallingEdge(dut.clk)
        dut.rst.value = 0
        await FallingEdge(dut.clk)

    async def step(self):
        """One cycle: what is published in it is taken, what was strobed is taken back."""
        dut = self.dut
        if int(dut.out_valid.value):
            self.verdicts.append(
                (self.cycle, int(dut.out_verdict.value), int(dut.out_intent.value))
            )
        self.dropped += int(dut.dropped.value)
        # Combinational: as it stands before the edge that takes it.
        released = self.releasing is not None and int(dut.release_ready.value)
        if released:
            self.due.append((self.cycle + 4, partial(self.reference.release, *self.releasing)))
            self.releasing = None
        await FallingEdge(dut.clk)
        self.cycle += 1
        for name in STROBES:
            if name != "release_valid" or self.releasing is None:
                getattr(dut, name).value = 0

    def intent(self, intent):
        self.dut.in_valid.value = 1
        self.dut.in_intent.value = intent.vector
        self.dut.in_reference_px.value = intent.reference_px
        self.given.append((self.cycle, intent))

    def limit(self, symbol, **limits):
        dut = self.dut
        dut.limits_we.value, dut.limits_symbol.value = 1, symbol
        dut.limits_value.value = packed(Table.LIMITS, limits)
        self.due.append((self.cycle + 6, partial(self.reference.limit, symbol, limits)))

    def action(self, symbol, state, number=0):
        kind = "action" if number else "state"
        getattr(self.dut, f"{kind}_valid").value = 1
        getattr(self.dut, f"{kind}_symbol").value = symbol
        getattr(self.dut, "action_state" if number else "state_value").value = state
        if number:
            self.dut.action_number.value = number
        self.due.append((self.cycle + 6, partial(self.reference.action, symbol, state, number)))

    def release(self, symbol, long_change, short_change):
        dut = self.dut
        dut.release_valid.value, dut.release_symbol.value = 1, symbol
        dut.release_long.value = long_change & (1 << 34) - 1
        dut.release_short.value = short_change & (1 << 34) - 1
        self.releasing = (symbol, long_change, short_change)

    def kill(self, is_on):
        self.dut.is_killed.value = int(is_on)
        self.due.append((self.cycle + 4, partial(setattr, self.reference, "killed", is_on)))

    def gate(self, interval, burst):
        self.dut.gate_rate_interval.value = interval
        self.dut.gate_rate_burst.value = burst
        limits = {"rate_interval": interval, "rate_burst": burst}
        self.due.append((self.cycle + 4, partial(self.reference.gate.update, limits)))

    def check(self):
        """Compare all verdicts; gives the cycles that each took."""
        due = sorted(self.due, key=lambda each: each[0])
        taken, waiting, lost = [], iter(self.given), 0
        for cycle, verdict, vector in self.verdicts:
            while due and due[0][0] <= cycle:
                due.pop(0)[1]()
            at, intent = next(waiting)
            while intent.vector != vector:
                lost += 1
                at, intent = next(waiting)
            expected = self.reference.verdict(intent)
            assert verdict == expected.vector, (cycle, intent, expected, f"{verdict:010b}")
            taken.append(cycle - at)
        lost += sum(1 for _ in waiting)
        assert lost == self.dropped, (lost, self.dropped)
        COVERED.update(self.reference.covered)
        return taken


def some_limits(draw):
    return {
        "is_enabled": int(draw.random() < 0.9),
        "is_cents": draw.randrange(2),
        "max_quantity": draw.choice((100, 1 << 31)),
        "max_notional": draw.choice((100 * 1_000_000, (1 << 64) - 1, (1 << 64) - 1)),
        "collar_ticks": draw.choice((2, 200)),
        "max_long": draw.choice((500, 0xFFFFFFFF)),
        "max_short": draw.choice((500, 0xFFFFFFFF)),
        "rate_interval": draw.choice((0, 30)),
        "rate_burst": draw.choice((0, 300)),
    }


def some_intent(draw, number):
    reference = 1_000_000
    return Intent(
        draw.randrange(SYMBOLS),
        draw.randrange(2),
        reference + draw.choice((0, 0, 2, 3, 200, 201, -2, -3, -200, -201)),
        draw.choice((0, 1, 99, 100, 101, 100, 100)),
        10 * number,
        number,
        number & 0xFFFF,
        draw.choice((reference,) * 12 + (0,)),
    )


def beside(bench, draw, number):
    """Something that happens beside an intent."""
    symbol, what = draw.randrange(SYMBOLS), draw.randrange(7)
    if what < len(BESIDE) and (what != 1 or bench.releasing is None):
        COVERED["beside", BESIDE[what]] += 1
    if what == 0:
        bench.limit(symbol, **some_limits(draw))
    elif what == 1 and bench.releasing is None:
        bench.release(symbol, -draw.choice((1, 100, 5000)), -draw.choice((0, 100)))
    elif what == 2:
        bench.action(symbol, draw.choice((TRADING, TRADING, HALTED)))
    elif what == 3:
        bench.kill(draw.random() < 0.3)
    elif what == 4:
        bench.gate(*draw.choice(((0, 0), (8, 40), (20, 0))))


@cocotb.test()
@cocotb.parametrize(gaps=[*GAPS])
async def intents_against_the_reference(dut, gaps):
    bench, draw = Bench(dut), random.Random(f"risk {gaps}")
    await bench.reset()
    for symbol in range(SYMBOLS):
        bench.limit(symbol, **some_limits(draw))
        bench.action(symbol, TRADING)
        await bench.step()
    for _ in range(4):
        await bench.step()
    for number in range(1, 700):
        for _ in range(GAPS[gaps](draw)):
            await bench.step()
        bench.intent(some_intent(draw, number))
        if draw.random() < 0.15:
            beside(bench, draw, number)
        await bench.step()
    for _ in range(8 * INTERVAL + 20):
        await bench.step()
    taken = bench.check()
    assert min(taken) == LATENCY
    if gaps in ("none", "near"):
        # Eight wait at most, each for the one before it.
        assert LATENCY < max(taken) <= LATENCY + 9 * INTERVAL
        assert (bench.dropped > 0) == (gaps == "none")
    else:
        assert {*taken} == {LATENCY} and not bench.dropped


@cocotb.test()
async def zz_coverage_is_complete(dut):
    """Runs last: every check has failed, and failed alone; both sides and short sales passed."""
    bins = Coverage("risk")
    for what in ("fails", "fails alone"):
        bins.declare(what, [check.name for check in Check])
        for check in Check:
            bins.hit(what, check.name, COVERED[what, check])
    sides = {
        "a buy": ("side", False, False),
        "a sell": ("side", True, False),
        "a short sale": ("side", True, True),
    }
    bins.declare("passes", sides)
    for name, key in sides.items():
        bins.hit("passes", name, COVERED[key])
    bins.declare("beside intents", BESIDE)
    for name in BESIDE:
        bins.hit("beside intents", name, COVERED["beside", name])
    bins.measured("intent to verdict", LATENCY)
    bins.finish()
