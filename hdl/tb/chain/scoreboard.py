"""The chain on a bench: sources and sinks at its ports, a host, and the software as scoreboard.

What comes out is taken down as `chain_model.Chain` takes it down, so that one comparison
(`chain_check.compare`) judges the chain here and in process.  All is sampled at falling edges,
where registers stand still.
"""

import itertools
import logging

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, First, RisingEdge, Timer
from cocotb.utils import get_sim_time
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from tickpath.config import Capacity, Config
from tickpath_backends.hdl import chain_check, registers
from tickpath_backends.hdl.chain_model import (
    ACCESS,
    ORDER,
    ORDER_BYTES,
    TOP,
    VERDICT,
    Chain,
    Outcome,
)
from tickpath_backends.hdl.registers import BY_REGISTER, Protocol

CORE_PS = 3104
LINE = {"line": (0, 1)}
"""A word of 64 bits in every second cycle: 10.3 Gb/s."""
IDLE = {"none": (0,), "some": (0, 1, 1, 0, 1, 0, 0, 0, 1), "long": (1,) * 60 + (0,) * 7}
HELD = {"none": (0,), "half": (1, 0), "spells": (0,) * 30 + (1,) * 30}
CAPACITY = Config(capacity=Capacity(symbols=4_096))
REST = 500
"""Cycles in which all that is on its way comes out."""


class Recorder(Chain):
    """A host that writes down what it would write to a chain."""

    def __init__(self, protocol=Protocol.OUCH50):
        self.protocol, self.writes = protocol, []

    def access(self, accesses):
        self.writes += [(offset, value) for offset, value, is_write in accesses if is_write]
        return np.zeros(len(accesses), ACCESS)


class Ran(Chain):
    """What a chain on a bench did, where a chain in process is asked for."""

    def __init__(self, outcome, values, state, flags):
        self._outcome, self._values, self._flags = outcome, values, flags
        self.model = type("State", (), {"outputs": [state]})

    cycle, protocol = 0, Protocol.OUCH50

    @property
    def flags(self):
        return self._flags

    def run(self, frames, *more, **how):
        return self._outcome

    def values(self, name, indices):
        return [self._values[name][index] for index in indices]


def software(profile, frames):
    """What the software executor makes of frames."""
    records, memory = chain_check.frames_of(frames)
    expected = chain_check.software(profile, records, CAPACITY)
    del memory
    return expected


class Bench:
    """A chain with its clock and all that is at its ports; ``prefix`` names the core's signals."""

    def __init__(self, dut, idle="none", held="none"):
        self.dut, self.clk, self.rst = dut, dut.clk, dut.rst
        self.size = len(dut.s_axis_tkeep)
        self.idle, self.held = (IDLE | LINE)[idle], HELD[held]
        self.fed, self.tops, self.verdicts, self.orders = [], [], [], []
        self.sent, self.flags, self.all_tops = [], 0, []
        for name in ("s_axil", "s_axis", "m_axis"):
            logging.getLogger(f"cocotb.{dut._name}.{name}").setLevel(logging.WARNING)
        Clock(dut.clk, CORE_PS, "ps").start()

    @property
    def cycle(self):
        return int(get_sim_time("ps")) // CORE_PS

    async def reset(self):
        """Reset, and wait until the memories are cleared; only then is anything at the ports."""
        dut = self.dut
        dut.rst.value, dut.m_axis_tready.value = 1, 1
        for name in ("s_axis_tvalid", "s_axil_awvalid", "s_axil_wvalid", "s_axil_arvalid"):
            getattr(dut, name).value = 0
        await Timer(5 * CORE_PS, "ps")
        dut.rst.value = 0
        done = await First(RisingEdge(dut.ready), ready := Timer(200_000 * CORE_PS, "ps"))
        assert done is not ready, "the chain is not ready long after reset"
        self.attach()
        for watcher in (self.watch_words(), self.watch_tops(), self.watch_verdicts()):
            cocotb.start_soon(watcher)
        cocotb.start_soon(self.watch_orders())
        await FallingEdge(dut.clk)

    def attach(self):
        dut = self.dut
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk)
        self.source.set_pause_generator(itertools.cycle(self.idle))
        self.sink.set_pause_generator(itertools.cycle(self.held))

    def hold(self, held):
        """How whoever takes the orders pauses, from now on."""
        self.sink.set_pause_generator(itertools.cycle(HELD[held]))

    # ------------------------------------------------------------ watching

    async def watch_words(self):
        while True:
            await FallingEdge(self.clk)
            if int(self.dut.s_axis_tvalid.value):
                self.fed.append(self.cycle)

    async def _while(self, valid):
        """Every cycle in which a signal is high."""
        while True:
            await RisingEdge(valid)
            await FallingEdge(self.clk)
            while int(valid.value):
                yield self.cycle
                await FallingEdge(self.clk)

    async def watch_tops(self):
        dut, last = self.dut, {}
        names = ("bid_px", "bid_sz", "ask_px", "ask_sz")
        async for cycle in self._while(dut.top_valid):
            symbol, flags = int(dut.top_symbol.value), int(dut.top_flags.value)
            self.flags |= flags
            self.all_tops.append((cycle, symbol))
            row = [int(getattr(dut, f"top_{name}").value) for name in names]
            row = [*(row[:2] if row[1] else (0, 0)), *(row[2:] if row[3] else (0, 0))]
            if last.get(symbol, [0] * 4) == row:
                continue
            last[symbol] = row
            sideband = int(dut.top_sideband.value)
            number = sideband >> 16 & (1 << 64) - 1
            self.tops.append((number, sideband >> 80, *row, symbol, flags))

    async def watch_verdicts(self):
        dut = self.dut
        async for cycle in self._while(dut.verdict_valid):
            intent = int(dut.verdict_intent.value)
            words = [intent >> 64 * n & (1 << 64) - 1 for n in range(4)]
            self.verdicts.append((cycle, int(dut.verdict.value), words))

    async def watch_orders(self):
        """In which cycle each order's first word stood at the output, and when it was taken."""
        dut, is_first, shown = self.dut, True, None
        async for cycle in self._while(dut.m_axis_tvalid):
            shown = cycle if is_first and shown is None else shown
            if not int(dut.m_axis_tready.value):
                continue
            if is_first:
                self.orders.append((shown, cycle))
            is_first, shown = bool(int(dut.m_axis_tlast.value)), None

    def watch_stages(self):
        """Cycles in which each stage's result came to stand at its output, by stage."""
        dut = self.dut
        signals = {
            "parse": dut.operates,
            "book": dut.top_valid,
            "trigger": dut.back.fires,
            "risk": dut.verdict_valid,
            "encode": dut.m_axis_tvalid,
        }
        found = {name: [] for name in signals}

        async def watch(signal, cycles):
            while True:
                await RisingEdge(signal)
                await FallingEdge(self.clk)
                cycles.append(self.cycle)

        for name, signal in signals.items():
            cocotb.start_soon(watch(signal, found[name]))
        return found

    def watch_hazards(self, covered):
        """Count what the book forwards and what its engine does, by the signals that say so."""
        core = self.dut.book.core
        for side, block in (("bids", core.side_b), ("offers", core.side_a)):
            levels, engine = block.all, block.engine
            for what, signal, valid in (
                ("row of one operation before", block.by7, block.v5),
                ("row of two before", block.by8, block.v5),
                *(
                    (f"level of {n} changes before", getattr(levels, f"m{n}"), levels.e3)
                    for n in range(1, 5)
                ),
                ("move", engine.did_move, None),
                ("drop", engine.did_drop, None),
                ("rescan", engine.rescan, None),
                ("refill", block.row_we, None),
            ):
                cocotb.start_soon(self._hazard(signal, valid, covered, f"{what}, {side}"))

    async def _hazard(self, signal, valid, covered, name):
        while True:
            await RisingEdge(signal)
            await FallingEdge(self.clk)
            if valid is None or int(valid.value):
                covered.hit("hazard", name)

    # ------------------------------------------------------------ the host

    async def write(self, offset, value):
        found = await self.master.write(offset, value.to_bytes(4, "little"))
        assert found.resp == AxiResp.OKAY, hex(offset)

    async def read(self, name, index=0):
        """A register by its name; both words of one that has two."""
        each = BY_REGISTER[name]
        size = each.bits // 8
        found = await self.master.read(each.offset + index * size, size)
        assert found.resp == AxiResp.OKAY, name
        return int.from_bytes(found.data, "little")

    async def prepare(self, profile, expected):
        """Write what the software has learnt and was told."""
        recorder = Recorder()
        chain_check.prepare(recorder, profile, expected)
        for offset, value in recorder.writes:
            await self.write(offset, value)

    # ------------------------------------------------------------ traffic

    def send(self, frames, bad=(), counts=True):
        """Send frames; whether their messages are inputs that have not been there before."""
        for number, raw in enumerate(frames):
            self.sent.append((len(raw), counts))
            user = [0] * (len(raw) - 1) + [int(number in bad)]
            self.source.send_nowait(AxiStreamFrame(raw, tuser=user))

    async def rest(self):
        """Until all that was sent is in, and what follows from it out."""
        await self.source.wait()
        while True:
            await Timer(REST * CORE_PS, "ps")
            if not int(self.dut.operations_waiting.value) and self.sink.idle():
                break
        await Timer(REST * CORE_PS, "ps")

    def outcome(self):
        """What came out, as a chain in process gives it."""
        frames = [bytes(self.sink.recv_nowait().tdata) for _ in range(self.sink.count())]
        orders = np.zeros(len(frames), ORDER)
        for record, data, (shown, taken) in zip(orders, frames, self.orders, strict=True):
            record["shown"], record["taken"], record["length"] = shown, taken, len(data)
            record["data"][: len(data)] = np.frombuffer(data[:ORDER_BYTES], np.uint8)
        tops, verdicts = np.zeros(len(self.tops), TOP), np.zeros(len(self.verdicts), VERDICT)
        names = ("input_number", "ts_event", "bid_px", "bid_sz", "ask_px", "ask_sz", "symbol")
        for record, row in zip(tops, self.tops, strict=True):
            for name, value in zip((*names, "flags"), row, strict=True):
                record[name] = value
        for record, (cycle, verdict, words) in zip(verdicts, self.verdicts, strict=True):
            record["cycle"], record["verdict"], record["intent"] = cycle, verdict, words
        return Outcome(tops, verdicts, orders, self._words())

    def _words(self):
        """The cycles of the words of 64 bits of frames that count."""
        found, first = [], 0
        for length, counts in self.sent:
            if counts:
                found += [self.fed[first + at // self.size] for at in range(0, length, 8)]
            first += -(-length // self.size)
        return np.array(found, np.int64)

    async def ran(self):
        """The chain as it stands, for `chain_check`."""
        values = {
            each.name: [await self.read(each.name, n) for n in range(each.copies)]
            for each in registers.REGISTERS
            if each.access is not registers.Access.WRITE and each.copies < 40
        }
        dut = self.dut
        names = ("input_number", "engine_time", "word_peak")
        state = {name: int(getattr(dut, name).value) for name in names}
        return Ran(self.outcome(), values, state, self.flags)

    async def compared(self, profile, frames, expected):
        """Compare with the software; gives what `chain_check.compare` gives, and the chain."""
        chain = await self.ran()
        return chain_check.compare(chain, profile, frames, expected), chain
