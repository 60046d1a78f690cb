"""From intents to bytes: own orders and encoded messages equal to the reference's, byte by byte."""

from collections import Counter
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace
from numba import njit

from comparison import Pair, assert_equal
from itch_messages import frame, message, mold, run
from reference_gate import CODES
from scenes import FREE, TS, add, cancel, delete, execute
from streams import CAPACITY, collisions, market
from tickpath import Config, Engine, emit, event, view
from tickpath.config import Fills, Orders, Risk, StrategyConfig
from tickpath.layout import MAX_INTENTS, OWN_ORDERS
from tickpath.ouch import order_id_of, token_of
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND
from trader import (
    CANCEL,
    LIMITS,
    LOST,
    MODIFY,
    NEW,
    NEWS,
    REPLACE,
    SPENT,
    START,
    busy,
    eventful,
    script,
    scripted,
    start_file,
    trading,
)

QUOTE = [add(1, "B", 300, 1_000_000), add(2, "S", 200, 1_000_200)]
MODELS = ("touch", "through", "queue")


def played(*steps: tuple[int, int, int, int], model: str = "touch", **orders) -> Pair:
    """Engine and reference whose strategy took the steps, equal after each."""
    config = scripted(steps, risk=FREE, orders=Orders(**orders), fills=Fills(model=model))
    pair = Pair(config, script)
    for each in (*QUOTE, *[NEWS] * len(steps)):
        pair.feed(each)
        assert_equal(pair.engine, pair.reference)
    return pair


def own(pair: Pair, ref: int) -> tuple[int, int]:
    """(quantity, leaves) of an own order."""
    record = pair.engine.block.own[ref]
    assert record["user_ref_num"] == ref
    return int(record["quantity"]), int(record["leaves"])


def test_a_new_order_as_bytes():
    pair = played((NEW, view.BUY, 100, 1_000_000))
    order_id = 3 * MAX_INTENTS
    assert pair.orders == [
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
    assert own(pair, 1) == (100, 100)


def test_a_new_order_as_bytes_of_ouch_42():
    pair = played((NEW, view.SELL, 100, 1_000_100), protocol="ouch42")
    (raw,) = pair.orders
    fields = OUCH42_INBOUND["enter_order"].decode(raw)
    # Nothing is held, so the sale is a short one.
    assert (fields["buy_sell_indicator"], fields["shares"], str(fields["price"])) == (
        *("T", 100),
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
        # What is executed already stays: cutting to fewer shares than that closes the order.
        ([(NEW, 1, 250, 1_000_200), (MODIFY, 1, 150, 0)], {1: (200, 0)}, {}),
        ([(NEW, 1, 250, 1_000_200), (CANCEL, 1, 150, 0)], {1: (200, 0)}, {}),
        ([(NEW, 1, 200, 1_000_200), (CANCEL, 1, 0, 0)], {1: (200, 0)}, {"UNKNOWN_ORDER": 1}),
        # A replacement goes on with what was executed: of 230 shares 200 are done.
        (
            [(NEW, 1, 250, 1_000_200), (REPLACE, 1, 230, 1_000_100)],
            {1: (250, 0), 2: (230, 30)},
            {},
        ),
        ([(NEW, 1, 250, 1_000_200), (REPLACE, 1, 190, 1_000_100)], {1: (250, 0), 2: (200, 0)}, {}),
        # A rejected replacement leaves the order as it was, and its number is not used again.
        (
            [(NEW, 1, 100, 1_000_000), (REPLACE, 1, 0, 999_900), (NEW, 1, 5, 1_000_000)],
            {1: (100, 100), 3: (5, 5)},
            {"MALFORMED": 1},
        ),
    ],
)
def test_cancels_replacements_and_modifications(steps, state, rejects, protocol):
    pair = played(*steps, protocol=protocol)
    refs = [int(ref) for ref in pair.engine.block.own["user_ref_num"] if ref]
    assert {ref: own(pair, ref) for ref in refs} == state
    assert pair.engine.rejects_by_code == rejects


@pytest.mark.parametrize(("protocol", "code"), [("ouch50", 3), ("ouch42", 0)])
def test_what_an_immediate_order_cannot_take_is_cancelled(protocol, code):
    steps = [(NEW, 1, 250, 1_000_200), (NEW, 1, 250, 1_000_100)]
    pair = played(*steps, protocol=protocol, time_in_force=code)
    assert {ref: own(pair, ref) for ref in (1, 2)} == {1: (200, 0), 2: (0, 0)}
    assert pair.engine.counters["executions"] == 1


# ---------------------------------------------------------------- bounds and names


@njit
def flood(engine, book, kind, flags):
    """Emit as many new orders as the first cell says, at the price of the third."""
    if kind != event.STATUS:
        return
    cells = view.state(engine)
    for at in range(cells[0]):
        ref = emit.new_order(engine, 1, view.BUY, 1 + at, cells[2])
        if ref == 0:
            cells[1] += 1


def flooding(count: int, price: int = 1_000_000) -> Engine:
    """An engine that is quoted, before the flood's first message."""
    strategy = StrategyConfig(cells=4, parameters=[count, 0, price])
    engine = Engine(Config(capacity=CAPACITY, risk=FREE, strategy=strategy), strategy=flood)
    engine.feed(run(QUOTE))
    return engine


@pytest.mark.parametrize("wanted", [0, 1, MAX_INTENTS, MAX_INTENTS + 1, 100])
def test_intents_beyond_the_bound_are_dropped_and_counted(wanted):
    engine = flooding(wanted)
    engine.feed(run([NEWS]))
    sent = min(wanted, MAX_INTENTS)
    assert len(engine.take_orders()) == engine.counters["orders_sent"] == sent
    assert engine.counters["intents_dropped"] == wanted - sent == engine.block.cell["value"][1]


def ids(orders: list[bytes]) -> list[int]:
    enter = OUCH50_INBOUND["enter_order"]
    return [order_id_of(enter.decode(raw)["clordid"]) for raw in orders]


def test_an_orders_id_is_its_input_and_its_place():
    engine = flooding(3)
    engine.feed(run([NEWS, NEWS, b"?"]))
    engine.feed(run([NEWS]))
    # That each of three was accepted is three inputs.
    expected = [number * MAX_INTENTS + place for number in (3, 7, 12) for place in range(3)]
    assert ids(engine.take_orders()) == expected


@njit
def everywhere(engine, book, kind, flags):
    if kind != event.ORDER:
        emit.new_order(engine, 1, view.BUY, 1, 1_000_000)


def test_timers_and_messages_name_their_orders_apart():
    """A timer is an input of its own before the message that let it pass."""
    config = Config(
        capacity=CAPACITY,
        risk=FREE,
        fills=Fills(model="exchange"),
        strategy=StrategyConfig(cells=4, timer_interval_ms=1),
    )
    engine = Engine(config, strategy=everywhere)
    stream = [*QUOTE, *(message("S", 0, TS + n * 600_000, event_code="Q") for n in range(8))]
    engine.feed(run(stream))
    named = ids(engine.take_orders())
    assert engine.counters["timers"] == 5 and engine.block.get("input_number") == 10 + 5
    # The first timer finds no book to trade in yet, and one side is no reference price.
    assert named == [number * MAX_INTENTS for number in range(3, 16)]
    assert engine.rejects_by_code == {"SYMBOL_NOT_ALLOWED": 1, "NO_REFERENCE": 1}


def test_own_orders_that_were_overwritten_are_unknown():
    engine = flooding(MAX_INTENTS, 1_000_200)
    for _ in range(OWN_ORDERS // MAX_INTENTS // 16):
        engine.feed(run([NEWS] * 16))
    engine.feed(run([NEWS]))
    taken = engine.take_orders()
    assert len(taken) == OWN_ORDERS + MAX_INTENTS
    kept = np.flatnonzero(engine.block.own["user_ref_num"])
    assert len(kept) == OWN_ORDERS
    assert engine.block.own["user_ref_num"].min() == MAX_INTENTS + 1


def test_an_open_orders_place_is_not_taken_and_a_closed_ones_is():
    """Numbers 65,537 and 65,538 fall on the places of orders 1, which is open, and 2."""
    steps = [(NEW, 1, 5, 1_000_000), (NEW, 1, 5, 1_000_200), (NEW, 1, 7, 1_000_000)]
    steps += [(REPLACE, 1, 9, 1_000_000), (CANCEL, 2, 0, 0), (CANCEL, 1, 0, 0)]
    pair = Pair(scripted([*steps, (NEW, 1, 6, 1_000_000)], risk=FREE), script)
    for each in (*QUOTE, NEWS, NEWS):
        pair.feed(each)
    pair.engine.block.set("user_ref_num", OWN_ORDERS)
    pair.reference.desk.last_ref = OWN_ORDERS
    for _ in range(5):
        pair.feed(NEWS)
    assert pair.engine.rejects_by_code == {"OWN_ORDERS_FULL": 1, "UNKNOWN_ORDER": 2}
    refs = pair.engine.own_orders()["user_ref_num"].tolist()
    assert refs == [1, OWN_ORDERS + 2, OWN_ORDERS + 3], "1 was replaced by 65,538"


# ---------------------------------------------------------------- beside the reference


class Case(NamedTuple):
    """A strategy that asks for everything, in a market in which everything happens."""

    model: str
    seed: int
    protocol: str

    @property
    def risk(self) -> Risk:
        return {1: LIMITS, 2: SPENT, 3: LOST}[self.seed]


CASES = [
    Case(model, seed, ("ouch50", "ouch42")[(at + seed) % 2])
    for at, model in enumerate(MODELS)
    for seed in (1, 2, 3)
]
KILLS = {
    700: ("B", 1, "MSFT"),
    760: ("B", 2, "AAPL"),
    900: ("B", 0, "MSFT"),
    910: ("B", 0, "AAPL"),
    1000: ("S", 1, ""),
    1080: ("S", 2, ""),
    1140: ("S", 0, ""),
    1200: ("G", 1, ""),
    1280: ("G", 2, ""),
    1340: ("G", 0, ""),
}
"""An operator's commands, by the number of the message after them."""


class Seen(NamedTuple):
    """What a case reached."""

    rejects: Counter
    warned: Counter
    orders: list[bytes]
    counters: dict[str, int]


@cache
def seen(case: Case, start: str) -> Seen:
    """Play a case; engine and reference are compared after every message."""
    risk = replace(case.risk, start_of_day=start)
    config = trading(case.protocol, 200, model=case.model, risk=risk, firm="LIME")
    pair = Pair(config, busy, START)
    for number, each in enumerate(eventful(case.seed, 2000)):
        if number in KILLS:
            pair.kill(*KILLS[number])
        pair.feed(each)
    for sequence in (1, 5):  # the second heartbeat shows a gap
        payload = mold([], sequence)
        pair.packet(frame(payload), payload)
    for each in eventful(case.seed + 10, 100):
        pair.feed(each)
    assert_equal(pair.engine, pair.reference)
    desk = pair.reference.desk
    return Seen(desk.rejects, desk.warnings, pair.orders, pair.engine.counters)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> str:
    return start_file(tmp_path_factory.mktemp("day") / "start.csv")


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_a_busy_strategy_beside_its_twin(case, start):
    """The same source, compiled and in plain Python, over engine and reference."""
    rejects, _, orders, counters = seen(case, start)
    assert {raw[:1] for raw in orders} == {b"O", b"U", b"X", b"M"}
    assert counters["timers"] > 10 and counters["orders_sent"] == len(orders) > 100
    assert counters["assumed_fills"] > 50 and counters["books_stale"] == 7
    assert len(rejects) > 20


def test_the_cases_reach_nearly_every_code(start):
    rejects, warned = Counter(), Counter()
    for case in CASES:
        rejects += seen(case, start).rejects
        warned += seen(case, start).warned
    # A place of the table is taken by an open order after 65,536 numbers, and the ring is emptied.
    assert set(CODES) - set(rejects) == {"OWN_ORDERS_FULL", "AUDIT_FULL"}
    assert set(warned) >= {
        *("QUANTITY", "NOTIONAL", "OPEN_ORDERS", "SYMBOL_OPEN_ORDERS", "POSITION_LONG"),
        *("POSITION_SHORT", "GROSS_NOTIONAL", "NET_NOTIONAL", "DAILY_QUANTITY", "DAILY_NOTIONAL"),
    }


@pytest.mark.parametrize("risk", [LIMITS, FREE], ids=["limits", "free"])
@pytest.mark.parametrize("seed", range(3))
def test_calm_markets_and_mistakes_beside_the_twin(seed, risk):
    pair = Pair(trading(timer_interval_ms=200, risk=risk), busy)
    for each in market(seed, 1500) if seed else collisions(70, 2000, range(1, 60)):
        pair.feed(each)
    assert_equal(pair.engine, pair.reference)
    assert not seed or pair.engine.counters["orders_sent"] > 100


def test_options_stand_in_every_order():
    options = {"postonly": "P", "minqty": 100}
    config = trading(options=options, replace_options={"postonly": "N"}, firm="LIME", risk=FREE)
    pair = Pair(config, busy)
    for each in market(5, 800):
        pair.feed(each)
    assert {raw[:1] for raw in pair.orders} == {b"O", b"U", b"X", b"M"}
    assert_equal(pair.engine, pair.reference)


# ---------------------------------------------------------------- orders that wait


def trade(price: int, shares: int = 100) -> bytes:
    return message("P", 1, TS, price=price, shares=shares, match_number=9)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("happens", "filled"),
    [
        # The offer comes down to the order's price, with 60 shares.
        ([add(9, "S", 60, 1_000_000)], {"touch": 60, "through": 0, "queue": 0}),
        # It goes below it: all of the order.
        ([add(9, "S", 60, 999_900)], {"touch": 60, "through": 100, "queue": 100}),
        ([trade(1_000_000)], {"touch": 0, "through": 0, "queue": 0}),
        ([trade(999_900)], {"touch": 0, "through": 100, "queue": 100}),
        # Of the queue of 300 in front of it, 250 and 80 are executed: 30 are its own.
        ([execute(1, 250), add(8), execute(1, 50), execute(8, 30)], {"queue": 30}),
        ([cancel(1, 200), execute(1, 100), add(8, "B", 70), execute(8, 70)], {"queue": 70}),
        # Cancels of orders that came later leave its place as it is.
        ([add(8, "B", 500), delete(8), execute(1, 300)], {"queue": 0}),
        ([add(8, "B", 500), delete(1), execute(8, 300)], {"queue": 100}),
    ],
)
def test_a_waiting_order_is_filled_as_its_model_says(model, happens, filled):
    pair = played((NEW, view.BUY, 100, 1_000_000), model=model)
    for each in happens:
        pair.feed(each)
    assert_equal(pair.engine, pair.reference)
    assert int(pair.engine.block.own["executed"][1]) == filled.get(model, 0)
