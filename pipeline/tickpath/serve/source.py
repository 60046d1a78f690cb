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
        self._path, self._session, self._unit = path, session, unit
        self.messages: dict[int, bytes] = {}
        self.packets: list[Packed] = []

    def take(self, found: Datagram, ts_ns: int) -> None:
        """A packet's messages; those that are known already have to be the same."""
        fresh = 0
        for number, message in enumerate(found.messages, found.sequence):
            known = self.messages.setdefault(number, message)
            if known is not message and known != message:
                raise ServeError(
                    f"{self._path}: two messages have number {number} of {self.name}: the capture "
                    "has more than one feed; cut it to one, by its group"
                )
            fresh += known is message
        if fresh == len(found.messages):
            self.packets.append(Packed(found.sequence, found.behind, ts_ns))

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
                f"{self._path}: {missing} messages of {self.name} are missing, the first is number "
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
    gathered: dict[tuple[bytes, int], _Gathered] = {}
    codec = CODECS.get(feed)
    counters: Counter[str] = Counter()
    names = list(paths)
    for path in names:
        for link, raw, ts_ns in _records(path):
            if link == LINK_MESSAGES:
                codec = codec or moldudp64
                _daily(path, raw, codec, gathered)
                continue
            datagram = raw if link == LINK_DATAGRAM else _datagram(link, raw, counters)
            if datagram is None:
                continue
            codec = codec or _recognised(datagram)
            found = None if codec is None else codec.split(datagram)
            if found is None:
                counters["datagrams_other"] += 1
            elif found.messages:
                key = found.session, found.unit
                if key not in gathered and len(gathered) >= MAX_STREAMS:
                    raise ServeError(f"{path}: more than {MAX_STREAMS} sessions or units")
                if key not in gathered:
                    gathered[key] = _Gathered(path, *key)
                gathered[key].take(found, ts_ns)
    if not gathered:
        raise ServeError(
            f"{', '.join(names)}: no ITCH over MoldUDP64 and no PITCH; name a capture of a feed"
        )
    return [gathered[key].stream(codec) for key in sorted(gathered)]


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


def _daily(path: str, run: bytes, codec: Any, gathered: dict) -> None:
    """A run of a daily file, as packets."""
    if codec is not moldudp64:
        raise ServeError(f"{path}: a daily file is ITCH 5.0; serve it without --feed pitch")
    session = moldudp64.session_name(SESSION)
    into = gathered.setdefault((session, 0), _Gathered(path, session, 0))
    waiting: list[bytes] = []
    begun_ns = size = at = 0
    while at < len(run):
        length = int.from_bytes(run[at : at + _LENGTH], "big")
        message = run[at + _LENGTH : at + _LENGTH + length]
        at += _LENGTH + length
        time_ns = _TIME.get(message, _TIME.offset, "big") if length > _TIME.offset else begun_ns
        size += codec.block_bytes(message)
        if waiting and (time_ns - begun_ns > WINDOW_NS or size > MAX_BYTES):
            _close(into, session, waiting, begun_ns)
            waiting, size = [], codec.block_bytes(message)
        if not waiting:
            begun_ns = time_ns
        waiting.append(message)
    _close(into, session, waiting, begun_ns)


def _close(into: _Gathered, session: bytes, messages: list[bytes], ts_ns: int) -> None:
    if messages:
        into.take(Datagram(session, 0, len(into.messages) + 1, list(messages)), ts_ns)
