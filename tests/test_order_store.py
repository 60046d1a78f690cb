"""The order store: sparse references, colliding pages, recycled ones in bounded memory."""

import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itch_messages import message, run
from scenes import TS, add, counted, delete, follow, played, queue, replace
from streams import CAPACITY
from structure import validate
from tickpath import Config, Engine
from tickpath.config import Capacity
from tickpath.layout import PAGE, PAGE_BITS

FEW_PAGES = Config(capacity=Capacity(symbols=4, orders=4 * PAGE, overflow_levels=2048, trades=1024))
ONE_PAGE = Config(capacity=Capacity(symbols=4, orders=PAGE, overflow_levels=2048, trades=1024))
MASK = 15
"""Directory of `FEW_PAGES`: at least twice as many entries as there are pages."""


def pages_touched(engine: Engine) -> int:
    """Pages that have ever been used."""
    return engine.block.get("page_fresh") - 1


def test_the_directory_has_twice_as_many_entries_as_pages():
    for config in (FEW_PAGES, ONE_PAGE, Config(capacity=CAPACITY), Config()):
        block = Engine(config).block
        assert len(block.page_entry) >= 2 * len(block.page_owner)
        assert block.get("page_mask") == len(block.page_entry) - 1


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=4, unique=True))
def test_any_64_bit_reference_is_found_again(refs):
    engine = played(*(add(ref) for ref in refs), config=FEW_PAGES)
    assert [ref for ref, *_ in queue(engine)] == refs
    engine.feed(run([delete(ref) for ref in refs]))
    assert engine.orders_live == 0 and engine.book_digest == 0
    assert counted(engine) == {}
    validate(engine)


def homes(home: int, count: int) -> list[int]:
    """References of different pages whose directory entries want the same place."""
    found = []
    number = home
    while len(found) < count:
        if (number ^ (number >> 24)) & MASK == home:
            found.append(number << PAGE_BITS)
        number += 1 << (4 + 5 * len(found))
    return found


@pytest.mark.parametrize("home", [0, 7, 14, 15])
@pytest.mark.parametrize("seed", range(6))
def test_pages_that_want_one_entry_are_found_whichever_leaves_first(home, seed):
    rng = random.Random(seed)
    refs = homes(home, 2) + homes((home + 1) & MASK, 2)
    stream = []
    for _ in range(12):
        order = rng.sample(refs, 4)
        stream += [add(ref) for ref in order] + [delete(ref) for ref in rng.sample(refs, 4)]
        stream += [add(order[0]), delete(order[1]), delete(order[0])]
    engine = follow(stream, FEW_PAGES, whole_every=1)
    assert counted(engine) == {"unknown_order_ref": 12}


def test_a_page_without_orders_is_free_for_other_references():
    engine = played(
        *(add(1), delete(1), add(PAGE * 1_000_000), delete(PAGE * 1_000_000)),
        *(add(PAGE - 1), replace(PAGE - 1, (1 << 64) - 1), delete((1 << 64) - 1)),
        config=ONE_PAGE,
    )
    assert pages_touched(engine) == 1
    assert counted(engine) == {}


def test_a_dead_slot_of_a_reused_page_is_nobodys():
    """The page of 5 is given to PAGE + ...: what was live in it before is not found there."""
    later = 40 * PAGE
    engine = played(
        *(add(5), add(6), delete(5), delete(6), add(later)),
        *(delete(later + 5), delete(5), delete(later)),
        config=ONE_PAGE,
    )
    assert counted(engine) == {"unknown_order_ref": 2}


def churn(first: int, count: int, live: int, step: int) -> bytes:
    """``count`` adds with references ``step`` apart, each removed ``live`` adds later."""
    adds = np.frombuffer(run([add(0, shares=1)]) * count, np.uint8).reshape(count, -1).copy()
    deletes = np.frombuffer(run([delete(0)]) * count, np.uint8).reshape(count, -1).copy()
    refs = first + step * np.arange(count, dtype=np.uint64)
    at = 2 + len(message("D", 1, TS)) - 8
    adds[:, at : at + 8] = refs.astype(">u8").view(np.uint8).reshape(-1, 8)
    deletes[:, at : at + 8] = (
        (refs - np.uint64(step * live)).astype(">u8").view(np.uint8).reshape(-1, 8)
    )
    return np.hstack([adds, deletes]).tobytes()


@pytest.mark.parametrize(("step", "live"), [(3000, 100), (977, 40), (1 << 33, 120)])
def test_hundreds_of_millions_of_references_need_memory_for_live_orders_only(step, live):
    """One order in each page at most, then half a billion references and more go by."""
    capacity = Capacity(symbols=2, orders=128 * PAGE, overflow_levels=2048, trades=1024)
    engine = Engine(Config(capacity=capacity))
    first = step * live
    for _ in range(10):
        engine.feed(churn(first, 20_000, live, step))
        first += step * 20_000
        validate(engine)
    assert first > 100_000_000
    assert engine.orders_live == live
    assert pages_touched(engine) <= live + 1
    assert counted(engine) == {"unknown_order_ref": live}
    refs = [int(ref) for ref in engine.resting()["order_ref"]]
    assert refs == [first - step * back for back in range(live, 0, -1)]


def test_dense_references_fill_every_slot_of_every_page():
    engine = Engine(FEW_PAGES)
    engine.feed(run([add(ref, shares=1) for ref in range(4 * PAGE + 10)]))
    assert engine.orders_live == 4 * PAGE
    assert counted(engine) == {"order_store_full": 10}
    validate(engine)
    engine.feed(run([delete(ref) for ref in reversed(range(4 * PAGE + 10))]))
    assert engine.orders_live == 0 and engine.block.get("page_entries") == 0
    assert counted(engine) == {"order_store_full": 10, "unknown_order_ref": 10}
    validate(engine)


@pytest.mark.parametrize("seed", range(3))
def test_a_store_that_is_always_full_stays_sound(seed):
    rng = random.Random(seed)
    refs = [page * PAGE + slot for page in range(9) for slot in (0, 1, PAGE - 1)]
    stream = []
    for _ in range(3000):
        ref, other = rng.sample(refs, 2)
        stream.append(rng.choice([add(ref), add(ref), delete(ref), replace(ref, other)]))
    engine = follow(stream, FEW_PAGES, whole_every=200)
    assert engine.counters["order_store_full"] > 100
    assert pages_touched(engine) == 4


def test_the_reference_of_the_delete_is_its_last_eight_bytes():
    """What `churn` builds on."""
    assert message("D", 1, TS, ref=77)[-8:] == struct.pack(">Q", 77)
    raw = add(77)
    assert raw[len(delete(1)) - 8 : len(delete(1))] == struct.pack(">Q", 77)
