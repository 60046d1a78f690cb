"""Random frames for the hardware's front, drawn so that every cause of a counter is frequent.

A flow keeps its lines' sessions and sequences, so most of its packets are in order; `Flow.mix` has
the weights of the ways in which they are not, `Flow.odd` the share of messages that are none of
ITCH's, `Flow.hurt` that of frames damaged behind the writer's back.  Everything follows from the
seed.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tickpath import line as lines
from tickpath.wire import frame as wire
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import END_OF_SESSION, HEARTBEAT, MOLDUDP64
from tickpath_backends.hdl.parse_reference import Group

GROUPS: dict[Group, int] = {
    (0xE9360C6F, 26477): 0,
    (0xE9360C70, 26477): 1,
    (0xE9360C6F, 26478): 2,
    (0xE9360C6F, 26479): 3,
    (0xE9360D6F, 26477): 0,  # line B of the first
}
LOCATES = 200
SYMBOLS = {locate: locate * 7 % 64 for locate in range(1, LOCATES, 3)}
"""Subscribed locates of the benches, among those that flows draw."""
TAGS = (wire.ETHER_TYPE_VLAN, wire.ETHER_TYPE_QINQ, wire.ETHER_TYPE_QINQ_OLD)
MIX = {
    "next": 60,
    "again": 5,
    "overlap": 5,
    "skip": 5,
    "beat": 4,
    "end": 2,
    "session": 1,
    "jump": 2,
    "far": 3,
    "believed": 2,
    "count": 4,
    "trailing": 3,
    "foreign": 6,
}
MAX_JUMP = int(lines.MAX_JUMP)
_U64 = (1 << 64) - 1


def frame(
    payload: bytes,
    group: Group,
    tags: int = 0,
    options: int = 0,
    padding: int = 0,
    ethernet: dict[str, int] | None = None,
    ip: dict[str, int] | None = None,
    udp: dict[str, int] | None = None,
) -> bytes:
    """An Ethernet frame around a UDP payload; the dictionaries say which fields are other ones.

    ``options`` counts words of four bytes in the IPv4 header.
    """
    layout = wire.FRAME
    given = {"destination_port": group[1], "length": layout["udp"].length + len(payload)}
    datagram = layout["udp"].encode(**{**given, **(udp or {})}) + payload
    words = layout["ipv4"].length // 4 + options
    given = {
        "version_ihl": 4 << 4 | words,
        "total_length": 4 * words + len(datagram),
        "time_to_live": 64,
        "protocol": wire.IP_PROTOCOL_UDP,
        "destination_address": group[0],
    }
    packet = layout["ipv4"].encode(**{**given, **(ip or {})}) + bytes(4 * options) + datagram
    kinds = [*(TAGS[n % len(TAGS)] for n in range(tags)), wire.ETHER_TYPE_IPV4]
    head = layout["ethernet"].encode(**{"ether_type": kinds[0], **(ethernet or {})})
    for each in kinds[1:]:
        head += layout["vlan_tag"].encode(tag_control_information=7, ether_type=each)
    return head + packet + bytes(padding)


def packet(
    messages: list[bytes], session: str, sequence: int, count: int | None = None, behind: int = 0
) -> bytes:
    """A MoldUDP64 packet; ``count`` where the header says another one, ``behind`` bytes behind."""
    header = MOLDUDP64["downstream_packet"].encode(
        session=session,
        sequence_number=sequence & _U64,
        message_count=len(messages) if count is None else count,
    )
    block = MOLDUDP64["message_block"]
    blocks = [block.encode(message_length=len(m), message_data=m) for m in messages]
    return header + b"".join(blocks) + bytes(behind)


@dataclass
class _Line:
    session: int = 1
    sequence: int = 1
    candidate: int = 0
    last: list[bytes] = field(default_factory=list)


@dataclass
class Flow:
    """What frames are like; `frames` draws them."""

    seed: int
    mix: dict[str, int] = field(default_factory=lambda: dict(MIX))
    messages: int = 6  # in a packet, at most
    odd: float = 0.05
    short: float = 0.02  # share of messages of 0 to 11 bytes
    hurt: float = 0.02
    bad: float = 0.0  # share of frames that the MAC calls bad
    headers: float = 0.3  # share with VLAN tags, options, padding
    lines: int = 4
    adds: bool = True  # else no order ever lives

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lines = [_Line() for _ in range(self.lines)]
        self._time = 34_200_000_000_000

    def frames(self, count: int) -> tuple[list[bytes], list[int]]:
        """The next frames, and the numbers of those that are bad."""
        made = [self._frame() for _ in range(count)]
        return made, [n for n in range(count) if self._chance(self.bad)]

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    # ------------------------------------------------------------ messages

    def message(self) -> bytes:
        """One message: ITCH's with random fields, or none of its."""
        draw = self._random
        self._time += draw.choice((0, 1, 700, 20_000, -900))
        if self._chance(self.short):
            return self._bytes(draw.randrange(12))
        if self._chance(self.odd):
            return draw.choice((self._no_message, self._wrong_length))()
        kind = draw.choice(ITCH50.messages)
        raw = bytearray(self._bytes(kind.length))
        raw[0] = ord(kind.type)
        for name, value in (
            ("stock_locate", draw.randrange(LOCATES) if draw.random() < 0.98 else 40_000),
            ("locate_code", draw.randrange(LOCATES)),
            ("timestamp", self._time),
        ):
            if name in kind.by_name:
                at = kind[name]
                raw[at.offset : at.offset + at.size] = value.to_bytes(at.size, "big")
        if "buy_sell_indicator" in kind.by_name and draw.random() < 0.95:
            raw[kind["buy_sell_indicator"].offset] = draw.choice(b"BS")
        if kind.name.startswith("add_order") and not self.adds:
            return self.message()
        return bytes(raw)

    def _bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def _no_message(self) -> bytes:
        return self._bytes(self._random.choice((12, 19, 36, 50, 51, 58, 64, 100, 300)))

    def _wrong_length(self) -> bytes:
        kind = self._random.choice(ITCH50.messages)
        length = kind.length + self._random.choice((-8, -2, -1, 1, 2, 8, 60))
        return kind.type.encode() + self._bytes(max(0, length - 1))

    # ------------------------------------------------------------ packets

    def _frame(self) -> bytes:
        draw = self._random
        which = draw.randrange(self.lines)
        line = self._lines[which]
        group = draw.choice([group for group, of in GROUPS.items() if of == which])
        kind = draw.choices(list(self.mix), list(self.mix.values()))[0]
        payload = self._foreign() if kind == "foreign" else self._packet(kind, line)
        if isinstance(payload, bytes):
            raw = frame(payload, group, **self._headers())
        else:
            raw = payload(group)
        if self._chance(self.hurt):
            raw = self._damaged(raw)
        return raw

    def _headers(self) -> dict[str, Any]:
        draw = self._random
        if not self._chance(self.headers):
            return {}
        tags = draw.choice((0, 0, 1, 1, 2, 3, 4, 5))
        return {"tags": tags, "options": draw.randrange(11), "padding": draw.randrange(20)}

    def _packet(self, kind: str, line: _Line) -> bytes:
        draw = self._random
        session = f"{line.session:010d}"
        if kind in ("beat", "end"):
            count = HEARTBEAT if kind == "beat" else END_OF_SESSION
            ahead = draw.choice((0, 0, 0, 3, -3, MAX_JUMP + 5))
            return packet([], session, line.sequence + ahead, count, draw.choice((0, 0, 6)))
        if kind == "session":
            line.session += draw.choice((1, 1, 100_000_000))
            line.sequence = draw.choice((1, 500, _U64 - 1_000_000))
            session = f"{line.session % 10**10:010d}"
        new = [self.message() for _ in range(draw.randrange(1, self.messages + 1))]
        sequence = line.sequence
        if kind == "again":
            return packet(line.last, session, sequence - len(line.last))
        if kind == "overlap":
            back = draw.randrange(len(line.last) + 1)
            new = line.last[len(line.last) - back :] + new
            sequence -= back
        elif kind in ("skip", "jump"):
            sequence += draw.randrange(1, 9) if kind == "skip" else MAX_JUMP
        elif kind == "far":
            sequence += MAX_JUMP + draw.choice((1, 1, 1 << 40))
            line.candidate = sequence + len(new)
            return packet(new, session, sequence)
        elif kind == "believed":
            sequence = max(line.candidate, sequence)
        says = max(0, len(new) + draw.choice((-1, 1, 2, 9))) if kind == "count" else len(new)
        behind = draw.randrange(1, 9) if kind == "trailing" else 0
        line.sequence, line.last = (sequence + len(new)) & _U64, new
        return packet(new, session, sequence, says, behind)

    def _foreign(self) -> Callable[[Group], bytes]:
        """A frame that is not the feed's, whose group is that of a line all the same."""
        draw = self._random
        body = packet([self.message()], "0000000001", 1)
        other: dict[str, Any] = draw.choice(
            (
                {"ethernet": {"ether_type": wire.ETHER_TYPE_IPV6}},
                {"ethernet": {"ether_type": draw.randrange(1 << 16)}},
                {"tags": 5},
                {"ip": {"version_ihl": draw.randrange(256)}},
                {"ip": {"total_length": draw.choice((0, 19, 20, 27, 28, 60, 0xFFFF))}},
                {"ip": {"flags_fragment_offset": draw.choice((0x2000, 1, 0x4000, 0x3FFF))}},
                {"ip": {"protocol": draw.choice((wire.IP_PROTOCOL_TCP, 1, 2))}},
                {"ip": {"destination_address": draw.randrange(1 << 32)}},
                {"udp": {"destination_port": draw.randrange(1 << 16)}},
                {"udp": {"length": draw.choice((0, 7, 8, 27, 28, 29, 0xFFFF))}},
            )
        )
        return lambda group: frame(body, group, **other)

    def _damaged(self, raw: bytes) -> bytes:
        draw = self._random
        if draw.random() < 0.5:
            return raw[: draw.randrange(1, len(raw))]
        changed = bytearray(raw)
        for _ in range(draw.randrange(1, 4)):
            changed[draw.randrange(len(raw))] = draw.randrange(256)
        return bytes(changed)
