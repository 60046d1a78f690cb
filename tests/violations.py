"""A market in which an order passes every check, and for each check what makes it alone fail.

Everything else in a scene is as far from its limit as can be, so that without the check that a
violation is about the order would be sent.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from itch_messages import frame, message, mold, run
from reference_gate import Order
from scenes import FREE, TS, add, delete
from tickpath import Engine, view
from tickpath.config import Fills, Limits, Orders
from tickpath.layout import AUDIT, AUDIT_RECORDS
from tickpath.own_orders import State
from tickpath.risk import MARKET_PRICE, MAX_PRICE, MAX_SHARES, Reject
from trader import CANCEL, NEW, script, scripted

BUY, SELL = view.BUY, view.SELL
BID, ASK = 1_000_000, 1_000_200
MIDDLE = (BID + ASK) // 2
CAREFUL = replace(
    FREE,
    collar_percent=1.0,
    collar_price=0.0,
    unknown_trading_state="reject",
    trading_hours="regular",
    auctions="reject",
    market_orders=False,
    locate_required=True,
    max_spread_percent=10.0,
)
"""No limit is near, and every switch of the gate stands on its careful side."""
OPENING = [
    message("S", 0, TS, event_code="Q"),
    message("R", 1, TS, stock="AAPL"),
    message("H", 1, TS, stock="AAPL", trading_state="T"),
    add(1, "B", 300, BID),
    add(2, "S", 200, ASK),
]

Change = Callable[["Scene"], object]


@dataclass
class Scene:
    """A market and one order; a violation changes one thing."""

    risk: dict = field(default_factory=dict)
    market: list[bytes] = field(default_factory=lambda: list(OPENING))
    order: tuple[int, int, int] = (BUY, 100, BID)
    steps: list[tuple[int, int, int, int]] = field(default_factory=list)
    """What the strategy asks for before, each on a message of its own."""
    kind: int = NEW
    book: int = 1
    gap: bool = False
    position: int = 0
    early: list[Callable[[Engine], None]] = field(default_factory=list)
    """Changes of the engine's memory before the steps, and those before the order."""
    pokes: list[Callable[[Engine], None]] = field(default_factory=list)
    model: str = "exchange"
    orders: dict = field(default_factory=dict)
    decisions: list[np.ndarray] = field(default_factory=list)
    keeps: bool = True
    """Whether somebody takes the decisions out of the audit ring."""

    def prepared(self) -> Engine:
        """The engine before the order."""
        return self.prepared_until(len(self.steps))

    def prepared_until(self, steps: int) -> Engine:
        """The engine after some of the steps."""
        asked = [*self.steps, (self.kind, *self.order)]
        config = scripted(
            asked,
            self.book,
            risk=replace(CAREFUL, **self.risk),
            fills=Fills(model=self.model),
            orders=Orders(**self.orders),
        )
        engine = Engine(config, strategy=script, on_audit=self._keep)
        # The script takes its steps on news of book 0: the market's own are before its time.
        strategy = engine.block.get("strategy")
        engine.block.set("strategy", 0)
        engine.feed_packet(frame(mold(self.market, 1)))
        if self.gap:
            engine.feed_packet(frame(mold([], 100)))
        engine.block.set("strategy", strategy)
        hold(engine, 1, self.position)
        for poke in self.early:
            poke(engine)
        for _ in range(steps):
            self.tick(engine)
        for poke in self.pokes:
            poke(engine)
        return engine

    def _keep(self, records: np.ndarray, lost: int) -> bool:
        if self.keeps:
            self.decisions.append(records.copy())
        return self.keeps

    def tick(self, engine: Engine, after_ns: int = 0) -> None:
        """A message that changes nothing, on which the strategy takes its next step."""
        now = engine.block.get("engine_time") + after_ns
        engine.feed(run([message("W", 0, now, breached_level="1")]))

    def played(self) -> Engine:
        """The engine after the order."""
        engine = self.prepared()
        self.tick(engine)
        return engine

    def verdict(self) -> str:
        """ACCEPTED, or the code that the order was rejected with."""
        engine = self.played()
        counters, rejects = engine.counters, engine.rejects_by_code
        asked = len(self.steps) + 1
        assert counters["intents"] == asked == counters["orders_sent"] + sum(rejects.values())
        assert len(engine.take_orders()) == counters["orders_sent"] >= len(self.steps)
        return next(iter(rejects), "ACCEPTED")

    def decision(self) -> np.void:
        """The audit record of the order."""
        self.verdict()
        return np.concatenate([np.zeros(0, AUDIT), *self.decisions])[-1]

    def fails(self) -> set[str]:
        """The checks that failed, all of them."""
        return names(self.decision()["failed"])

    def warned(self) -> set[str]:
        return names(self.decision()["warned"])


def names(bits: int) -> set[str]:
    return {each.name for each in Reject if each and int(bits) >> each & 1}


def hold(engine: Engine, book: int, quantity: int) -> None:
    """Shares that were bought at what they are worth now."""
    position, gate = engine.block.position[book], engine.block.gate
    position["quantity"], position["mark"] = quantity, MIDDLE
    position["cash"] = -quantity * MIDDLE
    gate["net"] += quantity * MIDDLE
    gate["gross"] += abs(quantity) * MIDDLE


# ---------------------------------------------------------------- changes


def limits(**changes) -> Change:
    """Of every symbol, and the gate's rules."""
    return lambda scene: scene.risk.update(changes)


def _table(kind: str, name: str, changes: dict) -> Change:
    def change(scene: Scene) -> None:
        tables = scene.risk.setdefault(kind, {})
        tables[name] = replace(tables.get(name, Limits()), **changes)

    return change


def own_limits(**changes) -> Change:
    return _table("symbols", "AAPL", changes)


def strategys(**changes) -> Change:
    return _table("strategies", "script", changes)


def total(**changes) -> Change:
    """Of the engine as a whole."""

    def change(scene: Scene) -> None:
        scene.risk["total"] = replace(scene.risk.get("total", FREE.total), **changes)

    return change


def market(*messages: bytes) -> Change:
    return lambda scene: scene.market.extend(messages)


def to(**changes) -> Change:
    return lambda scene: [setattr(scene, *each) for each in changes.items()]


def order(side: int | None = None, quantity: int | None = None, price: int | None = None) -> Change:
    def change(scene: Scene) -> None:
        given = zip((side, quantity, price), scene.order, strict=True)
        scene.order = tuple(before if new is None else new for new, before in given)

    return change


def poke(region: str, field: str, value: int, at: int = 1) -> Change:
    def set_it(engine: Engine) -> None:
        engine.block.views[region][field][at] = value

    return lambda scene: scene.pokes.append(set_it)


def prior_close(price: int) -> Change:
    return poke("position", "prior_close", price)


def last_sale(price: int) -> Change:
    return market(message("P", 1, TS, price=price, shares=1, match_number=1))


def status(code: str, **values) -> Change:
    return market(message(code, 1, TS, **values))


def both(*changes: Change) -> Change:
    return lambda scene: [change(scene) for change in changes]


def command(name: str, **values) -> Change:
    """An operator's, which the strategy is not told of."""

    def send(engine: Engine) -> None:
        strategy = engine.block.get("strategy")
        engine.block.set("strategy", 0)
        engine.command(name, who="test", why="test", **values)
        engine.block.set("strategy", strategy)

    return lambda scene: scene.pokes.append(send)


def kill(scope: str, level: int, symbol: str = "AAPL") -> Change:
    return command("kill", scope=scope, level=level, symbol=symbol)


def lose(dollars: float) -> Change:
    """Money of the day that is gone."""

    def spend(engine: Engine) -> None:
        lost = round(dollars * 10_000)
        engine.block.position["cash"][1] -= lost
        engine.block.gate["pnl"][0] -= lost

    return lambda scene: scene.pokes.append(spend)


def later(nanoseconds: int) -> Change:
    """Engine time when the order is checked."""

    def wait(engine: Engine) -> None:
        engine.block.set("engine_time", TS + nanoseconds)

    return lambda scene: scene.pokes.append(wait)


def sent_before(scene: Scene) -> None:
    """An order like the one that is asked for was sent just now."""
    scene.risk["duplicate_window_ms"] = 1

    def remember(engine: Engine) -> None:
        side, quantity, price = scene.order
        like = Order(scene.book, side == BUY, quantity, price)
        remember_order(engine, like)

    scene.pokes.append(remember)


def remember_order(engine: Engine, like: Order) -> None:
    engine.block.recent[like.place] = (like.key, engine.block.get("engine_time"))


def beyond_collar(scene: Scene) -> None:
    order(price=1_010_203 if scene.order[0] == BUY else 989_999)(scene)


def fill_audit(scene: Scene) -> None:
    def fill(engine: Engine) -> None:
        engine.block.set("audit_used", AUDIT_RECORDS)

    scene.keeps = False
    scene.pokes.append(fill)


def sell_short(scene: Scene) -> None:
    """A short sale that passes."""

    def locate(engine: Engine) -> None:
        engine.block.position["locate"][1] = 1_000

    order(side=SELL, price=ASK)(scene)
    scene.early.append(locate)


SALE: Change = sell_short
NO_QUOTES = market(delete(1), delete(2))
TOO_WIDE = limits(max_spread_percent=0)
PRINT = message("P", 1, TS, price=BID, shares=1, match_number=1)
MINUTE = 60_000_000_000

VIOLATIONS: dict[str, list[Change]] = {
    "MALFORMED": [
        *(order(quantity=n) for n in (0, -1, MAX_SHARES + 1, (1 << 32) + 100)),
        *(order(price=n) for n in (0, -5, MAX_PRICE + 1, (1 << 32) + BID, MARKET_PRICE + 1)),
        *(order(side=n) for n in (0, 2)),
        *(to(book=n) for n in (0, 16, (1 << 32) + 1, -1, 1 << 40)),
    ],
    "UNKNOWN_ORDER": [to(kind=CANCEL, order=(5, 0, 0)), to(kind=CANCEL, order=(0, 0, 0))],
    "OWN_ORDERS_FULL": [poke("own", "state", state) for state in (State.PENDING, State.LIVE)],
    "AUDIT_FULL": [fill_audit],
    "KILL_SWITCH": [limits(kill_switch=True), kill("G", 2), kill("G", 1)],
    "STRATEGY_KILLED": [strategys(kill_switch=True), kill("S", 2), kill("S", 1)],
    "SYMBOL_KILLED": [own_limits(kill_switch=True), kill("B", 2), kill("B", 1)],
    "SYMBOL_NOT_ALLOWED": [
        limits(allowed=False),
        own_limits(allowed=False),
        strategys(allowed=False),
    ],
    "HALTED": [status("H", stock="AAPL", trading_state="H")],
    "OPERATIONAL_HALT": [status("h", stock="AAPL", market_code="Q", action="H")],
    "LULD_PAUSE": [status("H", stock="AAPL", trading_state="P")],
    "TRADING_STATE_UNKNOWN": [
        *(status("H", stock="AAPL", trading_state=code) for code in "Qx"),
        lambda scene: scene.market.remove(OPENING[2]),  # no trading action yet
    ],
    "AUCTION": [status("I", cross_type=code) for code in "HIOCA"],
    "MARKET_HOURS": [
        *(market(message("S", 0, TS, event_code=code)) for code in "OSMEC"),
        lambda scene: scene.market.remove(OPENING[0]),  # nothing was heard of the day yet
    ],
    "STALE_BOOK": [to(gap=True)],
    "SHORT_SALE_RESTRICTED": [
        both(SALE, order(price=price), status("Y", stock="AAPL", reg_sho_action=action), rule)
        for action in "12"
        for price in (BID, BID - 100)
        for rule in (limits(locate_required=True), limits(locate_required=False))
    ],
    "NO_LOCATE": [
        both(order(side=SELL, price=ASK), poke("position", "locate", 99)),
        both(order(side=SELL, price=ASK), poke("position", "locate", 0)),
    ],
    "QUANTITY": [
        *(limits(max_quantity=99), own_limits(max_quantity=99), strategys(max_quantity=99)),
    ],
    "NOTIONAL": [
        *(table(max_notional=9_999.9999) for table in (limits, own_limits, strategys)),
    ],
    "NO_REFERENCE": [TOO_WIDE, NO_QUOTES, market(delete(1)), market(delete(2))],
    "STALE_REFERENCE": [
        both(quotes, market(PRINT), later(10 * MINUTE + 1)) for quotes in (TOO_WIDE, NO_QUOTES)
    ],
    "PRICE_COLLAR": [
        beyond_collar,
        both(order(side=SELL), to(position=100), beyond_collar),
        both(own_limits(collar_percent=0.0), order(price=ASK + 1)),
        both(strategys(collar_percent=0.0), order(price=ASK + 1)),
    ],
    "MARKET_ORDER": [
        order(price=MARKET_PRICE),
        both(order(side=SELL, price=MARKET_PRICE), to(position=100)),
    ],
    "DUPLICATE_ORDER": [
        sent_before,
        both(limits(duplicate_window_ms=1), to(steps=[(NEW, BUY, 100, BID)])),
    ],
    "ORDER_RATE": [poke("gate", "rate_arrival", TS + 10**18 * 2, at=0)],
    "SYMBOL_ORDER_RATE": [poke("position", "rate_arrival", TS + 10**18 * 2)],
    "OPEN_ORDERS": [
        both(total(max_open_orders=1), before)
        for before in (poke("gate", "open_orders", 1, at=0), to(steps=[(NEW, BUY, 1, BID)]))
    ],
    "SYMBOL_OPEN_ORDERS": [
        both(table(max_open_orders=1), before)
        for table in (limits, own_limits, strategys)
        for before in (poke("position", "open_orders", 1), to(steps=[(NEW, BUY, 1, BID)]))
    ],
    "POSITION_LONG": [
        *(limits(max_position=99), limits(max_long=99), own_limits(max_long=99)),
        *(strategys(max_position=99), both(limits(max_long=1_000), to(position=901))),
    ],
    "POSITION_SHORT": [
        both(SALE, table, limits(locate_required=locate))
        for table in (limits(max_position=99), own_limits(max_short=99), strategys(max_short=99))
        for locate in (True, False)
    ]
    + [both(SALE, limits(max_short=300), to(position=-201))],
    "GROSS_NOTIONAL": [
        total(max_gross_notional=9_999.9999),
        both(total(max_gross_notional=40_000.0), to(position=301)),
        both(total(max_gross_notional=40_000.0), to(position=-301), order(quantity=302)),
    ],
    "NET_NOTIONAL": [
        total(max_net_notional=9_999.9999),
        both(total(max_net_notional=40_000.0), to(position=301)),
        both(SALE, total(max_net_notional=40_000.0), to(position=-301)),
    ],
    "DAILY_QUANTITY": [
        *(limits(max_daily_quantity=99), own_limits(max_daily_quantity=99)),
        both(strategys(max_daily_quantity=1_000), poke("position", "day_quantity", 901)),
        total(max_daily_quantity=99),
        both(total(max_daily_quantity=1_000), poke("gate", "day_quantity", 901, at=0)),
    ],
    "DAILY_NOTIONAL": [
        *(limits(max_daily_notional=9_999.9999), own_limits(max_daily_notional=9_999.9999)),
        both(strategys(max_daily_notional=20_000.0), poke("position", "day_notional", 100_000_001)),
        total(max_daily_notional=9_999.9999),
        both(total(max_daily_notional=20_000.0), poke("gate", "day_notional", 100_000_001, at=0)),
    ],
    "SELF_MATCH": [
        both(poke("position", "best_sell", 1), poke("position", "best_buy", MAX_PRICE)),
        poke("position", "best_sell", BID),
        both(SALE, poke("position", "best_buy", ASK)),
    ],
    "LOSS_LIMIT": [
        *(both(table(max_loss=5.0), lose(5.0001)) for table in (limits, own_limits, strategys)),
        both(total(max_loss=5.0), lose(5.0001)),
    ],
}
"""By code, in the codes' order: changes of which each makes this check fail, and no other."""
