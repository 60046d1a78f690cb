"""Matching against a naive one: whole event lists, whole books, every share accounted for."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickpath.exchange.error import ExchangeError
from tickpath.exchange.event import (
    BUY,
    SELL,
    Accepted,
    Broken,
    Canceled,
    Executed,
    Prevented,
    Refreshed,
    Rejected,
    Replaced,
    Repriced,
    Rested,
    StateChanged,
)
from tickpath.exchange.matching import Matching
from tickpath.exchange.reason import Reason, Why
from tickpath.exchange.terms import CANCEL_INCOMING, CANCEL_RESTING, IMMEDIATE, PLAIN, Terms

# ---------------------------------------------------------------- the naive one


@dataclass
class Naive:
    """All orders in one list, searched from end to end for everything; written from the rules."""

    orders: list[dict[str, Any]] = field(default_factory=list)
    states: dict[int, str] = field(default_factory=dict)
    refs: int = 0
    matches: int = 0
    arrivals: int = 0

    def ref(self) -> int:
        self.refs += 1
        return self.refs

    def queue(self, locate: int, side: int) -> list[dict[str, Any]]:
        """Orders of a side, first to trade first."""
        sign = -1 if side == BUY else 1
        mine = [o for o in self.orders if o["locate"] == locate and o["side"] == side]
        return sorted(mine, key=lambda o: (sign * o["price"], o["terms"].is_hidden, o["arrival"]))

    @staticmethod
    def meets(side: int, price: int, other: int) -> bool:
        return price >= other if side == BUY else price <= other

    def rest(self, order: dict[str, Any]) -> None:
        self.arrivals += 1
        order["arrival"] = self.arrivals
        terms = order["terms"]
        part = min(terms.max_floor, order["leaves"]) if terms.max_floor else order["leaves"]
        order["shown"] = 0 if terms.is_hidden else part
        if order not in self.orders:
            self.orders.append(order)

    def refusal(self, locate, side, quantity: int, price: int, terms: Terms) -> Reason | None:
        if locate not in (1, 2):
            return Reason.SYMBOL
        if self.states.get(locate) == "H":
            return Reason.HALTED
        if quantity < 1 or quantity > 999_999:
            return Reason.QUANTITY
        on_tick = price < 10_000 or price % 100 == 0
        if not terms.is_market and (price < 1 or price > 1_999_999_900 or not on_tick):
            return Reason.PRICE
        takes = terms.is_immediate or terms.is_market
        others = [o["price"] for o in self.queue(locate, 1 - side)]
        would = not terms.is_post_only and any(self.meets(side, price, other) for other in others)
        if self.states.get(locate, "T") != "T" and (takes or would):
            return Reason.HALTED
        if terms.min_quantity > 0 and (not takes or terms.min_quantity > quantity):
            return Reason.MINIMUM
        if terms.max_floor > 0 and (terms.is_hidden or terms.max_floor > quantity):
            return Reason.FLOOR
        if terms.is_post_only and takes:
            return Reason.DISPLAY
        return None

    def enter(self, locate, side, quantity, price, terms, owner):
        reason = self.refusal(locate, side, quantity, price, terms)
        if reason:
            return [Rejected(owner, locate, reason)]
        order = self.new(locate, side, quantity, price, terms, owner)
        first = Accepted(order["ref"], owner, locate, side, quantity, price)
        return [first, *self.place(order), *self.reprice(locate)]

    def new(self, locate, side, quantity, price, terms, owner) -> dict[str, Any]:
        return {
            "ref": self.ref(), "owner": owner, "locate": locate, "side": side, "limit": price,
            "price": price, "leaves": quantity, "shown": quantity, "terms": terms,
        }  # fmt: skip

    def beside(self, side: int, other: int) -> int:
        if side == BUY:
            return other - (100 if other > 10_000 else 1)
        return other + (100 if other >= 10_000 else 1)

    def place(self, order):
        terms, side, locate = order["terms"], order["side"], order["locate"]
        others = self.queue(locate, 1 - side)
        reachable = [
            o for o in others if terms.is_market or self.meets(side, order["price"], o["price"])
        ]
        events: list[Any] = []
        if terms.is_post_only and reachable:
            order["price"] = self.beside(side, others[0]["price"])
            if not 1 <= order["price"] <= 1_999_999_900:
                return [self.given_up(order, Why.POST_ONLY)]
        elif sum(o["leaves"] for o in reachable) >= terms.min_quantity:
            events = self.take(order)
        if order["leaves"] and (terms.is_immediate or terms.is_market):
            events.append(self.given_up(order, Why.IMMEDIATE))
        elif order["leaves"]:
            self.rest(order)
            events.append(
                Rested(
                    order["ref"], order["owner"], locate, side, order["leaves"], order["shown"],
                    order["price"], terms.attribution,
                )
            )  # fmt: skip
        return events

    def given_up(self, order, why):
        return Canceled(
            order["ref"], order["owner"], order["locate"], order["leaves"], 0, 0, why, False
        )

    def take(self, order):
        events: list[Any] = []
        side, terms = order["side"], order["terms"]
        while order["leaves"]:
            others = self.queue(order["locate"], 1 - side)
            if not others:
                break
            other = others[0]
            if not terms.is_market and not self.meets(side, order["price"], other["price"]):
                break
            if terms.prevention and other["owner"] == order["owner"]:
                events.append(self.prevent(order, other))
                continue
            available = other["shown"] if other["shown"] else other["leaves"]
            events += self.trade(order, other, min(available, order["leaves"]))
        return events

    def prevent(self, order, other):
        quantity = min(order["leaves"], other["leaves"])
        is_resting = order["terms"].prevention == CANCEL_RESTING
        gone = other if is_resting else order
        event = Prevented(
            gone["ref"], gone["owner"], gone["locate"], gone["leaves"],
            gone["shown"] if is_resting else 0, quantity, other["price"], is_resting,
        )  # fmt: skip
        if is_resting:
            self.orders.remove(other)
        else:
            order["leaves"] = 0
        return event

    def trade(self, order, other, quantity):
        self.matches += 1
        was_shown = other["shown"] > 0
        other["leaves"] -= quantity
        order["leaves"] -= quantity
        if was_shown:
            other["shown"] -= quantity
        events: list[Any] = [
            Executed(
                self.matches, other["locate"], quantity, other["price"], other["ref"],
                other["owner"], other["side"], was_shown, other["leaves"], order["ref"],
                order["owner"], order["leaves"], other["price"], True,
            )
        ]  # fmt: skip
        if not other["leaves"]:
            self.orders.remove(other)
        elif was_shown and not other["shown"]:
            events.append(Refreshed(other["ref"], *self.again(other)))
        return events

    def again(self, order):
        order["ref"] = self.ref()
        self.rest(order)
        names = ("ref", "owner", "locate", "side", "shown", "leaves", "price", "terms")
        return [order[name] for name in names]

    def find(self, ref):
        return next((o for o in self.orders if o["ref"] == ref), None)

    def reduce(self, ref, leaves, why):
        order = self.find(ref)
        if order is None:
            return [Rejected(0, 0, Reason.ORDER)]
        gone = order["leaves"] - leaves
        if gone <= 0:
            return []
        shown = max(order["shown"] - leaves, 0)
        order["leaves"], order["shown"] = leaves, order["shown"] - shown
        if not leaves:
            self.orders.remove(order)
        event = Canceled(ref, order["owner"], order["locate"], gone, leaves, shown, why, True)
        return [event, *self.reprice(order["locate"])]

    def replace(self, ref, quantity, price, terms):
        old = self.find(ref)
        if old is None:
            return [Rejected(0, 0, Reason.ORDER)]
        reason = self.refusal(old["locate"], old["side"], quantity, price, terms)
        if reason:
            return [Rejected(old["owner"], old["locate"], reason)]
        common = (old["owner"], old["locate"], old["side"], quantity)
        unchanged = old["price"] == price and old["limit"] == price and old["terms"] == terms
        if unchanged and quantity <= old["leaves"]:
            before, old["leaves"] = old["shown"], quantity
            old["shown"] = min(before, quantity)
            return [Replaced(ref, ref, *common, price, before, old["shown"], True, False)]
        self.orders.remove(old)
        order = self.new(old["locate"], old["side"], quantity, price, terms, old["owner"])
        events = self.place(order)
        same_sight = (
            old["shown"] and order["shown"] and terms.attribution == old["terms"].attribution
        )
        carried = isinstance(events[0], Rested) and bool(same_sight)
        shown = order["shown"] if carried else 0
        said = Replaced(
            ref, order["ref"], *common, order["price"], old["shown"], shown, False, carried
        )
        return [said, *(events[1:] if carried else events), *self.reprice(old["locate"])]

    def reprice(self, locate):
        events: list[Any] = []
        if self.states.get(locate, "T") != "T":
            return events
        aside = [o for o in self.orders if o["locate"] == locate and o["price"] != o["limit"]]
        for order in sorted(aside, key=lambda o: o["arrival"]):
            others = self.queue(locate, 1 - order["side"])
            wanted = order["limit"]
            if others and self.meets(order["side"], wanted, others[0]["price"]):
                wanted = self.beside(order["side"], others[0]["price"])
            better = wanted > order["price"] if order["side"] == BUY else wanted < order["price"]
            if better:
                old_ref, order["price"] = order["ref"], wanted
                events.append(Repriced(old_ref, *self.again(order)))
        return events

    def state(self, locate, state):
        self.states[locate] = state
        return [StateChanged(locate, state, "why"), *self.reprice(locate)]


# ---------------------------------------------------------------- requests made to collide

PRICES = [
    *[1_000_000 + 100 * n for n in (-3, -2, -1, 0, 0, 1, 2, 3)],
    *[1, 2, 9_999, 10_000, 10_100, 1_999_999_900],
    *[0, 1_000_050, 2_000_000_000],
]
QUANTITIES = [100, 100, 50, 1, 300, 999_999, 0, 1_000_000]
TERMS = [
    *[PLAIN] * 6,
    *[IMMEDIATE] * 3,
    Terms(is_market=True),
    *[Terms(is_post_only=True)] * 3,
    *[Terms(is_hidden=True)] * 2,
    Terms(is_hidden=True, is_post_only=True),
    *[Terms(max_floor=20)] * 2,
    Terms(is_immediate=True, min_quantity=60),
    Terms(attribution=b"ABCD"),
    Terms(prevention=CANCEL_RESTING),
    Terms(prevention=CANCEL_INCOMING),
    Terms(prevention=CANCEL_RESTING, max_floor=30),
    # What cannot be.
    Terms(min_quantity=10),
    Terms(is_immediate=True, min_quantity=2_000_000),
    Terms(max_floor=10, is_hidden=True),
    Terms(max_floor=2_000_000),
    Terms(is_post_only=True, is_immediate=True),
]
orders = st.tuples(
    st.just("enter"),
    st.sampled_from([1] * 12 + [2, 2, 3]),
    st.sampled_from([BUY, SELL]),
    st.sampled_from(QUANTITIES),
    st.sampled_from(PRICES),
    st.sampled_from(TERMS),
    st.sampled_from([0, 7, 8]),
)
refs = st.integers(1, 40)
others = st.one_of(
    st.tuples(st.just("reduce"), refs, st.sampled_from([0, 0, 1, 30, 100]), st.just(Why.USER)),
    st.tuples(
        st.just("replace"),
        refs,
        st.sampled_from(QUANTITIES),
        st.sampled_from(PRICES),
        st.sampled_from(TERMS),
    ),
    st.tuples(st.just("state"), st.sampled_from([1, 2]), st.sampled_from("TTHPQ")),
)
requests = st.lists(st.one_of(orders, orders, others), max_size=60)


def _matching() -> Matching:
    matching = Matching()
    assert [matching.list_symbol(stock) for stock in ("AAA", "BBB")] == [1, 2]
    return matching


def _ask(matching: Matching, name: str, arguments: tuple) -> list:
    if name == "state":
        return matching.set_state(*arguments, "why")
    return getattr(matching, name)(*arguments)


def _resting(matching: Matching) -> list[tuple]:
    return [
        (o.ref, o.owner, o.locate, o.side, o.price, o.limit, o.leaves, o.shown)
        for locate in (1, 2)
        for side in (BUY, SELL)
        for o in matching.books[locate].orders(side)
    ]


def _compare(matching: Matching, naive: Naive, name: str, arguments: tuple) -> list:
    """Ask both; events, books and orders must be the same."""
    events = _ask(matching, name, arguments)
    assert events == getattr(naive, name)(*arguments), (name, arguments)
    for book in matching.books.values():
        book.check()
    names = ("ref", "owner", "locate", "side", "price", "limit", "leaves", "shown")
    assert _resting(matching) == [
        tuple(order[name] for name in names)
        for locate in (1, 2)
        for side in (BUY, SELL)
        for order in naive.queue(locate, side)
    ]
    assert set(matching.orders) == {order["ref"] for order in naive.orders}
    return events


@settings(max_examples=150, deadline=None)
@given(requests)
def test_events_and_books_are_those_of_the_naive_one(asked):
    matching, naive = _matching(), Naive()
    for name, *arguments in asked:
        _compare(matching, naive, name, tuple(arguments))


def _collisions(seed: int, matching: Matching) -> Iterator[tuple[str, tuple]]:
    """Requests about what is there: a few prices, live orders, every term."""
    chance = random.Random(seed)
    base = chance.choice([1_000_000, 1_000_000, 10_000, 300])
    tick = 100 if base > 10_000 else 1
    prices = [base + tick * n for n in (-3, -2, -1, -1, 0, 0, 0, 1, 1, 2, 3)]
    if base == 10_000:
        prices += [9_998, 10_000, 10_000, 10_100, 10_200]
    prices.append(chance.choice(PRICES))
    for _ in range(250):
        dice, live = chance.random(), list(matching.orders)
        price, quantity = chance.choice(prices), chance.choice(QUANTITIES[:-2])
        if dice < 0.6 or not live:
            side, owner = chance.choice([BUY, SELL]), chance.choice([0, 7, 8])
            locate = chance.choice([1, 1, 1, 1, 1, 2, 3])
            yield "enter", (locate, side, quantity, price, chance.choice(TERMS), owner)
        elif dice < 0.75:
            yield "reduce", (chance.choice(live), chance.choice([0, 0, 1, 30]), Why.USER)
        elif dice < 0.98:
            old = matching.orders[chance.choice(live)]
            same, quantity = chance.random() < 0.5, chance.choice([old.leaves, 1, quantity])
            limit, terms = (old.limit, old.terms) if same else (price, chance.choice(TERMS))
            yield "replace", (old.ref, quantity, limit, terms)
        else:
            yield "state", (1, chance.choice("TTTHQP"))


@pytest.mark.parametrize("seed", range(25))
def test_long_runs_are_those_of_the_naive_one(seed):
    matching, naive = _matching(), Naive()
    asked_for = traded = cancelled = 0
    leaves: dict[int, int] = {}
    for name, arguments in _collisions(seed, matching):
        for event in _compare(matching, naive, name, arguments):
            if isinstance(event, Accepted):
                asked_for += event.quantity
            elif isinstance(event, Replaced):  # what the old one had left is given up for the new
                asked_for += event.quantity - leaves[event.old_ref]
            elif isinstance(event, Executed):
                traded += 2 * event.quantity
            elif isinstance(event, Canceled):
                cancelled += event.quantity
            elif isinstance(event, Prevented):
                cancelled += event.removed
        leaves = {ref: order.leaves for ref, order in matching.orders.items()}
        assert asked_for == traded + cancelled + sum(leaves.values())
    assert traded and cancelled


# ---------------------------------------------------------------- one rule each

PX = 1_000_000


def _trades(events: list) -> list[tuple[int, int, int]]:
    return [(e.ref, e.quantity, e.price) for e in events if isinstance(e, Executed)]


def test_better_price_then_displayed_then_older():
    matching = _matching()
    for price, terms in (
        (PX + 100, PLAIN), (PX, Terms(is_hidden=True)), (PX, PLAIN), (PX, PLAIN),
    ):  # fmt: skip
        matching.enter(1, SELL, 100, price, terms)
    events = matching.enter(1, BUY, 400, PX + 100)
    assert _trades(events) == [(3, 100, PX), (4, 100, PX), (2, 100, PX), (1, 100, PX + 100)]


def test_fewer_shares_keep_the_place_and_anything_else_loses_it():
    matching = _matching()
    first, second = (matching.enter(1, SELL, 100, PX)[0].ref for _ in range(2))
    (kept,) = matching.replace(first, 60, PX)
    assert kept == Replaced(first, first, 0, 1, SELL, 60, PX, 100, 60, True, False)
    (moved,) = matching.replace(first, 61, PX)
    assert moved == Replaced(first, 3, 0, 1, SELL, 61, PX, 60, 61, False, True)
    assert _trades(matching.enter(1, BUY, 161, PX)) == [(second, 100, PX), (3, 61, PX)]


def test_a_reserve_order_goes_behind_at_each_refresh():
    matching = _matching()
    matching.enter(1, SELL, 50, PX, Terms(max_floor=20))
    matching.enter(1, SELL, 10, PX)
    events = matching.enter(1, BUY, 45, PX)
    assert _trades(events) == [(1, 20, PX), (2, 10, PX), (4, 15, PX)]
    assert matching.books[1].depth(SELL) == [(PX, 5, 1)]
    assert [(e.old_ref, e.ref, e.shown, e.leaves) for e in events if isinstance(e, Refreshed)] == [
        (1, 4, 20, 30)
    ]


def test_post_only_stands_aside_until_it_need_not():
    matching = _matching()
    (offer,) = [matching.enter(1, SELL, 100, PX)[0].ref]
    entered = matching.enter(1, BUY, 100, PX + 100, Terms(is_post_only=True), 7)
    assert entered[1:] == [Rested(2, 7, 1, BUY, 100, 100, PX - 100, b"")]
    further = matching.enter(1, SELL, 100, PX + 100)[0].ref
    terms = Terms(is_post_only=True)
    assert matching.cancel(offer)[1:] == [Repriced(2, 4, 7, 1, BUY, 100, 100, PX, terms)]
    assert matching.cancel(further)[1:] == [Repriced(4, 5, 7, 1, BUY, 100, 100, PX + 100, terms)]
    assert not matching.books[1].slid


def test_minimum_quantity_is_all_or_nothing():
    matching = _matching()
    matching.enter(1, SELL, 50, PX)
    events = matching.enter(1, BUY, 100, PX, Terms(is_immediate=True, min_quantity=51))
    assert events[1:] == [Canceled(2, 0, 1, 100, 0, 0, Why.IMMEDIATE, False)]
    events = matching.enter(1, BUY, 100, PX, Terms(is_immediate=True, min_quantity=50))
    assert _trades(events) == [(1, 50, PX)]


def test_a_broken_trade_is_broken_once_and_forgotten_ones_never():
    matching = Matching(max_trades=1)
    matching.list_symbol("AAA")
    matching.enter(1, SELL, 100, PX, owner=7)
    matching.enter(1, BUY, 40, PX, owner=8)
    matching.enter(1, BUY, 60, PX, owner=9)
    assert matching.break_trade(1) == [Rejected(0, 0, Reason.ORDER)]
    assert matching.break_trade(2) == [Broken(2, 1, 60, PX, 1, 7, SELL, 3, 9, "S")]
    assert matching.break_trade(2) == [Rejected(0, 0, Reason.ORDER)]


def test_a_recorded_trade_happens_at_any_price_and_place():
    matching = _matching()
    matching.enter(1, SELL, 100, PX)
    matching.enter(1, SELL, 100, PX)
    (trade,) = matching.execute(2, 500, PX + 7, False)
    assert (trade.resting_price, trade.is_printable) == (PX, False)
    assert (trade.ref, trade.quantity, trade.price, trade.leaves) == (2, 100, PX + 7, 0)
    assert matching.execute(2, 1, PX) == [Rejected(0, 0, Reason.ORDER)]


def test_bounds_have_names():
    matching = Matching(max_orders=1)
    matching.list_symbol("AAA")
    with pytest.raises(ExchangeError, match="listed already"):
        matching.list_symbol("AAA")
    matching.enter(1, SELL, 100, PX)
    assert matching.enter(1, BUY, 1, PX - 100, owner=3) == [Rejected(3, 1, Reason.FULL)]


def test_a_halted_symbol_takes_no_orders_and_lets_them_go():
    matching = _matching()
    ref = matching.enter(1, SELL, 100, PX)[0].ref
    assert matching.set_state(1, "H", "T1") == [StateChanged(1, "H", "T1")]
    assert matching.enter(1, BUY, 100, PX, owner=3) == [Rejected(3, 1, Reason.HALTED)]
    assert matching.replace(ref, 10, PX) == [Rejected(0, 1, Reason.HALTED)]
    assert matching.enter(2, BUY, 100, PX)[0].ref == 2
    assert matching.cancel(ref)[0].leaves == 0
