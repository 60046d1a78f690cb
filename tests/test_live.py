"""The live loop on a transport in memory: the same results as a replay, orders out at once."""

import msgspec
import numpy as np
import pytest

from memory_transport import AT, LENT, MISUSE, SENDS, MemoryTransport
from sessions import session
from tickpath import Config, Engine
from tickpath.capture import open_capture
from tickpath.config import Transport
from tickpath.live import Live
from tickpath.orders import AUDIT_LIMIT

TAKER = "tickpath.samples:imbalance_taker"
OUT = "10.0.0.2:26500"


@pytest.fixture(scope="module")
def packets():
    with open_capture(session()) as capture:
        yield np.concatenate([batch.copy() for batch in capture.batches()])


def config(burst: int = 64, orders_to: str | None = OUT) -> Config:
    return Config(transport=Transport(burst=burst, orders_to=orders_to))


def as_replayed(packets: np.ndarray) -> tuple[Engine, bytes]:
    orders: list[bytes] = []
    engine = Engine(strategy=TAKER, on_orders=lambda each: orders.append(bytes(each)))
    engine.process(packets)
    assert engine.counters["orders_sent"] > 100
    return engine, b"".join(orders)


def run(engine: Engine, transport: MemoryTransport, steps: int = 2_000) -> Live:
    """Step until all was taken."""
    with Live(engine, transport) as live:
        for _ in range(steps):
            live.step(100_000)
            if transport.is_empty and not transport.state[LENT]:
                break
    assert transport.is_empty and transport.state[MISUSE] == 0
    return live


def assert_same(engine: Engine, other: Engine) -> None:
    assert engine.state_digest == other.state_digest
    assert engine.book_digest == other.book_digest
    assert engine.counters == other.counters


@pytest.mark.parametrize("burst", [1, 7, 64])
def test_orders_leave_as_they_are_made(packets, burst):
    reference, orders = as_replayed(packets)
    transport = MemoryTransport(packets)
    engine = Engine(config(burst), strategy=TAKER)
    live = run(engine, transport)
    assert transport.orders == orders
    # Orders of one message leave together; those of the next message have their own turn.
    assert transport.state[SENDS] > reference.counters["orders_sent"] // 2
    assert_same(engine, reference)
    counters = live.counters
    assert counters["received"] == len(packets)
    assert counters["bursts"] == -(-len(packets) // burst) and counters["busy_ns"] > 0


def test_python_gets_the_bytes_too(packets):
    reference, orders = as_replayed(packets)
    transport, kept = MemoryTransport(packets), []
    engine = Engine(config(), strategy=TAKER, on_orders=lambda each: kept.append(bytes(each)))
    run(engine, transport)
    assert transport.orders == b"".join(kept) == orders
    assert_same(engine, reference)


def test_a_small_send_buffer_is_emptied_in_time(packets):
    _, orders = as_replayed(packets)
    transport, kept = MemoryTransport(packets), []
    engine = Engine(config(), strategy=TAKER, on_orders=lambda each: kept.append(bytes(each)))
    engine.block.set("egress_limit", 100)
    run(engine, transport)
    assert transport.orders == b"".join(kept) == orders
    assert max(len(each) for each in kept) < 1_000


def test_without_a_place_to_send_to_python_gets_each_at_once(packets):
    reference, orders = as_replayed(packets)
    transport, kept = MemoryTransport(packets), []
    engine = Engine(config(orders_to=None), strategy=TAKER)
    engine.on_orders = lambda each: kept.append(bytes(each))
    run(engine, transport)
    assert b"".join(kept) == orders and transport.orders == b""
    assert len(kept) > reference.counters["orders_sent"] // 2
    assert_same(engine, reference)


@pytest.mark.parametrize("limit", [None, 100])
def test_orders_of_a_standby_are_handed_over_when_a_step_ends(packets, limit):
    reference, orders = as_replayed(packets)
    transport, kept = MemoryTransport(packets), []
    engine = Engine(config(orders_to=None), strategy=TAKER)
    engine.on_orders = lambda each: kept.append(bytes(each))
    if limit is not None:
        engine.block.set("egress_limit", limit)
    steps = 0
    with Live(engine, transport, is_standby=True) as live:
        while not transport.is_empty or transport.state[LENT]:
            live.step(100_000)
            steps += 1
        assert b"".join(kept) == orders  # nothing is left over
    assert limit is not None or len(kept) <= steps
    assert transport.orders == b"" and transport.state[MISUSE] == 0
    assert limit is None or max(len(each) for each in kept) < 1_000
    assert_same(engine, reference)


def test_decisions_and_best_prices_are_handed_over(packets):
    rows, decisions = [], []
    engine = Engine(
        config(),
        strategy=TAKER,
        on_bbo=lambda columns: rows.append(len(columns["seq"])),
        on_audit=lambda audit, lost: decisions.append((len(audit), lost)) or True,
    )
    run(engine, MemoryTransport(packets))
    counters = engine.counters
    assert sum(number for number, _ in decisions) == counters["intents"]
    assert {lost for _, lost in decisions} == {0}
    assert max(number for number, _ in decisions) < AUDIT_LIMIT + 64
    assert sum(rows) > 1_000


def test_orders_made_between_steps_leave_through_the_transport(packets):
    transport = MemoryTransport(packets)
    engine = Engine(config(), strategy=TAKER)
    half = len(packets) // 2
    reference, orders = as_replayed(packets)
    transport.state[1] = half
    with Live(engine, transport) as live:
        while not transport.is_empty:
            live.step(100_000)
        engine.process(packets[half:])
    assert transport.orders == orders
    assert_same(engine, reference)


def test_the_engine_is_as_before_afterwards(packets):
    engine = Engine(config(), strategy=TAKER)
    limit = engine.block.get("egress_limit")
    transport = MemoryTransport(packets[:100])
    with pytest.raises(KeyError), Live(engine, transport) as live:
        while not transport.is_empty:
            live.step()
        raise KeyError
    assert engine.block.get("egress_limit") == limit and engine.block.get("polled_at") == 0
    assert engine.on_orders is None
    engine.process(packets[100:])
    assert engine.take_orders()


def test_nothing_is_taken_before_the_first_step(packets):
    transport = MemoryTransport(packets)
    engine = Engine(config(), strategy=TAKER)
    live = Live(engine, transport)
    assert transport.state[AT] == 0 and engine.messages == 0
    with live:
        live.step(100_000)
    assert engine.messages > 0


def test_the_message_limit_ends_it(packets):
    engine = Engine(config(), strategy=TAKER)
    engine.block.set("message_limit", 5_000)
    transport = MemoryTransport(packets)
    with Live(engine, transport) as live:
        for _ in range(100):
            live.step(100_000)
    assert engine.messages == 5_000 and engine.block.get("stopped")
    assert transport.state[LENT] == 0, "what is lent is given back at the end"


def test_time_passes_without_packets(packets):
    """A line's window ends by the clock."""
    feed = msgspec.structs.replace(Config().feed, reorder_packets=8, reorder_us=1_000)
    waiting = msgspec.structs.replace(config(), feed=feed)
    engine = Engine(waiting, strategy=TAKER)
    # The second packet is missing, and behind the third nothing comes.
    transport = MemoryTransport(packets[[0, 2]])
    with Live(engine, transport) as live:
        while not transport.is_empty:
            live.step(100_000)
        live.step(100_000)
    assert [(each.first, each.last) for each in engine.gaps()] != []
