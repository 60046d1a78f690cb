"""Open orders of one line in plain dictionaries, for ITCH and PITCH, and feeds to fill them with.

Written from the specifications (`itch_messages`, `pitch_messages`), not from the wire tables.  The
digest is kept order by order with `tickpath.digest.reference`.
"""

import random
from typing import NamedTuple

import itch_messages
import pitch_messages
from tickpath import digest

U64 = (1 << 64) - 1


class Order(NamedTuple):
    symbol: str
    side: int
    price: int
    quantity: int


class NaiveBooks:
    """The orders in the order in which they joined their queues."""

    venue = 0

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.symbols: set[str] = set()
        self.digest = 0
        self.unknown = 0

    def clear(self) -> None:
        self.orders.clear()
        self.digest = 0

    def apply(self, raw: bytes) -> None:
        raise NotImplementedError

    def rows(self) -> list[tuple[int, str, int, int, int, int]]:
        return [(self.venue, o.symbol, o.side, o.price, r, o.quantity)
                for r, o in self.orders.items()]  # fmt: skip

    def queues(self) -> dict[tuple[str, int, int], list[tuple[int, int]]]:
        """(reference, quantity) of every level, in the order of the queue."""
        found: dict[tuple[str, int, int], list[tuple[int, int]]] = {}
        for ref, o in self.orders.items():
            found.setdefault((o.symbol, o.side, o.price), []).append((ref, o.quantity))
        return found

    def put(self, ref: int, order: Order, keeps_place: bool = False) -> None:
        old = self.orders.get(ref)
        if old is not None:
            self._weigh(ref, old, -1)
            if not keeps_place:
                del self.orders[ref]
        self.symbols.add(order.symbol)
        self.orders[ref] = order
        self._weigh(ref, order, 1)

    def take(self, ref: int, by: int | None) -> None:
        """Take ``by`` shares, or all, off an order."""
        order = self.orders.get(ref)
        if order is None:
            self.unknown += 1
        elif by is None or by >= order.quantity:
            self._weigh(ref, self.orders.pop(ref), -1)
        else:
            self.put(ref, order._replace(quantity=order.quantity - by), True)

    def _weigh(self, ref: int, o: Order, sign: int) -> None:
        row = (self.venue, o.symbol, o.side, o.price, ref, o.quantity)
        self.digest = (self.digest + sign * digest.reference([row])) & U64


class ItchBooks(NaiveBooks):
    venue = digest.VENUES["nasdaq"]

    def apply(self, raw: bytes) -> None:
        m = itch_messages.read(raw)
        if m.code in "AF":
            symbol = m.stock.decode().rstrip()
            self.put(m.ref, Order(symbol, int(m.side == b"S"), m.price, m.shares))
        elif m.code in "EXC":
            self.take(m.ref, m.shares)
        elif m.code == "D":
            self.take(m.ref, None)
        elif m.code == "U":
            old = self.orders.get(m.ref)
            self.take(m.ref, None)
            if old is not None:
                self.put(m.new_ref, Order(old.symbol, old.side, m.price, m.shares))
        elif m.code == "R":
            self.symbols.add(m.stock.decode().rstrip())


class PitchBooks(NaiveBooks):
    venue = digest.VENUES["cboe-byx"]

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0

    def apply(self, raw: bytes) -> None:
        m = pitch_messages.read(raw)
        price = m.price_short * 100 if hasattr(m, "price_short") else getattr(m, "price", 0)
        quantity = getattr(m, "quantity_short", getattr(m, "quantity", 0))
        if m.name == "time":
            self.seconds = m.time
        elif m.name.startswith("add_order"):
            symbol = getattr(m, "symbol_extended", getattr(m, "symbol", b"")).decode().rstrip()
            self.put(m.order_id, Order(symbol, int(m.side_indicator == b"S"), price, quantity))
        elif m.name.startswith("modify"):
            old = self.orders.get(m.order_id)
            if old is None:
                self.unknown += 1
                return
            new = old._replace(price=price, quantity=quantity)
            keeps = m.modify_order_flags & 2 and price == old.price
            self.put(m.order_id, new, bool(keeps))
        elif m.name == "order_executed":
            self.take(m.order_id, m.executed_quantity)
        elif m.name == "order_executed_at_price_size":
            old = self.orders.get(m.order_id)
            self.take(m.order_id, old.quantity - m.remaining_quantity if old else 0)
        elif m.name.startswith("reduce"):
            by = getattr(m, "canceled_quantity_short", getattr(m, "canceled_quantity", 0))
            self.take(m.order_id, by)
        elif m.name == "delete_order":
            self.take(m.order_id, None)
        elif m.name == "unit_clear":
            self.clear()
        elif m.name == "trading_status":
            self.symbols.add(m.symbol_extended.decode().rstrip())


# ---------------------------------------------------------------- feeds


def itch_feed(chance: random.Random, count: int, symbols: list[str]) -> list[bytes]:
    """A day of ITCH messages whose orders all exist."""
    books, made, ts = ItchBooks(), [], 34_200 * 10**9

    def say(code: str, locate: int, **values) -> None:
        made.append(itch_messages.message(code, locate, ts, **values))
        books.apply(made[-1])

    say("S", 0, event_code="O")
    for locate, stock in enumerate(symbols, 1):
        say("R", locate, stock=stock, round_lot_size=100)
        say("H", locate, stock=stock, trading_state="T")
    ref = 1000
    while len(made) < count:
        ts += chance.randrange(1, 2_000_000)
        locate = chance.randrange(len(symbols))
        if len(books.orders) < 8 or chance.random() < 0.45:
            ref += chance.randrange(1, 4)
            code = chance.choice("AAAF")
            more = {"attribution": "ABCD"} if code == "F" else {}
            say(
                code,
                locate + 1,
                ref=ref,
                side=chance.choice("BS"),
                shares=chance.randrange(1, 900),
                stock=symbols[locate],
                price=chance.randrange(9_995, 10_005) * 100,
                **more,
            )
            continue
        known = chance.choice(list(books.orders))
        order = books.orders[known]
        locate = symbols.index(order.symbol) + 1
        some = chance.randrange(1, order.quantity + 1)
        code = chance.choice("EECXDDU")
        if code in "EC":
            more = {"printable": "Y", "price": order.price} if code == "C" else {}
            say(code, locate, ref=known, shares=some, match_number=len(made), **more)
        elif code == "X":
            say("X", locate, ref=known, shares=some)
        elif code == "D":
            say("D", locate, ref=known)
        else:
            ref += 1
            say("U", locate, ref=known, new_ref=ref, shares=some + 5, price=order.price + 100)
    return made


def pitch_feed(chance: random.Random, count: int, symbols: list[str]) -> list[bytes]:
    """A day of one unit's PITCH messages whose orders all exist."""
    books, made = PitchBooks(), []
    seconds, offset = 34_200, 0

    def say(name: str, **values) -> None:
        made.append(pitch_messages.message(name, **values))
        books.apply(made[-1])

    say("time", time=seconds)
    for symbol in symbols:
        say("trading_status", time_offset=offset, symbol_extended=symbol, trading_status="T",
            reg_sho_action="0", padding="")  # fmt: skip
    while len(made) < count:
        offset += chance.randrange(1, 40_000_000)
        if offset >= 10**9:
            seconds, offset = seconds + 1, 0
            say("time", time=seconds)
        if len(books.orders) < 8 or chance.random() < 0.45:
            _add(say, chance, chance.choice(symbols), offset)
        else:
            _change(say, chance, books, offset, len(made))
    return made


def _add(say, chance: random.Random, symbol: str, offset: int) -> None:
    order_id = chance.getrandbits(60) | 1
    side, quantity = chance.choice("BS"), chance.randrange(1, 900)
    price = chance.randrange(9_995, 10_005)
    common = {"time_offset": offset, "order_id": order_id, "side_indicator": side}
    form = "expanded" if len(symbol) > 6 else chance.choice(("short", "long", "expanded"))
    if form == "short":
        say("add_order_short", **common, quantity_short=quantity, symbol=symbol,
            price_short=price, add_order_flags=1)  # fmt: skip
    elif form == "long":
        say("add_order_long", **common, quantity=quantity, symbol=symbol,
            price=price * 100 + 1, add_order_flags=1)  # fmt: skip
    else:
        say("add_order_expanded", **common, quantity=quantity, symbol_extended=symbol,
            price=price * 100, add_order_flags=1, participant_id="MPID",
            customer_indicator="N")  # fmt: skip


def _change(say, chance: random.Random, books: PitchBooks, offset: int, number: int) -> None:
    known = chance.choice(list(books.orders))
    order = books.orders[known]
    some = chance.randrange(1, order.quantity + 1)
    what = {"time_offset": offset, "order_id": known}
    kind = chance.choice(("order_executed", "at_price", "reduce_s", "reduce_l", "modify_l",
                          "modify_s", "delete_order", "delete_order"))  # fmt: skip
    if kind == "order_executed":
        say(kind, **what, executed_quantity=some, execution_id=number)
    elif kind == "at_price":
        say("order_executed_at_price_size", **what, executed_quantity=some,
            remaining_quantity=order.quantity - some, execution_id=number,
            price=order.price)  # fmt: skip
    elif kind == "reduce_s":
        say("reduce_size_short", **what, canceled_quantity_short=some)
    elif kind == "reduce_l":
        say("reduce_size_long", **what, canceled_quantity=some)
    elif kind == "modify_l":
        say("modify_order_long", **what, quantity=some, price=order.price + 100,
            modify_order_flags=chance.choice((1, 3)))  # fmt: skip
    elif kind == "modify_s":
        say("modify_order_short", **what, quantity_short=some,
            price_short=order.price // 100, modify_order_flags=chance.choice((1, 3)))  # fmt: skip
    else:
        say("delete_order", **what)
