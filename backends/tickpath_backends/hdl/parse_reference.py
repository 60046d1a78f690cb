"""What the front of the hardware makes of frames, in plain Python from the wire tables.

Written from what the software does (`tickpath.frame`, `mold`, `line`, `pipeline`), which decides
where the two can be compared: counters, inputs, engine time.  What only the hardware does is here
alone: lines are configured, symbols are chosen by a table of stock locates, and a frame is passed
on before its end is seen, so messages of one that is cut or bad count as far as they came.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tickpath import line as lines
from tickpath.wire import frame as wire
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import END_OF_SESSION, HEARTBEAT, MOLDUDP64
from tickpath.wire.table import Message
from tickpath_backends.hdl.profile import PROFILE, Op
from tickpath_backends.hdl.verilated import RTL

Group = tuple[int, int]
"""(address, port) as integers."""
_NUMBER = re.compile(r"localparam int (\w+) = (\d+);")
_ALL = dict(_NUMBER.findall((RTL / "parse_counts.svh").read_text())) if RTL.is_dir() else {}
COUNTERS = {name.lower(): int(n) for name, n in _ALL.items() if name not in ("STROBES", "COUNTERS")}
"""Numbers of the counters by their names, as hdl/rtl/parse_counts.svh has them."""
HARDWARE_ONLY = frozenset(
    {
        *("frames_bad", "frames_lost", "frames_damaged", "operations", "trading_actions"),
        *("not_subscribed", "messages_overlong", "messages"),
    }
)
"""Counters that the software does not have by that name."""
_MAX_JUMP = int(lines.MAX_JUMP)
_U64 = (1 << 64) - 1
_MAX_TAGS = 4
_TAGS = (wire.ETHER_TYPE_VLAN, wire.ETHER_TYPE_QINQ, wire.ETHER_TYPE_QINQ_OLD)
_FRAGMENT = 0x3FFF
_PREFIX = MOLDUDP64["message_block"].length
_HEADER = MOLDUDP64["downstream_packet"]
_TYPES = {ord(message.type): message for message in ITCH50.messages}
_SIDES = {ord(code): word for code, word in ITCH50.enums["buy_sell_indicator"].items()}
_OPS: dict[str, tuple[Op, dict[str, str]]] = {
    "add_order_no_mpid_attribution": (
        Op.ADD,
        {"order_ref": "order_reference_number", "price": "price", "shares": "shares"},
    ),
    "add_order_with_mpid_attribution": (
        Op.ADD,
        {"order_ref": "order_reference_number", "price": "price", "shares": "shares"},
    ),
    "order_executed": (
        Op.EXECUTE,
        {"order_ref": "order_reference_number", "shares": "executed_shares"},
    ),
    "order_executed_with_price": (
        Op.EXECUTE,
        {
            "order_ref": "order_reference_number",
            "shares": "executed_shares",
            "price": "execution_price",
        },
    ),
    "order_cancel": (
        Op.CANCEL,
        {"order_ref": "order_reference_number", "shares": "canceled_shares"},
    ),
    "order_delete": (Op.DELETE, {"order_ref": "order_reference_number"}),
    "order_replace": (
        Op.REPLACE,
        {
            "order_ref": "original_order_reference_number",
            "new_order_ref": "new_order_reference_number",
            "price": "price",
            "shares": "shares",
        },
    ),
}


def value_of(message: Message, name: str, raw: bytes, at: int = 0) -> int:
    """A field as the big-endian number that its bytes spell."""
    each = message[name]
    return int.from_bytes(raw[at + each.offset : at + each.offset + each.size], "big")


class Said(NamedTuple):
    """One output: an operation, a trading action, or a gap (then only its line counts)."""

    what: str
    symbol: int = 0
    op: int = 0
    order_ref: int = 0
    new_order_ref: int = 0
    is_sell: int = 0
    price: int = 0
    shares: int = 0
    state: int = 0
    line: int = 0
    ts_event: int = 0
    input_number: int = 0
    tag: int = 0
    frame: int = 0
    end: int = 0
    """Of the message in its frame: bytes up to its last one."""


class Taken(NamedTuple):
    """A message that was taken: type (0: none), length, and its first byte in the frame."""

    type: int
    length: int
    at: int


@dataclass
class Line:
    """One line: the number of its next message, and what is believed of it."""

    session: bytes | None = None
    expected: int = 0
    seen: int = 0
    candidate: int = 0


class _Found(NamedTuple):
    """Of a frame's headers: why it is passed over, and the packet if its header was here."""

    reason: str | None
    at: int = 0
    end: int = 0
    line: int | None = None


@dataclass
class Front:
    """The front: ``groups`` gives the line of a group, ``symbols`` the symbol of a locate."""

    groups: Mapping[Group, int]
    symbols: Mapping[int, int]
    orders_live: bool = True
    locate_bits: int = 16
    counters: Counter[str] = field(default_factory=Counter)
    input_number: int = 0
    engine_time: int = 0
    frames: int = 0
    damaged: int = 0
    taken: list[Taken] = field(default_factory=list)
    """Messages of the last frame."""

    def __post_init__(self) -> None:
        self._lines = {line: Line() for line in self.groups.values()}

    def frame(self, raw: bytes, bad: bool = False) -> list[Said]:
        """Take a frame; gives what it makes, in order."""
        self.counters["packets"] += 1
        self.frames += 1
        self.taken = []
        found = self._headers(raw)
        said = []
        if bad:
            self.counters["frames_bad"] += 1
        elif found.reason:
            self.counters[found.reason] += 1
        if found.line is not None:
            if bad or found.reason:
                self.counters["frames_damaged"] += 1
                self.damaged += 1
            said = list(self._packet(raw, found))
        return said

    # ------------------------------------------------------------ headers

    def _headers(self, raw: bytes) -> _Found:
        cut = _Found("frame_truncated")
        ethernet, tag = wire.FRAME["ethernet"], wire.FRAME["vlan_tag"]
        if len(raw) < ethernet.length:
            return cut
        ether_type, at = value_of(ethernet, "ether_type", raw), ethernet.length
        for _ in range(_MAX_TAGS):
            if ether_type not in _TAGS:
                break
            if at + tag.length > len(raw):
                return cut
            ether_type, at = value_of(tag, "ether_type", raw, at), at + tag.length
        if ether_type != wire.ETHER_TYPE_IPV4:
            is_ipv6 = ether_type == wire.ETHER_TYPE_IPV6
            return _Found("ipv6" if is_ipv6 else "ether_type_other")
        return self._network(raw, at)

    def _network(self, raw: bytes, at: int) -> _Found:
        ip, udp = wire.FRAME["ipv4"], wire.FRAME["udp"]
        if at + ip.length > len(raw):
            return _Found("frame_truncated")
        version, words = divmod(value_of(ip, "version_ihl", raw, at), 16)
        total, header = value_of(ip, "total_length", raw, at), 4 * words
        if version != 4 or header < ip.length or total < header:
            return _Found("ipv4_invalid")
        cut = "frame_truncated" if at + total > len(raw) else None
        if value_of(ip, "flags_fragment_offset", raw, at) & _FRAGMENT:
            return _Found(cut or "ipv4_fragment")
        protocol = value_of(ip, "protocol", raw, at)
        if protocol != wire.IP_PROTOCOL_UDP:
            is_tcp = protocol == wire.IP_PROTOCOL_TCP
            return _Found(cut or ("tcp" if is_tcp else "ip_protocol_other"))
        address, end = value_of(ip, "destination_address", raw, at), at + total
        at += header
        if at + udp.length > len(raw):
            return _Found(cut or "udp_invalid")
        length = value_of(udp, "length", raw, at)
        if at + udp.length > end or length < udp.length or at + length > end:
            return _Found(cut or "udp_invalid")
        line = self.groups.get((address, value_of(udp, "destination_port", raw, at)))
        if line is None:
            return _Found(cut or "udp_other_group")
        if length < udp.length + _HEADER.length:
            return _Found(cut or "mold_invalid")
        if at + udp.length + _HEADER.length > len(raw):
            return _Found(cut)
        return _Found(cut, at + udp.length, at + length, line)

    # ------------------------------------------------------------ line

    def _packet(self, raw: bytes, found: _Found) -> Iterator[Said]:
        assert found.line is not None
        line, at = self._lines[found.line], found.at
        session = raw[at : at + _HEADER["session"].size]
        sequence = value_of(_HEADER, "sequence_number", raw, at)
        count = value_of(_HEADER, "message_count", raw, at)
        number = 0 if count == END_OF_SESSION else count
        if line.session != session:
            is_change = line.session is not None
            line.session, line.expected, line.seen = session, sequence, sequence
            self.counters["session_changes"] += is_change
            if is_change and self.orders_live:
                yield self._stale(found.line)
        if sequence > line.expected:
            known = max(line.expected, line.seen)
            if sequence > known and sequence - known > _MAX_JUMP and line.candidate != sequence:
                self.counters["sequence_jumps"] += 1
                line.candidate = (sequence + number) & _U64
                return
            self.counters["gaps"] += 1
            missed = self.counters["gap_messages"] + sequence - line.expected
            self.counters["gap_messages"] = missed & _U64
            line.expected = sequence
            line.seen = max(line.seen, (sequence + number) & _U64)
            yield self._stale(found.line)
        known = min(line.expected - sequence, number)
        self.counters["duplicate_messages"] += known
        self.counters["heartbeats"] += count == HEARTBEAT
        self.counters["end_of_session"] += count == END_OF_SESSION
        if known < number:
            yield from self._messages(raw, found, known, number, line)

    def _stale(self, line: int) -> Said:
        self.input_number += 1
        return Said("gapped", line=line, frame=self.frames - 1)

    # ------------------------------------------------------------ messages

    def _messages(
        self, raw: bytes, found: _Found, known: int, number: int, line: Line
    ) -> Iterator[Said]:
        at, end = found.at + _HEADER.length, found.end
        for which in range(number):
            if at + _PREFIX > end:
                self.counters["mold_truncated"] += 1
                return
            if at + _PREFIX > len(raw):
                return
            length = value_of(MOLDUDP64["message_block"], "message_length", raw, at)
            if at + _PREFIX + length > end:
                self.counters["mold_truncated"] += 1
                return
            if at + _PREFIX + length > len(raw):
                return
            at += _PREFIX
            if which >= known:
                line.expected = (line.expected + 1) & _U64
                yield from self._message(raw[at : at + length], at)
            at += length
        self.counters["mold_trailing_bytes"] += end - at

    def _message(self, m: bytes, at: int) -> Iterator[Said]:
        self.counters["messages"] += 1
        self.counters["messages_overlong"] += len(m) > PROFILE.message_bytes
        self.input_number += 1
        self.taken.append(Taken(m[0] if m else 0, len(m), at))
        message = _TYPES.get(m[0]) if m else None
        if message is None or message.length != len(m):
            is_unknown = message is None and bool(m)
            self.counters["unknown_type" if is_unknown else "wrong_length"] += 1
            return
        event = ITCH50["system_event"]
        now = value_of(event, "timestamp", m)
        self.counters["time_backwards"] += now < self.engine_time
        self.engine_time = max(now, self.engine_time)
        locate, name = value_of(event, "stock_locate", m), message.name
        op = _OPS[name][0] if name in _OPS else None
        names_symbol = op == Op.ADD or name == "stock_directory"
        if locate >> self.locate_bits or (names_symbol and locate == 0):
            self.counters["symbol_out_of_range"] += 1
            self.counters["not_subscribed"] += self._is_event(message, m)
            return
        if op == Op.ADD and value_of(message, "buy_sell_indicator", m) not in _SIDES:
            self.counters["side_invalid"] += 1
            return
        if not self._is_event(message, m):
            return
        symbol = self.symbols.get(locate)
        if symbol is None or locate == 0:
            self.counters["not_subscribed"] += 1
            return
        yield self._said(message, m, symbol, at + len(m))

    def _is_event(self, message: Message, m: bytes) -> bool:
        """Whether a message is an operation or a trading action."""
        if message.name not in _OPS:
            return message.name == "stock_trading_action"
        is_add = _OPS[message.name][0] == Op.ADD
        return not is_add or value_of(message, "buy_sell_indicator", m) in _SIDES

    def _said(self, message: Message, m: bytes, symbol: int, end: int) -> Said:
        common = {
            "symbol": symbol,
            "ts_event": self.engine_time,
            "input_number": self.input_number,
            "tag": self.frames & 0xFFFF,
            "frame": self.frames - 1,
            "end": end,
        }
        if message.name == "stock_trading_action":
            self.counters["trading_actions"] += 1
            return Said("action", state=value_of(message, "trading_state", m), **common)
        self.counters["operations"] += 1
        op, names = _OPS[message.name]
        values = {name: value_of(message, each, m) for name, each in names.items()}
        if op == Op.ADD:
            letter = value_of(message, "buy_sell_indicator", m)
            values["is_sell"] = int(_SIDES[letter] == "sell")
        return Said("operation", op=int(op), **values, **common)
