"""Levels outside the windows: trees beside a sorted list, their depth, the store's end."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itch_messages import run
from scenes import add, counted, delete, follow, replace
from structure import validate
from tickpath import Config, Engine
from tickpath.config import Capacity
from tickpath.layout import WINDOW

LEVELS = Config(capacity=Capacity(symbols=2, orders=1 << 16, overflow_levels=1 << 16, trades=1024))
FEW_LEVELS = Config(capacity=Capacity(symbols=2, orders=1 << 14, overflow_levels=2048, trades=1024))
TOUCH = 50_000_001
"""A best price that is no tick, so that no window moves to it."""


def prices(engine: Engine, side: str) -> list[int]:
    book = engine.book("AAPL")
    return (book.bids if side == "B" else book.asks)["price"].tolist()


def depth(engine: Engine, sd: int) -> int:
    """Nodes on the longest way down a side's tree."""
    far, deepest = engine.block.far, 0
    waiting = [(int(engine.block.side["far_root"][sd]), 1)]
    while waiting:
        node, here = waiting.pop()
        if node:
            deepest = max(deepest, here)
            waiting += [(int(far["left"][node]), here + 1), (int(far["right"][node]), here + 1)]
    return deepest


@pytest.mark.parametrize("side", "BS")
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=60),
    st.lists(st.integers(0, 60), max_size=60),
)
def test_sub_penny_levels_are_those_of_a_sorted_list(side, added, removed):
    """Each price once with an order of its own; every other way to come and go."""
    stream = [add(10_000, side, price=TOUCH)]
    stream += [add(n, side, price=TOUCH + 101 * n * (-1 if side == "B" else 1)) for n in added]
    stream += [delete(n) for n in removed]
    engine = follow(stream, LEVELS, whole_every=20)
    left = set(added) - set(removed)
    expected = [TOUCH, *(TOUCH + 101 * n * (-1 if side == "B" else 1) for n in sorted(left))]
    if 0 in left:
        expected.remove(TOUCH)
    assert prices(engine, side) == expected


@pytest.mark.parametrize("step", [1, 64, 101, 4181, 6765, 17_711, 46_368, 65_536, 75_025])
def test_evenly_spaced_prices_make_no_deep_tree(step):
    """Distances at which priorities by one multiplication alone rise or fall steadily."""
    engine = Engine(LEVELS)
    count = min(20_000, (1 << 32) // step - 1)
    engine.feed(run([add(0, price=0xFFFFFFFF)]))
    engine.feed(run([add(1 + n, price=3 + step * n) for n in range(count)]))
    assert engine.orders_live == count + 1
    validate(engine)
    assert depth(engine, 2) < 60


@pytest.mark.parametrize("side", "BS")
def test_nodes_are_given_back_and_used_again(side):
    engine = Engine(LEVELS)
    rng = random.Random(7)
    for _ in range(5):
        refs = list(range(1, 3000))
        stubs = [100_001 + 700 * ref for ref in refs]
        rng.shuffle(stubs)
        engine.feed(run([add(ref, side, price=px) for ref, px in zip(refs, stubs, strict=True)]))
        validate(engine)
        rng.shuffle(refs)
        engine.feed(run([delete(ref) for ref in refs]))
        assert engine.block.get("far_used") == 0
        assert depth(engine, 2) == depth(engine, 3) == 0
    assert engine.block.get("far_fresh") <= 3000
    assert counted(engine) == {}


def sub_penny(count: int) -> list[bytes]:
    return [add(1 + n, price=1_000_001 + 100 * n) for n in range(count)]


def test_a_full_level_store_leaves_the_order_out_and_known_levels_open():
    room = 2047
    stream = [*sub_penny(room + 5), add(50_000, price=1_000_001)]
    engine = follow(stream, FEW_LEVELS, whole_every=700)
    assert counted(engine) == {"level_store_full": 5}
    assert engine.orders_live == room + 1
    assert engine.book("AAPL").bids[-1].tolist() == (1_000_001, 200, 2)


def test_a_full_level_store_leaves_no_empty_page_behind():
    engine = Engine(FEW_LEVELS)
    engine.feed(run(sub_penny(2047)))
    before = engine.block.get("page_entries")
    engine.feed(run([add(1 << 40, price=999_999)]))
    assert counted(engine) == {"level_store_full": 1}
    assert engine.block.get("page_entries") == before
    validate(engine)


def test_a_replacement_that_finds_no_level_removes_the_original():
    engine = Engine(FEW_LEVELS)
    engine.feed(run([*sub_penny(2047), add(60_000, "S", price=90_000_000)]))
    engine.feed(run([replace(60_000, 60_001, price=90_000_050)]))
    assert counted(engine) == {"level_store_full": 1}
    assert engine.orders_live == 2047 and prices(engine, "S") == []
    validate(engine)


def test_a_window_that_cannot_move_stays_and_nothing_is_lost():
    """With fewer free nodes than a window has levels, what it holds could not be moved out."""
    free = 500
    stream = sub_penny(2047 - free)
    stream += [add(20_000 + n, "S", price=90_000_000 + 100 * n) for n in range(WINDOW - 256)]
    better = [add(30_000 + n, "S", price=80_000_000 - 100 * n) for n in range(200)]
    engine = follow(stream + better, FEW_LEVELS, whole_every=800)
    recentres = engine.counters["recentres"]
    assert counted(engine) == {}
    assert prices(engine, "S")[:2] == [79_980_100, 79_980_200]
    engine.feed(run([delete(1 + n) for n in range(2047 - free)]))
    engine.feed(run([add(40_000 + n, "S", price=79_970_000 - 100 * n) for n in range(70)]))
    assert engine.counters["recentres"] > recentres, "it moves once there is room"
    validate(engine)


@pytest.mark.parametrize("seed", range(3))
def test_a_level_store_that_is_always_full_stays_sound(seed):
    rng = random.Random(seed)
    live: list[int] = []
    stream = []
    for ref in range(1, 6000):
        if live and rng.random() < 0.3:
            stream.append(delete(live.pop(rng.randrange(len(live)))))
        stream.append(add(ref, price=rng.choice([1, 10_001]) + 100 * rng.randrange(3000)))
        live.append(ref)
    engine = follow(stream, FEW_LEVELS, whole_every=1500)
    assert engine.counters["level_store_full"] > 50
