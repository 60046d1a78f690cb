"""The sparse store: any references, those that want one entry, a full table, slots used again."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from pitch_scenes import BASE, add, delete, feed, follow, modify, played
from pitch_streams import PITCH
from scenes import counted, queue
from structure import _home, validate
from tickpath import Config, Engine
from tickpath.config import Capacity
from tickpath.digest import C1, VENUES
from tickpath.layout import PAGE

SMALL = replace(PITCH, capacity=Capacity(symbols=4, orders=4 * PAGE, sparse_orders=1024,
                                         overflow_levels=2048, trades=1024))  # fmt: skip
TABLE_BITS = 11
U64 = (1 << 64) - 1
BZX = VENUES["cboe-bzx"]


def of_home(home: int, count: int, seed: int = 1) -> list[int]:
    """References whose search begins at one entry: the product is chosen, and divided."""
    rng, inverse = random.Random(seed), pow(C1, -1, 1 << 64)
    products = [home << 64 - TABLE_BITS | rng.getrandbits(64 - TABLE_BITS) for _ in range(count)]
    return [(product * inverse - BZX) & U64 for product in products]


def test_the_table_is_twice_as_large_as_the_orders():
    for config in (SMALL, PITCH, Config()):
        block = Engine(config).block
        assert len(block.sparse_entry) >= 2 * config.capacity.sparse_orders
    engine = Engine(SMALL)
    assert len(engine.block.sparse_entry) == 1 << TABLE_BITS
    for home in (0, 5, (1 << TABLE_BITS) - 1):
        found = {_home(engine, "sparse_entry", ref, BZX) for ref in of_home(home, 50)}
        assert found == {home}


@pytest.mark.parametrize("home", [0, 7, (1 << TABLE_BITS) - 2, (1 << TABLE_BITS) - 1])
@pytest.mark.parametrize("seed", range(4))
def test_references_that_want_one_entry_are_found_whichever_leaves_first(home, seed):
    """Runs of entries grow into each other, over the table's end too."""
    rng = random.Random(seed)
    refs = [*of_home(home, 3), *of_home((home + 1) % (1 << TABLE_BITS), 3)]
    refs += of_home((home + 3) % (1 << TABLE_BITS), 2)
    stream = []
    for _ in range(12):
        coming, going = rng.sample(refs, 8), rng.sample(refs, 8)
        stream += [add(ref) for ref in coming]
        stream += [modify(ref, 50, 1_000_100, 0) for ref in rng.sample(refs, 3)]
        stream += [delete(ref) for ref in going[:5]] + [add(going[0]), delete(going[7])]
        stream += [delete(ref) for ref in [*going[5:], going[0]]]
    engine = follow(stream, SMALL, whole_every=1)
    assert counted(engine) == {"unknown_order_ref": 12} and engine.orders_live == 0
    assert not engine.block.sparse_entry["slot"].any()


class Store(RuleBasedStateMachine):
    """Adds, deletes and modifications over few references, most of which want few entries."""

    @initialize(seed=st.integers(0, 100))
    def begin(self, seed):
        homes = [0, 1, 2, 3, (1 << TABLE_BITS) - 1, (1 << TABLE_BITS) - 2]
        self.refs = [ref for home in homes for ref in of_home(home, 4, seed)]
        self.engine, self.live = Engine(SMALL), {}

    @rule(at=st.integers(0, 23), shares=st.integers(1, 1000))
    def add(self, at, shares):
        self.live.setdefault(self.refs[at], shares)
        feed(self.engine, [add(self.refs[at], shares=shares)])

    @rule(at=st.integers(0, 23))
    def delete(self, at):
        self.live.pop(self.refs[at], None)
        feed(self.engine, [delete(self.refs[at])])

    @rule(at=st.integers(0, 23), shares=st.integers(1, 1000), keeps=st.booleans())
    def modify(self, at, shares, keeps):
        ref = self.refs[at]
        if ref in self.live:
            if not keeps:
                del self.live[ref]
            self.live[ref] = shares
        feed(self.engine, [modify(ref, shares, flags=2 * keeps)])

    @invariant()
    def is_the_same(self):
        if hasattr(self, "engine"):
            assert [(ref, shares) for ref, _, _, shares in queue(self.engine)] == list(
                self.live.items()
            )
            validate(self.engine)


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=25, stateful_step_count=40)


def test_a_full_table_leaves_new_orders_out():
    engine = Engine(SMALL)
    feed(engine, [add(BASE + 7 * n, shares=1) for n in range(1034)])
    assert engine.orders_live == 1024 and counted(engine) == {"order_store_full": 10}
    validate(engine)
    feed(engine, [add(BASE, shares=1), modify(BASE, 2, flags=0), delete(BASE + 7)])
    feed(engine, [add(BASE + 7 * 1024, shares=1), add(BASE + 7 * 1025, shares=1)])
    assert engine.orders_live == 1024
    assert counted(engine) == {"order_store_full": 11, "duplicate_order_ref": 1}
    validate(engine)
    feed(engine, [delete(BASE + 7 * n) for n in reversed(range(1030))])
    assert engine.orders_live == 0 and not engine.block.sparse_entry["slot"].any()
    assert engine.counters["unknown_order_ref"] == 6
    validate(engine)


def test_slots_are_used_again_and_the_last_one_first():
    engine = Engine(SMALL)
    feed(engine, [add(BASE + n) for n in range(10)])
    slots = {int(row["ref"]): int(row["slot"]) for row in engine.block.sparse_entry if row["slot"]}
    feed(engine, [delete(BASE + 3), delete(BASE + 5), add(1), add(2), add(3)])
    later = {int(row["ref"]): int(row["slot"]) for row in engine.block.sparse_entry if row["slot"]}
    assert (later[1], later[2], later[3]) == (slots[BASE + 5], slots[BASE + 3], PAGE + 10)
    validate(engine)


def test_orders_without_end_need_the_slots_of_those_that_are_live():
    engine = Engine(SMALL)
    for first in range(300, 60_300, 2_000):
        span = range(first, first + 2_000)
        feed(engine, [raw for n in span for raw in (add(n << 20), delete((n - 300) << 20))])
    assert engine.orders_live == 300 and engine.block.get("page_fresh") == 2
    assert counted(engine) == {"unknown_order_ref": 300}
    validate(engine)


def test_where_all_pages_are_taken_orders_are_left_out():
    """Nasdaq's references hold every page."""
    from itch_messages import run
    from scenes import add as itch_add

    engine = Engine(SMALL)
    engine.feed(run([itch_add(PAGE * n) for n in range(4)]))
    feed(engine, [add(BASE)])
    assert engine.orders_live == 4 and counted(engine) == {"order_store_full": 1}
    validate(engine)


@pytest.mark.parametrize("seed", range(2))
def test_a_store_that_is_always_full_stays_sound(seed):
    rng = random.Random(seed)
    refs = [BASE + 13 * n for n in range(1_150)]
    stream = [add(ref) for ref in refs]
    for _ in range(3000):
        ref = rng.choice(refs)
        stream.append(rng.choice([add(ref), add(ref), delete(ref), modify(ref, 5, flags=0)]))
    engine = follow(stream, SMALL, whole_every=1000)
    assert engine.counters["order_store_full"] > 100
    assert engine.block.get("page_fresh") == 2


@pytest.mark.parametrize("ref", [0, 1, U64, U64 - 1, 1 << 63, 1 << 32])
def test_any_64_bit_reference_is_one(ref):
    engine = played(add(ref), modify(ref, 50, flags=2), add((ref + 1) & U64), delete(ref))
    assert [row[0] for row in queue(engine)] == [(ref + 1) & U64]
