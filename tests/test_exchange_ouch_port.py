"""What an account asks and is told: whole answers, in both versions of OUCH."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickpath.exchange import command, ouch_reject
from tickpath.exchange.config import Exchange
from tickpath.exchange.error import ExchangeError
from tickpath.exchange.venue import SECOND_NS, Venue
from tickpath.wire import appendage
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND

OPEN = (9 * 3600 + 30 * 60) * SECOND_NS
MARKET = Decimal(0x7FFFFFFF).scaleb(-4)
COMMON = {
    "symbol": "AAA",
    "price": Decimal("10.00"),
    "quantity": 100,
    "time_in_force": "0",
    "display": "Y",
    "capacity": "P",
    "inter_market_sweep_eligibility": "N",
    "cross_type": "N",
}


class Desk:
    """A venue with two accounts and nobody else, asked in names and answered in names."""

    def __init__(self, protocol: str = "ouch50", **account: Any) -> None:
        said = {
            "symbols": ["AAA=10", "BBB=20"],
            "flow": {"kind": "none"},
            "accounts": [{"username": "ONE", **account}, {"username": "TWO"}],
            "orders": {"protocol": protocol},
        }
        self.config = msgspec.convert(said, Exchange)
        self.venue = Venue(self.config, "T1")
        self.is_50 = protocol == "ouch50"
        self.now = self.venue.now_ns
        self.venue.open()
        assert [self.read(raw)["message"] for _, raw in self.venue.take_said()] == [
            "system_event"
        ] * 2
        self.venue.take_dropped()

    def read(self, raw: bytes) -> dict[str, Any]:
        if self.is_50:
            return appendage.decode_message(OUCH50_OUTBOUND, raw)
        return OUCH42_OUTBOUND.decode(raw)

    def raw(self, message: bytes, port: int = 1, wait_ns: int = 1000) -> list[dict[str, Any]]:
        self.now += wait_ns
        self.venue.receive(port, message, self.now)
        return self.answers()

    def answers(self) -> list[dict[str, Any]]:
        said = [(port, self.read(raw)) for port, raw in self.venue.take_said()]
        return [{"port": port, **fields} for port, fields in said]

    def ask(
        self, name: str, options: dict[str, Any] | None = None, port: int = 1, **values: Any
    ) -> list[dict[str, Any]]:
        """Send an OUCH 5.0 message."""
        message = OUCH50_INBOUND[name]
        if name == "enter_order":
            values = COMMON | {"side": "B", "clordid": f"C{values['user_ref_num']}"} | values
        elif name == "replace_order":
            names = ("price", "quantity", "time_in_force", "display")
            names += ("inter_market_sweep_eligibility",)
            values = {each: COMMON[each] for each in names} | {"clordid": "R"} | values
        return self.raw(appendage.encode_message(message, options or {}, **values), port)

    def enter(self, number: int, port: int = 1, options: Any = None, **values: Any) -> list:
        return self.ask("enter_order", options, port, user_ref_num=number, **values)

    def operate(self, **said: Any) -> dict[str, Any]:
        self.now += 1000
        return self.venue.operate(command.parse(said, self.venue), self.now)

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        self.now += round(seconds * SECOND_NS)
        self.venue.advance(self.now)
        return self.answers()


def brief(answers: list[dict[str, Any]], *names: str) -> list[tuple]:
    """(port, message, named fields) of answers."""
    return [(a["port"], a["message"], *(a[name] for name in names if name in a)) for a in answers]


# ---------------------------------------------------------------- entering


def test_an_order_is_accepted_as_it_was_entered():
    desk = Desk()
    (answer,) = desk.enter(1, options={"firm": "LIME", "customertype": "N"}, quantity=300)
    assert answer == {
        "port": 1, "message": "order_accepted", "message_type": "A", "timestamp": desk.now,
        "user_ref_num": 1, "side": "B", "quantity": 300, "symbol": "AAA",
        "price": Decimal("10.0000"), "time_in_force": "0", "display": "Y",
        "order_reference_number": 1, "capacity": "P", "inter_market_sweep_eligibility": "N",
        "cross_type": "N", "order_state": "L", "clordid": "C1", "appendage_length": 9,
        "order_accepted_appendage": {"firm": "LIME", "customertype": "N"},
    }  # fmt: skip
    assert desk.venue.ports[1].counters["option_without_effect"] == 1


def test_a_trade_is_told_to_both_sides():
    desk = Desk()
    desk.enter(1, side="S", quantity=100)
    answers = desk.enter(1, port=2, quantity=150)
    names = ("user_ref_num", "quantity", "price", "liquidity_flag", "match_number")
    assert brief(answers, *names) == [
        (2, "order_accepted", 1, 150, Decimal("10.0000")),
        (1, "order_executed", 1, 100, Decimal("10.0000"), "A", 1),
        (2, "order_executed", 1, 100, Decimal("10.0000"), "R", 1),
    ]
    assert desk.operate(do="positions", account="one")["positions"] == {
        "AAA": {"position": -100, "bought": 0, "sold": 100, "cash": 100 * 100_000}
    }
    (left,) = desk.operate(do="orders", account="TWO")["orders"]
    assert (left["key"], left["leaves_qty"], left["cum_qty"], left["symbol"]) == (1, 50, 100, "AAA")


def test_hidden_liquidity_has_its_flag():
    desk = Desk()
    desk.enter(1, side="S", display="N")
    assert brief(desk.enter(1, port=2), "liquidity_flag")[1:] == [
        (1, "order_executed", "J"),
        (2, "order_executed", "R"),
    ]


def test_an_immediate_order_leaves_nothing():
    desk = Desk()
    answers = desk.enter(1, time_in_force="3")
    assert brief(answers, "quantity", "cancel_order_reason") == [
        (1, "order_accepted", 100),
        (1, "canceled", 100, "I"),
    ]


def test_a_market_order_takes_at_any_price():
    desk = Desk()
    desk.enter(1, side="S", price=Decimal("150000.00"))
    answers = desk.enter(1, port=2, price=MARKET, quantity=120)
    assert brief(answers, "quantity", "price") == [
        (2, "order_accepted", 120, MARKET),
        (1, "order_executed", 100, Decimal("150000.0000")),
        (2, "order_executed", 100, Decimal("150000.0000")),
        (2, "canceled", 20),
    ]


def test_a_used_number_is_ignored():
    desk = Desk()
    assert desk.enter(5)
    assert desk.enter(5) == desk.enter(4) == desk.enter(0) == []
    assert desk.venue.ports[1].counters["repeated"] == 3
    (refused,) = desk.enter(6, symbol="NONE")
    assert refused["message"] == "rejected_order"
    assert desk.enter(6) == []
    assert brief(desk.ask("account_query"), "next_user_ref_num") == [
        (1, "account_query_response", 7)
    ]
    assert desk.enter(5, port=2)  # numbers are a port's own


REJECTED = [
    ({"symbol": "NONE"}, {}, "invalid_symbol"),
    ({"side": "X"}, {}, "invalid_side"),
    ({"quantity": 0}, {}, "invalid_quantity"),
    ({"quantity": 1_000_000}, {}, "invalid_quantity"),
    ({"price": Decimal("10.001")}, {}, "invalid_price"),
    ({"price": Decimal(0)}, {}, "invalid_price"),
    ({"price": Decimal("200000")}, {}, "invalid_price"),
    ({"display": "M"}, {}, "pegging_not_allowed"),
    ({"display": "O"}, {}, "retail_not_allowed"),
    ({"display": "I"}, {}, "invalid_cross_order"),
    ({"display": "?"}, {}, "invalid_display"),
    ({"display": "P", "time_in_force": "3"}, {}, "invalid_display"),
    ({"cross_type": "O"}, {}, "invalid_cross_order"),
    ({"time_in_force": "6"}, {}, "processing_error"),
    ({"time_in_force": "?"}, {}, "processing_error"),
    ({}, {"minqty": 50}, "invalid_min_quantity"),
    ({"time_in_force": "3"}, {"minqty": 101}, "invalid_min_quantity"),
    ({}, {"maxfloor": 101}, "invalid_max_floor"),
    ({}, {"pricetype": "P"}, "pegging_not_allowed"),
    ({}, {"route": "SCAN"}, "routing_not_allowed"),
    ({}, {"user_ref_idx": 1}, "processing_error"),
    ({"quantity": 501}, {}, "shares_exceed_threshold"),
    ({"price": Decimal("50.00")}, {}, "exceeds_maximum_allowed_notional_value"),
]


@pytest.mark.parametrize(("values", "options", "reason"), REJECTED)
def test_rejects_have_the_specs_reasons(values, options, reason):
    desk = Desk(max_quantity=500, max_notional=4000.0)
    (answer,) = desk.enter(1, options=options, **values)
    code = ouch_reject.CODES_50[reason]
    assert brief([answer], "user_ref_num", "rejected_order_reason", "clordid") == [
        (1, "rejected_order", 1, code, "C1")
    ]
    assert desk.venue.ports[1].counters[f"rejected_{reason}"] == 1
    assert not desk.venue.matching.orders
    assert desk.enter(2)[0]["message"] == "order_accepted"


def test_a_malformed_appendage_is_rejected_and_a_malformed_message_ignored():
    desk = Desk()
    whole = appendage.encode_message(
        OUCH50_INBOUND["enter_order"], {"firm": "LIME"}, **COMMON, user_ref_num=1, side="B"
    )
    (answer,) = desk.raw(whole[:-1] + b"")
    assert answer["rejected_order_reason"] == ouch_reject.CODES_50["processing_error"]
    for raw in (b"", b"?", b"O", whole[:20], b"X" + bytes(7), b"Q0"):
        assert desk.raw(raw) == []
    assert desk.venue.ports[1].counters["malformed"] == 6
    (answer,) = desk.enter(2, options={"tag_200": b"new"})
    assert answer["message"] == "order_accepted"
    assert desk.venue.ports[1].counters[appendage.UNKNOWN_TAG] == 1


@pytest.mark.parametrize(
    ("limits", "orders"),
    [
        ({"max_open_orders": 2}, 2),
        ({"max_orders": 3}, 3),
        ({"orders_per_second": 10, "order_burst": 4}, 4),
    ],
)
def test_limits_of_an_account(limits, orders):
    desk = Desk(**limits)
    answers = [desk.enter(number)[0]["message"] for number in range(1, 8)]
    assert answers == ["order_accepted"] * orders + ["rejected_order"] * (7 - orders)
    assert sum(desk.venue.ports[1].counters[name] for name in (
        "over_max_open_orders", "over_max_orders", "over_order_rate")) == 7 - orders  # fmt: skip
    assert desk.enter(1, port=2)[0]["message"] == "order_accepted"


def test_the_order_rate_refills():
    desk = Desk(orders_per_second=10, order_burst=2)
    assert [desk.enter(number)[0]["message"] for number in (1, 2, 3)][2] == "rejected_order"
    desk.wait(0.1)
    assert [desk.enter(number)[0]["message"] for number in (4, 5)] == [
        "order_accepted",
        "rejected_order",
    ]


# ---------------------------------------------------------------- cancelling


def test_a_cancel_says_what_may_trade_in_all():
    desk = Desk()
    desk.enter(1, quantity=500)
    desk.enter(1, port=2, side="S", quantity=100)
    (answer,) = desk.ask("cancel_order", user_ref_num=1, quantity=300)
    assert brief([answer], "quantity", "cancel_order_reason") == [(1, "canceled", 200, "U")]
    assert desk.venue.matching.orders[1].leaves == 200
    for quantity in (300, 400):
        assert desk.ask("cancel_order", user_ref_num=1, quantity=quantity) == []
    (answer,) = desk.ask("cancel_order", user_ref_num=1, quantity=100)  # all of it has traded
    assert answer["quantity"] == 200 and not desk.venue.matching.orders
    assert desk.ask("cancel_order", user_ref_num=1, quantity=0) == []
    assert desk.ask("cancel_order", user_ref_num=9, quantity=0) == []
    assert desk.venue.ports[1].counters["cancels_superfluous"] == 4


def test_a_frozen_symbol_keeps_cancels_waiting_or_rejects_them():
    desk = Desk()
    desk.enter(1, quantity=500)
    desk.enter(2, symbol="BBB")
    desk.operate(do="freeze", symbol="AAA")
    answers = desk.ask("cancel_order", user_ref_num=1, quantity=0)
    assert brief(answers, "user_ref_num") == [(1, "cancel_pending", 1)]
    assert desk.ask("cancel_order", user_ref_num=2, quantity=0)[0]["message"] == "canceled"
    refused = desk.ask("replace_order", orig_user_ref_num=1, user_ref_num=3)
    assert brief(refused, "rejected_order_reason") == [
        (1, "rejected_order", ouch_reject.CODES_50["replace_not_allowed"])
    ]
    desk.operate(do="release", symbol="AAA")
    assert brief(desk.answers(), "user_ref_num", "quantity") == [(1, "canceled", 1, 500)]
    desk.enter(4)
    desk.operate(do="freeze", symbol="AAA", answer="reject")
    answers = desk.ask("cancel_order", user_ref_num=4, quantity=0)
    assert brief(answers, "user_ref_num") == [(1, "cancel_reject", 4)]
    assert desk.operate(do="release", symbol="AAA") == {} and desk.answers() == []


# ---------------------------------------------------------------- replacing and modifying


def test_a_replacement_carries_what_has_traded():
    desk = Desk()
    desk.enter(1, quantity=500, options={"firm": "LIME"})
    desk.enter(1, port=2, side="S", quantity=100)
    (answer,) = desk.ask(
        "replace_order", {"customertype": "N"}, orig_user_ref_num=1, user_ref_num=2, quantity=600,
        price=Decimal("9.50"),
    )  # fmt: skip
    assert answer == {
        "port": 1, "message": "replaced", "message_type": "U", "timestamp": desk.now,
        "orig_user_ref_num": 1, "user_ref_num": 2, "side": "B", "quantity": 500, "symbol": "AAA",
        "price": Decimal("9.5000"), "time_in_force": "0", "display": "Y",
        "order_reference_number": 3, "capacity": "P", "inter_market_sweep_eligibility": "N",
        "cross_type": "N", "order_state": "L", "clordid": "R", "appendage_length": 3,
        "replaced_message_appendage": {"customertype": "N"},
    }  # fmt: skip
    answers = desk.ask("cancel_order", user_ref_num=2, quantity=400)
    assert brief(answers, "user_ref_num", "quantity") == [(1, "canceled", 2, 200)]
    assert desk.ask("cancel_order", user_ref_num=1, quantity=0) == []


def test_fewer_shares_keep_the_place_unless_the_venue_is_strict():
    desk = Desk()
    desk.enter(1, quantity=500)
    (kept,) = desk.ask("replace_order", orig_user_ref_num=1, user_ref_num=2, quantity=400)
    assert (kept["order_reference_number"], kept["quantity"]) == (1, 400)
    desk.venue.gate.replace_keeps_place = False
    (moved,) = desk.ask("replace_order", orig_user_ref_num=2, user_ref_num=3, quantity=300)
    assert (moved["order_reference_number"], moved["quantity"]) == (2, 300)


def test_a_replacement_that_meets_somebody_trades():
    desk = Desk()
    desk.enter(1, port=2, side="S", price=Decimal("10.10"))
    desk.enter(1, quantity=250)
    answers = desk.ask(
        "replace_order", orig_user_ref_num=1, user_ref_num=2, quantity=250, price=Decimal("10.10")
    )
    assert brief(answers, "user_ref_num", "quantity") == [
        (1, "replaced", 2, 250),
        (2, "order_executed", 1, 100),
        (1, "order_executed", 2, 100),
    ]


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ({"quantity": 1_000_000}, {}),
        ({"quantity": 0}, {}),
        ({"price": Decimal("10.001")}, {}),
        ({"display": "M"}, {}),
        ({"time_in_force": "?"}, {}),
        ({}, {"minqty": 10}),
        ({}, {"pricetype": "R"}),
    ],
)
def test_an_invalid_replacement_takes_the_original_out(values, options):
    desk = Desk()
    desk.enter(1)
    answers = desk.ask("replace_order", options, orig_user_ref_num=1, user_ref_num=2, **values)
    assert brief(answers, "user_ref_num", "quantity", "cancel_order_reason") == [
        (1, "canceled", 1, 100, "U")
    ]
    assert desk.venue.ports[1].counters["replaces_invalid"] == 1
    assert desk.enter(2)[0]["message"] == "order_accepted"  # the number is still free


def test_a_replacement_that_is_not_allowed_leaves_the_original():
    desk = Desk()
    desk.enter(1)
    desk.operate(do="halt", symbol="AAA")
    (answer,) = desk.ask("replace_order", orig_user_ref_num=1, user_ref_num=2, quantity=50)
    assert answer["rejected_order_reason"] == ouch_reject.CODES_50["halted"]
    assert desk.venue.matching.orders[1].leaves == 100
    assert desk.enter(2) == []
    assert desk.ask("replace_order", orig_user_ref_num=1, user_ref_num=2) == []
    assert desk.ask("replace_order", orig_user_ref_num=7, user_ref_num=3) == []
    assert desk.venue.ports[1].counters["replaces_ignored"] == 2


def test_a_modification_changes_the_kind_of_sell_and_takes_shares_off():
    desk = Desk()
    desk.enter(1, side="S", quantity=500)
    desk.enter(1, port=2, quantity=100)
    answers = desk.ask("modify_order", user_ref_num=1, side="T", quantity=300)
    assert brief(answers, "side", "quantity") == [(1, "order_modified", "T", 200)]
    assert desk.venue.matching.orders[1].leaves == 200
    answers = desk.ask("modify_order", user_ref_num=1, side="E", quantity=900)
    assert brief(answers, "side", "quantity") == [(1, "order_modified", "E", 200)]
    for side, number in (("B", 1), ("?", 1), ("S", 9)):
        assert desk.ask("modify_order", user_ref_num=number, side=side, quantity=1) == []
    assert desk.venue.ports[1].counters["modifies_ignored"] == 3
    answers = desk.ask("modify_order", user_ref_num=1, side="E", quantity=100)
    assert brief(answers, "quantity") == [(1, "canceled", 200)]
    answers = desk.enter(2, port=2)
    assert brief(answers) == [(2, "order_accepted")]


# ---------------------------------------------------------------- what comes unasked


def test_a_post_only_order_is_told_where_it_stands():
    desk = Desk()
    desk.enter(1, port=2, side="S")
    answers = desk.enter(1, price=Decimal("10.02"), display="P")
    names = ("user_ref_num", "price", "order_reference_number")
    assert brief(answers, *names) == [
        (1, "order_accepted", 1, Decimal("10.0200"), 2),
        (1, "order_priority_update", 1, Decimal("9.9900"), 2),
    ]
    answers = desk.ask("cancel_order", port=2, user_ref_num=1, quantity=0)
    assert brief(answers, *names) == [
        (2, "canceled", 1),
        (1, "order_priority_update", 1, Decimal("10.0200"), 3),
    ]
    answers = desk.ask("cancel_order", user_ref_num=1, quantity=0)
    assert brief(answers, "quantity") == [(1, "canceled", 100)]


def test_a_reserve_order_is_told_of_its_parts():
    desk = Desk()
    desk.enter(1, side="S", quantity=250, options={"maxfloor": 100})
    answers = desk.enter(1, port=2, quantity=120)
    assert brief(answers, "user_ref_num", "quantity", "order_restated_reason") == [
        (2, "order_accepted", 1, 120),
        (1, "order_executed", 1, 100),
        (2, "order_executed", 1, 100),
        (1, "order_restated", 1, "R"),
        (1, "order_executed", 1, 20),
        (2, "order_executed", 1, 20),
    ]
    restated = answers[3]["order_restated_appendage"]
    assert restated == {"secondaryordrefnum": 3, "display_quantity": 100}


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("cancel_resting", [(1, "aiq_canceled", 1, 100, 60), (1, "canceled", 2)]),
        ("cancel_incoming", [(1, "aiq_canceled", 2, 60, 60)]),
    ],
)
def test_an_account_does_not_trade_with_itself(policy, told):
    desk = Desk(self_match=policy)
    desk.enter(1, side="S")
    answers = desk.enter(2, quantity=60, time_in_force="3")
    names = ("user_ref_num", "decrement_shares", "quantity_prevented_from_trading")
    assert brief(answers, *names)[1:] == told
    assert answers[1]["order_cancel_reason"] == "Q"


def test_an_order_with_an_end_ends():
    desk = Desk()
    end_s = OPEN // SECOND_NS + 10
    desk.enter(1, time_in_force="6", options={"expiretime": end_s})
    desk.ask("replace_order", {"expiretime": end_s + 10}, orig_user_ref_num=1, user_ref_num=2,
             time_in_force="6", quantity=80)  # fmt: skip
    assert desk.wait(10.5) == []
    assert brief(desk.wait(10), "user_ref_num", "cancel_order_reason", "timestamp") == [
        (1, "canceled", 2, "T", (end_s + 10) * SECOND_NS)
    ]


def test_a_broken_trade_is_told_and_taken_back():
    desk = Desk()
    desk.enter(1, side="S")
    desk.enter(1, port=2)
    assert desk.operate(do="break", match=1, reason="E") == {"symbol": "AAA", "quantity": 100}
    names = ("user_ref_num", "match_number", "broken_trade_reason", "clordid")
    assert brief(desk.answers(), *names) == [
        (1, "broken_trade", 1, 1, "E", "C1"),
        (2, "broken_trade", 1, 1, "E", "C1"),
    ]
    held = desk.operate(do="positions", account="ONE")["positions"]["AAA"]
    assert (held["position"], held["cash"]) == (0, 0)
    with pytest.raises(ExchangeError, match="match 1 is no trade"):
        desk.operate(do="break", match=1)


def test_orders_are_cancelled_on_disconnect_where_wanted():
    desk = Desk(cancel_on_disconnect=True)
    for port in (1, 2):
        desk.venue.connect(port, desk.now)
        desk.enter(1, port=port)
    for port in (1, 2, 1, 2):
        desk.venue.disconnect(port, desk.now)
    assert brief(desk.answers(), "cancel_order_reason") == [(1, "canceled", "Z")]
    assert [own.owner for own in desk.venue.matching.orders.values()] == [2]


def test_staff_cancels_an_account():
    desk = Desk()
    desk.enter(1)
    desk.enter(2, symbol="BBB")
    desk.enter(3, symbol="BBB")
    assert desk.operate(do="mass_cancel", account="ONE", symbol="BBB") == {"canceled": 2}
    assert brief(desk.answers(), "user_ref_num", "cancel_order_reason") == [
        (1, "canceled", 2, "S"),
        (1, "canceled", 3, "S"),
    ]
    assert desk.operate(do="mass_cancel", account="ONE") == {"canceled": 1}


def test_the_day_ends():
    desk = Desk()
    desk.enter(1)
    desk.now += 1000
    desk.venue.close(desk.now)
    assert brief(desk.answers(), "cancel_order_reason", "event_code") == [
        (1, "canceled", "E"),
        (1, "system_event", "E"),
        (2, "system_event", "E"),
    ]
    (answer,) = desk.enter(2)
    assert answer["rejected_order_reason"] == ouch_reject.CODES_50["destination_closed"]


def test_the_drop_copy_has_what_became_of_orders():
    desk = Desk()
    desk.enter(1)
    desk.enter(2, symbol="NONE")
    desk.ask("account_query")
    desk.enter(1, port=2, side="S")
    copied = [(port, desk.read(raw)["message"]) for port, raw in desk.venue.take_dropped()]
    assert copied == [
        (1, "order_accepted"),
        (2, "order_accepted"),
        (1, "order_executed"),
        (2, "order_executed"),
    ]


# ---------------------------------------------------------------- OUCH 4.2


def _enter42(token: str, **values: Any) -> bytes:
    common = {
        "buy_sell_indicator": "B", "shares": 100, "stock": "AAA", "price": Decimal("10.00"),
        "time_in_force": 99_998, "firm": "LIME", "display": "Y", "capacity": "P",
        "intermarket_sweep_eligibility": "N", "cross_type": "N", "customer_type": "N",
    }  # fmt: skip
    return OUCH42_INBOUND["enter_order"].encode(order_token=token, **(common | values))


def _replace42(old: str, token: str, **values: Any) -> bytes:
    common = {
        "shares": 100, "price": Decimal("10.00"), "time_in_force": 99_998, "display": "Y",
        "intermarket_sweep_eligibility": "N",
    }  # fmt: skip
    return OUCH42_INBOUND["replace_order"].encode(
        existing_order_token=old,
        replacement_order_token_token_14=token,
        **(common | values),
    )


def test_ouch_42_in_one_conversation():
    desk = Desk("ouch42")
    (accepted,) = desk.raw(_enter42("A1", shares=500))
    assert accepted == {
        "port": 1, "message": "accepted", "message_type": "A", "timestamp": desk.now,
        "order_token": "A1", "buy_sell_indicator": "B", "shares": 500, "stock": "AAA",
        "price": Decimal("10.0000"), "time_in_force": 99_998, "firm": "LIME", "display": "Y",
        "order_reference_number": 1, "capacity": "P", "intermarket_sweep_eligibility": "N",
        "minimum_quantity": 0, "cross_type": "N", "order_state": "L", "bbo_weight_indicator": "",
    }  # fmt: skip
    assert desk.raw(_enter42("A1")) == []
    answers = desk.raw(_enter42("B1", buy_sell_indicator="S"), port=2)
    assert brief(answers, "order_token", "executed_shares", "liquidity_flag") == [
        (2, "accepted", "B1"),
        (1, "executed", "A1", 100, "A"),
        (2, "executed", "B1", 100, "R"),
    ]
    (replaced,) = desk.raw(_replace42("A1", "A2", shares=600, price=Decimal("9.90")))
    assert (replaced["message"], replaced["shares"]) == ("replaced", 500)
    assert replaced["replacement_order_token_alphanumeric_14"] == "A2"
    assert replaced["previous_order_token"] == "A1"
    cancel = OUCH42_INBOUND["cancel_order"].encode(order_token="A2", shares=400)
    assert brief(desk.raw(cancel), "decrement_shares") == [(1, "canceled", 200)]
    trade_now = OUCH42_INBOUND["trade_now"].encode(order_token="A2")
    assert brief(desk.raw(trade_now), "order_token") == [(1, "sequenced_trade_now", "A2")]
    assert desk.raw(OUCH42_INBOUND["trade_now"].encode(order_token="A1")) == []
    modify = OUCH42_INBOUND["modify_order"].encode(
        order_token="A2", buy_sell_indicator="B", shares=200
    )
    assert brief(desk.raw(modify), "shares") == [(1, "order_modified", 100)]
    desk.operate(do="break", match=1)
    assert brief(desk.answers(), "order_token") == [
        (1, "broken_trade", "A1"),
        (2, "broken_trade", "B1"),
    ]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"stock": "NONE"}, "S"),
        ({"price": Decimal("10.001")}, "X"),
        ({"display": "?"}, "D"),
        ({"minimum_quantity": 10}, "N"),
        ({"shares": 501}, "Z"),
        ({"price": Decimal("50.00")}, "n"),
        ({"cross_type": "O"}, "R"),
        ({"shares": 0}, "O"),
        ({"time_in_force": 100_000}, "O"),
    ],
)
def test_ouch_42_rejects(values, code):
    desk = Desk("ouch42", max_quantity=500, max_notional=4000.0)
    (answer,) = desk.raw(_enter42("T1", **values))
    assert brief([answer], "order_token", "rejected_order_reason") == [
        (1, "rejected_order", "T1", code)
    ]
    assert desk.raw(_enter42("T1")) == []


def test_ouch_42_orders_live_for_seconds():
    desk = Desk("ouch42")
    desk.raw(_enter42("T1", time_in_force=5))
    assert desk.wait(4.9) == []
    assert brief(desk.wait(0.2), "cancel_order_reason") == [(1, "canceled", "T")]
    answers = desk.raw(_enter42("T2", time_in_force=0))
    assert brief(answers, "cancel_order_reason") == [(1, "accepted"), (1, "canceled", "I")]


def test_ouch_42_knows_fewer_messages():
    desk = Desk("ouch42")
    for raw in (b"Q", _enter42("T1")[:-1], OUCH42_INBOUND["cancel_order"].encode(shares=1)):
        assert desk.raw(raw) == []
    assert desk.venue.ports[1].counters["malformed"] == 3


# ---------------------------------------------------------------- anything at all


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["ouch50", "ouch42"]),
    st.lists(st.binary(max_size=70), max_size=20),
    st.randoms(use_true_random=False),
)
def test_any_bytes_are_answered_or_counted(protocol, messages, chance):
    desk = Desk(protocol)
    inbound = OUCH50_INBOUND if protocol == "ouch50" else OUCH42_INBOUND
    for raw in messages:
        if chance.random() < 0.7:  # of a known type and the right length
            layout = chance.choice(inbound.messages)
            raw = (layout.type.encode() + raw.ljust(layout.length, b"\0")[1:])[: layout.length]
        before = sum(desk.venue.ports[1].counters.values())
        answers = desk.raw(raw)
        assert answers or sum(desk.venue.ports[1].counters.values()) > before
