"""A ring of inputs on another host: what is sent and received, without sockets (`wire.mirror`).

    sender     reads a ring; sends what is new, what is asked for again, and beats
    receiver   writes a ring of its own, byte for byte the same; asks for what is missing

Data may get lost, come twice or out of order.  The mirror's head moves only over whole records that
are there, so that who follows it sees what it would see on the ring itself.  A sender has at most
`Settings.window_bytes` under way to a receiver, and forgets one that it has not heard of for
`Settings.silence_ms`; a receiver keeps note of at most `HOLES` missing ranges and drops what would
make more, which it gets again later.

A receiver that lags by more than the ring keeps is told so; its mirror is marked as broken then and
begun anew, and whoever follows it needs a snapshot.
"""

import zlib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from tickpath.config import Component
from tickpath.jit import entry
from tickpath.memory import cycles, store_release
from tickpath.publish import DATA_OFFSET, HEAD_OFFSET, HEADER, LARGEST, ring, set_mark, size_of
from tickpath.replica.ring import Ring, record
from tickpath.wire.inputs import Kind
from tickpath.wire.mirror import MAGIC, MIRROR, VERSION
from tickpath.wire.table import WireError

__all__ = ["HOLES", "Receiver", "Sender", "Settings"]

HOLES = 256
NAKS_AT_ONCE = 16
RESENT_BYTES = 1 << 18
"""What one request for missing bytes brings at most; the rest is asked for again."""
RECEIVERS = 4
_CHECKED_FROM = MIRROR["beat"]["stream"].offset
_CHECK = MIRROR["beat"]["check"]
MILLISECOND_NS = 1_000_000
ZERO, ONE = np.uint64(0), np.uint64(1)
_DATA, _PAD = np.uint64(DATA_OFFSET), np.uint64(Kind.PAD)

Address = tuple[str, int]


class Settings(Component, frozen=True):
    """How a mirror is kept."""

    datagram_bytes: Annotated[int, Meta(ge=512, le=65_507)] = 1_472
    """Largest UDP payload: 1,472 for Ethernet, more where frames are larger."""
    window_bytes: Annotated[int, Meta(ge=65_536)] = 1 << 20
    """Bytes under way to a receiver; its socket's buffer has to hold twice as much."""
    beat_ms: Annotated[int, Meta(ge=1)] = 10
    resend_ms: Annotated[int, Meta(ge=1)] = 2
    """How long a receiver waits before it asks again for what is missing."""
    silence_ms: Annotated[int, Meta(ge=1)] = 1_000
    """How long one does without hearing of the other before it is taken for gone."""


def datagram(kind: str, stream: int, **values: Any) -> bytes:
    """A datagram with its check."""
    raw = MIRROR[kind].encode(magic=MAGIC, version=VERSION, stream=stream, **values)
    check = zlib.crc32(raw[_CHECKED_FROM:]).to_bytes(_CHECK.size, "big")
    return raw[: _CHECK.offset] + check + raw[_CHECKED_FROM:]


def read(raw: bytes) -> dict[str, Any] | None:
    """A datagram's fields; None for one that is damaged or not of this protocol."""
    try:
        fields = MIRROR.decode(raw)
    except WireError:
        return None
    if fields["magic"] != MAGIC or fields["version"] != VERSION:
        return None
    return fields if fields["check"] == zlib.crc32(raw[_CHECKED_FROM:]) else None


# ---------------------------------------------------------------- the sender


class _Mirror:
    """What the sender knows of a receiver."""

    def __init__(self, name: str, slot: int, now_ns: int) -> None:
        self.name, self.slot, self.heard_ns = name, slot, now_ns
        self.sent = self.known = -1  # positions; -1: it has not said yet where it stands
        self.missing: list[tuple[int, int]] = []
        self.beat_ns = 0


class Sender:
    """Mirrors one ring to up to `RECEIVERS` receivers."""

    def __init__(self, ring: Ring, settings: Settings | None = None) -> None:
        self.ring, self.settings = ring, settings or Settings()
        self.stream = int(ring.header["identity"])
        self.capacity = int(ring.header["capacity"])
        self.counters: Counter[str] = Counter()
        self._mirrors: dict[Address, _Mirror] = {}

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
            return []
        mirror.heard_ns = now_ns
        if fields["message"] == "ack":
            self._acknowledge(mirror, fields)
        elif fields["message"] == "nak" and fields["length"]:
            return self._nak(mirror, fields)
        return []

    def _join(self, fields: dict[str, Any], source: Address, now_ns: int) -> list[bytes]:
        name = fields["name"].rstrip()
        mirror = self._mirrors.get(source)
        if mirror is None:
            slot = self.ring.place_of(name)
            if slot is None or len(self._mirrors) == RECEIVERS:
                self.counters["refused"] += 1
                return []
            mirror = self._mirrors[source] = _Mirror(name, slot, now_ns)
        mirror.heard_ns = now_ns
        if fields["stream"] == self.stream:
            return []  # it says where it stands by its acknowledgement
        head, number = self.ring.place
        mirror.sent = mirror.known = head
        mirror.missing.clear()
        place = {"number": number, "epoch": int(self.ring.header["epoch"]), "beats": 0}
        return [datagram("start", self.stream, position=head, capacity=self.capacity, **place)]

    def _acknowledge(self, mirror: _Mirror, fields: dict[str, Any]) -> None:
        head = int(self.ring.header["head"])
        if fields["position"] > head:
            self.counters["strangers"] += 1
            return
        mirror.known = max(mirror.known, fields["position"])
        mirror.sent = max(mirror.sent, mirror.known)
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
            del mirror.missing[:-HOLES]
        return []

    def send(self, now_ns: int, most: int = 256) -> list[tuple[Address, bytes]]:
        """What is to be sent now: at most ``most`` datagrams to each receiver, and beats."""
        out: list[tuple[Address, bytes]] = []
        for address, mirror in list(self._mirrors.items()):
            if now_ns - mirror.heard_ns > self.settings.silence_ms * MILLISECOND_NS:
                self.counters["silent"] += 1
                self.ring.leave(mirror.slot)
                del self._mirrors[address]
                continue
            datagrams = self._data(mirror, most)
            if not datagrams and now_ns - mirror.beat_ns >= self.settings.beat_ms * MILLISECOND_NS:
                datagrams = [datagram("beat", self.stream, **self._place())]
            if datagrams:
                mirror.beat_ns = now_ns
            out += [(address, each) for each in datagrams]
        return out

    def _place(self) -> dict[str, int]:
        header = self.ring.header
        names = ("head", "number", "epoch", "committed", "epoch_began")
        return {name: int(header[name]) for name in names} | {"beats": int(header["beat"])}

    def _data(self, mirror: _Mirror, most: int) -> list[bytes]:
        if mirror.sent < 0:
            return []
        room = self.settings.datagram_bytes - MIRROR["data"].length
        out: list[bytes] = []
        while mirror.missing and len(out) < most:
            begin, end = mirror.missing.pop(0)
            out.append(self._piece(begin, min(end, begin + room)))
            begin += len(out[-1]) - MIRROR["data"].length
            if begin < end:
                mirror.missing.insert(0, (begin, end))
        head = int(self.ring.header["head"])
        end = min(head, mirror.known + self.settings.window_bytes)
        while mirror.sent < end and len(out) < most:
            if not self._is_kept(mirror.sent):
                self.counters["lost"] += 1
                lost = datagram("lost", self.stream, position=mirror.sent)
                mirror.sent = -1  # until it has joined again
                return [lost]
            out.append(self._piece(mirror.sent, min(end, mirror.sent + room)))
            mirror.sent += len(out[-1]) - MIRROR["data"].length
        return out

    def _piece(self, begin: int, end: int) -> bytes:
        raw = self.ring.read(begin, end - begin)
        self.counters["sent_bytes"] += len(raw)
        return datagram("data", self.stream, position=begin, **self._place(), bytes=raw)


# ---------------------------------------------------------------- the receiver


@entry
def _advance(r, contiguous):
    """Move a mirror's head over the whole records before a position; 1 where one is damaged."""
    head, capacity = ring.head(r), ring.capacity(r)
    damaged = ZERO
    while head < contiguous:
        place = head & (capacity - ONE)
        left = capacity - place
        if left < HEADER:
            if head + left > contiguous:
                break
            head += left
            continue
        if head + HEADER > contiguous:
            break
        out = r + _DATA + place
        size = size_of(record.length(out))
        if size > left:
            damaged = ONE
            break
        if head + size > contiguous:
            break
        if record.kind(out) != _PAD:
            set_mark(r, head, record.number(out))
            ring.set_number(r, record.number(out))
        head += size
    store_release(r + HEAD_OFFSET, head)
    return damaged


@entry
def _now():
    return cycles()


class Receiver:
    """Keeps a mirror in the ring file ``path``, under ``name`` on the sender's side."""

    def __init__(self, path: Path, name: str, settings: Settings | None = None) -> None:
        self.path, self.name = path, name
        self.settings = settings or Settings()
        self.ring: Ring | None = None
        self.counters: Counter[str] = Counter()
        self.stream = 0
        self.epoch = self.behind = 0
        self._top = 0  # the highest position that was heard of
        self._holes: list[list[int]] = []  # [begin, end, when it was asked for last]
        self._beats = -1
        self._heard_ns = self._asked_ns = -(1 << 62)

    @property
    def contiguous(self) -> int:
        """The position up to which everything is there."""
        return self._holes[0][0] if self._holes else self._top

    def take(self, raw: bytes, now_ns: int) -> list[bytes]:
        """A datagram of the sender; gives what is to be answered at once."""
        fields = read(raw)
        if fields is None:
            self.counters["damaged"] += 1
            return []
        if fields["message"] == "start":
            self._start(fields, now_ns)
            return [self._ack()]
        if fields["stream"] != self.stream or self.ring is None:
            self.counters["strangers"] += 1
            return []
        self._heard_ns = now_ns
        if fields["message"] == "lost":
            if fields["position"] >= self.contiguous:
                self._break()
                return [self._join(now_ns)]
            return []
        if fields["message"] in ("data", "beat"):
            return self._data(fields, now_ns)
        return []

    def _start(self, fields: dict[str, Any], now_ns: int) -> None:
        if fields["stream"] == self.stream:
            self.counters["repeated"] += 1
            return
        self._break()
        self.ring = Ring.create(self.path, fields["capacity"])
        header = self.ring.header
        header["head"], header["number"] = fields["position"], fields["number"]
        header["identity"], header["epoch"] = fields["stream"], fields["epoch"]
        self.stream, self._top, self._holes = fields["stream"], fields["position"], []
        self._heard_ns, self._beats = now_ns, -1
        self.counters["starts"] += 1

    def _break(self) -> None:
        """Whoever follows the mirror has lost its place."""
        if self.ring is not None:
            self.ring.header["broken"] = 1
            self.counters["broken"] += 1
        self.ring, self.stream = None, 0

    def _data(self, fields: dict[str, Any], now_ns: int) -> list[bytes]:
        assert self.ring is not None
        header = self.ring.header
        if fields["epoch"] >= self.epoch:
            self.epoch = fields["epoch"]
            header["committed"] = max(int(header["committed"]), fields["committed"])
            header["epoch_began"], header["epoch"] = fields["epoch_began"], self.epoch
        if fields["beats"] != self._beats:
            # Times of another host's clock say nothing here: what counts is that it goes on.
            self._beats, header["beat"] = fields["beats"], int(_now())
        if fields["message"] == "data":
            self._keep(fields["position"], fields["bytes"])
            if _advance(self.ring.address, np.uint64(self.contiguous)):
                self._break()
                return [self._join(now_ns)]
        elif fields["head"] > self._top and self._fits(fields["head"]):
            self._note_hole(self._top, fields["head"])
        self.behind = max(0, fields["number"] - int(header["number"]))
        return []

    def _fits(self, end: int) -> bool:
        assert self.ring is not None
        capacity = int(self.ring.header["capacity"])
        return end - self.contiguous <= capacity // 2

    def _note_hole(self, begin: int, end: int) -> bool:
        if len(self._holes) >= HOLES:
            self.counters["dropped"] += 1
            return False
        self._holes.append([begin, end, 0])
        self._top = end
        return True

    def _keep(self, begin: int, raw: bytes) -> None:
        """Put bytes at their position, and note what is missing before them."""
        assert self.ring is not None
        end = begin + len(raw)
        if end <= self.contiguous:
            self.counters["repeated"] += 1
            return
        if not self._fits(end):
            self.counters["dropped"] += 1
            return
        # Only what is missing is written: readers may be in what is there.
        first = max(begin, self.contiguous)
        if begin > self._top and not self._note_hole(self._top, begin):
            return
        self._top = max(self._top, end)
        self.ring.write(first, raw[first - begin :])
        self._fill(begin, end)

    def _fill(self, begin: int, end: int) -> None:
        left: list[list[int]] = []
        for hole in self._holes:
            first, last, asked = hole
            if last <= begin or first >= end:
                left.append(hole)
                continue
            if first < begin:
                left.append([first, begin, asked])
            if last > end:
                left.append([end, last, asked])
        self._holes = left

    def tick(self, now_ns: int) -> list[bytes]:
        """What is to be sent: requests for what is missing, an acknowledgement, or a join."""
        silence_ns = self.settings.silence_ms * MILLISECOND_NS
        if self.ring is None or now_ns - self._heard_ns > silence_ns:
            if now_ns - self._asked_ns < silence_ns // 10:
                return []
            join = self._join(now_ns)
            return [join] if self.ring is None else [join, self._ack()]
        out = [self._ack()]
        resend_ns = self.settings.resend_ms * MILLISECOND_NS
        for hole in self._holes[:NAKS_AT_ONCE]:
            if now_ns - hole[2] >= resend_ns:
                hole[2] = now_ns
                self.counters["naks"] += 1
                length = hole[1] - hole[0]
                out.append(datagram("nak", self.stream, position=hole[0], length=length))
        return out

    def _join(self, now_ns: int) -> bytes:
        self._asked_ns = now_ns
        return datagram("join", self.stream, name=self.name)

    def _ack(self) -> bytes:
        assert self.ring is not None
        followers = self.ring.followers
        ours = followers[followers["name"] == self.name.encode()]
        said = (
            {}
            if not len(ours)
            else {name: int(ours[0][name]) for name in ("taken", "echo", "incarnation", "ready")}
            | {"follower_epoch": int(ours[0]["epoch"])}
        )
        number = int(self.ring.header["number"])
        return datagram("ack", self.stream, position=self.contiguous, number=number, **said)
