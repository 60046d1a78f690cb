"""From intents to bytes: own orders and encoded messages equal to the reference's, byte by byte."""

import numpy as np
import pytest
from numba import njit

from comparison import assert_equal
from itch_messages import message, run
from reference import Reference
from reference_orders import twin
from scenes import TS, add, delete, execute
from streams import CAPACITY, collisions, market
from tickpath import Config, Engine, emit, view
from tickpath.config import Orders, Risk, StrategyConfig
from tickpath.layout import MAX_INTENTS, OWN_ORDERS
from tickpath.ouch import order_id_of, token_of
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND
from trader import CANCEL, MODIFY, NEW, NEWS, REPLACE, busy, script, scripted, trading

OPEN = Risk(unknown_trading_state="trade", order_burst=1_000_000)


QUOTE = [add(1, "B", 300, 1_000_000), add(2, "S", 200, 1_000_200)]


def played(*steps: tuple[int, int, int, int], protocol: str = "ouch50") -> Engine:
    """An engine whose strategy took the steps, equal to the reference after each."""
    config = scripted(steps, risk=OPEN, orders=Orders(protocol=protocol))
    engine = Engine(config, strategy=script)
    reference = Reference(engine.config, twin(script))
    taken = []
    for each in (*QUOTE, *[NEWS] * len(steps)):
        engine.feed(run([each]))
        reference.apply(each)
        taken += reference.desk.sent
        assert_equal(engine, reference)
    engine.taken = taken
    return engine


def own(engine: Engine, ref: int) -> tuple[int, int]:
    """(quantity, leaves) of an own order."""
    record = engine.block.own[ref]
    assert record["user_ref_num"] == ref
    return int(record["quantity"]), int(record["leaves"])


def test_a_new_order_as_bytes():
    engine = played((NEW, view.BUY, 100, 1_000_000))
    order_id = 3 * MAX_INTENTS
    assert engine.taken == [
        OUCH50_INBOUND["enter_order"].encode(
            user_ref_num=1,
            side="B",
            quantity=100,
            symbol="AAPL",
            price=100,
            time_in_force="0",
            display="Y",
            capacity="P",
            inter_market_sweep_eligibility="N",
            cross_type="N",
            clordid=token_of(order_id),
        )
    ]
    assert own(engine, 1) == (100, 100)


def test_a_new_order_as_bytes_of_ouch_42():
    engine = played((NEW, view.SELL, 100, 1_000_100), protocol="ouch42")
    (raw,) = engine.taken
    fields = OUCH42_INBOUND["enter_order"].decode(raw)
    assert (fields["buy_sell_indicator"], fields["shares"], str(fields["price"])) == (
        *("S", 100),
        "100.0100",
    )
    assert order_id_of(fields["order_token"]) == 3 * MAX_INTENTS


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
@pytest.mark.parametrize(
    ("steps", "state", "rejects"),
    [
        ([(NEW, 1, 100, 1_000_000), (CANCEL, 1, 0, 0)], {1: (0, 0)}, {}),
        ([(NEW, 1, 100, 1_000_000), (CANCEL, 1, 40, 0)], {1: (40, 40)}, {}),
        ([(NEW, 1, 100, 1_000_000), (CANCEL, 1, 100, 0)], {1: (100, 100)}, {"MALFORMED": 1}),
        ([(NEW, 1, 100, 1_000_000), (MODIFY, 1, 60, 0)], {1: (60, 60)}, {}),
        (
            [(NEW, 1, 100, 1_000_000), (REPLACE, 1, 70, 999_900)],
            {1: (100, 0), 2: (70, 70)},
            {},
        ),
        (
            [(NEW, 1, 100, 1_000_000), (REPLACE, 1, 70, 999_900), (CANCEL, 1, 0, 0)],
            {1: (100, 0), 2: (70, 70)},
            {"UNKNOWN_ORDER": 1},
        ),
        ([(CANCEL, 1, 0, 0), (REPLACE, 7, 5, 5), (MODIFY, 0, 5, 5)], {}, {"UNKNOWN_ORDER": 3}),
        (
            [(NEW, 1, 100, 1_000_000), (CANCEL, 1, 0, 0), (CANCEL, 1, 0, 0)],
            {1: (0, 0)},
            {"UNKNOWN_ORDER": 1},
        ),
        # 200 of 250 are taken at the touch, so 50 are left, and cutting to 220 leaves 20.
        ([(NEW, 1, 250, 1_000_200), (CANCEL, 1, 220, 0)], {1: (220, 20)}, {}),
        ([(NEW, 1, 250, 1_000_200), (MODIFY, 1, 150, 0)], {1: (150, 0)}, {}),
        ([(NEW, 1, 200, 1_000_200), (CANCEL, 1, 0, 0)], {1: (200, 0)}, {"UNKNOWN_ORDER": 1}),
        # A rejected replacement leaves the order as it was, and its number is not used again.
        (
            [(NEW, 1, 100, 1_000_000), (REPLACE, 1, 0, 999_900), (NEW, 1, 5, 1_000_000)],
            {1: (100, 100), 3: (5, 5)},
            {"MALFORMED": 1},
        ),
    ],
)
def test_cancels_replacements_and_modifications(steps, state, rejects, protocol):
    engine = played(*steps, protocol=protocol)
    assert {int(ref): own(engine, int(ref)) for ref in engine.block.own["user_ref_num"] if ref} == (
        state
    )
    assert engine.rejects_by_code == rejects


@njit
def flood(engine, book, kind, flags):
    """Emit as many new orders as the first cell says."""
    cells = view.state(engine)
    for at in range(cells[0]):
        ref = emit.new_order(engine, 1, view.BUY, 1 + at, 1_000_000)
        if ref == 0:
            cells[1] += 1


def flooding(count: int) -> Engine:
    strategy = StrategyConfig(cells=4, parameters=[count])
    return Engine(Config(capacity=CAPACITY, risk=OPEN, strategy=strategy), strategy=flood)


@pytest.mark.parametrize("wanted", [0, 1, MAX_INTENTS, MAX_INTENTS + 1, 100])
def test_intents_beyond_the_bound_are_dropped_and_counted(wanted):
    engine = flooding(wanted)
    engine.feed(run(QUOTE[:1]))
    sent = min(wanted, MAX_INTENTS)
    assert len(engine.take_orders()) == engine.counters["orders_sent"] == sent
    assert engine.counters["intents_dropped"] == wanted - sent == engine.block.cell["value"][1]


def ids(orders: list[bytes]) -> list[int]:
    enter = OUCH50_INBOUND["enter_order"]
    return [order_id_of(enter.decode(raw)["clordid"]) for raw in orders]


def test_an_orders_id_is_its_input_and_its_place():
    engine = flooding(3)
    engine.feed(run([*QUOTE, b"?"]))
    engine.feed(run([delete(1)]))
    expected = [number * MAX_INTENTS + place for number in (1, 2, 4) for place in range(3)]
    assert ids(engine.take_orders()) == expected


@njit
def everywhere(engine, book, kind, flags):
    emit.new_order(engine, 1, view.BUY, 1, 1_000_000)


def test_timers_and_messages_name_their_orders_apart():
    """A timer is an input of its own before the message that let it pass."""
    config = Config(
        capacity=CAPACITY, risk=OPEN, strategy=StrategyConfig(cells=4, timer_interval_ms=1)
    )
    engine = Engine(config, strategy=everywhere)
    stream = [add(1), *(message("S", 0, TS + n * 600_000, event_code="Q") for n in range(8))]
    engine.feed(run(stream))
    named = ids(engine.take_orders())
    assert engine.counters["timers"] == 5 and engine.block.get("input_number") == 9 + 5
    # The first timer finds no book to trade in yet.
    assert named == [number * MAX_INTENTS for number in range(2, 15)]


def test_own_orders_that_were_overwritten_are_unknown():
    engine = flooding(MAX_INTENTS)
    engine.feed(run([add(1)]))
    for _ in range(OWN_ORDERS // MAX_INTENTS // 16):
        engine.feed(run([NEWS] * 16))
    taken = engine.take_orders()
    assert len(taken) == OWN_ORDERS + MAX_INTENTS
    kept = np.flatnonzero(engine.block.own["user_ref_num"])
    assert len(kept) == OWN_ORDERS
    assert engine.block.own["user_ref_num"].min() == MAX_INTENTS + 1


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
@pytest.mark.parametrize("seed", range(3))
def test_a_busy_strategy_beside_its_twin(seed, protocol):
    """The same source, compiled and in plain Python, over engine and reference."""
    config = trading(protocol, timer_interval_ms=200, firm="LIME")
    engine, reference = Engine(config, strategy=busy), Reference(config, twin(busy))
    stream = list(market(seed, 4000) if seed else collisions(70, 3000, range(1, 60)))
    sent: list[bytes] = []
    for at in range(0, len(stream), 3):
        engine.feed(run(stream[at : at + 3]))
        reference.run(stream[at : at + 3])
        assert engine.take_orders() == reference.desk.sent, at
        sent += reference.desk.sent
        reference.desk.sent = []
        if at % 300 == 0:
            assert_equal(engine, reference)
    assert_equal(engine, reference)
    assert engine.counters["timers"] > 10
    if seed:
        assert {raw[:1] for raw in sent} == {b"O", b"U", b"X", b"M"}
        assert engine.counters["orders_sent"] > 100 and engine.counters["assumed_fills"] > 20
        assert set(engine.rejects_by_code) >= {
            *("MALFORMED", "UNKNOWN_ORDER", "SYMBOL_NOT_ALLOWED", "TRADING_STATE", "QUANTITY"),
            *("KILL_SWITCH", "PRICE_COLLAR", "POSITION", "ORDER_RATE"),
        }


def test_options_stand_in_every_order():
    options = {"postonly": "P", "minqty": 100}
    config = trading(options=options, replace_options={"postonly": "N"}, firm="LIME")
    engine, reference = Engine(config, strategy=busy), Reference(config, twin(busy))
    stream = list(market(5, 2500))
    engine.feed(run(stream))
    reference.run(stream)
    assert {raw[:1] for raw in reference.desk.sent} == {b"O", b"U", b"X", b"M"}
    assert_equal(engine, reference)


def test_executions_in_the_market_do_not_change_own_orders():
    """The simple fill assumption looks at the touch once, when the order is sent."""
    engine = played((NEW, 1, 100, 1_000_000))
    engine.feed(run([execute(2, 200), delete(1)]))
    assert own(engine, 1) == (100, 100)
