"""The reference's risk gate: every check as a line of plain Python, on sums made anew each time.

Written from the docstrings of `tickpath.risk` and `tickpath.config`.  It knows the configuration,
the reference's books and the desk's orders; nothing is kept that can be computed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tickpath.config import Band, Limits
from tickpath.layout import RECENT_BITS

if TYPE_CHECKING:
    from reference_orders import Desk, Own

CODES = (
    *("MALFORMED", "UNKNOWN_ORDER", "OWN_ORDERS_FULL", "AUDIT_FULL"),
    *("KILL_SWITCH", "STRATEGY_KILLED", "SYMBOL_KILLED", "SYMBOL_NOT_ALLOWED"),
    *("HALTED", "OPERATIONAL_HALT", "LULD_PAUSE", "TRADING_STATE_UNKNOWN"),
    *("AUCTION", "MARKET_HOURS", "STALE_BOOK", "SHORT_SALE_RESTRICTED", "NO_LOCATE"),
    *("QUANTITY", "NOTIONAL", "NO_REFERENCE", "STALE_REFERENCE", "PRICE_COLLAR", "MARKET_ORDER"),
    *("DUPLICATE_ORDER", "ORDER_RATE", "SYMBOL_ORDER_RATE", "OPEN_ORDERS", "SYMBOL_OPEN_ORDERS"),
    *("POSITION_LONG", "POSITION_SHORT", "GROSS_NOTIONAL", "NET_NOTIONAL"),
    *("DAILY_QUANTITY", "DAILY_NOTIONAL", "SELF_MATCH", "LOSS_LIMIT"),
)
"""In the order of the checks, the first with number 1."""
NUMBERS = {code: number for number, code in enumerate(CODES, 1)}
REDUCING_PASS = {
    *("QUANTITY", "NOTIONAL", "DUPLICATE_ORDER", "ORDER_RATE", "SYMBOL_ORDER_RATE"),
    *("OPEN_ORDERS", "SYMBOL_OPEN_ORDERS", "POSITION_LONG", "POSITION_SHORT"),
    *("GROSS_NOTIONAL", "NET_NOTIONAL", "DAILY_QUANTITY", "DAILY_NOTIONAL", "LOSS_LIMIT"),
}
MAX_PRICE, MARKET_PRICE, MAX_SHARES = 1_999_999_900, 0x7FFFFFFF, 999_999
SECOND = 1_000_000_000
REDUCE_ONLY, STOP = 1, 2
ENDLESS = 1 << 100
MIX = 0x9E3779B97F4A7C15


def money(dollars: float) -> int:
    return round(dollars * 10_000)


class Order(NamedTuple):
    """What makes an order the like of another."""

    book: int
    is_buy: bool
    quantity: int
    price: int

    @property
    def key(self) -> int:
        """What the engine knows it by."""
        key = (self.price | self.book << 32) * MIX ^ (self.quantity << 1 | self.is_buy) * MIX << 20
        return key & (1 << 64) - 1

    @property
    def place(self) -> int:
        """Its place in the table of orders sent lately: which are forgotten is the engine's hash's
        choice, and nothing that could be derived."""
        return (self.key * MIX & (1 << 64) - 1) >> 64 - RECENT_BITS


@dataclass
class Verdict:
    failed: set[str] = field(default_factory=set)
    warned: set[str] = field(default_factory=set)
    reference: int = 0
    side: str = ""
    reducing: bool = False

    @property
    def code(self) -> str:
        """The first check that failed; none for an accepted order."""
        return min(self.failed, key=CODES.index) if self.failed else ""


@dataclass
class Asked:
    """An order that is checked."""

    book: int
    is_buy: bool
    quantity: int
    price: int
    replaced: Own | None = None
    reference: int | None = None
    width: int = 0

    @property
    def at_market(self) -> bool:
        return self.price == MARKET_PRICE

    @property
    def opens(self) -> int:
        """Shares that can be executed: not again what a replaced order has done."""
        return max(0, self.quantity - (self.replaced.executed if self.replaced else 0))

    @property
    def counts_at(self) -> int:
        """The price that its notional is counted at: a market order's is the worst."""
        if not self.at_market:
            return self.price
        worst = self.reference or 0
        return worst + self.width if self.is_buy else worst


class Gate:
    def __init__(self, desk: Desk, strategy: str) -> None:
        self.desk, self.reference = desk, desk.reference
        self.risk = risk = desk.reference.config.risk
        self.narrower = risk.strategies.get(strategy, Limits())
        self.off = {name.upper() for name in risk.off}
        self.killed = STOP * risk.kill_switch
        self.strategy_killed = STOP * bool(self.narrower.kill_switch)
        self.symbols_killed = {
            symbol: STOP for symbol, own in risk.symbols.items() if own.kill_switch
        }
        self.arrival = 0  # theoretical arrival time of the next order
        self.arrivals: Counter[int] = Counter()  # by position
        self.recent: dict[int, tuple[Order, int]] = {}

    # ------------------------------------------------------------ limits

    def symbol(self, book: int) -> str:
        return self.reference.books[book].symbol.decode("latin-1").rstrip()

    def limit(self, book: int, name: str, default: str | None = None) -> Any:
        """A symbol's limit: of its own table or the default, and of the strategy the tighter."""
        if not self.reference.books[book].venue:
            return 0  # nobody's book
        own = getattr(self.risk.symbols.get(self.symbol(book), Limits()), name)
        chosen = getattr(self.risk, default or name) if own is None else own
        narrower = getattr(self.narrower, name)
        return chosen if narrower is None else min(chosen, narrower)

    def reach(self, book: int, name: str) -> int:
        """max_long or max_short, which max_position stands for where they are not given."""
        if not self.reference.books[book].venue:
            return 0
        own = self.risk.symbols.get(self.symbol(book), Limits())
        given = [getattr(own, name), own.max_position, getattr(self.risk, name)]
        chosen = next((n for n in given if n is not None), self.risk.max_position)
        given = [getattr(self.narrower, name), self.narrower.max_position]
        return min(chosen, next((n for n in given if n is not None), ENDLESS))

    def collar(self, book: int, reference: int) -> int:
        """Width of the collar around a reference price."""
        own, narrower = self.risk.symbols.get(self.symbol(book), Limits()), self.narrower

        def pair(table: Limits) -> tuple[float, float] | None:
            given = (table.collar_percent, table.collar_price)
            if given == (None, None):
                return None
            percent, price = given
            return (
                self.risk.collar_percent if percent is None else percent,
                self.risk.collar_price if price is None else price,
            )

        def width(percent: float, price: float) -> int:
            return max(reference * round(percent * 100) // 10_000, money(price))

        symbols = pair(own) if self.reference.books[book].venue else None
        strategys = pair(narrower) if self.reference.books[book].venue else None
        if symbols and strategys:
            return width(min(symbols[0], strategys[0]), min(symbols[1], strategys[1]))
        if symbols:
            return width(*symbols)
        band = Band(0.0, self.risk.collar_percent, self.risk.collar_price)
        for each in self.risk.bands:
            band = each if reference >= money(each.from_price) else band
        banded = width(band.percent, band.price)
        return min(banded, width(*strategys)) if strategys else banded

    # ------------------------------------------------------------ the checks

    def check(
        self, book: int, side: str, quantity: int, price: int, replaced: Own | None = None
    ) -> Verdict:
        possible = 0 < quantity <= MAX_SHARES and side in ("B", "S")
        possible &= 0 < price <= MAX_PRICE or price == MARKET_PRICE
        if not possible or not 0 < book < 2 * self.reference.config.capacity.symbols:
            return Verdict({"MALFORMED"}, side=side)
        self.mark_again(book)
        asked = Asked(book, side == "B", quantity, price, replaced)
        verdict = Verdict(side=side, reducing=self.is_reducing(asked))
        prices = self.price_checks(asked)
        verdict.reference = asked.reference or 0
        exposure, verdict.warned = self.exposure_checks(asked)
        stopped, limited = self.kill_checks(book)
        failed = stopped | self.may_not_trade(book) | prices
        if not self.limit(book, "allowed"):
            failed.add("SYMBOL_NOT_ALLOWED")
        short = not asked.is_buy and asked.opens > self.owned(asked)
        if short:
            verdict.side = "T"
            failed |= self.short_sale_checks(asked)
        if self.would_match_itself(asked):
            failed.add("SELF_MATCH")
        if verdict.reducing:
            verdict.warned = set()
        else:
            failed |= exposure | limited | self.repetition_checks(asked)
        verdict.failed, verdict.warned = failed - self.off, verdict.warned - self.off
        if not self.reference.books[book].venue:
            verdict.failed.add("SYMBOL_NOT_ALLOWED")
        return verdict

    def kill_checks(self, book: int) -> tuple[set[str], set[str]]:
        """Switches that stop all orders, and those that let reducing ones pass."""
        levels = {
            "KILL_SWITCH": self.killed,
            "STRATEGY_KILLED": self.strategy_killed,
            "SYMBOL_KILLED": self.symbols_killed.get(self.symbol(book), 0),
        }
        stopped = {code for code, level in levels.items() if level == STOP}
        return stopped, {code for code, level in levels.items() if level == REDUCE_ONLY}

    def may_not_trade(self, book: int) -> set[str]:
        """The codes of a symbol's state."""
        status, risk, failed = self.reference.books[book].status, self.risk, set()
        state, hours = chr(status["trading_state"]), chr(self.reference.market_hours)
        unknown_trades = risk.unknown_trading_state == "trade"
        if state == "H":
            failed.add("HALTED")
        elif state == "P":
            failed.add("LULD_PAUSE")
        elif state != "T" and not (state == "\0" and unknown_trades):
            failed.add("TRADING_STATE_UNKNOWN")
        if status["operational_halt"]:
            failed.add("OPERATIONAL_HALT")
        auction = chr(status["auction"])
        if auction in "HI" or (auction != "\0" and risk.auctions == "reject"):
            failed.add("AUCTION")
        open_when = {"regular": "Q", "extended": "SQM", "any": hours}[risk.trading_hours]
        if hours not in open_when and not (hours == "\0" and unknown_trades):
            failed.add("MARKET_HOURS")
        if status["stale"]:
            failed.add("STALE_BOOK")
        return failed

    def may_trade(self, book: int) -> bool:
        return not self.may_not_trade(book) - self.off

    def market(self, book: int) -> tuple[int, int] | None:
        """Best bid and offer, where both are there and not too wide apart."""
        bid, ask = self.reference.best(book, 0), self.reference.best(book, 1)
        if bid is None or ask is None:
            return None
        widest = round(self.risk.max_spread_percent * 100)
        return (bid, ask) if max(0, ask - bid) * 10_000 <= ask * widest else None

    def mark(self, book: int) -> int:
        """What a position is valued at; 0 where nothing is known."""
        if market := self.market(book):
            return sum(market) // 2
        return self.reference.books[book].last_px or self.desk.holdings[book].prior_close

    def mark_again(self, book: int) -> None:
        holding = self.desk.holdings[book]
        holding.mark = self.mark(book) or holding.mark

    def price_checks(self, asked: Asked) -> set[str]:
        """Waterfall and collar; notes the reference price and the collar's width."""
        record = self.reference.books[asked.book]
        close, failed = self.desk.holdings[asked.book].prior_close, set()
        age = self.reference.time - record.last_ts
        if market := self.market(asked.book):
            asked.reference = market[1] if asked.is_buy else market[0]
        elif record.last_px and age <= self.risk.last_sale_max_age_s * SECOND:
            asked.reference = record.last_px
        elif close:
            asked.reference = close
        else:
            failed.add("STALE_REFERENCE" if record.last_px else "NO_REFERENCE")
        asked.width = self.collar(asked.book, asked.reference or 0)
        if asked.at_market and not self.risk.market_orders:
            failed.add("MARKET_ORDER")
        if asked.reference is not None and not asked.at_market:
            highest, lowest = asked.reference + asked.width, asked.reference - asked.width
            if asked.price > highest if asked.is_buy else asked.price < lowest:
                failed.add("PRICE_COLLAR")
        return failed

    # ------------------------------------------------------------ what is held and open

    def open_shares(self, book: int, is_buy: bool, but: Own | None = None) -> int:
        orders = self.desk.open_orders(book, is_buy)
        return sum(each.leaves for each in orders if each is not but)

    def open_notional(self, book: int | None, is_buy: bool | None) -> int:
        return sum(each.leaves * each.price for each in self.desk.open_orders(book, is_buy))

    def is_reducing(self, asked: Asked) -> bool:
        held = self.desk.holdings[asked.book].quantity
        if self.risk.reducing == "check":
            return False
        if held >= 0 if asked.is_buy else held <= 0:
            return False
        beside = self.open_shares(asked.book, asked.is_buy, asked.replaced)
        return beside + asked.opens <= abs(held)

    def owned(self, asked: Asked) -> int:
        """Shares of the position that no open sell takes."""
        beside = self.open_shares(asked.book, False, asked.replaced)
        return self.desk.holdings[asked.book].quantity - beside

    def short_sale_checks(self, asked: Asked) -> set[str]:
        status, failed = self.reference.books[asked.book].status, set()
        bid = self.reference.best(asked.book, 0)
        at_bid = asked.at_market or (bid is not None and asked.price <= bid)
        if chr(status["reg_sho"]) in "12" and at_bid:
            failed.add("SHORT_SALE_RESTRICTED")
        located = self.desk.holdings[asked.book].locate
        if self.risk.locate_required and asked.opens - self.owned(asked) > located:
            failed.add("NO_LOCATE")
        return failed

    def would_match_itself(self, asked: Asked) -> bool:
        others = [each.price for each in self.desk.open_orders(asked.book, not asked.is_buy)]
        if not others:
            return False
        if asked.at_market:
            return True
        return asked.price >= min(others) if asked.is_buy else asked.price <= max(others)

    def repetition_checks(self, asked: Asked) -> set[str]:
        now, failed = self.reference.time, set()
        order = Order(asked.book, asked.is_buy, asked.quantity, asked.price)
        like, before = self.recent.get(order.place, (None, 0))
        if like == order and now - before < self.risk.duplicate_window_ms * 1_000_000:
            failed.add("DUPLICATE_ORDER")
        if self.arrival - now > self.bucket(None)[1]:
            failed.add("ORDER_RATE")
        if self.arrivals[self.reference.position_of(asked.book)] - now > self.bucket(asked.book)[1]:
            failed.add("SYMBOL_ORDER_RATE")
        return failed

    def bucket(self, book: int | None) -> tuple[int, int]:
        """Nanoseconds that an order takes, and how far the bucket can run ahead."""
        per_second, orders = self.risk.orders_per_second, self.risk.order_burst
        if book is not None:
            per_second = self.limit(book, "orders_per_second", "symbol_orders_per_second")
            orders = self.limit(book, "order_burst", "symbol_order_burst")
        interval = SECOND // per_second if per_second else 0
        return interval, max(0, orders - 1) * interval

    def sent(self, book: int, is_buy: bool, quantity: int, price: int) -> None:
        """An order or a replacement was accepted; who may ignore a bucket empties it, no more."""
        now = self.reference.time

        def taken(arrival: int, interval: int, burst: int) -> int:
            return min(max(arrival, now), now + burst) + interval

        self.arrival = taken(self.arrival, *self.bucket(None))
        place = self.reference.position_of(book)
        self.arrivals[place] = taken(self.arrivals[place], *self.bucket(book))
        if self.risk.duplicate_window_ms:
            order = Order(book, is_buy, quantity, price)
            self.recent[order.place] = order, now

    # ------------------------------------------------------------ amounts

    def exposure_checks(self, asked: Asked) -> tuple[set[str], set[str]]:
        """Codes of what would be too much, and of what is beyond a soft level only."""
        soft = max(1, round(self.risk.soft_percent / 100 * 256))
        failed, warned = set(), set()
        for code, value, most in self.amounts(asked):
            if value > most:
                failed.add(code)
            elif value > most * soft // 256:
                warned.add(code)
        return failed, warned - failed

    def amounts(self, asked: Asked) -> list[tuple[str, int, int]]:
        """(code, what there would be, limit) of everything that has an amount."""
        desk, book, total = self.desk, asked.book, self.risk.total
        holding, replaced = desk.holdings[book], asked.replaced
        less = replaced.leaves if replaced else 0
        notional = asked.quantity * asked.counts_at
        done = 0 if asked.at_market else asked.quantity - asked.opens
        more = notional - done * asked.price - (less * replaced.price if replaced else 0)
        new = replaced is None
        buying, selling = (self.open_notional(None, side) for side in (True, False))
        beside = self.open_shares(book, asked.is_buy, replaced)
        held = holding.quantity
        after = held + beside + asked.opens if asked.is_buy else held - beside - asked.opens
        traded = holding.day_quantity + sum(self.open_shares(book, side) for side in (True, False))
        traded_notional = holding.day_notional + self.open_notional(book, None)
        days = desk.holdings.values()
        return [
            ("QUANTITY", asked.quantity, self.limit(book, "max_quantity")),
            ("NOTIONAL", notional, money(self.limit(book, "max_notional"))),
            ("OPEN_ORDERS", len(desk.open_orders()) + new, total.max_open_orders),
            (
                "SYMBOL_OPEN_ORDERS",
                len(desk.open_orders(book)) + new,
                self.limit(book, "max_open_orders"),
            ),
            ("POSITION_LONG", after, self.reach(book, "max_long")),
            ("POSITION_SHORT", -after, self.reach(book, "max_short")),
            (
                "GROSS_NOTIONAL",
                desk.gross + buying + selling + more,
                money(total.max_gross_notional),
            ),
            (
                "NET_NOTIONAL",
                (desk.net + buying if asked.is_buy else selling - desk.net) + more,
                money(total.max_net_notional),
            ),
            (
                "DAILY_QUANTITY",
                traded - less + asked.opens,
                self.limit(book, "max_daily_quantity"),
            ),
            (
                "DAILY_QUANTITY",
                sum(each.day_quantity for each in days) - less + asked.opens,
                total.max_daily_quantity,
            ),
            (
                "DAILY_NOTIONAL",
                traded_notional + more,
                money(self.limit(book, "max_daily_notional")),
            ),
            (
                "DAILY_NOTIONAL",
                sum(each.day_notional for each in days) + buying + selling + more,
                money(total.max_daily_notional),
            ),
            ("LOSS_LIMIT", -holding.pnl, money(self.limit(book, "max_loss"))),
            ("LOSS_LIMIT", -desk.pnl, money(total.max_loss)),
        ]
