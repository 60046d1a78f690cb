"""Windows: keys and levels in plain Python, the market's walk, re-centring, the edges of prices."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from itch_messages import run
from scenes import add, counted, delete, execute, follow, played, queue, replace
from streams import SMALL
from structure import validate
from tickpath import Config, Engine, window
from tickpath.config import Capacity
from tickpath.jit import HOT
from tickpath.layout import WINDOW

BIG = Config(capacity=Capacity(symbols=2, orders=1 << 20, overflow_levels=1 << 16, trades=1024))
HIGHEST = 0xFFFFFFFF
WHOLE_CENTS = HIGHEST // 100 * 100


@njit(**HOT)
def _price_key(price, sd):
    return window.price_key(price, sd)


@njit(**HOT)
def _level_of(engine, sd, price):
    return window.level_of(engine, sd, price)


@njit(**HOT)
def _price_of(engine, level):
    return window.price_of(engine, level)


@given(st.integers(0, HIGHEST), st.integers(0, HIGHEST), st.integers(0, 9))
def test_a_better_price_has_a_larger_key(one, other, sd):
    keys = [int(_price_key(np.uint64(price), np.uint64(sd))) for price in (one, other)]
    assert all(0 <= key <= HIGHEST for key in keys)
    assert int(_price_key(np.uint64(keys[0]), np.uint64(sd))) == one, "its own inverse"
    assert (keys[0] > keys[1]) == (one < other if sd & 1 else one > other)


@pytest.mark.parametrize("side", "BS")
@pytest.mark.parametrize("price", [1_000_000, 9_000, 1, 102_300, 1_999_999_900, WHOLE_CENTS])
def test_level_and_price_are_inverse_inside_the_window_and_zero_outside(side, price):
    engine = played(add(1, side, price=price), config=SMALL)
    address, sd = engine.block.address, np.uint64(2 + (side == "S"))
    tick = 1 if price < 10_000 else 100
    inside = set()
    for candidate in range(max(0, price - 3000 * tick), min(HIGHEST, price + 3000 * tick), tick):
        level = _level_of(address, sd, np.uint64(candidate))
        if level:
            assert int(_price_of(address, level)) == candidate
            assert int(level) >> 10 == sd
            inside.add(candidate)
    assert price in inside and len(inside) <= WINDOW
    ordered = sorted(inside)
    assert ordered[-1] - ordered[0] == (len(ordered) - 1) * tick, "a window has no holes"
    if tick == 100:
        assert not _level_of(address, sd, np.uint64(price + 50))


def test_a_window_leaves_room_in_front_of_the_touch_and_most_of_it_behind():
    engine = played(add(1, "B", price=1_000_000), add(2, "S", price=1_000_100))
    address = engine.block.address
    for sd, better in ((2, 100), (3, -100)):
        start = 1_000_000 if sd == 2 else 1_000_100
        assert _level_of(address, np.uint64(sd), np.uint64(start + 192 * better))
        assert not _level_of(address, np.uint64(sd), np.uint64(start + 257 * better))
        assert _level_of(address, np.uint64(sd), np.uint64(start - 700 * better))
        assert not _level_of(address, np.uint64(sd), np.uint64(start - 900 * better))


# ---------------------------------------------------------------- the market walks


def walk(rng: random.Random, steps: int, drift: float, book_depth: int = 40) -> list[bytes]:
    """A two-sided market whose middle wanders; old orders are left far behind, then removed."""
    mid, ref, live, stream = 5_000_000, 0, [], []
    for _ in range(steps):
        mid += 100 * round(rng.gauss(drift, 6))
        for side, sign in (("B", -1), ("S", 1)):
            ref += 1
            away = 100 * (1 + int(rng.expovariate(1 / book_depth)))
            odd = rng.choice([0, 0, 0, 0, 50, 1])
            stream.append(add(ref, side, rng.randint(1, 500), mid + sign * (away + odd)))
            live.append(ref)
        while len(live) > 400:
            at = rng.randrange(len(live))
            gone = live.pop(at)
            kind = rng.random()
            if kind < 0.5:
                stream.append(delete(gone))
            elif kind < 0.8:
                stream.append(execute(gone, 500))
            else:
                ref += 1
                stream.append(replace(gone, ref, 10, mid - 100 * rng.randint(-300, 300)))
                live.append(ref)
    return stream


@pytest.mark.parametrize(("drift", "ticks"), [(4.0, 5000), (-4.0, 5000), (0.0, 0)])
def test_a_market_that_walks_thousands_of_ticks(drift, ticks):
    rng = random.Random(int(drift))
    engine = follow(walk(rng, 2000, drift), BIG, whole_every=1000)
    assert engine.counters["recentres"] > (ticks // WINDOW if ticks else 1)


def test_a_market_that_walks_there_and_back_with_deep_books():
    rng = random.Random(3)
    stream = walk(rng, 1200, 5.0, 700)
    ref = 1_000_000
    deep = [add(ref + n, "B", 10, 5_000_000 - 100 * n) for n in range(3000)]
    deep += [add(2 * ref + n, "S", 10, 5_000_100 + 100 * n) for n in range(3000)]
    back = [delete(ref + n) for n in range(3000)] + [delete(2 * ref + n) for n in range(3000)]
    engine = follow([*deep, *stream, *back], BIG, whole_every=4000)
    assert engine.counters["recentres"] > 5 and engine.counters["overflow_adds"] > 2000


@pytest.mark.parametrize("side", "BS")
def test_the_touch_leaves_the_window_both_ways(side):
    """A window follows a best price that runs away behind it, and one that falls back."""
    sign = 1 if side == "B" else -1
    up = [add(n, side, price=5_000_000 + sign * 100 * 40 * n) for n in range(1, 300)]
    down = [delete(n) for n in reversed(range(2, 300))]
    engine = follow(up + down, BIG, whole_every=50)
    assert queue(engine) == [(1, int(side == "S"), 5_000_000 + sign * 4000, 100)]


@pytest.mark.parametrize("side", "BS")
def test_moving_costs_no_more_than_its_share_of_the_adds(side):
    """However prices jump, a window with orders moves at most once in `MISSES` adds."""
    rng = random.Random(9)
    places = [1_000_000 + 100 * 1500 * n for n in range(8)]
    stream = [
        add(ref, side, price=rng.choice(places) + 100 * rng.randint(-500, 500))
        for ref in range(4000)
    ]
    engine = Engine(BIG)
    engine.feed(run(stream))
    assert engine.counters["recentres"] <= 1 + len(stream) // window.MISSES
    validate(engine)


def test_a_window_moves_when_it_is_empty():
    engine = played(add(1, price=1_000_000), delete(1), add(2, price=9_000_000), config=SMALL)
    assert engine.counters["recentres"] == 2 and engine.counters["overflow_adds"] == 0


def test_stub_quotes_stay_outside_and_the_touch_inside():
    engine = played(
        *(add(1, "B", price=1), add(2, "S", price=1_999_999_900)),
        *(add(10 + n, "B", price=1_000_000 - 100 * n) for n in range(70)),
        *(add(100 + n, "S", price=1_000_100 + 100 * n) for n in range(70)),
        config=BIG,
    )
    level = int(engine.block.side["best"][2])
    assert level < engine.block.get("far0")
    assert queue(engine)[69:71] == [(79, 0, 993_100, 100), (1, 0, 1, 100)]


# ---------------------------------------------------------------- ticks below a dollar


@pytest.mark.parametrize("side", "BS")
def test_prices_below_a_dollar_have_ticks_of_a_hundredth_of_a_cent(side):
    sign = 1 if side == "B" else -1
    stream = [add(n, side, price=5_000 + sign * n) for n in range(1, 200)]
    engine = follow(stream, SMALL, whole_every=20)
    assert engine.counters["overflow_adds"] == 0


@pytest.mark.parametrize("side", "BS")
def test_coarse_levels_whose_keys_a_fine_window_has_too(side):
    """Five cents are tick 5 of a coarse window and tick 500 of a fine one: the same keys."""
    coarse = [add(1, side, price=15_000), add(2, side, price=500), add(3, side, price=90_000)]
    fine = [add(10 + n, side, price=401 + 3 * n) for n in range(90)]
    engine = follow([*coarse, delete(1), *fine, delete(2)], SMALL, whole_every=1)
    assert engine.block.side["base"][2 + (side == "S")] >> 31 == (side == "S")
    engine = follow([*coarse, delete(1), delete(3), *fine, delete(2)], SMALL, whole_every=1)
    assert engine.block.side["base"][2 + (side == "S")] >> 31 == 1, "the window became fine"


@pytest.mark.parametrize("side", "BS")
@pytest.mark.parametrize("seed", range(3))
def test_a_market_that_crosses_the_dollar_again_and_again(side, seed):
    """The window changes between coarse and fine ticks with a book on either side of a dollar."""
    rng = random.Random(seed)
    stream, live = [], []
    for ref in range(1, 2500):
        px = 10_000 + round(7_000 * math.sin(ref / 120)) + rng.randint(-40, 40)
        stream.append(add(ref, side, price=px if px < 10_000 else px // 100 * 100))
        live.append(ref)
        if len(live) > 60 or rng.random() < 0.1:
            stream.append(delete(live.pop(rng.randrange(len(live)))))
    engine = follow(stream, SMALL, whole_every=100)
    assert engine.counters["recentres"] > 5


# ---------------------------------------------------------------- the edges


EDGES = [0, 1, 99, 100, 9_999, 10_000, 102_399, 102_400, WHOLE_CENTS - 100, WHOLE_CENTS, HIGHEST]


@given(
    st.lists(
        st.tuples(st.sampled_from("BS"), st.sampled_from(EDGES), st.integers(-3, 3)),
        min_size=1,
        max_size=25,
    ),
    st.randoms(use_true_random=False),
)
def test_the_lowest_and_the_highest_prices(given_prices, rng):
    stream = [
        add(ref, side, price=min(HIGHEST, max(0, price + 100 * away)))
        for ref, (side, price, away) in enumerate(given_prices, 1)
    ]
    refs = list(range(1, len(stream) + 1))
    rng.shuffle(refs)
    engine = follow(stream + [delete(ref) for ref in refs], SMALL, whole_every=1)
    assert engine.orders_live == 0 and set(counted(engine)) <= {"locked_book", "crossed_book"}
