"""Books beside other people's: itch-book, meatpy, and LOBSTER's rows of the real AAPL.

*itch-book* (C++) and *meatpy* (Python) replay the same ITCH messages.  On the real piece of
2019-12-30, which upstream filtered to one symbol and a price band, so that some messages name
orders never added, all three ignore unknown references.  On generated sessions nothing is unknown.
They differ by design where an order's reference is live already (itch-book evicts the old order,
here the old one stays), which neither input has.

*The generator* keeps a book of its own and states at the end what is true of its session, also of
one whose packets were lost, repeated, reordered or damaged on the way.

*LOBSTER* gives messages of another kind, and after each the ten best levels of either side.  What
is comparable: price and shares of every level that was among the ten best before the message, or is
better than those; the best bid and offer; shares traded, visible and hidden.  What is not: events
behind the tenth level are not in the file, so a level that moves up into the ten best is taken over
from the row as one synthetic order; so is the book before the first row.  Single orders and queue
places at such levels are unknown, and cancels and executions of orders that were never submitted
are applied to the synthetic order of their level.  LOBSTER splits a replace into two messages.
"""

import csv
import datetime
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest

from captures import SHARED
from comparison import assert_bytes
from itch_messages import message, run, split
from tickpath import Config, Engine
from tickpath.capture import open_capture
from tickpath.config import Capacity

PIECE = SHARED / "nasdaq_itch50" / "aapl_20191230_part1.NASDAQ_ITCH50"
LOBSTER = SHARED / "lobster"
REAL = pytest.mark.skipif(not PIECE.is_file(), reason=f"{PIECE.name} is not here")
ROWS = pytest.mark.skipif(not LOBSTER.is_dir(), reason="LOBSTER's sample is not here")
DAY = datetime.date(2019, 12, 30)
BIG = Config(
    capacity=Capacity(symbols=16_384, orders=1 << 22, overflow_levels=1 << 16, trades=1 << 16)
)

Row = tuple[int, int, int, int, int, int]
"""Number of the message (from 1), locate, bid price and shares, offer price and shares."""


def tops(raw: bytes) -> list[Row]:
    """A row whenever the engine's best bid or offer of a symbol is another than before."""
    rows: list[Row] = []

    def keep(columns: dict[str, np.ndarray]) -> None:
        names = ("seq", "book", "bid_px", "bid_sz", "ask_px", "ask_sz")
        rows.extend(zip(*(columns[name].tolist() for name in names), strict=True))

    engine = Engine(BIG, on_bbo=keep)
    engine.feed(raw)
    return rows


def peers_tops(path: Path) -> list[Row]:
    """The same from itch-book, whose `seq` counts messages from 1."""
    itch_book = pytest.importorskip("itch_book")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        feed = itch_book.Feed(str(path), date=DAY, price_type="fixed")
        rows: list[Row] = []
        last: dict[int, tuple] = {}
        for batch in feed.batches(tables=("bbo",)):
            names = ("seq", "locate", "bid_px", "bid_sz", "ask_px", "ask_sz")
            for seq, locate, *top in zip(*(batch.bbo[n].tolist() for n in names), strict=True):
                if last.get(locate, [0, 0, 0, 0]) != top:
                    rows.append((seq, locate, *top))
                    last[locate] = top
    return rows


def generated(plan_messages: int, symbols: int, seed: int) -> bytes:
    from tickpath.generate import SessionPlan, generate_messages

    plan = SessionPlan(messages=plan_messages, symbols=symbols, seed=seed)
    return b"".join(chunk.tobytes() for chunk in generate_messages(plan))


# ---------------------------------------------------------------- itch-book


@REAL
def test_best_prices_after_every_message_are_itch_books_on_the_real_piece():
    rows = tops(PIECE.read_bytes())
    assert rows == peers_tops(PIECE)
    assert len(rows) > 5_000


@pytest.mark.parametrize(("symbols", "seed"), [(1, 3), (60, 4), (2000, 5)])
def test_best_prices_after_every_message_are_itch_books_on_a_generated_session(
    tmp_path, symbols, seed
):
    raw = generated(120_000, symbols, seed)
    path = tmp_path / "session.itch"
    path.write_bytes(raw)
    rows = tops(raw)
    assert rows == peers_tops(path)
    assert len(rows) > 10_000


def depth_rows(path: Path, levels: int) -> list[tuple[int, int, list, list]]:
    """(seq, locate, bids, offers) of itch-book's depth: price, shares and orders of each level."""
    itch_book = pytest.importorskip("itch_book")
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        feed = itch_book.Feed(str(path), date=DAY, price_type="fixed")
        for batch in feed.batches(tables=("depth",), depth=levels):
            columns = {name: column.tolist() for name, column in batch.depth.items()}
            for at in range(len(columns["seq"])):
                sides = []
                for side in ("bid", "ask"):
                    row = [
                        tuple(columns[f"{side}_{what}_{n:02d}"][at] for what in ("px", "sz", "ct"))
                        for n in range(levels)
                    ]
                    sides.append([level for level in row if level[1]])
                found.append((columns["seq"][at], columns["locate"][at], *sides))
    return found


@pytest.mark.parametrize("source", [pytest.param("real", marks=REAL), "generated"])
def test_ten_levels_after_every_change_are_itch_books(source, tmp_path):
    path = PIECE
    if source == "generated":
        path = tmp_path / "session.itch"
        path.write_bytes(generated(12_000, 5, 9))
    expected = depth_rows(path, 10)
    engine, messages, fed = Engine(BIG), split(path.read_bytes()), 0
    for seq, locate, bids, asks in expected:
        engine.feed(run(messages[fed:seq]))
        fed = seq
        book = engine.book(locate, 10)
        assert (book.bids.tolist(), book.asks.tolist()) == (bids, asks), seq
    assert len(expected) > 5_000


# ---------------------------------------------------------------- meatpy


class Peer:
    """meatpy's order book of one symbol; what its checks complain of is counted, not raised.

    It states that an execution passed over an older order: true of a piece without its beginning.
    """

    def __init__(self, symbol: str) -> None:
        pytest.importorskip("meatpy")
        from meatpy.itch50 import ITCH50MarketProcessor
        from meatpy.itch50.itch50_market_message import ITCH50MarketMessage
        from meatpy.lob import ExecutionPriorityExceptionList

        logging.disable(logging.CRITICAL)
        self.processor = ITCH50MarketProcessor(symbol, datetime.datetime(2019, 12, 30))
        self.read = ITCH50MarketMessage.from_bytes
        self.passed_over: tuple[type[Exception], ...] = (ExecutionPriorityExceptionList,)
        self.complaints = 0

    def apply(self, raw: bytes) -> None:
        try:
            self.processor.process_message(self.read(raw))
        except self.passed_over:
            self.complaints += 1

    def levels(self) -> tuple[list, list]:
        """Both sides, best first: (price, [(reference, shares), ... as they queue])."""
        lob = self.processor.current_lob
        if lob is None:
            return [], []
        return tuple(  # type: ignore[return-value]
            [
                (level.price, [(each.order_id, each.volume) for each in level.queue])
                for level in side
            ]
            for side in (lob.bid_levels, lob.ask_levels)
        )


def queues(engine: Engine, book: int) -> tuple[list, list]:
    """The engine's book in the same form."""
    sides: tuple[list, list] = ([], [])
    for row in engine.resting(book):
        levels = sides[int(row["side"])]
        if not levels or levels[-1][0] != int(row["price"]):
            levels.append((int(row["price"]), []))
        levels[-1][1].append((int(row["order_ref"]), int(row["quantity"])))
    return sides


def beside_meatpy(messages: list[bytes], symbol: str, whole_every: int) -> Peer:
    """Best prices equal after every message, every queue now and then."""
    engine, peer = Engine(BIG), Peer(symbol)
    book = compared = 0
    for number, raw in enumerate(messages, 1):
        engine.feed(run([raw]))
        peer.apply(raw)
        book = book or engine.symbols.get(symbol, 0)
        if not book:
            continue
        bids, asks = peer.levels()
        record = engine.block.side[2 * book : 2 * book + 2]
        for side, levels in enumerate((bids, asks)):
            level = int(record["best"][side])
            shown = int(engine.block.level["total"][level]) & ((1 << 44) - 1) if level else 0
            price = int(record["best_px"][side]) if level else 0
            shares = sum(volume for _, volume in levels[0][1]) if levels else 0
            assert (price, shown) == (levels[0][0] if levels else 0, shares), number
        if number % whole_every == 0 or number == len(messages):
            assert queues(engine, book) == (bids, asks), number
            compared += 1
    assert compared > 10
    return peer


@REAL
def test_best_prices_and_queues_are_meatpys_on_the_real_piece():
    beside_meatpy(split(PIECE.read_bytes()), "AAPL", 250)


def test_best_prices_and_queues_are_meatpys_on_a_generated_session():
    messages = split(generated(15_000, 1, 12))
    symbol = next(raw[11:19].decode().strip() for raw in messages if raw[:1] == b"R")
    beside_meatpy(messages, symbol, 500)


# ---------------------------------------------------------------- the generator's truth


def side_of(engine: Engine, row: np.void, side: str) -> tuple[int, int, int, int]:
    """(best price, shares there, all orders, all shares) of one side, as the engine has it."""
    number = int(row["stock_locate"])
    if not engine.block.book["venue"][number]:
        return 0, 0, 0, 0
    book = engine.book(number)
    levels = book.bids if side == "bid" else book.asks
    best = (int(levels["price"][0]), int(levels["quantity"][0])) if len(levels) else (0, 0)
    return *best, int(levels["orders"].sum()), int(levels["quantity"].sum())


@pytest.mark.parametrize(("symbols", "seed"), [(30, 1), (400, 2)])
def test_a_generated_sessions_truth_is_the_engines(symbols, seed):
    from tickpath.generate import SessionPlan
    from tickpath.generate.session import Session

    session = Session(SessionPlan(messages=150_000, symbols=symbols, seed=seed))
    engine = Engine(BIG)
    for chunk in session.messages():
        engine.feed(chunk.tobytes())
    truth = session.truth
    assert engine.messages == truth.messages == 150_000
    assert engine.messages_by_type == {k: n for k, n in truth.messages_by_type.items() if n}
    assert engine.orders_live == truth.live_orders
    anomalies = {k: n for k, n in engine.counters.items() if n and not k.startswith("bytes")}
    assert set(anomalies) <= {"packets", "recentres", "overflow_adds", "broken_trades"}
    for row in truth.symbols:
        record = engine.block.book[int(row["stock_locate"])]
        for side, (px, sz) in {"bid": ("bid_px", "bid_sz"), "ask": ("ask_px", "ask_sz")}.items():
            expected = tuple(int(row[n]) for n in (px, sz, f"{side}_orders", f"{side}_shares"))
            assert side_of(engine, row, side) == expected, row["stock"]
        printed = int(row["printable_shares"]) - int(row["broken_shares"])
        paid = int(row["printable_notional"]) - int(row["broken_notional"])
        assert (int(record["volume"]), int(record["notional"])) == (printed, paid), row["stock"]
        assert int(record["last_px"]) == int(row["last_price"])
        assert bytes([record["trading_state"]]) == (row["trading_state"] or b"\0")


@pytest.mark.parametrize(
    "faults", ["loss=0.02", "duplicate=0.05", "reorder=0.02", "truncate=0.02", "garbage=0.02"]
)
def test_a_damaged_sessions_damage_is_counted(faults):
    """Of what was done to the packets the engine sees all that can be seen, and goes on."""
    from tickpath.generate import SessionPlan, parse_faults
    from tickpath.generate.session import Session

    plan = SessionPlan(messages=30_000, symbols=50, seed=6, faults=parse_faults(faults))
    session = Session(plan)
    engine = Engine(BIG)
    for lent in session.packets():
        engine.process(lent)
    counters, done = engine.counters, session.truth.faults
    assert_bytes(counters)
    missing = 30_000 - engine.messages
    name = faults.partition("=")[0]
    if name == "loss":
        assert done.loss > 20 and counters["gap_messages"] == missing == done.messages_lost
    elif name == "duplicate":
        assert done.duplicate > 50 and counters["duplicate_messages"] == done.messages_duplicated
        assert missing == counters["gaps"] == 0 and engine.orders_live == session.truth.live_orders
    elif name == "reorder":
        # A late packet was declared missing and is then known: nobody asks for it here.
        assert counters["gap_messages"] == missing == counters["duplicate_messages"] > 20
    elif name == "truncate":
        assert counters["packets_cut"] == done.truncate > 20
        assert counters["frame_truncated"] + counters["mold_truncated"] >= done.truncate - 2
    else:
        assert done.garbled > 5 and done.inserted > 5
        refused = ("ether_type_other", "mold_invalid", "frame_truncated", "ipv4_invalid", "ipv6")
        assert sum(counters.values()) > 0 and any(counters[each] for each in refused)


# ---------------------------------------------------------------- LOBSTER


SUBMISSION, CANCEL, DELETE, VISIBLE, HIDDEN = 1, 2, 3, 4, 5
TS = 34_200_000_000_000
EMPTY = 9_999_999_999


def lobster_rows() -> list[tuple[list[str], list[list[tuple[int, int]]]]]:
    """(message, [bids, offers]) of each row; a level is (price, shares), the best first."""
    found = []
    (messages,), (books,) = LOBSTER.glob("*_message_10.csv"), LOBSTER.glob("*_orderbook_10.csv")
    with messages.open() as left, books.open() as right:
        for event, flat in zip(csv.reader(left), csv.reader(right), strict=True):
            numbers = [int(value) for value in flat]
            asks = list(zip(numbers[0::4], numbers[1::4], strict=True))
            bids = list(zip(numbers[2::4], numbers[3::4], strict=True))
            sides = ([each for each in side if abs(each[0]) < EMPTY] for side in (bids, asks))
            found.append((event, list(sides)))
    return found


class Lobster:
    """LOBSTER's messages as ITCH messages into an engine."""

    def __init__(self) -> None:
        self.engine = Engine(BIG)
        self.known: set[int] = set()  # references that are live in the engine
        self.synthetic = 1 << 40

    def send(self, code: str, **values) -> None:
        self.engine.feed(run([message(code, 1, TS, **values)]))

    def add(self, ref: int, side: int, shares: int, price: int) -> None:
        self.send("A", ref=ref, side="BS"[side], shares=shares, stock="AAPL", price=price)
        self.known.add(ref)

    def at(self, side: int, price: int) -> np.ndarray:
        """Live orders at a price."""
        if "AAPL" not in self.engine.symbols:
            return np.zeros(0, [("order_ref", "<u8"), ("quantity", "<u4")])
        rows = self.engine.resting("AAPL")
        return rows[(rows["side"] == side) & (rows["price"] == price)]

    def take_over(self, side: int, price: int, shares: int) -> None:
        """A level that the row shows and that could not be known: one synthetic order."""
        for row in self.at(side, price):
            self.send("D", ref=int(row["order_ref"]))
            self.known.discard(int(row["order_ref"]))
        if shares:
            self.synthetic += 1
            self.add(self.synthetic, side, shares, price)

    def apply(self, event: list[str]) -> None:
        kind, ref, shares, price = (int(event[column]) for column in (1, 2, 3, 4))
        side = 0 if int(event[5]) == 1 else 1
        if kind == HIDDEN:
            return self.send("P", side="B", shares=shares, stock="AAPL", price=price)
        if kind == SUBMISSION:
            return self.add(ref, side, shares, price)
        if ref not in self.known:
            resting = self.at(side, price)
            synthetic = [int(row["order_ref"]) for row in resting if row["order_ref"] > 1 << 40]
            assert synthetic, f"{event} is of an order at a level that nobody showed"
            ref = synthetic[0]
        elif kind == DELETE:
            return self.send("D", ref=ref)
        code = "E" if kind == VISIBLE else "X"
        self.send(code, ref=ref, shares=shares)

    def levels(self, side: int) -> list[tuple[int, int]]:
        if "AAPL" not in self.engine.symbols:
            return []
        book = self.engine.book("AAPL")
        rows = book.asks if side else book.bids
        return [(int(row["price"]), int(row["quantity"])) for row in rows]


@ROWS
def test_levels_after_every_row_of_lobster():
    replay, rows = Lobster(), lobster_rows()
    compared = traded = 0
    first_event, first = rows[0]
    for side in (0, 1):
        for price, shares in first[side]:
            own = int(first_event[3]) if (price, side) == (int(first_event[4]), 0) else 0
            replay.take_over(side, price, shares - own)
    before = first
    for number, (event, shown) in enumerate(rows, 1):
        replay.apply(event)
        traded += int(event[3]) if int(event[1]) in (VISIBLE, HIDDEN) else 0
        for side in (0, 1):
            worst = before[side][-1][0]

            def is_known(price: int, side: int = side, worst: int = worst) -> bool:
                return price <= worst if side else price >= worst

            expected = [level for level in shown[side] if is_known(level[0])]
            last = expected[-1][0]
            ours = [
                level
                for level in replay.levels(side)
                if is_known(level[0]) and (level[0] <= last if side else level[0] >= last)
            ]
            assert ours == expected, f"row {number}, side {side}: {event}"
            compared += len(expected)
            # Levels behind that moved up: what they hold was changed by events not in the file.
            behind = {price: 0 for price, _ in replay.levels(side) if not is_known(price)}
            behind |= {price: shares for price, shares in shown[side] if not is_known(price)}
            for price, shares in behind.items():
                replay.take_over(side, price, shares)
        before = shown
    assert compared > 9 * 2 * len(rows)
    assert replay.engine.block.book["volume"][1] == traded > 1000
    counters = replay.engine.counters
    for anomaly in ("unknown_order_ref", "over_execution", "over_cancel", "duplicate_order_ref"):
        assert counters[anomaly] == 0, anomaly


@REAL
def test_the_daily_file_and_the_capture_of_the_same_messages_agree():
    pcap = PIECE.with_suffix(".pcap")
    if not pcap.is_file():
        pytest.skip(f"{pcap.name} is not here")
    fed, captured = Engine(BIG), Engine(BIG)
    fed.feed(PIECE.read_bytes())
    with open_capture(pcap) as capture:
        for batch in capture.batches(500):
            captured.process(batch)
    assert captured.book_digest == fed.book_digest != 0
    assert captured.messages_by_type == fed.messages_by_type
    assert captured.counters["gaps"] == 0 and captured.messages == 26_000
    assert captured.resting().tolist() == fed.resting().tolist()


@REAL
@pytest.mark.parametrize(
    "path", sorted(PIECE.parent.glob("*.pcap")), ids=lambda path: path.stem.removesuffix("Message")
)
def test_every_real_capture_is_read_without_an_anomaly(path):
    """Single frames of most types, most of them tagged, some repeated, and the long one."""
    engine = Engine(BIG)
    with open_capture(path) as capture:
        for batch in capture.batches(1000):
            engine.process(batch)
    counters = engine.counters
    assert_bytes(counters)
    assert sum(engine.messages_by_type.values()) == engine.messages > 0
    refused = set(counters) - {
        *("packets", "bytes", "bytes_headers", "bytes_messages", "bytes_skipped", "recentres"),
        *("unknown_order_ref", "overflow_adds", "time_backwards", "gaps", "gap_messages"),
        *("books_stale", "heartbeats", "crossed_book", "locked_book"),
        *("duplicate_messages", "sequence_jumps"),
    }
    assert {name: counters[name] for name in refused if counters[name]} == {}
