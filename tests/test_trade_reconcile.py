"""The drop copy's trades against the order session's, one by one, and the positions they make."""

from decimal import Decimal

import numpy as np
import pytest

from itch_messages import message, run
from tickpath import Config, Engine
from tickpath.config import Capacity, Fills
from tickpath.own_orders import adopt
from tickpath.trade import reconcile
from tickpath.trade.desk import joined
from tickpath.trade.reconcile import Tally, Trade, Watch, differences
from tickpath.wire.ouch42 import OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_OUTBOUND

CONFIG = Config(
    capacity=Capacity(symbols=64, orders=1 << 14, overflow_levels=4096, trades=1024),
    fills=Fills(model="exchange"),
)
GRACE_NS = 1_000
SYMBOLS = ("AAA", "BBB")


def accepted(ref: int, side: str = "B", symbol: str = "AAA", quantity: int = 100) -> bytes:
    return OUCH50_OUTBOUND["order_accepted"].encode(
        timestamp=1, user_ref_num=ref, side=side, quantity=quantity, symbol=symbol,
        price=Decimal(10), time_in_force="0", display="Y", order_reference_number=ref,
        capacity="P", inter_market_sweep_eligibility="N", cross_type="N", order_state="L",
        clordid=f"T{ref:013}",
    )  # fmt: skip


def executed(ref: int, match: int, quantity: int = 10, price: str = "10") -> bytes:
    return OUCH50_OUTBOUND["order_executed"].encode(
        timestamp=2, user_ref_num=ref, quantity=quantity, price=Decimal(price), match_number=match
    )


def broken(ref: int, match: int) -> bytes:
    return OUCH50_OUTBOUND["broken_trade"].encode(
        timestamp=3, user_ref_num=ref, match_number=match, broken_trade_reason="S"
    )


def corrected(ref: int, match: int, quantity: int) -> bytes:
    return OUCH50_OUTBOUND["trade_correction"].encode(
        timestamp=3, user_ref_num=ref, quantity=quantity, price=Decimal(10), match_number=match,
        trade_correction_reason="E",
    )  # fmt: skip


@pytest.fixture
def engine() -> Engine:
    made = Engine(CONFIG)
    for locate, symbol in enumerate(SYMBOLS, 1):
        made.feed(run([message("R", locate, 1, stock=symbol)]))
    return made


class Sides:
    """An engine with order 1, a buy of 100 AAA, and a watch; who is told what."""

    def __init__(self, engine: Engine, start: dict[str, int] | None = None) -> None:
        self.engine = engine
        self.watch = Watch("ouch50", start or {}, GRACE_NS)
        adopt(engine.block.address, *(np.uint64(each) for each in (1, 16, 1, 66, 100, 100_000, 0)))
        self.here(accepted(1))
        self.there(accepted(1))

    def here(self, each: bytes, now_ns: int = 0) -> None:
        self.engine.feed_responses(joined([each]))
        self.watch.take_answer(each, now_ns)

    def there(self, each: bytes, now_ns: int = 0) -> None:
        self.watch.take_copy(each, now_ns)

    def check(self, now_ns: int) -> list[str]:
        return self.watch.check(self.engine, now_ns)


def test_the_same_trades_on_both_sides(engine):
    sides = Sides(engine)
    sides.here(executed(1, 5))
    sides.there(executed(1, 5))
    sides.there(executed(1, 6))
    assert sides.watch.unmatched == 1
    sides.here(executed(1, 6))
    assert sides.watch.unmatched == 0
    assert sides.check(10**12) == [] == sides.check(2 * 10**12)


def test_a_trade_that_one_side_never_tells(engine):
    sides = Sides(engine)
    sides.here(executed(1, 5), 100)
    assert sides.check(100 + GRACE_NS - 1) == []
    assert sides.check(100 + GRACE_NS) == [
        "order 1: match 5 of 10 shares executed: only the order session tells of it"
    ]
    sides.there(executed(1, 5), 5_000)
    sides.there(broken(1, 5), 5_000)
    assert sides.check(5_000 + GRACE_NS) == [
        "order 1: match 5 of 0 shares broken: only the drop copy tells of it"
    ]


def test_the_same_match_with_another_quantity_is_two_that_differ(engine):
    sides = Sides(engine)
    sides.here(executed(1, 5, 10))
    sides.there(executed(1, 5, 11))
    assert len(sides.check(GRACE_NS)) == 2


def test_while_one_cannot_be_heard_nothing_is_late(engine):
    sides = Sides(engine)
    sides.here(executed(1, 5), 0)
    sides.watch.pause(10**9)
    assert sides.check(10**9 + GRACE_NS - 1) == []
    assert len(sides.check(10**9 + GRACE_NS)) == 1


def test_an_engine_that_counts_otherwise(engine):
    """Both sides have told the same, and the engine's position is another one all the same."""
    sides = Sides(engine)
    engine.feed_responses(joined([executed(1, 99, 50)]))
    assert sides.check(0) == []
    assert sides.check(GRACE_NS) == ["AAA: engine +50, drop copy +0"]


def test_positions_of_the_day_before(engine):
    sides = Sides(engine, {"AAA": 500, "BBB": -20})
    assert differences(engine, sides.watch.tally, {"AAA": 500, "BBB": -20}) == {
        "AAA": (0, 500),
        "BBB": (0, -20),
    }
    for symbol, quantity in (("AAA", 500), ("BBB", -20)):
        engine.command("position", who="x", why="y", symbol=symbol, quantity=quantity, cash=0)
    sides.here(executed(1, 5))
    sides.there(executed(1, 5))
    assert sides.check(0) == sides.check(10**12) == []


def test_what_is_unmatched_is_bounded(engine, monkeypatch):
    monkeypatch.setattr(reconcile, "MAX_UNMATCHED", 3)
    sides = Sides(engine)
    for match in range(5):
        sides.there(executed(1, match))
    assert sides.watch.unmatched == 3
    assert sides.check(0) == ["5 trades that only one side tells of"]


def test_tally():
    tally = Tally("ouch50")
    for each in (
        *(accepted(1), accepted(2, "S", "BBB", 50), executed(1, 5, 30), executed(2, 5, 30)),
        *(executed(2, 6, 20), executed(2, 6, 20), broken(1, 5), broken(1, 5), executed(9, 9)),
        *(corrected(2, 6, 15), broken(2, 77), b"", b"\x00"),
    ):
        tally.take(each)
    assert tally.positions == {"AAA": 0, "BBB": -45}
    assert tally.unknown == 2 and tally.reader.unknown == 2


def test_tally_of_replacements():
    tally = Tally("ouch50")
    tally.take(accepted(1, "T"))
    tally.take(
        OUCH50_OUTBOUND["replaced"].encode(
            timestamp=2,
            orig_user_ref_num=1,
            user_ref_num=2,
            side="T",
            quantity=40,
            symbol="AAA",
            price=Decimal(9),
            time_in_force="0",
            display="Y",
            order_reference_number=8,
            capacity="P",
            inter_market_sweep_eligibility="N",
            cross_type="N",
            order_state="L",
            clordid="T",
        )
    )
    tally.take(executed(2, 5, 40))
    assert tally.positions == {"AAA": -40}


def test_tally_of_ouch42():
    tally, token = Tally("ouch42"), "T0000000000010"
    tally.take(
        OUCH42_OUTBOUND["accepted"].encode(
            timestamp=1,
            order_token=token,
            buy_sell_indicator="B",
            shares=100,
            stock="AAA",
            price=Decimal(10),
            time_in_force=99998,
            display="Y",
            order_reference_number=1,
            capacity="P",
            intermarket_sweep_eligibility="N",
            minimum_quantity=0,
            cross_type="N",
            order_state="L",
            bbo_weight_indicator="1",
        )
    )
    trade = tally.take(
        OUCH42_OUTBOUND["executed"].encode(
            timestamp=2,
            order_token=token,
            executed_shares=10,
            execution_price=Decimal("9.5"),
            liquidity_flag="A",
            match_number=7,
        )
    )
    assert trade == Trade("executed", token, 7, 10, 95_000)
    assert tally.positions == {"AAA": 10}


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(reconcile, "MAX_EXECUTIONS", 10)
    monkeypatch.setattr(reconcile, "MAX_ORDERS", 10)
    tally = Tally("ouch50")
    for ref in range(1, 31):
        tally.take(accepted(ref, quantity=10))
        tally.take(executed(ref, ref))
    assert len(tally._orders) == len(tally._executions) == 10
    assert tally.positions["AAA"] == 300
    tally.take(broken(1, 1))
    assert tally.unknown == 1
