"""The whole chain in Verilator against the software executor: frames in, the same orders out."""

import random

import msgspec
import numpy as np
import pytest

from captures import SHARED, packets_of, read
from scenes import add
from silicon import market, profile
from streams import CAPACITY
from test_profile_replay import EXAMPLE
from tickpath import Config
from tickpath.config import Capacity, Orders
from tickpath.generate import SessionPlan, generate_packets
from tickpath.profile import Imbalance, Profile, Spread, Symbol, SymbolLimits, load_profile
from tickpath_backends.hdl import chain_check, chain_model, verilated
from tickpath_backends.hdl.chain_model import LATENCY, Chain
from tickpath_backends.hdl.parse_flow import frame, packet
from tickpath_backends.hdl.registers import Protocol

if reason := verilated.why_not():
    pytest.skip(reason, allow_module_level=True)

AAPL = SHARED / "nasdaq_itch50" / "aapl_20191230_part1.pcap"
SMALL = Config(capacity=CAPACITY)
LARGE = Config(capacity=Capacity(symbols=4_096))
GROUP = (0xE9360C6F, 26_477)
LINE_RATE = np.array([1])
"""A word of 64 bits in every second cycle: 10.3 Gb/s."""
KINDS = (
    Imbalance(2, 100, 200),
    Spread("buy", 0.02, 100, 0.01),
    Spread("sell", 0.01, 150),
)
LIMITS = SymbolLimits(
    max_long=1_500, max_short=1_200, collar_ticks=1, orders_per_second=20, order_burst=2
)


@pytest.fixture(scope="module")
def library():
    return chain_model.library()


def compared(library, given, frames, base=SMALL, protocol=Protocol.OUCH50, seed=1, **how):
    """A chain with a profile after frames, and what was compared."""
    records, memory = chain_check.frames_of(frames)
    expected = chain_check.software(given, records, base)
    chain = Chain(library, protocol, seed)
    chain_check.prepare(chain, given, expected)
    seen = chain_check.compare(chain, given, frames, expected, **how)
    del memory
    chain.close()
    return seen


def framed(messages, draw):
    """Messages in MoldUDP64 packets of one to nine, or as many as there are."""
    messages, frames, sequence = list(messages), [], 1
    while messages:
        count = draw.randrange(1, 10)
        frames.append(frame(packet(messages[:count], "0000000007", sequence), GROUP))
        sequence += len(messages[:count])
        messages = messages[count:]
    return frames


def generated(messages, symbols, seed):
    """The frames of a session, and a profile of its symbols."""
    plan = SessionPlan(messages=messages, symbols=symbols, seed=seed)
    frames = [each.data for batch in generate_packets(plan) for each in packets_of(batch)]
    ticks = list(chain_check.ticks_of(frames).items())[:64]
    kinds = {name: Symbol(KINDS[n % 3], tick) for n, (name, tick) in enumerate(ticks)}
    return frames, Profile(symbols=kinds, limits=LIMITS)


def test_random_profiles_in_a_busy_market(library):
    """Every check refuses, every kind of trigger fires, words stall on both sides."""
    draw = random.Random(62)
    sent, refused = 0, set()
    for seed in range(6):
        given = profile(draw)
        frames = framed(market(draw, 3_000), draw)
        stalls = np.array([draw.choice((0, 0, 1, 5)) for _ in range(997)])
        ready = np.array([draw.random() < 0.8 for _ in range(991)], np.uint8)
        seen = compared(library, given, frames, seed=seed, gaps=stalls, ready=ready)
        sent += seen.orders
        refused |= seen.refused.keys()
    assert sent > 50 and len(refused) > 5


def test_software_without_room_is_no_side_of_a_comparison():
    """Its order store is full where the hardware's is far from it: said, and nothing compared."""
    frames = framed([add(ref) for ref in range(1, 2_100)], random.Random(64))
    given = Profile(symbols={"AAPL": Symbol()})
    records, memory = chain_check.frames_of(frames)
    narrow = Config(capacity=msgspec.structs.replace(CAPACITY, orders=2_048))
    with pytest.raises(chain_check.DifferenceError, match="order_store_full"):
        chain_check.software(given, records, narrow)
    assert len(chain_check.software(given, records, SMALL).tops) == 2_099
    del memory


def test_ouch42_too():
    draw = random.Random(63)
    given = profile(draw)
    given = Profile(given.symbols, given.gate, given.limits, Orders(protocol="ouch42"))
    library = chain_model.library(Protocol.OUCH42)
    frames = framed(market(draw, 4_000), draw)
    assert compared(library, given, frames, protocol=Protocol.OUCH42).orders > 5


def test_a_generated_session(library):
    """At line rate an order takes 19 cycles, but where its operation waits for a repair."""
    frames, given = generated(20_000, 40, 61)
    seen = compared(library, given, frames, LARGE, gaps=LINE_RATE)
    assert seen.orders > 50 and sum(seen.refused.values()) > 20 and seen.tops > 1_000
    assert min(seen.latencies) == LATENCY
    assert seen.latencies[LATENCY] > 0.9 * seen.orders


def test_behind_a_gap_nothing_fires(library):
    """Operations that came before it still do; input numbers go on as in the software."""
    draw = random.Random(64)
    given = Profile(
        symbols={"AAPL": Symbol(Imbalance(1, 1))},
        gate=msgspec.structs.replace(profile(draw).gate, unknown_trading_state="trade"),
    )
    frames = framed((m for m in market(draw, 4_000) if m[:1] != b"H"), draw)
    whole = compared(library, given, frames).orders
    half = len(frames) // 2
    seen = compared(library, given, [*frames[:half], *frames[half + 1 :]])
    assert 0 < seen.orders < whole and seen.counters["GAPS"] == 1
    assert seen.counters["TOPS_UNUSABLE"] > 100


@pytest.mark.skipif(not AAPL.exists(), reason=f"no real data at {AAPL}")
def test_the_real_morning_of_one_symbol(library):
    frames = [each.data for each in read(AAPL).packets if each.link == 1]
    seen = compared(library, load_profile(EXAMPLE), frames, LARGE, gaps=LINE_RATE)
    assert seen.messages == 26_000 and seen.orders > 50 and seen.refused["position"] > 50
    assert min(seen.latencies) == LATENCY and seen.latencies[LATENCY] > 0.8 * seen.orders


@pytest.mark.long
def test_200000_messages_with_stalls(library):
    draw, noise = random.Random(65), np.random.default_rng(3)
    sent, refused = 0, 0
    for seed in range(20):
        frames = framed(market(draw, 10_000), draw)
        stalls = noise.choice([0, 0, 0, 1, 2, 9], 9_973)
        ready = (noise.random(9_967) < 0.7).astype(np.uint8)
        seen = compared(library, profile(draw), frames, seed=seed, gaps=stalls, ready=ready)
        sent, refused = sent + seen.orders, refused + sum(seen.refused.values())
    assert sent > 500 and refused > 500
