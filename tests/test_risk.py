"""The risk gate: every code alone, the codes' order, each limit's last good value, fills."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparison import assert_equal
from itch_messages import frame, message, mold, run
from reference import Reference
from reference_orders import twin
from scenes import TS, add, delete
from tickpath import Engine, view
from tickpath.config import Limits, Risk
from tickpath.risk import MAX_PRICE, MAX_SHARES, Reject
from trader import CANCEL, MODIFY, NEW, REPLACE, script, scripted

BUY, SELL = view.BUY, view.SELL
BID, ASK = 1_000_000, 1_000_200


@dataclass
class Scene:
    """A market in which the order passes every check; a violation changes one thing."""

    risk: dict = field(
        default_factory=lambda: {
            "max_quantity": 500,
            "max_notional": 60_000.0,
            "max_position": 1_000,
            "collar_percent": 1.0,
            "collar_price": 0.0,
            "orders_per_second": 1,
            "order_burst": 1,
        }
    )
    market: list[bytes] = field(
        default_factory=lambda: [
            message("R", 1, TS, stock="AAPL"),
            message("H", 1, TS, stock="AAPL", trading_state="T"),
            add(1, "B", 300, BID),
            add(2, "S", 200, ASK),
        ]
    )
    order: tuple[int, int, int] = (BUY, 100, BID)
    book: int = 1
    gap: bool = False
    spent: bool = False
    position: int = 0

    def played(self) -> Engine:
        """The engine after the one order."""
        config = scripted([(NEW, *self.order)], self.book, risk=Risk(**self.risk))
        engine = Engine(config, strategy=script)
        engine.feed_packet(frame(mold(self.market, 1)))
        if self.gap:
            engine.feed_packet(frame(mold([], 100)))
        if self.spent:
            engine.block.gate["rate_arrival"][0] = TS + 10**12
        engine.block.position["quantity"][1] = self.position
        sequence = 100 if self.gap else 1 + len(self.market)
        engine.feed_packet(frame(mold([message("S", 0, TS, event_code="Q")], sequence)))
        return engine

    def verdict(self) -> str:
        """ACCEPTED, or the code that the order was rejected with."""
        engine = self.played()
        counters, rejects = engine.counters, engine.rejects_by_code
        assert counters["intents"] == 1 == counters["orders_sent"] + counters["orders_rejected"]
        assert len(engine.take_orders()) == counters["orders_sent"]
        assert sum(rejects.values()) == counters["orders_rejected"]
        return next(iter(rejects), "ACCEPTED")


def _risk(**changes) -> Callable[[Scene], None]:
    return lambda scene: scene.risk.update(changes)


def _market(*messages: bytes) -> Callable[[Scene], None]:
    return lambda scene: scene.market.extend(messages)


def _set(**changes) -> Callable[[Scene], None]:
    return lambda scene: [setattr(scene, *each) for each in changes.items()]


def _order(at: int, value: int) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        order = list(scene.order)
        order[at] = value
        scene.order = tuple(order)

    return change


HALT = message("H", 1, TS, stock="AAPL", trading_state="H")
OPERATIONAL = message("h", 1, TS, stock="AAPL", market_code="Q", action="H")
VIOLATIONS: dict[str, list[Callable[[Scene], None]]] = {
    "MALFORMED": [
        *(_order(1, 0), _order(1, -1), _order(1, MAX_SHARES + 1), _order(1, (1 << 32) + 100)),
        *(_order(2, 0), _order(2, -5), _order(2, MAX_PRICE + 1), _order(2, (1 << 32) + BID)),
        *(_order(0, 0), _order(0, 2), _set(book=0), _set(book=8), _set(book=(1 << 32) + 1)),
        *(_set(book=-1), _set(book=1 << 40)),
    ],
    "KILL_SWITCH": [
        _risk(kill_switch=True),
        _risk(symbols={"AAPL": Limits(kill_switch=True)}),
    ],
    "SYMBOL_NOT_ALLOWED": [
        _risk(allowed=False),
        _risk(symbols={"AAPL": Limits(allowed=False)}),
        _set(book=3),  # nobody's book has no limits
    ],
    "TRADING_STATE": [
        *(_market(message("H", 1, TS, stock="AAPL", trading_state=code)) for code in "HPQx"),
        _market(OPERATIONAL),
        lambda scene: scene.market.pop(1),  # no trading action yet
    ],
    "STALE_BOOK": [_set(gap=True)],
    "QUANTITY": [_risk(max_quantity=99), _risk(symbols={"AAPL": Limits(max_quantity=99)})],
    "NOTIONAL": [
        _risk(max_notional=9_999.99),
        _risk(symbols={"AAPL": Limits(max_notional=9_999.99)}),
    ],
    "PRICE_COLLAR": [
        _order(2, 1_010_203),
        lambda scene: (
            scene.risk.update(symbols={"AAPL": Limits(collar_percent=0.0)}),
            _order(2, ASK + 1)(scene),
        ),
        _market(delete(1), delete(2)),
    ],
    "POSITION": [
        _risk(max_position=99),
        _risk(symbols={"AAPL": Limits(max_position=99)}),
        _set(position=901),
    ],
    "ORDER_RATE": [_set(spent=True)],
}
ALONE = [
    pytest.param(code, change, id=f"{code}-{number}")
    for code, changes in VIOLATIONS.items()
    for number, change in enumerate(changes)
]


def test_the_order_passes_where_nothing_is_wrong():
    assert Scene().verdict() == "ACCEPTED"


@pytest.mark.parametrize(("code", "change"), ALONE)
def test_each_check_alone_rejects_the_order(code, change):
    """Everything else is in order: without this check the order would be sent."""
    scene = Scene()
    change(scene)
    assert scene.verdict() == code


def test_every_code_is_met():
    assert set(VIOLATIONS) | {"ACCEPTED", "UNKNOWN_ORDER"} == {each.name for each in Reject}


@pytest.mark.parametrize(("first", "second"), list(combinations(VIOLATIONS, 2)))
def test_the_first_of_two_violations_decides(first, second):
    scene = Scene()
    VIOLATIONS[second][0](scene)
    VIOLATIONS[first][0](scene)
    if (first, second) == ("NOTIONAL", "PRICE_COLLAR"):
        assert scene.order[1] * scene.order[2] > 99_999_900
    assert scene.verdict() == first


@pytest.mark.parametrize(
    "step", [(CANCEL, 5, 0, 0), (MODIFY, 5, 10, 0), (REPLACE, 5, 10, BID), (CANCEL, 0, 0, 0)]
)
def test_an_order_that_was_never_sent_is_unknown(step):
    engine = Engine(scripted([step]), strategy=script)
    engine.feed(run([message("S", 0, TS, event_code="Q")]))
    assert engine.rejects_by_code == {"UNKNOWN_ORDER": 1}


# ---------------------------------------------------------------- the last good value


@pytest.mark.parametrize(
    "changes",
    [
        [_risk(max_quantity=100)],
        [_risk(max_notional=10_000.0)],
        [_order(2, 1_010_202)],
        [_risk(max_position=100)],
        [_set(position=900)],
        [
            _order(1, MAX_SHARES),
            _risk(max_quantity=MAX_SHARES, max_notional=1e14, max_position=10**7),
        ],
        [
            _order(2, MAX_PRICE),
            _risk(collar_percent=1000, collar_price=199_999, max_notional=1e14),
        ],
        [_risk(symbols={"AAPL": Limits(collar_price=3.0)}), _order(2, ASK + 30_000)],
        [_market(delete(2)), _order(2, 1_010_000)],  # the own side where the other is empty
        [_order(0, SELL), _order(2, 990_000)],
        [_market(HALT, message("H", 1, TS, stock="AAPL", trading_state="T"))],
        [_market(OPERATIONAL, message("h", 1, TS, market_code="Q", action="T"))],
        [_market(message("h", 1, TS, market_code="X", action="H"))],
        [lambda scene: scene.market.pop(1), _risk(unknown_trading_state="trade")],
        [_set(position=-2000), _risk(max_position=10)],  # smaller than before
        [_risk(kill_switch=False, allowed=False, symbols={"AAPL": Limits(allowed=True)})],
    ],
)
def test_what_is_just_within_the_limit_passes(changes):
    scene = Scene()
    for change in changes:
        change(scene)
    assert scene.verdict() == "ACCEPTED"


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ((BUY, 1, 1_010_202), "ACCEPTED"),
        ((BUY, 1, 1_010_203), "PRICE_COLLAR"),
        ((BUY, 1, 1), "ACCEPTED"),
        ((SELL, 1, 990_000), "ACCEPTED"),
        ((SELL, 1, 989_999), "PRICE_COLLAR"),
        ((SELL, 1, 200_000_000), "ACCEPTED"),
    ],
)
def test_a_collar_is_one_sided_around_the_other_sides_best_price(order, expected):
    scene = Scene(order=order)
    assert scene.verdict() == expected


@pytest.mark.parametrize(
    ("held", "side", "quantity", "expected"),
    [
        *((900, BUY, 100, "ACCEPTED"), (900, BUY, 101, "POSITION"), (-1_000, SELL, 1, "POSITION")),
        *((-900, SELL, 100, "ACCEPTED"), (1_000, SELL, 500, "ACCEPTED")),
        *(
            (1_500, SELL, 1, "ACCEPTED"),
            (1_500, BUY, 1, "POSITION"),
            (-1_500, BUY, 500, "ACCEPTED"),
        ),
        *((1_100, SELL, 2_100, "QUANTITY"), (-1_001, SELL, 1, "POSITION")),
    ],
)
def test_a_position_may_always_become_smaller(held, side, quantity, expected):
    price = ASK if side == BUY else BID
    assert Scene(position=held, order=(side, quantity, price)).verdict() == expected


def test_a_reversal_is_smaller_or_it_is_rejected():
    scene = Scene(position=300, order=(SELL, 500, BID))
    scene.risk["max_position"] = 100
    assert scene.verdict() == "ACCEPTED", "200 short is less than 300 long"
    scene.position = 250
    assert scene.verdict() == "POSITION", "250 short is not less than 250 long"


# ---------------------------------------------------------------- order rate


@settings(max_examples=60)
@given(
    st.sampled_from([1, 3, 7, 1000, 1_000_000_000]),
    st.integers(1, 5),
    st.lists(st.integers(0, 1_200_000_000), min_size=1, max_size=12),
)
def test_the_rate_is_that_of_a_token_bucket(rate, burst, waits):
    """A bucket of ``burst`` tokens that gains one each interval, counted in exact integers."""
    steps = [(NEW, BUY, 1, BID)] * len(waits)
    config = scripted(
        steps, risk=Risk(orders_per_second=rate, order_burst=burst, unknown_trading_state="trade")
    )
    engine = Engine(config, strategy=script)
    interval, now = 1_000_000_000 // rate, TS
    engine.feed(run([add(1, "B", 300, BID)]))
    filled, seen = burst * interval, now
    verdicts = []
    for wait in waits:
        now += wait
        filled, seen = min(burst * interval, filled + now - seen), now
        verdicts.append(filled >= interval)
        filled -= interval * verdicts[-1]
        engine.feed(run([message("S", 0, now, event_code="Q")]))
        assert bool(engine.take_orders()) == verdicts[-1], verdicts


def test_rejected_orders_and_cancels_take_nothing_from_the_rate():
    steps = [(NEW, BUY, 0, BID), (CANCEL, 9, 0, 0), (NEW, BUY, 1, BID), (CANCEL, 2, 0, 0)]
    config = scripted(
        [*steps, (NEW, BUY, 1, BID)],
        risk=Risk(orders_per_second=1, order_burst=1, unknown_trading_state="trade"),
    )
    engine = Engine(config, strategy=script)
    engine.feed(run([add(1, "B", 300, BID), *[message("S", 0, TS, event_code="Q")] * 5]))
    assert [raw[:1] for raw in engine.take_orders()] == [b"O", b"X"]
    assert engine.rejects_by_code == {"MALFORMED": 1, "UNKNOWN_ORDER": 1, "ORDER_RATE": 1}


# ---------------------------------------------------------------- replacements


@pytest.mark.parametrize(
    ("quantity", "price", "expected"),
    [
        (50, BID + 100, {}),
        (0, BID, {"MALFORMED": 1}),
        (501, BID, {"QUANTITY": 1}),
        (100, 1_020_000, {"PRICE_COLLAR": 1}),
        (100, MAX_PRICE + 1, {"MALFORMED": 1}),
    ],
)
def test_a_replacement_passes_the_gate_as_the_order_it_would_become(quantity, price, expected):
    risk = {**Scene().risk, "order_burst": 10}
    config = scripted([(NEW, BUY, 100, BID), (REPLACE, 1, quantity, price)], risk=Risk(**risk))
    engine = Engine(config, strategy=script)
    engine.feed(run([*Scene().market, *[message("S", 0, TS, event_code="Q")] * 2]))
    assert engine.rejects_by_code == expected
    leaves = {int(row["user_ref_num"]): int(row["leaves"]) for row in engine.block.own[1:3]}
    assert leaves == ({1: 100, 0: 0} if expected else {1: 0, 2: quantity})


# ---------------------------------------------------------------- assumed fills


@pytest.mark.parametrize(
    ("order", "position", "cash", "leaves"),
    [
        ((BUY, 100, ASK), 100, -100 * ASK, 0),
        ((BUY, 100, ASK + 500), 100, -100 * ASK, 0),  # at the touch's price, not the order's
        ((BUY, 250, ASK), 200, -200 * ASK, 50),  # up to what is shown
        ((BUY, 100, ASK - 1), 0, 0, 100),
        ((SELL, 100, BID), -100, 100 * BID, 0),
        ((SELL, 400, BID - 500), -300, 300 * BID, 100),
        ((SELL, 100, BID + 1), 0, 0, 100),
    ],
)
def test_what_could_be_taken_at_the_touch_is_assumed_filled(order, position, cash, leaves):
    engine = Scene(order=order).played()
    assert engine.block.position["quantity"][1] == position
    assert engine.block.position["cash"][1] == cash
    assert engine.block.own["leaves"][1] == leaves
    assert engine.counters["assumed_fills"] == (position != 0)


@pytest.mark.parametrize(("side", "gone"), [(BUY, 2), (SELL, 1)])
def test_nothing_is_filled_against_an_empty_side(side, gone):
    scene = Scene(order=(side, 100, BID))
    scene.market.append(delete(gone))
    engine = scene.played()
    assert engine.counters["orders_sent"] == 1 and engine.counters["assumed_fills"] == 0


def test_a_filled_position_counts_against_the_limit():
    """Two orders of 100 with room for 150: the second is rejected, a sale passes."""
    steps = [(NEW, BUY, 100, ASK), (NEW, BUY, 100, ASK), (NEW, SELL, 100, BID)]
    config = scripted(steps, risk=Risk(max_position=150))
    engine, reference = Engine(config, strategy=script), Reference(config, twin(script))
    stream = [*Scene().market, *[message("S", 0, TS, event_code="Q")] * 3]
    engine.feed(run(stream))
    reference.run(stream)
    assert_equal(engine, reference)
    assert engine.rejects_by_code == {"POSITION": 1}
    assert engine.block.position["cash"][1] == -100 * ASK + 100 * BID
