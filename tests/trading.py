"""A simulated exchange and a trader in one process and one thread, moved by hand.

`busy` is a strategy that does everything an order session can, by a generator in its cells.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from numba import njit

from itch_messages import message, run
from tickpath import Config, Engine, emit, event, view
from tickpath.exchange.config import Exchange
from tickpath.exchange.server import Server
from tickpath.ouch import token_of
from tickpath.trade.config import TradeConfig, checked
from tickpath.trade.run import Trader

PATIENCE_S = 20.0
CREDENTIALS = {"TICKPATH_USERNAME": "TRADER", "TICKPATH_PASSWORD": "pa55word"}
QUICK = {
    "reconnect_first_ns": 10_000_000,
    "catch_up_ns": 50_000_000,
    "settle_timeout_ns": 500_000_000,
    "messages_per_second": 1_000_000,
    "message_burst": 10_000,
    "max_attempts": 1_000,
}
"""Session settings for an exchange in the same process."""
MOVE_NS = 500_000
"""How often the venue moves while a trader starts."""
RECENT = 16
"""Orders that `busy` remembers."""
_given: set[int] = set()


@njit
def busy(engine, book, kind, flags):
    """Orders, replacements, cancels in part and in whole; cell 0: one in so many chances is taken.

    Cells: 1 the generator, 2 the next place among the latest orders, from 3 on those.  Prices are
    around the touch, so that some trade at once.
    """
    if kind != event.BOOK or not flags & event.TOP or not view.is_trading(engine, book):
        return
    cells = view.state(engine)
    cells[1] = (cells[1] * 6364136223846793005 + 1442695040888963407) & 0x7FFFFFFFFFFFFFFF
    drawn = cells[1] >> 20
    if cells[0] > 1 and drawn % cells[0]:
        return
    drawn >>= 8
    bid_px, ask_px = view.bid_px(engine, book), view.ask_px(engine, book)
    if bid_px == 0 or ask_px == 0:
        return
    ref = cells[3 + drawn % RECENT]
    leaves, choice = view.leaves_qty(engine, ref), (drawn >> 8) % 10
    done = view.cum_qty(engine, ref)
    quantity, away = 10 + (drawn >> 12) % 200, ((drawn >> 20) % 5 - 1) * 100
    if leaves > 0 and choice < 3:
        emit.cancel_order(engine, ref, 0)
        return
    if leaves > 1 and choice == 3:
        emit.cancel_order(engine, ref, done + leaves // 2)
        return
    if leaves > 0 and choice < 7:
        # Whatever side it has: one tick, to or from the market.
        price = bid_px - 500 if (drawn >> 30) % 2 else ask_px + 500
        ref = emit.replace_order(engine, ref, done + quantity, price)
    elif (drawn >> 30) % 2:
        ref = emit.new_order(engine, book, view.BUY, quantity, bid_px - away)
    else:
        ref = emit.new_order(engine, book, view.SELL, quantity, ask_px + away)
    cells[3 + cells[2] % RECENT] = ref
    cells[2] += 1


def free_udp_port() -> int:
    """A port that nobody has now, and that was given to nobody before."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def exchange_config(feed_port: int, **said: Any) -> Exchange:
    common: dict[str, Any] = {
        "symbols": ["AAA=150", "BBB=20", "CCC=75"],
        "session": "T1",
        "flow": {"rate": 3_000.0},
    }
    common["feed"] = {"group": f"127.0.0.1:{feed_port}"} | said.pop("feed", {})
    return msgspec.convert(common | said, Exchange)


def trade_config(where: dict[str, Any], directory: Path, **said: Any) -> TradeConfig:
    """``said`` has the engine's tables, and ``trade`` what goes beside the addresses."""
    trade = {
        "feed": "{}:{}".format(*where["feed"]),
        "requests": "{}:{}".format(*where["requests"]),
        "orders": "{}:{}".format(*where["ouch"]),
        "drop_copy": "{}:{}".format(*where["drop_copy"]),
        "directory": str(directory),
        "fsync": "none",
        "session": QUICK,
        "glimpse": "{}:{}".format(*where["glimpse"]) if where.get("glimpse") else None,
    } | said.pop("trade", {})
    if where.get("feed_b"):
        said["feed"] = {"lines_b": {trade["feed"]: "{}:{}".format(*where["feed_b"])}} | said.get(
            "feed", {}
        )
    common: dict[str, Any] = {
        "capacity": {"symbols": 64, "orders": 1 << 20, "overflow_levels": 4096, "trades": 1024},
        "orders": {"protocol": where["protocol"]},
        "strategy": {"parameters": [4, 1]},
        "risk": {"max_position": 1_000_000, "off": ["self_match", "price_collar"]},
        "trade": trade,
    }
    return checked(msgspec.convert(common | said, TradeConfig))


class Pit:
    """A venue and a trader, and the rounds that move them."""

    def __init__(self, server: Server, directory: Path, function: Any = busy, **said: Any) -> None:
        self.server, self.directory, self.function, self.said = server, directory, function, said
        self.trader: Trader | None = None
        self._is_starting, self._moved_ns = False, 0

    def begin(self, **said: Any) -> Trader:
        """A trader of the directory, its start made while the venue goes on."""
        config = trade_config(self.server.addresses(), self.directory, **{**self.said, **said})
        self._is_starting = True
        trader = Trader(config, self.function, clock=self.clock)
        self.trader = trader
        trader.start()
        self._is_starting = False
        return trader

    def clock(self) -> int:
        """Time for the trader; while it looks at it in its start, the venue moves."""
        now_ns = time.monotonic_ns()
        if self._is_starting and now_ns - self._moved_ns >= MOVE_NS:
            self._moved_ns = now_ns
            self.server.round(0)
        return time.monotonic_ns()

    @property
    def live(self) -> Trader:
        assert self.trader is not None
        return self.trader

    def crash(self) -> None:
        """Let the trader go as a kill would: nothing is told to anybody."""
        trader, self.trader = self.live, None
        for line in (trader.line, trader._copy_line):
            if line._stream is not None:
                line._stream.sock.close()
        trader.journal._file._unsynced_since_ns = None
        trader._stack.close()

    def round(self) -> None:
        self.server.round(0)
        self.live.round(0)

    def until(self, done: Callable[[], Any], what: str = "it never happened") -> None:
        end = time.monotonic() + PATIENCE_S
        while not done():
            self.round()
            assert time.monotonic() < end, f"{what}: {self.live.desk.notes}"

    def until_ready(self) -> None:
        self.until(lambda: self.live.desk.is_ready, "never ready")

    def sent(self) -> int:
        return self.live.engine.counters["orders_sent"]

    # ------------------------------------------------------------ comparing

    def settle(self) -> None:
        """Nothing new is sent, and everything that was is answered and taken."""
        trader, block = self.live, self.live.engine.block
        strategy = block.get("strategy")
        block.set("strategy", 0)
        self.until(lambda: trader.desk.is_ready and not trader.session.port.waiting)
        for _ in range(10):  # the exchange answers nothing to what it may ignore
            self.round()
        said = self.server.orders.sessions[1]
        end = time.monotonic() + PATIENCE_S
        while trader.journal.next_sequence <= said.next_sequence - 1:
            self.server.orders.write(time.monotonic_ns())
            trader.round(0)
            assert time.monotonic() < end, (trader.journal.next_sequence, said.next_sequence)
        block.set("strategy", strategy)

    def exchange_says(self) -> dict[str, Any]:
        port, books = self.server.venue.ports[1], self.server.venue.matching.books
        held = {
            books[locate].stock: (each.bought - each.sold, each.cash)
            for locate, each in port.holdings.items()
            if each.bought or each.sold
        }
        return {"positions": held, "open": {own.key: own.leaves for own in port.live.values()}}

    def trader_says(self) -> dict[str, Any]:
        engine = self.live.engine
        position = engine.block.position
        held = {
            symbol: (int(position[b]["quantity"]), int(position[b]["cash"]))
            for symbol, b in engine.symbols.items()
            if position[b]["day_quantity"]
        }
        name = "user_ref_num" if self.live.desk.answers.is50 else "order_id"
        rows = engine.own_orders(open_only=True)
        opened = {
            int(row[name]) if name == "user_ref_num" else token_of(int(row[name])): int(
                row["leaves"]
            )
            for row in rows
        }
        return {"positions": held, "open": opened}

    def check(self) -> dict[str, Any]:
        """The checkpoint: both say the same of positions, cash and open orders."""
        self.settle()
        here, there = self.trader_says(), self.exchange_says()
        there["open"] = {
            key if isinstance(key, int) else key.decode().strip(): leaves
            for key, leaves in there["open"].items()
        }
        assert here == there
        assert self.server.venue.ports[1].counters["repeated"] == 0
        return here


@contextmanager
def pit(directory: Path, function: Any = busy, **said: Any) -> Iterator[Pit]:
    """``said`` may have ``exchange``, tables of the venue; the rest is the trader's."""
    config = exchange_config(free_udp_port(), **said.pop("exchange", {}))
    with Server(config) as server:
        server.open_day()
        made = Pit(server, directory, function, **said)
        try:
            yield made
        finally:
            if made.trader is not None:
                made.trader._stack.close()


def engine_with(symbols: tuple[str, ...] = ("AAA", "BBB"), **said: Any) -> Engine:
    """An engine that knows symbols, trading since the market's start, and answers to nobody."""
    small: dict[str, Any] = {
        "capacity": {"symbols": 64, "orders": 1 << 14, "overflow_levels": 4096, "trades": 1024},
        "fills": {"model": "exchange"},
        "risk": {"off": ["price_collar", "no_reference"]},
    }
    engine = Engine(msgspec.convert(small | said, Config))
    days = [message("S", 0, 1, event_code="O"), message("S", 0, 2, event_code="Q")]
    for locate, symbol in enumerate(symbols, 1):
        days.append(message("R", locate, 3, stock=symbol))
        days.append(message("H", locate, 4, stock=symbol, trading_state="T"))
    engine.feed(run(days))
    return engine
