"""Looking ahead changes nothing: the same block, byte for byte, as one message at a time."""

import random

import numpy as np
import pytest

from itch_messages import message, run
from scenes import TS, add, delete, replace
from streams import SMALL, collisions, market
from structure import validate
from test_pipeline import lend
from tickpath import Engine
from tickpath.layout import LOOKAHEAD, PAGE, REGIONS
from tickpath.lookahead import DISTANCE
from tickpath.packet import LINK_MESSAGES

MEASURED = {"ahead", "histogram"}
"""Regions that say how the engine did it."""
OF_THE_RUN = {"cursor", "run_end", "run_left", "stamp", "lent_at", "sampled", "packets"}
OF_THE_RUN |= {"scrub_table"}
"""Fields of the engine's record that say where it stands, or when it was there; an address."""
TRAFFIC = slice(0, 6)
"""Counters of packets and bytes."""


def block_of(engine: Engine) -> dict[str, bytes]:
    """Every region's bytes that a message may have changed, and the engine's record by field."""
    views = {
        region.name: engine.block.views[region.name].copy()
        for region in REGIONS
        if region.name not in MEASURED
    }
    views["counter"]["value"][TRAFFIC] = 0
    record = engine.block.engine[0]
    kept = [name for name in record.dtype.names if name not in OF_THE_RUN]
    return {
        **{name: view.tobytes() for name, view in views.items()},
        **{f"engine.{name}": record[name].tobytes() for name in kept},
    }


def assert_same(stream: list[bytes]) -> None:
    """A run of all messages leaves the block as they do one by one, which looks nowhere ahead."""
    together, alone = Engine(SMALL), Engine(SMALL)
    together.feed(run(stream))
    for each in stream:
        alone.feed(run([each]))
    one, other = block_of(together), block_of(alone)
    # Slot 0 and the links of dead orders are whatever was there last: the same in both.
    assert [name for name in one if one[name] != other[name]] == []
    validate(together)


@pytest.mark.parametrize("seed", range(4))
def test_collisions_leave_the_same_block(seed):
    assert_same(list(collisions(200 + seed, 4000, range(1, 100) if seed % 2 else None)))


@pytest.mark.parametrize("seed", range(2))
def test_a_market_leaves_the_same_block(seed):
    assert_same(list(market(40 + seed, 4000)))


@pytest.mark.parametrize("length", [*range(1, 2 * DISTANCE + 4), LOOKAHEAD, LOOKAHEAD + 1])
def test_runs_of_every_length_around_the_distance(length):
    assert_same(list(collisions(length, length)))


def test_messages_that_need_each_other_within_the_distance():
    """An order that comes, moves to a new page, and goes before its first look was of use."""
    rng, stream = random.Random(5), []
    for ref in range(1, 2000):
        far = ref * PAGE
        chain = [add(ref), replace(ref, far), replace(far, far + 1), delete(far + 1)]
        stream += chain if ref % 3 else [add(ref, price=rng.randint(1, 0xFFFFFFFF)), delete(ref)]
    assert_same(stream)


def test_messages_that_are_none_can_be_looked_at():
    rng = random.Random(6)
    stream = []
    for _ in range(3000):
        size = rng.choice([0, 1, 5, 11, 19, 36, 40, 60])
        raw = bytes(rng.randrange(256) for _ in range(size))
        stream.append(rng.choice([raw, b"A" + raw[1:], b"U" + raw[1:], b"E" + raw[1:], add(size)]))
    assert_same(stream)


@pytest.mark.parametrize("behind", [b"", b"\x00", b"\xff\xff", b"\x00\x24A", b"\x00" * 30])
def test_the_end_of_a_run_is_not_looked_beyond(behind):
    """The last messages of a run are short, and what stands behind the run is not its own."""
    stream = [*(add(n) for n in range(40)), *(message("S", 0, TS, event_code="O"),) * 3]
    raw = run(stream) + behind
    lent, held = lend([raw], LINK_MESSAGES)
    engine = Engine(SMALL)
    engine.process(lent)
    del held
    assert (engine.orders_live == 40 and engine.messages_by_type == {"S": 3, "A": 40}) or behind
    assert engine.counters["bytes_messages"] >= len(run(stream))
    assert np.count_nonzero(engine.block.order["level"]) == 40
