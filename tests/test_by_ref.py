"""Operations by reference: one book whichever store keeps the orders, and stated outcomes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import pitch_scenes
import scenes
from itch_messages import run
from pitch_streams import PITCH
from scenes import counted, queue
from structure import validate
from tickpath import Engine
from tickpath.layout import PAGE

PRICES = [1_000_000, 1_000_100, 999_900, 1_100_000, 1, 1_000_050]
Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "sell", "delete", "reduce", "execute", "replace"]),
        st.integers(1, 12),
        st.sampled_from([0, 1, 40, 100, 250]),
        st.sampled_from(PRICES),
    ),
    max_size=60,
)


def itch_of(step: Step, names: dict[int, int]) -> bytes:
    """The step by Nasdaq, whose replaced orders get a new reference."""
    what, ref, shares, price = step
    known = names.get(ref, ref)
    if what in ("add", "sell"):
        return scenes.add(known, "S" if what == "sell" else "B", shares, price)
    if what == "replace":
        names[ref] = new = known + PAGE
        return scenes.replace(known, new, shares, price)
    return {
        "delete": lambda: scenes.delete(known),
        "reduce": lambda: scenes.cancel(known, shares),
        "execute": lambda: scenes.execute(known, shares),
    }[what]()


def pitch_of(step: Step) -> bytes:
    what, ref, shares, price = step
    if what in ("add", "sell"):
        return pitch_scenes.add(ref, "S" if what == "sell" else "B", shares, price)
    if what == "replace":
        return pitch_scenes.modify(ref, shares, price, 0)
    return {
        "delete": lambda: pitch_scenes.delete(ref),
        "reduce": lambda: pitch_scenes.reduce(ref, shares),
        "execute": lambda: pitch_scenes.execute(ref, shares),
    }[what]()


@given(steps)
def test_both_stores_make_the_same_book(given_steps):
    """Queues, levels and counts of what cannot be applied, of dense and of sparse references."""
    dense, sparse = Engine(PITCH), Engine(PITCH)
    names: dict[int, int] = {}
    for step in given_steps:
        dense.feed(run([itch_of(step, names)]))
        pitch_scenes.feed(sparse, [pitch_of(step)])
        assert [row[1:] for row in queue(dense)] == [row[1:] for row in queue(sparse)]
    for engine in (dense, sparse):
        validate(engine)
    # An add under a reference that was replaced is another order to Nasdaq, a second to Cboe.
    if not names:
        assert counted(dense) == counted(sparse)


@pytest.mark.parametrize("seed", range(4))
def test_an_order_that_goes_to_the_end_is_one_that_left_and_came(seed):
    """By one message, or by a delete and an add: the same queues, digest and windows."""
    rng = random.Random(seed)
    one, two = Engine(PITCH), Engine(PITCH)
    live: dict[int, str] = {}
    for _ in range(1500):
        ref, shares, price = rng.randint(1, 60), rng.choice([1, 50, 300]), rng.choice(PRICES)
        if ref not in live:
            live[ref] = rng.choice("BS")
            raws = [pitch_scenes.add(ref, live[ref], shares, price)]
            pitch_scenes.feed(one, raws)
            pitch_scenes.feed(two, raws)
            continue
        pitch_scenes.feed(one, [pitch_scenes.modify(ref, shares, price, 1)])
        again = pitch_scenes.add(ref, live[ref], shares, price)
        pitch_scenes.feed(two, [pitch_scenes.delete(ref), again])
        if rng.random() < 0.2:
            del live[ref]
            pitch_scenes.feed(one, [pitch_scenes.delete(ref)])
            pitch_scenes.feed(two, [pitch_scenes.delete(ref)])
    assert queue(one) == queue(two) and one.book_digest == two.book_digest
    assert one.block.side.tobytes() == two.block.side.tobytes()
    assert counted(one) == counted(two)
    validate(one)


def test_an_order_that_is_modified_to_nothing_is_gone_from_the_store():
    engine = Engine(PITCH)
    pitch_scenes.feed(engine, [pitch_scenes.add(n) for n in range(900)])
    pitch_scenes.feed(engine, [pitch_scenes.modify(n, 0, flags=n & 2) for n in range(0, 900, 3)])
    assert engine.orders_live == engine.block.get("sparse_live") == 600
    assert counted(engine) == {"zero_quantity": 150}
    validate(engine)


def test_an_order_that_finds_no_level_at_its_new_price_is_gone():
    """Its entry and slot too."""
    capacity = replace(PITCH.capacity, overflow_levels=2048, sparse_orders=4096)
    engine = Engine(replace(PITCH, capacity=capacity))
    pitch_scenes.feed(engine, [pitch_scenes.add(n) for n in range(3)])
    far = [pitch_scenes.add(10 + n, price=100_000_000 + 1_001 * n) for n in range(2_100)]
    pitch_scenes.feed(engine, far)
    left_out = engine.counters["level_store_full"]
    assert left_out > 0 and engine.orders_live == 3 + 2_100 - left_out
    pitch_scenes.feed(engine, [pitch_scenes.modify(1, 100, 7, 0), pitch_scenes.delete(1)])
    assert engine.orders_live == engine.block.get("sparse_live") == 2 + 2_100 - left_out
    assert counted(engine)["level_store_full"] == left_out + 1
    assert counted(engine)["unknown_order_ref"] == 1
    validate(engine)
