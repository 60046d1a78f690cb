"""Garbage in: nothing crashes, loops or is lost, in the fast variant and in the checked one.

Seeds are generated streams and real captures (`../shared/data`, where it is there); mutations flip,
cut, repeat, splice and rewrite lengths, in runs of messages and in whole packets.  After each case
every byte and every packet must be accounted for, the block must be sound, and the engine must go
on with good messages.  The whole file runs again with the checked accessors, in a process of its
own: `conftest.no_violation` then fails the test that made one look where it must not.
"""

import os
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import pitch_messages
import pitch_streams
from captures import SHARED
from comparison import assert_bytes
from itch_messages import GROUP, LENGTHS, frame, message, mold, packets, run, split
from own_desk import Desk, desk_config, validate_own
from pitch_streams import PITCH
from scenes import TS
from streams import SMALL, collisions, market
from structure import validate
from test_pipeline import lend
from tickpath import Config, Engine
from tickpath.capture import open_capture
from tickpath.config import Capacity, Feed, StrategyConfig
from tickpath.jit import CHECKED
from tickpath.packet import (
    LINK_ETHERNET,
    LINK_IPV4,
    LINK_LINUX_SLL,
    LINK_LINUX_SLL2,
    LINK_MESSAGES,
    LINK_PITCH,
    LINK_RAW,
)
from tickpath.wire.control import CONTROL, Limit
from tickpath.wire.ouch42 import OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_OUTBOUND
from trader import busy, eventful, trading
from two_venues import only_pitch

REAL = pytest.mark.skipif(
    not SHARED.is_dir(), reason="real captures are not here: see the data folder's README"
)
TINY = Config(
    capacity=Capacity(symbols=3, orders=512, overflow_levels=2048, trades=1024),
    strategy=StrategyConfig(cells=16),
)
GROUPS = Config(capacity=TINY.capacity, feed=Feed(groups=[f"{GROUP[0]}:{GROUP[1]}"]))
LINKS = [LINK_ETHERNET] * 12 + [LINK_RAW, LINK_IPV4, LINK_LINUX_SLL, LINK_LINUX_SLL2, 0, 7]
INTERESTING = [0, 1, 2, 7, 8, 19, 20, 0x45, 0x46, 0x4F, 0x7F, 0x80, 0x81, 0x88, 0xFE, 0xFF]


UNITS = [
    replace(PITCH, feed=Feed(format=format_, reorder_packets=window))
    for format_ in ("auto", "pitch")
    for window in (0, 3)
]


def fresh(rng: random.Random) -> Engine:
    """An engine of one of several shapes, with a strategy that trades in some."""
    kind = rng.randrange(5)
    if kind == 0:
        return Engine(TINY)
    if kind == 1:
        return Engine(GROUPS)
    if kind == 2:
        return Engine(trading(rng.choice(["ouch50", "ouch42"]), 100), strategy=busy)
    return Engine(SMALL, on_bbo=(lambda columns: None) if kind == 3 else None)


# ---------------------------------------------------------------- mutations


def mutated(rng: random.Random, raw: bytes, others: list[bytes]) -> bytes:
    """The bytes with one to four things wrong."""
    held = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 2, 2, 4])):
        what = rng.randrange(9)
        at = rng.randrange(len(held) + 1)
        if what == 0 and held:
            held[at % len(held)] ^= 1 << rng.randrange(8)
        elif what == 1 and held:
            held[at % len(held)] = rng.choice(INTERESTING)
        elif what == 2:
            del held[at:]
        elif what == 3:
            del held[at : at + rng.randint(1, 8)]
        elif what == 4:
            held[at:at] = rng.randbytes(rng.randint(1, 8))
        elif what == 5:
            held[at:at] = held[at : at + rng.randint(1, 80)]
        elif what == 6:
            other = rng.choice(others)
            cut = rng.randrange(len(other) + 1)
            held[at:] = other[cut:]
        elif what == 7 and len(held) > 1:
            word = at % (len(held) - 1)
            held[word : word + 2] = rng.choice([0, 1, 2, 35, 36, 0xFFFF]).to_bytes(2, "big")
        else:
            held += rng.randbytes(rng.randint(0, 20))
    return bytes(held[:60_000])


HEADERS = {12: 2, 14: 1, 16: 2, 20: 2, 23: 1, 38: 2, 36: 2, 42: 10, 52: 8, 60: 2, 62: 2}
"""Where the fields of Ethernet, IPv4, UDP, MoldUDP64 and the first block are, and how long."""


def misheaded(rng: random.Random, raw: bytes) -> bytes:
    """A frame with one to three header fields of its own rewritten."""
    held = bytearray(raw)
    for at, size in rng.sample(list(HEADERS.items()), rng.randint(1, 3)):
        if at + size <= len(held):
            value = rng.choice([0, 1, (1 << 8 * size) - 1, rng.randrange(1 << 8 * size), size])
            near = int.from_bytes(held[at : at + size], "big") + rng.randint(-3, 3)
            value = rng.choice([value, near & ((1 << 8 * size) - 1)])
            held[at : at + size] = value.to_bytes(size, "big")
    return bytes(held)


# ---------------------------------------------------------------- seeds


@cache
def stream(number: int) -> tuple[bytes, ...]:
    return tuple(market(number, 400) if number % 3 == 0 else collisions(number, 400))


@cache
def framed() -> list[bytes]:
    """Frames of generated packets, tagged and padded ones among them, and the real ones."""
    frames = []
    for number in range(4):
        frames += packets(list(stream(number)), 3 + number)[:60]
    tag = b"\x81\x00\x00\x07"
    frames += [raw[:12] + tag + raw[12:] for raw in frames[:20]]
    frames += [raw[:12] + b"\x88\xa8\x00\x01" + tag + raw[12:] + bytes(7) for raw in frames[:20]]
    frames += [frame(mold([], n, number=count)) for n in (1, 9) for count in (0, 0xFFFF)]
    return frames + real_frames()


@cache
def real_frames() -> list[bytes]:
    """The first packets of every real capture, of whatever protocol."""
    found = []
    for path in sorted(SHARED.rglob("*.pcap")) if SHARED.is_dir() else []:
        with open_capture(path) as capture:
            for batch in capture.batches(20):
                found += [bytes_at(each) for each in batch]
                break
    return found


def bytes_at(packet: np.void) -> bytes:
    import ctypes

    return ctypes.string_at(int(packet["address"]), int(packet["length"]))


@cache
def real_messages() -> list[bytes]:
    """Messages of the real daily file: some of the day's start, some of its middle."""
    path = SHARED / "nasdaq_itch50" / "aapl_20191230_part1.NASDAQ_ITCH50"
    if not path.is_file():
        return []
    return split(path.read_bytes())[700:3000]


@cache
def pitch_stream(number: int) -> tuple[bytes, ...]:
    if number % 3 == 0:
        return tuple(only_pitch(eventful(number, 250), number))
    return tuple(pitch_streams.collisions(number, 400, lively=number % 2 == 1))


@cache
def unit_frames() -> list[bytes]:
    """Frames of generated units, and the real ones."""
    frames = []
    for number in range(5):
        messages = [raw for raw in pitch_stream(number) if raw[0] >= 2]
        frames += pitch_messages.packets(messages, 2 + number, number)[:50]
    beats = [pitch_messages.unit([], 1, sequence) for sequence in (0, 9, 1 << 31)]
    return frames + [pitch_messages.frame(each) for each in beats] + real_frames()


# ---------------------------------------------------------------- what must hold


GOOD = [
    message("R", 1, TS, stock="GOOD"),
    message("D", 1, TS, ref=(1 << 64) - 77),
]


TYPES = {*LENGTHS, *(f"0x{code:02X}" for code in pitch_messages.NAMES)}


def check(engine: Engine, sound: bool = True) -> None:
    """Every byte and packet counted, the block sound, and good messages still taken."""
    counters, held = engine.counters, engine.block.held_packet
    assert_bytes(counters, int(held["length"][held["line"] > 0].sum()))
    seen = sum(engine.messages_by_type.values())
    assert engine.messages == seen + counters["unknown_type"] + counters["wrong_length"]
    assert set(engine.messages_by_type) <= TYPES
    assert counters["intents"] == counters["orders_sent"] + counters["orders_rejected"]
    if sound:
        validate(engine)
    before = engine.messages
    engine._rest = b""
    engine.feed(run(GOOD))
    assert engine.messages == before + 2


def play_packets(engine: Engine, raws: list[bytes], links: list[int]) -> None:
    """Feed them, half as bursts; each is one packet in the counters."""
    half = len(raws) // 2
    for raw, link in zip(raws[:half], links, strict=False):
        engine.feed_packet(raw, link=link)
    lent, held = lend(raws[half:])
    lent["link"] = links[half : len(raws)]
    engine.process(lent)
    del held
    assert engine.counters["packets"] == len(raws)
    assert engine.counters["bytes"] == sum(map(len, raws))


def packet_case(seed: int) -> Engine:
    """Twenty packets, most of them damaged."""
    rng, seeds = random.Random(seed), framed()
    engine, raws = fresh(rng), []
    first = rng.randrange(len(seeds))
    for number in range(20):
        raw = seeds[(first + number) % len(seeds)]
        how = rng.randrange(5)
        if how < 2:
            raw = misheaded(rng, raw)
        elif how < 4:
            raw = mutated(rng, raw, seeds)
        raws.append(raw)
    play_packets(engine, raws, [rng.choice(LINKS) for _ in raws])
    return engine


def run_case(seed: int) -> Engine:
    """A run of messages with damage anywhere, in one piece, in chunks and lent with its tail."""
    rng = random.Random(seed)
    messages = list(stream(seed % 7))
    if seed % 2 and real_messages():
        first = rng.randrange(len(real_messages()) - 300)
        messages = real_messages()[first : first + 300]
    engine = fresh(rng)
    raw = mutated(rng, run(messages), [run(messages[:40])])
    if seed % 3 == 0:
        lent, held = lend([raw], LINK_MESSAGES)
        engine.process(lent)
        del held
        return engine
    while raw:
        size = rng.choice([1, 40, 1000, len(raw)])
        engine.feed(raw[:size])
        raw = raw[size:]
    return engine


def message_case(seed: int) -> Engine:
    """Messages of right lengths whose fields are damaged: they get as far as the books."""
    rng = random.Random(seed)
    messages = [*stream(seed % 7), *(real_messages()[:400] if seed % 2 else [])]
    engine, damaged = fresh(rng), []
    for raw in messages:
        held = bytearray(raw)
        for _ in range(rng.choice([0, 0, 1, 3])):
            if len(held) > 1:
                held[rng.randrange(1, len(held))] = rng.choice([*INTERESTING, rng.randrange(256)])
        damaged.append(bytes(held))
    engine.feed(run(damaged))
    assert engine.counters["unknown_type"] < 40, "types were left as they were"
    return engine


def unit_case(seed: int) -> Engine:
    """Twenty packets of units, most of them damaged, Nasdaq's among them."""
    rng, seeds = random.Random(seed), [*unit_frames(), *framed()[:40]]
    engine, raws = trading_on_units(rng), []
    first = rng.randrange(len(seeds))
    for number in range(20):
        raw = seeds[(first + number) % len(seeds)]
        how = rng.randrange(5)
        if how < 2:
            raw = misheaded(rng, raw)
        elif how < 4:
            raw = mutated(rng, raw, seeds)
        raws.append(raw)
    play_packets(engine, raws, [rng.choice(LINKS) for _ in raws])
    return engine


def trading_on_units(rng: random.Random) -> Engine:
    """An engine that takes units, with a strategy that trades in some."""
    if rng.randrange(3):
        return Engine(rng.choice(UNITS))
    model = rng.choice(["touch", "through", "queue"])
    return Engine(trading("ouch50", 100, model=model), strategy=busy)


def pitch_case(seed: int) -> Engine:
    """A run of PITCH with damage anywhere: in lengths, types, fields, at its end."""
    rng = random.Random(seed)
    messages, engine = list(pitch_stream(seed % 7)), trading_on_units(rng)
    if seed % 2:  # fields only
        held = [bytearray(raw) for raw in messages]
        for each in held:
            for _ in range(rng.choice([0, 0, 1, 3])):
                if len(each) > 2:
                    value = rng.choice([*INTERESTING, rng.randrange(256)])
                    each[rng.randrange(2, len(each))] = value
        messages = [bytes(each) for each in held]
    raw = b"".join(messages)
    if seed % 2 == 0:
        raw = mutated(rng, raw, [b"".join(messages[:40])])
    while raw:
        # What is cut is lost: a run of PITCH has no rest that waits.
        size = rng.choice([1, 40, 1000, len(raw), len(raw)])
        lent, held_bytes = lend([raw[:size]], LINK_PITCH)
        engine.process(lent)
        del held_bytes
        raw = raw[size:]
    return engine


ANSWERS = {"ouch50": OUCH50_OUTBOUND.messages, "ouch42": OUCH42_OUTBOUND.messages}


def damaged(rng: random.Random, raw: bytes) -> bytes:
    """The bytes, with some of them other ones now and then, cut or longer."""
    held = bytearray(raw)
    for _ in range(rng.choice([0, 0, 1, 3])):
        held[rng.randrange(len(held))] = rng.choice([*INTERESTING, rng.randrange(256)])
    return bytes(
        rng.choice([held, held, held, held[: rng.randrange(120)], held + rng.randbytes(9)])
    )


def answers(rng: random.Random, desk: Desk, number: int) -> list[bytes]:
    """Messages of an exchange about orders that there are, with whatever in their fields."""
    found = []
    last = desk.engine.block.get("user_ref_num")
    for _ in range(number):
        layout = rng.choice(ANSWERS[desk.config.orders.protocol])
        held = bytearray(layout.type.encode() + rng.randbytes(layout.length - 1))
        held[1:9] = (desk.now + rng.randrange(1000)).to_bytes(8, "big")
        for field in layout.fields[2:]:
            ref = max(0, last - rng.randrange(6))
            at = slice(field.offset, field.offset + field.size)
            if field.name.endswith("user_ref_num"):
                held[at] = ref.to_bytes(4, "big")
            elif "token" in field.name:
                held[at] = desk.answers.token(ref).encode()
            elif field.is_integer and rng.random() < 0.8:
                value = rng.choice([0, 1, 40, 100, 1_000_000]) % (1 << 8 * field.size)
                held[at] = value.to_bytes(field.size, "big")
            elif field.enum and rng.random() < 0.8:
                code = rng.choice(list(OUCH50_OUTBOUND.enums.get(field.enum, {"L": ""})))
                held[at] = code.encode().ljust(field.size)[: field.size]
        found.append(damaged(rng, bytes(held)))
    return found


def orders(rng: random.Random, desk: Desk, number: int) -> list[bytes]:
    """Commands with fields that mean something, and some that do not."""
    found = []
    for _ in range(number):
        layout = rng.choice(CONTROL.messages)
        values = {
            "timestamp": desk.now + rng.choice([0, 5, 10**9, 1 << 46]),
            "who": "ops",
            "why": "test",
            "symbol": rng.choice(["AAPL", "MSFT", "", "NONE", "\0\0\0\0\0\0\0\0"]),
            "scope": rng.choice("GSBx"),
            "level": rng.choice([0, 0, 0, 1, 2, 3]),
            "limit": rng.choice([*Limit, 0, 13, 107, 0xFFFF]),
            "value": rng.choice([0, 5, 10**6, 10**14, (1 << 64) - 1]),
            "expires": rng.choice([0, 0, desk.now + 3, desk.now + 10**9, (1 << 64) - 1]),
            "quantity": rng.choice([0, -500, 10**6, -(1 << 63), (1 << 63) - 1]),
            "cash": rng.choice([0, -(10**9), (1 << 63) - 1]),
        }
        known = {name: value for name, value in values.items() if name in layout.by_name}
        raw = layout.encode(**known)
        found.append(damaged(rng, raw) if rng.random() < 0.3 else raw)
    return found


def own_case(seed: int) -> Engine:
    """Orders, damaged answers to them, damaged commands, and a market, all mixed."""
    rng = random.Random(seed)
    protocol = rng.choice(["ouch50", "ouch42"])
    desk = Desk(desk_config(protocol, rng.choice(["exchange"] * 3 + ["touch", "through", "queue"])))
    given = iter(stream(seed % 7))
    for _ in range(60):
        what = rng.randrange(9)
        ref = max(0, desk.engine.block.get("user_ref_num") - rng.randrange(5))
        quantity, price = rng.choice([1, 50, 999_999, 0]), 1_000_000 + 100 * rng.randrange(-3, 4)
        if what < 2:
            desk.new(rng.choice([1, -1]), quantity, price, rng.choice([1, 1, 2, 7, 99]))
        elif what == 2:
            desk.replace(ref, quantity, price)
        elif what == 3:
            rng.choice([desk.cancel, desk.modify])(ref, quantity % 100)
        elif what < 6:
            desk.engine.feed_responses(run(answers(rng, desk, rng.randint(1, 4))))
        elif what == 6:
            desk.engine.feed_commands(run(orders(rng, desk, rng.randint(1, 3))))
        else:
            desk.engine.feed(run([next(given) for _ in range(rng.randint(1, 6))]))
        desk.now = max(desk.now, min(desk.engine.block.get("engine_time"), TS + 10**10))
    desk.engine.feed_responses(rng.randbytes(rng.randrange(60)))
    desk.engine.feed_commands(rng.randbytes(rng.randrange(60)))
    if seed % 4 == 0:
        validate_own(desk.engine)
        # A snapshot of whatever came of it is one, and goes on.
        other = Engine(desk.config)
        other.restore(desk.engine.snapshot())
        assert other.state_digest == desk.engine.state_digest
    return desk.engine


CASES = {
    "packets": (packet_case, 2000),
    "runs": (run_case, 1500),
    "fields": (message_case, 800),
    "own": (own_case, 400),
    "units": (unit_case, 1200),
    "pitch": (pitch_case, 600),
}


@pytest.mark.parametrize("kind", CASES)
def test_damaged_input_is_counted_and_gone_on_from(kind):
    case, count = CASES[kind]
    for seed in range(count if not CHECKED else count // 3):
        check(case(seed), sound=seed % 4 == 0)


@pytest.mark.long
@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("block", range(10))
def test_far_more_damaged_input(kind, block):
    case, count = CASES[kind]
    for seed in range(1_000_000 * (block + 1), 1_000_000 * (block + 1) + 6 * count):
        check(case(seed), sound=seed % 10 == 0)


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=120), max_size=6), st.sampled_from(LINKS))
def test_bytes_that_hypothesis_chooses_as_packets(raws, link):
    engine = Engine(SMALL)
    play_packets(engine, raws, [link] * len(raws))
    check(engine)


@settings(max_examples=300)
@given(st.integers(0, 200), st.data())
def test_headers_that_hypothesis_chooses(number, data):
    raw = bytearray(framed()[number % len(framed())])
    for at, size in HEADERS.items():
        if at + size <= len(raw) and data.draw(st.booleans()):
            raw[at : at + size] = data.draw(st.binary(min_size=size, max_size=size))
    raw = raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))]
    engine = Engine(SMALL)
    play_packets(engine, [bytes(raw)] * 2, [LINK_ETHERNET] * 2)
    check(engine)


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_bytes_that_hypothesis_chooses_as_a_run(raw):
    engine = Engine(SMALL)
    engine.feed(raw)
    lent, held = lend([raw], LINK_MESSAGES)
    engine.process(lent)
    del held
    check(engine)


@settings(max_examples=150)
@given(
    st.lists(
        st.sampled_from(list(LENGTHS)).flatmap(
            lambda code: st.binary(min_size=LENGTHS[code] - 1, max_size=LENGTHS[code] - 1).map(
                lambda body: code.encode() + body
            )
        ),
        max_size=40,
    )
)
def test_known_types_with_any_fields(messages):
    engine = Engine(SMALL)
    engine.feed(run(messages))
    assert sum(engine.messages_by_type.values()) == len(messages)
    check(engine)


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_bytes_that_hypothesis_chooses_as_a_run_of_pitch(raw):
    engine = Engine(PITCH)
    lent, held = lend([raw], LINK_PITCH)
    engine.process(lent)
    del held
    check(engine)


@settings(max_examples=150)
@given(
    st.lists(
        st.sampled_from(list(pitch_messages.NAMES)).flatmap(
            lambda code: st.binary(min_size=0, max_size=50).map(
                lambda body: bytes([2 + len(body), code]) + body
            )
        ),
        max_size=40,
    )
)
def test_known_types_of_pitch_with_any_fields_and_lengths(messages):
    engine = Engine(PITCH)
    lent, held = lend([b"".join(messages) or b"\0"], LINK_PITCH)
    engine.process(lent)
    del held
    check(engine)


@REAL
def test_real_captures_cut_at_every_packet_and_byte():
    """Each real frame, cut at every byte: one packet counted, nothing else lost."""
    for raw in real_frames()[:25]:
        engine = Engine(SMALL)
        cuts = range(0, len(raw), 1 + len(raw) // 200)
        play_packets(engine, [raw[:cut] for cut in cuts], [LINK_ETHERNET] * len(cuts))
        check(engine)


@REAL
def test_there_is_real_data_among_the_seeds():
    assert len(real_frames()) > 30 and len(real_messages()) == 2300


# ---------------------------------------------------------------- the checked variant


def digests() -> list[tuple[int, int, int]]:
    """What fifty cases of each kind come to."""
    found = []
    for case, _ in CASES.values():
        for seed in range(50):
            engine = case(seed)
            found.append((engine.book_digest, engine.state_digest, sum(engine.counters.values())))
    return found


def in_the_checked_variant(*arguments: str, timeout: int = 1700) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "TICKPATH_CHECKED": "1"},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.mark.skipif(CHECKED, reason="this is the checked variant")
@pytest.mark.timeout(1800)
def test_no_access_of_all_this_is_refused_by_the_checked_accessors():
    """The whole file again; `conftest.no_violation` looks after each test."""
    done = in_the_checked_variant(
        *("-m", "pytest", "-p", "no:cacheprovider", "-q", "-m", "not long", Path(__file__).name)
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    ran = done.stdout.partition("[100%]")[0]
    assert ran.count(".") >= 7 and ran.count("s") <= 4, done.stdout


@pytest.mark.skipif(CHECKED, reason="this is the checked variant")
@pytest.mark.timeout(1800)
def test_the_checked_variant_comes_to_the_same_states():
    code = (
        "import test_fuzz as t; from tickpath import memory; "
        "print(t.digests() == eval(__import__('sys').stdin.read()), memory.violations())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=repr(digests()),
        env={**os.environ, "TICKPATH_CHECKED": "1"},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "True (0, 0, 0)"


@pytest.mark.long
@pytest.mark.skipif(CHECKED, reason="this is the checked variant")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "name",
    [
        *("book", "window", "overflow", "order_store", "line", "frame", "itch", "trades"),
        *(
            "orders",
            "risk",
            "pipeline",
            "lookahead",
            "glance",
            "strategy",
            "engine",
            "depth",
            "symbols",
        ),
        *("own_orders", "own_orders_venue", "responses", "commands", "fills", "audit_ring"),
        *("limits", "snapshot"),
        *("pitch", "unit", "sparse_store", "pitch_lookahead", "two_venues", "held"),
    ],
)
def test_the_other_tests_pass_in_the_checked_variant_too(name):
    done = in_the_checked_variant(
        *("-m", "pytest", "-p", "no:cacheprovider", "-q", "-m", "not long", f"test_{name}.py"),
        timeout=2900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
