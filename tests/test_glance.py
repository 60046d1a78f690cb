"""Glancing at the packets behind changes nothing: the same block as packets lent one by one."""

import random

import numpy as np
import pytest

from itch_messages import packets, run
from scenes import add, delete, replace
from streams import SMALL, collisions, market
from structure import validate
from test_lookahead import block_of
from test_pipeline import lend
from tickpath import Engine
from tickpath.glance import FIRST, MOST
from tickpath.layout import PAGE

STAMPED = {"engine.packets", "engine.stamp", "engine.lent_at"}


def assert_same(raws: list[bytes], burst: int) -> Engine:
    """Packets in bursts leave the block as they do one by one, when nothing waits behind any."""
    together, alone = Engine(SMALL), Engine(SMALL)
    for first in range(0, len(raws), burst):
        lent, held = lend(raws[first : first + burst])
        together.process(lent)
        del held
    for raw in raws:
        lent, held = lend([raw])
        alone.process(lent)
        del held
    one, other = block_of(together), block_of(alone)
    assert [name for name in one if one[name] != other[name] and name not in STAMPED] == []
    assert together.counters == alone.counters
    validate(together)
    return together


@pytest.mark.parametrize("each", [1, 2, 3, int(MOST) - 1, int(MOST), int(MOST) + 1, 20])
@pytest.mark.parametrize("burst", [2, int(FIRST) + 1, 50])
def test_packets_of_any_size_in_any_burst(each, burst):
    stream = list(collisions(300 + each, 1500))
    engine = assert_same(list(packets(stream, each)), burst)
    assert engine.messages == len(stream)


def test_a_market():
    assert_same(list(packets(list(market(44, 4000)), 3)), 64)


def test_packets_that_need_each_other():
    stream = []
    for ref in range(1, 1200):
        far = ref * PAGE
        stream += [add(ref), replace(ref, far), replace(far, far + 1), delete(far + 1)]
    assert_same(list(packets(stream, 2)), 128)


def test_packets_that_are_none_can_be_glanced_at():
    """Cut, flipped and foreign bytes behind, and messages whose lengths say anything."""
    rng = random.Random(8)
    good = list(packets(list(collisions(9, 1200)), 3))
    raws = []
    for raw in good:
        bad = bytearray(raw)
        for _ in range(rng.randrange(4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        raws.append(rng.choice([raw, bytes(bad), bytes(bad[: rng.randrange(len(bad))])]))
    assert_same(raws, 40)


def test_small_packets_are_left_to_the_glance_and_long_runs_to_the_ring():
    stream = [add(ref) for ref in range(1, 200)]
    lent, held = lend(list(packets(stream, 1)))
    engine = Engine(SMALL)
    engine.process(lent)
    del held
    assert engine.orders_live == len(stream)
    assert np.count_nonzero(engine.block.ahead["message"]) == 0
    engine.feed(run(stream))
    assert np.count_nonzero(engine.block.ahead["message"]) > 0
