"""cocotb bench of the whole back: tops of book in, frames out, a host that never rests.

A master and a sink that are not ours: both ends pause, in every combination.  Tables are written
before the traffic; beside it the host reads, throws the switch between two bursts, and releases.
"""

import itertools
import logging
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp, AxiStreamBus, AxiStreamSink

from tickpath_backends.hdl import back_flow, registers
from tickpath_backends.hdl.back_model import LATENCY, top_ports
from tickpath_backends.hdl.back_orders import session
from tickpath_backends.hdl.back_reference import Reference
from tickpath_backends.hdl.coverage import Coverage
from tickpath_backends.hdl.registers import BY_REGISTER, Counter, Protocol, Table

NAMES = {symbol: f"SYM{symbol}" for symbol in range(64)}
TOPS, SYMBOLS = 250, 3
HELD = {"none": None, "half": (1, 0), "spells": (0,) * 30 + (1,) * 30}
COVERED = Coverage("back")
COVERED.declare("orders held, host held", [f"{a}, {b}" for a in HELD for b in HELD])
COVERED.declare("intent", ("accepted", "refused"))
COVERED.declare("beside the traffic", ("kill switch", "releases"))
STROBES = ("in_valid", "stamp_valid", "action_valid", "gap_valid")


class Bench:
    """`back_top` with a host and a sink; what is given goes to the reference as well."""

    def __init__(self, dut, held, paused):
        self.dut = dut
        self.orders = session(Protocol.OUCH50, NAMES)
        self.reference = Reference(self.orders.encode)
        self.cycle = 0
        self.shown = self.came = None
        Clock(dut.clk, 3104, "ps").start()
        for name in ("s_axil", "m_axis"):
            logging.getLogger(f"cocotb.{dut._name}.{name}").setLevel(logging.WARNING)
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, dut.rst)
        if HELD[held] is not None:
            self.sink.set_pause_generator(itertools.cycle(HELD[held]))
        if HELD[paused] is not None:
            for channel in (self.master.write_if.b_channel, self.master.read_if.r_channel):
                channel.set_pause_generator(itertools.cycle(HELD[paused]))

    async def reset(self):
        dut = self.dut
        dut.rst.value = 1
        for name in (*STROBES, "book_value", "book_peak", "book_dropped", "front_value"):
            getattr(dut, name).value = 0
        dut.book_lost.value, dut.book_ready.value = 0, 1
        for _ in range(4):
            await FallingEdge(dut.clk)
        dut.rst.value = 0
        await self.step()

    async def step(self):
        await FallingEdge(self.dut.clk)
        self.cycle += 1
        for name in STROBES:
            getattr(self.dut, name).value = 0
        if self.shown is None and int(self.dut.m_axis_tvalid.value):
            self.shown = self.cycle

    async def write(self, offset, value):
        assert (await self.master.write(offset, value.to_bytes(4, "little"))).resp == AxiResp.OKAY

    async def commit(self, table, entry, vector):
        for offset, value in registers.commit(table, entry, vector, Protocol.OUCH50):
            await self.write(offset, value)
        # The master goes on at rising edges; all else here is set at falling ones.
        await self.step()

    async def value(self, offset):
        words = await self.master.read(offset, 8)
        return int.from_bytes(words.data, "little")

    async def arm(self, flow):
        await self.commit(Table.TEMPLATE, 0, self.orders.template)
        for symbol in range(SYMBOLS):
            limits, wanted = flow.some_limits(), flow.some_trigger()
            limits |= {"is_enabled": 1, "max_notional": (1 << 64) - 1, "collar_ticks": 0xFFFF}
            limits |= {"max_quantity": 999_999}
            wanted |= {"quantity": 100, "kind": 3, "ratio_log2": 0, "least": 0}
            name = int.from_bytes(NAMES[symbol].encode().ljust(8), "big")
            await self.commit(Table.NAME, symbol, name)
            await self.commit(Table.LIMITS, symbol, registers.packed(Table.LIMITS, limits))
            await self.commit(Table.TRIGGER, symbol, registers.packed(Table.TRIGGER, wanted))
            await self.commit(Table.TRADING, symbol, back_flow.TRADING)
            self.reference.limit(symbol, limits)
            self.reference.trigger(symbol, wanted)
            self.reference.action(symbol, back_flow.TRADING)
        await self.kill(False)

    async def kill(self, is_on):
        await self.write(BY_REGISTER["CONTROL"].offset, int(is_on))
        await self.step()
        self.reference.killed = is_on

    async def top(self, top):
        """A top of book, a cycle after its symbol; its order's bytes, if it makes one."""
        self.dut.in_next_symbol.value = top["symbol"]
        await self.step()
        self.came = self.cycle
        self.dut.in_next_symbol.value = 63  # not even one of those that trade
        for name, value in top_ports(top).items():
            getattr(self.dut, name).value = value
        await self.step()
        intent = self.reference.top(top)
        if intent is None:
            return None
        verdict = self.reference.verdict(intent)
        if verdict.failed:
            self.reference.take_number()
            return None
        return self.reference.order(intent, verdict.is_short)


async def read_all_the_time(bench):
    """The host, reading counters until it is stopped: what it sees never goes back."""
    last = dict.fromkeys(Counter, 0)
    for each in itertools.cycle(Counter):
        value = await bench.value(BY_REGISTER["COUNTERS"].offset + 8 * each)
        assert value >= last[each], each
        last[each] = value


@cocotb.test()
@cocotb.parametrize(held=[*HELD], paused=[*HELD])
async def orders_are_frames_while_the_host_reads(dut, held, paused):
    bench, draw = Bench(dut, held, paused), random.Random(f"{held} {paused}")
    flow = back_flow.Flow(draw.randrange(1000), symbols=SYMBOLS, odd=0)
    await bench.reset()
    await bench.arm(flow)
    expected, first = [], None
    for is_killed in (False, True, False):
        await bench.kill(is_killed)
        reading = cocotb.start_soon(read_all_the_time(bench))
        for _ in range(TOPS):
            made = await bench.top(flow.some_top())
            if made is not None:
                expected.append(made)
                first = bench.came if first is None else first
            # As many cycles as an order takes on a stream that is held every other cycle.
            for _ in range(draw.randrange(3, 26)):
                await bench.step()
        for _ in range(400):
            await bench.step()
        reading.cancel()
        # Whatever access it was in the middle of ends by itself.
        for _ in range(200):
            await bench.step()
    frames = [bytes(bench.sink.recv_nowait().tdata) for _ in range(bench.sink.count())]
    assert frames == expected and len(frames) > 30
    assert bench.reference.covered["fails", registers.Check.KILL_SWITCH] > 10
    assert bench.shown - first == LATENCY
    counted = {
        each: await bench.value(BY_REGISTER["COUNTERS"].offset + 8 * each) for each in Counter
    }
    assert counted[Counter.ORDERS_SENT] == counted[Counter.ORDERS] == len(frames)
    assert counted[Counter.ACCEPTED] == bench.reference.covered["accepted"]
    assert counted[Counter.REFUSED] == bench.reference.covered["refused"]
    COVERED.hit("orders held, host held", f"{held}, {paused}")
    for what in ("accepted", "refused"):
        COVERED.hit("intent", what, bench.reference.covered[what])
    COVERED.hit("beside the traffic", "kill switch")
    COVERED.measured("top of book to first word", bench.shown - first)
    assert counted[Counter.TOPS] == 3 * TOPS and counted[Counter.BUS_ERRORS] == 0


@cocotb.test()
async def releases_beside_the_traffic_are_all_counted(dut):
    bench, draw = Bench(dut, "none", "none"), random.Random("releases")
    flow = back_flow.Flow(77, symbols=SYMBOLS, odd=0)
    await bench.reset()
    await bench.arm(flow)
    for symbol in range(SYMBOLS):
        # Limits that no release can bring anybody to: the order of things does not matter.
        far = dict.fromkeys(("max_long", "max_short", "max_quantity"), 0xFFFFFFFF)
        far |= {"is_enabled": 1, "max_notional": (1 << 64) - 1, "collar_ticks": 0xFFFF}
        await bench.commit(Table.LIMITS, symbol, registers.packed(Table.LIMITS, far))
        bench.reference.limit(symbol, far)
    released = [0] * SYMBOLS

    async def release():
        while True:
            symbol = draw.randrange(SYMBOLS)
            vector = registers.packed(Table.RELEASE, {"long_change": -3, "short_change": -3})
            for offset, value in registers.commit(Table.RELEASE, symbol, vector, Protocol.OUCH50):
                await bench.write(offset, value)
            released[symbol] += 3
            if bench.cycle > end:
                return

    end = bench.cycle + 3000
    releasing = cocotb.start_soon(release())
    while bench.cycle < end:
        await bench.top(flow.some_top())
        for _ in range(draw.randrange(2, 8)):
            await bench.step()
    await releasing
    command, stage = BY_REGISTER["COMMAND"].offset, BY_REGISTER["STAGE"].offset
    for symbol in range(SYMBOLS):
        await bench.write(
            command, registers.command(registers.Operation.FETCH, Table.STATE, symbol)
        )
        words = [await bench.value(stage + 8 * n) for n in range(3)]
        found = registers.unpacked(Table.STATE, sum(w << 64 * n for n, w in enumerate(words)))
        state = bench.reference.symbols[symbol]
        assert found["long_exposure"] == state.long - released[symbol]
        assert found["short_exposure"] == state.short - released[symbol]
    assert min(released) > 60
    COVERED.hit("beside the traffic", "releases", sum(released))


@cocotb.test()
async def zz_coverage_is_complete(dut):
    """Runs last."""
    COVERED.finish()
