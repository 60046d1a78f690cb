"""PITCH messages into Sequenced Unit packets, each unit's with its own sequence, on one group.

A unit's messages that follow each other within a few microseconds share a packet; it is sent when
that time is over or when it is full, so packets of different units overtake each other by as much,
as they do on the exchange.  A time message stands in front of a unit's first message in each
second.  Each unit breaks its own silence with heartbeats once it has said something.
"""

import numpy as np

from tickpath.generate.pace import FIRST_MESSAGE, LAST_MESSAGE, SECOND
from tickpath.generate.packets import (
    FRAMER,
    MAX_PAYLOAD,
    PAYLOAD,
    WINDOW_NS,
    framer,
    header_template,
    lend_packet,
    new_framer,
    put_headers,
)
from tickpath.generate.pitch import (
    LONGEST,
    block,
    convert,
    header,
    is_end,
    say_end,
    say_time,
    time_message,
)
from tickpath.generate.pitch_state import NO_SECOND, Translation, issue
from tickpath.generate.plan import SessionPlan
from tickpath.generate.state import FRAMER_REGION, inner, lend
from tickpath.generate.templates import PREFIX, SHORTEST
from tickpath.jit import entry
from tickpath.memory import accessors, copy_bytes, lend_message, lend_run
from tickpath.packet import PACKET
from tickpath.wire import hot
from tickpath.wire.pitch241 import PITCH241

GROUP = 0xE0003E02
"""224.0.62.2, a group of Cboe BZX's PITCH, and its port."""
PORT = 30_001

UNIT = np.dtype(
    [
        ("number", "<u8"),
        ("stage", "<u8"),  # where the messages of the packet being filled stand
        ("size", "<u8"),  # their bytes
        ("count", "<u8"),  # 0: there is no packet being filled
        ("opened", "<u8"),  # time of its first message, nanoseconds since midnight
        ("time", "<u8"),  # and of its last
        ("second", "<u8"),  # of the last time message; NO_SECOND before the first
        ("sequence", "<u8"),  # of the packet's first message
        ("last_sent", "<u8"),  # 0 before the first packet
        ("beat_at", "<u8"),  # bytes of the heartbeat since then; 0 where there was none
    ]
)
UNIT_FRAMER = np.dtype([*FRAMER.descr, ("units", "<u8"), ("unit_at", "<u8"), ("service_at", "<u8")])
"""A framer for units; ``service_at`` is no later than when one of them has something to send."""

_unit = accessors("unit", UNIT, FRAMER_REGION)
_units = accessors("unit_framer", UNIT_FRAMER, FRAMER_REGION)
_sequenced = hot.message(PITCH241["sequenced_unit_header"])
_TEMPLATE = PAYLOAD + _sequenced.LENGTH
_ROOM = np.uint64(MAX_PAYLOAD - LONGEST) - _sequenced.LENGTH - time_message.LENGTH
"""Bytes of messages up to which a packet takes one more."""
# The header counts messages in a byte, and the shortest ones are time messages.
assert MAX_PAYLOAD // PITCH241["time"].length < 1 << 8

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_WINDOW, _SECOND = np.uint64(WINDOW_NS), np.uint64(SECOND)
_NEVER = np.uint64(1 << 63)


@inner
def _put(f, u, size):
    """The headers of a unit's packet, at the buffer's end; the packet's length."""
    at = framer.out(f) + PAYLOAD
    length = put_headers(f, _TEMPLATE, size)
    _sequenced.set_length(at, _sequenced.LENGTH + size)
    _sequenced.set_count(at, _unit.count(u))
    _sequenced.set_unit(at, _unit.number(u))
    _sequenced.set_sequence(at, _unit.sequence(u))
    return length


@inner
def _send(f, u, p):
    """Send the packet that a unit was filling; the address of the next packet record."""
    out, size = framer.out(f), _unit.size(u)
    length = _put(f, u, size)
    copy_bytes(out + _TEMPLATE, _unit.stage(u), size)
    framer.set_out(f, out + length)
    _unit.set_sequence(u, _unit.sequence(u) + _unit.count(u))
    _unit.set_count(u, _ZERO)
    _unit.set_size(u, _ZERO)
    _unit.set_beat_at(u, _ZERO)
    _unit.set_last_sent(u, _unit.time(u))
    return lend_packet(f, p, out, length, _unit.time(u))


@inner
def _beat(f, u, p):
    """A unit's next heartbeat; those of one silence share their bytes."""
    if _unit.beat_at(u) == _ZERO:
        _unit.set_beat_at(u, framer.out(f))
        framer.set_out(f, framer.out(f) + _put(f, u, _ZERO))
    sent = _unit.last_sent(u) + framer.heartbeat(f)
    _unit.set_last_sent(u, sent)
    framer.set_heartbeats(f, framer.heartbeats(f) + _ONE)
    return lend_packet(f, p, _unit.beat_at(u), _TEMPLATE, sent)


@inner
def _due(f, u):
    """When a unit has something to send if nothing more is said."""
    if _unit.count(u) != _ZERO:
        return _unit.opened(u) + _WINDOW
    if framer.heartbeat(f) == _ZERO or _unit.last_sent(u) == _ZERO:
        return _NEVER
    return _unit.last_sent(u) + framer.heartbeat(f)


@inner
def _serve(f, p, until):
    """Send what is due before ``until``, in the order of time; the next packet record."""
    while True:
        first, due = _units.unit_at(f), _NEVER
        for number in range(_units.units(f)):
            u = _units.unit_at(f) + np.uint64(number) * _unit.SIZE
            if _due(f, u) < due:
                first, due = u, _due(f, u)
        if due >= until:
            _units.set_service_at(f, due)
            return p
        p = _send(f, first, p) if _unit.count(first) != _ZERO else _beat(f, first, p)


@inner
def _extend(t, f, u, p, m, time, is_last):
    """Say the ITCH message at ``m`` in a unit's packet; the next packet record."""
    if _unit.size(u) > _ROOM:
        p = _send(f, u, p)
    second = time // _SECOND
    offset, at = time - second * _SECOND, _unit.stage(u) + _unit.size(u)
    lead = _ZERO if second == _unit.second(u) else time_message.LENGTH
    length = say_end(t, at + lead, offset) if is_last else convert(t, m, at + lead, offset)
    if length == _ZERO:
        return p
    said = _ONE
    if lead != _ZERO:
        say_time(t, at, second)
        _unit.set_second(u, second)
        said += _ONE
    if _unit.count(u) == _ZERO:
        _unit.set_opened(u, time)
        _units.set_service_at(f, min(_units.service_at(f), time + _WINDOW))
    _unit.set_count(u, _unit.count(u) + said)
    _unit.set_size(u, _unit.size(u) + lead + length)
    _unit.set_time(u, time)
    return p


@entry
def frame_units(t, f, at, end, p):
    """Packets for the ITCH messages in ``[at, end)``: records from address ``p`` on; their end.

    What is being filled at the end goes on with the next messages.
    """
    lend_message(at, end)
    lend_run(at, end)
    while at < end:
        m = at + PREFIX
        at = m + block.message_length(at)
        time = header.timestamp(m)
        if _units.service_at(f) < time:
            p = _serve(f, p, time)
        if header.stock_locate(m) != _ZERO:
            y = issue.at(t, header.stock_locate(m) - _ONE)
            u = _units.unit_at(f) + issue.unit(y) * _unit.SIZE
            p = _extend(t, f, u, p, m, time, False)
        elif is_end(m):
            for number in range(_units.units(f)):
                u = _units.unit_at(f) + np.uint64(number) * _unit.SIZE
                p = _extend(t, f, u, p, m, time, True)
    return p


@entry
def send_rest(f, p):
    """Send what every unit was filling; the end of the packet records."""
    for number in range(_units.units(f)):
        u = _units.unit_at(f) + np.uint64(number) * _unit.SIZE
        if _unit.count(u) != _ZERO:
            p = _send(f, u, p)
    return p


class UnitFraming:
    """Packets of a session's units, chunk after chunk; its buffers hold those of any one chunk."""

    def __init__(
        self, owner: object, plan: SessionPlan, translation: Translation, jitter: int, chunk: int
    ) -> None:
        """For chunks of at most ``chunk`` bytes; lives as long as ``owner``."""
        self._translation = translation
        self._template = header_template(GROUP, PORT, PITCH241["sequenced_unit_header"].encode())
        most = chunk // SHORTEST + 2 * plan.units + 1
        beats = 0
        if plan.heartbeat_s:
            beats = plan.units * ((LAST_MESSAGE - FIRST_MESSAGE) // (plan.heartbeat_s * SECOND) + 1)
        self._packets = np.zeros(most + beats, PACKET)
        # What was staged, a chunk with a time message before each message, two headers a packet.
        longest = int(time_message.LENGTH) + 2 * int(_TEMPLATE)
        room = plan.units * MAX_PAYLOAD + chunk + most * longest
        self.wire = np.zeros(room, np.uint8)
        self._stages = np.zeros((plan.units, MAX_PAYLOAD), np.uint8)
        self._units = np.zeros(plan.units, UNIT)
        self._units["number"] = np.arange(1, plan.units + 1)
        self._units["stage"] = [stage.ctypes.data for stage in self._stages]
        self._units["second"], self._units["sequence"] = NO_SECOND, 1
        self._record = new_framer(UNIT_FRAMER, plan, jitter, self._template)
        self._record["units"], self._record["service_at"] = plan.units, int(_NEVER)
        self._record["unit_at"] = lend(owner, self._units, FRAMER_REGION)
        self._framer = np.uint64(lend(owner, self._record, FRAMER_REGION))

    @property
    def packets_sent(self) -> int:
        """Packets so far, heartbeats among them."""
        return int(self._record["packet_number"][0])

    @property
    def heartbeats(self) -> int:
        """Heartbeats so far."""
        return int(self._record["heartbeats"][0])

    def frame(self, chunk: np.ndarray, is_last: bool) -> np.ndarray:
        """The packets of a chunk of ITCH messages, ``PACKET[n]`` until the next call."""
        self._record["out"] = self.wire.ctypes.data
        self._units["beat_at"] = 0  # their bytes were in the buffer that begins anew
        first, begin = np.uint64(self._packets.ctypes.data), np.uint64(chunk.ctypes.data)
        end = begin + np.uint64(len(chunk))
        after = frame_units(self._translation.address, self._framer, begin, end, first)
        if is_last:
            after = send_rest(self._framer, np.uint64(after))
        return self._packets[: (int(after) - int(first)) // PACKET.itemsize]
