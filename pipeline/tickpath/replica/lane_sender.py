"""Sending a ring of inputs from the loop of the engine that writes it (`replica.lane`).

    lane = LaneSender(ring, ("10.0.0.1", 7801))
    with Live(engine, transport, lane=lane) as live: ...    the loop sends, and takes what is said

Machine code sends what is new to every receiver that `mirror_sender.Sender` has begun with, and
takes their acknowledgements; `turn` has the rest done by the `Sender`: who joins and leaves, what
was asked for again, beats, plans.  An acknowledgement counts from a receiver that has joined, of
this ring, up to what was published; what else comes waits for the `Sender`, which counts it.

Worst case: nobody calls `turn`; then nobody can join, and a receiver that misses something waits.
"""

import time
from collections import Counter

import numpy as np
from numba import types

from tickpath.clock import Clock, calibrate
from tickpath.jit import callback, entry, leaf
from tickpath.memory import accessors, copy_bytes, cycles, load_acquire, store_release
from tickpath.publish import DATA_OFFSET, FOLLOWER, HEAD_OFFSET, LARGEST, ring
from tickpath.replica.lane import (
    Lane,
    Port,
    address_of,
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
from tickpath.replica.mirror_sender import RECEIVERS, Sender, Way
from tickpath.replica.ring import Ring, follower
from tickpath.wire import hot
from tickpath.wire.mirror import MIRROR

INBOX_BYTES = 1 << 18
TURN_NS = MILLISECOND_NS
"""How often the `Sender` has its turn where nothing waits for it."""
LOOK_NS = 20_000
"""How often an engine that has nothing to do looks for acknowledgements nobody waits for."""
_AT_ONCE = 64
"""Datagrams that are sent to a receiver, or taken, before anything else is done."""

SENDING = np.dtype(
    [
        ("port", "<u8"),
        ("ring", "<u8"),
        ("stream", "<u8"),
        ("window", "<u8"),  # bytes
        ("room", "<u8"),  # bytes of the ring in a datagram
        ("ways", "<u8"),  # address of `WAY` records
        ("behind", "<u8"),  # address behind the last one that is in use
        ("looked", "<u8"),  # cycles
        ("look_cycles", "<u8"),
        ("datagrams", "<u8"),
        ("sent_bytes", "<u8"),
        ("acknowledgements", "<u8"),
    ]
)
WAY = np.dtype(
    [
        ("to", "<u8"),  # as `lane.whence` says it
        ("follower", "<u8"),  # address of its `publish.FOLLOWER`
        ("known", "<u8"),
        ("sent", "<u8"),
        ("heard", "<u8"),  # acknowledgements
    ]
)
sending = accessors("lane_sending", SENDING)
way = accessors("lane_way", WAY)
data = hot.message(MIRROR["data"])
ack = hot.message(MIRROR["ack"])

ZERO, ONE = np.uint64(0), np.uint64(1)
_DATA, _MOST = np.uint64(DATA_OFFSET), np.uint64(_AT_ONCE)
_ACKNOWLEDGED = np.uint64(FOLLOWER.fields["acknowledged"][1])  # type: ignore[index]


@leaf
def _send_piece(s, w, head, sent, length):
    """Send bytes from ``sent`` on; False where that is not possible now."""
    r, p = sending.ring(s), sending.port(s)
    out = port.out(p)
    begin(out, data.TYPE, sending.stream(s))
    data.set_position(out, sent)
    data.set_head(out, head)
    data.set_number(out, ring.number(r))
    data.set_epoch(out, ring.epoch(r))
    data.set_beats(out, ring.beat(r))
    data.set_committed(out, ring.committed(r))
    data.set_epoch_began(out, ring.epoch_began(r))
    copy_bytes(out + data.LENGTH, r + _DATA + (sent & (ring.capacity(r) - ONE)), length)
    return send(p, way.to(w), data.LENGTH + length)


@leaf
def _go_on(s, w, least):
    """Send a receiver what is new, if that is ``least`` bytes and the ring keeps them."""
    r = sending.ring(s)
    head, capacity = load_acquire(r + HEAD_OFFSET), ring.capacity(r)
    sent, number = way.sent(w), ZERO
    end = min(head, way.known(w) + sending.window(s))
    while sent + least <= end and number < _MOST:
        if head - sent > capacity - capacity // LARGEST:
            break  # the `Sender` says so
        length = min(end - sent, min(sending.room(s), capacity - (sent & (capacity - ONE))))
        if not _send_piece(s, w, head, sent, length):
            break
        sent += length
        number += ONE
        sending.set_sent_bytes(s, sending.sent_bytes(s) + length)
    way.set_sent(w, sent)
    sending.set_datagrams(s, sending.datagrams(s) + number)


@leaf
def _send_new(s, least):
    w = sending.ways(s)
    while w < sending.behind(s):
        _go_on(s, w, least)
        w += way.SIZE


@leaf
def _acknowledge(s, w, m):
    """What a receiver has; False for more than there is."""
    known = ack.position(m)
    if known > ring.head(sending.ring(s)):
        return False
    way.set_known(w, max(way.known(w), known))
    way.set_sent(w, max(way.sent(w), way.known(w)))
    way.set_heard(w, way.heard(w) + ONE)
    f = way.follower(w)
    follower.set_taken(f, ack.taken(m))
    follower.set_ready(f, ack.ready(m))
    follower.set_epoch(f, ack.follower_epoch(m))
    follower.set_incarnation(f, ack.incarnation(m))
    follower.set_echo(f, ack.echo(m))
    store_release(f + _ACKNOWLEDGED, max(follower.acknowledged(f), ack.number(m)))
    sending.set_acknowledgements(s, sending.acknowledgements(s) + ONE)
    return True


@leaf
def _is_taken(s, p, m, length):
    """Take an acknowledgement; False for whatever else it is."""
    from_whom, w = whence(p), sending.ways(s)
    while w < sending.behind(s) and way.to(w) != from_whom:
        w += way.SIZE
    if w == sending.behind(s) or length != ack.LENGTH or not is_whole(p, m, length, ack.LENGTH):
        return False
    if ack.message_type(m) != ack.TYPE or ack.stream(m) != sending.stream(s):
        return False
    return _acknowledge(s, w, m)


@leaf
def _take(s, most):
    p, number = sending.port(s), ZERO
    while number < most:
        came = receive(p)
        if came < np.int64(0):
            break
        length = np.uint64(came)
        if not _is_taken(s, p, datagram_at(p), length):
            keep(p, length)
        number += ONE


@callback(types.void(types.uint64))
def _idle(s):
    if sending.ways(s) == sending.behind(s):
        return
    _send_new(s, ONE)
    now = cycles()
    if now - sending.looked(s) >= sending.look_cycles(s):
        sending.set_looked(s, now)
        _take(s, _MOST)


@callback(types.void(types.uint64))
def _busy(s):
    _send_new(s, sending.room(s))


@callback(types.void(types.uint64))
def _push(s):
    _send_new(s, ONE)


@callback(types.void(types.uint64))
def _pull(s):
    _take(s, ONE)


@entry
def _turn(s):
    """Take what came and send what is new, from Python."""
    _take(s, _MOST)
    _send_new(s, ONE)


class LaneSender:
    """Sends one ring to up to `mirror_sender.RECEIVERS` receivers; see the module's text."""

    def __init__(
        self,
        ring: Ring,
        listen: Address,
        settings: Settings | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Receivers join at ``listen``; ``clock`` saves a calibration.

        Raises `ReplicaError` where the address cannot be had.
        """
        self.settings = settings or Settings()
        self._port = Port(listen, self.settings, INBOX_BYTES)
        self.sender = Sender(ring, self.settings)
        self._ways = np.zeros(RECEIVERS, WAY)
        self._known: list[Way] = []
        self._due_ns = 0
        self.state = np.zeros(1, SENDING)
        self.address = np.uint64(self.state.ctypes.data)
        for name, value in (
            ("port", self._port.address),
            ("window", self.settings.window_bytes),
            ("room", self.settings.datagram_bytes - MIRROR["data"].length),
            ("ways", self._ways.ctypes.data),
            ("look_cycles", (clock or calibrate()).cycles(LOOK_NS)),
        ):
            self.state[name] = value
        self.begin(ring)
        _turn(self.address)  # compiled here

    def begin(self, ring: Ring) -> None:
        """Send another ring from here on: who received the last one joins again."""
        counted, self.sender = self.sender.counters, Sender(ring, self.settings)
        self.sender.counters = counted
        self.state["ring"], self.state["stream"] = ring.address, self.sender.stream
        self._known = []
        self._lay_out()

    @property
    def listens(self) -> Address:
        """Where receivers join."""
        host, number = self._port.socket.getsockname()
        return host, number

    @property
    def native(self) -> Lane:
        """For the loops of an engine, as long as it is open."""
        functions = (each.address for each in (_idle, _busy, _push, _pull))
        return Lane(int(self.address), *functions)

    def turn(self, now_ns: int | None = None) -> int:
        """Between two steps: send, take, and do what only Python does; gives what came for it."""
        _turn(self.address)
        now_ns = time.monotonic_ns() if now_ns is None else now_ns
        if not self._port.has_mail and now_ns < self._due_ns:
            return 0
        self._due_ns = now_ns + TURN_NS
        self._hear(now_ns)
        mail = self._port.mail()
        for raw, source in mail:
            for answer in self.sender.take(raw, source, now_ns):
                self._port.send(answer, source)
        for address, raw in self.sender.send(now_ns):
            self._port.send(raw, address)
        self._lay_out()
        return len(mail)

    def _hear(self, now_ns: int) -> None:
        """Let the `Sender` know what machine code has sent and heard."""
        for each, row in zip(self._known, self._ways, strict=False):
            went = each._replace(known=int(row["known"]), sent=int(row["sent"]))
            self.sender.went_on(went, now_ns, bool(row["heard"]))

    def _lay_out(self) -> None:
        """Let machine code know where the `Sender` stands."""
        self._known = self.sender.ways()
        followers = self.sender.ring.followers
        for row, each in zip(self._ways, self._known, strict=False):
            row["to"], row["follower"] = word_of(each.address), followers[each.slot :].ctypes.data
            row["known"], row["sent"], row["heard"] = each.known, each.sent, 0
        begin = self._ways.ctypes.data
        self.state["behind"] = begin + len(self._known) * WAY.itemsize

    @property
    def receivers(self) -> list[Address]:
        """Whom machine code sends to."""
        rows = self._ways[: len(self._known)]
        return [address_of(int(each["to"])) for each in rows]

    @property
    def counters(self) -> Counter[str]:
        """What the `Sender`, the port and machine code have counted."""
        row = self.state[0]
        counted = Counter({**self.sender.counters, **self._port.counters})
        counted["sent_bytes"] += int(row["sent_bytes"])
        counted["lane_datagrams"] = int(row["datagrams"])
        counted["lane_acknowledgements"] = int(row["acknowledgements"])
        return counted

    def fileno(self) -> int:
        """Of its socket, for whoever waits."""
        return self._port.socket.fileno()

    def close(self) -> None:
        """Let go of the socket; machine code must not be given its state any more."""
        self._port.close()
