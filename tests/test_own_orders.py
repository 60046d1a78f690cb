"""Own orders: whole lives by the exchange's answers, beside a reference in plain Python."""

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from itch_messages import message, run
from own_desk import (
    ANYTHING,
    ASK,
    BID,
    BUY,
    CANCEL,
    NEW,
    REPLACE,
    SELL,
    Desk,
    Told,
    desk_config,
    own_rows,
    signed,
    validate_own,
    with_risk,
)
from own_reference import OwnReference
from scenes import TS, add
from tickpath import Engine, emit, event, view
from tickpath.layout import MAX_INTENTS, OWN_EVENTS, OWN_ORDERS
from tickpath.own_orders import Happened, State
from tickpath.wire.ouch50 import OUCH50_OUTBOUND

PROTOCOLS = ["ouch50", "ouch42"]
Step = tuple[str, int, int, int]
ACCEPTED, EXECUTED, CANCELLED = Happened.ACCEPTED, Happened.EXECUTED, Happened.CANCELLED
REJECTED, REPLACED, BROKEN = Happened.REJECTED, Happened.REPLACED, Happened.BROKEN
CANCEL_REJECTED, MODIFIED = Happened.CANCEL_REJECTED, Happened.MODIFIED


@pytest.fixture(params=PROTOCOLS)
def desk(request) -> Desk:
    return Desk(desk_config(request.param))


def live(desk: Desk, side: int = BUY, quantity: int = 100, price: int = BID) -> int:
    """A live order, of which the strategy has been told."""
    ref = desk.new(side, quantity, price)
    desk.answer("accepted", ref)
    desk.told()
    return ref


# ---------------------------------------------------------------- lives, one by one


def test_an_order_is_accepted_partly_executed_and_filled(desk):
    ref = desk.new(BUY, 100, BID)
    assert desk.state(ref) == ("PENDING", 0, 100) and desk.told() == []
    desk.answer("accepted", ref, market_ref=4711)
    assert desk.state(ref) == ("LIVE", 0, 100) and desk.order(ref)["market_ref"] == 4711
    desk.answer("executed", ref, quantity=30, price=BID - 100, match=1)
    assert desk.state(ref) == ("PARTIALLY_FILLED", 30, 70)
    desk.answer("executed", ref, quantity=70, price=BID, match=2)
    assert desk.state(ref) == ("FILLED", 100, 0)
    assert desk.position() == (100, -30 * (BID - 100) - 70 * BID)
    assert desk.told() == [
        Told(ACCEPTED, ref, 100, BID),
        Told(EXECUTED, ref, 30, BID - 100),
        Told(EXECUTED, ref, 70, BID),
    ]
    assert desk.counted() == {"executions": 2}
    validate_own(desk.engine)


def test_a_sale_makes_a_short_position_and_a_short_sale_is_marked(desk):
    first, second = desk.new(SELL, 100, ASK), desk.new(BUY, 100, BID)
    assert [message.side for message in desk.take_sent()] == ["T", "B"]
    desk.answer("accepted", first)
    desk.answer("executed", first, quantity=100, price=ASK, match=1)
    assert desk.position() == (-100, 100 * ASK)
    desk.answer("accepted", second)
    desk.answer("executed", second, quantity=100, price=BID, match=1)
    assert desk.position() == (0, 100 * (ASK - BID)), "a match number is an order's own"
    validate_own(desk.engine)


def test_an_order_that_is_rejected_is_open_no_more(desk):
    ref = desk.new(BUY, 100, BID)
    desk.answer("rejected", ref)
    assert desk.state(ref) == ("REJECTED", 0, 0)
    assert desk.told() == [Told(REJECTED, ref, 100, BID)]
    assert desk.engine.block.gate["open_orders"][0] == 0
    validate_own(desk.engine)


def test_an_order_that_is_dead_when_it_is_accepted(desk):
    ref = desk.new(BUY, 100, BID)
    desk.answer("accepted", ref, live=False)
    assert desk.state(ref) == ("CANCELLED", 0, 0)
    assert desk.told() == [Told(ACCEPTED, ref, 100, BID), Told(CANCELLED, ref, 100, BID)]
    validate_own(desk.engine)


def test_an_immediate_order_takes_what_it_can_and_the_rest_is_cancelled(desk):
    """The exchange says so itself: its answers are believed, not the time in force."""
    ref = live(desk, BUY, 250, ASK)
    desk.answer("executed", ref, quantity=200, price=ASK, match=9)
    desk.answer("canceled", ref, quantity=50)
    assert desk.state(ref) == ("CANCELLED", 200, 0)
    assert desk.told() == [Told(EXECUTED, ref, 200, ASK), Told(CANCELLED, ref, 50, ASK)]


def test_the_exchange_may_take_an_order_at_another_price_and_for_other_shares(desk):
    ref = desk.new(BUY, 100, BID)
    desk.answer("accepted", ref, price=BID - 300, quantity=80)
    assert desk.state(ref) == ("LIVE", 0, 80)
    assert (desk.order(ref)["price"], desk.order(ref)["quantity"]) == (BID - 300, 80)
    assert desk.engine.block.position["best_buy"][1] == BID - 300
    assert desk.told() == [Told(ACCEPTED, ref, 80, BID - 300)]
    validate_own(desk.engine)


def test_a_cancel_in_part_and_then_of_the_rest(desk):
    ref = live(desk)
    desk.cancel(ref, 60)
    assert desk.order(ref)["asked"] == 1
    desk.answer("canceled", ref, quantity=40)
    assert desk.state(ref) == ("LIVE", 0, 60) and desk.order(ref)["asked"] == 0
    desk.cancel(ref)
    desk.answer("cancel_pending", ref)
    assert desk.state(ref) == ("LIVE", 0, 60) and desk.order(ref)["asked"] == 1
    desk.answer("canceled", ref, quantity=60)
    assert desk.state(ref) == ("CANCELLED", 0, 0)
    assert desk.told() == [Told(CANCELLED, ref, 40, BID), Told(CANCELLED, ref, 60, BID)]
    assert [(s.kind, s.quantity) for s in desk.take_sent()] == [
        (NEW, 100),
        (CANCEL, 60),
        (CANCEL, 0),
    ]


def test_a_cancel_that_is_rejected_can_be_asked_for_again(desk):
    ref = live(desk)
    desk.cancel(ref)
    desk.answer("cancel_rejected", ref)
    assert desk.state(ref) == ("LIVE", 0, 100) and desk.order(ref)["asked"] == 0
    assert desk.told() == [Told(CANCEL_REJECTED, ref, 100, BID)]


def test_a_modification_keeps_the_order_and_takes_shares_off(desk):
    ref = live(desk)
    desk.answer("executed", ref, quantity=10, price=BID, match=1)
    desk.modify(ref, 60)
    assert desk.order(ref)["asked"] == 4
    desk.answer("modified", ref, leaves=50)
    assert desk.state(ref) == ("PARTIALLY_FILLED", 10, 50)
    assert (desk.order(ref)["quantity"], desk.order(ref)["asked"]) == (60, 0)
    desk.answer("modified", ref, leaves=0)
    assert desk.state(ref) == ("CANCELLED", 10, 0)
    assert desk.told()[1:] == [Told(MODIFIED, ref, 50, BID), Told(MODIFIED, ref, 0, BID)]
    validate_own(desk.engine)


def test_shares_prevented_from_trading_with_their_owner_are_cancelled(desk):
    ref = live(desk)
    desk.answer("prevented", ref, quantity=30)
    desk.answer("prevented", ref, quantity=70)
    assert desk.state(ref) == ("CANCELLED", 0, 0)
    assert desk.told() == [Told(CANCELLED, ref, 30, BID), Told(CANCELLED, ref, 70, BID)]


def test_another_price_of_a_waiting_order_moves_its_open_notional(desk):
    low, high = live(desk, price=BID - 500), live(desk, price=BID)
    desk.answer("moved", high, price=BID - 900, market_ref=5)
    p = desk.engine.block.position[1]
    assert p["best_buy"] == BID - 500 and p["open_buy_notional"] == 100 * (2 * BID - 1400)
    assert desk.order(high)["market_ref"] == 5
    desk.answer("moved", low, price=BID - 900)
    assert p["best_buy"] == BID - 900
    validate_own(desk.engine)


# ---------------------------------------------------------------- replacements


def test_a_replacement_takes_the_place_of_what_is_left(desk):
    ref = live(desk)
    desk.answer("executed", ref, quantity=20, price=BID, match=1)
    new = desk.replace(ref, 70, BID - 100)
    p = desk.engine.block.position[1]
    assert desk.state(new) == ("PENDING", 20, 50) and p["open_buy"] == 80 + 50
    desk.answer("executed", ref, quantity=15, price=BID, match=2)
    desk.answer("replaced", new, orig=ref, leaves=35)
    assert desk.state(ref) == ("REPLACED", 35, 0)
    assert desk.state(new) == ("PARTIALLY_FILLED", 35, 35)
    assert p["open_buy"] == 35 and p["open_orders"] == 1
    assert desk.told()[-1] == Told(REPLACED, new, 35, BID - 100)
    validate_own(desk.engine)


def test_quantities_are_those_of_the_chain(desk):
    """20, then 15 executed: a cancel to 40 leaves 5, a replacement by 60 has 25."""
    ref = live(desk)
    desk.answer("executed", ref, quantity=20, price=BID, match=1)
    second = desk.replace(ref, 70, BID)
    desk.answer("replaced", second, orig=ref)
    desk.answer("executed", second, quantity=15, price=BID, match=2)
    assert desk.state(second) == ("PARTIALLY_FILLED", 35, 35)
    third = desk.replace(second, 60, BID)
    assert desk.state(third) == ("PENDING", 35, 25)
    desk.answer("replaced", third, orig=second)
    desk.cancel(third, 40)
    assert desk.take_sent()[-1][:5] == (CANCEL, third, 0, "", 40)
    desk.answer("canceled", third, quantity=20)
    assert desk.state(third) == ("PARTIALLY_FILLED", 35, 5)
    validate_own(desk.engine)


def test_a_replacement_that_is_rejected_leaves_the_order_as_it_was(desk):
    ref = live(desk)
    new = desk.replace(ref, 50, BID)
    assert desk.order(ref)["asked"] == 2 and desk.order(ref)["replaced_by"] == new
    desk.answer("rejected", new)
    assert desk.state(new) == ("REJECTED", 0, 0) and desk.state(ref) == ("LIVE", 0, 100)
    assert desk.order(ref)["asked"] == 0 and desk.order(ref)["replaced_by"] == 0
    again = desk.replace(ref, 40, BID)
    desk.answer("replaced", again, orig=ref)
    assert desk.state(ref) == ("REPLACED", 0, 0) and desk.state(again) == ("LIVE", 0, 40)


def test_a_replacement_of_an_order_that_asks_for_one_already_is_not_sent(desk):
    ref = live(desk)
    new = desk.replace(ref, 50, BID)
    desk.take_sent()
    desk.replace(ref, 40, BID)
    assert desk.take_sent() == [] and desk.engine.rejects_by_code == {"UNKNOWN_ORDER": 1}
    desk.replace(new, 40, BID)
    assert [(s.kind, s.orig) for s in desk.take_sent()] == [(REPLACE, new)], "its successor may be"


@pytest.mark.parametrize("ending", ["filled", "canceled", "dead", "modified"])
def test_replacements_end_with_the_order_that_they_were_to_replace(desk, ending):
    """OUCH ignores a replacement of an order that is closed, without an answer."""
    ref = desk.new(BUY, 100, BID)
    second = desk.replace(ref, 70, BID)
    third = desk.replace(second, 60, BID)
    if ending == "dead":
        desk.answer("accepted", ref, live=False)
    else:
        desk.answer("accepted", ref)
    if ending == "filled":
        desk.answer("executed", ref, quantity=100, price=BID, match=1)
    elif ending == "canceled":
        desk.answer("canceled", ref, quantity=100)
    elif ending == "modified":
        desk.answer("modified", ref, leaves=0)
    assert desk.state(second)[0] == desk.state(third)[0] == "REJECTED"
    told = desk.told()
    assert told[-2:] == [Told(REJECTED, second, 70, BID), Told(REJECTED, third, 60, BID)]
    assert told[-3].ref == ref, "the order's own end is told first"
    assert desk.engine.block.gate["open_orders"][0] == 0
    assert desk.engine.counters["replacements_orphaned"] == 2
    validate_own(desk.engine)


def test_a_replacement_of_a_replacement_that_is_rejected_goes_with_it(desk):
    ref = live(desk)
    second = desk.replace(ref, 70, BID)
    third = desk.replace(second, 60, BID)
    desk.answer("rejected", second)
    assert desk.state(third)[0] == "REJECTED" and desk.state(ref) == ("LIVE", 0, 100)


def test_a_replacement_that_is_dead_at_once(desk):
    ref = live(desk)
    new = desk.replace(ref, 70, ASK)
    desk.answer("replaced", new, orig=ref, live=False)
    assert desk.state(ref)[0] == "REPLACED" and desk.state(new) == ("CANCELLED", 0, 0)
    assert desk.told() == [Told(REPLACED, new, 70, ASK), Told(CANCELLED, new, 70, ASK)]
    validate_own(desk.engine)


def test_a_replacement_with_no_more_shares_than_are_executed_is_open_until_it_is_answered(desk):
    ref = live(desk)
    desk.answer("executed", ref, quantity=60, price=BID, match=1)
    new = desk.replace(ref, 50, BID)
    assert desk.state(new) == ("PENDING", 60, 0)
    desk.answer("canceled", ref, quantity=40)  # what an exchange makes of it
    assert desk.state(ref) == ("CANCELLED", 60, 0) and desk.state(new)[0] == "REJECTED"
    validate_own(desk.engine)


def test_an_order_is_gone_also_where_its_successor_is_not_known(desk):
    ref = live(desk)
    desk.answer("replaced", 999, orig=ref, leaves=10, price=BID)
    assert desk.state(ref)[0] == "REPLACED"
    assert desk.counted() == {"responses_unknown_order": 1}
    validate_own(desk.engine)


# ---------------------------------------------------------------- what does not fit


def test_an_execution_after_a_cancel_is_real(desk):
    ref = live(desk)
    desk.answer("canceled", ref, quantity=100)
    desk.answer("executed", ref, quantity=40, price=BID, match=1)
    assert desk.state(ref) == ("CANCELLED", 40, 0) and desk.position() == (40, -40 * BID)
    assert desk.counted() == {"executions": 1, "executions_after_close": 1}
    assert desk.told()[-1] == Told(EXECUTED, ref, 40, BID)
    validate_own(desk.engine)


def test_an_execution_of_an_order_that_was_replaced_or_rejected_is_real(desk):
    ref = live(desk)
    new = desk.replace(ref, 50, BID)
    desk.answer("replaced", new, orig=ref)
    desk.answer("executed", ref, quantity=1, price=BID, match=1)
    other = desk.new(SELL, 10, ASK)
    desk.answer("rejected", other)
    desk.answer("executed", other, quantity=2, price=ASK, match=2)
    assert desk.position()[0] == 1 - 2
    assert desk.counted() == {"executions": 2, "executions_after_close": 2}
    validate_own(desk.engine)


def test_an_execution_of_more_than_is_left_is_real_and_counted(desk):
    ref = live(desk)
    desk.answer("executed", ref, quantity=101, price=BID, match=1)
    assert desk.state(ref) == ("FILLED", 101, 0) and desk.position()[0] == 101
    assert desk.counted() == {"executions": 1, "executions_over_leaves": 1}
    validate_own(desk.engine)


def test_an_execution_before_the_order_was_accepted_is_real(desk):
    ref = desk.new(BUY, 100, BID)
    desk.answer("executed", ref, quantity=10, price=BID, match=1)
    assert desk.state(ref) == ("PARTIALLY_FILLED", 10, 90)
    desk.answer("accepted", ref)
    assert desk.counted() == {"executions": 1, "responses_out_of_state": 1}


def test_a_repeated_execution_is_counted_and_never_applied_twice(desk):
    ref = live(desk)
    for _ in range(3):
        desk.answer("executed", ref, quantity=10, price=BID, match=1)
    desk.answer("executed", ref, quantity=99, price=1, match=1)
    assert desk.position() == (10, -10 * BID) and desk.state(ref) == ("PARTIALLY_FILLED", 10, 90)
    assert desk.counted() == {"executions": 1, "executions_repeated": 3}
    assert desk.told() == [Told(EXECUTED, ref, 10, BID)]


def test_an_execution_of_an_unknown_order_changes_nothing(desk):
    before = desk.engine.state_digest
    for ref in (0, 1, 5, OWN_ORDERS, (1 << 32) - 1):
        desk.answer("executed", ref, quantity=10, price=BID, match=1)
    assert desk.counted() == {"responses_unknown_order": 5}
    assert desk.engine.state_digest == before and desk.told() == []


def test_a_broken_trade_is_taken_back_once(desk):
    ref = live(desk)
    desk.answer("executed", ref, quantity=60, price=BID, match=1)
    desk.answer("executed", ref, quantity=40, price=BID + 100, match=2)
    g = desk.engine.block.gate[0]
    assert int(g["day_quantity"]) == 100
    desk.answer("broken", ref, match=2)
    assert desk.state(ref) == ("BROKEN", 60, 0) and desk.position() == (60, -60 * BID)
    assert (int(g["day_quantity"]), int(g["day_notional"])) == (60, 60 * BID)
    desk.answer("broken", ref, match=2)
    desk.answer("broken", ref, match=3)
    desk.answer("executed", ref, quantity=40, price=BID + 100, match=2)
    assert desk.position() == (60, -60 * BID)
    assert desk.counted() == {
        "executions": 2,
        "executions_broken": 1,
        "executions_broken_unknown": 2,
        "executions_repeated": 1,
    }
    assert desk.told()[-1] == Told(BROKEN, ref, 40, BID + 100)
    validate_own(desk.engine)


def test_an_order_that_is_open_stays_so_when_a_trade_is_broken(desk):
    ref = live(desk)
    desk.answer("executed", ref, quantity=60, price=BID, match=1)
    desk.answer("broken", ref, match=1)
    assert desk.state(ref) == ("PARTIALLY_FILLED", 0, 40) and desk.position() == (0, 0)
    validate_own(desk.engine)


def test_a_corrected_trade_has_other_shares_and_another_price(desk):
    ref = live(desk)
    desk.answer("executed", ref, quantity=60, price=BID, match=1)
    desk.told()
    desk.answer("corrected", ref, quantity=50, price=BID - 100, match=1)
    assert desk.position() == (50, -50 * (BID - 100))
    assert desk.state(ref) == ("PARTIALLY_FILLED", 50, 40)
    assert desk.told() == [Told(EXECUTED, ref, 0, BID - 100)]
    desk.answer("broken", ref, match=1)
    assert desk.position() == (0, 0), "what is broken is the corrected trade"
    desk.answer("corrected", ref, quantity=50, price=BID, match=1)
    assert desk.counted()["executions_broken_unknown"] == 1 and desk.position() == (0, 0)
    validate_own(desk.engine)


@pytest.mark.parametrize("name", ["accepted", "rejected", "replaced"])
def test_a_second_first_answer_changes_nothing(desk, name):
    ref = live(desk)
    fields = {"orig": 0} if name == "replaced" else {}
    desk.answer(name, ref, **fields)
    assert desk.state(ref) == ("LIVE", 0, 100) and desk.told() == []
    assert desk.counted() == {"responses_out_of_state": 1}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("canceled", {"quantity": 1}),
        ("prevented", {"quantity": 1}),
        ("modified", {"leaves": 7}),
        ("cancel_rejected", {}),
        ("moved", {"price": 5}),
        ("accepted", {}),
        ("rejected", {}),
    ],
)
def test_answers_about_a_closed_order_change_nothing(desk, name, fields):
    ref = live(desk)
    desk.answer("canceled", ref, quantity=100)
    desk.told()
    before = desk.engine.state_digest
    desk.answer(name, ref, **fields)
    assert desk.engine.state_digest == before and desk.told() == []
    assert desk.counted() == {"responses_out_of_state": 1}


def test_a_price_that_no_order_can_have_is_cut(desk):
    if not desk.is50:
        pytest.skip("OUCH 4.2 has prices of 32 bits only")
    ref = live(desk)
    desk.answer("moved", ref, price=(1 << 40) + 5)
    assert desk.order(ref)["price"] == desk.engine.block.position["best_buy"][1] == (1 << 32) - 1
    validate_own(desk.engine)
    desk.answer("moved", ref, price=0)
    assert desk.order(ref)["price"] == desk.engine.block.position["best_buy"][1] == 1
    validate_own(desk.engine)
    desk.answer("canceled", ref, quantity=100)
    assert desk.engine.block.position["best_buy"][1] == 0


# ---------------------------------------------------------------- positions and their worth


def test_a_first_execution_without_any_mark_values_the_position_that_was_there():
    """No market, no prior close: the price of the execution is the first one known."""
    desk = Desk(quoted=False)
    desk.feed(add(9, "B", 100, BID), add(9, "B", 0, 1))
    desk.engine.command("position", who="test", why="late", symbol="AAPL", quantity=-30, cash=7)
    ref = desk.new(BUY, 10, 900_000)
    assert desk.engine.block.position["mark"][1] == 0
    desk.answer("executed", ref, quantity=10, price=900_000, match=1)
    assert desk.position() == (-20, 7 - 10 * 900_000)
    assert int(desk.engine.block.gate["net"][0]) == -20 * 900_000
    validate_own(desk.engine)


def test_a_position_is_counted_at_the_middle_of_the_market_when_an_order_is_checked(desk):
    ref = live(desk)
    desk.answer("executed", ref, quantity=100, price=BID, match=1)
    desk.new(SELL, 1, ASK)
    g = desk.engine.block.gate[0]
    assert int(g["net"]) == int(g["gross"]) == 100 * (BID + ASK) // 2
    assert int(g["pnl"]) == 100 * (ASK - BID) // 2
    validate_own(desk.engine)


# ---------------------------------------------------------------- events


def test_events_beyond_their_bound_are_dropped_and_counted():
    """Nobody is told in the middle of one input, and one input is bounded by nothing but itself."""
    desk = Desk(desk_config())
    refs = [desk.new(BUY, 1, BID - n) for n in range(OWN_EVENTS)]
    for at, ref in enumerate(refs[1:], 1):
        desk.engine.block.own["asked"][ref] = 2
        desk.engine.block.own["replaced_by"][refs[at - 1]] = ref
    desk.engine.block.own["asked"][refs[0]] = 2
    desk.answer("rejected", refs[0])
    assert {desk.state(ref)[0] for ref in refs} == {"REJECTED"}
    told = desk.told()
    assert [each.ref for each in told] == refs and desk.engine.counters["own_events_dropped"] == 0
    more = [desk.new(BUY, 1, BID - n) for n in range(OWN_EVENTS + 3)]
    for at, ref in enumerate(more[1:], 1):
        desk.engine.block.own["asked"][ref] = 2
        desk.engine.block.own["replaced_by"][more[at - 1]] = ref
    desk.engine.block.own["asked"][more[0]] = 2
    desk.answer("rejected", more[0])
    assert [each.ref for each in desk.told()] == more[:OWN_EVENTS]
    assert desk.engine.counters["own_events_dropped"] == 3
    validate_own(desk.engine)


@njit
def insists(engine, book, kind, flags):
    """Another order whenever something has happened to one."""
    cells = view.state(engine)
    if kind == event.ORDER and cells[0] < 50:
        cells[0] += 1
        emit.new_order(engine, 1, view.BUY, 1, BID)
    elif kind == event.STATUS:
        emit.new_order(engine, 1, view.BUY, 1, BID)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_orders_that_are_sent_for_events_of_orders_have_names_of_their_own(protocol):
    engine = Engine(desk_config(protocol, "touch"), strategy=insists)
    engine.feed(run([add(1, "B", 300, BID), message("S", 0, TS, event_code="Q")]))
    rows = engine.own_orders()
    assert len(rows) == 51
    assert len(set(rows["order_id"].tolist())) == 51


# ---------------------------------------------------------------- the table's end


def test_a_place_whose_order_is_still_open_is_not_taken(desk):
    first, second = live(desk), live(desk)
    desk.answer("canceled", second, quantity=100)
    block = desk.engine.block
    block.set("user_ref_num", OWN_ORDERS + first - 1)
    desk.take_sent()
    assert desk.new(BUY, 10, BID) == OWN_ORDERS + first
    assert desk.take_sent() == [] and desk.engine.rejects_by_code == {"OWN_ORDERS_FULL": 1}
    assert desk.state(first) == ("LIVE", 0, 100)
    assert desk.new(BUY, 10, BID - 100) == OWN_ORDERS + second
    assert desk.state(OWN_ORDERS + second) == ("PENDING", 0, 10)
    desk.answer("executed", second, quantity=1, price=BID, match=1)
    desk.answer("canceled", first, quantity=100)
    assert desk.counted() == {"responses_unknown_order": 1}, "the old one is forgotten"
    block.set("user_ref_num", 2 * OWN_ORDERS + first - 1)
    assert desk.new(BUY, 10, BID) == 2 * OWN_ORDERS + first
    assert desk.state(2 * OWN_ORDERS + first) == ("PENDING", 0, 10)
    validate_own(desk.engine)


@njit
def many(engine, book, kind, flags):
    """Sixteen orders for a message, none for events of orders."""
    if kind == event.STATUS:
        for _ in range(MAX_INTENTS):
            emit.new_order(engine, 1, view.BUY, 1, BID)


def test_the_whole_table_in_use_and_one_place_free_again():
    """65,536 open orders; the next is refused, until the oldest has closed."""
    config = desk_config(risk=msgspec.structs.replace(ANYTHING, order_burst=10**8))
    config = with_risk(config, symbol_order_burst=10**8)
    engine = Engine(config, strategy=many)
    tick = message("S", 0, TS, event_code="Q")
    engine.feed(run([add(1, "B", 300, BID)]))
    engine.feed(run([tick] * (OWN_ORDERS // MAX_INTENTS)))
    # The last one's place is that of number 0, which is nobody's.
    assert engine.counters["orders_sent"] == OWN_ORDERS == len(engine.own_orders(open_only=True))
    engine.feed(run([tick]))
    assert engine.rejects_by_code == {"OWN_ORDERS_FULL": MAX_INTENTS}
    p = engine.block.position[1]
    assert p["open_buy"] == p["open_orders"] == OWN_ORDERS
    validate_own(engine)
    refs = engine.own_orders()["user_ref_num"]
    closed = int(refs[MAX_INTENTS + 3])
    layout = OUCH50_OUTBOUND["canceled"]
    engine.feed_responses(run([layout.encode(timestamp=TS, user_ref_num=closed, quantity=1)]))
    engine.feed(run([tick]))
    assert engine.rejects_by_code == {"OWN_ORDERS_FULL": 2 * MAX_INTENTS - 1}
    assert closed + OWN_ORDERS in engine.own_orders(open_only=True)["user_ref_num"]
    validate_own(engine)


# ---------------------------------------------------------------- beside the reference


def _price(value: int) -> int:
    return [BID, BID, BID - 100, BID + 100, ASK, 1, 1_999_999_900, 0][value % 8]


class Pair:
    """A desk and the reference, which are given the same and compared after each step."""

    def __init__(self, protocol: str) -> None:
        self.desk, self.reference = Desk(desk_config(protocol)), OwnReference()
        self.refs = [0]
        self.seen: Counter[str] = Counter()

    def _ref(self, value: int) -> int:
        """An order that was sent, the late ones more often; now and then one that was not."""
        if value % 23 == 0:
            return [0, 70_000, (1 << 32) - 1][value % 3]
        return self.refs[-1 - (value // 23) % min(len(self.refs), 6)]

    def step(self, step: Step) -> None:
        name, a, b, c = step
        if name in ("new", "replace", "cancel", "modify"):
            self._send(name, a, b, c)
        else:
            self._answer(name, a, b, c)
        for sent in self.desk.take_sent():
            self.reference.sent(sent)
            if sent.kind in (NEW, REPLACE):
                self.refs.append(sent.ref)
        self.compare()

    def _send(self, name: str, a: int, b: int, c: int) -> None:
        quantity = [100, 40, 7, 999_999, 0, 60][b % 6]
        if name == "new":
            self.desk.new([BUY, SELL][a % 2], quantity, _price(c), 1 + a // 2 % 2)
        elif name == "replace":
            self.desk.replace(self._ref(a), quantity, _price(c))
        elif name == "cancel":
            self.desk.cancel(self._ref(a), quantity % 100)
        else:
            self.desk.modify(self._ref(a), quantity)

    def _answer(self, name: str, a: int, b: int, c: int) -> None:
        ref, quantity = self._ref(a), [10, 40, 100, 1, 0, 33, 1 << 20][b % 7]
        order = self.reference.orders.get(ref)
        if order and b % 3 == 0:
            quantity = order.leaves
        price = order.price if order and c % 3 else _price(c)
        fields: dict[str, int] = {}
        if name in ("accepted", "replaced"):
            leaves = "quantity" if name == "accepted" else "leaves"
            whole = order.leaves if order and c % 4 else quantity
            fields = {leaves: whole, "price": price, "live": bool(c % 5), "market_ref": b}
            if name == "replaced":
                fields["orig"] = order.replaces if order and b % 6 else self._ref(c)
        elif name in ("executed", "corrected"):
            match = c % 9 if c % 2 else 100 + sum(self.seen.values())
            fields = {"quantity": quantity, "price": price, "match": match}
        elif name == "broken":
            fields = {"match": c % 9}
        elif name in ("canceled", "prevented"):
            fields = {"quantity": quantity}
        elif name == "modified":
            fields = {"leaves": quantity}
        elif name == "moved":
            fields = {"price": price, "market_ref": b}
        self.desk.answer(name, ref, **fields)
        self.reference.answer(name, ref, **fields)
        self.seen[name] += 1

    def compare(self) -> None:
        desk, reference = self.desk, self.reference
        rows = {row["user_ref_num"]: row for row in own_rows(desk.engine).values()}
        assert set(rows) == set(reference.orders)
        for ref, order in reference.orders.items():
            for name in ("order_id", "book", "price", "quantity", "executed", "leaves", "asked"):
                assert rows[ref][name] == getattr(order, name) & _mask(name), (ref, name)
            for name in ("replaces", "replaced_by", "market_ref", "state"):
                assert rows[ref][name] == getattr(order, name), (ref, name)
        for book, holding in reference.holdings.items():
            p = desk.engine.block.position[book]
            assert (int(p["quantity"]), int(p["cash"])) == (holding.quantity, holding.cash)
            day = signed(int(p["day_quantity"])), signed(int(p["day_notional"]))
            assert day == (holding.day_quantity, holding.day_notional)
        counted = desk.counted()
        assert counted == {name: n for name, n in reference.counters.items() if n}
        assert desk.told() == reference.told
        reference.told.clear()
        validate_own(desk.engine)


def _mask(name: str) -> int:
    return (1 << 64) - 1 if name in ("order_id", "price") else (1 << 32) - 1


ANSWERS = {
    "accepted": 8,
    "executed": 12,
    "canceled": 3,
    "prevented": 1,
    "replaced": 6,
    "rejected": 2,
    "broken": 3,
    "corrected": 3,
    "cancel_rejected": 1,
    "cancel_pending": 1,
    "moved": 2,
    "modified": 2,
}
SENDS = {"new": 10, "replace": 7, "cancel": 3, "modify": 2}
WEIGHTS = {**ANSWERS, **SENDS}


def steps_of(seed: int, length: int) -> list[Step]:
    rng = random.Random(seed)
    names = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=length)
    dice = rng.randrange
    return [(name, dice(1 << 16), dice(1 << 16), dice(1 << 16)) for name in names]


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([name for name, n in WEIGHTS.items() for _ in range(n)]),
            st.integers(0, 200),
            st.integers(0, 50),
            st.integers(0, 60),
        ),
        max_size=30,
    ),
    st.sampled_from(PROTOCOLS),
)
def test_any_sends_and_answers_beside_the_reference(steps, protocol):
    pair = Pair(protocol)
    for step in steps:
        pair.step(step)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_long_random_lives_beside_the_reference(protocol):
    """Every state, every counter and every event is met."""
    states: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for seed in range(12):
        pair = Pair(protocol)
        for step in steps_of(seed, 250):
            pair.step(step)
        states.update(order.state.name for order in pair.reference.orders.values())
        counted.update(pair.desk.counted())
    assert set(states) == {each.name for each in State if each is not State.FREE}
    assert min(states.values()) > 5, states
    assert set(counted) == {
        *("executions", "executions_repeated", "executions_after_close", "executions_over_leaves"),
        *("executions_broken", "executions_broken_unknown", "replacements_orphaned"),
        *("responses_unknown_order", "responses_out_of_state"),
    }
    assert min(counted.values()) > 5, counted
