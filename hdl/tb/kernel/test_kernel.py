"""cocotb bench of the Alveo kernel: AXI-Lite host, AXI memory and a network, all with pauses.

Orders are checked against the software executor elsewhere (tests/test_alveo.py, over the host's own
code); here are the ways: memory to memory, network to network, one into the other, and faults.
"""

import itertools
import logging
import random
from decimal import Decimal

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import (
    AxiBus,
    AxiLiteBus,
    AxiLiteMaster,
    AxiRam,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from tickpath.profile import (
    Gate,
    Imbalance,
    Profile,
    Symbol,
    SymbolLimits,
    gate_limits,
    symbol_limits,
    trigger_parameters,
)
from tickpath.wire.itch50 import ITCH50
from tickpath_backends.hdl import mover_registers, registers
from tickpath_backends.hdl.coverage import Coverage
from tickpath_backends.hdl.mover_registers import Action, Kind, Route, State
from tickpath_backends.hdl.parse_flow import frame, packet
from tickpath_backends.hdl.registers import Protocol, Table

GROUP = (0xE9360C6F, 26_477)
FRAMES, RECORDS, SLOTS = 0x10000, 0x40000, 16
PAUSES = {"none": None, "uneven": (1, 0, 0, 1, 1, 0, 0, 0)}
PROFILE = Profile(
    symbols={"AAPL": Symbol(Imbalance(2, 1))},
    gate=Gate(unknown_trading_state="trade"),
    limits=SymbolLimits(max_long=4_000_000_000, max_short=4_000_000_000),
)
COVERED = Coverage("kernel")
COVERED.declare("way", ("memory to memory", "network to network"))
COVERED.declare("pauses", [each for each in PAUSES if each != "none"])
COVERED.declare(
    "event", ("header that is none", "copy dropped", "start refused", "reset in the middle")
)
TEMPLATE = bytes(range(0x30, 0x30 + registers.TEMPLATE_BITS[Protocol.OUCH50] // 8))


def time_of(ref):
    """Far enough apart for every rate."""
    return 34_200_000_000_000 + ref * 50_000_000


def add(ref, side, shares, price):
    """An add order of AAPL, in 1e-4 dollars."""
    return ITCH50["add_order_no_mpid_attribution"].encode(
        stock_locate=1,
        tracking_number=0,
        timestamp=time_of(ref),
        order_reference_number=ref,
        buy_sell_indicator=side,
        shares=shares,
        stock="AAPL",
        price=Decimal(price) / 10_000,
    )


class Bench:
    """The kernel with what is around it."""

    def __init__(self, dut, pause="none"):
        self.dut = dut
        Clock(dut.clk, 3104, "ps").start()
        for name in ("s_axi_control", "m_axi", "s_axis_net", "m_axis_net"):
            logging.getLogger(f"cocotb.{dut._name}.{name}").setLevel(logging.WARNING)
        control = AxiLiteBus.from_prefix(dut, "s_axi_control")
        self.host = AxiLiteMaster(control, dut.clk, dut.rst)
        self.ram = AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=1 << 19)
        net_in = AxiStreamBus.from_prefix(dut, "s_axis_net")
        net_out = AxiStreamBus.from_prefix(dut, "m_axis_net")
        self.source = AxiStreamSource(net_in, dut.clk, dut.rst)
        self.sink = AxiStreamSink(net_out, dut.clk, dut.rst)
        self.taken, self.pause, self.is_hesitant = 0, pause, False

    def hesitate(self):
        """From now on with pauses in every channel of memory and network."""
        pattern = PAUSES[self.pause]
        self.is_hesitant = pattern is not None
        if pattern is not None:
            for n, channel in enumerate(self._channels()):
                channel.set_pause_generator(itertools.cycle(pattern[n:] + pattern))

    def _channels(self):
        read, write = self.ram.read_if, self.ram.write_if
        channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel)
        return (*channels, read.r_channel, self.source, self.sink)

    async def write(self, at, value):
        return (await self.host.write(at, value.to_bytes(4, "little"))).resp

    async def read(self, at):
        found = await self.host.read(at, 4)
        return int.from_bytes(found.data, "little"), found.resp

    async def put(self, name, value, plus=0):
        at = mover_registers.BASE + mover_registers.BY_REGISTER[name].offset + plus
        assert await self.write(at, value) == AxiResp.OKAY, name

    async def get(self, name):
        at = mover_registers.BASE + mover_registers.BY_REGISTER[name].offset
        value, response = await self.read(at)
        assert response == AxiResp.OKAY
        return value

    async def start(self, has_reset=False):
        """Reset, and program one symbol that trades; the chain clears 65,536 rows first."""
        dut = self.dut
        if self.is_hesitant:
            for channel in self._channels():
                channel.clear_pause_generator()
        self.is_hesitant = False
        if not has_reset:
            dut.rst.value = 1
            await ClockCycles(dut.clk, 8)
            dut.rst.value = 0
        await ClockCycles(dut.clk, 65_536)
        await self.until(State.READY)
        await self.put("FRAMES_ADDRESS", FRAMES)
        await self.put("RECORDS_ADDRESS", RECORDS)
        await self.put("RECORDS_MASK", SLOTS - 1)
        gate = gate_limits(PROFILE)
        rows = [
            (Table.TEMPLATE, 0, {"template": int.from_bytes(TEMPLATE, "big")}),
            (Table.GATE, 0, {k: v for k, v in gate.items() if k != "is_killed"}),
            (Table.NAME, 0, {"name": int.from_bytes(b"AAPL    ", "big")}),
            (Table.LIMITS, 0, symbol_limits(PROFILE, "AAPL")),
            (Table.TRIGGER, 0, trigger_parameters(PROFILE, "AAPL")),
            (Table.TRADING, 0, {"state": ord("T")}),
            (Table.SYMBOL, 1, {"is_used": 1, "symbol": 0}),
            (Table.GROUP, 0, {"is_used": 1, "line": 0, "port": GROUP[1], "address": GROUP[0]}),
        ]
        for table, entry, fields in rows:
            vector = registers.packed(table, fields)
            for at, value in registers.commit(table, entry, vector, Protocol.OUCH50):
                assert await self.write(at, value) == AxiResp.OKAY
        assert await self.write(registers.BY_REGISTER["CONTROL"].offset, 0) == AxiResp.OKAY
        self.hesitate()

    async def until(self, bit, tries=2_000):
        for _ in range(tries):
            if await self.get("STATE") >> bit & 1:
                return
            await ClockCycles(self.dut.clk, 20)
        raise AssertionError(f"{bit.name} never came")

    def place(self, frames, damage=None):
        """Frames into the memory; gives their words."""
        data = b""
        for number, raw in enumerate(frames):
            head = mover_registers.header(number + (damage == number), len(raw))
            data += head.to_bytes(8, "little") + raw.ljust(-(-len(raw) // 8) * 8, b"\xa5")
        self.ram.write(FRAMES, data)
        return len(data) // 8

    async def transfer(self, frames, damage=None):
        """Frames from memory; gives the state at the end and the records."""
        words = self.place(frames, damage)
        await self.put("FRAMES_WORDS", words)
        await self.put("ACTION", 1 << Action.START)
        records = []
        for _ in range(5_000):
            state = await self.get("STATE")
            records += await self.records()
            if state >> State.REST & 1 and not state >> State.READING & 1:
                return state, records + await self.records()
        raise AssertionError("no rest")

    async def records(self):
        found, written = [], await self.get("RECORDS_WRITTEN")
        while self.taken != written:
            slot = RECORDS + 64 * (self.taken % SLOTS)
            data = bytes(self.ram.read(slot, 64))
            number, length = (int.from_bytes(data[a:b], "little") for a, b in ((56, 60), (60, 62)))
            assert number == self.taken and data[63] == 0
            found.append((Kind(data[62]), data[:length]))
            self.taken += 1
        await self.put("RECORDS_TAKEN", self.taken)
        return found


def session(count):
    """Frames after each of which a bid twice as large as the ask came and went: an order each."""
    frames = [framed([add(1, "B", 100, 999_900), add(2, "S", 100, 1_000_100)], 1)]
    for ref in range(3, count + 2):
        pair = [add(ref, "B", 900, 999_900), ITCH50["order_delete"].encode(**deleted(ref))]
        frames.append(framed(pair, 2 * ref - 3))
    return frames


def deleted(ref):
    return {
        "stock_locate": 1,
        "timestamp": time_of(ref),
        "order_reference_number": ref,
    }


def framed(messages, sequence):
    return frame(packet(messages, "0000000007", sequence), GROUP)


def orders_of(records):
    return [data for kind, data in records if kind is Kind.ORDER]


@cocotb.test()
@cocotb.parametrize(pause=[*PAUSES])
async def memory_to_memory_and_network_to_network_are_the_same(dut, pause):
    """And an order in the network's way is recorded too, in the same words."""
    frames = session(60)
    bench = Bench(dut, pause)
    await bench.start()
    state, records = await bench.transfer(frames)
    assert state & 0b111000 == 0
    first = orders_of(records)
    assert len(first) == 59 and len(records) == 2 * len(first), "each has its verdict"
    assert all(len(each) == len(TEMPLATE) for each in first)
    assert await bench.get("FRAMES_FED") == len(frames)
    COVERED.hit("way", "memory to memory")
    if pause != "none":
        COVERED.hit("pauses", pause)

    bench.taken = 0
    await bench.start()
    await bench.put("ROUTE", 1 << Route.NETWORK_IN | 1 << Route.NETWORK_OUT)
    for raw in frames:
        await bench.source.send(AxiStreamFrame(raw))
    live, copies = [], []
    for _ in range(4_000):
        while not bench.sink.empty():
            live.append(bytes(bench.sink.recv_nowait().tdata))
        copies += await bench.records()
        if len(orders_of(copies)) >= len(first) and len(live) >= len(first):
            break
    assert live == first and orders_of(copies) == first
    COVERED.hit("way", "network to network")
    assert await bench.get("COPIES_DROPPED") == 0


@cocotb.test()
async def the_way_through_the_network_is_the_chains_19_cycles(dut):
    bench = Bench(dut)
    await bench.start()
    await bench.put("ROUTE", 1 << Route.NETWORK_IN | 1 << Route.NETWORK_OUT)
    began, took, cycle = 0, None, 0
    one = session(1)[0]
    two = framed([add(3, "B", 900, 999_900)], 3)
    await bench.source.send(AxiStreamFrame(one))
    await ClockCycles(dut.clk, 200)
    while not bench.sink.empty():
        bench.sink.recv_nowait()
    await bench.source.send(AxiStreamFrame(two))
    for cycle in range(300):
        await RisingEdge(dut.clk)
        if dut.s_axis_net_tvalid.value and dut.s_axis_net_tlast.value:
            began = cycle
        if dut.m_axis_net_tvalid.value and took is None and began:
            took = cycle - began
    assert took == 19, took


@cocotb.test()
async def copies_never_hold_orders_up(dut):
    """The host takes nothing: the ring fills, orders go on, copies beyond it are counted."""
    frames = session(900)
    bench = Bench(dut)
    await bench.start()
    await bench.put("ROUTE", 1 << Route.NETWORK_IN | 1 << Route.NETWORK_OUT)
    for raw in frames:
        bench.source.send_nowait(AxiStreamFrame(raw))
    await bench.source.wait()
    await ClockCycles(dut.clk, 1_000)
    counters = registers.BY_REGISTER["COUNTERS"].offset
    orders, _ = await bench.read(counters + 8 * registers.Counter.ORDERS_SENT)
    assert orders == bench.sink.count() == len(frames) - 1
    assert await bench.get("RECORDS_WRITTEN") == SLOTS
    dropped = await bench.get("COPIES_DROPPED")
    assert 0 < dropped < orders
    COVERED.hit("event", "copy dropped", dropped)
    copies = []
    while found := await bench.records():
        copies += orders_of(found)
        await ClockCycles(dut.clk, 200)
    live = [bytes(bench.sink.recv_nowait().tdata) for _ in range(orders)]
    assert copies == live[: orders - dropped]


@cocotb.test()
async def a_header_that_is_none_stops_the_reading(dut):
    frames = session(20)
    bench = Bench(dut)
    await bench.start()
    state, records = await bench.transfer(frames, damage=11)
    assert state >> State.FRAME_FAULT & 1 and await bench.get("FRAMES_FED") == 11
    COVERED.hit("event", "header that is none")
    # The next transfer begins anew.
    state, more = await bench.transfer(session(20)[11:])
    assert state & 0b111000 == 0 and await bench.get("FRAMES_FED") == 9
    bench.taken = 0
    await bench.start()
    _, all_of_it = await bench.transfer(frames)
    assert len(orders_of(more)) == 9
    assert orders_of(records) + orders_of(more) == orders_of(all_of_it)


@cocotb.test()
async def registers_are_as_declared(dut):
    """Every word of the movers' half, whole and not."""
    bench = Bench(dut)
    await bench.start()
    known = {}
    for each in mover_registers.REGISTERS:
        known |= {each.offset + 4 * n: each for n in range(each.words)}
    for offset in range(0, 0x100, 4):
        each = known.get(offset)
        readable = each is not None and each.access is not registers.Access.WRITE
        writable = each is not None and each.access is not registers.Access.READ
        value, response = await bench.read(mover_registers.BASE + offset)
        assert (response == AxiResp.OKAY) == readable, hex(offset)
        if each is None or each.name != "ACTION":
            response = await bench.write(mover_registers.BASE + offset, value)
            assert (response == AxiResp.OKAY) == writable, hex(offset)
    half = await bench.host.write(mover_registers.BASE + 0x18, b"\x01\x02")
    assert half.resp == AxiResp.SLVERR
    assert await bench.get("RECORD_WORDS") == mover_registers.record_words(Protocol.OUCH50)
    # While something is read there is no other start.
    await bench.put("FRAMES_WORDS", bench.place(session(200)))
    await bench.put("ACTION", 1 << Action.START)
    at = mover_registers.BASE + mover_registers.BY_REGISTER["ACTION"].offset
    assert await bench.write(at, 1 << Action.START) == AxiResp.SLVERR
    COVERED.hit("event", "start refused")


@cocotb.test()
async def a_reset_in_the_middle_breaks_nothing(dut):
    """Bursts that are under way are finished first; the host's accesses are answered meanwhile."""
    bench, draw = Bench(dut, "uneven"), random.Random(9)
    await bench.start()
    frames = session(40)
    expected = None
    for n in range(3):
        if n:
            await bench.put("FRAMES_WORDS", bench.place(frames))
            await bench.put("ACTION", 1 << Action.START)
            await ClockCycles(dut.clk, draw.randrange(1, 900))
            await bench.put("ACTION", 1 << Action.RESET)
            _, response = await bench.read(0)
            assert response in (AxiResp.OKAY, AxiResp.SLVERR)
        bench.taken = 0
        await bench.start(has_reset=bool(n))
        state, records = await bench.transfer(frames)
        expected = expected or records
        assert state & 0b111000 == 0 and records == expected
        if n:
            COVERED.hit("event", "reset in the middle")


@cocotb.test()
async def zz_coverage_is_complete(dut):
    """Runs last."""
    COVERED.finish()
