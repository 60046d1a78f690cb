"""A capture into streams: every message once, by its number, with the packets it came in.

MoldUDP64 and Sequenced Unit packets are told apart by which of them the packets are whole as.
Packets of a second line or sent twice repeat messages and add nothing.  What would make a feed that
nobody could follow is refused: missing messages, and two feeds that number the same messages.
A daily file has no packets: messages within a few microseconds share one.
"""

import ctypes
from collections import Counter
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from tickpath.capture import open_capture
from tickpath.decode_packet import payload
from tickpath.packet import LINK_DATAGRAM, LINK_MESSAGES
from tickpath.recovery import moldudp64, sequenced_unit
from tickpath.recovery.datagram import Datagram
from tickpath.serve.error import ServeError
from tickpath.serve.stream import Packed, Stream
from tickpath.wire.frame import IP_PROTOCOL_UDP
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64

MAX_STREAMS = 256
MAX_MESSAGES = 10_000_000
"""Messages of all streams together, which are kept in memory; a longer capture is refused."""
MAX_BYTES = 1_400
WINDOW_NS = 5_000
SESSION = "TICKPATH01"
"""The session of a daily file, which names none."""
CODECS: dict[str, Any] = {"itch50": moldudp64, "pitch": sequenced_unit}
_TIME = ITCH50["system_event"]["timestamp"]
_LENGTH = MOLDUDP64["message_block"]["message_length"].size


class _Gathered:
    """A stream being read."""

    def __init__(self, path: str, session: bytes, unit: int) -> None:
        self.path, self._session, self._unit = path, session, unit
        self.behind = 1
        """The number behind the last message."""
        self.messages: dict[int, bytes] = {}
        self.packets: list[Packed] = []

    def take(self, found: Datagram, ts_ns: int) -> int:
        """A packet's messages, of which known ones have to be the same; gives how many are new."""
        fresh = 0
        for number, message in enumerate(found.messages, found.sequence):
            known = self.messages.setdefault(number, message)
            if known is not message and known != message:
                raise ServeError(
                    f"{self.path}: two messages have number {number} of {self.name}: the capture "
                    "has more than one feed; cut it to one, by its group"
                )
            fresh += known is message
        if fresh == len(found.messages):
            self.packets.append(Packed(found.sequence, found.behind, ts_ns))
        self.behind = max(self.behind, found.behind)
        return fresh

    @property
    def name(self) -> str:
        """As a person reads it."""
        session = self._session.decode("latin-1").strip()
        return f"session {session}" if self._session else f"unit {self._unit}"

    def stream(self, codec: Any) -> Stream:
        """The stream, if nothing is missing."""
        numbers = sorted(self.messages)
        first, behind = numbers[0], numbers[-1] + 1
        if behind - first != len(numbers):
            hole = next(n for n in range(first, behind) if n not in self.messages)
            missing = behind - first - len(numbers)
            raise ServeError(
                f"{self.path}: {missing} messages of {self.name} are missing, the first is number "
                f"{hole}; a feed with holes cannot be served: merge both lines into one capture"
            )
        packets = _covering(sorted(self.packets), first, behind)
        messages = [self.messages[number] for number in numbers]
        return Stream(codec, self._session, self._unit, first, messages, packets)


def _covering(packets: Iterable[Packed], first: int, behind: int) -> list[Packed]:
    """Packets that have every message once: what none of them begins with gets one of its own."""
    covered: list[Packed] = []
    at = first
    last_ts = 0
    for each in packets:
        if each.first > at:
            covered.append(Packed(at, each.first, each.ts_ns))
            at = each.first
        if each.first == at:
            covered.append(each)
            at = each.behind
        last_ts = max(last_ts, each.ts_ns)
    if at < behind:
        covered.append(Packed(at, behind, last_ts))
    # Times that go back would make a packet wait for one behind it.
    high, ordered = 0, []
    for each in covered:
        high = max(high, each.ts_ns)
        ordered.append(each._replace(ts_ns=high))
    return ordered


def load(paths: Iterable[str], feed: str = "auto") -> list[Stream]:
    """The streams of captures.  Raises `ServeError` and `CaptureError`."""
    gathering = _Gathering(CODECS.get(feed))
    names = list(paths)
    for path in names:
        for link, raw, ts_ns in _records(path):
            gathering.take(path, link, raw, ts_ns)
    if not gathering.streams:
        raise ServeError(
            f"{', '.join(names)}: no ITCH over MoldUDP64 and no PITCH; name a capture of a feed"
        )
    return [each.stream(gathering.codec) for _, each in sorted(gathering.streams.items())]


class _Gathering:
    """All streams being read.  ``codec`` is None until one is recognised."""

    def __init__(self, codec: Any) -> None:
        self.codec = codec
        self.streams: dict[tuple[bytes, int], _Gathered] = {}
        self._counters: Counter[str] = Counter()  # of what is no feed, which a capture may have
        self._messages = 0

    def take(self, path: str, link: int, raw: bytes, ts_ns: int) -> None:
        """A record of a capture."""
        if link == LINK_MESSAGES:
            self.codec = self.codec or moldudp64
            session = moldudp64.session_name(SESSION)
            into = self._into(path, (session, 0))
            for packet, time_ns in _daily(path, raw, self.codec, session, into.behind):
                self._add(into, packet, time_ns)
            return
        datagram = raw if link == LINK_DATAGRAM else _datagram(link, raw, self._counters)
        if datagram is None:
            return
        self.codec = self.codec or _recognised(datagram)
        found = None if self.codec is None else self.codec.split(datagram)
        if found is not None and found.messages:
            self._add(self._into(path, (found.session, found.unit)), found, ts_ns)

    def _into(self, path: str, key: tuple[bytes, int]) -> _Gathered:
        if key not in self.streams:
            if len(self.streams) >= MAX_STREAMS:
                raise ServeError(f"{path}: more than {MAX_STREAMS} sessions or units")
            self.streams[key] = _Gathered(path, *key)
        return self.streams[key]

    def _add(self, into: _Gathered, found: Datagram, ts_ns: int) -> None:
        self._messages += into.take(found, ts_ns)
        if self._messages > MAX_MESSAGES:
            raise ServeError(
                f"{into.path}: more than {MAX_MESSAGES:,} messages, which are kept in memory; "
                "serve a part of it"
            )


def _records(path: str) -> Iterator[tuple[int, bytes, int]]:
    with open_capture(path) as capture:
        for packets in capture.batches():
            for each in packets:
                raw = ctypes.string_at(int(each["address"]), int(each["length"]))
                yield int(each["link"]), raw, int(each["ts_recv"])
        if capture.findings:
            raise ServeError(f"{capture.findings[0]}; serve a whole capture")


def _datagram(link: int, raw: bytes, counters: Counter[str]) -> bytes | None:
    carried = payload(link, raw, counters)
    if carried is None or carried.protocol != IP_PROTOCOL_UDP:
        return None
    return carried.data


def _recognised(datagram: bytes) -> ModuleType | None:
    """The protocol that a datagram is a whole packet of; None where it is none or says nothing."""
    for codec in (sequenced_unit, moldudp64):
        found = codec.split(datagram)
        if found is not None and found.messages:
            return codec
    return None


def _daily(
    path: str, run: bytes, codec: Any, session: bytes, first: int
) -> Iterator[tuple[Datagram, int]]:
    """A run of a daily file as packets, and their times."""
    if codec is not moldudp64:
        raise ServeError(f"{path}: a daily file is ITCH 5.0; serve it without --feed pitch")
    waiting: list[bytes] = []
    begun_ns = size = at = 0
    while at < len(run):
        length = int.from_bytes(run[at : at + _LENGTH], "big")
        message = run[at + _LENGTH : at + _LENGTH + length]
        at += _LENGTH + length
        is_timed = length >= _TIME.offset + _TIME.size
        time_ns = _TIME.get(message, _TIME.offset, "big") if is_timed else begun_ns
        size += codec.block_bytes(message)
        if waiting and (time_ns - begun_ns > WINDOW_NS or size > MAX_BYTES):
            yield Datagram(session, 0, first, waiting), begun_ns
            first += len(waiting)
            waiting, size = [], codec.block_bytes(message)
        if not waiting:
            begun_ns = time_ns
        waiting.append(message)
    if waiting:
        yield Datagram(session, 0, first, waiting), begun_ns
