"""Two lines of one feed, packets out of order, and packets that wait: the clean feed or a gap."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pitch_messages
from comparison import assert_bytes
from itch_messages import frame, mold
from streams import SMALL, market
from tickpath import Engine, latency
from tickpath.config import Config, ConfigError, Feed, load_config
from tickpath.layout import HELD, HELD_BYTES
from tickpath.packet import LINK_ETHERNET

A, B = ("233.54.12.111", 26477), ("233.54.12.112", 26478)
EACH = 4
MESSAGES = list(market(3, 400))
US = 1_000


def text(group: tuple[str, int]) -> str:
    return f"{group[0]}:{group[1]}"


def config(**feed) -> Config:
    feed.setdefault("lines_b", {text(A): text(B)})
    return msgspec.structs.replace(SMALL, feed=Feed(**feed))


def on(group: tuple[str, int], messages: list[bytes] = MESSAGES, each: int = EACH) -> list[bytes]:
    """The messages as packets to a group."""
    return [
        frame(mold(messages[at : at + each], 1 + at), group) for at in range(0, len(messages), each)
    ]


def clean(messages: list[bytes] = MESSAGES) -> Engine:
    engine = Engine(SMALL)
    for raw in on(A, messages):
        engine.feed_packet(raw)
    return engine


CLEAN = clean()


def same_as_clean(engine: Engine, of: Engine = CLEAN) -> None:
    assert engine.book_digest == of.book_digest and engine.state_digest == of.state_digest
    assert engine.messages == of.messages
    assert engine.block.get("input_number") == of.block.get("input_number")


def counted(engine: Engine, *names: str) -> list[int]:
    return [engine.counters[name] for name in names]


# ---------------------------------------------------------------- two lines


def test_the_second_copy_is_dropped_and_counted():
    engine = Engine(config())
    for n, (a, b) in enumerate(zip(on(A), on(B), strict=True)):
        first, second = (a, b) if n % 4 else (b, a)
        engine.feed_packet(first, ts_recv=n * 1_000_000)
        engine.feed_packet(second, ts_recv=n * 1_000_000 + 700 + n)
    same_as_clean(engine)
    packets = len(on(A))
    (line,) = engine.lines()
    assert (line["first_a"], line["first_b"]) == (packets - packets // 4, packets // 4)
    assert counted(engine, "packets_second", "duplicate_messages") == [packets, len(MESSAGES)]
    leads = [latency.summary(engine.histogram(name)) for name in ("lead_a", "lead_b")]
    assert [each["count"] for each in leads] == [packets - packets // 4, packets // 4]
    assert leads[0]["min"] >= 700 and leads[0]["max"] < 900
    assert_bytes(engine.counters)


def test_a_message_is_missing_only_if_both_lines_lose_it():
    engine = Engine(config())
    for n, (a, b) in enumerate(zip(on(A), on(B), strict=True)):
        if n % 3 != 0:
            engine.feed_packet(a)
        if n % 3 != 1:
            engine.feed_packet(b)
    same_as_clean(engine)
    assert counted(engine, "gaps", "books_stale") == [0, 0]


def test_without_the_configuration_they_are_two_lines():
    engine = Engine(SMALL)
    engine.feed_packet(on(A)[0])
    engine.feed_packet(on(B)[0])
    assert len(engine.lines()) == 2


def test_a_group_that_is_not_wanted_stays_so_and_line_b_is_wanted_with_line_a():
    engine = Engine(config(groups=[text(A)]))
    engine.feed_packet(on(B)[0])
    engine.feed_packet(frame(mold(MESSAGES[4:8], 5), ("239.9.9.9", 9)))
    assert engine.messages == EACH and engine.counters["udp_other_group"] == 1


def test_a_line_that_is_its_own_twin_is_refused(tmp_path):
    path = tmp_path / "f.toml"
    path.write_text(f'[feed.lines_b]\n"{text(A)}" = "{text(A)}"\n')
    with pytest.raises(ConfigError, match="its own second line"):
        load_config(str(path))


def test_units_of_two_lines():
    pitch = [pitch_messages.message("time", time=34_200)]
    pitch += [
        pitch_messages.message(
            "add_order_long",
            time_offset=n,
            order_id=10**15 * n,
            side_indicator=b"B",
            quantity=100,
            symbol="AAPL",
            price=1_000_000 - 100 * n,
        )
        for n in range(1, 40)
    ]
    engine = Engine(config(format="pitch"))
    for n, (a, b) in enumerate(
        zip(
            pitch_messages.packets(pitch, 3, number=5, group=A),
            pitch_messages.packets(pitch, 3, number=5, group=B),
            strict=True,
        )
    ):
        engine.feed_packet(b if n % 2 else a)
        engine.feed_packet(a if n % 3 else b)
    assert engine.orders_live == 39 and engine.counters["gaps"] == 0
    assert [each["session"] for each in engine.lines()] == ["unit 5"]


# ---------------------------------------------------------------- out of order


def test_what_came_too_early_waits():
    engine = Engine(config(reorder_packets=3))
    packets = on(A)
    for at in (0, 2, 3, 1, *range(4, len(packets))):
        engine.feed_packet(packets[at])
        assert engine.lines()[0]["waiting"] == {2: 1, 3: 2}.get(at, 0)
    same_as_clean(engine)
    assert counted(engine, "packets_reordered", "gaps") == [2, 0]
    assert engine.lines()[0]["state"] == "STEADY"
    assert_bytes(engine.counters)


@pytest.mark.parametrize("window", [1, 2, 5])
def test_the_window_ends_after_so_many_packets(window):
    engine = Engine(config(reorder_packets=window))
    packets = on(A)
    engine.feed_packet(packets[0])
    for n in range(2, 2 + window):
        engine.feed_packet(packets[n])
        assert engine.counters["gaps"] == 0
    engine.feed_packet(packets[2 + window])
    (gap,) = engine.gaps()
    assert (gap.first, gap.last) == (EACH + 1, 2 * EACH)
    assert engine.messages == EACH * (2 + window) and engine.lines()[0]["waiting"] == 0
    engine.feed_packet(packets[1])
    assert engine.messages == EACH * (2 + window), "it comes too late"


def test_the_window_ends_by_receive_time():
    engine = Engine(config(reorder_packets=100, reorder_us=50))
    packets = on(A)
    engine.feed_packet(packets[0], ts_recv=0)
    engine.feed_packet(packets[2], ts_recv=10 * US)
    engine.feed_packet(packets[3], ts_recv=60 * US)
    assert engine.counters["gaps"] == 0
    engine.feed_packet(packets[4], ts_recv=60 * US + 1)
    assert engine.counters["gaps"] == 1 and engine.lines()[0]["waiting"] == 0


def test_the_window_ends_by_itself_where_nothing_comes():
    engine = Engine(config(reorder_packets=100, reorder_us=50))
    packets = on(A)
    engine.feed_packet(packets[0], ts_recv=0)
    engine.feed_packet(packets[2], ts_recv=10 * US)
    engine.pass_time(60 * US)
    assert engine.counters["gaps"] == 0
    engine.pass_time(61 * US)
    assert engine.counters["gaps"] == 1 and engine.messages == 2 * EACH


def test_a_heartbeat_shows_that_the_last_packets_are_missing():
    engine = Engine(config(reorder_packets=4, reorder_us=50))
    packets = on(A)
    engine.feed_packet(packets[0], ts_recv=0)
    engine.feed_packet(frame(mold([], 2 * EACH + 1), A), ts_recv=US)
    assert engine.lines()[0]["state"] == "WINDOW"
    engine.feed_packet(packets[1], ts_recv=2 * US)
    assert engine.lines()[0]["state"] == "STEADY" and engine.messages == 2 * EACH
    engine.feed_packet(frame(mold([], 3 * EACH + 1), A), ts_recv=3 * US)
    engine.pass_time(100 * US)
    (gap,) = engine.gaps()
    assert (gap.first, gap.last) == (2 * EACH + 1, 3 * EACH)


def test_there_is_room_for_so_many_and_then_the_window_ends():
    engine = Engine(config(reorder_packets=512))
    messages = [MESSAGES[0]] * (HELD + 20)
    for raw in on(A, messages, 1)[:1]:
        engine.feed_packet(raw)
    for number in range(3, HELD + 20):
        engine.feed_packet(frame(mold([MESSAGES[0]], number), A))
    assert engine.counters["gaps"] == 1 and engine.lines()[0]["waiting"] == 0
    assert engine.messages == HELD + 18
    assert_bytes(engine.counters)


def test_a_datagram_that_is_too_large_to_wait_ends_the_window():
    big = list(market(5, 200))
    at = next(n for n in range(len(big)) if len(mold(big[8 : 8 + n], 9)) > HELD_BYTES)
    engine = Engine(config(reorder_packets=10))
    engine.feed_packet(frame(mold(big[:4], 1), A))
    engine.feed_packet(frame(mold(big[8 : 8 + at], 9), A))
    assert counted(engine, "packets_held_dropped", "gaps") == [1, 1]
    assert engine.messages == 4 + at
    assert_bytes(engine.counters)


def test_a_damaged_packet_opens_no_hole():
    engine = Engine(config(reorder_packets=4))
    packets = on(A)
    engine.feed_packet(packets[0])
    raw = mold(MESSAGES[8:12], 9, number=40)
    engine.feed_packet(frame(raw, A))
    assert engine.lines()[0]["state"] == "STEADY" and engine.counters["mold_truncated"] == 1
    for each in packets[1:]:
        engine.feed_packet(each)
    same_as_clean(engine)


FAR = 5_000_000


def test_behind_a_large_hole_every_packet_is_believed_once_two_agreed():
    engine = Engine(config(recovers=True))
    engine.feed_packet(frame(mold(MESSAGES[:EACH], 1), A))
    for n in range(5):
        engine.feed_packet(frame(mold(MESSAGES[:EACH], FAR + n * EACH), A))
    assert counted(engine, "sequence_jumps") == [1]
    (line,) = engine.lines()
    assert (line["next"], line["waiting"], line["state"]) == (1 + EACH, 4, "HOLE")


def test_a_stray_first_packet_opens_no_hole():
    """What it says of the day so far is believed if the next packet says the same."""
    engine = Engine(config(recovers=True))
    engine.feed_packet(frame(mold(MESSAGES[:EACH], 1 << 60), A))
    for raw in on(A):
        engine.feed_packet(raw)
    same_as_clean(engine)
    assert engine.lines()[0]["state"] == "STEADY"
    of_pitch = Engine(config(recovers=True, format="pitch"))
    for sequence in (1 << 31, 1, 2):
        unit = pitch_messages.unit([pitch_messages.message("time", time=34_200)], 1, sequence)
        of_pitch.feed_packet(frame(unit, A))
    assert (of_pitch.messages, of_pitch.lines()[0]["state"]) == (2, "STEADY")


def test_a_damaged_first_packet_makes_no_line_where_recovery_is_at_work():
    for recovers in (False, True):
        engine = Engine(config(recovers=recovers))
        engine.feed_packet(frame(mold(MESSAGES[:EACH], 1)[:-3], A))
        assert len(engine.lines()) == (not recovers)
        assert counted(engine, "mold_invalid") == [int(recovers)]
        for raw in on(A):
            engine.feed_packet(raw)
        same_as_clean(engine)


def test_two_lines_may_differ_by_their_port_only():
    second = (A[0], A[1] + 1)
    engine = Engine(config(lines_b={text(A): text(second)}))
    for a, b in zip(on(A), on(second), strict=True):
        engine.feed_packet(a)
        engine.feed_packet(b)
    same_as_clean(engine)
    assert (engine.lines()[0]["first_a"], engine.lines()[0]["first_b"]) == (len(on(A)), 0)


def test_another_session_forgets_what_waits():
    engine = Engine(config(reorder_packets=4))
    packets = on(A)
    engine.feed_packet(packets[0])
    engine.feed_packet(packets[2])
    engine.feed_packet(frame(mold(MESSAGES[:4], 1, session=b"another   "), A))
    assert engine.lines()[0]["waiting"] == 0 and engine.block.get("held") == 0
    assert engine.counters["session_changes"] == 1
    assert_bytes(engine.counters)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(0, 30), st.sampled_from([1, 3, 7]))
def test_any_order_within_the_window_is_the_clean_feed(seed, loss, each):
    """Lossy lines whose packets overtake each other; never do both lose the same."""
    rng = random.Random(seed)
    arrivals = []
    for n, pair in enumerate(zip(on(A, each=each), on(B, each=each), strict=True)):
        came = [raw for raw in pair if rng.randrange(100) >= loss] or [pair[rng.randrange(2)]]
        # The first packet says where the line begins.
        arrivals += [(n + rng.random() * 12 * (n > 0), raw) for raw in came]
    arrivals.sort(key=lambda arrival: arrival[0])
    engine = Engine(config(reorder_packets=100))
    for when, raw in arrivals:
        engine.feed_packet(raw, link=LINK_ETHERNET, ts_recv=int(when * 1_000))
    same_as_clean(engine)
    assert engine.block.get("held") == engine.block.get("waiting") == 0
    assert_bytes(engine.counters)


def test_a_pause_within_a_packet_that_waited():
    """The buffer of changed best prices asks for a pause wherever it is full."""
    rows = []
    engine = Engine(config(reorder_packets=9), on_bbo=lambda columns: rows.append(columns))
    engine.block.set("bbo_limit", 1)
    packets = on(A)
    for at in (0, 5, 4, 3, 2, 1, *range(6, len(packets))):
        engine.feed_packet(packets[at])
    same_as_clean(engine)
