"""A strategy that does everything, for comparisons: it must not depend on packing, only on inputs.

Its cells: 0 a generator of pseudo-random numbers, 1 the user_ref_num of the order that was accepted
last, 2, 3 and 6 what it saw of gaps, timers and commands, 5 what it was told of its orders, 4 a sum
over every view and every event of an order, so that a wrong one shows in the state.

`eventful` is a market in which everything happens that the gate looks at.
"""

import random
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace
from numba import njit

from itch_messages import message, read
from scenes import TS
from streams import CAPACITY, SMALL, market
from tickpath import Config, emit, event, view
from tickpath.config import Band, Fills, Limits, Orders, Risk, StrategyConfig, Total
from tickpath.own_orders import Happened

LIMITS = Risk(
    max_quantity=1_200,
    max_notional=85_000.0,
    max_position=2_500,
    max_short=1_500,
    max_open_orders=6,
    max_daily_quantity=60_000,
    max_daily_notional=5_000_000.0,
    max_loss=2_000.0,
    collar_percent=2.0,
    orders_per_second=200,
    order_burst=20,
    symbol_orders_per_second=80,
    symbol_order_burst=12,
    unknown_trading_state="trade",
    auctions="reject",
    locate_required=True,
    duplicate_window_ms=20,
    max_spread_percent=0.12,
    last_sale_max_age_s=1,
    total=Total(
        max_open_orders=14,
        max_gross_notional=600_000.0,
        max_net_notional=250_000.0,
        max_daily_quantity=150_000,
        max_daily_notional=12_000_000.0,
        max_loss=5_000.0,
    ),
    bands=[Band(from_price=1.0, percent=5.0), Band(from_price=100.1, percent=3.0, price=1.0)],
    strategies={"busy": Limits(max_quantity=1_100, collar_percent=4.0)},
    symbols={
        "MSFT": Limits(max_quantity=900, collar_price=3.0, max_long=1_800),
        "BRK.A": Limits(max_open_orders=3, orders_per_second=20, order_burst=3),
        "NOT": Limits(allowed=False),
        "STOPPED": Limits(kill_switch=True),
    },
)
SPENT = replace(
    LIMITS,
    max_daily_quantity=9_000,
    max_daily_notional=800_000.0,
    max_position=10_000,
    max_short=10_000,
    total=replace(
        LIMITS.total,
        max_net_notional=600_000.0,
        max_gross_notional=400_000.0,
        max_daily_quantity=25_000,
        max_daily_notional=2_600_000.0,
    ),
)
LOST = replace(
    LIMITS,
    max_loss=8.0,
    locate_required=False,
    max_open_orders=20,
    total=replace(
        LIMITS.total,
        max_loss=12.0,
        max_open_orders=40,
        max_gross_notional=1e7,
        max_net_notional=1e7,
    ),
)
"""Limits of the three by which every check rejects something that `busy` asks for in `eventful`:
positions, the day's totals, losses."""

START = {
    "AAPL": (500, 995_000, 3_000),
    "MSFT": (-300, 1_002_000, 600),
    "ZVZZT": (0, 1_000_000, 1_500),
}
"""A start of day: position, prior close in 1e-4, shares located."""


def start_file(path: Any) -> str:
    """`START` as a start-of-day file."""
    rows = [f"{name},{held},{px / 10_000},{n}" for name, (held, px, n) in START.items()]
    path.write_text("\n".join(["symbol,position,prior_close,locate", *rows, ""]))
    return str(path)


def trading(
    protocol: str = "ouch50",
    timer_interval_ms: int = 0,
    *,
    model: str = "touch",
    risk: Risk = LIMITS,
    **orders,
) -> Config:
    """A configuration with every limit, in which most kinds of order pass now and then."""
    return Config(
        capacity=CAPACITY,
        indicators=SMALL.indicators,
        strategy=StrategyConfig(cells=16, parameters=[12345], timer_interval_ms=timer_interval_ms),
        risk=risk,
        fills=Fills(model=model),
        orders=Orders(protocol=protocol, **orders),
    )


# ---------------------------------------------------------------- the strategy

ACCEPTED, REPLACED = int(Happened.ACCEPTED), int(Happened.REPLACED)


@njit
def look(engine, book, cells):
    """Everything that can be seen of a book, in one number."""
    seen = view.bid_px(engine, book) + 3 * view.ask_px(engine, book)
    seen += 5 * view.bid_sz(engine, book) + 7 * view.ask_sz(engine, book)
    seen += 11 * view.bid_ct(engine, book) + 13 * view.ask_ct(engine, book)
    seen += 17 * view.last_px(engine, book) + 19 * view.last_sz(engine, book)
    seen += 23 * view.sma(engine, book) + 29 * view.ema(engine, book)
    seen += 31 * view.trading_state(engine, book) + 37 * view.is_trading(engine, book)
    seen += 41 * view.is_stale(engine, book) + 43 * view.auction(engine, book)
    seen += 47 * view.reg_sho(engine, book) + 53 * view.position(engine, book)
    seen += 59 * (view.engine_time(engine) % 1_000_003) + 61 * view.messages(engine)
    seen += 67 * (view.vwap(engine, book) % 1_000_003) + 71 * (view.volume(engine, book) % 1009)
    seen += 73 * (view.pnl(engine, book) % 1_000_003)
    cells[4] = (cells[4] * 31 + seen) % 1_000_000_007


@njit
def look_at_order(engine, cells):
    """Everything that can be seen of the order that something happened to."""
    ref = view.order_event_ref(engine)
    if view.order_event_kind(engine) in (ACCEPTED, REPLACED):
        cells[1] = ref
    seen = ref + 3 * view.order_event_kind(engine) + 5 * view.order_event_quantity(engine)
    seen += 7 * view.order_event_px(engine) + 11 * view.order_state(engine, ref)
    seen += 13 * view.leaves_qty(engine, ref) + 17 * view.cum_qty(engine, ref)
    cells[4] = (cells[4] * 31 + seen) % 1_000_000_007


@njit
def draw(cells, salt):
    """The next pseudo-random number."""
    cells[0] = (cells[0] * 1_103_515_245 + 12_345 + salt) % 2_147_483_648
    return cells[0] // 256


@njit
def flatten(engine, book, cells, quantity):
    """Make a position smaller, sometimes by more than it is."""
    held = view.position(engine, book)
    if held > 0:
        shares = held + 50 if quantity % 7 == 0 else min(held, quantity * 3)
        emit.new_order(engine, book, view.SELL, shares, view.bid_px(engine, book))
    elif held < 0:
        shares = 50 - held if quantity % 7 == 0 else min(-held, quantity * 3)
        emit.new_order(engine, book, view.BUY, shares, view.ask_px(engine, book))


@njit
def act_wildly(engine, book, cells, dice, bid_px, ask_px):
    """Orders that should not pass, many or strange ones."""
    what, quantity = dice % 6, 1 + dice // 6 % 300
    if what == 0:
        emit.new_order(engine, book, view.BUY, quantity, ask_px + ask_px // 20)
        emit.new_order(engine, book, view.SELL, quantity, bid_px - bid_px // 20)
    elif what == 1:
        for number in range(18):
            emit.new_order(engine, book, view.BUY, number, ask_px)
    elif what == 2:
        wild = dice // 9 % 6
        emit.new_order(engine, 99 if wild == 0 else book, wild - 1, 10**wild, 7 * 10 ** (2 * wild))
    elif what == 3:
        for _ in range(2):
            emit.new_order(engine, book, view.SELL, quantity, ask_px + 300)
    elif what == 4:
        emit.market_order(engine, book, view.BUY if quantity % 2 else view.SELL, quantity)
    else:
        emit.new_order(engine, dice // 6 % 9, view.BUY, quantity, bid_px)


@njit
def act(engine, book, cells, dice):
    """One of the things that a strategy can ask for."""
    what, quantity = dice % 13, 1 + dice // 13 % 300
    bid_px, ask_px = view.bid_px(engine, book), view.ask_px(engine, book)
    if bid_px == 0:
        bid_px = 1_000_000
    if ask_px == 0:
        ask_px = bid_px + 200
    ref = cells[1]
    if what == 0:
        emit.new_order(engine, book, view.BUY, quantity, ask_px)
    elif what == 1:
        emit.new_order(engine, book, view.SELL, quantity, bid_px)
    elif what == 2:
        emit.new_order(engine, book, view.BUY, quantity * 5, bid_px - 100 * (dice % 3))
    elif what == 3:
        emit.cancel_order(engine, ref, dice % 3 * 20)
    elif what == 4:
        emit.modify_order(engine, ref, quantity)
    elif what == 5:
        emit.replace_order(engine, ref, quantity, bid_px + 100 * (dice % 3))
    elif what == 6:
        emit.new_order(engine, book, view.SELL, quantity, ask_px + 100 * (dice % 3))
    elif what == 7:
        emit.cancel_order(engine, max(0, ref - dice % 9), 0)
    elif what == 8:
        act_wildly(engine, book, cells, dice // 13, bid_px, ask_px)
    elif what == 9:
        flatten(engine, book, cells, quantity)
    elif what == 10:
        emit.replace_order(engine, max(0, ref - dice % 4), quantity * 2, ask_px)
    elif what == 11:
        emit.new_order(engine, book, view.BUY, quantity, (bid_px + ask_px) // 200 * 100)
    else:
        emit.new_order(engine, book, view.SELL, quantity * 3, bid_px + 100)


@njit
def busy(engine, book, kind, flags):
    """Look at everything, and often ask for something."""
    cells = view.state(engine)
    if kind == event.STALE:
        cells[2] += 1
        emit.cancel_order(engine, cells[1], 0)
        return
    if kind == event.TIMER:
        cells[3] += 1
        emit.new_order(engine, 1, view.BUY, 10, view.bid_px(engine, 1))
        return
    look(engine, book, cells)
    if kind == event.ORDER:
        cells[5] += 1
        look_at_order(engine, cells)
    if kind == event.COMMAND:
        cells[6] += 1
    dice = draw(cells, kind + flags // 2)
    if dice % 3 == 0 or (kind != event.ORDER and dice % 2 == 0):
        act(engine, book, cells, dice // 6)


# ---------------------------------------------------------------- the market

EVENTS = {"Y": 6, "h": 4, "I": 1, "Q": 6, "S": 3, "P": 8, "C": 4, "E": 16, "R": 1, "H": 16, "B": 1}
"""What happens between the messages of a calm market, and how often."""
OTHERS = {5: "NEVER", 6: "STOPPED", 7: "NOT"}
"""Symbols beside those of the calm market: of one nothing is known, two must not be traded."""


def _opening(ts: int) -> Iterator[bytes]:
    yield message("S", 0, ts, event_code="O")
    yield message("S", 0, ts, event_code="S")
    for locate, stock in OTHERS.items():
        yield message("R", locate, ts, stock=stock, round_lot_size=100)
        yield message("H", locate, ts, stock=stock, trading_state="T")
    yield message("S", 0, ts, event_code="Q")


Live = dict[int, SimpleNamespace]
"""Orders of the market that are live, as far as that is known without a book."""


def _follow(live: Live, given: SimpleNamespace) -> None:
    if given.code in "AF":
        live[given.ref] = given
    elif given.code == "U" and (old := live.pop(given.ref, None)):
        live[given.new_ref] = SimpleNamespace(
            **{**vars(old), "ref": given.new_ref, "price": given.price, "shares": given.shares}
        )
    elif given.code == "D":
        live.pop(given.ref, None)


def _queue(rng: random.Random, live: Live) -> list[SimpleNamespace]:
    """Live orders of a side of a book, best price first, as they came."""
    locate, side = rng.choice([1, 2, 3, 4]), rng.choice([b"B", b"S"])
    queue = [each for each in live.values() if (each.locate, each.side) == (locate, side)]
    return sorted(queue, key=lambda each: each.price, reverse=side == b"B")


def _sweep(rng: random.Random, ts: int, live: Live) -> Iterator[bytes]:
    """Executions of the orders at a touch, one after another."""
    for order in _queue(rng, live)[: rng.randint(2, 8)]:
        del live[order.ref]
        values = {"shares": order.shares, "match_number": rng.randint(1, 400)}
        yield message("E", order.locate, ts, ref=order.ref, **values)


def _happening(rng: random.Random, ts: int, live: Live) -> bytes:
    code = rng.choices(list(EVENTS), list(EVENTS.values()))[0]
    locate = rng.choice([1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7])
    price = 1_000_000 + 100 * rng.randint(-12, 12)
    shares, match = rng.choice([10, 50, 100, 400]), rng.randint(1, 400)
    values: dict[str, Any] = {
        "Y": {"reg_sho_action": rng.choice("000012")},
        "h": {"market_code": rng.choice("QQB"), "action": rng.choice("HTTTTTT")},
        "I": {"cross_type": rng.choice("OCHI")},
        "Q": {
            "shares": rng.choice([0, 100]),
            "price": price,
            "match_number": match,
        },
        "S": {"event_code": rng.choice("QQQQQQQQSME")},
        "P": {
            "shares": rng.choice([0, shares]),
            "price": price,
            "match_number": match,
        },
        "H": {"trading_state": rng.choice("TTTTTTTTHPQ")},
        "B": {"match_number": match},
        "R": {"stock": OTHERS[5]},
    }.get(code, {})
    if code in "EC" and (queue := _queue(rng, live)):
        locate = queue[0].locate
        values = {"ref": queue[0].ref, "shares": shares, "match_number": match}
        if code == "C":
            values |= {"printable": rng.choice("YN"), "price": price}
    return message(code, {"R": 5, "S": 0}.get(code, locate), ts, **values)


def eventful(seed: int, length: int) -> Iterator[bytes]:
    """A calm market between whose messages happens what the gate looks at."""
    rng = random.Random(seed)
    shift, live = 0, Live()
    yield from _opening(TS)
    for raw in market(seed, length):
        given = read(raw)
        if rng.random() < 0.002:
            shift += 1_200_000_000
        ts = given.ts + shift
        _follow(live, given)
        yield raw[:5] + ts.to_bytes(6, "big") + raw[11:]
        if rng.random() < 0.15:
            yield _happening(rng, ts, live)
        if rng.random() < 0.02:
            yield from _sweep(rng, ts, live)


# ---------------------------------------------------------------- a strategy that does as told

CELLS = 64
NEW, CANCEL, REPLACE, MODIFY = 1, 2, 3, 4
"""What a step of `script` asks for."""
NEWS = message("S", 0, TS, event_code="Q")
"""A message on which `script` takes its next step: the book stays as it is."""


@njit
def script(engine, book, kind, flags):
    """Take the steps in the cells from 1 on: (what, side or reference, quantity, price) each.

    New orders are for the book in the last cell.
    """
    if kind != event.STATUS or book != 0:
        return
    cells = view.state(engine)
    row = 1 + 4 * cells[0]
    cells[0] += 1
    what, which, quantity, price = cells[row], cells[row + 1], cells[row + 2], cells[row + 3]
    if what == NEW:
        emit.new_order(engine, cells[len(cells) - 1], which, quantity, price)
    elif what == CANCEL:
        emit.cancel_order(engine, which, quantity)
    elif what == REPLACE:
        emit.replace_order(engine, which, quantity, price)
    elif what == MODIFY:
        emit.modify_order(engine, which, quantity)


def scripted(steps: Iterable[tuple[int, int, int, int]], book: int = 1, **config) -> Config:
    """A configuration for `script` with these steps."""
    flat = [0, *(number for step in steps for number in step)]
    assert len(flat) < CELLS
    parameters = [*flat, *[0] * (CELLS - 1 - len(flat)), book]
    return Config(
        capacity=CAPACITY, strategy=StrategyConfig(cells=CELLS, parameters=parameters), **config
    )
