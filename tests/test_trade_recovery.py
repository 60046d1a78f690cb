"""A journal into an engine: positions, open orders and numbers as they were."""

import itertools
import random
from decimal import Decimal

import pytest

from tickpath.layout import MAX_INTENTS, OWN_ORDERS
from tickpath.ouch import token_of
from tickpath.own_orders import State
from tickpath.session.store import Journal
from tickpath.trade.recovery import Recovery
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND
from trading import engine_with

ID = 1 << 20
"""The first order_id is so much times 16."""


class Book:
    """A journal that is written as a session would, with little words."""

    def __init__(self, path, protocol: str) -> None:
        self.journal = Journal(path / "orders.journal", protocol=protocol, fsync="none")
        self.journal.append_session("T1", 1, 0)
        self.is50 = protocol == "ouch50"
        self.sequence = itertools.count(1)

    def name(self, ref: int) -> dict:
        return {"user_ref_num": ref} if self.is50 else {"order_token": token_of(16 * (ID + ref))}

    def number(self, ref: int) -> int:
        return ref if self.is50 else 16 * (ID + ref)

    def enter(self, ref: int, side: str = "B", symbol: str = "AAA", quantity: int = 100) -> int:
        if self.is50:
            message = OUCH50_INBOUND["enter_order"].encode(
                **self.name(ref), side=side, quantity=quantity, symbol=symbol, price=Decimal(10),
                time_in_force="0", display="Y", capacity="P", inter_market_sweep_eligibility="N",
                cross_type="N", clordid=token_of(16 * (ID + ref)),
            )  # fmt: skip
        else:
            message = OUCH42_INBOUND["enter_order"].encode(
                **self.name(ref), buy_sell_indicator=side, shares=quantity, stock=symbol,
                price=Decimal(10), time_in_force=99998, display="Y", capacity="P",
                intermarket_sweep_eligibility="N", cross_type="N", customer_type="R",
            )  # fmt: skip
        return self.journal.append_sent(self.number(ref), message, 0)

    def replace(self, old: int, ref: int, quantity: int = 100) -> int:
        if self.is50:
            message = OUCH50_INBOUND["replace_order"].encode(
                orig_user_ref_num=old, user_ref_num=ref, quantity=quantity, price=Decimal(11),
                time_in_force="0", display="Y", inter_market_sweep_eligibility="N",
                clordid=token_of(16 * (ID + ref)),
            )  # fmt: skip
        else:
            message = OUCH42_INBOUND["replace_order"].encode(
                existing_order_token=token_of(16 * (ID + old)),
                replacement_order_token_token_14=token_of(16 * (ID + ref)), shares=quantity,
                price=Decimal(11), time_in_force=99998, display="Y",
                intermarket_sweep_eligibility="N",
            )  # fmt: skip
        return self.journal.append_sent(self.number(ref), message, 0)

    def _received(self, message: bytes) -> None:
        self.journal.append_received(next(self.sequence), message, 0)

    def accepted(self, ref: int, side: str = "B", symbol: str = "AAA", quantity: int = 100) -> None:
        if self.is50:
            message = OUCH50_OUTBOUND["order_accepted"].encode(
                timestamp=9, **self.name(ref), side=side, quantity=quantity, symbol=symbol,
                price=Decimal(10), time_in_force="0", display="Y", order_reference_number=ref,
                capacity="P", inter_market_sweep_eligibility="N", cross_type="N", order_state="L",
                clordid=token_of(16 * (ID + ref)),
            )  # fmt: skip
        else:
            message = OUCH42_OUTBOUND["accepted"].encode(
                timestamp=9, **self.name(ref), buy_sell_indicator=side, shares=quantity,
                stock=symbol, price=Decimal(10), time_in_force=99998, display="Y",
                order_reference_number=ref, capacity="P", intermarket_sweep_eligibility="N",
                minimum_quantity=0, cross_type="N", order_state="L", bbo_weight_indicator="1",
            )  # fmt: skip
        self._received(message)

    def replaced(self, old: int, ref: int, quantity: int = 100) -> None:
        if self.is50:
            message = OUCH50_OUTBOUND["replaced"].encode(
                timestamp=9, orig_user_ref_num=old, user_ref_num=ref, side="B", quantity=quantity,
                symbol="AAA", price=Decimal(11), time_in_force="0", display="Y",
                order_reference_number=ref, capacity="P", inter_market_sweep_eligibility="N",
                cross_type="N", order_state="L", clordid=token_of(16 * (ID + ref)),
            )  # fmt: skip
        else:
            message = OUCH42_OUTBOUND["replaced"].encode(
                timestamp=9, previous_order_token=token_of(16 * (ID + old)),
                replacement_order_token_alphanumeric_14=token_of(16 * (ID + ref)),
                buy_sell_indicator="B", shares=quantity, stock="AAA", price=Decimal(11),
                time_in_force=99998, display="Y", order_reference_number=ref, capacity="P",
                intermarket_sweep_eligibility="N", minimum_quantity=0, cross_type="N",
                order_state="L", bbo_weight_indicator="1",
            )  # fmt: skip
        self._received(message)

    def executed(self, ref: int, match: int, quantity: int) -> None:
        if self.is50:
            message = OUCH50_OUTBOUND["order_executed"].encode(
                timestamp=9, **self.name(ref), quantity=quantity, price=Decimal("9.5"),
                match_number=match,
            )  # fmt: skip
        else:
            message = OUCH42_OUTBOUND["executed"].encode(
                timestamp=9, **self.name(ref), executed_shares=quantity,
                execution_price=Decimal("9.5"), liquidity_flag="A", match_number=match,
            )  # fmt: skip
        self._received(message)

    def settle(self, record: int) -> None:
        self.journal.append_settled(record, "NEVER_RECEIVED", 0)

    def recover(self, engine, on_answer=None):
        self.journal.flush(0)
        return Recovery(engine, self.journal, on_answer).run()


@pytest.fixture(params=["ouch50", "ouch42"])
def book(request, tmp_path) -> Book:
    return Book(tmp_path, request.param)


@pytest.fixture
def engine(book):
    return engine_with(orders={"protocol": "ouch50" if book.is50 else "ouch42"})


def test_orders_and_fills(book, engine):
    book.enter(1)
    book.accepted(1)
    book.executed(1, 5, 30)
    book.enter(2, "S", "BBB", 40)
    book.accepted(2, "S", "BBB", 40)
    book.executed(2, 6, 40)
    book.enter(3)
    answers: list[bytes] = []
    found = book.recover(engine, answers.append)
    assert found == (3, 4, 0, (), 0) and len(answers) == 4
    states = [State(int(each["state"])) for each in engine.own_orders()]
    assert states == [State.PARTIALLY_FILLED, State.FILLED, State.PENDING]
    position = engine.block.position
    assert [int(each) for each in position["quantity"][1:3]] == [30, -40]
    assert [int(each) for each in position["cash"][1:3]] == [-30 * 95_000, 40 * 95_000]
    assert engine.block.gate[0]["open_orders"] == 2


def test_names_go_on_behind_those_that_were_used(book, engine):
    for ref in (1, 2, 3):
        book.enter(ref)
    book.recover(engine)
    assert engine.block.get("input_number") == 16 * (ID + 3) // MAX_INTENTS + 1
    assert engine.block.get("user_ref_num") == 3


def test_a_chain_of_replacements(book, engine):
    book.enter(1)
    book.accepted(1)
    book.executed(1, 5, 30)
    book.replace(1, 2)
    book.replace(2, 3, 80)
    book.replaced(1, 2, 70)
    book.executed(2, 6, 10)
    book.replaced(2, 3, 40)
    book.recover(engine)
    rows = engine.own_orders(open_only=True)
    assert [(int(row["user_ref_num"]), int(row["leaves"])) for row in rows] == [(3, 40)]
    assert engine.block.position["quantity"][1] == 40


def test_what_was_settled_is_closed(book, engine):
    """Else it would stay open for ever: nobody settles it again."""
    book.enter(1)
    record = book.enter(2)
    book.accepted(1)
    book.settle(record)
    book.settle(4711)
    found = book.recover(engine)
    assert found.settled == 1
    states = [State(int(each["state"])) for each in engine.own_orders()]
    assert states == [State.LIVE, State.REJECTED]
    assert engine.counters["responses_out_of_state"] == 0


def test_a_late_fill_of_a_settled_order_counts(book, engine):
    book.settle(book.enter(1))
    book.accepted(1)
    book.executed(1, 5, 10)
    book.recover(engine)
    assert engine.block.position["quantity"][1] == 10
    assert engine.counters["executions_after_close"] == 1


def test_symbols_that_the_feed_does_not_have(book, engine):
    book.enter(1, symbol="ZZZ")
    book.enter(2)
    found = book.recover(engine)
    assert found.orders == 1 and found.unknown_symbols == ("ZZZ",)


def test_orders_of_another_program_are_passed_over(book, engine):
    if book.is50:
        book.enter(1)
        raw = OUCH50_INBOUND["account_query"].encode()
        book.journal.append_sent(0, raw, 0)
    else:
        raw = OUCH42_INBOUND["enter_order"].encode(
            order_token="SOMEONEELSES", buy_sell_indicator="B", shares=1, stock="AAA",
            price=Decimal(1), time_in_force=0, display="Y", capacity="P",
            intermarket_sweep_eligibility="N", cross_type="N", customer_type="R",
        )  # fmt: skip
        book.enter(1)
        book.journal.append_sent(2, raw, 0)
    assert book.recover(engine).orders == 1


def test_only_the_present_session_counts(book, engine):
    book.enter(1)
    book.accepted(1)
    book.journal.append_session("T2", 1, 0)
    book.sequence = itertools.count(1)
    book.enter(2)
    found = book.recover(engine)
    assert found.orders == 1 and found.answers == 0


def test_the_same_journal_gives_the_same_state(book):
    chance, match = random.Random(7), itertools.count(1)
    live: list[int] = []
    for ref in range(1, 400):
        if live and chance.random() < 0.5:
            old = chance.choice(live)
            book.executed(old, next(match), chance.randint(1, 3))
        record = book.enter(ref)
        if chance.random() < 0.1:
            book.settle(record)
        else:
            book.accepted(ref)
            live.append(ref)
    digests = set()
    for _ in range(2):
        engine = engine_with(orders={"protocol": "ouch50" if book.is50 else "ouch42"})
        book.recover(engine)
        digests.add(engine.state_digest)
    assert len(digests) == 1


def test_more_open_orders_than_there_is_room_for(tmp_path):
    book, engine = Book(tmp_path, "ouch50"), engine_with()
    book.enter(1)
    book.enter(OWN_ORDERS + 1)
    found = book.recover(engine)
    assert found.orders == 1 and found.without_room == 1
