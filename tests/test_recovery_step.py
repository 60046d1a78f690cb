"""One line's steps: whole lists of actions, and an injected clock."""

import pytest

from tickpath.recovery.event import (
    Advanced,
    Answer,
    Ask,
    Clear,
    CloseSnapshot,
    Deliver,
    DeliverSnapshot,
    GiveUp,
    Hole,
    OpenSnapshot,
    Refused,
    SnapshotFailed,
    SnapshotReady,
    Splice,
    Tick,
)
from tickpath.recovery.limits import SECOND_NS, Limits
from tickpath.recovery.line import Line
from tickpath.recovery.state import Refusal, State
from tickpath.recovery.step import step

LIMITS = Limits(
    request_messages=10,
    requests_under_way=3,
    answer_timeout_ns=100,
    request_attempts=2,
    fill_timeout_ns=1_000,
    fill_max_messages=50,
    kept_packets=2,
    snapshot_attempts=2,
    snapshot_timeout_ns=5_000,
    snapshot_retry_ns=500,
    stale_retry_ns=10_000,
    stale_retries=2,
)


class Driven:
    """A line, and everything that it wanted done."""

    def __init__(self, servers: int = 1, has_snapshot: bool = True, limits: Limits = LIMITS):
        self.line = Line(limits, servers, has_snapshot)
        self.now_ns = 0

    def on(self, event, now_ns: int | None = None) -> list:
        self.now_ns = self.now_ns if now_ns is None else now_ns
        return step(self.line, event, self.now_ns)

    @property
    def state(self) -> State:
        return self.line.state


def synchronised(**options) -> Driven:
    driven = Driven(**options)
    assert driven.on(Advanced(100)) == []
    assert driven.state is State.SYNCHRONISED
    return driven


def answer(first: int, behind: int) -> Answer:
    return Answer(first, behind, b"%d-%d" % (first, behind))


def delivery(first: int, behind: int) -> Deliver:
    return Deliver(b"%d-%d" % (first, behind))


# ---------------------------------------------------------------- asking


def test_nothing_missing():
    driven = Driven()
    assert driven.state is State.UNKNOWN
    assert driven.line.next_deadline is None
    assert driven.on(Advanced(1)) == []
    assert driven.on(Advanced(7)) == []
    assert (driven.state, driven.line.next) == (State.SYNCHRONISED, 7)
    assert driven.line.next_deadline is None


def test_gap_fill():
    driven = synchronised()
    assert driven.on(Hole(100, 124)) == [Ask(0, 100, 10), Ask(0, 110, 10), Ask(0, 120, 5)]
    assert driven.state is State.GAP_FILL
    assert driven.on(answer(100, 110)) == [delivery(100, 110)]
    assert driven.on(answer(110, 120)) == [delivery(110, 120)]
    assert driven.on(answer(120, 125)) == [delivery(120, 125)]
    assert driven.state is State.SYNCHRONISED
    assert driven.line.counters == {
        "holes": 1,
        "messages_missing": 25,
        "requests": 3,
        "packets_recovered": 3,
        "messages_recovered": 25,
        "holes_filled": 1,
    }


def test_backfill_of_a_late_join():
    driven = Driven()
    assert driven.on(Hole(1, 10)) == [Ask(0, 1, 10)]
    assert driven.state is State.BACKFILL
    assert driven.on(answer(1, 11)) == [delivery(1, 11)]
    assert driven.state is State.SYNCHRONISED


def test_answers_out_of_order_are_kept():
    driven = synchronised()
    driven.on(Hole(100, 129))
    assert driven.on(answer(120, 130)) == []
    assert driven.on(answer(110, 120)) == []
    assert driven.on(answer(100, 110)) == [
        delivery(100, 110),
        delivery(110, 120),
        delivery(120, 130),
    ]
    assert driven.state is State.SYNCHRONISED


def test_answers_beyond_what_is_kept_are_asked_for_again():
    driven = synchronised(limits=Limits(request_messages=1, requests_under_way=4, kept_packets=2))
    driven.on(Hole(100, 103))
    assert [driven.on(answer(each, each + 1)) for each in (101, 102, 103)] == [[], [], []]
    assert driven.line.counters["answers_not_kept"] == 1
    assert driven.on(answer(100, 101)) == [
        delivery(100, 101),
        delivery(101, 102),
        delivery(102, 103),
        Ask(0, 103, 1),
    ]


def test_answer_with_less_than_was_asked_for():
    driven = synchronised()
    driven.on(Hole(100, 109))
    assert driven.on(answer(100, 104)) == [delivery(100, 104), Ask(0, 104, 6)]
    assert driven.on(answer(104, 112)) == [delivery(104, 112)]
    assert driven.state is State.SYNCHRONISED
    assert driven.line.counters["messages_recovered"] == 10


def test_answers_nobody_waits_for():
    driven = synchronised()
    assert driven.on(answer(90, 95)) == []
    driven.on(Hole(100, 105))
    assert driven.on(answer(90, 95)) == []
    assert driven.on(answer(106, 110)) == []
    assert driven.line.counters["answers_late"] == 2
    assert driven.line.counters["answers_unwanted"] == 1


def test_silence_repeats_the_request_then_turns_to_the_next_server():
    driven = synchronised(servers=2)
    assert driven.on(Hole(100, 103)) == [Ask(0, 100, 4)]
    assert driven.line.next_deadline == 100
    assert driven.on(Tick(), 99) == []
    assert driven.on(Tick(), 100) == [Ask(0, 100, 4)]
    assert driven.on(Tick(), 200) == [Ask(1, 100, 4)]
    assert driven.on(Tick(), 300) == [Ask(1, 100, 4)]
    assert driven.on(Tick(), 400) == [OpenSnapshot(104)]
    assert driven.state is State.SNAPSHOT
    assert driven.line.counters["requests_timed_out"] == 4
    assert driven.line.counters["servers_changed"] == 1


def test_no_progress_for_too_long():
    slow = Limits(answer_timeout_ns=10_000, fill_timeout_ns=1_000, request_attempts=100)
    driven = synchronised(limits=slow)
    driven.on(Hole(100, 103))
    assert driven.on(Tick(), 999) == []
    assert driven.on(answer(100, 102)) == [delivery(100, 102), Ask(0, 102, 2)]
    assert driven.on(Tick(), 1_998) == []
    assert driven.on(Tick(), 1_999) == [OpenSnapshot(104)]


def test_late_copy_fills_the_hole():
    driven = synchronised()
    driven.on(Hole(100, 103))
    assert driven.on(Advanced(102)) == []
    assert driven.state is State.GAP_FILL
    assert driven.on(Advanced(120)) == []
    assert (driven.state, driven.line.next) == (State.SYNCHRONISED, 120)
    assert driven.line.counters["holes_filled_live"] == 1


def test_hole_that_is_told_again():
    driven = synchronised()
    assert driven.on(Hole(100, 119)) == [Ask(0, 100, 10), Ask(0, 110, 10)]
    assert driven.on(Hole(100, 119)) == []
    assert driven.on(Hole(105, 119)) == []  # some of it came live
    assert driven.on(Hole(105, 107)) == []  # a later packet was kept after all
    assert driven.line.counters["holes"] == 1
    assert driven.on(answer(105, 108)) == [delivery(105, 108)]
    assert driven.state is State.SYNCHRONISED


def test_answer_that_the_engine_did_not_take():
    driven = synchronised()
    driven.on(Hole(100, 119))
    assert driven.on(answer(100, 105), 10) == [delivery(100, 105), Ask(0, 105, 5)]
    assert driven.on(Hole(100, 119), 20) == [Ask(0, 100, 5)]
    assert driven.line.counters["answers_not_taken"] == 1
    assert driven.line.progress_ns == 10


def test_kept_answers_are_not_delivered_behind_the_hole():
    driven = synchronised()
    driven.on(Hole(100, 129))
    assert driven.on(answer(105, 130)) == []  # the first ten are under way
    assert driven.on(Hole(100, 109)) == []  # the engine holds what is behind
    assert driven.on(answer(100, 110)) == [delivery(100, 110)]
    assert driven.state is State.SYNCHRONISED


def test_kept_answers_that_have_come_otherwise():
    driven = synchronised()
    driven.on(Hole(100, 119))
    assert driven.on(answer(110, 112)) == [Ask(0, 112, 8)]
    assert driven.on(answer(100, 112)) == [delivery(100, 112)]
    assert driven.on(answer(112, 120)) == [delivery(112, 120)]
    assert driven.state is State.SYNCHRONISED


# ---------------------------------------------------------------- refusals


def test_quota_of_the_second():
    driven = synchronised(limits=Limits(request_messages=10, fill_timeout_ns=2 * SECOND_NS))
    driven.on(Hole(100, 103))
    assert driven.on(Refused(0, 100, Refusal.SECOND), 5) == []
    assert driven.line.next_deadline == 5 + SECOND_NS
    assert driven.on(Tick(), 4 + SECOND_NS) == []
    assert driven.on(Tick(), 5 + SECOND_NS) == [Ask(0, 100, 4)]


@pytest.mark.parametrize("refusal", [Refusal.MINUTE, Refusal.OUT_OF_RANGE, Refusal.UNAVAILABLE])
def test_refusal_for_this_hole(refusal):
    driven = synchronised(servers=2)
    driven.on(Hole(100, 103))
    assert driven.on(Refused(0, 100, refusal)) == [Ask(1, 100, 4)]
    assert driven.on(Refused(0, 100, refusal)) == []  # nobody listens to that server now
    assert driven.on(Refused(1, 100, refusal)) == [OpenSnapshot(104)]
    driven.on(SnapshotReady(104, []))
    assert driven.on(Hole(104, 104)) == [Ask(1, 104, 1)]  # it may know of this one


def test_quota_of_the_minute_is_waited_for_where_there_is_nobody_else():
    driven = synchronised(has_snapshot=False)
    driven.on(Hole(100, 103))
    assert driven.on(Refused(0, 100, Refusal.MINUTE), 5) == []
    assert driven.line.next_deadline == 5 + 60 * SECOND_NS
    assert driven.on(Tick(), 5 + 60 * SECOND_NS) == [Ask(0, 100, 4)]


@pytest.mark.parametrize("refusal", [Refusal.DAY, Refusal.INVALID_UNIT])
def test_refusal_for_the_day(refusal):
    driven = synchronised()
    driven.on(Hole(100, 103))
    assert driven.on(Refused(0, 100, refusal)) == [OpenSnapshot(104)]
    driven.on(SnapshotReady(104, []))
    assert driven.on(Hole(104, 104)) == [OpenSnapshot(105)]


def test_too_many_messages_in_a_request():
    driven = synchronised()
    driven.on(Hole(100, 103))
    asked = driven.on(Refused(0, 100, Refusal.COUNT))
    assert asked == [Ask(0, 100, 4)]
    driven.line.request_messages = 2
    assert driven.on(Refused(0, 100, Refusal.COUNT)) == [
        Ask(0, each, 1) for each in (100, 101, 102)
    ]
    assert driven.on(Refused(0, 100, Refusal.COUNT)) == [OpenSnapshot(104)]


def test_refusals_without_end():
    limits = Limits(refusals=3, fill_timeout_ns=100 * SECOND_NS)
    driven = synchronised(limits=limits)
    driven.on(Hole(100, 103))
    for number in range(3):
        now_ns = number * SECOND_NS
        assert driven.on(Refused(0, 100, Refusal.SECOND), now_ns) == []
        assert driven.on(Tick(), now_ns + SECOND_NS) == [Ask(0, 100, 4)]
    assert driven.on(Refused(0, 100, Refusal.SECOND)) == [OpenSnapshot(104)]
    assert driven.line.counters["refusals_too_many"] == 1


# ---------------------------------------------------------------- snapshots


def test_hole_that_is_too_wide():
    driven = synchronised()
    assert driven.on(Hole(100, 150)) == [OpenSnapshot(151)]
    ready = SnapshotReady(160, [b"one", b"two"])
    assert driven.on(ready) == [
        CloseSnapshot(),
        Clear(),
        DeliverSnapshot([b"one", b"two"]),
        Splice(160),
    ]
    assert (driven.state, driven.line.next) == (State.SYNCHRONISED, 160)
    assert driven.line.counters["holes_too_wide"] == 1


def test_wide_hole_without_snapshots_is_asked_for():
    driven = synchronised(has_snapshot=False)
    assert len(driven.on(Hole(100, 1_000))) == 3
    assert driven.state is State.GAP_FILL


def test_nobody_to_ask_and_no_snapshot():
    driven = synchronised(servers=0, has_snapshot=False)
    assert driven.on(Hole(100, 103)) == [GiveUp(100, 103)]
    assert (driven.state, driven.line.next) == (State.STALE, 104)
    assert driven.line.next_deadline is None


def test_snapshot_that_covers_a_part_of_the_hole():
    driven = synchronised()
    driven.on(Hole(100, 200))
    assert driven.on(SnapshotReady(195, [])) == [
        CloseSnapshot(),
        Clear(),
        DeliverSnapshot([]),
        Splice(195),
        Ask(0, 195, 6),
    ]
    assert driven.state is State.GAP_FILL
    assert driven.on(answer(195, 201)) == [delivery(195, 201)]
    assert driven.state is State.SYNCHRONISED


@pytest.mark.parametrize("sequence", [1, 99, 100])
def test_snapshot_that_is_too_old(sequence):
    driven = synchronised(servers=0)
    assert driven.on(Hole(100, 103)) == [OpenSnapshot(104)]
    assert driven.on(SnapshotReady(sequence, [b"old"]), 10) == [CloseSnapshot()]
    assert driven.line.next_deadline == 510
    assert driven.on(Tick(), 510) == [OpenSnapshot(104)]
    assert driven.line.counters["snapshots_too_old"] == 1


def test_snapshot_attempts_are_bounded():
    driven = synchronised(servers=0)
    driven.on(Hole(100, 103))
    assert driven.on(SnapshotFailed("refused"), 10) == [CloseSnapshot()]
    assert driven.on(Tick(), 509) == []
    assert driven.on(Tick(), 510) == [OpenSnapshot(104)]
    assert driven.line.next_deadline == 5_510
    assert driven.on(Tick(), 5_510) == [CloseSnapshot(), GiveUp(100, 103)]
    assert driven.state is State.STALE
    assert driven.line.counters["snapshots_timed_out"] == 1


def test_hole_filled_while_the_snapshot_is_fetched():
    driven = synchronised(servers=0)
    driven.on(Hole(100, 103))
    assert driven.on(answer(100, 104)) == [delivery(100, 104), CloseSnapshot()]
    assert driven.state is State.SYNCHRONISED
    assert driven.on(SnapshotReady(110, [])) == []
    assert driven.on(SnapshotFailed("closed")) == []
    assert driven.line.counters["snapshots_unwanted"] == 1


# ---------------------------------------------------------------- stale lines


def given_up(**options) -> Driven:
    driven = synchronised(servers=0, **options)
    driven.on(Hole(100, 103))
    driven.on(SnapshotFailed("refused"))
    driven.on(Tick(), 500)
    assert driven.on(SnapshotFailed("refused")) == [CloseSnapshot(), GiveUp(100, 103)]
    return driven


def test_stale_line_gets_good_again():
    driven = given_up()
    assert driven.on(Advanced(150), 600) == []
    assert driven.state is State.STALE
    assert driven.line.next_deadline == 10_500
    assert driven.on(Tick(), 10_500) == [OpenSnapshot(150)]
    assert driven.state is State.SNAPSHOT
    assert driven.on(SnapshotReady(155, [])) == [
        CloseSnapshot(),
        Clear(),
        DeliverSnapshot([]),
        Splice(155),
    ]
    assert (driven.state, driven.line.is_stale) == (State.SYNCHRONISED, False)


def test_stale_line_tries_a_bounded_number_of_times():
    driven = given_up()
    assert driven.on(Tick(), 10_500) == [OpenSnapshot(104)]
    assert driven.on(SnapshotFailed("refused"), 11_000) == [CloseSnapshot()]
    assert driven.state is State.STALE
    assert driven.on(Tick(), 21_000) == [OpenSnapshot(104)]
    assert driven.on(SnapshotFailed("refused"), 22_000) == [CloseSnapshot()]
    assert driven.line.next_deadline is None
    assert driven.state is State.STALE


def test_hole_of_a_stale_line_leaves_it_stale():
    driven = synchronised(has_snapshot=False)
    driven.on(Hole(100, 103))
    assert driven.on(Refused(0, 100, Refusal.OUT_OF_RANGE)) == [GiveUp(100, 103)]
    assert driven.on(Hole(110, 111)) == [Ask(0, 110, 2)]
    assert driven.state is State.GAP_FILL
    assert driven.on(answer(110, 112)) == [delivery(110, 112)]
    assert driven.state is State.STALE


def test_another_session():
    driven = Driven()
    assert driven.on(Hole(1, 4, b"MONDAY")) == [Ask(0, 1, 4)]
    assert driven.on(Hole(1, 2, b"TUESDAY")) == [Ask(0, 1, 2)]
    assert driven.state is State.BACKFILL
    assert driven.line.counters["sessions"] == 1
    assert driven.on(Hole(1, 0, b"WEDNESDAY")) == []
    assert (driven.state, driven.line.has_hole) == (State.UNKNOWN, False)
