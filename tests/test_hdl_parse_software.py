"""The hardware's front beside the software's engine: the same frames, the same counts and inputs.

Order ids are made of input numbers, so these have to be equal after every packet.
"""

import numpy as np
import pytest

from captures import SHARED, packets_of, read
from tickpath.generate import Faults, SessionPlan, generate_packets
from tickpath_backends.hdl import parse_model, verilated
from tickpath_backends.hdl.parse_check import assert_as_software, compare, software
from tickpath_backends.hdl.parse_flow import GROUPS, SYMBOLS, Flow
from tickpath_backends.hdl.parse_model import words_of
from tickpath_backends.hdl.parse_reference import Front

if reason := verilated.why_not():
    pytest.skip(reason, allow_module_level=True)

BITS = 10
LATENCY = 2
CUT = ("frame_truncated", "frames_damaged")
"""Counters of frames that end too early: the software has all of a frame before it takes any."""


@pytest.fixture(scope="module")
def library():
    return parse_model.library({"LOCATE_BITS": BITS, "DEPTH": 256}, optimise="-O1")


def fed(library, frames, groups=GROUPS, symbols=SYMBOLS, orders_live=True):
    """The hardware after frames that the reference has checked, and what was compared."""
    model = parse_model.ParseModel(library, groups, symbols)
    model.model.inputs[0]["orders_live"] = orders_live
    front = Front(groups, symbols, orders_live, BITS)
    return model, compare(model, front, frames, gaps=np.array([1, 0, 1]))


def group_of(raw):
    """(address, port) of a plain or tagged frame."""
    at = 14 + 4 * (raw[12:14] == b"\x81\x00")
    return int.from_bytes(raw[at + 16 : at + 20], "big"), int.from_bytes(
        raw[at + 22 : at + 24], "big"
    )


def session(messages, seed, **faults):
    plan = SessionPlan(messages=messages, symbols=200, seed=seed, faults=Faults(**faults))
    return [each.data for batch in generate_packets(plan) for each in packets_of(batch)]


@pytest.mark.parametrize(
    "mix",
    [
        {"hurt": 0.0, "headers": 1.0},
        {"hurt": 0.0, "mix": {"foreign": 50, "next": 50}},
        {"hurt": 0.0, "mix": {"next": 30, "again": 20, "overlap": 20, "skip": 20, "far": 10}},
        {"hurt": 0.0, "short": 0.3, "odd": 0.3, "messages": 20},
    ],
)
def test_random_frames_count_alike(library, mix):
    # Without adds no order lives, so another session is no input of its own.
    frames, _ = Flow(7, adds=False, **mix).frames(3000)
    model, seen = fed(library, frames, orders_live=False)
    whole = [n for n, raw in enumerate(frames) if not _is_cut(raw)]
    if len(whole) < len(frames):
        frames = [frames[n] for n in whole]
        model, seen = fed(library, frames, orders_live=False)
    engine = software(GROUPS, 1 << BITS)
    for raw in frames:
        engine.feed_packet(raw)
    assert not seen.damaged
    assert_as_software(model, engine)
    model.close()


def _is_cut(raw):
    front = Front(GROUPS, SYMBOLS)
    front.frame(raw)
    return front.counters["frames_damaged"] > 0


def test_inputs_have_the_same_numbers_after_every_packet(library):
    frames, _ = Flow(17, adds=False, hurt=0.0, mix={"next": 50, "skip": 20, "beat": 10}).frames(400)
    model = parse_model.ParseModel(library, GROUPS, SYMBOLS)
    engine = software(GROUPS, 1 << BITS)
    for raw in frames:
        engine.feed_packet(raw)
        model.run(words_of([raw]))
        numbers = (model.input_number, model.engine_time)
        assert numbers == (engine.block.get("input_number"), engine.block.get("engine_time"))
    assert model.counters()["gaps"] > 20
    model.close()


@pytest.mark.parametrize("damage", [{}, {"loss": 0.02, "duplicate": 0.02, "reorder": 0.02}])
def test_a_generated_session_counts_alike(library, damage):
    frames = session(20_000, 5, **damage)
    groups = {group_of(frames[0]): 2}
    symbols = {locate: locate % 64 for locate in range(1, 201, 3)}
    model, seen = fed(library, frames, groups, symbols)
    engine = software(groups, 1 << BITS)
    for raw in frames:
        engine.feed_packet(raw)
    assert_as_software(model, engine)
    assert seen.events > 5000
    assert seen.latencies.keys() == {LATENCY}
    assert model.fifo_peak == 0
    assert (model.counters().get("gaps", 0) > 0) == bool(damage)
    model.close()


needs_captures = pytest.mark.skipif(
    not SHARED.is_dir(), reason="real captures are not here (../shared/data beside the project)"
)


def _whole(path):
    return [each.data for each in read(path).packets if each.link == 1]


@needs_captures
def test_single_real_frames_of_most_types(library):
    folder = SHARED / "nasdaq_itch50"
    paths = [p for p in sorted(folder.glob("*.pcap")) if not p.name.startswith("aapl")]
    types = set()
    for path in paths:
        frames = _whole(path)
        if not frames:
            continue
        groups = dict(zip(dict.fromkeys(map(group_of, frames)), range(4), strict=False))
        symbols = {locate: locate % 64 for locate in range(1, 1 << BITS)}
        model, seen = fed(library, frames, groups, symbols)
        engine = software(groups, 1 << BITS)
        for raw in frames:
            engine.feed_packet(raw)
        assert_as_software(model, engine)
        types |= {chr(each.type) for each in seen.taken}
        model.close()
    assert types >= set("ACDEFHIJLPQSUXY")


@needs_captures
def test_the_real_morning_of_one_symbol(library):
    frames = _whole(SHARED / "nasdaq_itch50" / "aapl_20191230_part1.pcap")
    groups = {group_of(frames[0]): 0}
    locates = {n: n for n in range(1, 64)}
    model, seen = fed(library, frames, groups, locates)
    engine = software(groups, 1 << BITS)
    for raw in frames:
        engine.feed_packet(raw)
    assert_as_software(model, engine)
    assert model.counters()["messages"] == 26_000
    assert model.counters()["operations"] > 24_000
    assert seen.latencies.keys() == {LATENCY}
    model.close()


@pytest.mark.long
def test_a_long_session_with_all_faults():
    """Cut and garbled packets too: then the reference decides."""
    library = parse_model.library()
    frames = session(
        300_000, 9, loss=0.01, duplicate=0.01, reorder=0.01, truncate=0.01, garbage=0.01
    )
    groups = {group_of(frames[0]): 1}
    symbols = {locate: locate % 64 for locate in range(1, 201)}
    model = parse_model.ParseModel(library, groups, symbols)
    draw = np.random.default_rng(1)
    seen = compare(model, Front(groups, symbols), frames, gaps=draw.integers(0, 3, 9973))
    assert seen.damaged > 100
    assert model.fifo_peak < 200
    model.close()
