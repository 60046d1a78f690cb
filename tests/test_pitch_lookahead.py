"""Looking ahead in PITCH changes nothing: the same block, byte for byte, as message by message."""

import random

import numpy as np
import pytest

from pitch_messages import message
from pitch_scenes import BASE, add, delete, execute, feed, modify
from pitch_streams import PITCH, collisions
from structure import validate
from test_lookahead import block_of
from test_pipeline import lend
from tickpath import Engine, pitch_lookahead
from tickpath.layout import LOOKAHEAD
from tickpath.lookahead import DISTANCE
from tickpath.packet import LINK_PITCH


def assert_same(stream: list[bytes]) -> None:
    """A run of all messages leaves the block as they do one by one, which looks nowhere ahead."""
    together, alone = Engine(PITCH), Engine(PITCH)
    feed(together, stream)
    for each in stream:
        feed(alone, [each])
    one, other = block_of(together), block_of(alone)
    assert [name for name in one if one[name] != other[name]] == []
    validate(together)


@pytest.mark.parametrize("seed", range(6))
def test_collisions_leave_the_same_block(seed):
    ids = [BASE + 977 * n for n in range(400)] if seed % 2 else None
    assert_same(list(collisions(300 + seed, 4000, ids, lively=seed % 3 == 0)))


@pytest.mark.parametrize("length", [*range(1, 3 * DISTANCE + 4), LOOKAHEAD, LOOKAHEAD + 1])
def test_runs_of_every_length_around_the_distance(length):
    assert_same(list(collisions(length, length, lively=True)))


def test_orders_that_come_and_go_between_the_looks():
    """A slot or a level that a look found is another's by the next one."""
    rng, stream = random.Random(5), []
    for n in range(2500):
        ref = BASE + 31 * n
        gap = rng.choice([0, 1, 7, 8, 9, 15, 16, 17, 23, 24, 25])
        stream.append((n, add(ref, rng.choice("BS"), price=rng.randint(1, 0xFFFFFFFF))))
        stream.append((n + 0.1, modify(ref, 50, rng.choice([1_000_000, 5]), rng.choice([0, 2]))))
        stream.append((n + gap, rng.choice([delete(ref), execute(ref, 100), execute(ref, 10)])))
    assert_same([raw for _, raw in sorted(stream, key=lambda each: each[0])])


def test_messages_that_are_none_can_be_looked_at():
    rng, stream = random.Random(6), []
    for n in range(3000):
        size = rng.choice([2, 3, 6, 14, 22, 26, 34, 40, 90])
        raw = bytes([size, rng.choice([0x21, 0x22, 0x27, 0x29, 0x99])]) + rng.randbytes(size - 2)
        stream.append(rng.choice([raw, raw, bytes([rng.choice([0, 1])]) + raw[1:2], add(n)]))
    assert_same(stream)


@pytest.mark.parametrize("behind", [b"", b"\x00", b"\x22", b"\x1a\x22" + bytes(9), b"\xff\x21"])
def test_the_end_of_a_run_is_not_looked_beyond(behind):
    """The last messages of a run are short, and what stands behind the run is not its own."""
    stream = [*(add(n) for n in range(40)), *(message("time", time=34_200),) * 3]
    raw = b"".join(stream) + behind
    lent, held = lend([raw], LINK_PITCH)
    engine = Engine(PITCH)
    engine.process(lent)
    del held
    assert engine.orders_live == 40 and engine.messages_by_type == {"0x20": 3, "0x2F": 40}
    assert engine.counters["bytes_skipped"] == len(behind)
    assert np.count_nonzero(engine.block.order["level"]) == 40


def test_a_look_reads_no_more_than_it_says():
    """What the first look may read is the longest message that it reads fields of."""
    assert int(pitch_lookahead.BYTES) == len(message("add_order_long"))
