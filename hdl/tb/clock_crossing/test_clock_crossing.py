"""cocotb bench of the clock crossing: frames between two clocks, over ratios, phases and resets.

Source and sink are cocotbext-axi's.  What comes out is compared with what went in, word for word,
and the time of every word from the edge that takes it to the one that shows it is bounded.
"""

import logging
import random
from itertools import count, cycle

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, Timer
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from tickpath_backends.hdl.coverage import Coverage

WORD_PS, CORE_PS = 6400, 3103
CLOCKS = {
    "wire to core": (WORD_PS, CORE_PS),
    "core to wire": (CORE_PS, WORD_PS),
    "equal": (3104, 3104),
    "slow to fast": (20_000, CORE_PS),
    "fast to slow": (CORE_PS, 20_000),
}
DEPTH = 16
BYTES = 8
IDLE = {"none": (0,), "some": (0, 1, 0, 0, 1, 1), "long": (1,) * 40 + (0,) * 5}
HELD = {"none": (0,), "half": (1, 0), "long": (1,) * 60 + (0,) * 30}
COVERED = Coverage("clock_crossing")


class Bench:
    """The crossing with its two clocks, a source, a sink, and the times of words."""

    def __init__(self, dut, clocks, phase_ps=0):
        self.dut = dut
        self.waits = int(dut.WAITS.value) != 0
        self.s_ps, self.m_ps = CLOCKS[clocks]
        self.taken, self.shown, self.ended = [], [], []
        for name in ("s_axis", "m_axis"):
            logging.getLogger(f"cocotb.{dut._name}.{name}").setLevel(logging.WARNING)
        dut.s_rst.value, dut.m_rst.value = 1, 1
        Clock(dut.s_clk, self.s_ps, "ps", period_high=self.s_ps // 2).start()
        cocotb.start_soon(self._start(phase_ps))
        # The source may wait for a sink here, which the wire does not: so it does not look.
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.s_clk, dut.s_rst)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.m_clk, dut.m_rst)

    async def _start(self, phase_ps):
        if phase_ps:
            await Timer(phase_ps, "ps")
        Clock(self.dut.m_clk, self.m_ps, "ps", period_high=self.m_ps // 2).start()

    async def reset(self, first="both"):
        """Reset both sides; the one that is named is released first, or both at once."""
        dut = self.dut
        dut.s_rst.value, dut.m_rst.value = 1, 1
        await Timer(5 * max(self.s_ps, self.m_ps), "ps")
        for name in {"s": "sm", "m": "ms", "both": "sm"}[first]:
            await RisingEdge(getattr(dut, f"{name}_clk"))
            getattr(dut, f"{name}_rst").value = 0
            if first != "both":
                await Timer(7 * max(self.s_ps, self.m_ps), "ps")
        await Timer(4 * max(self.s_ps, self.m_ps), "ps")

    async def pulse(self, side):
        """Reset one side for a cycle of its own."""
        clock, reset = (getattr(self.dut, f"{side}_{name}") for name in ("clk", "rst"))
        await RisingEdge(clock)
        reset.value = 1
        await RisingEdge(clock)
        reset.value = 0
        await RisingEdge(clock)

    async def watch_source(self):
        dut = self.dut
        while True:
            await FallingEdge(dut.s_clk)
            if int(dut.s_axis_tvalid.value) and int(dut.s_axis_tready.value):
                # It is taken by the edge half a cycle from now.
                self.taken.append(get_sim_time("ps") + self.s_ps - self.s_ps // 2)

    async def watch_sink(self):
        dut, is_new = self.dut, True
        while True:
            await FallingEdge(dut.m_clk)
            if int(dut.m_axis_tvalid.value):
                if is_new:
                    self.shown.append(get_sim_time("ps") - self.m_ps // 2)
                is_new = bool(int(dut.m_axis_tready.value))
            else:
                is_new = True

    def watch(self):
        return [cocotb.start_soon(self.watch_source()), cocotb.start_soon(self.watch_sink())]

    async def rest(self):
        """Until all that was sent has come out, or has not."""
        await self.source.wait()
        # Up to a memory of words, of which a sink takes one in three cycles at the least.
        await Timer(400 * max(self.s_ps, self.m_ps), "ps")

    def received(self):
        """Frames that came out: (bytes, is bad)."""
        frames = [self.sink.recv_nowait() for _ in range(self.sink.count())]
        return [(bytes(each.tdata), bool(last(each.tuser))) for each in frames]


def last(value):
    return value[-1] if isinstance(value, list) else value


def some_frames(draw, number, longest=90):
    """Frames whose first bytes are their numbers."""
    made = []
    for n in range(number):
        length = draw.choice((4, 7, 8, 9, 16, draw.randrange(4, longest)))
        made.append(n.to_bytes(4, "big") + draw.randbytes(length - 4))
    return made


def send(bench, frames, bad=()):
    for n, raw in enumerate(frames):
        user = [0] * (len(raw) - 1) + [int(n in bad)]
        bench.source.send_nowait(AxiStreamFrame(raw, tuser=user))


@cocotb.test()
@cocotb.parametrize(clocks=[*CLOCKS], idle=[*IDLE])
async def frames_come_out_as_they_went_in(dut, clocks, idle):
    """With a reader that never pauses; what waits is derived, and latency is bounded."""
    bench = Bench(dut, clocks, phase_ps=137)
    await bench.reset()
    bench.watch()
    draw = random.Random(f"{clocks} {idle}")
    bench.source.set_pause_generator(cycle(IDLE[idle]))
    frames = some_frames(draw, 90)
    bad = {n for n in range(len(frames)) if draw.random() < 0.1}
    keeps_up = bench.s_ps >= bench.m_ps
    if bench.waits or keeps_up or idle == "long":
        send(bench, frames, bad)
        await bench.rest()
        found = bench.received()
        if bench.waits or keeps_up:
            assert found == [(raw, n in bad) for n, raw in enumerate(frames)]
            assert int(dut.m_lost.value) == 0
            COVERED.hit("ratio", clocks)
        _latencies(bench, clocks)
    if keeps_up:
        # Words that enter until the reader's pointer is back, and the place of a frame's end.
        assert int(dut.s_peak.value) <= 4 + 3 * bench.m_ps / bench.s_ps
        COVERED.measured(f"words that wait, {clocks}", int(dut.s_peak.value), "words")


def _latencies(bench, clocks):
    """Of words that waited for none in front of them."""
    taken = [
        (shown - at, at)
        for n, (at, shown) in enumerate(zip(bench.taken, bench.shown, strict=False))
        if n == 0 or at > bench.shown[n - 1]
    ]
    for latency_ps, _ in taken:
        assert 2 * bench.m_ps < latency_ps <= 3 * bench.m_ps + 1, (clocks, latency_ps)
        COVERED.measured(clocks, latency_ps / 1000, "ns")


@cocotb.test()
@cocotb.parametrize(clocks=["wire to core", "core to wire"])
async def every_phase(dut, clocks):
    """Single words a long way apart, at 64 phases: the least and the most that a word takes."""
    bench = Bench(dut, clocks)
    await bench.reset()
    bench.watch()
    step_ps = max(1, bench.m_ps // 32)
    for n in range(64):
        bench.source.send_nowait(AxiStreamFrame(n.to_bytes(8, "big")))
        await bench.source.wait()
        await Timer(12 * max(bench.s_ps, bench.m_ps) + n * step_ps % bench.m_ps, "ps")
    await bench.rest()
    assert [data for data, _ in bench.received()] == [n.to_bytes(8, "big") for n in range(64)]
    _latencies(bench, clocks)
    COVERED.hit("phases", clocks)


@cocotb.test()
@cocotb.parametrize(part=range(16))
async def equal_clocks_at_a_phase(dut, part):
    """Two clocks of one frequency that stay as they are to each other, also at the same instant."""
    bench = Bench(dut, "equal", phase_ps=part * 3104 // 16)
    await bench.reset()
    bench.watch()
    frames = some_frames(random.Random(part), 12)
    send(bench, frames)
    await bench.rest()
    assert [data for data, _ in bench.received()] == frames and int(dut.m_lost.value) == 0
    _latencies(bench, "equal")
    COVERED.hit("phase of equal clocks", part)


@cocotb.test()
@cocotb.parametrize(clocks=[*CLOCKS], held=["half", "long"])
async def a_reader_that_pauses(dut, clocks, held):
    """Whoever cannot wait loses whole frames or has them cut and marked, and all are counted."""
    bench = Bench(dut, clocks)
    await bench.reset()
    bench.sink.set_pause_generator(cycle(HELD[held]))
    before = int(dut.m_lost.value)
    frames = some_frames(random.Random(f"{clocks} {held}"), 120)
    send(bench, frames)
    await bench.rest()
    bench.sink.clear_pause_generator()
    bench.sink.pause = False
    await bench.rest()
    found = bench.received()
    assert int(dut.s_peak.value) <= DEPTH
    if bench.waits:
        assert found == [(raw, False) for raw in frames]
        COVERED.hit("full", "the writer waits", int(dut.s_peak.value) >= DEPTH - 1)
        return
    whole, cut = _known(found, frames)
    assert whole + cut + (int(dut.m_lost.value) - before) - cut == len(frames)
    assert cut <= int(dut.m_lost.value) - before
    COVERED.hit("full", "a frame is lost", int(dut.m_lost.value) - before - cut)
    COVERED.hit("full", "a frame is cut", cut)


def _known(found, frames):
    """That frames are of those sent, in order, whole or cut and marked; how many of each."""
    last_number, whole, cut = -1, 0, 0
    for data, is_bad in found:
        number = int.from_bytes(data[:4], "big")
        assert last_number < number < len(frames), "frames out of order, or twice"
        last_number = number
        if data == frames[number] and not is_bad:
            whole += 1
        else:
            assert is_bad, (data, frames[number])
            assert frames[number].startswith(data)
            cut += 1
    return whole, cut


@cocotb.test()
@cocotb.parametrize(clocks=["wire to core", "core to wire", "equal"], first=["s", "m", "both"])
async def resets_in_either_order(dut, clocks, first):
    bench = Bench(dut, clocks, phase_ps=611)
    await bench.reset(first)
    frames = some_frames(random.Random(f"{clocks} {first}"), 30)
    send(bench, frames)
    await bench.rest()
    if bench.waits or bench.s_ps >= bench.m_ps:
        assert [data for data, _ in bench.received()] == frames
    COVERED.hit("released first", first)


@cocotb.test()
@cocotb.parametrize(clocks=["wire to core", "core to wire", "equal"], side=["s", "m"])
async def a_reset_within_a_frame(dut, clocks, side):
    """One side alone, at every cycle of long frames: nothing is put together of two frames."""
    bench = Bench(dut, clocks)
    await bench.reset()
    draw = random.Random(f"{clocks} {side}")
    numbers, sent, cut = count(), {}, 0
    for at in range(24):
        for _ in range(2):
            n = next(numbers)
            sent[n] = n.to_bytes(4, "big") + draw.randbytes(draw.randrange(60, 100))
            bench.source.send_nowait(AxiStreamFrame(sent[n]))
        for _ in range(at % 12 + 1):
            await RisingEdge(dut.s_clk if side == "s" else dut.m_clk)
        await bench.pulse(side)
        # A source that was reset has lost the frame it was in, and nobody goes on with it.
        await bench.rest()
        n = next(numbers)
        sent[n] = n.to_bytes(4, "big") + bytes(20)
        bench.source.send_nowait(AxiStreamFrame(sent[n]))
        await bench.rest()
        found = bench.received()
        assert found[-1:] == [(sent[n], False)], "the frame behind the reset"
        for data, is_bad in found:
            number = int.from_bytes(data[:4], "big")
            if is_bad:
                # What the crossing closes a frame with is one byte.
                assert data == b"\0" or sent[number].startswith(data[:-1]), (number, data)
                cut += 1
            else:
                assert sent[number] == data
    # The reader's reset takes what its own sink had begun; the writer's leaves an end to mark.
    if side == "s":
        assert cut > 2
    elif bench.waits or bench.s_ps >= bench.m_ps:
        assert cut == 0
    COVERED.hit("reset within a frame", side)


@cocotb.test()
async def zz_coverage_is_complete(dut):
    """Runs last."""
    COVERED.finish()


_waits = int(cocotb.top.WAITS.value) != 0
COVERED.declare(
    "ratio",
    CLOCKS,
    {}
    if _waits
    else {
        name: "the reader is slower: frames are lost, which other tests count"
        for name, (s_ps, m_ps) in CLOCKS.items()
        if s_ps < m_ps
    },
)
COVERED.declare("phases", ("wire to core", "core to wire"))
COVERED.declare("phase of equal clocks", range(16))
COVERED.declare("full", ("the writer waits",) if _waits else ("a frame is lost", "a frame is cut"))
COVERED.declare("released first", ("s", "m", "both"))
COVERED.declare("reset within a frame", ("s", "m"))
