"""cocotb bench of the encoder with its serialiser: frames of an AXI-Stream, with back-pressure."""

import logging
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamSink

from tickpath_backends.hdl.back_orders import session
from tickpath_backends.hdl.back_reference import Intent
from tickpath_backends.hdl.coverage import Coverage
from tickpath_backends.hdl.registers import Protocol

NAMES = {0: "A", 1: "AAPL", 2: "ABCDEFGH"}
ORDERS, WORDS, DEPTH = 120, 6, 4
PAUSES = {
    "none": lambda draw: None,
    "half": lambda draw: (draw.random() < 0.5 for _ in iter(int, 1)),
    "spells": lambda draw: (cycle // 50 % 2 == 1 for cycle, _ in enumerate(iter(int, 1))),
}
COVERED = Coverage("encode")
COVERED.declare("order", ("a buy", "a sell", "a short sale"))
COVERED.declare("symbol of so many letters", sorted({len(name) for name in NAMES.values()}))
COVERED.declare("idle, held", ("none, none", "none, spells", "some, none", "some, spells"))
COVERED.declare("idle, held", ("some, half",))
COVERED.declare("no room", ("refused",))
IDLE = {"none": lambda draw: WORDS - 1, "some": lambda draw: draw.randrange(4, 40)}


class Bench:
    """`encode_top` with a sink at its stream."""

    def __init__(self, dut):
        self.dut = dut
        self.session = session(Protocol.OUCH50, NAMES)
        self.cycle = self.refused = 0
        self.number = 1
        self.shown = []  # cycles in which a first word came to stand at the output
        self._between = True
        Clock(dut.clk, 3104, "ps").start()
        logging.getLogger(f"cocotb.{dut._name}.m_axis").setLevel(logging.WARNING)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, dut.rst)

    async def reset(self):
        dut = self.dut
        dut.rst.value, dut.in_valid.value, dut.ref_we.value = 1, 0, 0
        dut.template_.value = self.session.template
        for _ in range(4):
            await FallingEdge(dut.clk)
        dut.rst.value = 0
        await self.step()

    async def step(self):
        dut = self.dut
        await FallingEdge(dut.clk)
        self.cycle += 1
        dut.in_valid.value = 0
        if int(dut.m_axis_tvalid.value) and self._between:
            self.shown.append(self.cycle)
        if int(dut.m_axis_tvalid.value):
            moves, last = int(dut.m_axis_tready.value), int(dut.m_axis_tlast.value)
            self._between = bool(moves and last)
        self.refused += int(dut.was_refused.value)

    async def give(self, intent, is_short):
        """An accepted intent in the next cycle; its bytes, or nothing where it was refused."""
        dut, before = self.dut, self.refused
        dut.in_valid.value, dut.in_intent.value = 1, intent.vector
        dut.in_is_short.value = int(is_short)
        dut.in_name.value = int.from_bytes(NAMES[intent.symbol].encode().ljust(8), "big")
        dut.in_sideband.value = intent.tag
        await self.step()
        expected = self.session.encode(intent, is_short, self.number)
        await self.step()
        if self.refused > before:
            return None
        self.number += 1
        return expected


def some_intent(draw, n):
    return Intent(
        draw.randrange(3),
        draw.randrange(2),
        draw.randrange(1, 2_000_000_000),
        draw.randrange(1, 1_000_000),
        draw.getrandbits(48),
        draw.getrandbits(60),
        n,
        0,
    )


async def run(dut, pause, idle):
    draw = random.Random(f"encode {pause} {idle}")
    bench = Bench(dut)
    pauses = PAUSES[pause](draw)
    await bench.reset()
    if pauses is not None:
        bench.sink.set_pause_generator(pauses)
    made = []
    for n in range(ORDERS):
        at = bench.cycle
        intent, is_short = some_intent(draw, n), bool(draw.randrange(2))
        expected = await bench.give(intent, is_short)
        side = "a buy" if not intent.is_sell else "a short sale" if is_short else "a sell"
        COVERED.hit("order", side)
        COVERED.hit("symbol of so many letters", len(NAMES[intent.symbol]))
        if expected is not None:
            made.append((at, expected))
        for _ in range(max(IDLE[idle](draw) - 2, 0)):
            await bench.step()
    for _ in range(400):
        await bench.step()
    frames = [bytes(bench.sink.recv_nowait().tdata) for _ in range(bench.sink.count())]
    assert frames == [data for _, data in made]
    assert bench.refused == ORDERS - len(made)
    COVERED.hit("idle, held", f"{idle}, {pause}")
    COVERED.hit("no room", "refused", bench.refused)
    return bench, [shown - at for (at, _), shown in zip(made, bench.shown, strict=True)]


@cocotb.test()
@cocotb.parametrize(idle=[*IDLE], pause=["none", "spells"])
async def orders_are_frames(dut, idle, pause):
    bench, taken = await run(dut, pause, idle)
    assert min(taken) == 1
    COVERED.measured("intent to first word", min(taken))
    if pause == "none" and idle == "some":
        assert {each for each in taken if each > 1} <= {2, 3, 4} and not bench.refused
    if pause == "spells" and idle == "none":
        assert bench.refused > 0


@cocotb.test()
async def orders_are_frames_with_every_other_word_held(dut):
    bench, _ = await run(dut, "half", "some")
    assert int(bench.dut.peak.value) <= DEPTH


@cocotb.test()
async def zz_coverage_is_complete(dut):
    """Runs last."""
    COVERED.finish()
