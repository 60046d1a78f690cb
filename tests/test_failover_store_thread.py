"""The lease store's thread: answers in order, and looks at a store that needs them."""

import time

from tickpath.failover import role_action as act
from tickpath.failover import role_event as told
from tickpath.failover.lease import Held, Lease, LeaseError, Stored
from tickpath.failover.lease_cas import CasStore, Value
from tickpath.failover.store_thread import StoreThread

SECOND = 1_000_000_000
LOOK_NS = 2_000_000
PATIENCE_S = 20.0


class Cell:
    """A versioned value in memory; `fails` has it answer nothing."""

    def __init__(self) -> None:
        self.version, self.value, self.reads, self.fails = 0, None, 0, False

    def begin(self) -> None:
        pass

    def get(self) -> tuple[int, Value | None]:
        self.reads += 1
        if self.fails:
            raise LeaseError("no answer")
        return self.version, self.value

    def swap(self, version: int, value: Value) -> tuple[int, Value] | None:
        if version != self.version:
            return None
        self.version, self.value = version + 1, value
        return self.version, value

    def next_epoch(self, value: Value | None) -> int:
        return (value.epoch if value else 0) + 1

    def close(self) -> None:
        pass


class Silent:
    """A store that needs no looks."""

    needs_looks = False

    def __init__(self) -> None:
        self.reads = 0

    def read(self) -> Stored:
        self.reads += 1
        return Stored(7, None)

    def close(self) -> None:
        pass


def eventually(is_so) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


def answer(thread: StoreThread) -> told.Event:
    found: list[told.Event] = []
    eventually(lambda: found.extend(thread.answers()) or found)
    (only,) = found
    return only


def test_a_standby_that_looked_waits_only_for_what_is_left_of_a_lease():
    now = [0]
    cell = Cell()
    holder = CasStore(cell, clock=lambda: now[0])
    assert isinstance(holder.acquire("a", SECOND), Lease)
    store = CasStore(cell, clock=lambda: now[0])
    thread = StoreThread(store, "b", LOOK_NS)
    try:
        before = cell.reads
        eventually(lambda: cell.reads > before + 1)  # one of them is done
        now[0] = SECOND - 1
        thread.ask(act.Acquire(1, SECOND))
        assert answer(thread) == told.Held(1, "a", 1)
        now[0] = SECOND
        thread.ask(act.Acquire(2, SECOND))
        assert answer(thread) == told.Acquired(2, 2, SECOND, SECOND)
    finally:
        thread.close()


def test_who_never_looked_waits_for_a_whole_lease():
    now = [0]
    cell = Cell()
    assert isinstance(CasStore(cell, clock=lambda: now[0]).acquire("a", SECOND), Lease)
    now[0] = 5 * SECOND
    assert CasStore(cell, clock=lambda: now[0]).acquire("b", SECOND) == Held("a", 1, SECOND)


def test_looks_that_fail_are_counted_and_the_next_question_is_answered():
    cell = Cell()
    cell.fails = True
    thread = StoreThread(CasStore(cell), "b", LOOK_NS)
    try:
        eventually(lambda: thread.looks_failed > 1)
        thread.ask(act.ReadStore(3))
        assert answer(thread) == told.StoreFailed(3, "no answer")
        cell.fails = False
        thread.ask(act.Acquire(4, SECOND))
        assert isinstance(answer(thread), told.Acquired)
    finally:
        thread.close()


def test_a_store_that_counts_by_itself_is_asked_only_when_it_has_to_be():
    store = Silent()
    thread = StoreThread(store, "b", LOOK_NS)
    try:
        time.sleep(20 * LOOK_NS / SECOND)
        thread.ask(act.ReadStore(1))
        assert answer(thread) == told.Stored(1, 7, None, b"")
        assert store.reads == 1
    finally:
        thread.close()
