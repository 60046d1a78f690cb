"""MoldUDP64 lines: a lossy network beside the reference, ranges of gaps, sessions, bad packets."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparison import assert_bytes, assert_equal
from itch_messages import GROUP, frame, message, mold, run
from reference import Reference
from scenes import TS, add
from streams import CAPACITY, SMALL, collisions
from structure import validate
from tickpath import Config, Engine, line
from tickpath.engine import GapRange
from tickpath.layout import GAP_RANGES, LINES

OTHER_GROUP = ("233.54.12.1", 26400)
SESSIONS = [b"0000000001", b"0000000001", b"0000000001", b"0000000002", b"000000000 "]
NEWS = [message("H", 1, TS + n, stock="AAPL", trading_state="T") for n in range(60)]


class Wire:
    """An engine and a reference that get the same packets."""

    def __init__(self, config: Config = SMALL) -> None:
        self.engine, self.reference = Engine(config), Reference(config)

    def send(self, payload: bytes, group: tuple[str, int] = GROUP) -> None:
        self.engine.feed_packet(frame(payload, group))
        self.reference.packet(payload, group)
        assert_equal(self.engine, self.reference, packets=True)


def counted(engine: Engine) -> dict[str, int]:
    left_out = ("bytes", "bytes_headers", "bytes_messages", "packets", "recentres")
    return {k: n for k, n in engine.counters.items() if n and k not in left_out}


def gaps(engine: Engine) -> list[tuple[int, int]]:
    return [(each.first, each.last) for each in engine.gaps()]


@settings(max_examples=80)
@given(
    st.integers(0, 1000),
    st.lists(
        st.tuples(
            st.sampled_from(["next", "next", "next", "skip", "again", "overlap", "beat", "end"]),
            st.integers(0, 6),
            st.sampled_from(SESSIONS),
            st.sampled_from([GROUP, GROUP, OTHER_GROUP]),
        ),
        min_size=1,
        max_size=25,
    ),
)
def test_a_lossy_network_beside_the_reference(seed, packets):
    """Lost, repeated, overlapping and late packets, heartbeats, ends, sessions, two groups."""
    stream = list(collisions(seed, 400))
    wire, at = Wire(), {GROUP: 1, OTHER_GROUP: 100}
    for kind, count, session, group in packets:
        sequence = at[group]
        if kind in ("beat", "end"):
            number = 0 if kind == "beat" else 0xFFFF
            wire.send(mold([], sequence + (count == 6), session, number), group)
            continue
        if kind == "skip":
            sequence += count
        elif kind == "again":
            sequence = max(1, sequence - 2 * count)
        elif kind == "overlap":
            sequence = max(1, sequence - count // 2)
        messages = [stream[(sequence + n) % len(stream)] for n in range(count)]
        wire.send(mold(messages, sequence, session), group)
        at[group] = max(at[group], sequence + count)
    validate(wire.engine)


def test_a_capture_may_begin_anywhere():
    wire = Wire()
    wire.send(mold(NEWS[:2], 1_000_000))
    wire.send(mold(NEWS[2:4], 1_000_002))
    assert counted(wire.engine) == {} and gaps(wire.engine) == []


def test_gaps_are_listed_as_ranges():
    wire = Wire()
    for sequence in (1, 4, 5, 9, 20):
        wire.send(mold(NEWS[:1], sequence))
    assert wire.engine.gaps() == [
        GapRange("0000000001", "233.54.12.111:26477", 2, 3, 2),
        GapRange("0000000001", "233.54.12.111:26477", 6, 8, 5),
        GapRange("0000000001", "233.54.12.111:26477", 10, 19, 7),
    ]
    assert counted(wire.engine) == {"gaps": 3, "gap_messages": 15}


def test_a_gap_marks_every_book_stale():
    wire = Wire()
    wire.send(mold([add(1), add(2, locate=2, stock="MSFT")], 1))
    wire.send(mold(NEWS[:1], 4))
    wire.send(mold(NEWS[:1], 9))
    assert wire.engine.block.book["stale"][:4].tolist() == [0, 1, 1, 0]
    assert wire.engine.counters["books_stale"] == 2


@pytest.mark.parametrize("number", [0, 0xFFFF])
def test_heartbeats_and_the_end_reveal_a_gap(number):
    wire = Wire()
    wire.send(mold(NEWS[:2], 1))
    wire.send(mold([], 3, number=number))
    assert gaps(wire.engine) == []
    wire.send(mold([], 6, number=number))
    assert gaps(wire.engine) == [(3, 5)]
    assert wire.engine.lines()[0]["ended"] == (number == 0xFFFF)
    wire.send(mold([], 2, number=number))
    assert gaps(wire.engine) == [(3, 5)]


def test_duplicates_are_dropped_and_only_the_new_part_is_taken():
    wire = Wire()
    wire.send(mold(NEWS[:3], 1))
    wire.send(mold(NEWS[:3], 1))
    wire.send(mold(NEWS[1:5], 2))
    assert counted(wire.engine)["duplicate_messages"] == 5
    assert wire.engine.messages == 5
    known = len(run(NEWS[1:3]))
    assert wire.engine.counters["bytes_skipped"] == len(frame(mold(NEWS[:3], 1))) + known


def test_another_session_starts_the_line_over():
    wire = Wire()
    wire.send(mold([add(1)], 500))
    wire.send(mold(NEWS[:1], 1, b"0000000002"))
    assert counted(wire.engine) == {"session_changes": 1, "books_stale": 1}
    expected = {
        "session": "0000000002",
        "group": "233.54.12.111:26477",
        "first": 1,
        "next": 2,
        "messages": 2,
        "missing": 0,
        "ended": False,
    }
    assert {name: wire.engine.lines()[0][name] for name in expected} == expected


def test_a_session_that_differs_in_its_last_character_is_another():
    wire = Wire()
    wire.send(mold(NEWS[:1], 1, b"0000000001"))
    wire.send(mold(NEWS[:1], 1, b"0000000002"))
    wire.send(mold(NEWS[:1], 1, b"1000000002"))
    assert counted(wire.engine) == {"session_changes": 2}


def test_groups_have_lines_of_their_own():
    wire = Wire()
    for number in range(1, 20):
        wire.send(mold(NEWS[:1], number), (GROUP[0], 26477 + number % 3))
    lines = wire.engine.lines()
    assert [each["group"].split(":")[1] for each in lines] == ["26478", "26479", "26477"]
    assert [each["missing"] for each in lines] == [12, 10, 10]


# ---------------------------------------------------------------- numbers far ahead


JUMP = int(line.MAX_JUMP)


def test_the_largest_jump_that_one_packet_can_declare():
    wire = Wire()
    wire.send(mold(NEWS[:1], 1))
    wire.send(mold(NEWS[:1], 2 + JUMP))
    assert gaps(wire.engine) == [(2, 1 + JUMP)]
    wire = Wire()
    wire.send(mold(NEWS[:1], 1))
    wire.send(mold(NEWS[:1], 3 + JUMP))
    assert gaps(wire.engine) == [] and counted(wire.engine) == {
        "sequence_jumps": 1,
        "bytes_skipped": wire.engine.counters["bytes_skipped"],
    }


def test_one_garbled_number_does_not_silence_the_line():
    wire = Wire()
    wire.send(mold(NEWS[:1], 1))
    for garbled in ((1 << 64) - 1, 1 << 63, 1 << 40):
        wire.send(mold(NEWS[:3], garbled))
    wire.send(mold(NEWS[:1], 2))
    assert wire.engine.messages == 2 and gaps(wire.engine) == []
    assert wire.engine.counters["sequence_jumps"] == 3


@pytest.mark.parametrize("count", [1, 3, 0])
def test_a_line_that_goes_on_from_the_jump_is_believed(count):
    wire = Wire()
    wire.send(mold(NEWS[:1], 1))
    wire.send(mold(NEWS[:count], 5_000_000))
    wire.send(mold(NEWS[:2], 5_000_000 + count))
    assert gaps(wire.engine) == [(2, 5_000_000 + count - 1)]
    assert wire.engine.messages == 3


def test_the_highest_sequence_number_of_all():
    wire = Wire()
    last = (1 << 64) - 1
    wire.send(mold(NEWS[:1], last - 1))
    wire.send(mold([], last))
    wire.send(mold([], last, number=0xFFFF))
    assert wire.engine.messages == 1 and gaps(wire.engine) == []


# ---------------------------------------------------------------- packets that lie


def fed(*payloads: bytes) -> Engine:
    engine = Engine(SMALL)
    for payload in payloads:
        engine.feed_packet(frame(payload))
    assert_bytes(engine.counters)
    return engine


def test_a_block_that_overruns_its_packet_is_counted_and_shows_as_missing():
    whole = mold(NEWS[:3], 1)
    for cut in range(1, len(run(NEWS[2:3])) + 1):
        engine = fed(whole[:-cut], mold(NEWS[3:4], 4))
        assert engine.messages == 3 and gaps(engine) == [(3, 3)], cut
        assert engine.counters["mold_truncated"] == 1, cut
        assert engine.counters["mold_trailing_bytes"] == 0


def test_blocks_behind_the_announced_ones_are_skipped_and_counted():
    engine = fed(mold(NEWS[:3], 1, number=2), mold(NEWS[2:3], 3))
    assert engine.messages == 3
    assert counted(engine) == {
        "mold_trailing_bytes": len(run(NEWS[2:3])),
        "bytes_skipped": len(run(NEWS[2:3])),
    }


def test_fewer_blocks_than_announced_are_counted():
    engine = fed(mold(NEWS[:2], 1, number=7), mold(NEWS[:1], 8))
    assert engine.counters["mold_truncated"] == 1 and gaps(engine) == [(3, 7)]
    assert fed(mold([], 1, number=3)).counters["mold_truncated"] == 1


@pytest.mark.parametrize("number", [0, 0xFFFF])
def test_bytes_behind_a_packet_without_messages_are_skipped(number):
    payload = mold([], 1, number=number) + b"trailing"
    engine = fed(payload)
    assert engine.messages == 0
    assert engine.counters["bytes_skipped"] == len(frame(payload))


def test_a_length_of_zero_is_a_message_and_one_too_long_none():
    engine = fed(mold([b"", NEWS[0]], 1), mold([], 3, number=1) + struct.pack(">H", 0xFFFF))
    assert engine.counters["wrong_length"] == 1 and engine.messages_by_type == {"H": 1}
    assert engine.counters["mold_truncated"] == 1


def test_duplicates_in_a_packet_cut_short():
    """The known part ends behind the packet: nothing is taken, and nothing is read there."""
    whole = mold(NEWS[:5], 1)
    for length in range(20, len(whole)):
        engine = fed(mold(NEWS[:4], 1), whole[:length])
        assert engine.messages == 4 and gaps(engine) == [], length
        assert engine.counters["duplicate_messages"] == 4
        assert engine.counters["mold_truncated"] == 1


def test_more_lines_than_there_is_room_for_are_counted():
    engine = Engine(SMALL)
    for port in range(LINES + 3):
        engine.feed_packet(frame(mold(NEWS[:1], 1), (GROUP[0], 1000 + port)))
    assert len(engine.lines()) == LINES
    assert engine.counters["lines_full"] == 3 and engine.messages == LINES
    engine.feed_packet(frame(mold(NEWS[:1], 2), (GROUP[0], 1000)))
    assert engine.messages == LINES + 1
    assert_bytes(engine.counters)


def test_more_gaps_than_the_list_has_room_for_are_counted():
    engine = Engine(Config(capacity=CAPACITY))
    for number in range(GAP_RANGES + 6):
        engine.feed_packet(frame(mold(NEWS[:1], 1 + 2 * number)))
    assert len(engine.gaps()) == GAP_RANGES
    assert engine.counters["gaps"] == engine.counters["gap_messages"] == GAP_RANGES + 5
    assert engine.counters["gaps_not_listed"] == 5
