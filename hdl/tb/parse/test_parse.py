"""cocotb bench of the front: an AXI-Stream source with idle cycles, a monitor, the reference.

The stream comes from cocotbext-axi's source, whose pauses are the idle cycles; there is no
back-pressure to make.  What is covered is counted: every message type in every lane of a word, and
every counter.  Latency in cycles is asserted.
"""

import random
from collections import Counter, deque
from itertools import cycle

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSource

from tickpath.wire.itch50 import ITCH50
from tickpath_backends.hdl.coverage import Coverage
from tickpath_backends.hdl.parse_flow import GROUPS, MIX, SYMBOLS, Flow
from tickpath_backends.hdl.parse_reference import COUNTERS, Front, Said

LOCATE_BITS = 8
BYTES = 8
LATENCY = 2
PATIENCE = 20_000
IDLE = {
    "none": lambda draw: [0],
    "some": lambda draw: [draw.randrange(2) for _ in range(997)],
    "long": lambda draw: [draw.random() < 0.9 for _ in range(997)],
}
OPERATION = ("symbol", "op", "order_ref", "new_order_ref", "is_sell", "price", "shares")


class Bench:
    """The front with its clock; all is sampled at falling edges, where registers stand still."""

    def __init__(self, dut):
        self.dut = dut
        self.cycle = 0
        self.fed = []  # cycles in which words stood at the inputs
        self.said = deque()
        Clock(dut.clk, 3104, "ps").start()
        bus = AxiStreamBus.from_prefix(dut, "s_axis")
        self.source = AxiStreamSource(bus, dut.clk, dut.rst)
        self.source.log.setLevel("WARNING")

    async def reset(self):
        dut = self.dut
        dut.rst.value, dut.orders_live.value, dut.count_select.value = 1, 1, 0
        dut.cfg_group_we.value, dut.cfg_locate_we.value = 0, 0
        for _ in range(4):
            await FallingEdge(dut.clk)
        dut.rst.value = 0
        while int(dut.ready.value) == 0:
            await FallingEdge(dut.clk)
        for at, ((address, port), line) in enumerate(GROUPS.items()):
            dut.cfg_group_we.value, dut.cfg_group.value = 1, at
            dut.cfg_group_enabled.value, dut.cfg_group_line.value = 1, line
            dut.cfg_group_address.value, dut.cfg_group_port.value = address, port
            await FallingEdge(dut.clk)
        dut.cfg_group_we.value = 0
        for locate, symbol in SYMBOLS.items():
            dut.cfg_locate_we.value, dut.cfg_locate.value = 1, locate
            dut.cfg_locate_subscribed.value, dut.cfg_locate_symbol.value = 1, symbol
            await FallingEdge(dut.clk)
        dut.cfg_locate_we.value = 0
        for _ in range(4):
            await FallingEdge(dut.clk)

    async def watch(self):
        """Note which words go in and what comes out, for ever."""
        dut = self.dut
        while True:
            await FallingEdge(dut.clk)
            self.cycle += 1
            if int(dut.s_axis_tvalid.value):
                self.fed.append(self.cycle)
            if int(dut.out_gapped.value):
                line = int(dut.out_gapped_line.value)
                self.said.append((Said("gapped", line=line), self.cycle))
            is_action = int(dut.out_action.value)
            if int(dut.out_valid.value) or is_action:
                self.said.append((self._said(is_action), self.cycle))

    def _said(self, is_action):
        dut, sideband = self.dut, int(self.dut.out_sideband.value)
        common = {
            "ts_event": sideband >> 80,
            "input_number": sideband >> 16 & (1 << 64) - 1,
            "tag": sideband & 0xFFFF,
        }
        if is_action:
            state, symbol = int(dut.out_state.value), int(dut.out_symbol.value)
            return Said("action", symbol, state=state, **common)
        values = {name: int(getattr(dut, f"out_{name}").value) for name in OPERATION}
        return Said("operation", **values, **common)

    async def run(self, frames, bad, idle, seed):
        """Send frames; gives what came out of them."""
        self.source.set_pause_generator(cycle(IDLE[idle](random.Random(seed))))
        for number, raw in enumerate(frames):
            user = [0] * (len(raw) - 1) + [int(number in bad)]
            self.source.send_nowait(AxiStreamFrame(raw, tuser=user))
        await self.source.wait()
        for _ in range(40 + PATIENCE * (idle == "none")):
            await FallingEdge(self.dut.clk)
            if self.cycle > self.fed[-1] + 40 and not self.dut.valid.value:
                break

    async def counters(self):
        found = {}
        for name, number in COUNTERS.items():
            self.dut.count_select.value = number
            for _ in range(3):
                await FallingEdge(self.dut.clk)
            if value := int(self.dut.count_value.value):
                found[name] = value
        return found


COVERED = Counter()


@cocotb.test()
@cocotb.parametrize(
    idle=["none", "some", "long"],
    flow=[
        {"seed": 1, "mix": {"next": 1}, "hurt": 0.0, "short": 0.0, "odd": 0.0, "messages": 12},
        {"seed": 2, "mix": dict(MIX), "hurt": 0.05, "bad": 0.03},
        {"seed": 3, "mix": {"next": 60, "foreign": 40}, "headers": 1.0, "short": 0.1},
    ],
)
async def frames_against_the_reference(dut, idle, flow):
    bench = Bench(dut)
    await bench.reset()
    cocotb.start_soon(bench.watch())
    front = Front(GROUPS, SYMBOLS, locate_bits=LOCATE_BITS)
    frames, bad = Flow(**flow).frames(260)
    expected, first = [], [0]
    for number, raw in enumerate(frames):
        expected += front.frame(raw, number in bad)
        first.append(first[-1] - -len(raw) // BYTES)
        for each in front.taken:
            COVERED[chr(each.type), each.at % BYTES] += 1
    await bench.run(frames, bad, idle, flow["seed"])
    assert len(bench.fed) == first[-1]
    got = [said for said, _ in bench.said]
    assert got == [each._replace(frame=0, end=0) for each in expected]
    # A message that is shorter than a word, or a frame's first one, may make others wait.
    may_wait = flow.get("short", 0.02) > 0
    for wanted, (_, at) in zip(expected, bench.said, strict=True):
        if wanted.end:
            latency = at - bench.fed[first[wanted.frame] + (wanted.end - 1) // BYTES]
            assert latency == LATENCY or (may_wait and latency > LATENCY)
            COVERED["latency", latency] += 1
    counted = {name: n for name, n in front.counters.items() if n}
    assert await bench.counters() == counted
    COVERED.update({("counter", name): n for name, n in counted.items()})
    assert int(dut.input_number.value) == front.input_number
    assert int(dut.engine_time.value) == front.engine_time


@cocotb.test()
async def tables_are_written_while_frames_come(dut):
    """Entries that no frame asks for change with every cycle, and disturb nothing."""
    bench = Bench(dut)
    await bench.reset()
    cocotb.start_soon(bench.watch())
    front = Front(GROUPS, SYMBOLS, locate_bits=LOCATE_BITS)
    frames, bad = Flow(4, hurt=0.0).frames(150)
    expected = [said for raw in frames for said in front.frame(raw)]

    async def write():
        draw = random.Random(1)
        dut.cfg_group.value, dut.cfg_group_we.value, dut.cfg_locate_we.value = 7, 1, 1
        dut.cfg_group_port.value, dut.cfg_group_address.value = 1, 2
        while True:
            dut.cfg_group_enabled.value = draw.randrange(2)
            dut.cfg_locate.value, dut.cfg_locate_symbol.value = 255, draw.randrange(64)
            dut.count_select.value = draw.randrange(64)
            await FallingEdge(dut.clk)

    task = cocotb.start_soon(write())
    await bench.run(frames, bad, "some", 4)
    task.cancel()
    assert [each for each, _ in bench.said] == [e._replace(frame=0, end=0) for e in expected]


@cocotb.test()
async def zz_coverage_is_complete(dut):
    """Runs last: every type in every lane, every counter that frames alone can raise."""
    bins = Coverage("parse")
    lanes = {
        f"{each.type} in {lane}": COVERED[each.type, lane]
        for each in ITCH50.messages
        for lane in range(BYTES)
    }
    bins.declare("type in lane", lanes)
    lost = "what comes fits the FIFO: tests/test_hdl_parse.py makes it overflow"
    bins.declare("counter", COUNTERS, {"frames_lost": lost})
    for name, times in lanes.items():
        bins.hit("type in lane", name, times)
    for name in COUNTERS:
        if times := COVERED["counter", name]:
            bins.hit("counter", name, times)
    for key, times in COVERED.items():
        if key[0] == "latency":
            bins.measured("last word to operation", key[1], times=times)
    bins.finish()
