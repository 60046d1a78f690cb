"""Fill models: hand-made scenes, places in the queue beside the market's own, random streams."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from numba import njit

import pitch_messages
import pitch_scenes
from comparison import Pair
from itch_messages import message, read, run
from own_desk import ANYTHING, ASK, BID, BUY, SELL, Desk, Told, desk_config, validate_own
from pitch_scenes import feed
from scenes import TS, add, cancel, delete, execute, replace
from sessions import session_messages
from streams import CAPACITY, SMALL, collisions, market
from tickpath import Config, emit, event, view
from tickpath.config import Capacity, Fills, Orders, StrategyConfig
from tickpath.generate import SessionPlan
from tickpath.own_orders import Happened
from tickpath.risk import MARKET_PRICE
from trader import eventful

MODELS = ["touch", "through", "queue"]
ACCEPTED, EXECUTED, CANCELLED = Happened.ACCEPTED, Happened.EXECUTED, Happened.CANCELLED
INSIDE = BID + 100
"""A price between the bid, 300 shares at `BID`, and the offer, 200 at `ASK`."""


def desk(model: str, **orders: Any) -> Desk:
    return Desk(desk_config(model=model, **orders))


@pytest.fixture(params=MODELS)
def each(request) -> Desk:
    """A desk of every model."""
    return desk(request.param)


def prints(price: int, shares: int = 10, match: int = 900) -> bytes:
    """A trade with a hidden order: it changes no book."""
    return message(
        "P", 1, TS, side="B", shares=shares, stock="AAPL", price=price, match_number=match
    )


def fills(on: Desk) -> list[tuple[int, int, int]]:
    """(order, shares, price) of what was executed since the last call."""
    return [(t.ref, t.quantity, t.price) for t in on.told() if t.kind is EXECUTED]


# ---------------------------------------------------------------- at once


@pytest.mark.parametrize(
    ("side", "quantity", "price", "taken", "at"),
    [
        (BUY, 100, ASK, 100, ASK),
        (BUY, 100, ASK + 5_000, 100, ASK),
        (BUY, 250, ASK + 100, 200, ASK),
        (BUY, 100, ASK - 1, 0, 0),
        (SELL, 100, BID, 100, BID),
        (SELL, 100, 1, 100, BID),
        (SELL, 400, BID - 100, 300, BID),
        (SELL, 100, BID + 1, 0, 0),
    ],
)
def test_what_reaches_the_touch_is_executed_there_for_what_is_shown(
    each, side, quantity, price, taken, at
):
    ref = each.new(side, quantity, price)
    expected = [Told(ACCEPTED, ref, quantity, price)]
    if taken:
        expected.append(Told(EXECUTED, ref, taken, at))
    assert each.told() == expected
    state = "FILLED" if taken == quantity else "PARTIALLY_FILLED" if taken else "LIVE"
    assert each.state(ref) == (state, taken, quantity - taken)
    assert each.position() == (side * taken, -side * taken * at)
    assert each.engine.counters["assumed_fills"] == bool(taken)
    validate_own(each.engine)


def test_where_the_other_side_is_empty_nothing_is_executed(each):
    each.feed(delete(2))
    ref = each.new(BUY, 100, ASK)
    assert each.state(ref) == ("LIVE", 0, 100)


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
@pytest.mark.parametrize("model", MODELS)
def test_an_immediate_order_does_not_wait(model, protocol):
    on = desk(model, protocol=protocol, time_in_force={"ouch50": "3", "ouch42": 0}[protocol])
    taker, other = on.new(BUY, 250, ASK), on.new(BUY, 50, BID)
    assert on.told() == [
        Told(ACCEPTED, taker, 250, ASK),
        Told(EXECUTED, taker, 200, ASK),
        Told(CANCELLED, taker, 50, ASK),
        Told(ACCEPTED, other, 50, BID),
        Told(CANCELLED, other, 50, BID),
    ]
    assert on.state(taker) == ("CANCELLED", 200, 0) and on.state(other) == ("CANCELLED", 0, 0)
    assert on.engine.block.gate["open_orders"][0] == 0
    validate_own(on.engine)


@pytest.mark.parametrize(
    ("side", "quantity", "taken", "at"),
    [(BUY, 50, 50, ASK), (BUY, 250, 200, ASK), (SELL, 50, 50, BID), (SELL, 999, 300, BID)],
)
def test_a_market_order_takes_the_touch_and_does_not_wait(each, side, quantity, taken, at):
    ref = each.new(side, quantity, MARKET_PRICE)
    told = [Told(ACCEPTED, ref, quantity, MARKET_PRICE), Told(EXECUTED, ref, taken, at)]
    if taken < quantity:
        told.append(Told(CANCELLED, ref, quantity - taken, MARKET_PRICE))
    assert each.told() == told and each.position() == (side * taken, -side * taken * at)
    assert each.state(ref)[2] == 0


def test_a_market_order_without_a_market_is_cancelled(each):
    each.feed(delete(1), delete(2))
    for side in (BUY, SELL):
        assert each.state(each.new(side, 10, MARKET_PRICE)) == ("CANCELLED", 0, 0)
    assert fills(each) == []


def test_a_replacement_takes_what_it_reaches_and_is_counted_in_its_chain(each):
    ref = each.new(BUY, 250, ASK)
    second = each.replace(ref, 300, ASK + 100)
    assert fills(each) == [(ref, 200, ASK), (second, 100, ASK)]
    assert each.state(second) == ("FILLED", 300, 0)
    assert each.position() == (300, -300 * ASK)
    validate_own(each.engine)


def test_a_replacement_by_no_more_than_was_executed_is_closed(each):
    ref = each.new(BUY, 250, ASK)
    second = each.replace(ref, 200, BID)
    assert each.told()[2:] == [
        Told(Happened.REPLACED, second, 0, BID),
        Told(CANCELLED, second, 0, BID),
    ]
    assert each.state(second) == ("CANCELLED", 200, 0)


def test_cancels_and_modifications_are_in_time_and_count_the_chain(each):
    ref = each.new(BUY, 250, ASK)
    each.feed(delete(2))
    each.told()
    each.cancel(ref, 220)
    assert each.state(ref) == ("PARTIALLY_FILLED", 200, 20)
    each.modify(ref, 210)
    assert each.state(ref) == ("PARTIALLY_FILLED", 200, 10)
    each.cancel(ref, 100)
    assert each.state(ref) == ("CANCELLED", 200, 0)
    assert each.told() == [
        Told(CANCELLED, ref, 30, ASK),
        Told(Happened.MODIFIED, ref, 10, ASK),
        Told(CANCELLED, ref, 10, ASK),
    ]


def test_no_order_of_ours_trades_with_another_one(each):
    """The gate lets it pass here; there is nothing in the market that either could have."""
    offer, bid = each.new(SELL, 100, INSIDE), each.new(BUY, 100, INSIDE)
    each.feed(add(50, "B", 10, BID - 500), prints(INSIDE))
    assert each.state(offer) == each.state(bid) == ("LIVE", 0, 100)
    assert fills(each) == []


def test_the_market_does_not_see_our_orders(each):
    before = each.engine.resting().tolist()
    each.new(BUY, 100, ASK)
    each.new(BUY, 100, INSIDE)
    assert each.engine.resting().tolist() == before
    assert each.engine.book("AAPL").asks.tolist() == [(ASK, 200, 1)]


def test_match_numbers_are_none_of_the_venues(each):
    each.new(BUY, 250, ASK)
    each.new(SELL, 10, BID)
    numbers = each.engine.block.own_event["match_number"]
    assert [int(n) for n in numbers if n] == [1 << 63, (1 << 63) + 1]
    assert each.engine.counters["executions"] == each.engine.counters["assumed_fills"] == 2


def test_where_an_exchange_answers_no_model_does():
    on = desk("exchange")
    ref = on.new(BUY, 100, ASK)
    on.feed(execute(2, 100), prints(1), add(60, "S", 10, BID + 100))
    assert on.state(ref) == ("PENDING", 0, 100) and on.told() == []
    assert on.engine.counters["assumed_fills"] == 0


# ---------------------------------------------------------------- touch


def test_touch_executes_what_is_shown_at_the_orders_price():
    on = desk("touch")
    ref = on.new(BUY, 100, INSIDE)
    on.feed(prints(1), add(50, "B", 10, INSIDE))
    assert fills(on) == [], "trades and the own side do not reach it"
    on.feed(add(60, "S", 30, INSIDE + 1))
    assert fills(on) == []
    on.feed(add(61, "S", 30, INSIDE))
    assert fills(on) == [(ref, 30, INSIDE)]
    on.feed(add(62, "S", 40, INSIDE - 50))
    assert fills(on) == [(ref, 40, INSIDE)], "at its own price, which is what it offered"
    on.feed(cancel(61, 5))
    assert fills(on) == [], "the touch is as it was"
    on.feed(cancel(62, 2))
    assert fills(on) == [(ref, 30, INSIDE)], "what is shown is still there"
    assert on.state(ref) == ("FILLED", 100, 0)
    validate_own(on.engine)


def test_touch_of_a_sale():
    on = desk("touch")
    ref = on.new(SELL, 100, INSIDE)
    on.feed(add(60, "B", 70, INSIDE - 1))
    assert fills(on) == []
    on.feed(add(61, "B", 70, INSIDE))
    assert fills(on) == [(ref, 70, INSIDE)]


# ---------------------------------------------------------------- through


def test_through_executes_all_where_the_market_stands_beyond():
    on = desk("through")
    ref, low = on.new(BUY, 1_000, INSIDE), on.new(BUY, 5, INSIDE - 50)
    on.feed(add(60, "S", 1, INSIDE))
    assert fills(on) == []
    on.feed(add(61, "S", 1, INSIDE - 1))
    assert fills(on) == [(ref, 1_000, INSIDE)]
    assert on.state(low) == ("LIVE", 0, 5)
    sale = on.new(SELL, 1_000, ASK + 100)
    on.feed(delete(60), delete(61), delete(2), add(62, "B", 1, ASK + 100))
    assert fills(on) == []
    on.feed(add(63, "B", 1, ASK + 101))
    assert fills(on) == [(sale, 1_000, ASK + 100)]
    validate_own(on.engine)


def test_through_executes_all_where_the_market_has_traded_beyond():
    on = desk("through")
    buy, sale = on.new(BUY, 100, INSIDE), on.new(SELL, 100, ASK + 100)
    on.feed(prints(INSIDE), prints(ASK + 100))
    assert fills(on) == []
    on.feed(prints(INSIDE - 1))
    assert fills(on) == [(buy, 100, INSIDE)]
    on.feed(prints(ASK + 101))
    assert fills(on) == [(sale, 100, ASK + 100)]


def test_through_by_an_execution_in_the_book():
    on = desk("through")
    buy = on.new(BUY, 100, INSIDE)
    on.feed(execute(1, 10))
    assert fills(on) == [(buy, 100, INSIDE)], "somebody sold for the bid, which is lower"


def unprinted(price: int) -> bytes:
    values = {"ref": 2, "shares": 10, "match_number": 5, "printable": "N", "price": price}
    return message("C", 1, TS + 1, **values)


@pytest.mark.parametrize(
    "what",
    [
        [unprinted(1)],
        [message("B", 1, TS + 1, match_number=900)],
        [message("Q", 1, TS + 1, shares=0, stock="AAPL", price=1, match_number=7, cross_type="O")],
        [message("H", 1, TS + 1, stock="AAPL", trading_state="T")],
        [add(70, "B", 10, BID - 900)],
    ],
)
@pytest.mark.parametrize("model", ["through", "queue"])
def test_the_last_print_is_not_traded_again(model, what):
    """A print below the order came before it; what follows prints nothing."""
    on = desk(model)
    on.feed(prints(1))
    ref = on.new(BUY, 100, INSIDE)
    on.feed(*what)
    assert fills(on) == [] and on.state(ref) == ("LIVE", 0, 100)


# ---------------------------------------------------------------- queue


def ahead(on: Desk, ref: int) -> int:
    return int(on.order(ref)["ahead"])


def test_queue_counts_what_stood_there_first():
    on = desk("queue")
    on.feed(add(10, "B", 40, BID))
    ref = on.new(BUY, 100, BID)
    other = on.new(BUY, 100, BID - 100)
    assert (ahead(on, ref), ahead(on, other)) == (340, 0)
    on.feed(add(11, "B", 500, BID))
    assert ahead(on, ref) == 340, "what comes later is behind"
    on.feed(execute(1, 100))
    assert ahead(on, ref) == 240
    on.feed(cancel(1, 50))
    assert ahead(on, ref) == 190
    on.feed(cancel(11, 50), delete(11))
    assert ahead(on, ref) == 190
    on.feed(add(12, "B", 60, BID), replace(10, 13, shares=40, price=BID))
    assert ahead(on, ref) == 150, "a replacement goes to the end"
    on.feed(replace(13, 14, shares=500, price=BID), delete(14))
    assert ahead(on, ref) == 150
    # Executed at another price than its own: it leaves the queue and takes nobody's turn.
    on.feed(message("C", 1, TS, ref=1, shares=30, match_number=5, printable="Y", price=BID - 100))
    assert (ahead(on, ref), fills(on)) == (120, [(ref, 100, BID)]), "and it is a trade beyond"


def test_queue_executes_what_is_executed_after_its_turn_has_come():
    on = desk("queue")
    ref = on.new(BUY, 100, BID)
    on.feed(add(11, "B", 500, BID))
    on.feed(execute(1, 280))
    assert ahead(on, ref) == 20 and fills(on) == []
    on.feed(execute(1, 20), execute(11, 30))
    assert ahead(on, ref) == 0 and fills(on) == [(ref, 30, BID)]
    on.feed(cancel(11, 100))
    assert fills(on) == []
    on.feed(execute(11, 300))
    assert fills(on) == [(ref, 70, BID)] and on.state(ref) == ("FILLED", 100, 0)
    validate_own(on.engine)


def test_queue_one_execution_that_reaches_beyond_what_is_ahead():
    on = desk("queue")
    on.feed(cancel(1, 290))
    ref = on.new(BUY, 100, BID)
    on.feed(add(11, "B", 500, BID))
    on.feed(execute(11, 35))
    assert (ahead(on, ref), fills(on)) == (0, [(ref, 25, BID)])


def test_queue_of_a_sale_and_executions_of_more_than_there_is():
    on = desk("queue")
    ref = on.new(SELL, 100, ASK)
    assert ahead(on, ref) == 200
    on.feed(execute(2, 999))
    assert ahead(on, ref) == 0 and fills(on) == [], "an order has no more than its shares"


def test_queue_at_a_price_outside_the_window_and_at_one_where_nobody_stands():
    on = desk("queue")
    far = BID - 500_000
    on.feed(add(10, "B", 40, far), add(11, "B", 2, far + 1))
    refs = [on.new(BUY, 10, price) for price in (far, far + 1, far + 2)]
    assert [ahead(on, ref) for ref in refs] == [40, 2, 0]
    on.feed(delete(10))
    assert [ahead(on, ref) for ref in refs] == [0, 2, 0]


def test_queue_a_replacement_is_last_and_a_smaller_order_keeps_its_place():
    on = desk("queue")
    ref = on.new(BUY, 100, BID)
    on.feed(add(11, "B", 500, BID), execute(1, 100))
    on.modify(ref, 60)
    on.cancel(ref, 50)
    assert ahead(on, ref) == 200
    second = on.replace(ref, 40, BID)
    assert ahead(on, second) == 700
    on.feed(execute(1, 200), execute(11, 500))
    assert fills(on) == [] and ahead(on, second) == 0


def test_queue_where_the_market_is_beyond_its_price_all_is_executed():
    on = desk("queue")
    ref, other = on.new(BUY, 100, BID), on.new(BUY, 7, INSIDE)
    on.feed(add(60, "S", 1, INSIDE))
    assert fills(on) == []
    on.feed(prints(BID - 1))
    assert sorted(fills(on)) == [(ref, 100, BID), (other, 7, INSIDE)]


def test_queue_two_of_ours_at_one_price_do_not_wait_for_each_other():
    on = desk("queue")
    first, second = on.new(BUY, 100, BID), on.new(BUY, 100, BID)
    assert ahead(on, first) == ahead(on, second) == 300
    on.feed(add(11, "B", 500, BID), execute(1, 300), execute(11, 10))
    assert sorted(fills(on)) == [(first, 10, BID), (second, 10, BID)]


# ---------------------------------------------------------------- halts


HALTS = {
    "halted": (
        message("H", 1, TS, stock="AAPL", trading_state="H"),
        message("H", 1, TS, stock="AAPL", trading_state="T"),
    ),
    "paused": (
        message("H", 1, TS, stock="AAPL", trading_state="P"),
        message("H", 1, TS, stock="AAPL", trading_state="T"),
    ),
    "operational": (
        message("h", 1, TS, stock="AAPL", market_code="Q", action="H"),
        message("h", 1, TS, stock="AAPL", market_code="Q", action="T"),
    ),
}


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_executed_while_a_symbol_does_not_trade(model, halt):
    off = [*ANYTHING.off, "halted", "luld_pause", "operational_halt"]
    on = Desk(desk_config(model=model, risk=msgspec.structs.replace(ANYTHING, off=off)))
    begins, ends = HALTS[halt]
    waits = on.new(BUY, 100, INSIDE)
    on.feed(begins, add(60, "S", 500, INSIDE - 100))
    new = on.new(BUY, 10, ASK)
    assert fills(on) == [] and on.state(new) == on.state(new) == ("LIVE", 0, 10)
    assert on.state(waits) == ("LIVE", 0, 100)
    on.feed(ends)
    assert fills(on) == [], "that it trades again is no trade"
    on.feed(cancel(60, 1))
    assert sorted(fills(on)) == [(waits, 100, INSIDE), (new, 10, ASK)]


def test_messages_about_another_book_execute_nothing(each):
    ref = each.new(BUY, 100, INSIDE)
    each.feed(
        add(60, "S", 5, 1, locate=2, stock="MSFT"),
        message("P", 2, TS, side="B", shares=9, stock="MSFT", price=1, match_number=9),
    )
    assert fills(each) == [] and each.state(ref) == ("LIVE", 0, 100)


# ---------------------------------------------------------------- places in a real queue


@njit
def joins(engine, book, kind, flags):
    """Now and then an order at the best bid or offer, or a tick behind it."""
    cells = view.state(engine)
    if kind != event.BOOK and kind != event.TRADE:
        return
    cells[0] = (cells[0] * 1_103_515_245 + 12_345) % 2_147_483_648
    dice = cells[0] // 1024
    if dice % 40 == 0 and view.bid_px(engine, book) > 0 and view.ask_px(engine, book) > 0:
        behind = 100 * (dice // 40 % 2)
        if dice // 80 % 2 == 0:
            emit.new_order(
                engine, book, view.BUY, 100 * (1 + dice % 7), view.bid_px(engine, book) - behind
            )
        else:
            emit.new_order(
                engine, book, view.SELL, 100 * (1 + dice % 7), view.ask_px(engine, book) + behind
            )


def waiting_in(on: Any) -> Iterator[tuple[dict[str, int], int]]:
    """Open own orders and the shares that really stand in front of each, in the market's book."""
    queues: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for ref, book, side, price, quantity in on.resting().tolist():
        queues.setdefault((book, side, price), []).append((ref, quantity))
    names = on.block.own.dtype.names
    for row in on.own_orders(open_only=True).tolist():
        order = dict(zip(names, row, strict=True))
        side = 0 if order["side"] == ord("B") else 1
        queue = queues.get((order["book"], side, order["price"]), [])
        yield order, sum(shares for ref, shares in queue if ref <= order["newest_ref"])


def test_places_in_the_queue_of_a_session_are_exact():
    """In a market that is first in, first out, `ahead` is what the book itself says, always."""
    from tickpath import Engine

    plan = SessionPlan(messages=12_000, symbols=4, seed=3, heartbeat_s=0)
    config = Config(
        capacity=Capacity(symbols=64, orders=1 << 16, trades=4096),
        strategy=StrategyConfig(cells=16, parameters=[99]),
        risk=msgspec.structs.replace(ANYTHING, off=[*ANYTHING.off, "stale_book", "auction"]),
        fills=Fills(model="queue"),
    )
    engine = Engine(config, strategy=joins)
    seen = zero = 0
    for number, raw in enumerate(session_messages(plan)):
        engine.feed(run([raw]))
        if number % 7 and read_code(raw) not in "ECU":
            continue
        for order, in_front in waiting_in(engine):
            assert order["ahead"] == in_front, (number, order)
            seen += 1
            zero += not in_front
    validate_own(engine)
    assert seen > 5_000 and zero > 100
    assert engine.counters["assumed_fills"] > 50


def read_code(raw: bytes) -> str:
    return read(raw).code


# ---------------------------------------------------------------- beside the reference


@njit
def rests(engine, book, kind, flags):
    """Orders around the touch, on both sides; some are cancelled, cut or replaced."""
    cells = view.state(engine)
    if kind == event.ORDER:
        cells[2] += view.order_event_kind(engine) * view.order_event_quantity(engine)
        return
    cells[0] = (cells[0] * 1_103_515_245 + 12_345 + kind) % 2_147_483_648
    dice = cells[0] // 1024
    price = 1_000_000 + 100 * (dice // 8 % 7 - 3)
    side = view.BUY if dice % 2 == 0 else view.SELL
    what = dice // 64 % 12
    if what < 5:
        cells[1] = emit.new_order(engine, book, side, 1 + dice % 300, price)
    elif what == 5:
        cells[1] = emit.replace_order(engine, cells[1], 1 + dice % 300, price)
    elif what == 6:
        emit.modify_order(engine, cells[1] - dice % 4, dice % 50)
    elif what == 7:
        emit.cancel_order(engine, cells[1] - dice % 9, dice % 3 * 20)
    elif what == 8:
        emit.market_order(engine, book, side, 1 + dice % 300)


STREAMS = {
    "market": lambda seed: market(seed, 1200),
    "collisions": lambda seed: collisions(seed, 1200),
    "eventful": lambda seed: eventful(seed, 1200),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("model", MODELS)
def test_random_streams_beside_the_plain_reference(model, name):
    """Every order, execution, position and total after every message."""
    filled = 0
    for seed in (1, 2):
        config = Config(
            capacity=CAPACITY,
            indicators=SMALL.indicators,
            strategy=StrategyConfig(cells=16, parameters=[seed]),
            risk=ANYTHING,
            fills=Fills(model=model),
            orders=Orders(time_in_force="3" if seed == 2 and name == "market" else None),
        )
        pair = Pair(config, rests)
        for raw in STREAMS[name](seed):
            pair.feed(raw)
        validate_own(pair.engine)
        filled += pair.engine.counters["assumed_fills"]
    assert filled > 100, filled


# ---------------------------------------------------------------- places in PITCH's queues


CBOE = CAPACITY.symbols
"""The first book of a venue that names symbols in full."""


def waiting(raws: list[bytes]) -> tuple[Desk, int]:
    """A buy of 30 at the bid of a book of Cboe's, behind the orders given."""
    on = Desk(desk_config(model="queue"), quoted=False)
    feed(on.engine, [*raws, pitch_scenes.add(70, "S", 200, ASK)])
    return on, on.new(BUY, 30, BID, book=CBOE)


def test_in_pitch_ages_say_who_came_before_and_not_the_ids():
    on, ref = waiting([pitch_scenes.add(9, "B", 100, BID), pitch_scenes.add(50, "B", 40, BID)])
    assert ahead(on, ref) == 140
    feed(on.engine, [pitch_scenes.add(2, "B", 500, BID), pitch_scenes.reduce(2, 100)])
    assert ahead(on, ref) == 140, "it came later, with a lower id"
    feed(on.engine, [pitch_scenes.delete(50)])
    assert ahead(on, ref) == 100
    feed(on.engine, [pitch_scenes.reduce(9, 10), pitch_scenes.modify(9, 60, BID, 2)])
    assert ahead(on, ref) == 60, "less of it, in its place"
    feed(on.engine, [pitch_scenes.modify(9, 300, BID, 3)])
    assert ahead(on, ref) == 60, "what it gains does not come in front"
    feed(on.engine, [pitch_scenes.modify(9, 300, BID, 0)])
    assert ahead(on, ref) == 0, "it went to the end"
    feed(on.engine, [pitch_scenes.execute(2, 20)])
    assert fills(on) == [(ref, 20, BID)]
    feed(on.engine, [pitch_scenes.execute_at(9, 20, 280, BID)])
    assert fills(on) == [] and on.state(ref) == ("PARTIALLY_FILLED", 20, 10)
    validate_own(on.engine)


def test_executions_of_those_ahead_come_first():
    on, ref = waiting([pitch_scenes.add(9, "B", 100, BID)])
    feed(on.engine, [pitch_scenes.execute(9, 60), pitch_scenes.execute(9, 40)])
    assert fills(on) == [] and ahead(on, ref) == 0
    feed(on.engine, [pitch_scenes.add(10, "B", 5, BID), pitch_scenes.execute(10, 5)])
    assert fills(on) == [(ref, 5, BID)]


def test_a_clear_leaves_nobody_ahead():
    on, ref = waiting([pitch_scenes.add(9, "B", 100, BID)])
    feed(on.engine, [pitch_scenes.clear()])
    assert ahead(on, ref) == 0 and fills(on) == []
    feed(on.engine, [pitch_scenes.add(1, "B", 10, BID), pitch_scenes.execute(1, 10)])
    assert fills(on) == [(ref, 10, BID)]


def test_messages_without_an_order_take_no_one_out_of_the_queue():
    """All types, while orders wait, and the shortest messages among them."""
    on, ref = waiting([pitch_scenes.add(9, "B", 100, BID)])
    for name in pitch_messages.FIELDS:
        if name != "unit_clear":
            feed(on.engine, [pitch_messages.message(name)])
    assert ahead(on, ref) == 100 and fills(on) == []


def test_a_venues_orders_wait_in_its_own_book():
    """Both books of a symbol trade at one price, each with its queue."""
    on = Desk(desk_config(model="queue"))
    feed(on.engine, [pitch_scenes.add(9, "B", 100, BID), pitch_scenes.add(70, "S", 200, ASK)])
    nasdaq, cboe = on.new(BUY, 30, BID), on.new(BUY, 30, BID, book=CBOE)
    assert (ahead(on, nasdaq), ahead(on, cboe)) == (300, 100)
    feed(on.engine, [pitch_scenes.execute(9, 100), pitch_scenes.add(10, "B", 9, BID)])
    feed(on.engine, [pitch_scenes.execute(10, 9)])
    assert fills(on) == [(cboe, 9, BID)] and ahead(on, nasdaq) == 300
    on.feed(execute(1, 300), add(80, "B", 4, BID), execute(80, 4))
    assert fills(on) == [(nasdaq, 4, BID)]
    assert on.position(1) == (13, -13 * BID) and on.position(CBOE) == (0, 0)
    validate_own(on.engine)
