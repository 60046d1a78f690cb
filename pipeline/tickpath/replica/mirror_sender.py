"""Sending a ring of inputs to other hosts (`replica.mirror`).

A receiver has at most `Settings.window_bytes` under way, and is forgotten when nothing was heard of
it for `Settings.silence_ms`.  One that lags by more than the ring keeps is told so, and begins
anew.

With a multicast group what is new is sent once, for all, as fast as the slowest of them says; what
somebody misses is sent to whom it is missing.
"""

from collections import Counter
from typing import Any, NamedTuple

from tickpath.publish import LARGEST
from tickpath.replica import plan
from tickpath.replica.mirror import MILLISECOND_NS, Address, Settings, datagram, read
from tickpath.replica.ring import Ring
from tickpath.wire.mirror import MIRROR

NOTED = 256
"""Ranges that are noted as missing, of each receiver."""
RESENT_BYTES = 1 << 18
"""What one request for missing bytes brings at most; the rest is asked for again."""
RECEIVERS = 4
_AHEAD = MIRROR["data"].length


class _Course:
    """Up to where the ring was sent: to one receiver, or to a group of them."""

    def __init__(self, address: Address, is_plan: bool) -> None:
        self.address, self.is_plan = address, is_plan
        self.sent = -1  # a position; -1: nobody has said yet where to begin
        self.whole_until = 0
        """Up to here bytes are sent as they are: no record begins at ``sent``."""
        self.beat_ns = 0


class _Mirror:
    """What the sender knows of a receiver."""

    def __init__(self, name: str, slot: int, now_ns: int, course: _Course) -> None:
        self.name, self.slot, self.heard_ns, self.course = name, slot, now_ns, course
        self.known = -1
        self.missing: list[tuple[int, int]] = []


class Way(NamedTuple):
    """A receiver that takes the ring's bytes as they are: others may go on with it."""

    address: Address
    slot: int
    known: int
    sent: int


class Sender:
    """Mirrors one ring to up to `RECEIVERS` receivers."""

    def __init__(
        self, ring: Ring, settings: Settings | None = None, group: Address | None = None
    ) -> None:
        """``group`` is a multicast group that what is new is sent to, instead of to each."""
        self.ring, self.settings = ring, settings or Settings()
        self.stream = int(ring.header["identity"])
        self.capacity = int(ring.header["capacity"])
        self.counters: Counter[str] = Counter()
        self._group = group
        self._mirrors: dict[Address, _Mirror] = {}
        self._shared: dict[bool, _Course] = {}

    # ------------------------------------------------------------ what receivers say

    def take(self, raw: bytes, source: Address, now_ns: int) -> list[bytes]:
        """A datagram of a receiver; gives the answers to it."""
        fields = read(raw)
        if fields is None:
            self.counters["damaged"] += 1
            return []
        if fields["message"] == "join":
            return self._join(fields, source, now_ns)
        mirror = self._mirrors.get(source)
        if mirror is None or fields["stream"] != self.stream:
            self.counters["strangers"] += 1
            return self._gone(fields)
        mirror.heard_ns = now_ns
        if fields["message"] == "ack":
            self._acknowledge(mirror, fields)
        elif fields["message"] == "nak" and fields["length"]:
            return self._nak(mirror, fields)
        return []

    def _gone(self, fields: dict[str, Any]) -> list[bytes]:
        """Who has a ring that was here before is told at once, instead of by silence."""
        if fields["message"] != "ack" or fields["stream"] == self.stream:
            return []
        return [datagram("lost", fields["stream"], position=fields["position"])]

    def _join(self, fields: dict[str, Any], source: Address, now_ns: int) -> list[bytes]:
        name = fields["name"].rstrip()
        mirror = self._mirrors.get(source)
        if mirror is None:
            slot = self.ring.place_of(name)
            if slot is None or len(self._mirrors) == RECEIVERS:
                self.counters["refused"] += 1
                return []
            # Of the same name in an earlier life: its silence must not take the place away.
            self._mirrors = {at: each for at, each in self._mirrors.items() if each.name != name}
            course = self._course(source, bool(fields["takes_plan"]))
            mirror = self._mirrors[source] = _Mirror(name, slot, now_ns, course)
        mirror.heard_ns = now_ns
        if fields["stream"] == self.stream:
            return []  # it says where it stands by its acknowledgement
        head, number = self.ring.place
        mirror.known = head
        mirror.missing.clear()
        if self._group is None or mirror.course.sent < 0:
            self._go_on_from(mirror.course, head)
        place = {"number": number, "epoch": int(self.ring.header["epoch"]), "beats": 0}
        return [datagram("start", self.stream, position=head, capacity=self.capacity, **place)]

    def _course(self, source: Address, takes_plan: bool) -> _Course:
        if self._group is None:
            return _Course(source, takes_plan)
        # Whoever takes no plan has one of its own: what it cannot use is dropped there.
        return self._shared.setdefault(takes_plan, _Course(self._group, takes_plan))

    def _go_on_from(self, course: _Course, position: int) -> None:
        course.sent = position
        if course.is_plan:
            begin = plan.boundary(self.ring, position)
            course.whole_until = int(self.ring.header["head"]) if begin is None else begin

    def _acknowledge(self, mirror: _Mirror, fields: dict[str, Any]) -> None:
        head = int(self.ring.header["head"])
        if fields["position"] > head:
            self.counters["strangers"] += 1
            return
        mirror.known = max(mirror.known, fields["position"])
        if mirror.course.sent < mirror.known and (self._group is None or mirror.course.sent < 0):
            self._go_on_from(mirror.course, mirror.known)
        mine = self.ring.followers[mirror.slot]
        mine["acknowledged"] = max(int(mine["acknowledged"]), fields["number"])
        for name in ("taken", "incarnation", "ready", "echo"):
            mine[name] = fields[name]
        mine["epoch"] = fields["follower_epoch"]

    def _is_kept(self, position: int) -> bool:
        """Whether the ring has the bytes from a position on, and will while they are sent."""
        kept = self.capacity - self.capacity // int(LARGEST)
        return int(self.ring.header["head"]) - position <= kept

    def _nak(self, mirror: _Mirror, fields: dict[str, Any]) -> list[bytes]:
        begin = fields["position"]
        end = min(begin + min(fields["length"], RESENT_BYTES), int(self.ring.header["head"]))
        self.counters["naks"] += 1
        if not self._is_kept(begin):
            self.counters["lost"] += 1
            return [datagram("lost", self.stream, position=begin)]
        if begin < end:
            mirror.missing.append((begin, end))
            del mirror.missing[:-NOTED]
        return []

    # ------------------------------------------------------------ who else sends

    def ways(self) -> list[Way]:
        """The receivers that bytes may be sent to, and acknowledgements taken from, without us."""
        return [
            Way(address, each.slot, each.known, each.course.sent)
            for address, each in self._mirrors.items()
            if self._group is None
            and not each.course.is_plan
            and min(each.known, each.course.sent) >= 0
        ]

    def went_on(self, way: Way, now_ns: int, was_heard: bool) -> None:
        """What somebody else has sent, and heard, of one of `ways`."""
        mirror = self._mirrors[way.address]
        mirror.known, mirror.course.sent = way.known, way.sent
        if was_heard:
            mirror.heard_ns = now_ns

    # ------------------------------------------------------------ what is sent

    def send(self, now_ns: int, most: int = 256) -> list[tuple[Address, bytes]]:
        """What is to be sent now: at most ``most`` datagrams on each course, and beats."""
        out: list[tuple[Address, bytes]] = []
        for address, mirror in list(self._mirrors.items()):
            if now_ns - mirror.heard_ns > self.settings.silence_ms * MILLISECOND_NS:
                self.counters["silent"] += 1
                self.ring.leave(mirror.slot)
                del self._mirrors[address]
                continue
            out += [(address, each) for each in self._missing(mirror, most)]
        for course, mirrors in self._courses():
            datagrams = self._new(course, mirrors, most)
            if not datagrams and now_ns - course.beat_ns >= self.settings.beat_ms * MILLISECOND_NS:
                datagrams = [datagram("beat", self.stream, **self._place())]
            if datagrams:
                course.beat_ns = now_ns
            out += [(course.address, each) for each in datagrams]
        return out

    def _courses(self) -> list[tuple[_Course, list[_Mirror]]]:
        found: dict[int, tuple[_Course, list[_Mirror]]] = {}
        for mirror in self._mirrors.values():
            found.setdefault(id(mirror.course), (mirror.course, []))[1].append(mirror)
        for is_plan in [each for each in self._shared if id(self._shared[each]) not in found]:
            del self._shared[is_plan]
        return list(found.values())

    def _place(self) -> dict[str, int]:
        header = self.ring.header
        names = ("head", "number", "epoch", "committed", "epoch_began")
        return {name: int(header[name]) for name in names} | {"beats": int(header["beat"])}

    def _missing(self, mirror: _Mirror, most: int) -> list[bytes]:
        """What was asked for again."""
        room = self.settings.datagram_bytes - _AHEAD
        out: list[bytes] = []
        while mirror.missing and len(out) < most:
            begin, end = mirror.missing.pop(0)
            out.append(self._piece(begin, min(end, begin + room)))
            begin += len(out[-1]) - _AHEAD
            self.counters["resent_bytes"] += len(out[-1]) - _AHEAD
            if begin < end:
                mirror.missing.insert(0, (begin, end))
        return out

    def _new(self, course: _Course, mirrors: list[_Mirror], most: int) -> list[bytes]:
        """What goes on where this course stands."""
        known = min((each.known for each in mirrors if each.known >= 0), default=-1)
        if course.sent < 0 or known < 0:
            return []
        end = min(int(self.ring.header["head"]), known + self.settings.window_bytes)
        out: list[bytes] = []
        while course.sent < end and len(out) < most:
            if not self._is_kept(course.sent):
                self.counters["lost"] += 1
                lost = datagram("lost", self.stream, position=course.sent)
                course.sent = -1  # until somebody has joined again
                return [lost]
            out.append(self._next(course, end))
        return out

    def _next(self, course: _Course, end: int) -> bytes:
        room = self.settings.datagram_bytes - _AHEAD
        begin = course.sent
        if course.is_plan and begin >= course.whole_until:
            raw, behind = plan.cut(self.ring, begin, end, room)
            if raw:
                course.sent = behind
                self.counters["sent_bytes"] += len(raw)
                self.counters["planned_bytes"] += behind - begin - len(raw)
                return datagram("plan", self.stream, position=begin, **self._place(), bytes=raw)
            course.whole_until = behind
        until = min(end, course.whole_until) if course.is_plan else end
        piece = self._piece(begin, min(until, begin + room))
        course.sent += len(piece) - _AHEAD
        return piece

    def _piece(self, begin: int, end: int) -> bytes:
        """Bytes as they are; a piece ends where the ring does."""
        raw = self.ring.read(begin, end - begin)
        self.counters["sent_bytes"] += len(raw)
        return datagram("data", self.stream, position=begin, **self._place(), bytes=raw)
