"""Keeping a mirror of another host's ring of inputs (`replica.mirror`).

A receiver keeps note of at most `HOLES` missing ranges and drops what would make more, which it
gets again later.  With a feed of its own it is sent the plan: `PENDING` records at most wait for
what belongs into them, each for `Settings.feed_wait_ms`; then their bytes are asked for.

A receiver that lags by more than the sender's ring keeps is told so; its mirror is marked as broken
then and begun anew, and whoever follows it needs a snapshot.
"""

import heapq
from bisect import insort
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tickpath.jit import entry, leaf
from tickpath.memory import cycles, store_release
from tickpath.publish import DATA_OFFSET, HEAD_OFFSET, HEADER, ring, set_mark, size_of
from tickpath.replica.mirror import MILLISECOND_NS, Settings, datagram, read
from tickpath.replica.plan import HEADER_BYTES, OwnFeed, Planned, header_at
from tickpath.replica.ring import Ring, record
from tickpath.wire.inputs import Kind

HOLES = 256
NAKS_AT_ONCE = 16
PENDING = 8_192
TRIES_AT_ONCE = 64
ZERO, ONE = np.uint64(0), np.uint64(1)
_DATA, _PAD = np.uint64(DATA_OFFSET), np.uint64(Kind.PAD)


@leaf
def advanced(r, contiguous):
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
def _advance(r, contiguous):
    """`advanced`, from Python."""
    return advanced(r, contiguous)


@entry
def _now():
    return cycles()


class _Pending(NamedTuple):
    """A record whose messages have not come by our own feed yet."""

    position: int
    end: int
    raw: bytes
    header: Planned
    since_ns: int


class Course(NamedTuple):
    """Where a receiver stands that misses nothing: others may go on from there."""

    stream: int
    top: int
    """The position up to which everything is there, and behind which nothing is."""
    epoch: int
    beats: int


class Receiver:
    """Keeps a mirror in the ring file ``path``, under ``name`` on the sender's side."""

    def __init__(
        self,
        path: Path,
        name: str,
        settings: Settings | None = None,
        feed: OwnFeed | None = None,
    ) -> None:
        """With a ``feed``, which somebody keeps up to date, the plan is asked for."""
        self.path, self.name, self.feed = path, name, feed
        self.settings = settings or Settings()
        self.ring: Ring | None = None
        self.counters: Counter[str] = Counter()
        self.stream = 0
        self.epoch = self.behind = 0
        self._top = 0  # the highest position that was heard of
        self._holes: list[list[int]] = []  # [begin, end, when it was asked for last]
        self._pending: dict[int, _Pending] = {}  # by where the payload begins
        self._pending_at: list[int] = []  # a heap of these places, and of some that have gone
        self._beats = -1
        self._heard_ns = self._asked_ns = -(1 << 62)

    @property
    def contiguous(self) -> int:
        """The position up to which everything is there."""
        there = self._holes[0][0] if self._holes else self._top
        while self._pending_at and self._pending_at[0] not in self._pending:
            heapq.heappop(self._pending_at)
        return min(there, self._pending_at[0]) if self._pending_at else there

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
        if fields["message"] in ("data", "plan", "beat"):
            return self._data(fields, now_ns)
        return []

    @property
    def course(self) -> Course | None:
        """None where something is missing, or nothing was begun."""
        if self.ring is None or self._holes or self._pending:
            return None
        return Course(self.stream, self._top, self.epoch, self._beats)

    def went_on(self, course: Course, now_ns: int, was_heard: bool) -> list[bytes]:
        """What somebody else has put into the ring; gives what is to be answered."""
        self._top, self.epoch, self._beats = course.top, course.epoch, course.beats
        if was_heard:
            self._heard_ns = now_ns
        return [] if self._go_on() else [self._join(now_ns)]

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
        self._pending.clear()
        self._pending_at.clear()
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
        if fields["message"] == "beat":
            if fields["head"] > self._top and self._fits(fields["head"]):
                self._note_hole(self._top, fields["head"])
        else:
            if fields["message"] == "data":
                self._keep(fields["position"], fields["bytes"])
            else:
                self._plan(fields["position"], fields["bytes"], now_ns)
            if not self._go_on():
                return [self._join(now_ns)]
        self.behind = max(0, fields["number"] - int(header["number"]))
        return []

    def _go_on(self) -> bool:
        """Let followers see what is whole now; False where the mirror has to begin anew."""
        assert self.ring is not None
        if not _advance(self.ring.address, np.uint64(self.contiguous)):
            return True
        self._break()
        return False

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
        is_new = begin >= self._top
        self._top = max(self._top, end)
        self.ring.write(first, raw[first - begin :])
        if self._pending and not is_new:
            self._ask_for_pending(begin, end)
        self._fill(begin, end)

    # ------------------------------------------------------------ the plan

    def _plan(self, position: int, raw: bytes, now_ns: int) -> None:
        """Records, those of the feed without what belongs into them."""
        assert self.ring is not None
        capacity = int(self.ring.header["capacity"])
        at = 0
        while at < len(raw):
            left = capacity - position % capacity
            if left < HEADER_BYTES:
                self._keep(position, raw[at : at + left])
                at, position = at + left, position + left
                continue
            if len(raw) - at < HEADER_BYTES:
                self.counters["damaged"] += 1
                return
            header = header_at(raw, at)
            here = raw[at : at + HEADER_BYTES]
            if header.is_numbered_run:
                self._expect(position, here, header, now_ns)
                at += HEADER_BYTES
            elif header.kind == Kind.PAD:
                self._keep(position, here.ljust(header.size, b"\0"))
                at += HEADER_BYTES
            else:
                self._keep(position, raw[at : at + header.size])
                at += header.size
            position += header.size

    def _expect(self, position: int, raw: bytes, header: Planned, now_ns: int) -> None:
        """A record whose messages come by our own feed."""
        end, payload = position + header.size, position + HEADER_BYTES
        if end <= self.contiguous or payload in self._pending:
            self.counters["repeated"] += 1
            return
        whole = None if self.feed is None else self.feed.complete(raw, header)
        if whole is not None:
            self.counters["completed"] += 1
            self._keep(position, whole)
            return
        if not self._fits(end):
            self.counters["dropped"] += 1
            return
        self._keep(position, raw)
        # In the middle of a hole, or without room here: its bytes are asked for.
        if self._top == payload and len(self._pending) < PENDING:
            self._pending[payload] = _Pending(position, end, raw, header, now_ns)
            heapq.heappush(self._pending_at, payload)
            self._top = end

    def complete(self, now_ns: int) -> list[bytes]:
        """Put in what our own feed has brought by now; ask for what it did not bring in time."""
        if self.ring is None or not self._pending:
            return []
        wait_ns = self.settings.feed_wait_ms * MILLISECOND_NS
        for payload, each in list(islice(self._pending.items(), TRIES_AT_ONCE)):
            whole = None if self.feed is None else self.feed.complete(each.raw, each.header)
            if whole is not None:
                self.counters["completed"] += 1
                del self._pending[payload]
                self.ring.write(payload, whole[HEADER_BYTES:])
                continue
            if now_ns - each.since_ns >= wait_ns and len(self._holes) < HOLES:
                self.counters["not_by_feed"] += 1
                del self._pending[payload]
                insort(self._holes, [payload, each.end, 0])
        return [] if self._go_on() else [self._join(now_ns)]

    def _ask_for_pending(self, begin: int, end: int) -> None:
        """Bytes came for some of what waits for our feed: the rest of these comes as bytes too."""
        for payload in [at for at, each in self._pending.items() if at < end and begin < each.end]:
            insort(self._holes, [payload, self._pending.pop(payload).end, 0])

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
        out = [*self.complete(now_ns)]
        if self.ring is None:
            return out
        out.append(self._ack())
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
        return datagram("join", self.stream, name=self.name, takes_plan=self.feed is not None)

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
