"""cocotb bench of the chain between two clocks, with a 10 Gb/s MAC on the wire's side.

The MAC is cocotbext-eth's: it brings frames at the rate of the line, with preambles and gaps, and
takes orders as a transmitter does, which may not run dry within a frame.  The software is the
scoreboard.  The latency of an order from the MAC's word to the MAC's word is the chain's cycles and
the two crossings.
"""

import logging
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, First, RisingEdge, Timer
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiLiteBus, AxiLiteMaster
from cocotbext.eth import EthMac, EthMacFrame
from cocotbext.eth.eth_mac import AxiStreamBus
from hdl.tb.chain import stimuli
from hdl.tb.chain.scoreboard import Bench, software

from tickpath_backends.hdl.chain_model import LATENCY
from tickpath_backends.hdl.coverage import Coverage
from tickpath_backends.hdl.parse_reference import COUNTERS

WORD_PS, CORE_PS = 6400, 3104
SPEED = 10e9
COVERED = Coverage("wire")
COVERED.declare("run", ("line rate", "core reset", "wire reset", "alone", "frames lost"))
LEAST_PS = (WORD_PS + 2 * CORE_PS) + LATENCY * CORE_PS + (CORE_PS + 2 * WORD_PS)
MOST_PS = (WORD_PS + 3 * CORE_PS) + LATENCY * CORE_PS + (CORE_PS + 3 * WORD_PS)
"""From the beginning of the cycle of the word with a message's last byte to that of its order's
first: into the core, through the chain, out of the core.  A crossing takes the cycle in which the
word stands there, and 2 to 3 cycles of the clock that it comes to."""


class Wire(Bench):
    """`wire_top`: the host in the core's clock, the MAC in the wire's."""

    def __init__(self, dut):
        self.dut, self.clk = dut, dut.core_clk
        for name in ("s_axil", "s_axis", "m_axis"):
            logging.getLogger(f"cocotb.{dut._name}.{name}").setLevel(logging.WARNING)
        self.core = Clock(dut.core_clk, CORE_PS, "ps")
        self.core.start()
        Clock(dut.word_clk, WORD_PS, "ps").start()
        self.came, self.left = [], []

    async def reset(self):
        dut = self.dut
        dut.core_rst.value, dut.word_rst.value = 1, 1
        dut.m_axis_tready.value, dut.s_axis_tvalid.value = 1, 0
        for name in ("s_axil_awvalid", "s_axil_wvalid", "s_axil_arvalid"):
            getattr(dut, name).value = 0
        await Timer(8 * WORD_PS, "ps")
        dut.core_rst.value = 0
        await self.is_ready()
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.core_clk)
        self.mac = EthMac(
            tx_bus=AxiStreamBus.from_prefix(dut, "m_axis"),
            tx_clk=dut.word_clk,
            tx_rst=dut.word_rst,
            rx_bus=AxiStreamBus.from_prefix(dut, "s_axis"),
            rx_clk=dut.word_clk,
            rx_rst=dut.word_rst,
            ifg=12,
            speed=SPEED,
        )
        await RisingEdge(dut.word_clk)
        dut.word_rst.value = 0
        await Timer(8 * WORD_PS, "ps")
        cocotb.start_soon(self.watch_in())
        cocotb.start_soon(self.watch_out())

    async def is_ready(self):
        done = await First(RisingEdge(self.dut.core_ready), late := Timer(500, "us"))
        assert done is not late, "the chain is not ready long after reset"

    async def watch_in(self):
        """When each frame's last word came to stand at the input."""
        dut = self.dut
        while True:
            await FallingEdge(dut.word_clk)
            if int(dut.s_axis_tvalid.value) and int(dut.s_axis_tlast.value):
                self.came.append(int(get_sim_time("ps")) - WORD_PS // 2)

    async def watch_out(self):
        """When each order's first word came to stand at the output."""
        dut, is_first = self.dut, True
        while True:
            await FallingEdge(dut.word_clk)
            if int(dut.m_axis_tvalid.value):
                if is_first:
                    self.left.append(int(get_sim_time("ps")) - WORD_PS // 2)
                is_first = bool(int(dut.m_axis_tlast.value)) and bool(int(dut.m_axis_tready.value))

    def send(self, frames):
        for raw in frames:
            self.mac.rx.send_nowait(EthMacFrame.from_payload(raw))

    async def rest(self):
        # The model's own `wait` knows only of a reset.
        while not self.mac.rx.empty() or self.mac.rx.current_frame is not None:
            await Timer(100 * WORD_PS, "ps")
        await Timer(3_000 * CORE_PS, "ps")

    def orders(self):
        return [bytes(self.mac.tx.recv_nowait().data) for _ in range(self.mac.tx.count())]


async def begun(dut, given, frames):
    bench = Wire(dut)
    await bench.reset()
    expected = software(given, frames)
    await bench.prepare(given, expected)
    return bench, expected


@cocotb.test()
async def a_market_at_line_rate(dut):
    """Frames back to back with preamble, checksum and gap: none is lost."""
    draw = random.Random("line")
    given = stimuli.profile(draw)
    frames = stimuli.framed(stimuli.market(draw, 900), draw)
    bench, expected = await begun(dut, given, frames)
    bench.send(frames)
    await bench.rest()
    assert bench.orders() == expected.orders and len(expected.orders) > 10
    assert int(dut.core_frames_lost.value) == 0
    assert int(dut.word_peak.value) <= 4 + 3 * CORE_PS / WORD_PS
    COVERED.measured("words that wait for the core", int(dut.word_peak.value), "words")
    COVERED.hit("run", "line rate")


@cocotb.test()
async def from_wire_to_wire(dut):
    """Messages far apart, each at the end of its frame: what an order takes, over all phases."""
    messages, given = stimuli.seesaw(160)
    opening = len(messages) - 160
    frames = stimuli.framed(messages[:opening], random.Random("apart"))
    apart = []
    for n, raw in enumerate(messages[opening:]):
        # The message ends its frame's last word, which so is the word that is timed.
        filler = stimuli.filler(-len(raw) % 8, 8)
        apart.append(stimuli.mold([filler, raw], opening + 1 + 2 * n))
    bench, expected = await begun(dut, given, [*frames, *apart])
    bench.send(frames)
    await bench.rest()
    first, before = len(bench.left), len(bench.came)
    for n, raw in enumerate(apart):
        # The MAC has taken the checksum away.
        bench.mac.rx.send_nowait(EthMacFrame.from_raw_payload(raw))
        # In 97 words the clocks' phases come round.
        await Timer((194 + n % 97) * WORD_PS, "ps")
    await bench.rest()
    assert bench.orders() == expected.orders
    took = [b - a for a, b in zip(bench.came[before:], bench.left[first:], strict=True)]
    assert len(took) == 160 and len({*took}) > 1, "all in one phase"
    assert LEAST_PS < min(took) <= max(took) <= MOST_PS, (LEAST_PS, min(took), max(took), MOST_PS)
    for each in took:
        COVERED.measured("word to word, with both crossings", each / 1000, "ns")
    COVERED.hit("run", "alone")


@cocotb.test()
@cocotb.parametrize(which=["core", "wire"])
async def a_reset_of_one_side(dut, which):
    """In the middle of frames; what comes behind it is as ever."""
    draw = random.Random(which)
    given = stimuli.profile(draw)
    messages = stimuli.market(draw, 300)
    frames = stimuli.framed(messages, draw)
    bench, expected = await begun(dut, given, frames)
    reset = dut.core_rst if which == "core" else dut.word_rst
    bench.send(stimuli.framed(messages[:40], draw, 1_000_000))
    await Timer(151 * WORD_PS, "ps")
    reset.value = 1
    await Timer(3 * WORD_PS, "ps")
    reset.value = 0
    bench.mac.rx.clear()
    if which == "core":
        await bench.is_ready()
    else:
        # The books have orders of before: only a reset of the core makes them empty.
        await bench.rest()
        dut.core_rst.value = 1
        await Timer(3 * WORD_PS, "ps")
        dut.core_rst.value = 0
        await bench.is_ready()
    await bench.rest()
    bench.orders()
    await bench.prepare(given, expected)
    bench.send(frames)
    await bench.rest()
    assert bench.orders() == expected.orders and len(expected.orders) > 3
    COVERED.hit("run", f"{which} reset")


@cocotb.test()
async def frames_that_the_crossing_loses_are_in_a_register(dut):
    """The core's clock stands while frames come: the host reads how many were lost, then and later.

    The count of the crossing has no reset, so that a test before this one may have left some.
    """
    draw = random.Random("lost")
    given = stimuli.profile(draw)
    frames = stimuli.framed(stimuli.market(draw, 60), draw)
    bench, _ = await begun(dut, given, frames)
    before = await bench.read("CROSSING_LOST")
    assert before == int(dut.core_frames_lost.value)
    lost = []
    for count in (2, 5):
        bench.core.stop()
        bench.send(frames[:count])
        while not bench.mac.rx.empty() or bench.mac.rx.current_frame is not None:
            await Timer(100 * WORD_PS, "ps")
        bench.core.start()
        await bench.rest()
        lost.append(await bench.read("CROSSING_LOST") - before)
        assert lost[-1] == int(dut.core_frames_lost.value) - before
    # What fits into the crossing is less than two frames, of which the second is cut.
    assert len(frames) >= 5 and 1 <= lost[0] <= 2 and lost[1] - lost[0] >= 4, lost
    counted = {name: await bench.read("FRONT_COUNTS", n) for name, n in COUNTERS.items()}
    assert counted["frames_lost"] == 0, "those that the chain itself has no room for"
    COVERED.hit("run", "frames lost")


@cocotb.test()
async def zz_coverage_is_complete(dut):
    """Runs last."""
    COVERED.finish()
