"""Frames for the chain: markets written with the wire tables, and frames that are not the feed's.

`market` draws messages of a busy market in a few symbols, of every type that ITCH has; `placed`
puts them into MoldUDP64 packets so that every type begins in every lane of a word.  All follows
from the seed.  Sessions of the generator and real captures come as they are.
"""

import ctypes
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tickpath.capture import open_capture
from tickpath.generate import SessionPlan, generate_packets
from tickpath.packet import LINK_ETHERNET
from tickpath.profile import (
    Gate,
    Imbalance,
    Profile,
    Spread,
    Symbol,
    SymbolLimits,
    Through,
    load_profile,
)
from tickpath.wire.itch50 import ITCH50
from tickpath_backends.hdl.chain_check import ticks_of
from tickpath_backends.hdl.parse_flow import frame, packet
from tickpath_backends.hdl.verilated import HDL

AAPL = HDL.parents[1] / "shared" / "data" / "nasdaq_itch50" / "aapl_20191230_part1.pcap"
GROUP = (0xE9360C6F, 26_477)
SESSION = "0000000007"
NAMES = ("AAPL", "MSFT", "PENNY", "ZVZZT", "OTHER")
"""The last one is in no profile, the third is quoted below one dollar."""
TICKS, MIDDLES = {"PENNY": 1}, {"PENNY": 8_000}
START_NS = 34_200_000_000_000
ORDERS = "AFECXDU"
BEGIN = 64
"""Where the first message of a packet begins: headers, MoldUDP64's and its own length."""
FILLER = 40
"""Bytes of a message of no type in front of another one: one shorter than all of ITCH's may wait
for its line's decision."""


def message(kind: str, locate: int, ts_event: int, **fields: int | bytes) -> bytes:
    """A message with some of its fields; the others are 0."""
    layout = ITCH50.by_type[kind]
    raw = bytearray(layout.length)
    raw[0] = ord(kind)
    given = {"stock_locate": locate, "locate_code": locate, "timestamp": ts_event} | fields
    for name, value in given.items():
        if name not in layout.by_name and name not in fields:
            continue
        at = layout[name]
        data = value.ljust(at.size) if isinstance(value, bytes) else value.to_bytes(at.size, "big")
        raw[at.offset : at.offset + at.size] = data
    return bytes(raw)


def profile(draw: random.Random, names: Iterable[str] = NAMES[:4], **limits: int) -> Profile:
    """A profile of random triggers, whose limits are wide but for those that are given."""
    wide = {"max_long": 4_000_000, "max_short": 4_000_000, "collar_ticks": 65_535}
    wide |= {"max_quantity": 999_999, "orders_per_second": 1_000_000, "order_burst": 1_000}
    return Profile(
        symbols={
            name: Symbol(_trigger(draw, name, n), 0.0001 if name in TICKS else 0.01)
            for n, name in enumerate(names)
        },
        gate=Gate(unknown_trading_state="trade", orders_per_second=1_000_000, order_burst=1_000),
        limits=SymbolLimits(max_notional=1e9, **(wide | limits)),
    )


def _trigger(draw: random.Random, name: str, n: int) -> Imbalance | Spread | Through:
    tick, middle = TICKS.get(name, 100), MIDDLES.get(name, 1_000_000)
    side = draw.choice(("buy", "sell"))
    if n % 3 == 0:
        return Imbalance(draw.choice((1, 2)), 100, 100, tick / 10_000)
    if n % 3 == 1:
        return Spread(side, draw.randrange(3) * tick / 10_000, 101)
    return Through(side, (middle + draw.randint(-1, 1) * tick) / 10_000, 99, 2 * tick / 10_000)


class Market:
    """Orders that live, and what comes next."""

    def __init__(self, draw: random.Random, names: tuple[str, ...] = NAMES, levels: int = 6):
        self.draw, self.names, self.levels = draw, names, levels
        self.ts_event, self.ref = START_NS, 0
        self.alive: dict[int, int] = {}

    def opening(self) -> list[bytes]:
        """A directory message of each symbol, and orders that stay: no side runs empty."""
        made = []
        for locate, name in enumerate(self.names, 1):
            made.append(message("R", locate, self.ts_event, stock=name.encode()))
            for side in b"BS":
                for level in range(12):
                    made.append(self._add("A", locate, side, self.levels + 1 + level, 10_000))
        self.alive.clear()
        return made

    def _price(self, locate: int, side: int, level: int) -> int:
        name = self.names[locate - 1]
        away = level * TICKS.get(name, 100)
        return MIDDLES.get(name, 1_000_000) + (-away if side == ord("B") else away)

    def _add(self, kind: str, locate: int, side: int, level: int, shares: int) -> bytes:
        self.ref += 1
        self.alive[self.ref] = locate
        return message(
            kind,
            locate,
            self.ts_event,
            order_reference_number=self.ref,
            buy_sell_indicator=bytes([side]),
            shares=shares,
            stock=self.names[locate - 1].encode(),
            price=self._price(locate, side, level),
        )

    def next(self, kinds: str) -> bytes:
        """A message of one of these types; an add where it needs an order and none lives."""
        draw = self.draw
        kind = draw.choice(kinds)
        self.ts_event += draw.choice((0, 0, 1, 999, 250_000, 3_000_000))
        stamp = self.ts_event - 5 if draw.random() < 0.02 else self.ts_event
        if kind in "ECXDU" and not self.alive:
            kind = "A"
        if kind in "AF":
            level = draw.randint(-1, self.levels)
            shares = draw.choice((1, 100, 100, 300, 5_000))
            return self._add(
                kind, draw.randint(1, len(self.names)), draw.choice(b"BS"), level, shares
            )
        if kind not in "ECXDU":
            return self._other(kind, stamp)
        # The youngest ones often: what the book forwards is there for them.
        recent = [*self.alive][-4:]
        old = draw.choice(recent if draw.random() < 0.6 else [*self.alive])
        locate = self.alive[old]
        if kind == "U":
            self.ref += 1
            self.alive[self.ref] = self.alive.pop(old)
            return message(
                "U",
                locate,
                stamp,
                original_order_reference_number=old,
                new_order_reference_number=self.ref,
                shares=draw.choice((1, 100, 700)),
                price=self._price(locate, draw.choice(b"BS"), draw.randint(0, self.levels)),
            )
        if kind == "D":
            del self.alive[old]
            return message("D", locate, stamp, order_reference_number=old)
        name = "canceled_shares" if kind == "X" else "executed_shares"
        shares = draw.choice((1, 50, 100, 5_000))
        return message(kind, locate, stamp, order_reference_number=old, **{name: shares})

    def _other(self, kind: str, stamp: int) -> bytes:
        draw = self.draw
        locate = draw.randint(1, len(self.names))
        fields: dict[str, bytes] = {}
        if "stock" in ITCH50.by_type[kind].by_name:
            fields["stock"] = self.names[locate - 1].encode()
        if kind == "H":
            fields["trading_state"] = draw.choice((b"T", b"T", b"T", b"H", b"P", b"Q"))
        return message(kind, locate, stamp, **fields)


def market(draw: random.Random, count: int, kinds: str = ORDERS, **more) -> list[bytes]:
    """An opening and so many messages of these types."""
    made = Market(draw, **more)
    return [*made.opening(), *(made.next(kinds) for _ in range(count))]


def seesaw(count: int) -> tuple[list[bytes], Profile]:
    """So many messages behind an opening, every one of which makes an order, and a profile.

    The best offer of one symbol grows beyond the bid and shrinks again, by all kinds of messages.
    """
    market = Market(random.Random(0), NAMES[:1])
    made = market.opening()
    made += [market._add("A", 1, ord("B"), 0, 200), market._add("A", 1, ord("S"), 1, 100)]
    ref = 0
    for n in range(count):
        market.ts_event += 1_000_000
        stamp, kind = market.ts_event, "DXECU"[n // 2 % 5]
        if n % 2 == 0:
            made.append(market._add("AF"[n // 2 % 2], 1, ord("S"), 1, 300))
            ref = market.ref
        elif kind == "U":
            market.ref += 1
            fields = {"original_order_reference_number": ref, "shares": 1}
            fields |= {"new_order_reference_number": market.ref, "price": 1_000_500}
            made.append(message(kind, 1, stamp, **fields))
        else:
            name = {"X": "canceled_shares", "E": "executed_shares", "C": "executed_shares"}
            fields = {"order_reference_number": ref} | ({name[kind]: 300} if kind in name else {})
            made.append(message(kind, 1, stamp, **fields))
    given = profile(random.Random(0), NAMES[:1])
    return made, msgspec.structs.replace(
        given, symbols={NAMES[0]: Symbol(Imbalance(1, 100, 100, 0.01))}
    )


def odd(draw: random.Random, base: bytes) -> bytes:
    """A message that is none of ITCH's: another type, or a length that is not its type's."""
    if draw.random() < 0.3:
        return b"?" + draw.randbytes(draw.choice((0, 11, 18, 35, 49, 50, 63, 299)))
    length = max(9, len(base) + draw.choice((-8, -2, -1, 1, 2, 8, 60)))
    return base[:length] + draw.randbytes(length - len(base[:length]))


def framed(messages: Iterable[bytes], draw: random.Random, first: int = 1) -> list[bytes]:
    """Messages in MoldUDP64 packets of one to nine; some frames have tags, options, padding."""
    left, frames, sequence = list(messages), [], first
    while left:
        count = draw.randrange(1, 10)
        how = {}
        if draw.random() < 0.2:
            how = {"tags": draw.choice((1, 2)), "options": draw.randrange(3), "padding": 8}
        frames.append(frame(packet(left[:count], SESSION, sequence), GROUP, **how))
        sequence += len(left[:count])
        left = left[count:]
    return frames


def placed(messages: Iterable[bytes], size: int) -> list[bytes]:
    """Messages two by two in packets, so that each type comes to every lane of words of ``size``.

    In front of each stands a message of no type that is as long as its lane needs.
    """
    lanes: Counter[int] = Counter()
    frames, sequence = [], 1
    for raw in messages:
        lane = lanes[raw[0]] % size
        lanes[raw[0]] += 1
        frames.append(mold([filler(lane, size), raw], sequence))
        sequence += 2
    return frames


def filler(lane: int, size: int) -> bytes:
    """The first message of a packet behind which the second begins in a lane."""
    return b"?" * (FILLER + (lane - BEGIN - 2 - FILLER) % size)


def mold(messages: list[bytes], sequence: int, count: int | None = None) -> bytes:
    """A packet of the feed's group and session."""
    return frame(packet(messages, SESSION, sequence, count), GROUP)


def foreign(draw: random.Random) -> bytes:
    """A frame that is not the feed's: the front passes it by."""
    from tickpath.wire import frame as wire

    body = packet([b"?" * 20], SESSION, 1)
    other = draw.choice(
        (
            {"ethernet": {"ether_type": wire.ETHER_TYPE_IPV6}},
            {"ethernet": {"ether_type": 0x0806}},
            {"ip": {"protocol": wire.IP_PROTOCOL_TCP}},
            {"ip": {"flags_fragment_offset": 1}},
            {"ip": {"version_ihl": 0x65}},
            {"ip": {"destination_address": 0xE0000001}},
            {"udp": {"destination_port": 53}},
            {"udp": {"length": 7}},
        )
    )
    return frame(body, GROUP, **other)


def generated(messages: int, symbols: int, seed: int) -> tuple[list[bytes], Profile]:
    """The frames of a session of the generator, and a profile of all its symbols."""
    plan = SessionPlan(messages=messages, symbols=symbols, seed=seed, heartbeat_s=0)
    frames = [raw for batch in generate_packets(plan) for raw in _copied(batch)]
    kinds = (Imbalance(2, 100, 200), Spread("buy", 0.02, 100, 0.01), Spread("sell", 0.01, 150))
    names = {
        name: Symbol(kinds[n % 3], tick) for n, (name, tick) in enumerate(ticks_of(frames).items())
    }
    return frames, Profile(
        symbols=names, gate=Gate(unknown_trading_state="trade"), limits=SymbolLimits(max_long=900)
    )


def real_profile() -> Profile:
    """For `AAPL`."""
    return load_profile(HDL / "profiles" / "example.toml")


def captured(path: Path, most: int) -> list[bytes]:
    """The first frames of a capture."""
    frames: list[bytes] = []
    with open_capture(path) as capture:
        for batch in capture.batches(512):
            frames += _copied(batch)
            if len(frames) >= most:
                break
    return frames[:most]


def _copied(batch) -> Iterator[bytes]:
    for each in batch:
        if each["link"] == LINK_ETHERNET:
            yield ctypes.string_at(int(each["address"]), int(each["length"]))
