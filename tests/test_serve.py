"""Serving a feed: streams out of captures, images, paces and faults; no sockets."""

import random

import pytest

import itch_messages
import pitch_messages
from captures import Packet, pcap
from naive_books import ItchBooks, PitchBooks, itch_feed, pitch_feed
from recovery_world import MS, SECOND, US, Plan, streams_of
from tickpath.recovery import moldudp64, sequenced_unit
from tickpath.serve import source
from tickpath.serve.error import ServeError
from tickpath.serve.image import StreamImage
from tickpath.serve.line_faults import LineFaults, LinePlan, parse_plan
from tickpath.serve.publisher import Pace, Publisher
from tickpath.serve.source import load
from tickpath.serve.stream import Packed, Stream
from tickpath.serve.unruly import Unruly, UnrulyPlan

NONE = LinePlan()
SESSION = b"0000000001"


@pytest.fixture
def chance():
    return random.Random(11)


def faults(plan: LinePlan = NONE, seed: int = 1, name: str = "A") -> LineFaults:
    return LineFaults(plan, seed, name)


# ---------------------------------------------------------------- captures


def mold(messages: list[bytes], first: int) -> bytes:
    return itch_messages.frame(itch_messages.mold(messages, first))


def write(path, payloads: list[bytes], step_ns: int = US):
    packets = [Packet(SECOND + at * step_ns, raw) for at, raw in enumerate(payloads)]
    path.write_bytes(pcap(packets))
    return str(path)


def test_itch_capture(tmp_path, chance):
    messages = itch_feed(chance, 60, ["ABC"])
    frames = [mold(messages[at : at + 7], 1 + at) for at in range(0, 60, 7)]
    frames.insert(3, frames[1])  # sent twice
    frames.insert(5, itch_messages.frame(b"something else"))
    frames += [mold([], 61), itch_messages.frame(itch_messages.mold([], 61, number=0xFFFF))]
    (stream,) = load([write(tmp_path / "day.pcap", frames)])
    assert (stream.codec, stream.session, stream.first) == (moldudp64, SESSION, 1)
    assert stream.messages == messages
    assert [(each.first, each.behind) for each in stream.packets] == [
        (at, min(at + 7, 61)) for at in range(1, 61, 7)
    ]
    times = [each.ts_ns for each in stream.packets]
    assert times == sorted(times) and times[0] == SECOND


def test_pitch_capture_of_several_units_and_files(tmp_path, chance):
    units = {unit: pitch_feed(chance, 30, [f"U{unit}"]) for unit in (1, 4)}
    frames = [
        pitch_messages.unit(units[unit][at : at + 4], unit, 1 + at)
        for at in range(0, 30, 4)
        for unit in units
    ]
    framed = [itch_messages.frame(each, ("224.0.62.2", 30001)) for each in frames]
    paths = [write(tmp_path / "a.pcap", framed[:7]), write(tmp_path / "b.pcap", framed[6:])]
    streams = load(paths)
    assert [(each.codec, each.unit) for each in streams] == [
        (sequenced_unit, 1),
        (sequenced_unit, 4),
    ]
    assert [each.messages for each in streams] == list(units.values())


def test_daily_file(tmp_path, chance):
    messages = itch_feed(chance, 200, ["ABC", "DEF"])
    path = tmp_path / "day.itch"
    path.write_bytes(itch_messages.run(messages))
    (stream,) = load([str(path)])
    assert stream.messages == messages and stream.session == b"TICKPATH01"
    assert [m for p in stream.packets for m in moldudp64.split(stream.datagram(p)).messages] == (
        messages
    )
    assert len(stream.packets) > 100  # messages of the feed are up to 2 ms apart


def test_packets_that_overlap(tmp_path, chance):
    messages = itch_feed(chance, 20, ["ABC"])
    cuts = [(0, 6), (3, 9), (9, 12), (11, 20)]
    frames = [mold(messages[a:b], 1 + a) for a, b in cuts]
    (stream,) = load([write(tmp_path / "day.pcap", frames)])
    assert stream.messages == messages
    assert [(each.first, each.behind) for each in stream.packets] == [
        (1, 7),
        (7, 10),
        (10, 13),
        (13, 21),
    ]


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (slice(2, 4), "8 messages of session 0000000001 are missing, the first is number 9; "),
        (slice(1, 2), "4 messages of session 0000000001 are missing, the first is number 5; "),
    ],
)
def test_capture_with_a_hole_is_refused(tmp_path, chance, drop, message):
    messages = itch_feed(chance, 40, ["ABC"])
    frames = [mold(messages[at : at + 4], 1 + at) for at in range(0, 40, 4)]
    del frames[drop]
    path = write(tmp_path / "day.pcap", frames)
    with pytest.raises(ServeError, match=message):
        load([path])


def test_two_feeds_in_one_capture_are_refused(tmp_path, chance):
    one, two = itch_feed(chance, 20, ["ABC"]), itch_feed(chance, 20, ["DEF"])
    path = write(tmp_path / "day.pcap", [mold(one, 1), mold(two, 1)])
    with pytest.raises(ServeError, match="two messages have number"):
        load([path])


def test_capture_that_is_too_long(tmp_path, chance, monkeypatch):
    monkeypatch.setattr(source, "MAX_MESSAGES", 30)
    messages = itch_feed(chance, 40, ["ABC"])
    frames = [mold(messages[at : at + 4], 1 + at) for at in range(0, 40, 4)]
    assert len(load([write(tmp_path / "ok.pcap", frames[:7] + frames[:7])])[0].messages) == 28
    daily = tmp_path / "day.itch"
    daily.write_bytes(itch_messages.run(messages))
    for path in (write(tmp_path / "day.pcap", frames), str(daily)):
        with pytest.raises(ServeError, match="more than 30 messages, which are kept in memory"):
            load([path])


def test_several_daily_files_are_one_session(tmp_path, chance):
    messages = itch_feed(chance, 60, ["ABC"])
    paths = [tmp_path / "one.itch", tmp_path / "two.itch"]
    for path, part in zip(paths, (messages[:25], messages[25:]), strict=True):
        path.write_bytes(itch_messages.run(part))
    (stream,) = load(map(str, paths))
    assert stream.messages == messages


def test_capture_without_a_feed_is_refused(tmp_path):
    path = write(tmp_path / "day.pcap", [itch_messages.frame(b"hello")])
    with pytest.raises(ServeError, match=r"day\.pcap: no ITCH over MoldUDP64 and no PITCH"):
        load([path])
    daily = tmp_path / "day.itch"
    daily.write_bytes(itch_messages.run(itch_feed(random.Random(1), 20, ["A"])))
    with pytest.raises(ServeError, match="a daily file is ITCH"):
        load([str(daily)], "pitch")


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("feed", ["itch50", "pitch"])
def test_image_at_every_message(feed, chance):
    """A snapshot gives the books, the queues' order and the time of every moment."""
    messages = (itch_feed if feed == "itch50" else pitch_feed)(chance, 250, ["AB", "CDEFGHIJ"[:8]])
    books_of = ItchBooks if feed == "itch50" else PitchBooks
    codec = moldudp64 if feed == "itch50" else sequenced_unit
    stream = Stream(codec, SESSION, 0, 1, messages, [])
    image, clean = StreamImage(stream), books_of()
    for number, message in enumerate(messages, 1):
        clean.apply(message)
        stream.next_sequence = number + 1
        if number % 5:
            continue
        next_sequence, orders, snapshot = image.snapshot()
        restored = books_of()
        for each in snapshot:
            restored.apply(each)
        assert (next_sequence, orders) == (number + 1, len(clean.orders))
        assert restored.queues() == clean.queues()
        assert restored.digest == clean.digest
        assert restored.symbols >= clean.symbols - {"CDEFGHIJ"}
        if feed == "pitch":
            assert restored.seconds == clean.seconds
    assert not any(image.image.counters.values())


def test_image_ends_with_the_time_that_the_feed_goes_on_with():
    def add(order_id: int) -> bytes:
        return pitch_messages.message(
            "add_order_long",
            order_id=order_id,
            side_indicator="B",
            quantity=5,
            symbol="AB",
            price=7,
        )

    def time(seconds: int) -> bytes:
        return pitch_messages.message("time", time=seconds)

    messages = [time(1), add(1), time(2), add(2), time(3)]
    stream = Stream(sequenced_unit, b"", 1, 1, messages, [])
    image = StreamImage(stream)
    stream.next_sequence = 6
    assert image.snapshot() == (6, 2, messages)
    assert image.snapshot() == (6, 2, messages)


def test_unit_clear_empties_the_image(chance):
    messages = [*pitch_feed(chance, 60, ["AB"]), pitch_messages.message("unit_clear")]
    stream = Stream(sequenced_unit, b"", 1, 1, messages, [])
    stream.next_sequence = 62
    assert StreamImage(stream).snapshot()[:2] == (62, 0)


def test_image_counts_what_it_does_not_know():
    stray = itch_messages.message("D", 1, 5, ref=99)
    stream = Stream(moldudp64, SESSION, 0, 1, [stray, b"??", stray[:-1]], [])
    stream.next_sequence = 4
    image = StreamImage(stream)
    assert image.snapshot() == (4, 0, [])
    assert image.image.counters == {"orders_unknown": 1, "messages_unknown": 2}


# ---------------------------------------------------------------- publishing


def played(streams, lines, both, pace: Pace, until_ns: int = SECOND) -> list:
    """(when, line, datagram) of everything that is sent, each at its own deadline."""
    publisher = Publisher(streams, lines, both, pace, 0)
    sent, now_ns = [], 0
    while now_ns <= until_ns:
        sent += ((now_ns, each.line, each.datagram) for each in publisher.poll(now_ns))
        now_ns = max(publisher.next_deadline, now_ns + 1)
    return sent


def test_wire_pace(chance):
    (stream,) = streams_of(Plan(messages=100), chance)
    sent = played([stream], [faults(), faults(name="B")], faults(name="all"), Pace(factor=0.5))
    first = stream.packets[0].ts_ns
    expected = [
        (2 * (each.ts_ns - first), line, stream.datagram(each))
        for each in stream.packets
        for line in (0, 1)
    ]
    assert sent[: len(expected)] == expected


def test_packets_per_second(chance):
    (stream,) = streams_of(Plan(messages=100), chance)
    pace = Pace(packets_per_second=1_000)
    sent = played([stream], [faults()], faults(name="all"), pace)
    whole = len(stream.packets)
    assert [each[0] for each in sent[:whole]] == [n * MS for n in range(whole)]


def test_heartbeats_and_the_end(chance):
    (stream,) = streams_of(Plan(messages=20), chance)
    pace = Pace(packets_per_second=1e6, heartbeat_ns=100 * MS, ends=2)
    sent = played([stream], [faults()], faults(name="all"), pace)
    rest = [moldudp64.split(each[2]) for each in sent[len(stream.packets) :]]
    assert [each.behind for each in rest] == [21] * len(rest)
    assert [each.is_end for each in rest[:4]] == [True, True, False, False]


def test_what_is_published_can_be_asked_for_and_nothing_else(chance):
    (stream,) = streams_of(Plan(messages=100), chance)
    publisher = Publisher([stream], [faults(LinePlan(loss=1))], faults(), Pace(factor=1.0), 0)
    assert stream.fitting(1, 5, 1_400) is None
    while not publisher.has_sent_all:
        now_ns = publisher.next_deadline
        assert publisher.poll(now_ns) == []  # everything is lost
        behind = stream.next_sequence
        assert stream.fitting(behind, 1, 1_400) is None
        assert moldudp64.split(stream.fitting(behind - 1, 5, 1_400)).behind == behind
    assert stream.next_sequence == stream.behind


def test_same_seed_same_feed(chance):
    plan = LinePlan(loss=0.2, duplicate=0.2, reorder=0.2, corrupt=0.2, jitter_us=50, burst=0.3)
    runs = []
    for seed in (5, 5, 6):
        (stream,) = streams_of(Plan(messages=200), random.Random(1))
        lines = [faults(plan, seed, "A"), faults(plan, seed, "B")]
        runs.append(played([stream], lines, faults(LinePlan(loss=0.1), seed), Pace(factor=1.0)))
    assert runs[0] == runs[1] != runs[2]
    assert [each for each in runs[0] if each[1] == 0] != [each for each in runs[0] if each[1] == 1]


def test_losses_of_one_line_do_not_change_the_other(chance):
    sent = []
    for loss in (0.0, 0.5):
        (stream,) = streams_of(Plan(messages=200), random.Random(1))
        lines = [faults(LinePlan(loss=loss), 1, "A"), faults(LinePlan(loss=0.3), 1, "B")]
        run = played([stream], lines, faults(name="all"), Pace(factor=1.0))
        sent.append([each for each in run if each[1] == 1])
    assert sent[0] == sent[1]


@pytest.mark.parametrize("what", ["loss", "duplicate", "corrupt", "reorder"])
def test_counts_are_what_was_done(what):
    line = faults(LinePlan(**{what: 0.25}, reorder_us=1_000))
    raw = itch_messages.mold([itch_messages.message("S", 0, 1, event_code="O")], 1)
    fates = [line.copies(moldudp64, raw) for _ in range(4_000)]
    seen = {
        "loss": sum(not each for each in fates),
        "duplicate": sum(len(each) == 2 for each in fates),
        "corrupt": sum(any(copy != raw for _, copy in each) for each in fates),
        "reorder": sum(any(late for late, _ in each) for each in fates),
    }
    counted = {"loss": "lost", "duplicate": "duplicated", "corrupt": "corrupted"}
    assert line.counters[f"A_{counted.get(what, 'delayed')}"] == seen[what]
    assert 800 < seen[what] < 1_200
    assert {name for name, count in seen.items() if count} - {"reorder"} <= {what}


def test_bursts_are_lost_in_a_row():
    line = faults(LinePlan(loss=0.01, burst=1.0, burst_packets=20))
    lost = [line.is_lost() for _ in range(5_000)]
    runs = "".join("x" if each else " " for each in lost).split()
    assert max(map(len, runs)) > 10
    assert line.counters["A_lost"] == sum(lost)


@pytest.mark.parametrize("codec", [moldudp64, sequenced_unit], ids=["moldudp64", "pitch"])
def test_damaged_packets_are_never_taken_for_whole_ones(codec, chance):
    (stream, *_) = streams_of(Plan(feed="itch50" if codec is moldudp64 else "pitch"), chance)
    line = faults()
    for packed in stream.packets:
        raw = stream.datagram(packed)
        assert codec.split(raw) is not None
        assert codec.split(line.damaged(codec, raw)) is None
    for raw in (codec.join(stream.session, stream.unit, 1, []),):
        assert codec.split(line.damaged(codec, raw)) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lost=0.1", r"--faults-a: 'lost=0.1': give NAME=NUMBER, with a name of loss, "),
        ("loss", r"--faults-a: 'loss': give"),
        ("loss=much", "--faults-a: loss='much' is no number"),
        ("loss=2", "--faults-a: Expected `float` <= 1"),
        ("burst_packets=0", "--faults-a: Expected `int` >= 1"),
    ],
)
def test_faults_that_cannot_be(text, message):
    with pytest.raises(ServeError, match=message):
        parse_plan(text, "--faults-a")


def test_faults_by_name():
    plan = parse_plan("loss=0.01,jitter_us=50,burst_packets=3", "--faults-a")
    assert plan == LinePlan(loss=0.01, jitter_us=50.0, burst_packets=3)
    assert parse_plan("", "--faults-a") == NONE


def test_unruliness_of_one_kind_does_not_shift_another():
    draws = []
    for cut in (0.0, 1.0):
        unruly = Unruly(UnrulyPlan(refuse=0.5, cut=cut), 1, "x")
        draws.append([(unruly.cuts(), unruly.refuses())[1] for _ in range(50)])
    assert draws[0] == draws[1] and len(set(draws[0])) == 2


def test_packets_as_they_were():
    stream = Stream(moldudp64, SESSION, 0, 5, [b"ab", b"c", b"d"], [Packed(5, 7, 0)])
    assert stream.datagram(stream.packets[0]) == moldudp64.join(SESSION, 0, 5, [b"ab", b"c"])
    assert stream.behind == 8
