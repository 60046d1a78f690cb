"""PITCH into books beside the reference: every message of streams made to collide, and by hand."""

import pytest
from hypothesis import given, settings

import pitch_streams
from pitch_scenes import (
    BASE,
    follow,
    played,
)
from pitch_streams import collisions
from tickpath import Engine

SECOND = 1_000_000_000
LATE = 34_200 * SECOND


def book_of(engine: Engine, symbol: str = "AAPL") -> dict[str, int]:
    record = engine.block.book[engine.number_of(symbol)]
    return {name: int(record[name]) for name in record.dtype.names}


# ---------------------------------------------------------------- streams


@pytest.mark.parametrize("seed", range(6))
def test_a_stream_of_collisions_beside_the_reference(seed):
    engine = follow(collisions(seed, 3000, lively=seed % 2 == 1), whole_every=100)
    assert len(engine.messages_by_type) == (20 if seed % 2 else 21)
    expected = {"unknown_order_ref", "duplicate_order_ref", "over_execution", "over_cancel"}
    expected |= {"zero_quantity", "side_invalid", "messages_longer", "unknown_type", "wrong_length"}
    assert expected <= {name for name, n in engine.counters.items() if n}


@settings(max_examples=120)
@given(pitch_streams.messages())
def test_what_hypothesis_chooses_beside_the_reference(stream):
    played(*stream)


def test_many_live_orders_beside_the_reference():
    ids = [BASE + 977 * n for n in range(900)]
    follow(collisions(77, 6000, ids, lively=True), whole_every=1500)
