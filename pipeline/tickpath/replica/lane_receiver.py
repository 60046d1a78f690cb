"""Keeping a mirror of another host's ring from the loop of the engine that follows it
(`replica.lane`).

    lane = LaneReceiver(path, "standby", ("10.0.0.1", 7801))
    lane.turn()                                         until there is a ring at ``path``
    transport = LaneTransport(Ring.attach(path), "standby", lane)
    with Live(standby, transport, is_standby=True) as live:
        live.step(); lane.turn()

Machine code takes data that goes on where the mirror ends, puts it there and acknowledges it, all
before the poll that found it lends its records: an active waits for the wire, not for the standby's
work.  What a follower says of itself, records it has taken among it, is said again when it has
nothing to do.  All else waits for `mirror_receiver.Receiver`, which `turn` calls: starts, what
comes out of order (until nothing is missing any more), plans, what has got lost.

Worst case: something is missing, and it is asked for when `turn` is called next.
"""

import time
from collections import Counter
from pathlib import Path

import numpy as np
from numba import types

from tickpath.backend import Native
from tickpath.jit import callback, entry, leaf
from tickpath.memory import accessors, copy_bytes, cycles, load_u64
from tickpath.publish import DATA_OFFSET, FOLLOWER, FOLLOWERS, FOLLOWERS_OFFSET, ring
from tickpath.replica.lane import (
    Port,
    begin,
    datagram_at,
    is_whole,
    keep,
    port,
    receive,
    send,
    whence,
    word_of,
)
from tickpath.replica.mirror import MILLISECOND_NS, Address, Settings
from tickpath.replica.mirror_receiver import Course, Receiver, advanced
from tickpath.replica.ring import Ring, RingTransport, follower, following, lend
from tickpath.wire import hot
from tickpath.wire.mirror import MIRROR

TURN_NS = MILLISECOND_NS
"""How often the `Receiver` has its turn where nothing waits for it."""
_AT_ONCE = 64
"""Datagrams that are taken before a record is lent."""
_NO_BEATS = (1 << 64) - 1

RECEIVING = np.dtype(
    [
        ("port", "<u8"),
        ("source", "<u8"),  # as `lane.whence` says it
        ("to", "<u8"),  # the same, or 0 where the port has it for a peer
        ("goes_on", "<u8"),  # 0: all is for Python
        ("stream", "<u8"),
        ("ring", "<u8"),
        ("top", "<u8"),  # position up to which everything is there
        ("epoch", "<u8"),
        ("beats", "<u8"),
        ("name", "<u8"),  # the follower's name as two words
        ("name_end", "<u8"),
        ("taken", "<u8"),  # as it was acknowledged last
        ("owes", "<u8"),  # 1: an acknowledgement
        ("is_damaged", "<u8"),  # 1: what came are no records
        ("heard", "<u8"),  # datagrams
        ("received_bytes", "<u8"),
        ("repeated", "<u8"),
        ("acknowledgements", "<u8"),
    ]
)
receiving = accessors("lane_receiving", RECEIVING)
data = hot.message(MIRROR["data"])
beat = hot.message(MIRROR["beat"])
ack = hot.message(MIRROR["ack"])

ZERO, ONE = np.uint64(0), np.uint64(1)
_DATA, _MOST = np.uint64(DATA_OFFSET), np.uint64(_AT_ONCE)
_FIRST, _SIZE = np.uint64(FOLLOWERS_OFFSET), np.uint64(FOLLOWER.itemsize)
_NAME = np.uint64(FOLLOWER.fields["name"][1])  # type: ignore[index]
_BEHIND, _WORD = np.uint64(FOLLOWERS_OFFSET + FOLLOWERS * FOLLOWER.itemsize), np.uint64(8)


@leaf
def _follower_of(v):
    """The record of the follower that we are known by; 0 where there is none."""
    r = receiving.ring(v)
    f = r + _FIRST
    while f < r + _BEHIND:
        at = f + _NAME
        if load_u64(at) == receiving.name(v) and load_u64(at + _WORD) == receiving.name_end(v):
            return f
        f += _SIZE
    return ZERO


@leaf
def _acknowledge(v):
    r, p = receiving.ring(v), receiving.port(v)
    out, f, taken = port.out(p), _follower_of(v), ZERO
    begin(out, ack.TYPE, receiving.stream(v))
    ack.set_position(out, receiving.top(v))
    ack.set_number(out, ring.number(r))
    if f != ZERO:
        taken = follower.taken(f)
        ack.set_echo(out, follower.echo(f))
        ack.set_incarnation(out, follower.incarnation(f))
        ack.set_follower_epoch(out, follower.epoch(f))
        ack.set_ready(out, follower.ready(f))
    else:
        ack.set_echo(out, ZERO)
        ack.set_incarnation(out, ZERO)
        ack.set_follower_epoch(out, ZERO)
        ack.set_ready(out, ZERO)
    ack.set_taken(out, taken)
    receiving.set_taken(v, taken)
    receiving.set_owes(v, ZERO)
    if send(p, receiving.to(v), ack.LENGTH):
        receiving.set_acknowledgements(v, receiving.acknowledgements(v) + ONE)


@leaf
def _hear(v, epoch, committed, epoch_began, beats):
    """Where the active stands: as `Receiver._data`."""
    r = receiving.ring(v)
    if epoch >= receiving.epoch(v):
        receiving.set_epoch(v, epoch)
        ring.set_committed(r, max(ring.committed(r), committed))
        ring.set_epoch_began(r, epoch_began)
        ring.set_epoch(r, epoch)
    if beats != receiving.beats(v):
        receiving.set_beats(v, beats)
        ring.set_beat(r, cycles())
    receiving.set_heard(v, receiving.heard(v) + ONE)


@leaf
def _is_put(v, m, length):
    """Put data that goes on where the mirror ends; False for any other."""
    r, top = receiving.ring(v), receiving.top(v)
    position = data.position(m)
    end = position + length
    place = position & (ring.capacity(r) - ONE)
    if position > top or place + length > ring.capacity(r):
        return False
    _hear(v, data.epoch(m), data.committed(m), data.epoch_began(m), data.beats(m))
    receiving.set_owes(v, ONE)
    if end <= top:
        receiving.set_repeated(v, receiving.repeated(v) + ONE)
        return True
    # Only what is missing is written: readers may be in what is there.
    known = top - position
    copy_bytes(r + _DATA + place + known, m + data.LENGTH + known, length - known)
    receiving.set_top(v, end)
    receiving.set_received_bytes(v, receiving.received_bytes(v) + length - known)
    if advanced(r, end) != ZERO:
        receiving.set_is_damaged(v, ONE)
        receiving.set_goes_on(v, ZERO)
    return True


@leaf
def _is_taken(v, p, m, length):
    """Take a datagram; False where it is for Python."""
    if receiving.goes_on(v) == ZERO or whence(p) != receiving.source(v):
        return False
    if not is_whole(p, m, length, beat.LENGTH) or beat.stream(m) != receiving.stream(v):
        return False
    kind = beat.message_type(m)
    if kind == data.TYPE and length > data.LENGTH:
        return _is_put(v, m, length - data.LENGTH)
    if kind != beat.TYPE or length != beat.LENGTH or beat.head(m) > receiving.top(v):
        return False
    _hear(v, beat.epoch(m), beat.committed(m), beat.epoch_began(m), beat.beats(m))
    return True


@leaf
def _take(v):
    """Take what came, and acknowledge it as soon as nothing more is known to be under way."""
    p, number = receiving.port(v), ZERO
    while number < _MOST:
        came = receive(p)
        if came < np.int64(0):
            break
        m, length = datagram_at(p), np.uint64(came)
        number += ONE
        if not _is_taken(v, p, m, length):
            keep(p, length)
        elif receiving.owes(v) != ZERO and data.head(m) == receiving.top(v):
            break
    if receiving.owes(v) != ZERO:
        _acknowledge(v)
    elif number == ZERO and receiving.goes_on(v) != ZERO:
        f = _follower_of(v)
        if f != ZERO and follower.taken(f) != receiving.taken(v):
            _acknowledge(v)


@callback(types.uint64(types.uint64, types.uint64, types.uint64))
def _poll(f, packets, most):
    _take(following.lane(f))
    return lend(f, packets, most)


@entry
def _turn(v):
    _take(v)


class LaneReceiver:
    """Keeps a mirror in the ring file ``path``; see the module's text."""

    def __init__(
        self, path: Path, name: str, source: Address, settings: Settings | None = None
    ) -> None:
        """``name`` is what the follower of the mirror is known by, here and at the sender, which
        is at ``source``.  Raises `ReplicaError` where no socket can be had.
        """
        self.settings = settings or Settings()
        self.source = source
        self.receiver = Receiver(path, name, self.settings)
        self._port = Port(None, self.settings, 2 * self.settings.window_bytes)
        self._due_ns = 0
        self._course: Course | None = None
        self.state = np.zeros(1, RECEIVING)
        self.address = np.uint64(self.state.ctypes.data)
        words = np.frombuffer(name.encode().ljust(2 * int(_WORD), b"\0"), np.uint64)
        self.state["port"], self.state["source"] = self._port.address, word_of(source)
        self.state["to"] = 0 if self._port.peer_with(source) else word_of(source)
        self.state["name"], self.state["name_end"] = words
        _turn(self.address)  # compiled here

    @property
    def ring(self) -> Ring | None:
        """The mirror, once there is one."""
        return self.receiver.ring

    def turn(self, now_ns: int | None = None) -> int:
        """Between two steps: take, and do what only Python does; gives what came for it."""
        _turn(self.address)
        now_ns = time.monotonic_ns() if now_ns is None else now_ns
        if not (self._port.has_mail or self.state["is_damaged"][0]) and now_ns < self._due_ns:
            return 0
        self._due_ns = now_ns + TURN_NS
        out = self._hear(now_ns)
        mail = self._port.mail()
        for raw, source in mail:
            if source == self.source:
                out += self.receiver.take(raw, now_ns)
            else:
                self.receiver.counters["strangers"] += 1
        for raw in out + self.receiver.tick(now_ns):
            self._port.send(raw, self.source)
        self._lay_out()
        return len(mail)

    def _hear(self, now_ns: int) -> list[bytes]:
        """Let the `Receiver` know what machine code has taken; gives what is to be answered."""
        if self._course is None:
            return []
        row = self.state[0]
        went = Course(self._course.stream, *(int(row[name]) for name in Course._fields[1:]))
        if went.beats == _NO_BEATS:
            went = went._replace(beats=-1)
        return self.receiver.went_on(went, now_ns, bool(row["heard"]))

    def _lay_out(self) -> None:
        """Let machine code know where the `Receiver` stands."""
        self._course = self.receiver.course
        self.state["heard"] = self.state["is_damaged"] = 0
        self.state["goes_on"] = self._course is not None
        if self._course is None or self.ring is None:
            return
        for name, value in self._course._asdict().items():
            self.state[name] = value if value >= 0 else _NO_BEATS
        self.state["ring"] = self.ring.address

    @property
    def counters(self) -> Counter[str]:
        """What the `Receiver`, the port and machine code have counted."""
        row = self.state[0]
        counted = Counter({**self.receiver.counters, **self._port.counters})
        counted["repeated"] += int(row["repeated"])
        counted["lane_bytes"] = int(row["received_bytes"])
        counted["lane_acknowledgements"] = int(row["acknowledgements"])
        return counted

    def fileno(self) -> int:
        """Of its socket, for whoever waits."""
        return self._port.socket.fileno()

    def close(self) -> None:
        """Let go of the socket; no transport may poll it any more."""
        self._port.close()


class LaneTransport(RingTransport):
    """Lends the records of a lane's mirror; each poll first takes what has come."""

    def __init__(
        self, ring: Ring, name: str, lane: LaneReceiver, behind: int | None = None
    ) -> None:
        """As `RingTransport`.  ``lane`` is open as long as this is polled; ``ring`` may be a
        mapping of its own of the lane's file."""
        super().__init__(ring, name, behind)
        self.lane = lane
        self.state["lane"] = lane.address

    @property
    def native(self) -> Native:
        return super().native._replace(poll=_poll.address)

    def poll(self, most: int) -> np.ndarray:
        """Up to ``most`` lent `PACKET` records."""
        _turn(self.lane.address)
        return super().poll(most)
