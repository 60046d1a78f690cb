"""cocotb bench of the registers: an AXI-Lite master with pauses in every channel.

What may be read and written follows from the declaration, for every address; events are counted
while the bus is busy.
"""

import itertools
import logging
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from tickpath_backends.hdl.coverage import Coverage
from tickpath_backends.hdl.registers import (
    ADDRESS_BITS,
    BY_REGISTER,
    IDENTITY,
    REGISTERS,
    TABLES,
    VERSION,
    Access,
    Counter,
    Operation,
    Table,
)

STAGE_WORDS = 13
PAUSES = {
    "none": None,
    "one in two": (1, 0),
    "long": (1, 1, 1, 1, 1, 1, 1, 0),
    "uneven": (1, 0, 0, 1, 1, 0),
}


COVERED = Coverage("registers")
COVERED.declare("access", ("read done", "read refused", "write done", "write refused"))
COVERED.declare("pauses", [each for each in PAUSES if each != "none"])
COVERED.declare(
    "command", [f"{op.name} of {table.name}" for table in Table for op in TABLES[table].operations]
)
COVERED.declare("command that is none", ("operation", "table", "entry"))
COVERED.declare(
    "counter while the bus is busy",
    [each.name for each in Counter],
    {"BUS_ERRORS": "the registers count them themselves, which the first test reads"},
)


class Bench:
    """The registers with a master; the inputs that are read have values of their own."""

    def __init__(self, dut, pause="none"):
        self.dut = dut
        Clock(dut.clk, 3104, "ps").start()
        logging.getLogger(f"cocotb.{dut._name}.s_axil").setLevel(logging.WARNING)
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        if PAUSES[pause] is not None:
            read, write = self.master.read_if, self.master.write_if
            channels = (
                *(write.aw_channel, write.w_channel, write.b_channel),
                *(read.ar_channel, read.r_channel),
            )
            for n, channel in enumerate(channels):
                pauses = PAUSES[pause][n % len(PAUSES[pause]) :] + PAUSES[pause]
                channel.set_pause_generator(itertools.cycle(pauses))

    async def reset(self):
        dut = self.dut
        dut.rst.value = 1
        dut.commit_ready.value, dut.events.value, dut.fetched.value = 1, 0, 0
        for n, name in enumerate(INPUTS):
            getattr(dut, name).value = 0x1000 + n & (1 << len(getattr(dut, name))) - 1
        for _ in range(4):
            await FallingEdge(dut.clk)
        dut.rst.value = 0
        await FallingEdge(dut.clk)

    async def read(self, offset):
        found = await self.master.read(offset, 4)
        return int.from_bytes(found.data, "little"), found.resp

    async def write(self, offset, value):
        found = await self.master.write(offset, value.to_bytes(4, "little"))
        return found.resp

    async def double(self, offset):
        low, _ = await self.read(offset)
        return low | (await self.read(offset + 4))[0] << 32


INPUTS = (
    *("next_user_ref_num", "intent_peak", "order_peak", "book_peak", "book_dropped", "book_status"),
    *("latency_least", "latency_most", "latency_over", "latency_sum", "latency_count"),
    *("window_overflow", "orders_overflow", "stale", "halted", "bucket_count", "book_value"),
    "front_value",
)


def kinds():
    """What may be done with each word: {offset: access}."""
    found = {}
    for each in REGISTERS:
        words = STAGE_WORDS if each.name == "STAGE" else each.words
        found |= {each.offset + 4 * n: each.access for n in range(words)}
    return found


@cocotb.test()
async def every_address_is_as_declared(dut):
    bench = Bench(dut)
    await bench.reset()
    known, errors = kinds(), 0
    for offset in range(0, 1 << ADDRESS_BITS, 4):
        access = known.get(offset)
        _, found = await bench.read(offset)
        readable = access is not None and access is not Access.WRITE
        assert (found == AxiResp.OKAY) == readable, hex(offset)
        COVERED.hit("access", "read done" if readable else "read refused")
        # A command of 0 is none.
        found = await bench.write(offset, 0)
        writable = access not in (None, Access.READ) and offset != BY_REGISTER["COMMAND"].offset
        assert (found == AxiResp.OKAY) == writable, hex(offset)
        COVERED.hit("access", "write done" if writable else "write refused")
        errors += (not readable) + (not writable)
    at = BY_REGISTER["COUNTERS"].offset + 8 * Counter.BUS_ERRORS
    assert (await bench.double(at)) == errors


@cocotb.test()
@cocotb.parametrize(pause=[*PAUSES][1:])
async def reads_and_writes_with_pauses(dut, pause):
    bench, draw = Bench(dut, pause), random.Random(f"registers {pause}")
    COVERED.hit("pauses", pause)
    await bench.reset()
    at = {each.name: each.offset for each in REGISTERS}
    assert (await bench.read(at["IDENTITY"]))[0] == IDENTITY
    assert (await bench.read(at["VERSION"]))[0] == VERSION
    stage = [0] * STAGE_WORDS
    for _ in range(60):
        word = draw.randrange(STAGE_WORDS)
        if draw.random() < 0.5:
            stage[word] = draw.getrandbits(32)
            assert await bench.write(at["STAGE"] + 4 * word, stage[word]) == AxiResp.OKAY
        else:
            assert (await bench.read(at["STAGE"] + 4 * word))[0] == stage[word]
    vector = sum(word << 32 * n for n, word in enumerate(stage))
    assert int(dut.stage.value) == vector
    # A read and a write at once.
    writing = cocotb.start_soon(bench.write(at["USER_REF_NUM"], 5))
    assert (await bench.read(at["USER_REF_NUM"]))[0] == int(dut.next_user_ref_num.value)
    assert await writing == AxiResp.OKAY


def why(layout, operation):
    """What is wrong with a command."""
    if layout is None:
        return "table"
    return "entry" if operation in layout.operations else "operation"


@cocotb.test()
async def commands_are_those_of_the_tables(dut):
    bench, draw = Bench(dut), random.Random("commands")
    await bench.reset()
    seen = []
    dut.fetched.value = fetched = draw.getrandbits(32 * STAGE_WORDS)

    async def watch():
        while True:
            await FallingEdge(dut.clk)
            dut.commit_ready.value = ready = draw.randrange(2)
            # It is taken at the next edge, as both stand now.
            if int(dut.commit_valid.value) and ready:
                seen.append((int(dut.command_table.value), int(dut.command_entry.value)))

    watching = cocotb.start_soon(watch())
    command, stage = BY_REGISTER["COMMAND"].offset, BY_REGISTER["STAGE"].offset
    for operation in (0, *Operation, 3, 255):
        for table in (*Table, len(Table), 255):
            layout = TABLES.get(table)
            entries = layout.entries if layout else 1
            for entry in {0, entries - 1, min(entries, 0xFFFF), 0xFFFF}:
                known = layout is not None and operation in layout.operations and entry < entries
                seen.clear()
                found = await bench.write(command, operation << 24 | table << 16 | entry)
                assert (found == AxiResp.OKAY) == known, (operation, table, entry)
                if known:
                    COVERED.hit("command", f"{Operation(operation).name} of {Table(table).name}")
                else:
                    COVERED.hit("command that is none", why(layout, operation))
                commits = known and operation == Operation.COMMIT
                assert seen == ([(table, entry)] if commits else [])
                if known and operation == Operation.FETCH:
                    assert (await bench.read(stage))[0] == fetched & 0xFFFFFFFF
                    assert int(dut.stage.value) == fetched
    watching.cancel()


@cocotb.test()
async def events_are_counted_while_the_bus_is_busy(dut):
    bench, draw = Bench(dut, "uneven"), random.Random("events")
    await bench.reset()
    counted = [0] * len(Counter)
    running = True

    async def count():
        while running:
            events = draw.getrandbits(len(Counter)) & ~(1 << Counter.BUS_ERRORS)
            dut.events.value = events
            await FallingEdge(dut.clk)
            for n in range(len(Counter)):
                counted[n] += events >> n & 1
        dut.events.value = 0

    counting = cocotb.start_soon(count())
    at = BY_REGISTER["COUNTERS"].offset
    last = [0] * len(Counter)
    for n in range(120):
        index = n % len(Counter)
        value = await bench.double(at + 8 * index)
        assert last[index] <= value <= counted[index]
        last[index] = value
    running = False
    await counting
    for each in Counter:
        assert await bench.double(at + 8 * each) == counted[each], each.name
        if each is not Counter.BUS_ERRORS:
            COVERED.hit("counter while the bus is busy", each.name, counted[each])
    await bench.write(BY_REGISTER["CLEAR"].offset, 1)
    assert [await bench.double(at + 8 * each) for each in Counter] == [0] * len(Counter)


@cocotb.test()
async def zz_coverage_is_complete(dut):
    """Runs last."""
    COVERED.finish()
