"""cocotb bench of the whole chain: frames in, orders out, the software executor as scoreboard.

The same comparison as in process (`chain_check.compare`) judges every run: each order's bytes, each
refusal, each best price with its input and time, the chain's own counters.  Streams pause at both
ends in every combination; the host reads and writes while frames come.
"""

import itertools
import random
from collections import Counter

import cocotb
from cocotb.triggers import FallingEdge, Timer
from hdl.tb.chain import stimuli
from hdl.tb.chain.scoreboard import CORE_PS, HELD, IDLE, Bench, software

from tickpath.profile import Check, OwnLimits, Profile, Symbol
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import END_OF_SESSION, HEARTBEAT
from tickpath_backends.hdl import registers
from tickpath_backends.hdl.chain_check import messages_of
from tickpath_backends.hdl.chain_model import LATENCY, judged
from tickpath_backends.hdl.coverage import Coverage
from tickpath_backends.hdl.parse_flow import frame, packet
from tickpath_backends.hdl.parse_reference import COUNTERS
from tickpath_backends.hdl.registers import BY_REGISTER, Table

SIZE = len(cocotb.top.s_axis_tkeep)
TYPES = "".join(each.type for each in ITCH50.messages)
APART = 200
"""Cycles between frames of which none waits for another one."""
COVERED = Coverage("chain")
COVERED.declare("type in lane", [f"{t} in {lane}" for t in TYPES for lane in range(SIZE)])
COVERED.declare("idle, held", [f"{i}, {h}" for i in IDLE for h in HELD])
COVERED.declare("failed check", [check.name for check in Check])
COVERED.declare("order behind a message that ends in lane", range(SIZE))
COVERED.declare("message", ("unknown type", "of no byte", "shorter", "longer"))
COVERED.declare(
    "frame",
    (
        *("foreign", "again", "overlapping", "heartbeat", "end of session", "gap"),
        *("another session", "bad", "cut in a message", "cut in a header", "fewer messages"),
    ),
)
COVERED.declare("host beside frames", ("reads", "writes", "releases", "kill switch"))
COVERED.declare("operations of a symbol, cycles apart", range(2, 9))
COVERED.declare(
    "hazard",
    [
        f"{what}, {side}"
        for side in ("bids", "offers")
        for what in (
            *("row of one operation before", "row of two before"),
            *(f"level of {n} changes before" for n in range(1, 5)),
            *("refill", "move", "drop", "rescan"),
        )
    ],
)


def covered_by(bench, frames):
    """Count what frames had in them."""
    for raw in frames:
        for data, end in messages_of(raw):
            if not data:
                COVERED.hit("message", "of no byte")
            elif (kind := ITCH50.by_type.get(chr(data[0]))) is None:
                COVERED.hit("message", "unknown type")
            elif len(data) != kind.length:
                COVERED.hit("message", "shorter" if len(data) < kind.length else "longer")
            else:
                COVERED.hit("type in lane", f"{kind.type} in {(end - len(data)) % SIZE}")


async def run(dut, profile, frames, idle="none", held="none"):
    """A chain with a profile, and frames through it, compared; what was seen, and the bench."""
    expected = software(profile, frames)
    bench = Bench(dut, idle, held)
    await bench.reset()
    await bench.prepare(profile, expected)
    bench.send(frames)
    await bench.rest()
    seen, chain = await bench.compared(profile, frames, expected)
    covered_by(bench, frames)
    cover_verdicts(chain)
    return seen, bench


def cover_verdicts(chain):
    for row in chain.run(None).verdicts:
        for check in Check:
            if judged(row).failed >> check & 1:
                COVERED.hit("failed check", check.name)


@cocotb.test()
@cocotb.parametrize(idle=[*IDLE])
async def a_market_with_stalls(dut, idle):
    """Each way to pause of the wire, in turn with each of whoever takes the orders."""
    draw = random.Random(idle)
    given, messages = stimuli.profile(draw), stimuli.market(draw, 700)
    frames = stimuli.framed(messages, draw)
    expected = software(given, frames)
    bench = Bench(dut, idle)
    await bench.reset()
    await bench.prepare(given, expected)
    part = -(-len(frames) // len(HELD))
    for n, held in enumerate(HELD):
        bench.hold(held)
        before = len(bench.orders)
        bench.send(frames[n * part : (n + 1) * part])
        await bench.rest()
        assert len(bench.orders) > before
        COVERED.hit("idle, held", f"{idle}, {held}")
    seen, chain = await bench.compared(given, frames, expected)
    assert seen.orders > 10 and seen.tops > 100
    covered_by(bench, frames)
    cover_verdicts(chain)


@cocotb.test()
async def every_type_begins_in_every_lane(dut):
    draw = random.Random("lanes")
    messages = stimuli.Market(draw).opening()
    market = stimuli.Market(draw)
    market.opening()
    for _ in range(SIZE):
        messages += [market.next(kind) for kind in TYPES]
    messages += [market.next(stimuli.ORDERS) for _ in range(100)]
    frames = stimuli.placed(messages, SIZE)
    seen, _ = await run(dut, stimuli.profile(draw), frames, "some")
    assert seen.orders > 3


@cocotb.test()
async def messages_that_are_none(dut):
    """Unknown types, lengths that are not the type's, no length: neither side takes them."""
    draw = random.Random("odd")
    messages = []
    for raw in stimuli.market(draw, 300):
        messages.append(raw)
        if draw.random() < 0.3:
            messages.append(draw.choice((b"", stimuli.odd(draw, raw))))
    frames = stimuli.framed(messages, draw)
    seen, _ = await run(dut, stimuli.profile(draw), frames, "some", "half")
    assert seen.orders > 5


@cocotb.test()
async def every_check_refuses(dut):
    draw = random.Random("checks")
    given = stimuli.profile(draw, max_long=500, max_short=500)
    own = (
        OwnLimits(enabled=False),
        OwnLimits(max_quantity=50),
        OwnLimits(max_notional=50.0),
        OwnLimits(collar_ticks=0, max_long=1_000_000, max_short=1_000_000),
    )
    symbols = {
        name: Symbol(each.trigger, each.tick, limits)
        for (name, each), limits in zip(given.symbols.items(), own, strict=True)
    }
    slow = stimuli.profile(draw, order_burst=1, orders_per_second=20)
    for profile in (Profile(symbols, given.gate, given.limits), given, slow):
        messages = stimuli.market(draw, 700, kinds=stimuli.ORDERS * 8 + "H")
        seen, _ = await run(dut, profile, stimuli.framed(messages, draw))
        assert sum(seen.refused.values()) > 5


@cocotb.test()
async def orders_take_nineteen_cycles(dut):
    """From the word with a message's last byte to its order's first one, in every lane.

    Frames stand so far apart that nothing waits: each stage takes the same in every order.
    """
    count = 20 * SIZE
    messages, given = stimuli.seesaw(count)
    opening = stimuli.framed(messages[:-count], random.Random("latency"))
    apart, sequence = [], len(messages) - count + 1
    for at, raw in enumerate(messages[-count:]):
        # Its last byte in each lane in turn.
        filler = stimuli.filler((at + 1 - len(raw)) % SIZE, SIZE)
        apart.append(frame(packet([filler, raw], stimuli.SESSION, sequence), stimuli.GROUP))
        sequence += 2
    frames = [*opening, *apart]
    expected = software(given, frames)
    bench = Bench(dut)
    await bench.reset()
    await bench.prepare(given, expected)
    stages = bench.watch_stages()
    bench.send(opening)
    await bench.rest()
    for raw in apart:
        bench.send([raw])
        await Timer(APART * CORE_PS, "ps")
    await bench.rest()
    seen, chain = await bench.compared(given, frames, expected)
    ends = [end for raw in frames for _, end in messages_of(raw)]
    outcome = chain.run(None)
    accepted = [each for each in map(judged, outcome.verdicts) if not each.failed]
    taken = Counter()
    for each, order in zip(accepted, outcome.orders, strict=True):
        if each.input_number <= len(messages) - count:
            continue
        shown = int(order["shown"])
        times = [shown - LATENCY]  # of the word with the message's last byte
        for cycles in stages.values():
            times.append(next(cycle for cycle in cycles if times[-1] < cycle <= shown))
        taken[tuple(b - a for a, b in itertools.pairwise(times))] += 1
        lane = (ends[each.input_number - 1] - 1) % SIZE
        COVERED.hit("order behind a message that ends in lane", lane)
    assert len(taken) == 1 and taken.total() >= count - 1, taken
    assert seen.latencies[LATENCY] >= taken.total(), seen.latencies
    COVERED.measured("word to word", LATENCY, times=taken.total())
    for name, cycles in zip(stages, next(iter(taken)), strict=True):
        COVERED.measured(name, cycles, times=taken.total())


@cocotb.test()
@cocotb.parametrize(names=[("AAPL",), ("AAPL", "MSFT")])
async def operations_in_a_row(dut, names):
    """One symbol or two, at twice the line's rate: all that the book forwards is in use."""
    draw = random.Random(f"row {names}")
    market = stimuli.Market(draw, names, levels=3)
    messages = market.opening()
    for _ in range(120):
        kinds = draw.choice((stimuli.ORDERS, "AADD", "AU", "AX", "AE", "UUD"))
        messages += [market.next(kinds) for _ in range(draw.randrange(1, 12))]
    frames = stimuli.framed(messages, draw)
    given = stimuli.profile(draw, names)
    expected = software(given, frames)
    bench = Bench(dut)
    await bench.reset()
    await bench.prepare(given, expected)
    bench.watch_hazards(COVERED)
    bench.send(frames)
    await bench.rest()
    seen, _ = await bench.compared(given, frames, expected)
    assert seen.orders > 5
    last = {}
    for cycle, symbol in bench.all_tops:
        if 2 <= (apart := cycle - last.get(symbol, -100)) <= 8:
            COVERED.hit("operations of a symbol, cycles apart", apart)
        last[symbol] = cycle


@cocotb.test()
async def the_window_moves_and_is_looked_for(dut):
    """Best prices run away and come back, and a side's near orders go while far ones stay.

    Such a side's top is looked for in the store before it is published.
    """
    draw = random.Random("window")
    name, given = "AAPL", stimuli.profile(draw, ("AAPL",))
    messages, ref = [stimuli.message("R", 1, stimuli.START_NS, stock=name.encode())], 0
    living = {}

    def add(side, price):
        nonlocal ref
        ref += 1
        living[ref] = (side, price)
        return stimuli.message(
            "A",
            1,
            stimuli.START_NS + ref,
            order_reference_number=ref,
            buy_sell_indicator=side,
            shares=100,
            stock=name.encode(),
            price=price,
        )

    def remove(wanted):
        found = [number for number, each in living.items() if wanted(*each)]
        for number in found:
            del living[number]
            yield stimuli.message("D", 1, stimuli.START_NS + ref, order_reference_number=number)

    for middle in (1_000_000, 1_150_000, 880_000, 1_000_000):
        for side, sign in ((b"B", -1), (b"S", 1)):
            for ticks in (*range(900, 0, -90), *range(1, 14)):
                messages.append(add(side, middle + sign * 100 * ticks))
        messages += remove(lambda side, price, m=middle: abs(price - m) > 95_000)
    # Far ones, and then all of the near ones go: both sides in turn.
    for side, sign in ((b"B", -1), (b"S", 1)):
        for ticks in (1_500, 1_700, 1_701):
            messages.append(add(side, 1_000_000 + sign * 100 * ticks))
        messages += remove(lambda s, price, side=side: s == side and abs(price - 1e6) < 140_000)
    frames = stimuli.framed(messages, draw)
    expected = software(given, frames)
    bench = Bench(dut, "long")
    await bench.reset()
    await bench.prepare(given, expected)
    bench.watch_hazards(COVERED)
    bench.send(frames)
    await bench.rest()
    await bench.compared(given, frames, expected)
    assert bench.tops[-1][2:6] == (850_000, 100, 1_150_000, 100)


@cocotb.test()
async def frames_that_are_not_new(dut):
    """Foreign ones, heartbeats, ends of session, packets again and overlapping: orders are equal.

    Behind a gap, and behind another session while orders live, nothing fires any more.
    """
    draw = random.Random("frames")
    given, messages = stimuli.profile(draw), stimuli.market(draw, 500)
    sent, sequence, last = [], 1, []

    def put(raw, what=None, counts=False):
        sent.append((raw, counts))
        if what:
            COVERED.hit("frame", what)

    while sequence <= len(messages):
        how, ahead = draw.random(), messages[sequence - 1 : sequence - 1 + draw.randrange(1, 7)]
        if how < 0.1:
            put(stimuli.foreign(draw), "foreign")
        elif how < 0.2 and last:
            put(stimuli.mold(last, sequence - len(last)), "again")
        elif how < 0.25:
            put(stimuli.mold([], sequence, HEARTBEAT), "heartbeat")
        elif how < 0.28:
            put(stimuli.mold([], sequence, END_OF_SESSION), "end of session")
        elif how < 0.4 and last:
            back = draw.randrange(1, len(last) + 1)
            put(stimuli.mold(last[-back:] + ahead, sequence - back), "overlapping")
            sequence, last = sequence + len(ahead), ahead
        else:
            put(stimuli.mold(ahead, sequence), None, True)
            sequence, last = sequence + len(ahead), ahead
    frames = [raw for raw, _ in sent]
    expected = software(given, frames)
    bench = Bench(dut, "some")
    await bench.reset()
    await bench.prepare(given, expected)
    for raw, _ in sent:
        bench.send([raw])
    await bench.rest()
    assert await orders_and_tops_are(bench, expected) > 5
    # A gap: the messages behind it are applied, and nothing fires.
    before = int(dut.input_number.value)
    put(stimuli.mold(messages[:3], sequence + 5), "gap")
    bench.send([sent[-1][0]])
    await bench.rest()
    assert int(dut.input_number.value) == before + 4, "a gap is an input, too"
    put(frame(packet(messages[20:60], "another  1", 1), stimuli.GROUP), "another session")
    bench.send([sent[-1][0]])
    await bench.rest()
    assert await bench.read("STALE") == (1 << 64) - 1
    assert not bench.sink.count()


async def orders_and_tops_are(bench, expected):
    """That orders and best prices are those of the software; how many orders."""
    outcome = bench.outcome()
    found = [bytes(each["data"][: int(each["length"])]) for each in outcome.orders]
    assert found == expected.orders
    rows = [(row[0], row[1], row[6], *row[2:6]) for row in bench.tops]
    assert rows == expected.tops
    return len(found)


@cocotb.test()
@cocotb.parametrize(damage=["bad", "cut in a message", "cut in a header", "fewer messages"])
async def a_damaged_frame(dut, damage):
    """What comes before it is as ever; behind one that had been taken nothing fires any more."""
    draw = random.Random(damage)
    given, messages = stimuli.profile(draw), stimuli.market(draw, 400)
    frames = stimuli.framed(messages[:300], draw)
    expected = software(given, frames)
    bench = Bench(dut, "some")
    await bench.reset()
    await bench.prepare(given, expected)
    bench.send(frames)
    await bench.rest()
    assert await orders_and_tops_are(bench, expected) > 5
    raw = stimuli.mold(messages[300:310], 301)
    if damage == "cut in a message":
        raw = raw[: messages_end(raw, 5) - 3]
    elif damage == "cut in a header":
        raw = raw[:40]
    elif damage == "fewer messages":
        raw = stimuli.mold(messages[300:310], 301, 12)
    bench.send([raw], bad={0} if damage == "bad" else ())
    bench.send(stimuli.framed(messages[310:], draw, 311))
    await bench.rest()
    COVERED.hit("frame", damage)
    counted = {name: await bench.read("FRONT_COUNTS", n) for name, n in COUNTERS.items()}
    # A frame cut in front of its messages has brought nothing: what is missed is a gap.
    if damage == "cut in a header":
        assert counted["frame_truncated"] + counted["ipv4_invalid"] == 1
        assert counted["gaps"] == 1 and counted["gap_messages"] == 10
    else:
        assert counted["frames_damaged"] + counted["mold_truncated"] > 0
    if damage in ("bad", "cut in a message"):
        assert counted["frames_damaged"] == 1
    assert counted["messages"] >= 390
    if damage != "fewer messages":
        assert await bench.read("STALE") == (1 << 64) - 1
        assert not bench.sink.count()


def messages_end(raw, number):
    """Where a frame's message of a number ends."""
    return [end for _, end in messages_of(raw)][number]


@cocotb.test()
async def the_host_is_busy_while_frames_come(dut):
    """It reads all the time, writes tables of symbols that nobody uses, and releases nothing."""
    draw = random.Random("host")
    given = stimuli.profile(draw)
    frames = stimuli.framed(stimuli.market(draw, 500), draw)
    expected = software(given, frames)
    bench = Bench(dut, "some", "half")
    await bench.reset()
    await bench.prepare(given, expected)
    busy = cocotb.start_soon(be_busy(bench, draw))
    bench.send(frames)
    await bench.rest()
    busy.cancel()
    await Timer(100 * CORE_PS, "ps")
    seen, _ = await bench.compared(given, frames, expected)
    assert seen.orders > 5


async def be_busy(bench, draw):
    last = dict.fromkeys(registers.Counter, 0)
    for each in itertools.cycle(registers.Counter):
        value = await bench.read("COUNTERS", each)
        assert value >= last[each], each
        last[each] = value
        COVERED.hit("host beside frames", "reads")
        unused = draw.randrange(40, 64)
        table = draw.choice((Table.LIMITS, Table.TRIGGER, Table.NAME, Table.RELEASE, Table.SYMBOL))
        vector = draw.getrandbits(registers.entry_bits(table))
        entry = 60_000 if table is Table.SYMBOL else unused
        if table is Table.RELEASE:
            entry, vector = draw.randrange(4), 0  # of symbols that trade, by nothing
        for offset, word in registers.commit(table, entry, vector):
            await bench.write(offset, word)
        COVERED.hit("host beside frames", "releases" if table is Table.RELEASE else "writes")


@cocotb.test()
async def the_kill_switch_is_thrown_while_frames_come(dut):
    """From one intent on all are refused, and by the switch."""
    draw = random.Random("switch")
    given = stimuli.profile(draw)
    frames = stimuli.framed(stimuli.market(draw, 700), draw)
    expected = software(given, frames)
    bench = Bench(dut)
    await bench.reset()
    await bench.prepare(given, expected)
    bench.send(frames)
    while len(bench.verdicts) < 20:
        await FallingEdge(dut.clk)
    await bench.write(BY_REGISTER["CONTROL"].offset, 1)
    at = bench.cycle
    await bench.rest()
    outcome = bench.outcome()
    switch = 1 << Check.KILL_SWITCH
    failed = [bool(judged(row).failed & switch) for row in outcome.verdicts]
    first = failed.index(True)
    assert all(failed[first:]) and len(failed) - first > 10
    assert outcome.verdicts[first - 1]["cycle"] <= at
    orders = [bytes(each["data"][: int(each["length"])]) for each in outcome.orders]
    assert orders == expected.orders[: len(orders)] and len(orders) == first
    COVERED.hit("host beside frames", "kill switch")
    COVERED.hit("failed check", "KILL_SWITCH", sum(failed))


@cocotb.test()
async def a_session_of_the_generator(dut):
    """Before the opening all near quotes of a side go now and then, while far ones stay."""
    frames, given = stimuli.generated(500, 3, 5)
    seen, _ = await run(dut, given, frames, "some")
    assert seen.tops > 100 and seen.orders + sum(seen.refused.values()) > 3


@cocotb.test(skip=not stimuli.AAPL.exists())
async def a_real_piece(dut):
    """The first 60 frames of AAPL's morning, at the rate of the line."""
    frames = stimuli.captured(stimuli.AAPL, 60)
    given = stimuli.real_profile()
    seen, _ = await run(dut, given, frames, "line")
    assert seen.tops > 200 and seen.orders + sum(seen.refused.values()) > 5


@cocotb.test()
async def zz_coverage_is_complete(dut):
    """Runs last."""
    COVERED.finish()
