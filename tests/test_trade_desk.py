"""Between engine and session: what is answered by the exchange, by nobody, and by ourselves."""

from decimal import Decimal
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from itch_messages import message, run
from tickpath.layout import MAX_INTENTS
from tickpath.ouch import token_of
from tickpath.own_orders import State, adopt
from tickpath.session.ouch_event import (
    DeadMan,
    End,
    Ended,
    LineLost,
    Outcome,
    Ready,
    Refusal,
    Refused,
    Settled,
)
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.soup_event import Reason, Sequenced
from tickpath.trade.desk import MAX_NOTES, Desk
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND
from trading import engine_with


class Session:
    """What a desk needs of a session: it takes orders, and drops every one that it is told to."""

    def __init__(self, settings: OrderSettings) -> None:
        self.settings, self.counters = settings, SimpleNamespace(dropped=0)
        self.port = SimpleNamespace(orders=SimpleNamespace(unanswered={}))
        self.sent: list[bytes] = []
        self.contacts = 0
        self.dropping: set[int] = set()

    def contact(self, now_ns: int) -> None:
        self.contacts += 1

    def send_all(self, orders: list[bytes], now_ns: int) -> list:
        self.sent += orders
        return []

    def send(self, order: bytes, now_ns: int) -> list:
        if len(self.sent) + self.counters.dropped in self.dropping:
            self.counters.dropped += 1
            return []
        return self.send_all([order], now_ns)


class Floor:
    def __init__(self, protocol: str = "ouch50", **settings) -> None:
        self.engine = engine_with(orders={"protocol": protocol})
        self.session = Session(OrderSettings(**settings))
        self.desk = Desk(self.engine, self.session)  # type: ignore[arg-type]
        self.is50 = protocol == "ouch50"

    def place(self, ref: int, replaces: int = 0, quantity: int = 100) -> None:
        """An order as if the engine had sent it; its order_id is 16 times its number."""
        values = (ref, 16 * ref, 1, ord("B"), quantity, 100_000, replaces)
        assert adopt(self.engine.block.address, *(np.uint64(each) for each in values))

    def state(self, ref: int) -> State:
        return State(int(self.engine.block.own[ref]["state"]))

    def counter(self, name: str) -> int:
        return self.engine.counters[name]

    def enter(self, ref: int) -> bytes:
        if self.is50:
            return OUCH50_INBOUND["enter_order"].encode(
                user_ref_num=ref, side="B", quantity=100, symbol="AAA", price=Decimal(10),
                time_in_force="0", display="Y", capacity="P",
                inter_market_sweep_eligibility="N", cross_type="N", clordid=token_of(16 * ref),
            )  # fmt: skip
        return OUCH42_INBOUND["enter_order"].encode(
            order_token=token_of(16 * ref), buy_sell_indicator="B", shares=100, stock="AAA",
            price=Decimal(10), time_in_force=99998, display="Y", capacity="P",
            intermarket_sweep_eligibility="N", cross_type="N", customer_type="R",
        )  # fmt: skip

    def cancel(self, ref: int) -> bytes:
        if self.is50:
            return OUCH50_INBOUND["cancel_order"].encode(user_ref_num=ref, quantity=0)
        return OUCH42_INBOUND["cancel_order"].encode(order_token=token_of(16 * ref), shares=0)

    def modify(self, ref: int) -> bytes:
        if self.is50:
            return OUCH50_INBOUND["modify_order"].encode(user_ref_num=ref, side="B", quantity=50)
        return OUCH42_INBOUND["modify_order"].encode(
            order_token=token_of(16 * ref), buy_sell_indicator="B", shares=50
        )

    def accepted(self, ref: int) -> bytes:
        if self.is50:
            return OUCH50_OUTBOUND["order_accepted"].encode(
                timestamp=9, user_ref_num=ref, side="B", quantity=100, symbol="AAA",
                price=Decimal(10), time_in_force="0", display="Y", order_reference_number=ref,
                capacity="P", inter_market_sweep_eligibility="N", cross_type="N", order_state="L",
                clordid=token_of(16 * ref),
            )  # fmt: skip
        return OUCH42_OUTBOUND["accepted"].encode(
            timestamp=9, order_token=token_of(16 * ref), buy_sell_indicator="B", shares=100,
            stock="AAA", price=Decimal(10), time_in_force=99998, display="Y",
            order_reference_number=ref, capacity="P", intermarket_sweep_eligibility="N",
            minimum_quantity=0, cross_type="N", order_state="L", bbo_weight_indicator="1",
        )  # fmt: skip


@pytest.fixture(params=["ouch50", "ouch42"])
def floor(request) -> Floor:
    return Floor(request.param)


def test_answers_go_in_and_are_handed_on(floor):
    floor.place(1)
    event = Sequenced(1, floor.accepted(1))
    assert floor.desk.take([event]) == [event]
    assert floor.state(1) is State.LIVE and floor.desk.counters["answers"] == 1


def test_an_order_that_was_not_sent_is_rejected(floor):
    floor.place(1)
    assert floor.desk.take([Refused(floor.enter(1), Refusal.THROTTLED)]) == []
    assert floor.state(1) is State.REJECTED
    assert floor.desk.notes == ["not sent: the port's rate is used up"]


def test_a_cancel_that_was_not_sent_can_be_asked_for_again(floor):
    floor.place(1)
    floor.desk.take([Sequenced(1, floor.accepted(1))])
    floor.engine.block.own["asked"][1] = 1
    floor.desk.take([Refused(floor.cancel(1), Refusal.NOT_READY)])
    assert floor.state(1) is State.LIVE and floor.engine.block.own["asked"][1] == 0


def test_a_modification_that_was_not_sent(floor):
    floor.place(1)
    floor.desk.take([Sequenced(1, floor.accepted(1))])
    floor.engine.block.own["asked"][1] = 4
    floor.desk.take([Refused(floor.modify(1), Refusal.LINE_LOST)])
    own = floor.engine.block.own[1]
    assert own["asked"] == 0 and own["leaves"] == 100 and floor.state(1) is State.LIVE


def test_many_of_a_kind_are_one_note(floor):
    events = []
    for ref in range(1, 301):
        floor.place(ref)
        events.append(Settled(ref, Outcome.NEVER_RECEIVED, floor.enter(ref)))
    floor.desk.take(events)
    assert floor.desk.notes == [
        "an order without an answer is settled: the exchange has never seen it (300 times)"
    ]
    assert floor.counter("responses_out_of_state") == 0
    assert {floor.state(ref) for ref in range(1, 301)} == {State.REJECTED}


def test_what_has_ended_meanwhile_gets_no_answer_of_ours(floor):
    """Its acceptance stands before the settlement in the same burst, or the engine closed it."""
    floor.place(1)
    floor.place(2)
    floor.desk.take(
        [
            Sequenced(1, floor.accepted(1)),
            Settled(1, Outcome.UNKNOWN, floor.enter(1)),
            Settled(2, Outcome.UNKNOWN, floor.enter(2)),
            Settled(2, Outcome.UNKNOWN, floor.enter(2)),
            Refused(floor.cancel(2), Refusal.LINE_LOST),
            Refused(floor.cancel(77), Refusal.LINE_LOST),
        ]
    )
    assert floor.state(1) is State.LIVE and floor.state(2) is State.REJECTED
    assert floor.counter("responses_out_of_state") == 0
    assert floor.counter("responses_unknown_order") == 0


def test_a_replacement_that_was_lost_leaves_the_order_as_it_was():
    floor = Floor()
    floor.place(1)
    floor.desk.take([Sequenced(1, floor.accepted(1))])
    floor.place(2, replaces=1)
    lost = OUCH50_INBOUND["replace_order"].encode(
        orig_user_ref_num=1, user_ref_num=2, quantity=100, price=Decimal(11), time_in_force="0",
        display="Y", inter_market_sweep_eligibility="N", clordid=token_of(32),
    )  # fmt: skip
    floor.desk.take([Settled(2, Outcome.NEVER_RECEIVED, lost)])
    assert floor.state(2) is State.REJECTED and floor.state(1) is State.LIVE
    assert floor.engine.block.own["asked"][1] == 0


def test_messages_that_are_no_orders_are_passed_over(floor):
    assert floor.desk.answers.refusal(b"\xffabc") == []
    if floor.is50:
        assert floor.desk.answers.refusal(OUCH50_INBOUND["account_query"].encode()) == []


def test_numbers_go_on_behind_what_the_exchange_has_seen(floor):
    used = 700 if floor.is50 else 700 * MAX_INTENTS + 3
    floor.desk.take([Ready("T1", 5, used + 1)])
    block = floor.engine.block
    if floor.is50:
        assert block.get("user_ref_num") == 700
    else:
        assert block.get("input_number") == 701
    assert floor.desk.is_ready and "go on behind" in floor.desk.notes[0]
    floor.desk.take([Ready("T1", 5, used + 1)])
    assert len(floor.desk.notes) == 3


def test_what_happens_to_the_session(floor):
    desk = floor.desk
    desk.take([Ready("T1", 1, 1)])
    lost, ended = LineLost(Reason.DISCONNECTED, "", 0), Ended(End.ATTEMPTS)
    assert desk.take([lost, DeadMan(3), ended]) == [lost, DeadMan(3), ended]
    assert not desk.is_ready and desk.was_ready and desk.ended is ended
    assert desk.notes[1:] == [
        "order session: the transport reported the connection gone",
        "dead man's handle: 3 open orders are canceled",
        "order session ended: too many attempts to reconnect came to nothing",
    ]


def test_no_order_outlives_the_exchanges_session(floor):
    for ref in (1, 2, 3):
        floor.place(ref)
    floor.place(4, replaces=2)
    floor.session.port.orders.unanswered = {
        ref: SimpleNamespace(message=floor.enter(ref)) for ref in (2, 3)
    }
    floor.desk.take([Sequenced(1, floor.accepted(1)), Ended(End.END_OF_SESSION)])
    assert floor.state(1) is State.LIVE and floor.state(2) is floor.state(3) is State.REJECTED
    assert floor.counter("responses_out_of_state") == 0


def test_orders_out(floor):
    assert floor.desk.flush(1) == [] and floor.session.contacts == 1
    floor.engine._orders += [floor.enter(1), floor.enter(2)]
    floor.desk.flush(2)
    assert floor.session.sent == [floor.enter(1), floor.enter(2)]
    assert floor.desk.counters["orders"] == 2


def test_the_engine_hears_of_an_order_that_the_session_drops():
    floor = Floor(when_throttled="drop")
    for ref in (1, 2, 3):
        floor.place(ref)
    floor.session.dropping = {1}
    floor.engine._orders += [floor.enter(ref) for ref in (1, 2, 3)]
    floor.desk.flush(1)
    assert floor.session.sent == [floor.enter(1), floor.enter(3)]
    assert floor.state(2) is State.REJECTED and floor.state(3) is State.PENDING
    assert floor.desk.counters["dropped"] == 1


def test_notes_are_bounded_and_told():
    told: list[str] = []
    floor = Floor()
    desk = Desk(floor.engine, floor.session, told.append, lambda: "12:00:00")  # type: ignore[arg-type]
    for number in range(MAX_NOTES + 5):
        desk.note(f"note {number}")
    assert len(desk.notes) == MAX_NOTES and desk.notes[0] == "12:00:00 note 5"
    assert told[0] == "note 0"


def test_the_market_goes_on_whatever_the_session_says(floor):
    before = floor.engine.messages
    floor.desk.take([Sequenced(1, b""), Sequenced(2, b"\xff" * 70), Sequenced(3, b"E")])
    floor.engine.feed(run([message("A", 1, 5, ref=1, side="B", shares=1, stock="AAA", price=1)]))
    assert floor.engine.messages == before + 1
    assert msgspec.json.encode(floor.engine.counters)
