"""What an engine published is journalled, and gives the same state again after a crash."""

import subprocess
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest

from journal_records import abandon, all_of
from sessions import session
from tickpath import Engine
from tickpath.capture import open_capture
from tickpath.config import Config, StrategyConfig
from tickpath.follower import Divergence
from tickpath.replica.journal import Flaw, JournalError, JournalPolicy, JournalWriter
from tickpath.replica.journal_header import segments
from tickpath.replica.journal_recover import identity_of, recover
from tickpath.replica.journal_ring import RingJournal
from tickpath.replica.journal_snapshot import retain, snapshots, store_snapshot
from tickpath.replica.journal_verify import verify
from tickpath.replica.journal_writer import State
from tickpath.replica.ring import Ring
from tickpath.wire.inputs import INPUTS

TAKER = "tickpath.samples:imbalance_taker"
BATCH = JournalPolicy(segment_bytes=1 << 17, fsync="batch")
RECORD = INPUTS["record"].dtype
_OPEN = []


def packets_of(path) -> np.ndarray:
    """The packets of a capture, which stays open: they are lent from its memory."""
    capture = open_capture(path)
    _OPEN.append(capture)
    capture.__enter__()
    return np.concatenate([batch.copy() for batch in capture.batches()])


@pytest.fixture(scope="module", autouse=True)
def _close():
    yield
    while _OPEN:
        _OPEN.pop().__exit__(None, None, None)


class Node:
    """An engine that publishes into a ring, and the journal of it."""

    def __init__(self, place: Path, capacity: int = 1 << 22, policy=BATCH) -> None:
        self.place, self.policy = place / "journal", policy
        self.ring = Ring.create(place / "ring", capacity)
        self.engine = Engine(strategy=TAKER)
        self.engine.publish_to(self.ring.address)
        self.alarms: list[str] = []
        self.begin()

    def begin(self) -> None:
        """Begin the journal, or begin it again."""
        identity = identity_of(self.engine)
        self.writer = JournalWriter(self.place, identity, self.policy, alarm=self.alarms.append)
        self.journal = RingJournal(self.ring, self.writer)

    def drain(self, most: int = 300) -> None:
        while self.journal.step(most):
            pass

    @property
    def mine(self):
        """What the ring knows of the journal."""
        return self.ring.followers[self.ring.followers["name"] == b"journal"][0]

    @property
    def number(self) -> int:
        return self.engine.block.get("record_number")


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def same_state(one: Engine, other: Engine) -> None:
    assert one.state_digest == other.state_digest and one.book_digest == other.book_digest
    for name in ("record_number", "input_number", "order_position", "engine_time", "messages"):
        assert one.block.get(name) == other.block.get(name), name


def test_a_session_is_journalled_and_recovered_with_the_same_orders(node):
    packets = packets_of(session())
    for begin in range(0, len(packets), 100):
        node.engine.process(packets[begin : begin + 100])
        node.drain()
    node.engine.command("cancel_all", who="test", why="less")
    node.drain()
    assert node.journal.lag == 0 and int(node.mine["taken"]) == node.number
    assert int(node.mine["acknowledged"]) == node.number == node.writer.durable_number
    abandon(node.writer)
    fresh = Engine(strategy=TAKER)
    recovered = recover(fresh, node.place, identity=identity_of(fresh))
    same_state(fresh, node.engine)
    assert recovered.snapshot is None and recovered.records == recovered.last_number == node.number
    assert recovered.divergence is Divergence.NONE and recovered.identity == identity_of(fresh)
    orders = fresh.take_orders()
    assert orders == node.engine.take_orders() and len(orders) > 100
    # The files hold what stood in the ring, byte for byte.
    raw = (node.ring.path).read_bytes()[4096 : 4096 + int(node.ring.header["head"])]
    assert b"".join(all_of(node.place)) == raw


def test_recovery_begins_with_the_newest_whole_snapshot(node):
    packets = packets_of(session())
    third = len(packets) // 3
    numbers = []
    for part in range(3):
        node.engine.process(packets[part * third : (part + 1) * third])
        node.drain()
        if part < 2:
            numbers.append(node.number)
            store_snapshot(node.place, node.number, node.engine.snapshot())
    node.writer.close()
    first, second = numbers
    fresh = Engine(strategy=TAKER)
    recovered = recover(fresh, node.place)
    same_state(fresh, node.engine)
    assert (recovered.snapshot, recovered.refused) == (second, ())
    assert recovered.records == node.number - second
    # To a record before it: the older one.
    back = Engine(strategy=TAKER)
    recovered = recover(back, node.place, to=second - 1)
    assert (recovered.snapshot, recovered.last_number) == (first, second - 1)
    with pytest.raises(JournalError, match=f"ends with record {node.number}, before"):
        recover(Engine(strategy=TAKER), node.place, to=node.number + 1)
    # A damaged one is passed over and named; a damaged older one leaves the records.
    for n, (number, path) in enumerate(reversed(snapshots(node.place))):
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
        again = Engine(strategy=TAKER)
        recovered = recover(again, node.place)
        same_state(again, node.engine)
        assert recovered.snapshot == (first if n == 0 else None)
        assert len(recovered.refused) == n + 1 and f"{number:020}" in recovered.refused[-1]
    found = [each.flaw for each in verify(node.place).findings]
    assert found == [Flaw.SNAPSHOT, Flaw.SNAPSHOT]


def test_retention_keeps_what_its_snapshots_need(node):
    packets = packets_of(session())
    quarter = len(packets) // 4
    numbers = []
    for part in range(4):
        node.engine.process(packets[part * quarter : (part + 1) * quarter])
        node.drain()
        numbers.append(node.number)
        store_snapshot(node.place, node.number, node.engine.snapshot())
    before = segments(node.place)
    assert len(before) > 4
    assert retain(node.place, 5) == [] and segments(node.place) == before
    # A damaged snapshot does not count.
    newest = snapshots(node.place)[-1][1]
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-1])
    removed = retain(node.place, 2)
    assert [number for number, _ in snapshots(node.place)] == numbers[1:]
    assert removed and set(segments(node.place)) == set(before) - set(removed)
    newest.write_bytes(whole)
    assert verify(node.place).findings == []
    newest.unlink()
    for kept in (2, 1):
        retain(node.place, kept)
        fresh = Engine(strategy=TAKER)
        recovered = recover(fresh, node.place)
        same_state(fresh, node.engine)
        assert recovered.snapshot == numbers[2]
    # A snapshot behind the last record stands for what is not there.
    node.writer.close()
    node.engine.command("clock", who="test", why="time")
    store_snapshot(node.place, node.number, node.engine.snapshot())
    fresh = Engine(strategy=TAKER)
    recovered = recover(fresh, node.place)
    same_state(fresh, node.engine)
    assert recovered.snapshot == recovered.last_number == node.number > numbers[-1]
    for _, path in snapshots(node.place):
        path.unlink()
    assert [each.flaw for each in verify(node.place).findings] == [Flaw.BASE]
    with pytest.raises(JournalError, match="begin with a newer snapshot"):
        recover(Engine(strategy=TAKER), node.place)


def test_a_journal_that_begins_again_misses_nothing_that_the_ring_has(tmp_path):
    node = Node(tmp_path, 1 << 20)
    packets = packets_of(session())
    step = len(packets) // 12
    for turn in range(12):
        node.engine.process(packets[turn * step : (turn + 1) * step])
        if turn % 3 == 1:
            node.drain()
            (abandon if turn % 2 else JournalWriter.close)(node.writer)
            node.journal.close()
        if turn % 3 == 2:
            node.begin()
        if turn % 3 != 1:
            node.drain()
    assert int(node.ring.header["head"]) > 1 << 20  # it has gone round
    node.drain()
    node.writer.close()
    assert node.alarms == [] and verify(node.place).findings == []
    fresh = Engine(strategy=TAKER)
    recover(fresh, node.place)
    same_state(fresh, node.engine)


def test_a_journal_begins_with_what_the_ring_still_has(node):
    packets = packets_of(session())
    node.journal.close()
    node.writer.close()
    node.engine.process(packets[:200])
    node.begin()
    assert int(node.mine["acknowledged"]) == 0 and node.journal.lag == node.number
    node.drain()
    fresh = Engine(strategy=TAKER)
    recover(fresh, node.place)
    same_state(fresh, node.engine)


@pytest.mark.parametrize("on_failure", ["stop", "drop"])
def test_a_ring_that_is_too_small_is_no_silent_loss(tmp_path, on_failure):
    policy = JournalPolicy(segment_bytes=1 << 17, fsync="batch", on_failure=on_failure)
    node = Node(tmp_path, 1 << 20, policy)
    packets = packets_of(session())
    node.engine.process(packets[:50])
    node.drain()
    kept = node.number
    node.engine.process(packets[50:-200])
    if on_failure == "stop":
        with pytest.raises(JournalError, match="the ring was too small"):
            node.drain()
        assert node.writer.state is State.FAILED and int(node.mine["acknowledged"]) == kept
        return
    node.drain()
    lost = node.number
    node.engine.process(packets[-200:-100])
    node.drain()
    assert node.journal.lapses == 1 and node.writer.missing == (kept + 1, lost)
    # Nothing behind the hole counts as durable before a snapshot stands for it.
    assert node.journal.has_hole and int(node.mine["acknowledged"]) == kept
    with pytest.raises(JournalError, match=f"records {kept + 1} to {lost} are not in the journal"):
        recover(Engine(strategy=TAKER), node.place)
    store_snapshot(node.place, node.number, node.engine.snapshot())
    time.sleep(0.11)
    node.engine.process(packets[-100:])
    node.drain()
    assert int(node.mine["acknowledged"]) == node.number and not node.journal.has_hole
    fresh = Engine(strategy=TAKER)
    recover(fresh, node.place)
    same_state(fresh, node.engine)
    assert [each.flaw for each in verify(node.place).findings] == [Flaw.MISSING]


def test_a_restored_engine_goes_on_with_its_journal(tmp_path):
    node = Node(tmp_path)
    packets = packets_of(session())
    half = len(packets) // 2
    node.engine.process(packets[:half])
    node.drain()
    abandon(node.writer)
    # Another process: a ring of its own, the state from the journal.
    (tmp_path / "second").mkdir()
    second = Node(tmp_path / "second")
    second.writer.close()
    second.journal.close()
    second.place = node.place
    second.engine.publish_to(0)
    recover(second.engine, node.place)
    second.engine.publish_to(second.ring.address)
    second.begin()
    second.engine.process(packets[half:])
    second.drain()
    assert second.writer.counters["absences"] == 0
    second.writer.close()
    node.engine.process(packets[half:])
    same_state(second.engine, node.engine)
    fresh = Engine(strategy=TAKER)
    assert recover(fresh, node.place).last_number == node.number
    same_state(fresh, node.engine)
    assert verify(node.place).findings == []


def test_another_engine_says_where_it_diverges_or_is_refused(node):
    node.engine.process(packets_of(session()))
    node.drain()
    node.writer.close()
    other = Engine(Config(strategy=StrategyConfig(parameters=[9] * 4)), strategy=TAKER)
    with pytest.raises(JournalError, match=r"config is \w+ here and \w+ there"):
        recover(other, node.place, identity=identity_of(other))
    without = Engine()
    recovered = recover(without, node.place)
    assert recovered.divergence is Divergence.INPUTS
    assert recovered.diverged_at == without.block.get("record_number") + 1 <= node.number


# ---------------------------------------------------------------- killed


_CHILD = """
import sys
sys.path[:0] = {path!r}
from tickpath.replica.journal import Identity, JournalPolicy, JournalWriter
from tickpath.replica.journal_ring import RingJournal
from tickpath.replica.ring import Ring
policy = JournalPolicy(segment_bytes=1 << 17, fsync={fsync!r}, fsync_interval_ns=1_000_000)
with Ring.attach({ring!r}) as ring:
    journal = RingJournal(ring, JournalWriter({place!r}, Identity(*{identity!r}), policy))
    print("ready", flush=True)
    journal.run(lambda: False)
"""


def crash(tmp_path: Path, times: int, seed: int) -> None:
    """Kill the journal's process while the engine goes on, and recover each time."""
    node = Node(tmp_path)
    node.writer.close()
    node.journal.close()
    packets = packets_of(session())
    rng, at = Random(seed), 0
    step = len(packets) // (times + 1)
    for turn in range(times):
        code = _CHILD.format(
            path=sys.path,
            fsync=("interval", "batch", "segment", "none")[turn % 4],
            ring=str(node.ring.path),
            place=str(node.place),
            identity=tuple(identity_of(node.engine)),
        )
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        while at < (turn + 1) * step:
            many = rng.randrange(1, 30)
            node.engine.process(packets[at : at + many])
            at += many
            time.sleep(rng.random() * 0.002)
        child.kill()
        child.wait()
        child.stdout.close()
        acknowledged = int(node.mine["acknowledged"])
        verdict = verify(node.place)
        assert {each.flaw for each in verdict.findings} <= {Flaw.TORN}, verdict.findings
        assert acknowledged <= verdict.last_number <= node.number
        if turn % 10 == times % 10 - 1:
            fresh = Engine(strategy=TAKER)
            assert recover(fresh, node.place).last_number == verdict.last_number
            assert fresh.divergence is Divergence.NONE
            store_snapshot(node.place, verdict.last_number, fresh.snapshot())
    node.begin()
    node.drain()
    node.writer.close()
    fresh = Engine(strategy=TAKER)
    assert recover(fresh, node.place).last_number == node.number
    same_state(fresh, node.engine)
    assert verify(node.place).findings == []


def test_a_killed_journal_is_gone_on_with_to_the_same_state(tmp_path):
    crash(tmp_path, 2, 3)


@pytest.mark.long
def test_a_hundred_killed_journals_are_gone_on_with_to_the_same_state(tmp_path):
    crash(tmp_path, 100, 4)
