"""Own orders beside the exchange that they are sent to: what both know is equal whenever nothing is
on its way.

The exchange is the package's own (`tickpath.exchange`), written by its own reading of the
specification.  Its answers come late, so that replacements, cancels and executions cross, and its
operator breaks trades, freezes symbols, halts them and refuses orders.
"""

import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from itch_messages import run
from own_desk import ASK, BID, BUY, SELL, Desk, desk_config, own_rows, validate_own
from tickpath.exchange import command
from tickpath.exchange.config import Exchange
from tickpath.exchange.error import ExchangeError
from tickpath.exchange.venue import Venue
from tickpath.ouch import order_id_of, token_of
from tickpath.own_orders import State
from tickpath.risk import MARKET_PRICE
from tickpath.wire import appendage
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND

US, OTHER = 1, 2
PRICES = [BID - 200, BID - 100, BID, BID + 100, ASK, ASK + 100]


class Pair:
    """A desk whose orders go to a venue, and another account that trades with it."""

    def __init__(self, protocol: str, self_match: str = "allow", **orders: Any) -> None:
        self.desk = Desk(desk_config(protocol, **orders))
        accounts = [{"username": "US", "self_match": self_match}, {"username": "OTHER"}]
        said = {
            "symbols": ["AAPL=100", "MSFT=100"],
            "flow": {"kind": "none"},
            "accounts": accounts,
            "orders": {"protocol": protocol},
        }
        self.venue = Venue(msgspec.convert(said, Exchange), "T1")
        self.venue.open()
        self.waiting: list[bytes] = []
        self.others: list[int] = []
        self.answers: Counter[str] = Counter()
        self._hear()

    # ------------------------------------------------------------ what passes between them

    def send(self) -> None:
        """The desk's orders reach the venue at once; its answers wait."""
        for raw in self.desk.raw:
            self.venue.receive(US, raw, self._now())
        self.desk.raw.clear()
        self.desk.take_sent()
        self._hear()

    def _now(self) -> int:
        self.desk.now = max(self.desk.now, self.venue.now_ns) + 1000
        return self.desk.now

    def _hear(self) -> None:
        self.waiting += [raw for port, raw in self.venue.take_said() if port == US]
        self.venue.take_packets()
        self.venue.take_dropped()
        self.venue.take_actions()

    def deliver(self, number: int) -> None:
        """The next answers, each an input of its own."""
        some, self.waiting = self.waiting[:number], self.waiting[number:]
        self.answers.update(chr(raw[0]) for raw in some)
        self.desk.engine.feed_responses(run(some))
        self.desk.told()

    # ------------------------------------------------------------ what they do

    def act(self, rng: random.Random) -> None:
        """Something is asked for, by us or by the other."""
        what = rng.choices(["new", "replace", "cancel", "modify", "other"], [8, 6, 5, 2, 12])[0]
        quantity, price = rng.choice([10, 40, 100, 300]), rng.choice(PRICES)
        if rng.random() < 0.03:
            price = MARKET_PRICE
        last = self.desk.engine.block.get("user_ref_num")
        ref = max(1, last - rng.randrange(20))
        if what == "new":
            self.desk.new(rng.choice([BUY, SELL]), quantity, price, rng.choice([1, 2]))
        elif what == "replace":
            self.desk.replace(ref, rng.choice([quantity, 1, 999_999]), price)
        elif what == "cancel":
            self.desk.cancel(ref, rng.choice([0, 0, 5, 30]))
        elif what == "modify":
            self.desk.modify(ref, rng.choice([5, 30, 90]))
        else:
            self.other(rng, quantity, rng.choice(PRICES))
        self.send()

    def other(self, rng: random.Random, quantity: int, price: int) -> None:
        number = len(self.others) + 1
        self.others.append(number)
        stock, side = rng.choice(["AAPL", "MSFT"]), rng.choice("BS")
        common: dict[str, Any] = {"price": f"{price / 10_000:.4f}", "display": "Y", "capacity": "P"}
        common["cross_type"] = "N"
        if self.desk.is50:
            common |= {"user_ref_num": number, "side": side, "quantity": quantity}
            common |= {"symbol": stock, "time_in_force": "0", "clordid": "X"}
            common["inter_market_sweep_eligibility"] = "N"
            raw = appendage.encode_message(OUCH50_INBOUND["enter_order"], {}, **common)
        else:
            common |= {"order_token": token_of(number, "X"), "buy_sell_indicator": side}
            common |= {"shares": quantity, "stock": stock, "time_in_force": 99998}
            common |= {"intermarket_sweep_eligibility": "N", "customer_type": " "}
            raw = OUCH42_INBOUND["enter_order"].encode(**common)
        self.venue.receive(OTHER, raw, self._now())
        self._hear()

    def operate(self, rng: random.Random) -> None:
        """The exchange's staff do something."""
        symbol = rng.choice(["AAPL", "MSFT"])
        trades = [int(number) for number in self.venue.matching.trades]
        said = rng.choice(
            [
                {"do": "freeze", "symbol": symbol, "answer": "reject"},
                {"do": "freeze", "symbol": symbol, "answer": "pending"},
                {"do": "freeze", "symbol": symbol, "answer": "pending"},
                {"do": "release", "symbol": symbol},
                {"do": "release", "symbol": symbol},
                {"do": "reject", "account": "US", "count": 2},
                {"do": "break", "match": rng.choice(trades or [0])},
                {"do": "break", "match": rng.choice(trades or [0])},
                {"do": "halt", "symbol": symbol},
                {"do": "resume", "symbol": symbol},
                {"do": "resume", "symbol": symbol},
                {"do": "mass_cancel", "account": "US", "symbol": symbol},
            ]
        )
        try:
            self.venue.operate(command.parse(said, self.venue), self._now())
        except ExchangeError:
            assert said["do"] == "break", said
        self._hear()

    # ------------------------------------------------------------ what both know

    def compare(self) -> None:
        """Nothing is on its way: orders, executed shares, positions and cash are equal."""
        self.deliver(len(self.waiting))
        validate_own(self.desk.engine)
        port = self.venue.ports[US]
        rows = {row["user_ref_num"]: row for row in own_rows(self.desk.engine).values()}
        by_id = {row["order_id"]: ref for ref, row in rows.items()}
        known = {}
        for key, order in port.orders.items():
            ref = key if isinstance(key, int) else by_id[order_id_of(key.decode())]
            known[ref] = order
            row = rows[ref]
            assert row["leaves"] == order.leaves, ref
            assert (row["state"] in (State.LIVE, State.PARTIALLY_FILLED)) == bool(order.leaves)
            if order.leaves:
                assert row["price"] == order.standing and row["market_ref"] == order.ref, ref
                assert row["asked"] & 2 == 0, "a replacement that was not answered"
        for ref in set(rows) - set(known):
            assert State(rows[ref]["state"]) is State.REJECTED, ref
        positions = self.desk.engine.block.position
        for book in (1, 2):
            symbol = ("AAPL", "MSFT")[book - 1]
            locate = self.venue.matching.locates[symbol]
            held = port.holdings.get(locate)
            expected = (held.bought - held.sold, held.cash) if held else (0, 0)
            assert self.desk.position(book) == expected
            assert positions["open_orders"][book] == sum(
                1 for each in port.live.values() if each.locate == locate
            )
        counted = self.desk.counted()
        surprises = {
            *("responses_unknown_order", "responses_out_of_state", "responses_unknown_type"),
            *("responses_wrong_length", "executions_repeated", "executions_after_close"),
            *("executions_over_leaves", "executions_broken_unknown", "own_events_dropped"),
        }
        assert not surprises & set(counted), counted


def played(seed: int, protocol: str, steps: int, **options: Any) -> Pair:
    """A session: everybody acts, answers are late, now and then all is quiet."""
    rng, pair = random.Random(seed), Pair(protocol, **options)
    for number in range(steps):
        pair.act(rng)
        if rng.random() < 0.05:
            pair.operate(rng)
        if rng.random() < 0.6:
            pair.deliver(rng.randrange(4))
        if number % 25 == 24:
            pair.compare()
    pair.compare()
    return pair


@pytest.mark.parametrize("self_match", ["allow", "cancel_resting", "cancel_incoming"])
@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_orders_and_positions_are_those_that_the_exchange_has(protocol, self_match):
    answers: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for seed in range(20):
        pair = played(seed, protocol, 300, self_match=self_match)
        answers.update(pair.answers)
        counted.update(pair.desk.counted())
    expected = set("SACEUJMBPI") | ({"D"} if self_match != "allow" else set())
    assert set(answers) >= expected, answers
    assert counted["replacements_orphaned"] > 5 and counted["executions_broken"] > 5
    assert counted["executions"] > 500


@pytest.mark.parametrize(("protocol", "time_in_force"), [("ouch50", "3"), ("ouch42", 0)])
def test_immediate_orders(protocol, time_in_force):
    answers: Counter[str] = Counter()
    for seed in range(4):
        pair = played(seed, protocol, 200, time_in_force=time_in_force)
        assert pair.desk.engine.block.gate["open_orders"][0] == 0
        answers.update(pair.answers)
    assert answers["E"] > 30 and answers["C"] > 30
