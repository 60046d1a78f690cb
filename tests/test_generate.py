"""Generated sessions: exact, repeatable, consistent with a plain-Python walk and with peers."""

import ctypes
import datetime
import hashlib
import shutil
import struct
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickpath import memory
from tickpath.capture import open_capture
from tickpath.generate import (
    Faults,
    GenerateError,
    SessionPlan,
    generate,
    generate_messages,
    generate_packets,
    parse_faults,
)
from tickpath.generate.packets import MAX_PAYLOAD, WINDOW_NS
from tickpath.generate.session import Session
from tickpath.jit import CHECKED
from tickpath.wire.frame import FRAME
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import END_OF_SESSION, HEARTBEAT, MOLDUDP64

HOUR = 3_600_000_000_000
STUBS = (100, 1_999_999_900)
WALKED = SessionPlan(messages=60_000, symbols=40, seed=11)
FRAMED = SessionPlan(messages=8_000, symbols=20, seed=5, heartbeat_s=60)

PEER = pytest.mark.filterwarnings("ignore")


def needs(program: str):
    found = shutil.which(program)
    return pytest.mark.skipif(not found, reason=f"{program} is not installed (apt install tshark)")


# ---------------------------------------------------------------- reading, without tickpath's code


def _reader(message):
    """(struct, names): how `struct` reads a message whose layout the wire table states."""
    codes = {1: "B", 2: "H", 4: "I", 6: "6s", 8: "Q"}
    form = "".join(
        codes[each.size] if each.is_integer else f"{each.size}s" for each in message.fields
    )
    names = [each.name for each in message.fields]
    return struct.Struct(">" + form), ["stock_locate" if n == "locate_code" else n for n in names]


READERS = {ord(message.type): _reader(message) for message in ITCH50.messages}


def read_message(raw: bytes) -> dict:
    reader, names = READERS[raw[0]]
    said = dict(zip(names, reader.unpack(raw), strict=True))
    said["timestamp"] = int.from_bytes(said["timestamp"], "big")
    return said


def split(run: bytes) -> list[bytes]:
    """The messages of a run of length-prefixed ones."""
    messages, at = [], 0
    while at < len(run):
        (length,) = struct.unpack_from(">H", run, at)
        messages.append(run[at + 2 : at + 2 + length])
        at += 2 + length
    assert at == len(run)
    return messages


def messages_of(plan: SessionPlan) -> list[bytes]:
    return split(b"".join(chunk.tobytes() for chunk in generate_messages(plan)))


def packets_of(batches) -> list[tuple[int, bytes, int]]:
    """(ts_recv, bytes, wire length) of every lent packet."""
    return [
        (int(p["ts_recv"]), ctypes.string_at(int(p["address"]), int(p["length"])),
         int(p["wire_length"]))
        for batch in batches
        for p in batch
    ]  # fmt: skip


PAYLOAD_AT = sum(FRAME[name].length for name in ("ethernet", "ipv4", "udp"))
MESSAGES_AT = PAYLOAD_AT + MOLDUDP64["downstream_packet"].length


def mold_header(packet: bytes) -> dict:
    return MOLDUDP64["downstream_packet"].decode(packet, PAYLOAD_AT)


# ---------------------------------------------------------------- the walk


class Book:
    """One symbol's book the slow way: price -> orders in the order of time."""

    def __init__(self) -> None:
        self.sides = {b"B": defaultdict(OrderedDict), b"S": defaultdict(OrderedDict)}

    def best(self, side: bytes) -> int:
        prices = [price for price, queue in self.sides[side].items() if queue]
        return (max if side == b"B" else min)(prices, default=0)

    def check_uncrossed(self) -> None:
        bid, ask = self.best(b"B"), self.best(b"S")
        assert not bid or not ask or bid < ask, (bid, ask)


class Walk:
    """Replays messages and asserts everything that a session promises."""

    def __init__(self, may_cross: bool = False) -> None:
        self.may_cross = may_cross
        self.books = defaultdict(Book)
        self.orders = {}  # reference -> [locate, side, price, shares]
        self.state = defaultdict(lambda: b"T")
        self.operational = set()
        self.last_reference = self.last_match = self.time = 0
        self.prints = {}  # match number -> (locate, shares, price)
        self.sums = defaultdict(Counter)
        self.lifetimes = []
        self.born = {}
        self.crossing = Counter()  # shares executed for a cross that is still to be printed
        self.head_executions = 0
        self.crossed = 0

    def take(self, raw: bytes) -> None:
        said = read_message(raw)
        assert said["timestamp"] >= self.time
        self.time = said["timestamp"]
        act = getattr(self, "on_" + chr(raw[0]), None)
        if act:
            act(said)
            book = self.books[said["stock_locate"]]
            if not self.may_cross:
                book.check_uncrossed()
            else:
                bid, ask = book.best(b"B"), book.best(b"S")
                self.crossed += bool(bid and ask and bid >= ask)

    def _join(self, locate, reference, side, price, shares) -> None:
        assert reference > self.last_reference
        assert shares > 0 and 0 < price <= STUBS[1]
        assert price % 100 == 0 or price < 10_000
        assert self.state[locate] != b"H"
        self.last_reference = reference
        self.orders[reference] = [locate, side, price, shares]
        self.books[locate].sides[side][price][reference] = shares
        self.born[reference] = self.time

    def _leave(self, reference) -> None:
        locate, side, price, _ = self.orders.pop(reference)
        del self.books[locate].sides[side][price][reference]
        self.lifetimes.append(self.time - self.born.pop(reference))

    def _reduce(self, locate, reference, shares) -> None:
        order = self.orders[reference]
        assert order[0] == locate and 0 < shares <= order[3]
        order[3] -= shares
        self.books[locate].sides[order[1]][order[2]][reference] = order[3]
        if not order[3]:
            self._leave(reference)

    def _match(self, said, locate, shares, price, printable) -> None:
        assert said["match_number"] > self.last_match
        self.last_match = said["match_number"]
        if printable:
            self.prints[said["match_number"]] = (locate, shares, price)
            sums = self.sums[locate]
            sums["printable_shares"] += shares
            sums["printable_notional"] += shares * price
            sums["last_price"] = price

    def on_A(self, said) -> None:  # noqa: N802
        self._join(
            said["stock_locate"], said["order_reference_number"], said["buy_sell_indicator"],
            said["price"], said["shares"],
        )  # fmt: skip

    on_F = on_A  # noqa: N815

    def on_D(self, said) -> None:  # noqa: N802
        assert self.orders[said["order_reference_number"]][0] == said["stock_locate"]
        self._leave(said["order_reference_number"])

    def on_X(self, said) -> None:  # noqa: N802
        reference = said["order_reference_number"]
        assert said["canceled_shares"] < self.orders[reference][3]
        self._reduce(said["stock_locate"], reference, said["canceled_shares"])

    def on_U(self, said) -> None:  # noqa: N802
        locate, side, *_ = self.orders[said["original_order_reference_number"]]
        assert locate == said["stock_locate"]
        self._leave(said["original_order_reference_number"])
        reference = said["new_order_reference_number"]
        self._join(locate, reference, side, said["price"], said["shares"])

    def _execute(self, said, price, printable, cross) -> None:
        locate, side, limit, _ = self.orders[said["order_reference_number"]]
        if not cross:
            assert self.state[locate] == b"T" and locate not in self.operational
        book = self.books[locate]
        assert limit == book.best(side)
        assert next(iter(book.sides[side][limit])) == said["order_reference_number"]
        self.head_executions += 1
        shares = said["executed_shares"]
        self._match(said, locate, shares, limit if price is None else price, printable)
        self.sums[locate]["executed_shares"] += shares
        self._reduce(locate, said["order_reference_number"], shares)

    def on_E(self, said) -> None:  # noqa: N802
        self._execute(said, None, True, False)

    def on_C(self, said) -> None:  # noqa: N802
        printable = said["printable"] == b"Y"
        if not printable:
            self.crossing[said["stock_locate"]] += said["executed_shares"]
        self._execute(said, said["execution_price"], printable, not printable)

    def on_P(self, said) -> None:  # noqa: N802
        locate, book = said["stock_locate"], self.books[said["stock_locate"]]
        assert self.state[locate] == b"T" and said["order_reference_number"] == 0
        if not self.may_cross:
            assert book.best(b"B") <= said["price"] <= book.best(b"S")
        self._match(said, locate, said["shares"], said["price"], True)

    def on_Q(self, said) -> None:  # noqa: N802
        locate, shares = said["stock_locate"], said["cross_shares"]
        assert (shares == 0) == (said["cross_price"] == 0)
        assert shares >= 0 and said["cross_type"] in (b"O", b"C", b"H")
        self._match(said, locate, shares, said["cross_price"], shares > 0)
        self.crossing[locate] = 0

    def on_B(self, said) -> None:  # noqa: N802
        locate, shares, price = self.prints.pop(said["match_number"])
        assert locate == said["stock_locate"]
        self.sums[locate]["broken_shares"] += shares
        self.sums[locate]["broken_notional"] += shares * price

    def on_H(self, said) -> None:  # noqa: N802
        self.state[said["stock_locate"]] = said["trading_state"]

    def on_h(self, said) -> None:
        act = self.operational.add if said["operational_halt_action"] == b"H" else (
            self.operational.discard
        )  # fmt: skip
        act(said["stock_locate"])

    def compare(self, truth) -> None:
        """The walk's end is what the session says is true."""
        assert truth.live_orders == len(self.orders)
        for row in truth.symbols:
            locate = int(row["stock_locate"])
            book = self.books[locate]
            for side, name in ((b"B", "bid"), (b"S", "ask")):
                best = book.best(side)
                resting = [len(q) for q in book.sides[side].values()]
                shares = [sum(q.values()) for q in book.sides[side].values()]
                expected = (
                    best, sum(book.sides[side][best].values()), sum(resting), sum(shares)
                )  # fmt: skip
                names = ("px", "sz", "orders", "shares")
                assert tuple(int(row[f"{name}_{each}"]) for each in names) == expected
            assert row["trading_state"] == self.state[locate]
            for name in ("executed_shares", "printable_shares", "printable_notional",
                         "broken_shares", "broken_notional", "last_price"):  # fmt: skip
                assert int(row[name]) == self.sums[locate][name], (locate, name)


def walk(plan: SessionPlan) -> tuple[Walk, Session, list[bytes]]:
    session, messages = Session(plan), []
    for chunk in session.messages():
        messages += split(chunk.tobytes())
    walked = Walk(plan.crossed)
    for raw in messages:
        walked.take(raw)
    return walked, session, messages


@pytest.fixture(scope="module")
def walked():
    return walk(WALKED)


def test_the_walk_agrees_with_the_truth(walked):
    replayed, session, messages = walked
    replayed.compare(session.truth)
    assert session.truth.messages == len(messages) == WALKED.messages
    assert session.truth.messages_by_type == dict(
        sorted(Counter(chr(raw[0]) for raw in messages).items())
    )
    assert replayed.head_executions > 2_000
    assert sum(row["broken_shares"] for row in session.truth.symbols) > 0


def test_resting_orders_are_the_queues(walked):
    replayed, session, _ = walked
    expected = [
        (locate, ord(side), price, shares, reference)
        for locate in range(1, WALKED.symbols + 1)
        for side, backwards in ((b"B", True), (b"S", False))
        for price, queue in sorted(
            replayed.books[locate].sides[side].items(), reverse=backwards
        )
        for reference, shares in queue.items()
    ]  # fmt: skip
    assert session.resting_orders().tolist() == expected


def test_orders_live_short_lives_with_a_long_tail(walked):
    """Half are gone in a minute of a day of 16 hours, yet some stand for hours."""
    lifetimes = np.array(walked[0].lifetimes)
    assert np.median(lifetimes) < HOUR // 60 * 4
    assert np.percentile(lifetimes, 97) > HOUR
    assert lifetimes.max() > 3 * HOUR


@settings(max_examples=25, deadline=None)
@given(
    symbols=st.integers(1, 60),
    each=st.integers(0, 60),
    seed=st.integers(0, 2**64 - 1),
    live=st.floats(0, 0.5),
    crossed=st.booleans(),
)
def test_any_session_is_consistent(symbols, each, seed, live, crossed):
    messages = 300 + symbols * (20 + each)
    plan = SessionPlan(messages, symbols, seed, int(messages * live), crossed=crossed)
    replayed, session, said = walk(plan)
    assert len(said) == messages
    replayed.compare(session.truth)


# ---------------------------------------------------------------- the same, and all of it


def digest(plan: SessionPlan) -> str:
    said = hashlib.sha256()
    for ts_recv, packet, wire_length in packets_of(generate_packets(plan)):
        said.update(struct.pack("<QI", ts_recv, wire_length) + packet)
    return said.hexdigest()


def test_equal_plans_give_equal_bytes():
    faulty = SessionPlan(5_000, 20, 9, heartbeat_s=0, faults=Faults(0.1, 0.1, 0.1, 0.1, 0.1))
    assert digest(FRAMED) == digest(FRAMED)
    assert digest(faulty) == digest(faulty)
    others = [SessionPlan(8_000, 20, seed, heartbeat_s=60) for seed in (6, 7, 8)]
    assert len({digest(plan) for plan in [FRAMED, *others]}) == 4


def test_the_bytes_are_the_same_on_every_machine():
    """Pinned: a change of the generator shows here, and then this is what to change."""
    plan = SessionPlan(4_000, 20, 1, heartbeat_s=0, faults=Faults(0.02, 0.02, 0.02, 0.02, 0.02))
    assert digest(plan) == ("207be6a5ab88cfa7aa49783783bff7bffd93eec5f212572b8e77b25e87d15800")


def test_faults_leave_the_session_itself_alone():
    plans = [SessionPlan(5_000, 20, 9), SessionPlan(5_000, 20, 9, faults=Faults(loss=0.5))]
    first, second = (b"".join(c.tobytes() for c in generate_messages(plan)) for plan in plans)
    assert first == second


def test_all_types_occur_and_the_mix_is_that_of_a_real_day():
    session = Session(SessionPlan(messages=400_000, symbols=400, seed=2))
    for _ in session.messages():
        pass
    counts = session.truth.messages_by_type
    assert set(counts) == set(ITCH50.by_type)
    share = {code: 100 * n / 400_000 for code, n in counts.items()}
    bands = {"A": (40, 48), "F": (2, 4), "D": (32, 42), "U": (7, 10), "E": (4, 5.2),
             "C": (0.2, 0.6), "X": (1, 3), "P": (0.8, 1.2), "B": (0.001, 0.05),
             "I": (0.5, 2)}  # fmt: skip
    for code, (low, high) in bands.items():
        assert low <= share[code] <= high, (code, share[code])
    assert abs(session.truth.live_orders - 40_000) < 200


@pytest.mark.parametrize("live", [0, 2_000, 20_000, 50_000])
def test_live_orders_reach_their_goal(live):
    session = Session(SessionPlan(messages=100_000, symbols=100, seed=4, live_orders=live))
    for _ in session.messages():
        pass
    assert abs(session.truth.live_orders - live) <= max(50, live // 100)


def test_a_hundred_thousand_messages_have_every_type():
    for seed in range(5):
        session = Session(SessionPlan(messages=100_000, symbols=50, seed=seed))
        for _ in session.messages():
            pass
        assert set(session.truth.messages_by_type) == set(ITCH50.by_type)


def test_the_day_goes_by_the_clock(walked):
    _, _, messages = walked
    said = [read_message(raw) for raw in messages]
    events = [(m["event_code"], m["timestamp"]) for m in said if m["message_type"] == b"S"]
    assert [code for code, _ in events] == [b"O", b"S", b"Q", b"M", b"E", b"C"]
    assert said[0]["message_type"] == b"S" and said[-1]["event_code"] == b"C"
    hours = [time / HOUR for _, time in events]
    assert hours == pytest.approx([3.067, 4, 9.5, 16, 20, 20.083], abs=0.01)
    orders = np.array([m["timestamp"] for m in said if m["message_type"] in (b"A", b"D")]) / HOUR
    counts, _ = np.histogram(orders, [4, 9.5, 10, 12, 13.5, 15.5, 16, 20])
    per_hour = counts / np.array([5.5, 0.5, 2, 1.5, 2, 0.5, 4])
    noon = per_hour[3]
    assert min(per_hour[1], per_hour[5]) > 2 * noon, "busy at both ends of the day"
    assert max(per_hour[0], per_hour[6]) < noon, "quiet outside it"
    gaps = np.diff([m["timestamp"] for m in said if m["timestamp"] > 9.5 * HOUR])
    assert np.median(gaps) < gaps.mean() / 100, "bursts"


def test_halts_tell_their_stories(walked):
    """A halted symbol resumes through quotation and a cross, and does not trade meanwhile."""
    _, _, messages = walked
    stories = defaultdict(list)
    for raw in messages:
        said = read_message(raw)
        if said["message_type"] in (b"H", b"Q", b"J", b"h"):
            state = said.get("trading_state", said.get("cross_type", b""))
            stories[said["stock_locate"]].append((said["message_type"] + state).decode())
    told = Counter("".join(story) for story in stories.values())
    assert told == {
        "HTQOQC": 31,  # an ordinary day: open, close
        "HTQOHHHQQHHTQC": 3,  # news
        "HTQOHPJHQQHHTQC": 2,  # volatility
        "HTQOHPJJHQQHHTQC": 1,
        "HTQOhhQC": 1,
        "HHHQQHHTQC": 2,  # IPO and direct listing
    }


def test_prices_cover_the_market():
    session = Session(SessionPlan(messages=300_000, symbols=2_000, seed=8))
    prices = set()
    for chunk in session.messages():
        for raw in split(chunk.tobytes()):
            if raw[0] == ord("A"):
                prices.add(int.from_bytes(raw[-4:], "big"))
    usual = prices - set(STUBS)
    assert set(STUBS) <= prices
    assert any(price % 100 for price in usual), "sub-penny prices"
    assert min(usual) < 10_000 and max(usual) > 100_000_000


def test_a_direction_moves_prices_by_thousands_of_ticks():
    session = Session(SessionPlan(messages=300_000, symbols=20, seed=8))
    low, high = defaultdict(lambda: STUBS[1]), Counter()
    for chunk in session.messages():
        for raw in split(chunk.tobytes()):
            if raw[0] == ord("P"):
                said = read_message(raw)
                locate, price = said["stock_locate"], said["price"]
                low[locate], high[locate] = min(low[locate], price), max(high[locate], price)
    assert max((high[x] - low[x]) / 100 for x in low if low[x] < 10_000_000) > 2_000


# ---------------------------------------------------------------- packets


@pytest.fixture(scope="module")
def framed():
    session = Session(FRAMED)
    return packets_of(session.packets()), session.truth


def test_packets_hold_the_session_and_nothing_else(framed):
    packets, truth = framed
    expected, run, silent_since = 1, [], None
    sizes = Counter()
    for ts_recv, packet, wire_length in packets:
        header = mold_header(packet)
        assert header["session"] == FRAMED.session and wire_length == len(packet)
        assert header["sequence_number"] == expected
        count = header["message_count"]
        if count in (HEARTBEAT, END_OF_SESSION):
            assert len(packet) == MESSAGES_AT
        else:
            messages = split(packet[MESSAGES_AT:])
            assert len(messages) == count and len(packet) <= PAYLOAD_AT + MAX_PAYLOAD
            times = [read_message(raw)["timestamp"] for raw in (messages[0], messages[-1])]
            assert times[1] - times[0] <= WINDOW_NS
            delay = ts_recv - FRAMED.midnight_ns - times[1]
            assert 4_000 <= delay < 50_000_000
            run += messages
            expected += count
            sizes[count] += 1
        if silent_since is not None and count != END_OF_SESSION:
            assert ts_recv - silent_since < (FRAMED.heartbeat_s + 1) * 10**9
        silent_since = ts_recv
    assert run == messages_of(FRAMED)
    assert mold_header(packets[-1][1])["message_count"] == END_OF_SESSION
    assert [t for t, *_ in packets] == sorted(t for t, *_ in packets)
    assert truth.packets == len(packets)
    assert truth.heartbeats == len(packets) - sum(sizes.values()) - 1 > 100
    assert sizes[1] > 1_000 and max(sizes) > 10


def test_a_packet_is_full_at_the_mtu():
    plan = SessionPlan(messages=300_000, symbols=200, seed=1, heartbeat_s=0)
    longest = max(int(batch["length"].max()) for batch in generate_packets(plan))
    assert PAYLOAD_AT + MAX_PAYLOAD - 52 < longest <= PAYLOAD_AT + MAX_PAYLOAD


def test_headers_are_right_by_hand(framed):
    for _, packet, _ in framed[0][::50]:
        ethernet, ip, udp = packet[:14], packet[14:34], packet[34:42]
        assert ethernet[:6].hex() == "01005e360c6f" and ethernet[12:] == b"\x08\x00"
        words = sum(struct.unpack(">10H", ip))
        assert (words & 0xFFFF) + (words >> 16) in (0xFFFF, 0x1FFFE)
        assert struct.unpack_from(">H", ip, 2)[0] == len(packet) - 14
        assert ip[16:] == bytes((233, 54, 12, 111))
        port, length, checksum = struct.unpack_from(">HHH", udp, 2)
        assert (port, length, checksum) == (26_477, len(packet) - 34, 0)


def test_scapy_reads_the_packets(framed):
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    for _, packet, _ in framed[0][:: len(framed[0]) // 40]:
        parsed = Ether(packet)
        stated = parsed[IP].chksum
        del parsed[IP].chksum
        assert Ether(bytes(parsed))[IP].chksum == stated
        assert parsed[IP].dst == "233.54.12.111" and parsed[UDP].dport == 26_477
        assert bytes(parsed[UDP].payload) == packet[PAYLOAD_AT:]


@needs("tshark")
def test_tshark_reads_the_packets(tmp_path):
    path = tmp_path / "session.pcap"
    plan = SessionPlan(messages=3_000, symbols=20, seed=5, heartbeat_s=600)
    truth = generate(path, plan)
    options = ["-d", "udp.port==26477,moldudp64", "-o", "ip.check_checksum:TRUE", "-T", "fields"]
    names = ["ip.checksum.status", "moldudp64.sequence", "moldudp64.count", "moldudp64.msglen"]
    for name in names:
        options += ["-e", name]
    lines = subprocess.run(
        ["tshark", "-r", str(path), *options], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(lines) == truth.packets
    lengths, expected = [], 1
    for line in lines:
        status, sequence, count, each = line.split("\t")
        assert status in ("1", "Good") and int(sequence) == expected
        said = int(count, 0)
        lengths += [int(length, 0) for length in each.split(",") if length]
        expected += said if said != END_OF_SESSION else 0
    assert lengths == [len(raw) for raw in messages_of(plan)]


@PEER
def test_itch_book_agrees(tmp_path):
    itch_book = pytest.importorskip("itch_book")
    path = tmp_path / "session.itch"
    truth = generate(path, SessionPlan(messages=150_000, symbols=150, seed=21))
    feed = itch_book.Feed(str(path), date=datetime.date(2019, 12, 30), price_type="fixed")
    touch = {}
    for batch in feed.batches(tables=("bbo",)):
        bbo = batch.bbo
        for locate, *best in zip(*(bbo[name].tolist() for name in (
            "locate", "bid_px", "bid_sz", "ask_px", "ask_sz"
        )), strict=True):  # fmt: skip
            touch[locate] = best
    stats = feed.stats
    assert stats["messages"] == 150_000 and stats["live_orders"] == truth.live_orders
    faults = (
        "missing_ref",
        "dup_ref",
        "rejected",
        "clamped",
        "crossed_books",
        "unknown",
        "malformed",
    )
    assert {name: stats[name] for name in faults} == dict.fromkeys(faults, 0)
    for row in truth.symbols:
        best = [int(row[name]) for name in ("bid_px", "bid_sz", "ask_px", "ask_sz")]
        assert touch.get(int(row["stock_locate"]), [0] * 4) == best


# ---------------------------------------------------------------- faults


def fault_run(**odds):
    plan = {"messages": 20_000, "symbols": 30, "seed": 3, "heartbeat_s": 600}
    clean = packets_of(generate_packets(SessionPlan(**plan)))
    session = Session(SessionPlan(**plan, faults=Faults(**odds)))
    return clean, packets_of(session.packets()), session.truth.faults


def content(packets) -> Counter:
    return Counter(packet for _, packet, _ in packets)


def test_loss_is_counted():
    clean, sent, counts = fault_run(loss=0.05)
    lost = content(clean) - content(sent)
    assert not content(sent) - content(clean)
    assert lost.total() == counts.loss == len(clean) - len(sent) > 100
    messages = [mold_header(packet)["message_count"] * n for packet, n in lost.items()]
    assert sum(count for count in messages if count < END_OF_SESSION) == counts.messages_lost


def test_duplicates_are_counted():
    clean, sent, counts = fault_run(duplicate=0.05)
    again = content(sent) - content(clean)
    assert not content(clean) - content(sent)
    assert again.total() == counts.duplicate == len(sent) - len(clean) > 100
    messages = [mold_header(packet)["message_count"] * n for packet, n in again.items()]
    assert sum(count for count in messages if count < END_OF_SESSION) == counts.messages_duplicated


def test_reordered_packets_are_counted():
    clean, sent, counts = fault_run(reorder=0.05)
    assert content(clean) == content(sent) and len(clean) == len(sent)
    late, highest = 0, 0
    for _, packet, _ in sent:
        sequence = mold_header(packet)["sequence_number"]
        late += sequence < highest
        highest = max(highest, sequence)
    # Passing heartbeats of the same number does not show in sequence numbers.
    assert 100 < late <= counts.reorder <= late + 5
    assert [t for t, *_ in sent] == sorted(t for t, *_ in sent)


def test_truncated_packets_are_counted():
    clean, sent, counts = fault_run(truncate=0.05)
    assert len(clean) == len(sent)
    cut = 0
    for (_, whole, length), (_, packet, wire_length) in zip(clean, sent, strict=True):
        assert wire_length == length == len(whole) and whole.startswith(packet) and packet
        cut += len(packet) < len(whole)
    assert cut == counts.truncate > 100


def test_garbage_is_counted():
    clean, sent, counts = fault_run(garbage=0.05)
    assert counts.garbage == counts.garbled + counts.inserted > 100
    assert (content(clean) - content(sent)).total() == counts.garbled > 40
    assert (content(sent) - content(clean)).total() == counts.garbage
    assert len(sent) - len(clean) == counts.inserted > 40


def test_all_faults_at_once_are_counted():
    clean, sent, counts = fault_run(**{each.name: 0.2 for each in fields(Faults)})
    assert len(sent) == len(clean) - counts.loss + counts.duplicate + counts.inserted
    expected = len(clean) / 5
    for each in fields(Faults):
        assert abs(getattr(counts, each.name) - expected) < 6 * expected**0.5 + expected / 10
    assert fault_run(loss=1.0)[1] == []


def test_crossed_books_are_there_when_asked_for():
    replayed, session, _ = walk(SessionPlan(messages=30_000, symbols=20, seed=1, crossed=True))
    replayed.compare(session.truth)
    assert replayed.crossed > 50


# ---------------------------------------------------------------- files, and what users get wrong


@pytest.mark.parametrize("name", ["s.pcap", "s.pcapng", "s.itch", "s.pcap.zst", "s.itch.gz"])
def test_files_hold_the_session(tmp_path, name):
    path, seen = tmp_path / name, []
    truth = generate(path, FRAMED, seen.append)
    with open_capture(path) as capture:
        packets = packets_of(capture.batches())
    if "pcap" in name:
        assert packets == packets_of(generate_packets(FRAMED))
        assert truth.packets == len(packets)
    else:
        assert b"".join(data for _, data, _ in packets) == b"".join(
            chunk.tobytes() for chunk in generate_messages(FRAMED)
        )
    assert seen[-1] == truth.messages == FRAMED.messages


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", Faults()),
        ("loss=0.01", Faults(loss=0.01)),
        (" loss = 1 ", Faults(loss=1)),
        (
            "loss=0.01,duplicate=0.005,reorder=0.01,truncate=0.001,garbage=1e-3",
            Faults(0.01, 0.005, 0.01, 0.001, 0.001),
        ),
    ],
)
def test_faults_are_parsed(text, faults):
    assert parse_faults(text) == faults


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("los=0.1", "no fault is called 'los'; known: loss, duplicate"),
        ("loss", "'loss' is not NAME=PROBABILITY"),
        ("loss=x", "loss='x' is not a number"),
        ("loss=1.5", "loss=1.5 is not a probability between 0 and 1"),
        ("loss=-1", "loss=-1.0 is not a probability"),
        ("loss=nan", "loss=nan is not a probability"),
        ("loss=0.6,duplicate=0.6", "add up to 1.2"),
        ("loss=0.1,loss=0.2", "loss is given twice"),
    ],
)
def test_wrong_faults_say_what_is_wrong(text, said):
    with pytest.raises(GenerateError) as caught:
        parse_faults(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"messages": 0}, "messages: 0 is not between 1"),
        ({"symbols": 0}, "symbols: 0 is not between 1"),
        ({"symbols": 10**6}, "symbols: 1000000 is not between"),
        ({"feed": "boe"}, "feed: 'boe' cannot be generated; known: itch50, pitch"),
        ({"messages": 100, "live_orders": 51}, "live_orders: 51 are more than half"),
        ({"live_orders": -1}, "live_orders: -1 is not between"),
        ({"seed": -1}, "seed: -1"),
        ({"session": "0123456789a"}, "session: '0123456789a' is not 1 to 10"),
    ],
)
def test_wrong_plans_say_what_is_wrong(wrong, said):
    with pytest.raises(GenerateError) as caught:
        SessionPlan(**wrong)
    assert said in str(caught.value)


def test_too_few_messages_say_how_many_it_takes(tmp_path):
    path = tmp_path / "session.pcap"
    with pytest.raises(GenerateError, match="1000 symbols take at least 10188 messages"):
        generate(path, SessionPlan(messages=5_000, symbols=1_000))
    assert not path.exists()


def test_faults_need_packets(tmp_path):
    path = tmp_path / "session.itch"
    with pytest.raises(GenerateError, match=r"a daily file has none; name it \.pcap"):
        generate(path, SessionPlan(2_000, 10, faults=Faults(loss=0.1)))
    assert not path.exists()


def test_a_session_is_taken_once_and_known_at_its_end():
    session = Session(SessionPlan(2_000, 10))
    with pytest.raises(GenerateError, match="known when all of it has been taken"):
        session.truth  # noqa: B018
    assert sum(len(split(chunk.tobytes())) for chunk in session.messages()) == 2_000
    with pytest.raises(GenerateError, match="made once"):
        next(session.packets())


def test_importing_the_package_is_cheap():
    code = (
        "import sys, tickpath.generate as g; g.parse_faults('loss=0.1');"
        "assert not {'numba', 'numpy'} & set(sys.modules), 'heavy imports'"
    )
    root = Path(__file__).parents[1] / "pipeline"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(root)})


@pytest.mark.skipif(not CHECKED, reason="TICKPATH_CHECKED is not set: accessors verify nothing")
def test_every_access_was_valid():
    assert sum(len(chunk) for chunk in generate_messages(WALKED)) > 0
    assert all(len(batch) for batch in generate_packets(FRAMED))
    assert memory.violations() == (0, 0, 0)


def test_references_and_matches_mostly_count_up_by_one(walked):
    messages = [read_message(raw) for raw in walked[2]]
    for names in (("order_reference_number", "AF"), ("match_number", "ECPQ")):
        numbers = [m[names[0]] for m in messages if m["message_type"].decode() in names[1]]
        if names[1] == "AF":
            numbers = sorted(
                numbers + [m["new_order_reference_number"] for m in messages
                           if m["message_type"] == b"U"]
            )  # fmt: skip
        steps = Counter(after - before for before, after in pairwise(numbers))
        assert min(steps) > 0 and 1 < max(steps) <= 10
        assert steps[1] > 0.8 * steps.total()
