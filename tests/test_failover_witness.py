"""The witness's core: what it promises and grants, restarted at every moment; its messages."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lease_worlds import DirectWorld
from tickpath.failover.lease import Held, Lease, LeaseError, Lost, Stored
from tickpath.failover.witness import ASK_INTERVAL_NS, MAX_LEAP, Witness
from tickpath.failover.witness_client import WitnessClient
from tickpath.failover.witness_message import (
    MAX_DATAGRAM,
    Answer,
    Kept,
    Question,
    answer_bytes,
    answered,
    asked,
    cluster_id,
    question_bytes,
)
from tickpath.wire.table import WireError
from tickpath.wire.witness import WITNESS, Code

MS = 1_000_000
CLUSTER, ID = "tickpath", cluster_id("tickpath")
TTL_NS = 50 * MS
A, B = 11, 22


def witness(kept: Kept = Kept(), now_ns: int = 0, **options) -> Witness:  # noqa: B008 - frozen
    return Witness(CLUSTER, kept, now_ns, token=99, **options)


def ask(it: Witness, name: str, token: int, epoch: int, now_ns: int = 0, **more) -> Answer:
    """A question and its answer; the disk takes everything."""
    values = {"ttl_ns": TTL_NS, "node": "AB"[token == B], "number": 7, **more}
    step = it.receive(
        question_bytes(Question(name, token=token, epoch=epoch, **values), ID), now_ns
    )
    assert (step.answer is None) != (step.write is None)
    return answered(step.answer if step.write is None else it.written(), ID)


def held_by(token: int, epoch: int = 1, now_ns: int = 0) -> Witness:
    it = witness()
    assert ask(it, "prepare", token, epoch, now_ns).code == Code.DONE
    assert ask(it, "lease", token, epoch, now_ns).code == Code.DONE
    return it


def test_a_promise_is_written_before_it_is_given():
    it = witness()
    question = Question("prepare", 7, A, 5, TTL_NS, "A")
    step = it.receive(question_bytes(question, ID), 0)
    assert step.answer is None
    assert step.write == Kept(5, A, TTL_NS, it.max_ttl_ns, "A")
    assert it.kept == Kept()
    assert answered(it.written(), ID).kept.epoch == 5 and it.kept == step.write


def test_a_disk_that_refuses_changes_nothing():
    it = held_by(A)
    before = it.kept
    step = it.receive(question_bytes(Question("prepare", 8, B, 2, TTL_NS, "B"), ID), TTL_NS)
    assert step.write is not None
    answer = answered(it.not_written(), ID)
    assert (answer.code, answer.kept, it.kept) == (Code.DISK, before, before)
    assert it.counters["not_written"] == 1
    assert ask(it, "prepare", B, 2, TTL_NS).code == Code.DONE


def test_promises_rise():
    it = witness()
    assert ask(it, "prepare", A, 5).code == Code.DONE
    assert ask(it, "prepare", A, 5).code == Code.DONE  # the same datagram once more
    for epoch in (0, 4, 5):
        assert ask(it, "prepare", B, epoch).code == Code.OUTBID
    assert ask(it, "prepare", B, 5 + MAX_LEAP + 1).code == Code.TOO_HIGH
    assert ask(it, "prepare", B, 6).code == Code.DONE
    assert ask(it, "lease", A, 5).code == Code.OUTBID
    assert ask(it, "lease", A, 6).code == Code.OUTBID


def test_a_lease_runs_for_its_length():
    it = held_by(A)
    assert ask(it, "prepare", B, 2, TTL_NS - 1).code == Code.HELD
    answer = ask(it, "lease", A, 1, TTL_NS - 1)
    assert (answer.code, answer.remaining_ns, answer.is_running) == (Code.DONE, TTL_NS, True)
    assert ask(it, "prepare", B, 2, 2 * TTL_NS - 2).code == Code.HELD
    answer = ask(it, "lease", A, 1, 2 * TTL_NS - 1)
    assert (answer.code, answer.remaining_ns, answer.is_running) == (Code.LAPSED, 0, False)
    assert ask(it, "prepare", B, 2, 2 * TTL_NS - 1).code == Code.DONE


def test_a_lease_is_no_longer_than_was_promised():
    it = held_by(A)
    assert ask(it, "lease", A, 1, ttl_ns=TTL_NS + 1).code == Code.TOO_LONG
    assert ask(it, "lease", A, 1, ttl_ns=0).code == Code.TOO_LONG
    assert ask(it, "prepare", B, 2, TTL_NS, ttl_ns=it.max_ttl_ns + 1).code == Code.TOO_LONG
    assert ask(it, "prepare", B, 2, TTL_NS, ttl_ns=0).code == Code.TOO_LONG


def test_given_back_is_over():
    it = held_by(A)
    assert ask(it, "release", B, 1).code == Code.DONE  # not its own: nothing
    assert ask(it, "prepare", B, 2).code == Code.HELD
    assert ask(it, "release", A, 1).code == Code.DONE
    assert ask(it, "lease", A, 1).code == Code.RELEASED  # also a renewal that was on the way
    assert ask(it, "note", A, 1, note=b"x").code == Code.RELEASED
    assert ask(it, "prepare", B, 2).code == Code.DONE


def test_notes_are_of_the_newest_question():
    it = held_by(A)
    assert ask(it, "note", A, 1, number=20, note=b"second").code == Code.DONE
    assert ask(it, "note", A, 1, number=10, note=b"first, late").code == Code.DONE
    assert (it.kept.note, it.kept.note_epoch, it.kept.note_number) == (b"second", 1, 20)
    assert ask(it, "note", B, 1, number=30, note=b"not mine").code == Code.OUTBID
    assert ask(it, "read", B, 0).kept.note == b"second"
    assert ask(it, "lease", A, 1).kept.note == b""  # said to whoever reads only


def test_a_majoritys_epoch_is_learnt_from_its_holder():
    it = held_by(A)
    assert ask(it, "lease", B, 4, 10).code == Code.DONE
    assert (it.kept.epoch, it.kept.token, it.kept.node) == (4, B, "B")
    assert ask(it, "lease", A, 1, 10).code == Code.OUTBID
    assert ask(it, "note", A, 9, 10, note=b"n").code == Code.DONE
    assert (it.kept.epoch, it.kept.token, it.kept.note_epoch) == (9, A, 9)


def test_after_a_restart_what_may_have_been_granted_runs():
    kept = held_by(A).kept
    it = witness(kept, 1_000)
    assert ask(it, "prepare", B, 2, 1_000 + TTL_NS - 1).code == Code.HELD
    assert ask(it, "lease", A, 1, 1_000 + TTL_NS - 1).code == Code.DONE
    it = witness(kept, 1_000)
    assert ask(it, "lease", A, 1, 1_000 + TTL_NS).code == Code.LAPSED
    assert ask(it, "prepare", B, 2, 1_000 + TTL_NS).code == Code.DONE
    nobodys = witness(Kept(epoch=7), 1_000)
    assert ask(nobodys, "prepare", B, 8, 999 + nobodys.max_ttl_ns).code == Code.HELD
    assert ask(nobodys, "prepare", B, 8, 1_000 + nobodys.max_ttl_ns).code == Code.DONE


def test_a_clock_that_goes_back_keeps_leases_running():
    it = held_by(A, now_ns=10 * TTL_NS)
    assert ask(it, "prepare", B, 2, 0).code == Code.HELD
    assert ask(it, "lease", A, 1, 0).remaining_ns == TTL_NS
    assert ask(it, "prepare", B, 2, 11 * TTL_NS).code == Code.DONE
    assert it.counters["clock_went_back"] == 2


def test_no_say_until_a_majority_of_others_was_heard():
    it = witness(Kept(3, A, TTL_NS, TTL_NS, "A"), 1_000, others=4, max_ttl_ns=4 * TTL_NS)
    begin = 1_000 + 4 * TTL_NS
    for name in ("prepare", "lease", "note", "release"):
        answer = ask(it, name, A, 3, 2_000)
        assert answer.code == Code.NOT_VOTING and not answer.is_voting
    assert it.questions(begin - 1) == [] and it.next_deadline == begin
    asked_now = it.questions(begin)
    assert [other for other, _ in asked_now] == [0, 1, 2, 3] and not it.is_voting
    question = asked(asked_now[0][1], ID)
    assert it.questions(begin + 1) == [] and it.next_deadline == begin + ASK_INTERVAL_NS

    def tells(other: int, kept: Kept, flags: int = 1, number: int = question.number):
        answer = Answer(number, Code.DONE, flags, 0, kept)
        return it.hear(other, answer_bytes(answer, ID), begin + 5)

    high = Kept(9, B, TTL_NS, TTL_NS, "B", 6, 2, b"old")
    assert tells(0, high).write is None
    assert tells(0, high).write is None  # the same one counts once
    assert tells(1, Kept(), flags=4).write is None  # one that has no say itself does not count
    assert tells(2, Kept(8, A, TTL_NS, TTL_NS, "A", 8, 1, b"newest")).write is None
    assert tells(3, Kept(20, A), number=question.number + 1).write is None  # never asked
    assert tells(3, Kept(20, A), number=1).write is None  # asked in an earlier life
    step = tells(3, Kept(9, A, TTL_NS, TTL_NS, "A"))
    assert step.write == Kept(9, 0, TTL_NS, 4 * TTL_NS, "B", 8, 1, b"newest")  # 9 is nobody's
    assert it.written() is None and it.is_voting and it.next_deadline is None
    assert ask(it, "lease", B, 9, begin + 6).code == Code.OUTBID
    assert ask(it, "prepare", A, 9, begin + 6).code == Code.OUTBID
    assert ask(it, "prepare", A, 10, begin + 6).code == Code.DONE


def test_a_whole_cluster_begins_at_once():
    its = [witness(Kept(epoch=each), others=2, max_ttl_ns=TTL_NS) for each in (4, 6, 5)]
    for index, it in enumerate(its):
        (_, read), _ = it.questions(TTL_NS)
        others = [each for each in its if each is not it]
        for other, each in enumerate(others):
            step = it.hear(other, each.receive(read, TTL_NS).answer, TTL_NS)
        assert step.write is not None, index
        it.written()
        assert it.kept.epoch == 6 and it.is_voting


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("answers", [False, True])
def test_killed_around_every_write_and_answer(count, answers):
    """Witness 0 is killed at its n-th question, before or after its disk has the state."""
    for dies_at in range(12):
        world = DirectWorld(count)
        stores = [world.open(), world.open()]
        heard = 0
        ask_world = world.ask

        def dying(
            index: int,
            datagram: bytes,
            world: DirectWorld = world,
            ask_world=ask_world,
            dies_at: int = dies_at,
        ) -> bytes | None:
            nonlocal heard
            if index:
                return ask_world(index, datagram)
            heard += 1
            if heard - 1 != dies_at:
                return ask_world(index, datagram)
            step = world.witnesses[0].receive(datagram, world.ns)
            if step.write is not None and answers:
                world.put(0, step.write)
            world.witnesses[0] = world._begun(0)
            return None

        world.ask = dying  # type: ignore[method-assign]
        granted: list[Lease] = []
        for turn in range(12):
            store, node = stores[turn % 2], "AB"[turn % 2]
            try:
                answer = store.acquire(node, TTL_NS)
                if isinstance(answer, Lease):
                    assert not granted or answer.epoch > granted[-1].epoch
                    assert not granted or granted[-1].ends_ns() <= answer.asked_at_ns
                    granted.append(answer)
                    answer = store.renew(answer)
                    assert isinstance(answer, Lease), "nobody else has asked"
                    granted[-1] = answer
            except LeaseError:
                pass
            world.ns += 20 * MS
        assert len(granted) >= 3


def test_two_that_ask_at_once_do_not_block_each_other():
    """Their datagrams alternate, so each outbids the other until one draws back for longer."""
    for seed in range(20):
        world = DirectWorld(3)
        clients = [
            WitnessClient(
                CLUSTER, 3, token=each, number=each << 32, generator=random.Random(seed + each),
                timeout_ns=500 * MS, resend_ns=4 * MS, draw_back_ns=4 * MS,
            )
            for each in (A, B)
        ]  # fmt: skip
        calls = [each.acquire(f"node{at}", TTL_NS, world.ns) for at, each in enumerate(clients)]
        while not all(each.is_over for each in calls):
            moved = False
            for call in calls:
                for index, datagram in call.take_output():
                    moved = True
                    call.receive(index, world.ask(index, datagram), world.ns)
                call.pass_time(world.ns)
            if not moved:
                world.ns += MS // 5
        results = [each.result for each in calls]
        assert sorted(type(each).__name__ for each in results) == ["Held", "Lease"], results


def test_what_a_minority_says_does_not_count():
    world = DirectWorld(3)
    a, b = world.open(), world.open()
    lease = a.acquire("A", TTL_NS)
    world.witnesses[0] = witness(now_ns=world.ns)  # one has forgotten everything
    held = b.acquire("B", TTL_NS)
    assert isinstance(held, Held) and held.epoch == lease.epoch
    assert b.read() == Stored(lease.epoch, "A", b"", 0)
    assert isinstance(a.renew(lease), Lease)
    world.ask = lambda index, datagram, ask=world.ask: None if index else ask(index, datagram)
    with pytest.raises(LeaseError, match="2 of 3 witnesses must agree, and 1 answered"):
        a.renew(lease)


def test_a_lease_that_is_too_long_is_said_so():
    store = DirectWorld(3).open()
    with pytest.raises(LeaseError, match="the lease is longer than it grants"):
        store.acquire("A", 2_000_000 * MS)


def test_why_it_is_lost():
    world = DirectWorld(3)
    a, b = world.open(), world.open()
    lease = a.acquire("A", TTL_NS)
    a.release(lease)
    assert a.renew(lease) == Lost("it was given back")
    after = b.acquire("B", TTL_NS)
    assert a.renew(lease) == Lost(f"epoch {after.epoch} is promised to B")
    world.ns += TTL_NS
    assert b.renew(after) == Lost("it ran out")


# ---------------------------------------------------------------- messages

u64 = st.integers(0, 2**64 - 1)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=32)
questions = st.builds(
    Question,
    name=st.sampled_from(["prepare", "lease", "release", "read"]),
    number=u64,
    token=st.integers(1, 2**64 - 1),
    epoch=u64,
    ttl_ns=u64,
    node=names,
)
kepts = st.builds(
    Kept,
    epoch=u64, token=u64, ttl_ns=u64, max_ttl_ns=u64, node=names,
    note_epoch=u64, note_number=u64, note=st.binary(max_size=300),
)  # fmt: skip
answers = st.builds(
    Answer,
    number=u64,
    code=st.sampled_from(Code),
    flags=st.integers(0, 7),
    remaining_ns=u64,
    kept=kepts,
)


@given(questions, answers)
def test_messages_there_and_back(question, answer):
    raw = question_bytes(question, ID)
    assert asked(raw, ID) == question
    layout = WITNESS[question.name]
    values = msgspec.structs.asdict(question) | {"version": 1, "cluster": ID}
    del values["name"], values["note"]
    assert layout.encode(**values) == raw  # what the table says, the packed form says too
    noted = msgspec.structs.replace(question, name="note", note=b"\0 note ")
    assert asked(question_bytes(noted, ID), ID) == noted
    raw = answer_bytes(answer, ID)
    assert answered(raw, ID) == answer and len(raw) <= MAX_DATAGRAM
    table = WITNESS["answer"].decode(raw)
    assert {name: table[name] for name in Kept.__struct_fields__} == msgspec.structs.asdict(
        answer.kept
    )
    for read, wrong in ((asked, raw), (answered, question_bytes(question, ID))):
        with pytest.raises(WireError):
            read(wrong, ID)
    with pytest.raises(WireError, match="another cluster"):
        answered(raw, ID ^ 1)


@settings(max_examples=300)
@given(st.data(), st.binary(max_size=200))
def test_what_is_no_message_is_counted_and_nothing_else(data, noise):
    raw = bytearray(question_bytes(data.draw(questions), ID))
    at = data.draw(st.integers(0, 9))
    raw[at] ^= data.draw(st.integers(1, 255))
    for datagram in (noise, bytes(raw[: len(raw) - 1]), bytes(raw), bytes(raw) + bytes(9_000)):
        it = held_by(A)
        before = it.kept
        step = it.receive(datagram, 5)
        if step.answer is None and step.write is None:
            assert it.counters["malformed"] == 1 and it.kept == before
        else:  # another type of question, which is one
            assert at == 0 and asked(datagram, ID)
