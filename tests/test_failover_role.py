"""A node's role, event by event: whole lists of actions, and every refusal with its reason."""

import msgspec
import pytest

from tickpath.failover.member import Member
from tickpath.failover.note import Note, NoteError, decode
from tickpath.failover.role import Role
from tickpath.failover.role_action import (
    Abort,
    Acquire,
    Alarm,
    AskGateway,
    Done,
    Drain,
    Entered,
    Extend,
    Follow,
    Freeze,
    HandOver,
    Hold,
    Promote,
    ReadStore,
    RecordNote,
    Refused,
    Release,
    Renew,
    Require,
    Resume,
    StopSending,
    Undrain,
)
from tickpath.failover.role_config import RoleConfig
from tickpath.failover.role_event import (
    Acked,
    Acquired,
    Beat,
    Drained,
    Drill,
    Force,
    Frozen,
    GatewayAnswer,
    GatewayFailed,
    GatewayRefused,
    HandedOver,
    Health,
    Held,
    HoldTrading,
    Lost,
    Recorded,
    Released,
    Renewed,
    Required,
    ResumeTrading,
    Retire,
    SetMode,
    Standing,
    Stopped,
    Stored,
    StoreFailed,
    Switchover,
    Tick,
    UnknownResolved,
)
from tickpath.failover.role_state import RoleState

MS = 1_000_000
BEGIN = 1_000 * MS
A, B, C = Member("a", 1), Member("b", 1), Member("c", 1)


def note_of(epoch=1, active=A, in_sync=(B,), is_synchronous=True, hands_over=False):
    return Note(epoch, active, tuple(in_sync), is_synchronous, hands_over).encode()


HANDING = note_of(hands_over=True)


def standing(number=10, epoch=1, position=80, **more):
    return Standing(number, epoch, position, 0, **more)


class Bench:
    """A role, its time, and the requests that it made."""

    def __init__(self, member=B, **config):
        self.now_ns = BEGIN
        self.role = Role(member, RoleConfig(**config), BEGIN)
        self.asked = {}

    def step(self, event=Tick(), after_ms=0):  # noqa: B008 - frozen
        self.now_ns += int(after_ms * MS)
        actions = self.role.step(event, self.now_ns)
        for action in actions:
            if hasattr(action, "request"):
                self.asked[type(action)] = action.request
        return actions

    def answer(self, action, event, *values, after_ms=0):
        """Answer the last action of a type."""
        return self.step(event(self.asked[action], *values), after_ms)

    # -------------------------------------------------------- ways to a state

    def standby(self, where=None, told=10):
        self.step(where or standing())
        self.step(Beat(1, 1, told, told))
        return self

    def acquired(self, note=None, epoch=2):
        """A candidate that has been granted the lease, and asks on."""
        note = note_of() if note is None else note
        self.step(after_ms=50)
        self.answer(ReadStore, Stored, epoch - 1, "a", note)
        self.answer(Acquire, Acquired, epoch, self.now_ns, 50 * MS)
        return self

    def checked(self, note=None, epoch=2, gateway=(80, 10), where=None):
        """The answers that decide; gives the last one's actions."""
        note = note_of() if note is None else note
        self.answer(Freeze, Frozen, where or self.role.standing)
        self.answer(ReadStore, Stored, epoch, "b", note)
        return self.answer(AskGateway, GatewayAnswer, epoch, *gateway)

    def active(self, note=None, **more):
        """Active in epoch 2, alone, with an open gate behind record 12."""
        note = note_of() if note is None else note
        self.standby().acquired(note)
        self.checked(note, **more)
        self.answer(RecordNote, Recorded, True)
        self.answer(Require, Required, 12)
        return self

    def paired(self, member=A):
        """Active with one standby in sync, in epoch 2."""
        self.active()
        for _ in range(4):
            self.renewed(Acked(member, 2, 12, True), after_ms=10)
        self.answer(Require, Required, 13)
        self.renewed(Acked(member, 2, 13, True))
        self.answer(RecordNote, Recorded, True)
        assert self.role.in_sync.noted.in_sync == (member,)
        return self

    def draining(self, to=None):
        """Handing over, with the note of it recorded."""
        self.paired()
        assert kinds(self.step(Switchover(to))) == [RecordNote]
        assert kinds(self.answer(RecordNote, Recorded, True)) == [Drain]
        return self

    def handed(self, **more):
        """Active in epoch 2, which was handed over; its gate is shut."""
        self.standby()
        assert kinds(self.step(HandedOver("a", 1, 10))) == [Entered, Acquire]
        self.answer(Acquire, Acquired, 2, self.now_ns, 50 * MS)
        assert kinds(self.checked(HANDING, **more)) == [Promote, Entered]
        return self

    def renewed(self, event=Tick(), after_ms=0):  # noqa: B008 - frozen
        """An event, with the lease renewed if that was asked for."""
        actions = self.step(event, after_ms)
        for action in actions.copy():
            if isinstance(action, Renew):
                more = self.step(Renewed(action.request, self.now_ns, 50 * MS))
                actions += [each for each in more if not isinstance(each, Extend)]
        return actions


def kinds(actions):
    return [type(action) for action in actions]


# ---------------------------------------------------------------- standby and takeover


def test_a_node_that_is_not_ready_only_starts():
    bench = Bench()
    assert bench.step() == []
    assert bench.role.ready() == ["the engine has not said where it stands"]
    assert bench.step(standing(is_warm=False), 500) == []
    assert bench.role.ready() == ["not warm yet"]
    where = standing(is_whole=False, mismatch="build 3, the active has 4", diverged="record 7")
    assert bench.step(where) == []
    assert bench.role.ready() == [
        "its state is being loaded",
        "another version than the active's: build 3, the active has 4",
        "diverged: record 7",
    ]
    assert bench.role.state is RoleState.STARTING
    bench.step(Beat(1, 1, 10, 10))
    assert bench.step(standing()) == [Entered("STANDBY", "the engine is ready")]
    assert bench.role.ready() == []


def test_silence_then_everything_up_to_trading():
    bench = Bench().standby()
    assert bench.step(after_ms=49.9) == []
    note = note_of()
    assert bench.step(after_ms=0.1) == [
        Entered("CANDIDATE", "no active was heard for 50.0 ms"),
        ReadStore(1),
    ]
    assert bench.step(Stored(1, 1, "a", note)) == [Acquire(2, 50 * MS)]
    asked_ns = bench.now_ns
    assert bench.step(Acquired(2, 2, asked_ns, 50 * MS), 3) == [
        Freeze(3),
        ReadStore(4),
        AskGateway(5, 2),
    ]
    assert bench.step(GatewayAnswer(5, 2, 72, 9)) == []
    assert bench.step(Stored(4, 2, "b", note)) == []
    alone = Note(2, B, ()).encode()
    assert bench.step(Frozen(3, standing(11, position=88))) == [
        Promote(2, 11, 12, 72, asked_ns + 40 * MS),
        Entered("ACTIVE", "epoch 2 behind record 11"),
        RecordNote(6, 2, alone),
    ]
    assert bench.role.ready() == [
        "the in-sync set is not recorded yet",
        "trading is held: takeover",
    ]
    assert bench.step(Recorded(6, True)) == [Require(7, (), True)]
    assert bench.step(Required(7, 13)) == [Resume("takeover")]
    assert bench.role.ready() == [] and bench.role.epoch == 2
    assert bench.step(after_ms=7) == [Renew(8, 2)]
    renewed_ns = bench.now_ns
    assert bench.step(Renewed(8, renewed_ns, 50 * MS), 1) == [Extend(2, renewed_ns + 40 * MS)]


def test_beats_keep_a_standby_where_it_is():
    bench = Bench().standby()
    for sequence in range(2, 30):
        assert bench.step(Beat(1, sequence, 10, 10), after_ms=40) == []
    assert bench.step(Beat(1, 5, 10, 10), after_ms=40) == []
    assert bench.role.counters["beats_repeated"] == 1
    assert bench.step(Beat(0, 99, 10, 10), after_ms=5) == []
    assert bench.role.counters["beats_of_old_epochs"] == 1
    assert kinds(bench.step(after_ms=5)) == [Entered, ReadStore], "neither is a sign of life"


def test_a_lease_that_somebody_holds_is_asked_for_again():
    bench = Bench().standby()
    bench.step(after_ms=50)
    bench.answer(ReadStore, Stored, 1, "a", note_of())
    assert bench.answer(Acquire, Held, "c", 3) == []
    assert bench.role.ready() == ["c holds the lease, epoch 3"]
    assert bench.step(after_ms=4.9) == []
    assert kinds(bench.step(after_ms=0.1)) == [ReadStore]
    assert bench.step(Beat(3, 1, 12, 12)) == [Entered("STANDBY", "the active of epoch 3 is heard")]


def test_a_beat_does_not_undo_a_grant_that_is_on_its_way():
    bench = Bench().standby()
    bench.step(after_ms=50)
    bench.answer(ReadStore, Stored, 1, "a", note_of())
    assert bench.step(Beat(1, 2, 10, 10)) == []
    granted = bench.answer(Acquire, Acquired, 2, bench.now_ns, 50 * MS)
    assert kinds(granted) == [Freeze, ReadStore, AskGateway]
    assert bench.step(Beat(1, 3, 10, 10)) == [], "the active before has lost its lease"


def test_a_newer_active_ends_a_candidacy_under_a_lease():
    bench = Bench().standby().acquired()
    assert bench.step(Beat(3, 1, 12, 12)) == [
        Follow(),
        Release(bench.asked[Release], 2),
        Entered("STANDBY", "the active of epoch 3 is heard"),
    ]


NOT_ELIGIBLE = [
    (note_of(in_sync=[C]), "b/1 was not in sync in epoch 1; in sync: a/1, c/1"),
    (note_of(in_sync=[Member("b", 0)]), "b/1 was not in sync in epoch 1; in sync: a/1, b/0"),
    (b"{", "the store's note is not one of ours: Input data was truncated"),
    (b"x" * 5000, "the store's note has 5000 bytes; one of ours has at most 4096"),
]


@pytest.mark.parametrize(("note", "reason"), NOT_ELIGIBLE)
def test_who_may_not_take_over_does_not_ask_for_the_lease(note, reason):
    bench = Bench().standby()
    bench.step(after_ms=50)
    assert bench.answer(ReadStore, Stored, 1, "a", note) == []
    assert bench.role.ready() == [reason]
    assert bench.step(after_ms=49.9) == []
    assert kinds(bench.step(after_ms=0.1)) == [ReadStore]
    assert bench.role.counters["takeovers_refused"] == 1


@pytest.mark.parametrize(
    ("note", "reason"), [*NOT_ELIGIBLE, (b"", "the lease store has lost its note")]
)
def test_the_note_that_counts_is_the_one_read_under_the_lease(note, reason):
    bench = Bench().standby().acquired()
    assert bench.checked(note) == [Follow(), Release(bench.asked[Release], 2)]
    assert bench.role.ready() == [reason]


GATEWAY = [
    ((3, 80, 10), "the gateway has seen epoch 3, ours is 2"),
    (
        (2, 88, 11),
        "the gateway has 8 bytes of orders up to record 11 that this node, at 10, does not know",
    ),
    (
        (2, 8, 1),
        "the gateway is at byte 8 of the order stream, this node keeps it from 16 on",
    ),
    (
        (2, 72, 11),
        "the gateway is at record 11 with fewer bytes of orders than this node at record 10: "
        "one of them diverged",
    ),
]


@pytest.mark.parametrize(("answer", "reason"), GATEWAY)
def test_the_gateway_has_the_last_word(answer, reason):
    bench = Bench().standby(Standing(10, 1, 80, 16)).acquired()
    bench.answer(Freeze, Frozen, bench.role.standing)
    bench.answer(ReadStore, Stored, 2, "b", note_of())
    actions = bench.answer(AskGateway, GatewayAnswer, *answer)
    assert actions == [Follow(), Release(bench.asked[Release], 2)]
    assert bench.role.ready() == [reason]


def test_a_lag_behind_what_was_told_as_acknowledged():
    bench = Bench().standby(standing(9))
    bench.step(after_ms=50)
    bench.answer(ReadStore, Stored, 1, "a", note_of())
    assert bench.role.ready() == ["applied up to 9, 10 was told as acknowledged"]


def test_the_store_moved_on_under_the_candidate():
    bench = Bench().standby().acquired()
    bench.answer(Freeze, Frozen, standing())
    bench.answer(ReadStore, Stored, 3, "c", note_of())
    bench.answer(AskGateway, GatewayAnswer, 2, 80, 10)
    assert bench.role.ready() == ["the lease store is at epoch 3, ours was 2"]


def test_answers_that_do_not_come():
    bench = Bench().standby()
    bench.step(after_ms=50)
    assert bench.step(after_ms=25) == []
    assert bench.role.ready() == ["reading the lease store: no answer in time"]
    bench.step(after_ms=5)
    assert bench.answer(ReadStore, StoreFailed, "connection refused") == []
    assert bench.role.ready() == ["connection refused"]
    bench.step(after_ms=5)
    bench.answer(ReadStore, Stored, 1, "a", note_of())
    late = bench.asked[Acquire]
    assert bench.step(after_ms=25) == []
    assert bench.step(Acquired(late, 2, bench.now_ns, 50 * MS)) == [Release(5, 2)]
    assert bench.role.counters["late_answers"] == 1
    bench.step(after_ms=5)
    bench.answer(ReadStore, Stored, 2, None, note_of())
    bench.answer(Acquire, Acquired, 3, bench.now_ns, 50 * MS)
    assert kinds(bench.answer(AskGateway, GatewayFailed, "gone")) == [Follow, Release]


def test_a_grant_that_came_too_late_or_is_not_new():
    bench = Bench().standby()
    bench.step(after_ms=50)
    bench.answer(ReadStore, Stored, 1, "a", note_of())
    asked_ns = bench.now_ns
    actions = bench.step(Acquired(bench.asked[Acquire], 2, asked_ns - 40 * MS, 50 * MS))
    assert actions == []
    assert bench.role.ready() == ["the grant of epoch 2 came when it was over"]
    bench.step(after_ms=5)
    bench.answer(ReadStore, Stored, 5, None, note_of())
    actions = bench.answer(Acquire, Acquired, 5, bench.now_ns, 50 * MS)
    assert actions == [Release(bench.asked[Release], 5)]
    assert bench.role.ready() == ["the grant of epoch 5 is not above 5"]


def test_a_copy_of_the_grant_does_not_give_it_back():
    bench = Bench().standby().acquired()
    assert bench.answer(Acquire, Acquired, 2, bench.now_ns, 50 * MS) == []
    assert bench.role.counters["late_answers"] == 1 and bench.role.tenure.epoch == 2


def test_what_the_loop_does_too_late_is_undone():
    bench = Bench().standby().acquired()
    late = bench.asked[Freeze]
    bench.step(Beat(3, 1, 12, 12))
    assert bench.step(Frozen(late, standing())) == [Follow()]
    bench = Bench(drain_timeout_ns=5 * MS).draining("a")
    assert Undrain() in bench.renewed(after_ms=5)
    assert bench.answer(Drain, Drained, 13, 96)[0] == Undrain()


def test_a_candidate_whose_lease_ends_before_it_is_decided():
    bench = Bench(gateway_timeout_ns=100 * MS, store_timeout_ns=100 * MS).standby().acquired()
    bench.answer(Freeze, Frozen, standing())
    bench.answer(ReadStore, Stored, 2, "b", note_of())
    assert bench.answer(AskGateway, GatewayAnswer, 2, 80, 10, after_ms=40) == [Follow()]
    assert bench.role.ready() == ["the lease has ended"]


def test_the_first_active_of_all():
    bench = Bench(A)
    bench.step(Standing(0, 0, 0, 0))
    bench.acquired(b"", epoch=1)
    actions = bench.checked(b"", 1, (0, 0))
    assert actions[0] == Promote(1, 0, 1, 0, bench.now_ns + 40 * MS)
    assert kinds(actions) == [Promote, Entered, RecordNote]


# ---------------------------------------------------------------- the lease


def test_an_active_stops_at_the_end_of_its_lease_before_anything_else():
    bench = Bench().active()
    renew = next(a for a in bench.step(after_ms=10) if isinstance(a, Renew))
    late = Renewed(renew.request, bench.now_ns - 10 * MS, 50 * MS)
    reason = "the lease has ended by this node's own clock"
    assert bench.step(late, after_ms=30) == [
        StopSending(bench.asked[StopSending], reason),
        Entered("STOPPING", reason),
    ]
    assert bench.role.counters["late_answers"] == 1
    assert bench.answer(StopSending, Stopped) == [Entered("STANDBY", "stopped sending"), Follow()]
    assert bench.step(after_ms=49) == []
    assert kinds(bench.step(after_ms=1)) == [Entered, ReadStore]


def test_a_process_that_was_stopped_fences_itself_at_its_first_event():
    bench = Bench().paired()
    actions = bench.step(Acked(A, 2, 13, True), after_ms=5_000)
    assert kinds(actions) == [StopSending, Entered]


def test_a_renewal_that_fails_is_tried_again_until_the_end():
    bench = Bench().active()
    asked = []
    for _ in range(39):
        for action in bench.step(after_ms=1):
            if isinstance(action, Renew):
                asked.append(bench.now_ns - BEGIN - 50 * MS)
                bench.step(StoreFailed(action.request, "no route"))
    assert asked == [10 * MS, 20 * MS, 30 * MS]
    assert bench.role.counters["renewals_failed"] == 3 and bench.role.is_active
    assert kinds(bench.step(after_ms=1)) == [StopSending, Entered]


def test_a_renewal_never_moves_the_end_back():
    bench = Bench().active()
    renew = next(a for a in bench.step(after_ms=10) if isinstance(a, Renew))
    assert bench.step(Renewed(renew.request, bench.now_ns - 30 * MS, 50 * MS)) == []


@pytest.mark.parametrize(
    "event",
    [
        lambda bench: Lost(bench.asked[Renew], "epoch 3 was granted"),
        lambda bench: Beat(3, 1, 20, 20),
        lambda bench: GatewayRefused(2, 3, "epoch 3 was seen"),
    ],
)
def test_what_ends_an_active_at_once(event):
    bench = Bench().active()
    bench.step(after_ms=10)
    actions = bench.step(event(bench))
    assert isinstance(actions[0], StopSending), "before anything else"
    assert bench.role.state is RoleState.STOPPING


def test_a_refusal_of_another_epoch_changes_nothing():
    bench = Bench().active()
    assert bench.step(GatewayRefused(1, 2, "epoch 2 was seen")) == []
    assert bench.role.counters["refusals_of_old_epochs"] == 1


def test_a_loop_that_does_not_stop_ends_the_process():
    bench = Bench().active()
    bench.step(Beat(3, 1, 20, 20))
    assert [action for _ in range(33) for action in bench.step(after_ms=3)] == []
    assert kinds(bench.step(after_ms=1)) == [Abort, Entered]
    assert bench.role.state is RoleState.RETIRED


def test_a_process_that_stood_still_gave_its_loop_no_time_to_stop():
    bench = Bench().active()
    bench.step(Beat(3, 1, 20, 20))
    assert [action for _ in range(10) for action in bench.step(after_ms=5)] == []
    assert bench.step(after_ms=10_000) == []
    assert kinds(bench.answer(StopSending, Stopped)) == [Entered, Follow]
    assert bench.role.state is RoleState.STANDBY


def test_a_loop_that_does_not_open_the_gate():
    bench = Bench().standby().acquired()
    bench.checked()
    bench.answer(RecordNote, Recorded, True)
    actions = [action for _ in range(10) for action in bench.renewed(after_ms=10)]
    reasons = [action.reason for action in actions if isinstance(action, StopSending)]
    assert reasons == ["changing the gate: no answer in time"]


def test_a_clock_that_goes_back_is_counted_and_time_stands_still():
    bench = Bench().active()
    bench.now_ns -= 5 * MS
    assert bench.step() == [] and bench.role.counters["clock_backwards"] == 1
    assert bench.role.now_ns == bench.now_ns + 5 * MS


# ---------------------------------------------------------------- the in-sync set


def test_a_standby_joins_gate_first_then_note():
    bench = Bench().active()
    for _ in range(3):
        assert bench.renewed(Acked(A, 2, 12, True), after_ms=10)[1:] == []
    joined = bench.renewed(Acked(A, 2, 12, True), after_ms=10)
    assert joined[1:] == [Require(bench.asked[Require], (A,), True)]
    assert bench.answer(Require, Required, 13) == [], "it has not acknowledged record 13"
    (note,) = bench.step(Acked(A, 2, 13, True))
    assert note == RecordNote(note.request, 2, Note(2, B, (A,)).encode())
    assert bench.step(Recorded(note.request, True)) == []
    assert bench.role.in_sync.committed() == 13


def test_a_standby_that_falls_silent_leaves_note_first_then_gate():
    bench = Bench().paired()
    actions = [action for _ in range(4) for action in bench.renewed(after_ms=10)]
    notes = [action for action in actions if not isinstance(action, Renew)]
    assert notes == [RecordNote(bench.asked[RecordNote], 2, Note(2, B, ()).encode())]
    assert bench.role.in_sync.gate == {A}
    assert bench.answer(RecordNote, Recorded, True) == [Require(bench.asked[Require], (), True)]


def test_a_standby_is_not_left_out_by_a_node_that_hears_nobody():
    bench = Bench().paired()
    actions = [action for _ in range(7) for action in bench.step(after_ms=5)]
    assert set(kinds(actions)) == {Renew}, "the standby is silent, and so is the store"
    assert StopSending in kinds(bench.step(after_ms=5)), "the lease ends, and the note stays"


def test_a_standby_is_left_out_once_the_store_is_heard_well_into_its_silence():
    bench = Bench(lease_ttl_ns=200 * MS).paired()
    heard_ns = bench.now_ns
    bench.step(after_ms=10)
    early = bench.answer(Renew, Renewed, heard_ns + 10 * MS, 200 * MS, after_ms=21)
    assert kinds(early) == [Extend, Renew], "it was asked before the silence was one"
    _, note = bench.answer(Renew, Renewed, heard_ns + 31 * MS, 200 * MS)
    assert decode(note.note).in_sync == ()


@pytest.mark.parametrize("ack", [Acked(A, 2, 13, False), Acked(A, 2, 13, True)])
def test_a_standby_that_is_not_ready_or_does_not_catch_up_leaves(ack):
    bench = Bench().paired()
    bench.step(standing(50, 2))
    bench.step(Acked(A, 2, 13, True))
    actions = [action for _ in range(9) for action in bench.renewed(ack, after_ms=5)]
    assert RecordNote in kinds(actions)


def test_another_incarnation_is_another_member():
    bench = Bench().paired()
    other = Member("a", 2)
    actions = []
    for _ in range(8):
        actions += bench.renewed(Acked(other, 2, 13, True), after_ms=10)
        for action in actions[-1:]:
            if isinstance(action, Require):
                bench.step(Required(action.request, 13))
    notes = [decode(action.note).in_sync for action in actions if isinstance(action, RecordNote)]
    assert notes[0] == (other,), "one step: the old one out, the new one in"


def test_acknowledgements_of_other_epochs_and_our_own_count_for_nothing():
    bench = Bench().active()
    for _ in range(6):
        assert bench.renewed(Acked(A, 1, 99, True), after_ms=10)[1:] == []
        assert bench.renewed(Acked(B, 2, 99, True)) == []
    assert bench.role.counters["acks_of_other_epochs"] == 6
    assert bench.role.in_sync.heard == {}


def test_running_alone_by_policy():
    bench = Bench(may_run_alone=False).standby().acquired()
    assert kinds(bench.checked()) == [Promote, Entered]
    for _ in range(30):
        assert not {RecordNote, Require} & set(kinds(bench.renewed(after_ms=10)))
    assert bench.role.ready()[0] == "no standby is in sync, and this node may not run alone"
    (note,) = bench.step(Acked(A, 2, 11, True))
    assert note == RecordNote(note.request, 2, Note(2, B, (A,)).encode())
    (gate,) = bench.step(Recorded(note.request, True))
    assert gate == Require(gate.request, (A,), True)
    assert bench.step(Required(gate.request, 12)) == [Resume("takeover")]
    actions = [action for _ in range(5) for action in bench.renewed(after_ms=10)]
    why = "no standby is in sync, and this node may not run alone"
    assert [action for action in actions if not isinstance(action, Renew)] == [Hold("gate", why)]
    assert bench.role.in_sync.gate == {A}, "orders still wait for it"
    assert bench.step(Acked(A, 2, 12, True)) == [Resume("gate")]


def test_a_note_that_is_not_answered_may_still_come_true():
    bench = Bench().active()
    for _ in range(4):
        bench.renewed(Acked(A, 2, 12, True), after_ms=10)
    bench.answer(Require, Required, 13)
    bench.step(Acked(A, 2, 13, True))
    assert bench.answer(RecordNote, StoreFailed, "no answer") == []
    assert kinds(bench.step(Acked(A, 2, 13, True), after_ms=5)) == [RecordNote], "again"
    bench.answer(RecordNote, Recorded, True)
    actions = [action for _ in range(5) for action in bench.renewed(after_ms=10)]
    reason = "the store never answered a note that may still come true"
    assert StopSending(bench.asked[StopSending], reason) in actions
    assert bench.role.counters["epochs_given_up"] == 1


def test_a_note_that_is_refused_ends_the_epoch():
    bench = Bench().standby().acquired()
    bench.checked()
    assert kinds(bench.answer(RecordNote, Recorded, False)) == [StopSending, Entered]


def test_modes_change_by_note_and_record():
    bench = Bench().paired()
    (note,) = bench.step(SetMode(False))
    assert note == RecordNote(note.request, 2, Note(2, B, (), False).encode())
    (gate,) = bench.step(Recorded(note.request, True))
    assert gate == Require(gate.request, (), False)
    assert bench.step(Required(gate.request, 14)) == [
        Done("mode", "asynchronous from record 14 on")
    ]
    (gate,) = bench.step(SetMode(True))
    assert gate == Require(gate.request, (A,), True)
    bench.step(Required(gate.request, 15))
    (note,) = bench.step(Acked(A, 2, 15, True))
    assert note == RecordNote(note.request, 2, Note(2, B, (A,), True).encode())
    assert bench.step(Recorded(note.request, True)) == [
        Done("mode", "synchronous from record 15 on")
    ]
    standby = Bench().standby()
    assert kinds(standby.step(SetMode(True))) == [Refused]


# ---------------------------------------------------------------- asynchronous, forced


ASYNC = note_of(is_synchronous=False, in_sync=())


def test_asynchronous_takeover_tells_what_is_lost_and_goes_on_behind_it():
    bench = Bench().standby(told=14).acquired(ASYNC)
    actions = bench.checked(ASYNC, gateway=(96, 12))
    text = "the gateway has 16 bytes of orders, up to record 12, that this node does not know"
    assert actions == [
        Promote(2, 10, 13, 96, bench.now_ns + 40 * MS, False, 4, 50 * MS, False, 16),
        Alarm("unknown_orders", text),
        Hold("unknown orders", text),
        Entered("ACTIVE", "epoch 2 behind record 10; 4 records lost"),
        RecordNote(bench.asked[RecordNote], 2, Note(2, B, (), False).encode()),
    ]
    bench.answer(RecordNote, Recorded, True)
    bench.answer(Require, Required, 14)
    assert bench.role.ready() == ["trading is held: unknown orders"]
    assert bench.step(UnknownResolved()) == [Resume("unknown orders"), Done("resume", "done")]


def test_asynchronous_takeover_within_the_lag_only():
    bench = Bench(max_lag_records=3).standby(told=14)
    bench.step(after_ms=50)
    bench.answer(ReadStore, Stored, 1, "a", ASYNC)
    assert bench.role.ready() == ["4 records behind, at most 3 are allowed"]
    bench = Bench(max_lag_records=3)
    bench.step(standing())
    bench.step(after_ms=50)
    bench.answer(ReadStore, Stored, 1, "a", ASYNC)
    assert bench.role.ready() == [
        "the active was never heard: how far behind this node is, is unknown"
    ]
    bench = Bench(max_lag_records=3).standby(told=12).acquired(ASYNC)
    bench.checked(ASYNC, gateway=(120, 14))
    assert bench.role.ready() == ["4 records behind the gateway, at most 3 are allowed"]


def test_an_alarm_for_a_lag_once():
    bench = Bench(mode="asynchronous", max_lag_records=3)
    bench.step(standing())
    bench.acquired(b"", 1)
    bench.checked(b"", 1)
    bench.answer(RecordNote, Recorded, True)
    bench.answer(Require, Required, 12)
    bench.step(Acked(A, 1, 12, True))
    (alarm,) = bench.step(standing(16))
    assert alarm == Alarm("lag", "the best standby is 4 records behind")
    assert bench.step(standing(17)) == []
    assert bench.step(Acked(A, 1, 17, True)) == []
    assert kinds(bench.step(standing(21))) == [Alarm]


def test_a_forced_takeover_states_the_loss():
    note = note_of(in_sync=[C])
    bench = Bench().standby(told=14)
    assert bench.step(Force(), 20) == [
        Entered("CANDIDATE", "the operator forces a takeover"),
        ReadStore(1),
    ]
    bench.answer(ReadStore, Stored, 1, "a", note)
    assert bench.answer(Acquire, Held, "a", 1) == [], "it breaks no lease"
    bench.step(Beat(1, 2, 14, 14), after_ms=5)
    bench.answer(ReadStore, Stored, 1, None, note)
    bench.answer(Acquire, Acquired, 2, bench.now_ns, 50 * MS)
    promote = bench.checked(note, gateway=(88, 11))[0]
    assert promote == Promote(2, 10, 12, 88, bench.now_ns + 40 * MS, True, 4, 0, False, 8)


def test_what_cannot_be_forced():
    bench = Bench().standby(standing(diverged="record 7"))
    assert bench.step(Force()) == [
        Refused("force", ("diverged: record 7", "this node is starting"))
    ]
    assert Bench().active().step(Force()) == [Refused("force", ("this node is active",))]
    bench = Bench(force_timeout_ns=20 * MS).standby()
    bench.step(Force())
    bench.step(StoreFailed(bench.asked[ReadStore], "no route"))
    assert kinds(bench.step(after_ms=20))[0] is Alarm


# ---------------------------------------------------------------- switchover


def test_a_planned_switchover():
    bench = Bench().paired()
    note = Note(2, B, (A,), hands_over=True).encode()
    assert bench.step(Switchover("a")) == [RecordNote(bench.asked[RecordNote], 2, note)]
    assert bench.renewed(Acked(A, 2, 14, True), 5) == [], "trading goes on meanwhile"
    assert bench.answer(RecordNote, Recorded, True) == [Drain(bench.asked[Drain])]
    assert bench.answer(Drain, Drained, 15, 96) == []
    (stop, entered) = bench.step(Acked(A, 2, 15, True))
    assert stop == StopSending(stop.request, "the role is handed over to a")
    assert entered == Entered("STOPPING", "the role is handed over to a")
    release, *others = bench.step(Stopped(stop.request))
    assert release == Release(release.request, 2)
    assert others == [
        HandOver("a", 2, 15),
        Entered("STANDBY", "a is to take over"),
        Follow(),
    ]
    assert bench.step(Released(release.request)) == []
    assert bench.step(after_ms=100) == [], "it is the other's turn"
    assert bench.step(Beat(3, 1, 16, 16)) == [
        Done("switchover", "handed over at record 15; epoch 3")
    ]


def test_the_other_side_of_a_switchover_waits_for_no_silence():
    bench = Bench().standby()
    assert bench.step(HandedOver("a", 1, 10)) == [
        Entered("CANDIDATE", "a hands the role over at 10"),
        Acquire(1, 50 * MS),
    ]
    assert bench.step(Beat(1, 2, 10, 10)) == [], "a late beat of the epoch that ended"
    assert bench.answer(Acquire, Held, "a", 1) == [], "it is being given back"
    assert bench.step(after_ms=0.9) == []
    assert kinds(bench.step(after_ms=0.1)) == [Acquire]
    bench.answer(Acquire, Acquired, 2, bench.now_ns, 50 * MS)
    actions = bench.checked()
    assert kinds(actions) == [Promote, Entered], "the other is about to follow: it is waited for"
    assert kinds(bench.step(Acked(A, 2, 11, True))) == [RecordNote]
    alone = Bench().handed()
    assert RecordNote not in kinds(alone.step(after_ms=4.9))
    assert RecordNote in kinds(alone.step(after_ms=0.1))
    assert alone.role.counters["notes_inherited"] == 1


def test_the_note_that_hands_over_opens_the_gate():
    bench = Bench().handed()
    assert bench.step(Acked(A, 2, 11, True)) == [Require(bench.asked[Require], (A,), True)]
    actions = bench.answer(Require, Required, 12)
    own = Note(2, B, (A,)).encode()
    assert kinds(actions) == [RecordNote, Resume]
    assert actions[0] == RecordNote(bench.asked[RecordNote], 2, own)
    bench.answer(RecordNote, StoreFailed, "no answer")
    assert bench.role.is_active and bench.role.in_sync.gate == {A}, "its heirs stay in the gate"


def test_heirs_that_are_not_heard_keep_the_gate_shut():
    config = {"in_sync_members": 2}
    bench = Bench(**config).standby()
    bench.step(HandedOver("a", 1, 10))
    bench.answer(Acquire, Acquired, 2, bench.now_ns, 50 * MS)
    bench.checked(note_of(in_sync=(B, C), hands_over=True))
    actions = bench.step(Acked(A, 2, 11, True))
    assert Require not in kinds(actions), "c may take over too, and may not have what leaves"


def test_a_note_that_hands_over_speaks_for_epochs_without_a_note():
    """Of two that may have led, the note names one: who is no heir has missed the other."""
    for hands_over, is_missed in ((True, True), (False, False)):
        bench = Bench(member=C).standby()
        bench.step(Force())
        note = note_of(hands_over=hands_over)
        bench.answer(ReadStore, Stored, 2, None, note)
        bench.answer(Acquire, Acquired, 3, bench.now_ns, 50 * MS)
        (promote, *_) = bench.checked(note, epoch=3)
        assert promote.missed_epochs is is_missed


def test_a_store_that_lost_the_note_of_a_switchover():
    bench = Bench().standby()
    bench.step(HandedOver("a", 1, 10))
    bench.answer(Acquire, Acquired, 2, bench.now_ns, 50 * MS)
    assert kinds(bench.checked(b"")) == [Follow, Release]
    assert bench.role.attempt.reasons == ("the lease store has lost its note",)


def test_handed_over_behind_what_is_applied_here():
    bench = Bench().standby()
    assert kinds(bench.step(HandedOver("a", 1, 12))) == [Entered], "no lease is asked for"
    assert bench.role.ready() == ["applied up to 10, handed over at 12"]
    assert bench.step(HandedOver("a", 0, 12)) == []
    assert bench.role.counters["handovers_ignored"] == 1


def test_nobody_takes_over():
    bench = Bench().draining()
    bench.answer(Drain, Drained, 13, 96)
    bench.answer(StopSending, Stopped)
    bench.answer(Release, StoreFailed, "no answer")
    assert bench.step(after_ms=199) == []
    actions = bench.step(after_ms=1)
    assert actions[0] == Alarm("handover_not_taken", "a did not take over in time")
    assert kinds(actions) == [Alarm, Entered, ReadStore]


def test_a_switchover_that_does_not_come_about():
    bench = Bench().draining()
    bench.answer(Drain, Drained, 15, 96)
    actions = [each for _ in range(11) for each in bench.renewed(Acked(A, 2, 14, True), 5)]
    reason = "the other has not acknowledged the last record yet, for too long"
    assert Undrain() in actions and Refused("switchover", (reason,)) in actions
    assert bench.role.is_active and bench.role.handover is None
    plain = Note(2, B, (A,)).encode()
    assert plain in [each.note for each in actions if isinstance(each, RecordNote)]


def test_a_switchover_whose_note_is_not_recorded():
    bench = Bench(store_timeout_ns=10 * MS, drain_timeout_ns=20 * MS).paired()
    bench.step(Switchover())
    actions = [each for _ in range(7) for each in bench.renewed(Acked(A, 2, 14, True), 5)]
    reason = "the note of it is not recorded yet, for too long"
    assert Refused("switchover", (reason,)) in actions and Drain not in kinds(actions)
    assert bench.role.is_active and bench.role.handover is None


def test_switchovers_that_are_refused():
    def refused(bench, to=None):
        (action,) = bench.step(Switchover(to))
        assert isinstance(action, Refused)
        return action.reasons

    assert refused(Bench().standby()) == ("this node is standby, not active",)
    assert refused(Bench().active()) == ("no standby is ready",)
    bench = Bench().paired()
    assert refused(bench, "c") == ("c is not in sync and ready",)
    bench.step(Switchover("a"))
    assert refused(bench, "a") == ("a switchover to a is under way",)
    assert kinds(bench.step(HoldTrading())) == [Refused]
    assert bench.role.counters["switchovers_refused"] == 2


def test_the_lease_ends_in_the_middle_of_a_switchover():
    bench = Bench(drain_timeout_ns=500 * MS).draining("a")
    bench.answer(Drain, Drained, 15, 96)
    assert kinds(bench.step(after_ms=41))[:1] == [StopSending]
    assert bench.role.handover is None and bench.role.counters["handovers_called_off"] == 1
    assert bench.answer(StopSending, Stopped) == [Entered("STANDBY", "stopped sending"), Follow()]


def test_bad_health_hands_over_once():
    config = {"hand_over_when_unhealthy": True, "unhealthy_after_ns": 15 * MS}
    bench = Bench(**config).paired()
    bench.step(Health(is_feed_fresh=False, breakers_open=("slow",)))
    actions = [each for _ in range(4) for each in bench.renewed(Acked(A, 2, 13, True), 10)]
    text = "handing over to a: its feed is stale; breaker slow is open"
    assert Alarm("unhealthy", text) in actions
    handing = Note(2, B, (A,), hands_over=True).encode()
    assert handing in [each.note for each in actions if isinstance(each, RecordNote)]
    bench = Bench(**config).paired()
    bench.step(Health(is_session_up=False))
    bench.step(Health())
    actions = [each for _ in range(3) for each in bench.renewed(Acked(A, 2, 13, True), 10)]
    assert RecordNote not in kinds(actions)


# ---------------------------------------------------------------- operator


def test_holds_by_source():
    bench = Bench().active()
    assert bench.step(HoldTrading()) == [
        Hold("operator", "the operator holds trading"),
        Done("hold", "done; held: operator"),
    ]
    assert bench.step(HoldTrading("breaker slow", "p99")) == [
        Hold("breaker slow", "p99"),
        Done("hold", "done; held: breaker slow, operator"),
    ]
    assert bench.step(ResumeTrading()) == [
        Resume("operator"),
        Done("resume", "done; held: breaker slow"),
    ]
    assert kinds(bench.step(HoldTrading("gate", ""))) == [Refused]
    assert bench.role.ready() == ["trading is held: breaker slow"]


def test_a_hold_outlives_its_active_and_policy_may_add_one():
    bench = Bench(after_takeover="hold").standby(standing(held=("gate", "operator", "takeover")))
    bench.acquired()
    text = "trading is resumed by the operator after a takeover"
    assert Hold("policy", text) in bench.checked()
    bench.answer(RecordNote, Recorded, True)
    bench.answer(Require, Required, 12)
    assert bench.role.holds == {"operator", "policy"}
    assert bench.step(ResumeTrading()) == [
        Resume("operator"),
        Resume("policy"),
        Done("resume", "done"),
    ]


def test_retiring():
    bench = Bench().active()
    assert kinds(bench.step(Retire())) == [StopSending, Entered, Done]
    assert kinds(bench.answer(StopSending, Stopped)) == [Release, Entered]
    assert bench.role.state is RoleState.RETIRED
    for event in (Tick(), Beat(9, 1, 1, 1), HandedOver("a", 9, 10), standing()):
        assert bench.step(event, 1000) == []
    assert "retired" in bench.role.ready()[0]
    standby = Bench().standby()
    assert kinds(standby.step(Retire())) == [Entered, Done]


def test_a_drill_changes_nothing():
    bench = Bench().standby()
    assert bench.step(Drill()) == [ReadStore(1), AskGateway(2, 0)]
    assert kinds(bench.step(Drill())) == [Refused]
    bench.step(GatewayAnswer(2, 1, 80, 10))
    (done,) = bench.step(Stored(1, 1, "a", note_of()), 2)
    text = "a takeover would succeed; it was answered in 2.000 ms"
    assert done == Done("drill", text) and bench.role.state is RoleState.STANDBY
    bench.step(Drill())
    bench.answer(AskGateway, GatewayAnswer, 1, 80, 10)
    refused = bench.answer(ReadStore, Stored, 1, "a", note_of(in_sync=[C]))
    assert refused == [Refused("drill", ("b/1 was not in sync in epoch 1; in sync: a/1, c/1",))]
    bench.step(Drill())
    assert bench.answer(AskGateway, GatewayFailed, "gone") == [Refused("drill", ("gone",))]


# ---------------------------------------------------------------- the rest


def test_due_times():
    bench = Bench().active()
    assert bench.role.due_ns == bench.now_ns + 5 * MS
    bench.step(after_ms=8)
    assert bench.role.due_ns == bench.now_ns + 2 * MS, "the renewal"


def test_configurations_that_contradict_themselves():
    with pytest.raises(ValueError, match="at least two renewals must fit into the 40000000 ns"):
        RoleConfig(lease_renew_ns=21 * MS)
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.toml.decode(b"beat_timout_ns = 5", type=RoleConfig)
    assert RoleConfig().tenure_ns == 40 * MS


def test_notes():
    note = Note(3, A, (B, C))
    assert decode(note.encode()) == note and decode(b"") is None
    assert note.heirs == (A, B, C)
    with pytest.raises(NoteError, match="not one of ours"):
        decode(b'{"epoch": 3}')


def test_what_is_no_event_is_an_error():
    with pytest.raises(TypeError, match="is no event of a role"):
        Bench().step("tick")


# ---------------------------------------------------------------- the gateway is away


def test_no_epoch_is_used_up_while_there_is_no_gateway():
    bench = Bench().standby()
    bench.step(Health(is_gateway_there=False))
    assert kinds(bench.step(after_ms=50)) == [Entered]
    for _ in range(20):
        assert bench.step(after_ms=5) == []
    assert bench.role.ready() == ["there is no connection to the gateway"]
    assert bench.role.counters["takeovers_without_gateway"] > 10
    bench.step(Health())
    assert kinds(bench.step(after_ms=5)) == [ReadStore]


def test_a_gateway_that_does_not_answer_is_asked_less_and_less():
    bench, gaps, last_ns = Bench(retry_gateway_ns=60 * MS).standby(), [], None
    bench.step(after_ms=50)
    for epoch in range(2, 9):
        while ReadStore not in bench.asked:
            bench.step(after_ms=1)
        if last_ns is not None:
            gaps.append((bench.now_ns - last_ns) // MS)
        bench.answer(ReadStore, Stored, epoch - 1, None, note_of())
        bench.answer(Acquire, Acquired, epoch, bench.now_ns, 50 * MS)
        bench.answer(AskGateway, GatewayFailed, "gone")
        bench.asked.clear()
        last_ns = bench.now_ns
    assert gaps == [5, 10, 20, 40, 60, 60]
    assert bench.role.counters["takeovers_without_answer"] == 7
