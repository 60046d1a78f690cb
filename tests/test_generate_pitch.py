"""Generated PITCH sessions: the market of ITCH's, walked from their bytes without the tables."""

import ctypes
import hashlib
import io
import json
import struct
from collections import Counter, OrderedDict, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import itch_messages
import pitch_messages
from pitch_messages import DISPLAY, MAINTAIN_PRIORITY
from tickpath import memory
from tickpath.cli import main
from tickpath.decode import decode_capture
from tickpath.digest import symbol_number
from tickpath.generate import (
    Faults,
    GenerateError,
    SessionPlan,
    generate,
    generate_messages,
    generate_packets,
)
from tickpath.generate.listing import list_symbols
from tickpath.generate.packets import MAX_PAYLOAD, WINDOW_NS
from tickpath.generate.pitch import translate
from tickpath.generate.pitch_packets import UnitFraming
from tickpath.generate.pitch_state import new_translation
from tickpath.generate.session import Session
from tickpath.jit import CHECKED
from tickpath.packet import LINK_PITCH

SECOND = 1_000_000_000
PLAN = SessionPlan(messages=60_000, symbols=40, seed=11, feed="pitch", long_symbols=6)
FRAMED = SessionPlan(messages=8_000, symbols=20, seed=5, feed="pitch", units=3, heartbeat_s=60)
PAYLOAD_AT = 14 + 20 + 8
SUMS = (
    *("executed_shares", "printable_shares", "printable_notional"),
    *("broken_shares", "broken_notional", "last_price"),
)

# ---------------------------------------------------------------- the walk


class Walk:
    """Replays the messages of one line (a run, or one unit) and asserts what a session promises."""

    def __init__(self) -> None:
        self.second = self.time = None
        self.orders = {}  # order id -> [symbol, side, price, shares]
        self.books = defaultdict(lambda: {side: defaultdict(OrderedDict) for side in (b"B", b"S")})
        self.status, self.reg_sho = {}, {}
        self.prints, self.sums = {}, defaultdict(Counter)
        self.ids, self.executions = set(), set()
        self.types, self.forms = Counter(), Counter()
        self.is_over = False

    def take(self, raw: bytes) -> None:
        said = pitch_messages.read(raw)
        assert not self.is_over
        self.types[chr(raw[1])] += 1
        if said.name == "time":
            assert said.time != self.second
            self.second = said.time
            return
        offset = said.timestamp if said.name == "end_of_session" else said.time_offset
        assert self.second is not None and offset < SECOND
        time = self.second * SECOND + offset
        assert self.time is None or time >= self.time
        self.time = time
        getattr(self, "on_" + said.name.replace("_short", "").replace("_long", ""))(said)

    @staticmethod
    def terms(said: SimpleNamespace) -> tuple[bytes, int, int]:
        """(symbol, quantity, price in 1e-4) of any form; the short one is taken where it fits."""
        fields = vars(said)
        symbol = fields.get("symbol_extended", fields.get("symbol", b"")).rstrip()
        if "quantity_short" in fields:
            return symbol, said.quantity_short, said.price_short * 100
        if "symbol" in fields or "symbol_extended" not in fields:
            fits = said.quantity < 65_536 and not said.price % 100 and said.price < 6_553_600
            assert not fits, "the short form fits"
        return symbol, said.quantity, said.price

    def on_add_order(self, said) -> None:
        symbol, quantity, price = self.terms(said)
        assert said.order_id not in self.ids and said.add_order_flags == DISPLAY
        assert quantity > 0 and price > 0 and self.status[symbol] != b"H"
        self.ids.add(said.order_id)
        self.orders[said.order_id] = [symbol, said.side_indicator, price, quantity]
        self.books[symbol][said.side_indicator][price][said.order_id] = quantity
        if said.name == "add_order_expanded":
            is_long, is_named = len(symbol) > 6, said.participant_id != b"    "
            assert is_long or is_named
            self.forms["long", "named", is_long, is_named] += 1
            return
        assert len(symbol) <= 6

    on_add_order_expanded = on_add_order

    def leave(self, order_id) -> None:
        symbol, side, price, _ = self.orders.pop(order_id)
        del self.books[symbol][side][price][order_id]

    def reduce(self, order_id, shares) -> None:
        symbol, side, price, left = order = self.orders[order_id]
        assert 0 < shares <= left
        order[3] = self.books[symbol][side][price][order_id] = left - shares
        if left == shares:
            self.leave(order_id)

    def on_delete_order(self, said) -> None:
        self.leave(said.order_id)

    def on_reduce_size(self, said) -> None:
        short = vars(said).get("canceled_quantity_short")
        shares = said.canceled_quantity if short is None else short
        assert shares < self.orders[said.order_id][3], "what is left of it is deleted instead"
        self.reduce(said.order_id, shares)

    def on_modify_order(self, said) -> None:
        symbol, side, price, shares = self.orders[said.order_id]
        _, quantity, new_price = self.terms(said)
        if said.modify_order_flags == DISPLAY | MAINTAIN_PRIORITY:
            assert new_price == price and quantity < shares
            self.forms["kept"] += 1
        else:
            assert said.modify_order_flags == DISPLAY and self.status[symbol] != b"H"
            del self.books[symbol][side][price][said.order_id]
            self.forms["lost"] += 1
        self.books[symbol][side][new_price][said.order_id] = quantity
        self.orders[said.order_id] = [symbol, side, new_price, quantity]

    def match(self, said, symbol, shares, price) -> None:
        assert said.execution_id not in self.executions
        self.executions.add(said.execution_id)
        self.prints[said.execution_id] = symbol, shares, price
        self.sums[symbol]["printable_shares"] += shares
        self.sums[symbol]["printable_notional"] += shares * price
        self.sums[symbol]["last_price"] = price

    def on_order_executed(self, said) -> None:
        symbol, side, price, shares = self.orders[said.order_id]
        queue = self.books[symbol][side]
        assert price == (max if side == b"B" else min)(p for p, q in queue.items() if q)
        assert next(iter(queue[price])) == said.order_id, "the head of the best queue"
        if said.name == "order_executed_at_price_size":
            assert said.remaining_quantity == shares - said.executed_quantity
            price = said.price
        self.match(said, symbol, said.executed_quantity, price)
        self.sums[symbol]["executed_shares"] += said.executed_quantity
        self.reduce(said.order_id, said.executed_quantity)

    on_order_executed_at_price_size = on_order_executed

    def on_trade(self, said) -> None:
        symbol, quantity, price = self.terms(said)
        assert said.order_id not in self.ids and self.status[symbol] == b"T"
        assert (len(symbol) > 6) == (said.name == "trade_expanded")
        self.match(said, symbol, quantity, price)

    on_trade_expanded = on_trade

    def on_trade_break(self, said) -> None:
        symbol, shares, price = self.prints.pop(said.execution_id)
        self.sums[symbol]["broken_shares"] += shares
        self.sums[symbol]["broken_notional"] += shares * price

    def on_trading_status(self, said) -> None:
        symbol = said.symbol_extended.rstrip()
        assert said.trading_status in (b"T", b"H", b"Q", b"S", b"A") and said.padding == b"  "
        was = self.status.get(symbol), self.reg_sho.get(symbol)
        self.status[symbol], self.reg_sho[symbol] = said.trading_status, said.reg_sho_action
        self.forms["status", said.trading_status, said.reg_sho_action] += was != (
            said.trading_status, said.reg_sho_action
        )  # fmt: skip

    def on_auction_update(self, said) -> None:
        assert said.auction_type in (b"O", b"C", b"H")
        assert said.symbol_extended.rstrip() in self.status

    def on_auction_summary(self, said) -> None:
        assert said.auction_opening_type in (b"O", b"C", b"H")
        assert said.shares_contracts > 0 and said.price > 0

    def on_retail_price_improvement(self, said) -> None:
        assert said.retail_price_improvement in (b"B", b"S", b"A", b"N")
        assert said.symbol.rstrip() in self.status

    def on_end_of_session(self, said) -> None:
        self.is_over = True

    def resting(self) -> list[tuple]:
        """Every order, by symbol, bids first, best first, oldest first."""
        return [
            (symbol, side, price, shares, order_id)
            for symbol in sorted(self.books)
            for side, backwards in ((b"B", True), (b"S", False))
            for price, queue in sorted(self.books[symbol][side].items(), reverse=backwards)
            for order_id, shares in queue.items()
        ]

    def compare(self, truth) -> None:
        """The walk's end is what the session says is true."""
        assert truth.live_orders == len(self.orders)
        assert truth.messages_by_type == dict(sorted(self.types.items()))
        for row in truth.symbols:
            book = self.books[row["stock"]]
            for side, name, best in ((b"B", "bid", max), (b"S", "ask", min)):
                queues = {price: queue.values() for price, queue in book[side].items() if queue}
                price = best(queues, default=0)
                expected = (
                    price,
                    sum(queues.get(price, ())),
                    sum(map(len, queues.values())),
                    sum(map(sum, queues.values())),
                )
                names = (f"{name}_{each}" for each in ("px", "sz", "orders", "shares"))
                assert tuple(int(row[each]) for each in names) == expected
            assert row["trading_state"] == self.status[row["stock"]]
            assert {name: int(row[name]) for name in SUMS} == {
                name: self.sums[row["stock"]][name] for name in SUMS
            }


def walk(plan: SessionPlan) -> tuple[Walk, Session, list[bytes]]:
    session, walked, messages = Session(plan), Walk(), []
    for chunk in session.messages():
        messages += pitch_messages.split(chunk.tobytes())
    for raw in messages:
        walked.take(raw)
    return walked, session, messages


def itch_of(plan: SessionPlan) -> Session:
    session = Session(SessionPlan(**{**vars(plan), "feed": "itch50", "faults": Faults()}))
    for _ in session.messages():
        pass
    return session


@pytest.fixture(scope="module")
def walked():
    return walk(PLAN)


def test_the_walk_agrees_with_the_truth(walked):
    replayed, session, messages = walked
    replayed.compare(session.truth)
    assert session.truth.messages == len(messages) and replayed.is_over
    assert sum(row["broken_shares"] for row in session.truth.symbols) > 0
    assert replayed.forms["kept"] > 100 and replayed.forms["lost"] > 1_000
    assert min(replayed.forms["long", "named", *each] for each in (
        (True, False), (False, True), (True, True)
    )) > 10  # fmt: skip
    assert {key[1:] for key in replayed.forms if key[0] == "status"} >= {
        *((b"T", b"0"), (b"H", b"0"), (b"Q", b"0"), (b"S", b"0"), (b"A", b"0"), (b"T", b"1")),
    }


def test_the_market_is_that_of_itch(walked):
    """The books at the end are those of the ITCH session, whose truth its own tests prove."""
    replayed, session, _ = walked
    itch = itch_of(PLAN)
    names = [name.encode() for name in session.listing.names]
    expected = [
        (names[locate - 1], bytes([side]), price, shares)
        for locate, side, price, shares, _ in itch.resting_orders().tolist()
    ]
    assert [each[:4] for each in replayed.resting()] == expected
    assert session.truth.live_orders == itch.truth.live_orders
    mine, its = session.truth.symbols, itch.truth.symbols
    same = [name for name in mine.dtype.names if name[:3] in ("bid", "ask", "sto", "exe")]
    assert len(same) == 11 and (mine[same] == its[same]).all()


def test_resting_orders_are_the_queues(walked):
    replayed, session, _ = walked
    names = [name.encode() for name in session.listing.names]
    found = [
        (names[locate - 1], bytes([side]), price, shares, order_id)
        for locate, side, price, shares, order_id in session.resting_orders().tolist()
    ]
    assert found == replayed.resting()


def test_identifiers_are_sparse_64_bit_numbers(walked):
    ids = np.array(sorted(walked[0].ids), np.uint64)
    assert int(ids[0]) > 1 << 60
    gaps = np.diff(ids)
    assert (gaps > 1 << 50).sum() == PLAN.units - 1, "every unit has a corner of its own"
    assert 1 < np.median(gaps) < 100


def test_all_forms_occur():
    plan = SessionPlan(
        messages=400_000, symbols=300, seed=3, feed="pitch", long_symbols=9, heartbeat_s=0
    )
    _, session, _ = walk(plan)
    # Clears and sizes of more than two bytes are not part of a day.
    missing = set(pitch_messages.NAMES) - set(map(ord, session.truth.messages_by_type))
    assert {pitch_messages.NAMES[each] for each in missing} == {"unit_clear", "reduce_size_long"}


def translated(*messages: bytes) -> list[SimpleNamespace]:
    """What PITCH says for ITCH messages about two symbols, ZVZZT and one with a long name."""
    plan = SessionPlan(messages=2_000, symbols=2, feed="pitch", units=1)
    owner, listing = Session(plan), list_symbols(plan)
    listing.symbols["stock"] = [symbol_number(each) for each in ("ZVZZT", "ZVZZT.WS")]
    tables = new_translation(owner, plan, listing, 100)
    tables.tables["issue"]["order_base"], tables.record["execution_base"] = 1 << 60, 1 << 50
    chunk = np.frombuffer(itch_messages.run(messages), np.uint8)
    out = np.zeros(4_096, np.uint8)
    begin, first = np.uint64(chunk.ctypes.data), np.uint64(out.ctypes.data)
    after = translate(tables.address, begin, begin + np.uint64(len(chunk)), first)
    said = pitch_messages.split(out[: int(after) - int(first)].tobytes())
    assert not tables.record["strangers"]
    return [pitch_messages.read(each) for each in said if each[1] != 0x20]


def add(ref: int, shares: int, price: int, locate: int = 1, **more) -> bytes:
    stock = ("ZVZZT", "ZVZZT.WS")[locate - 1]
    code = "F" if more else "A"
    values = {"ref": ref, "side": "S", "shares": shares, "price": price, "stock": stock}
    return itch_messages.message(code, locate, SECOND + 5, **values, **more)


@pytest.mark.parametrize(
    ("shares", "price", "locate", "name"),
    [
        (65_535, 6_553_500, 1, "add_order_short"),
        (65_536, 6_553_500, 1, "add_order_long"),
        (65_535, 6_553_600, 1, "add_order_long"),
        (1, 101, 1, "add_order_long"),
        (1, 100, 2, "add_order_expanded"),
    ],
)
def test_forms_of_an_add(shares, price, locate, name):
    (said,) = translated(add(7, shares, price, locate))
    assert (said.name, said.order_id, said.time_offset) == (name, (1 << 60) + 7, 5)
    assert Walk.terms(said) == ((b"ZVZZT", b"ZVZZT.WS")[locate - 1], shares, price)
    assert said.side_indicator == b"S" and said.add_order_flags == DISPLAY


def test_what_becomes_of_an_order():
    def say(code: str, **values) -> bytes:
        return itch_messages.message(code, 1, SECOND + 9, **values)

    said = translated(
        add(7, 500_000, 101, attribution="MPID"),
        *(say("X", ref=7, shares=70_000), say("U", ref=7, new_ref=9, shares=300, price=6_553_600)),
        *(say("E", ref=9, shares=100, match_number=3), say("C", ref=9, shares=50,
          match_number=4, printable="N", price=102)),
        *(say("X", ref=9, shares=100), say("D", ref=9)),
    )  # fmt: skip
    assert len({each.order_id for each in said}) == 1, "one order throughout"
    kept = DISPLAY | MAINTAIN_PRIORITY
    forms = [("reduce_size_long", 70_000), ("modify_order_long", 430_000, 101, kept)]
    reduced = vars(said[1])
    assert (said[0].name, said[0].participant_id) == ("add_order_expanded", b"MPID")
    assert (reduced["name"], *list(reduced.values())[3:]) in forms
    assert list(vars(said[2]).values())[3:] == [300, 6_553_600, DISPLAY]
    assert list(vars(said[3]).values())[3:] == [100, (1 << 50) + 3]
    assert list(vars(said[4]).values())[3:] == [50, 150, (1 << 50) + 4, 102]
    assert said[5].name in ("reduce_size_short", "modify_order_long")
    assert said[6].name == "delete_order" and len(said) == 7


def test_what_is_said_of_a_symbol():
    def say(code: str, **values) -> bytes:
        return itch_messages.message(code, 2, SECOND + 9, **values)

    def status(letter: str, tested: str = "0") -> tuple:
        return "trading_status", b"ZVZZT.WS", letter.encode(), tested.encode(), b"  "

    market = {"market_code": "Q"}
    said = translated(
        *(say("H", trading_state=each) for each in "THQP"),
        *(say("h", action="H", **market), say("Y", reg_sho_action="2"), say("h", action="T")),
        *(say("Y", reg_sho_action="1"), say("Y", reg_sho_action="0")),
        say("R"),
        say("L"),
        say("Q", match_number=1, cross_type="O"),
        say("Q", shares=1 << 33, price=5, match_number=2, cross_type="O"),
        say("B", match_number=2),
        say("P", side="B", shares=10, stock="ZVZZT.WS", price=7, match_number=3),
        say("B", match_number=3),
        say("I", paired_shares=7, imbalance_shares=2, direction="S", stock="ZVZZT.WS",
            far_price=3, near_price=2, reference_price=1, cross_type="C"),
        say("N", interest_flag="A"),
        itch_messages.message("S", 0, SECOND + 9, event_code="E"),
        itch_messages.message("S", 0, SECOND + 9, event_code="C"),
    )  # fmt: skip
    hidden = (1 << 60) + (1 << 40) + 3
    assert [(each.name, *list(vars(each).values())[2:]) for each in said] == [
        *(status("T"), status("H"), status("Q"), status("A")),
        *(status("S"), status("S", "1"), status("A", "1"), status("A")),
        ("auction_summary", b"ZVZZT.WS", b"O", 5, 0xFFFF_FFFF),
        ("trade_expanded", hidden, b"B", 10, b"ZVZZT.WS", 7, (1 << 50) + 3),
        ("trade_break", (1 << 50) + 3),
        ("auction_update", b"ZVZZT.WS", b"C", 1, 7, 9, 2, 3),
        ("retail_price_improvement", b"ZVZZT.WS", b"A"),
        ("end_of_session",),
    ]


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    symbols=st.integers(1, 40),
    each=st.integers(100, 400),
    seed=st.integers(0, 2**64 - 1),
    units=st.integers(1, 63),
    is_long=st.booleans(),
)
def test_any_session_is_consistent(symbols, each, seed, units, is_long):
    plan = SessionPlan(
        messages=symbols * each + 2_000,
        symbols=symbols,
        seed=seed,
        feed="pitch",
        units=units,
        long_symbols=symbols if is_long else 0,
    )
    replayed, session, _ = walk(plan)
    replayed.compare(session.truth)
    itch = itch_of(plan).resting_orders()
    assert [each[2:4] for each in replayed.resting()] == itch[["price", "shares"]].tolist()


# ---------------------------------------------------------------- packets


def packets_of(batches) -> list[tuple[int, bytes, int]]:
    """(ts_recv, bytes, wire length) of every lent packet."""
    return [
        (int(p["ts_recv"]), ctypes.string_at(int(p["address"]), int(p["length"])),
         int(p["wire_length"]))
        for batch in batches
        for p in batch
    ]  # fmt: skip


def unit_header(packet: bytes) -> tuple[int, int, int, int]:
    """(length, count, unit, sequence)."""
    return struct.unpack_from("<HBBI", packet, PAYLOAD_AT)


@pytest.fixture(scope="module")
def framed():
    session = Session(FRAMED)
    return packets_of(session.packets()), session.truth


def test_packets_hold_the_session_and_nothing_else(framed):
    packets, truth = framed
    walks = {unit: Walk() for unit in range(1, FRAMED.units + 1)}
    expected = dict.fromkeys(walks, 1)
    silent_since, symbols, sizes = {}, {}, Counter()
    for ts_recv, packet, wire_length in packets:
        length, count, unit, sequence = unit_header(packet)
        assert length == len(packet) - PAYLOAD_AT <= MAX_PAYLOAD and wire_length == len(packet)
        assert sequence == expected[unit]
        messages = pitch_messages.split(packet[PAYLOAD_AT + 8 :])
        assert len(messages) == count
        times = []
        for raw in messages:
            walks[unit].take(raw)
            times += [walks[unit].time] if raw[1] != 0x20 else []
            said = vars(pitch_messages.read(raw))
            symbol = said.get("symbol_extended", said.get("symbol", b"")).rstrip()
            assert not symbol or symbols.setdefault(symbol, unit) == unit
        if count:
            assert times[-1] - times[0] <= WINDOW_NS
            # A hiccup holds up what comes behind it, whichever unit's.
            assert 4_000 <= ts_recv - FRAMED.midnight_ns - times[-1] < 50_000_000
        if unit in silent_since:
            assert ts_recv - silent_since[unit] < (FRAMED.heartbeat_s + 1) * SECOND
        silent_since[unit] = ts_recv
        expected[unit] += count
        sizes[count] += 1
    assert [t for t, *_ in packets] == sorted(t for t, *_ in packets)
    assert all(each.is_over for each in walks.values())
    assert (truth.packets, truth.heartbeats) == (len(packets), sizes[0]) and sizes[0] > 100
    assert truth.messages == sum(expected.values()) - FRAMED.units
    assert sum((each.types for each in walks.values()), Counter()) == truth.messages_by_type
    # A range of the alphabet each, about as many symbols.
    assert [symbols[each] for each in sorted(symbols)] == [
        1 + index * FRAMED.units // FRAMED.symbols for index in range(FRAMED.symbols)
    ]
    merged = Walk()
    for each in walks.values():
        merged.types += each.types
        for name in ("orders", "books", "status", "sums"):
            getattr(merged, name).update(getattr(each, name))
    merged.compare(truth)


def test_a_run_has_the_messages_of_the_packets(framed):
    def content(messages) -> Counter:
        return Counter(each for each in messages if each[1] not in (0x20, 0x2D))

    packets = [pitch_messages.split(packet[PAYLOAD_AT + 8 :]) for _, packet, _ in framed[0]]
    run = b"".join(chunk.tobytes() for chunk in generate_messages(FRAMED))
    assert content(pitch_messages.split(run)) == content(sum(packets, []))  # noqa: RUF017
    session = Session(FRAMED)
    lent = [
        (int(run["link"][0]), ctypes.string_at(int(run["address"][0]), int(run["length"][0])))
        for run in session.runs()
    ]
    assert b"".join(each for _, each in lent) == run
    assert {link for link, _ in lent} == {LINK_PITCH}


def test_packets_are_full_at_the_mtu():
    """More than fits a packet, at one moment, of units in turn."""
    plan = SessionPlan(messages=2_000, symbols=10, feed="pitch", units=2)
    listing = list_symbols(plan)
    messages = [
        itch_messages.message(
            "A", 1 + ref % 10, SECOND, ref=ref, side="B", shares=100, price=ref % 7 * 100 + 1,
            stock=listing.names[ref % 10],
        )
        for ref in range(1, 1_001)
    ]  # fmt: skip
    owner = Session(plan)
    framing = UnitFraming(owner, plan, new_translation(owner, plan, listing, 1_000), 0, 1 << 20)
    chunk = np.frombuffer(itch_messages.run(messages), np.uint8)
    packets = [packet for _, packet, _ in packets_of([framing.frame(chunk, True)])]
    counts = [unit_header(packet) for packet in packets]
    assert sum(count for _, count, _, _ in counts) == 1_000 + plan.units
    sizes = sorted(length for length, *_ in counts)
    assert len(sizes) == 2 * -(-500 * 34 // (MAX_PAYLOAD - 8)) == 26
    assert MAX_PAYLOAD - 60 < sizes[2] <= sizes[-1] <= MAX_PAYLOAD
    assert framing.packets_sent == len(packets) and framing.heartbeats == 0


def test_scapy_reads_the_packets(framed):
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    for _, packet, _ in framed[0][:: len(framed[0]) // 40]:
        parsed = Ether(packet)
        stated = parsed[IP].chksum
        del parsed[IP].chksum
        assert Ether(bytes(parsed))[IP].chksum == stated
        assert (parsed[IP].dst, parsed[UDP].dport) == ("224.0.62.2", 30_001)
        assert parsed.dst == "01:00:5e:00:3e:02"
        assert bytes(parsed[UDP].payload) == packet[PAYLOAD_AT:]


# ---------------------------------------------------------------- repeatable, damaged, in files


def digest(plan: SessionPlan) -> str:
    said = hashlib.sha256()
    for ts_recv, packet, length in packets_of(generate_packets(plan)):
        said.update(struct.pack("<QI", ts_recv, length) + packet)
    return said.hexdigest()


def test_equal_plans_give_equal_bytes():
    changes = ({"seed": 6}, {"units": 4}, {"long_symbols": 2})
    others = [SessionPlan(**{**vars(FRAMED), **each}) for each in changes]
    assert len({digest(plan) for plan in [FRAMED, FRAMED, *others]}) == 4


def test_the_bytes_are_the_same_on_every_machine():
    assert digest(FRAMED) == ("55e0991c2f75da03749071c33f9f2d9830e56e124dcdeffaec8d34acacf3c93e")


def test_faults_are_counted():
    odds = {"loss": 0.02, "duplicate": 0.02, "reorder": 0.02, "truncate": 0.02, "garbage": 0.02}
    session = Session(SessionPlan(**{**vars(FRAMED), "faults": Faults(loss=0.05)}))
    clean = Counter(packet for _, packet, _ in packets_of(generate_packets(FRAMED)))
    lost = clean - Counter(packet for _, packet, _ in packets_of(session.packets()))
    counts = session.truth.faults
    assert lost.total() == counts.loss > 100
    assert sum(unit_header(packet)[1] * n for packet, n in lost.items()) == counts.messages_lost
    session = Session(SessionPlan(**{**vars(FRAMED), "faults": Faults(**odds)}))
    assert packets_of(session.packets())
    counts = session.truth.faults
    assert min(getattr(counts, name) for name in odds) > 50
    clean_session = Session(FRAMED)
    assert packets_of(clean_session.packets())
    assert (session.truth.symbols == clean_session.truth.symbols).all()


@pytest.mark.parametrize("name", ["a.pcap", "a.pcapng", "a.pcap.zst"])
def test_files_decode_without_an_error(tmp_path, name):
    plan = SessionPlan(**{**vars(FRAMED), "heartbeat_s": 600})
    truth = generate(tmp_path / name, plan)
    out = io.StringIO()
    summary = decode_capture(tmp_path / name, out, as_json=True)
    assert (summary.messages, summary.unknown, summary.malformed) == (truth.messages, 0, 0)
    assert summary.findings == []
    assert summary.counters == {"packets": truth.packets, "heartbeats": truth.heartbeats}
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    for unit in range(1, plan.units + 1):
        mine = [each["seq"] for each in lines if each["unit"] == unit]
        assert mine == list(range(1, len(mine) + 1))


def test_pitch_has_no_daily_files(tmp_path):
    with pytest.raises(GenerateError, match=r"day\.itch: PITCH has no daily files; name it"):
        generate(tmp_path / "day.itch", FRAMED)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"units": 0}, {"units": 64}, {"long_symbols": 1_001}])
def test_wrong_plans_say_what_is_wrong(wrong):
    (name,) = wrong
    with pytest.raises(GenerateError, match=f"{name}: {wrong[name]} is not between"):
        SessionPlan(feed="pitch", **wrong)


def test_command(tmp_path):
    path = str(tmp_path / "day.pcap")
    options = ["--feed", "pitch", "--messages", "4000", "--symbols", "10", "--units", "2"]
    run = CliRunner().invoke(main, ["generate", path, *options, "--json"])
    assert run.exit_code == 0, run.output
    said = json.loads(run.stdout)
    assert (said["feed"], said["symbols"]) == ("pitch", 10)
    assert said["messages"] == sum(said["messages_by_type"].values())
    assert said["messages_by_type"]["0x2D"] == 2 and said["messages_by_type"]["0x22"] > 500


@pytest.mark.skipif(not CHECKED, reason="the checked variant is not on (TICKPATH_CHECKED=1)")
def test_every_access_was_valid():
    walk(FRAMED)
    assert memory.violations() == (0, 0, 0)
