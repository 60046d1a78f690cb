"""Sequenced Unit packets: lossy units beside the reference, times of their own, venues, clears."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import itch_messages
from comparison import assert_bytes, assert_equal
from pitch_messages import GROUP, HEADER, frame, message, packets, unit
from pitch_scenes import add, clear, delete, execute, feed
from pitch_streams import PITCH, collisions
from reference_pitch import PitchReference
from streams import collisions as itch_collisions
from structure import validate
from test_pipeline import lend, state
from tickpath import Engine
from tickpath.config import Config, Feed
from tickpath.layout import LINES

OTHER_GROUP = ("224.0.62.130", 30002)
THIRD_GROUP = ("224.0.74.1", 30005)
VENUES = {
    f"{OTHER_GROUP[0]}:{OTHER_GROUP[1]}": "cboe-edgx",
    f"{THIRD_GROUP[0]}:{THIRD_GROUP[1]}": "cboe-byx",
}
SEVERAL: Config = replace(PITCH, feed=Feed(venues=VENUES))
FORCED: Config = replace(PITCH, feed=Feed(format="pitch", venues=VENUES))
SECOND = 1_000_000_000


class Wire:
    """An engine and a reference that get the same packets."""

    def __init__(self, config: Config = SEVERAL) -> None:
        self.engine, self.reference = Engine(config), PitchReference(config)

    def send(self, payload: bytes, group: tuple[str, int] = GROUP) -> None:
        self.engine.feed_packet(frame(payload, group))
        self.reference.unit_packet(payload, group)
        self.compare()

    def send_itch(self, payload: bytes) -> None:
        self.engine.feed_packet(itch_messages.frame(payload))
        self.reference.packet(payload)
        self.compare()

    def compare(self) -> None:
        assert_equal(self.engine, self.reference, packets=True)


def counted(engine: Engine) -> dict[str, int]:
    left_out = ("bytes", "bytes_headers", "bytes_messages", "packets", "recentres")
    return {k: n for k, n in engine.counters.items() if n and k not in left_out}


def at(second: int) -> bytes:
    return message("time", time=second)


# ---------------------------------------------------------------- lossy networks


KINDS = ["next", "next", "next", "next", "skip", "again", "overlap", "beat", "bare", "cut", "more"]


@settings(max_examples=80)
@given(
    st.integers(0, 1000),
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.integers(0, 6),
            st.sampled_from([1, 1, 2, 63]),
            st.sampled_from([GROUP, GROUP, OTHER_GROUP, THIRD_GROUP]),
        ),
        min_size=1,
        max_size=25,
    ),
)
def test_lossy_units_beside_the_reference(seed, given_packets):
    """Lost, repeated, overlapping, late and cut packets of several units and venues."""
    stream = list(collisions(seed, 400, lively=True))
    wire, following = Wire(FORCED), {}
    for kind, count, number, group in given_packets:
        sequence = following.get((number, group), 1 + 1000 * number)
        if kind == "beat":
            wire.send(unit([], number, (sequence + (count == 6)) * (count != 5)), group)
            continue
        if kind == "skip":
            sequence += count
        elif kind == "again":
            sequence = max(1, sequence - 2 * count)
        elif kind == "overlap":
            sequence = max(1, sequence - count // 2)
        messages = [stream[(sequence + n) % len(stream)] for n in range(count)]
        raw = unit(messages, number, 0 if kind == "bare" else sequence)
        if kind == "cut":  # the packet says that it has more messages than it has
            raw = unit(messages, number, sequence, len(messages) + 2)
        elif kind == "more":  # or fewer
            raw = unit(messages, number, sequence, max(0, len(messages) - 1))
        wire.send(raw, group)
        if kind != "bare":
            taken = wire.reference.lines[(*group, number)].expected
            following[number, group] = taken
    validate(wire.engine)


@pytest.mark.parametrize("seed", range(3))
def test_both_venues_in_any_order(seed):
    """Packets of Nasdaq and of units, in turns: one engine time, counters, trades, books."""
    rng, wire = random.Random(seed), Wire()
    pitch, itch = list(collisions(50 + seed, 1500)), list(itch_collisions(60 + seed, 800))
    sequence, expected = {}, 1
    for _ in range(160):
        if rng.random() < 0.4:
            count = rng.randint(1, 8)
            wire.send_itch(itch_messages.mold(itch[:count], expected))
            itch, expected = itch[count:], expected + len(itch[:count])
            continue
        name = rng.choice([1, 2, 3]), rng.choice([GROUP, OTHER_GROUP])
        first, count = sequence.get(name, 1), rng.randint(1, 12)
        sent = [raw for raw in pitch[:count] if raw[0] >= 2]
        wire.send(unit(sent, name[0], first), name[1])
        pitch, sequence[name] = pitch[count:], first + len(sent)
    validate(wire.engine)
    venues = set(wire.engine.block.book["venue"].tolist())
    assert venues == {0, 1, 2, 5}


# ---------------------------------------------------------------- sequences


def test_units_have_sequences_of_their_own():
    wire = Wire()
    wire.send(unit([at(34_200)] * 3, 1, 1))
    wire.send(unit([at(34_200)] * 2, 2, 900))
    wire.send(unit([at(34_200)], 1, 4))
    wire.send(unit([at(34_200)], 2, 902))
    assert counted(wire.engine) == {"unit_time_unknown": 2}
    assert [(row["session"], row["next"]) for row in wire.engine.lines()] == [
        ("unit 1", 5),
        ("unit 2", 903),
    ]


def test_one_unit_on_two_groups_is_two_lines():
    wire = Wire()
    wire.send(unit([at(34_200)], 1, 1))
    wire.send(unit([at(34_200)], 1, 7), OTHER_GROUP)
    assert [row["first"] for row in wire.engine.lines()] == [1, 7]
    assert wire.engine.counters["gaps"] == 0


def test_a_gap_marks_the_units_books_and_no_others():
    wire = Wire()
    wire.send(unit([add(1, stock="AAPL")], 1, 1))
    wire.send(unit([add(2, stock="MSFT")], 2, 1))
    wire.send(unit([add(3, stock="ZVZZT")], 1, 5))
    wire.send(unit([add(4, stock="BRK.A")], 2, 2))
    stale = {
        name: int(wire.engine.block.book["stale"][n]) for name, n in wire.engine.symbols.items()
    }
    assert stale == {"AAPL": 1, "ZVZZT": 1, "MSFT": 0, "BRK.A": 0}
    assert [(each.session, each.first, each.last) for each in wire.engine.gaps()] == [
        ("unit 1", 2, 4)
    ]


def test_heartbeats_reveal_a_gap():
    wire = Wire()
    wire.send(unit([at(34_200)], 1, 1))
    wire.send(unit([], 1, 2))
    assert wire.engine.gaps() == []
    wire.send(unit([], 1, 4))
    wire.send(unit([], 1, 0))  # of a unit that is not sequenced
    assert [(each.first, each.last) for each in wire.engine.gaps()] == [(2, 3)]
    assert wire.engine.counters["heartbeats"] == 3


def test_packets_without_a_sequence_are_taken_as_they_come():
    wire = Wire()
    wire.send(unit([add(1)], 1, 0))
    wire.send(unit([add(2)], 1, 0))
    wire.send(unit([add(3)], 1, 40))
    wire.send(unit([add(4)], 1, 0))
    assert wire.engine.orders_live == 4
    assert wire.engine.lines()[0]["next"] == 41
    assert counted(wire.engine) == {"unit_unsequenced": 3, "unit_time_unknown": 4}


def test_a_packet_far_ahead_is_believed_when_the_next_goes_on_from_there():
    wire = Wire()
    wire.send(unit([at(34_200)], 1, 1))
    far = (1 << 20) + 100
    wire.send(unit([add(1), add(2)], 1, far))
    assert wire.engine.orders_live == 0 and wire.engine.counters["sequence_jumps"] == 1
    wire.send(unit([add(3)], 1, far + 2))
    assert wire.engine.orders_live == 1 and wire.engine.counters["gaps"] == 1


def test_more_units_than_lines_are_counted():
    wire = Wire()
    for number in range(LINES + 3):
        wire.send(unit([add(number)], number, 1))
    assert wire.engine.orders_live == LINES and wire.engine.counters["lines_full"] == 3


# ---------------------------------------------------------------- time


def test_every_unit_has_its_own_second():
    wire = Wire()
    wire.send(unit([at(34_200)], 1, 1))
    wire.send(unit([at(34_100)], 2, 1))
    wire.send(unit([delete(1)], 2, 2))
    assert wire.engine.block.get("engine_time") == 34_200 * SECOND
    wire.send(unit([delete(1)], 1, 2))
    assert wire.engine.block.get("engine_time") == 34_200 * SECOND + 5
    assert wire.engine.counters["time_backwards"] == 0
    wire.send(unit([at(34_000)], 1, 3))
    assert wire.engine.counters["time_backwards"] == 1


def test_times_of_runs_and_of_units_are_apart():
    wire = Wire()
    wire.send(unit([at(34_300)], 1, 1))
    feed(wire.engine, [at(34_200), delete(1)])
    wire.reference.run_pitch([at(34_200), delete(1)])
    wire.reference.counters["packets"] += 1
    wire.compare()
    assert wire.engine.block.get("engine_time") == 34_300 * SECOND
    wire.send(unit([delete(1)], 1, 2))
    assert wire.engine.block.get("engine_time") == 34_300 * SECOND + 5


# ---------------------------------------------------------------- venues


def test_groups_have_their_venues():
    wire = Wire()
    for group in (GROUP, OTHER_GROUP, THIRD_GROUP):
        wire.send(unit([add(1, stock="AAPL")], 1, 1), group)
    found = [(each.venue, each.symbol) for each in wire.engine.books()]
    assert found == [("cboe-byx", "AAPL"), ("cboe-bzx", "AAPL"), ("cboe-edgx", "AAPL")]


def test_two_venues_may_use_one_number_for_their_orders():
    wire = Wire()
    wire.send(unit([add(7, shares=100), add(8)], 1, 1))
    wire.send(unit([add(7, "S", shares=30), execute(7, 10)], 1, 1), OTHER_GROUP)
    wire.send(unit([execute(7, 60), delete(8)], 1, 3))
    wire.send(unit([delete(8), delete(7)], 1, 3), OTHER_GROUP)
    assert wire.engine.resting()[["order_ref", "side", "quantity"]].tolist() == [(7, 0, 40)]
    assert wire.engine.counters["unknown_order_ref"] == 1
    assert wire.engine.counters["duplicate_order_ref"] == 0
    validate(wire.engine)


def test_a_clear_is_of_one_unit_of_one_venue():
    wire = Wire()
    for group in (GROUP, OTHER_GROUP):
        for number in (1, 2):
            wire.send(unit([add(10 + number, stock=f"A{number}")], number, 1), group)
    wire.send(unit([clear()], 2, 2), OTHER_GROUP)
    left = [(each.venue, each.symbol) for each in wire.engine.books() if len(each.bids)]
    assert left == [("cboe-bzx", "A1"), ("cboe-bzx", "A2"), ("cboe-edgx", "A1")]
    assert wire.engine.counters["orders_cleared"] == 1


def test_a_venue_for_all_groups():
    wire = Wire(replace(PITCH, feed=Feed(pitch_venue="cboe-edga")))
    wire.send(unit([add(1)], 1, 1))
    feed(wire.engine, [add(2, stock="MSFT")])
    assert {each.venue for each in wire.engine.books()} == {"cboe-edga"}


# ---------------------------------------------------------------- packets that are none


def test_what_a_datagram_is_taken_for():
    """By its own length in front, or as the configuration says."""
    good, short = unit([add(1)], 1, 1), unit([add(2)], 1, 2) + b"\x00"
    engine = Engine(PITCH)
    # The byte behind it makes it no unit's packet, and as MoldUDP64 it is nothing that can be.
    engine.feed_packet(frame(short))
    assert engine.orders_live == 0
    # Behind a unit's packet it is one that is damaged.
    for payload in (good, short):
        engine.feed_packet(frame(payload))
    assert engine.orders_live == 2
    wire = Wire(FORCED)
    wire.send(good)
    wire.send(short)
    assert wire.engine.orders_live == 2
    engine = Engine(replace(PITCH, feed=Feed(format="itch50")))
    engine.feed_packet(frame(good))
    assert engine.orders_live == 0


@pytest.mark.parametrize("length", [0, 1, 7, 100, 0xFFFF])
def test_a_length_that_cannot_be_makes_a_packet_invalid(length):
    wire = Wire(FORCED)
    body = unit([add(1)], 1, 1)
    wire.send(length.to_bytes(2, "little") + body[2:])
    assert counted(wire.engine) == {"unit_invalid": 1, "bytes_skipped": len(body) + 42}


@pytest.mark.parametrize("cut", range(HEADER.size))
def test_packets_shorter_than_a_header(cut):
    wire = Wire(FORCED)
    wire.send(unit([], 1, 1)[:cut])
    assert wire.engine.counters["unit_invalid"] == 1
    assert_bytes(wire.engine.counters)


def test_a_message_that_overruns_its_packet():
    body = unit([add(1), add(2)], 1, 1)
    for cut in range(1, len(add(2))):
        wire = Wire(FORCED)
        held = bytearray(body[:-cut])
        held[:2] = len(held).to_bytes(2, "little")
        wire.send(bytes(held))
        assert wire.engine.orders_live == 1
        assert wire.engine.counters["unit_truncated"] == 1
        assert wire.engine.lines()[0]["next"] == 2


# ---------------------------------------------------------------- packing


STREAM = [raw for raw in collisions(9, 3000) if raw[0] >= 2]


def fed(each: int, burst: int) -> Engine:
    engine, raws = Engine(SEVERAL), packets(STREAM, each)
    for first in range(0, len(raws), burst):
        lent, held = lend(raws[first : first + burst])
        engine.process(lent)
        del held
    assert_bytes(engine.counters)
    return engine


@pytest.mark.parametrize(
    ("each", "burst"), [(2, 1), (3, 64), (7, 5000), (16, 1), (17, 3), (40, 7), (200, 1)]
)
def test_the_same_state_from_packets_of_any_size(each, burst):
    alone = fed(1, 1)
    found, expected = state(fed(each, burst)), state(alone)
    for one in (found, expected):
        one["counters"].pop("unit_time_unknown", None)
    assert found == expected
