"""The front in SystemVerilog, Verilated and in process, against plain Python and the software.

Frames of the directed tests are built with `struct` (itch_messages.py), those of random ones from
the wire tables.  The small table has 1,024 locates, as the software's engine beside it.
"""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from itch_messages import LENGTHS, frame, message, mold
from tickpath.wire.itch50 import ITCH50
from tickpath_backends.hdl import parse_model, verilated
from tickpath_backends.hdl.parse_check import compare
from tickpath_backends.hdl.parse_flow import GROUPS, LOCATES, MAX_JUMP, SYMBOLS, Flow
from tickpath_backends.hdl.parse_model import SOURCES_VARIABLE, words_of
from tickpath_backends.hdl.parse_reference import COUNTERS, Front

if reason := verilated.why_not():
    pytest.skip(reason, allow_module_level=True)

BITS, DEPTH = 10, 256
LATENCY = 2
FIRST = ("233.54.12.111", 26477)
SECOND = ("233.54.12.112", 26477)
TS = 34_200_000_000_000
FLOWS = {
    "mixed": {},
    "hurt": {"hurt": 0.3},
    "bad": {"bad": 0.1},
    "short": {"short": 0.5},
    "headers": {"headers": 1.0, "hurt": 0.1},
    "foreign": {"mix": {"foreign": 50, "next": 50}},
    "lines": {"mix": {"next": 30, "again": 10, "overlap": 20, "skip": 20, "beat": 20}, "hurt": 0.0},
    "far": {"mix": {"next": 40, "far": 20, "believed": 20, "jump": 20, "session": 10}},
    "long packets": {"messages": 60, "hurt": 0.0},
}


@pytest.fixture(scope="module")
def library():
    directory = os.environ.get(SOURCES_VARIABLE)
    sources = parse_model.SOURCES
    if directory:
        sources = tuple(Path(directory) / path.name for path in sources)
    parameters = {"LOCATE_BITS": BITS, "DEPTH": DEPTH}
    return parse_model.library(parameters, sources, "-O1")


@pytest.fixture
def model(library):
    made = parse_model.ParseModel(library, GROUPS, SYMBOLS)
    yield made
    made.close()


@pytest.fixture
def front():
    return Front(GROUPS, SYMBOLS, locate_bits=BITS)


def itch(code, locate=1, ts=TS, **values):
    if code in "AF":
        values = {"side": "B", "ref": 7, "shares": 100, "price": 1_000_000, **values}
    return message(code, locate, ts, **values)


def numbered(payloads, first=1, **fields):
    """Lists of messages as frames, in sequence."""
    frames, sequence = [], first
    for messages in payloads:
        frames.append(frame(mold(messages, sequence), **fields))
        sequence += len(messages)
    return frames


# ---------------------------------------------------------------- messages


def test_every_type_in_every_alignment(model, front):
    """Each type behind each other's length, so that it begins in all lanes; none ever waits."""
    packets = [
        [itch(a, 1 + n % 199, TS + n), itch(b, 4, TS + n), itch(c, 7, TS + n, **side)]
        for n, (a, b) in enumerate((a, b) for a in LENGTHS for b in LENGTHS)
        for c, side in (("A", {"side": "S"}), ("D", {}), ("H", {"trading_state": "T"}))
    ]
    seen = compare(model, front, numbered(packets))
    assert seen.latencies.keys() == {LATENCY}
    assert model.fifo_peak == 0
    lanes = {(chr(each.type), each.at % 8) for each in seen.taken}
    assert lanes == {(code, lane) for code in LENGTHS for lane in range(8)}
    assert model.counters()["messages"] == len(seen.taken) == 3 * len(packets)


def test_locate_0_is_nobodys_symbol(library):
    """Even where the host has put it among the symbols: it is the venue's own."""
    symbols = {**SYMBOLS, 0: 5}
    model = parse_model.ParseModel(library, GROUPS, symbols)
    try:
        packets = [[itch(code, locate) for locate in (0, 1, 0)] for code in "ADHEX"]
        seen = compare(model, Front(GROUPS, symbols, locate_bits=BITS), numbered(packets))
        assert len(seen.taken) == 15
        counted = model.counters()
        assert counted["operations"] == 4 and counted["trading_actions"] == 1
        assert counted["not_subscribed"] == 10
    finally:
        model.close()


@pytest.mark.parametrize("kind", ["A", "D", "H", "S", "?"])
def test_every_length_in_every_alignment(model, front, kind):
    """Of 0 to 70 bytes and longer ones: what is not of its type's length is counted, no more."""
    packets = [
        [b"x" * lane, kind.encode()[:length] + bytes(max(0, length - 1)), itch("A", 1)]
        for length in (*range(71), 127, 128, 129, 700)
        for lane in range(8)
    ]
    seen = compare(model, front, numbered(packets), gaps=np.array([3]))
    for lengths in ({each.length for each in seen.taken if each.at % 8 == n} for n in range(8)):
        assert lengths >= set(range(71))
    right = 8 * (LENGTHS.get(kind) is not None)
    counted = model.counters()
    wrong = counted.get("wrong_length", 0) + counted.get("unknown_type", 0)
    empty = 1  # before each: bytes of no type, one of them none at all
    assert wrong == 2 * len(packets) - right
    assert counted["wrong_length"] >= empty


def test_messages_of_up_to_64k_are_passed_over(model, front):
    frames = numbered([[itch("A"), b"A" * n, itch("D")] for n in (51, 1000, 9000, 65_400)])
    seen = compare(model, front, frames)
    assert model.counters()["messages_overlong"] == 4
    assert seen.latencies == {LATENCY: 8}


def test_a_word_of_four_messages_is_held_for_four_cycles(model, front):
    """Messages of no length: as many as a frame of 1,500 bytes has, then one that counts."""
    frames = numbered([[b""] * 700 + [itch("D", 1)]] * 2)
    seen = compare(model, front, frames, gaps=np.array([1]), drain=2000)
    # A word every second cycle: four cycles for each leave half of the words waiting.
    assert 2 * 85 < model.fifo_peak < 2 * 115
    assert model.counters()["wrong_length"] == 2 * 700
    assert max(seen.latencies) > LATENCY


def test_what_finds_no_room_is_lost_and_missed(model, front):
    """Without idle cycles such frames are too many: lost ones are counted, the gap is declared."""
    sent = 12
    frames = numbered([[b""] * 700] * sent)
    model.run(words_of(frames), 4000)
    counted = model.counters()
    cut, lost = counted.get("frames_bad", 0), counted["frames_lost"]
    assert counted["packets"] == sent - lost + cut
    assert 0 < lost < sent
    # The next frame in order shows what is missing.
    last = numbered([[itch("D", 1)]], 700 * sent + 1)
    results, _ = model.run(words_of(last))
    assert results["what"][0] & parse_model.GAPPED
    after = model.counters()
    assert after["gaps"] == counted.get("gaps", 0) + 1
    assert after["gap_messages"] + after["messages"] - after.get("duplicate_messages", 0) == (
        700 * sent + 1
    )


def test_back_to_back_frames_of_every_length_never_wait(model, front):
    """A word in every cycle, frames of one message or none, at twice the rate of the line."""
    draw = np.random.default_rng(3)
    codes = [code for code in LENGTHS if code not in "SW"]
    packets = [[itch(codes[n % len(codes)], 1, TS)] * int(draw.integers(0, 4)) for n in range(900)]
    seen = compare(model, front, numbered(packets))
    assert model.fifo_peak == 0
    assert seen.latencies.keys() == {LATENCY}


def test_a_first_message_of_twelve_bytes_does_not_wait_either(model, front):
    for options in range(11):
        packets = [[itch("S", 0, TS, event_code="Q"), itch("D", 1)]] * 4
        tagged = [_with_options(raw, options) for raw in numbered(packets, 1 + 8 * options)]
        compare(model, front, tagged)
    assert model.fifo_peak == 0


def _with_options(raw, words):
    """A frame with so many words of IPv4 options."""
    ip = bytearray(raw[14:34])
    ip[0] += words
    ip[2:4] = (int.from_bytes(ip[2:4], "big") + 4 * words).to_bytes(2, "big")
    return raw[:14] + bytes(ip) + bytes(4 * words) + raw[34:]


def test_engine_time_is_the_largest_so_far(model, front):
    times = [5, 9, 7, 9, 12, 11, (1 << 48) - 1, 3]
    seen = compare(model, front, numbered([[itch("D", 1, t) for t in times]]))
    assert seen.events == len(times)
    assert model.counters()["time_backwards"] == 3
    assert model.engine_time == (1 << 48) - 1


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("name", FLOWS)
def test_random_frames(model, front, name):
    flow = Flow(50 + list(FLOWS).index(name), **FLOWS[name])
    draw = np.random.default_rng(1)
    events = 0
    for gaps in (np.array([1]), draw.integers(0, 4, 997), draw.choice([0, 0, 1, 40], 1009)):
        frames, bad = flow.frames(700)
        seen = compare(model, front, frames, bad, gaps)
        events += seen.events
    assert events > 300
    assert name == "lines" or model.counters()["frames_damaged"] > 0


def test_every_counter_counts(model, front):
    frames, bad = Flow(71, hurt=0.05, bad=0.02).frames(4000)
    compare(model, front, frames, bad, gaps=np.array([1]))
    assert set(COUNTERS) - set(model.counters()) == {"frames_lost"}


def test_a_frame_cut_anywhere_counts_as_far_as_it_came(library):
    whole = numbered([[itch("A", 1), itch("D", 4), itch("U", 1)]])[0]
    tagged = whole[:12] + b"\x81\x00\x00\x07" * 2 + whole[12:]
    for raw in (whole, tagged):
        model = parse_model.ParseModel(library, GROUPS, SYMBOLS)
        front = Front(GROUPS, SYMBOLS, locate_bits=BITS)
        frames = [each for n in range(1, len(raw)) for each in (raw[:n], whole)]
        seen = compare(model, front, frames, gaps=np.array([0, 0, 1]))
        assert seen.damaged == len(raw) - raw.index(b"0000000001") - 20
        model.close()


def test_padding_is_no_part_of_a_frame(model, front):
    frames = [frame(mold([itch("D", 1)], n), padding=bytes(range(n))) for n in range(1, 30)]
    assert compare(model, front, frames).events == 29


def test_frames_of_one_byte_to_a_few_words(model, front):
    frames = [bytes(range(n)) for n in range(1, 60)] * 3
    compare(model, front, frames)
    assert model.counters()["packets"] == len(frames)


# ---------------------------------------------------------------- lines and tables


def test_jumps_at_the_limit(model, front):
    sequence, frames = 1, []
    for ahead in (0, MAX_JUMP, MAX_JUMP + 1, 0, MAX_JUMP - 1):
        frames.append(frame(mold([itch("D", 1)], sequence + ahead), FIRST))
        if ahead <= MAX_JUMP:
            sequence += ahead + 1
    # Refused, but the one behind it goes on from there.
    frames += [frame(mold([itch("D", 1)] * n, sequence + (1 << 40) + n)) for n in (1, 2)]
    seen = compare(model, front, frames)
    counted = model.counters()
    assert (counted["sequence_jumps"], counted["gaps"]) == (2, 3)
    assert seen.events == 3 + 4 + 2


def test_lines_are_told_apart(model, front):
    """Line 0 on two groups, line 1 on another with the same numbers."""
    both = ("233.54.13.111", 26477)
    frames = []
    for n in range(1, 20):
        for group in (FIRST, both, SECOND):
            frames.append(frame(mold([itch("D", n)], n), group))
    compare(model, front, frames)
    assert model.counters()["duplicate_messages"] == 19
    assert model.counters()["messages"] == 38


@pytest.mark.parametrize("orders_live", [False, True])
def test_another_session_is_an_input_while_orders_live(model, front, orders_live):
    model.model.inputs[0]["orders_live"] = orders_live
    front.orders_live = orders_live
    sessions = [b"0000000001", b"0000000002", b"0000000001", b"000000000 ", b"1000000001"]
    frames = [frame(mold([itch("D", 1)], 5, each)) for each in sessions]
    compare(model, front, frames)
    assert model.input_number == 5 + 4 * orders_live


def test_tables_change_while_running(library):
    symbols = dict(SYMBOLS)
    model = parse_model.ParseModel(library, GROUPS, symbols)
    front = Front(dict(GROUPS), symbols, locate_bits=BITS)
    flow = Flow(81, hurt=0.0, mix={"next": 1})
    for locate in range(1, 40):
        if locate % 3 == 1:
            del symbols[locate]
            model.set_symbol(locate, 5, subscribed=False)
        else:
            symbols[locate] = locate
            model.set_symbol(locate, locate)
        compare(model, front, flow.frames(10)[0], gaps=np.array([1]))
    # Locate 0 is nobody's, whatever the table is told.
    model.set_symbol(0, 9)
    compare(model, front, [frame(mold([itch("D", 0), itch("H", 0)], 1), SECOND)])
    group = next(iter(GROUPS))
    model.set_group(0, *group, 0, enabled=False)
    del front.groups[group]
    compare(model, front, flow.frames(100)[0], gaps=np.array([1]))
    model.close()


def test_a_reset_in_the_middle_forgets_everything(model):
    flow = Flow(91)
    for drain in (1, 2, 3, 17):
        frames, _ = flow.frames(30)
        model.run(words_of(frames), drain)
        model.reset()
        front = Front(GROUPS, SYMBOLS, locate_bits=BITS)
        compare(model, front, flow.frames(60)[0], gaps=np.array([1]))
        model.reset()


def test_frames_before_the_table_is_cleared_are_lost(library):
    model = parse_model.ParseModel(library, GROUPS, SYMBOLS)
    model.model.inputs[0]["rst"] = 1
    model.model.step(4)
    model.model.inputs[0]["rst"] = 0
    frames = numbered([[itch("D", 1)]] * 5)
    results, _ = model.run(words_of(frames))
    assert len(results) == 0
    assert model.counters() == {"frames_lost": 5}
    model.close()


def test_types_of_the_bench_are_those_of_the_tables():
    assert {each.type for each in ITCH50.messages} == set(LENGTHS)
    assert all(a <= b for a, b in pairwise(COUNTERS.values()))
    assert max(SYMBOLS) < LOCATES < 1 << BITS
