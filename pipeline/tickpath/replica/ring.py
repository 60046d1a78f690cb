"""The ring of inputs in a file: the engine writes it, others on this host follow it in place.

    ring = Ring.create("/dev/shm/tickpath-a")        the active engine's: engine.publish_to(ring)
    with Ring.attach("/dev/shm/tickpath-a") as ring:
        follower = RingTransport(ring, "standby-1")
        with Live(standby, follower, is_standby=True) as live: ...

The file outlives its writer, so a follower takes what is left in it after the writer was killed.
A transport lends the records one by one, in place.  Whoever joins takes hold of its place first and
then asks for a snapshot, which is of that place or later: what it holds twice is passed over.
"""

import mmap
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numba import types

from tickpath.backend import Native
from tickpath.jit import callback, leaf
from tickpath.memory import accessors, load_acquire, store_release
from tickpath.packet import LINK_INPUT, PACKET
from tickpath.publish import (
    DATA_OFFSET,
    FOLLOWER,
    FOLLOWERS,
    FOLLOWERS_OFFSET,
    HEAD_OFFSET,
    HEADER,
    LARGEST,
    MARK,
    MARKS,
    MARKS_OFFSET,
    RING,
    RING_MAGIC,
    RING_VERSION,
    ring,
    size_of,
)
from tickpath.replica.error import ReplicaError
from tickpath.wire.inputs import INPUTS, Kind

__all__ = ["CAPACITY", "Ring", "RingTransport"]

CAPACITY = 1 << 26
"""Bytes of records that a ring keeps: some 400,000 market messages."""
_LEAST_CAPACITY = 1 << 20
ZERO, ONE = np.uint64(0), np.uint64(1)
_DATA, _PAD = np.uint64(DATA_OFFSET), np.uint64(Kind.PAD)
_LINK, _SIZE = np.uint64(LINK_INPUT), np.uint64(PACKET.itemsize)

FOLLOWING = np.dtype(
    [
        ("ring", "<u8"),
        ("slot", "<u8"),  # address of its `publish.FOLLOWER` record
        ("at", "<u8"),  # place of the next record, in bytes ever written
        ("begin", "<u8"),  # of the first that is lent
        ("number", "<u8"),  # of the last record that was lent
        ("lapped", "<u8"),  # 1: the writer has overwritten what is next, or what was lent
        ("lane", "<u8"),  # address of who keeps the ring, where each poll first takes what came
    ]
)
following = accessors("following", FOLLOWING)
follower = accessors("follower", FOLLOWER)
lent = accessors("lent_record", PACKET)
record = accessors("input_record", INPUTS["record"].dtype)
_ACKNOWLEDGED = np.uint64(FOLLOWER.fields["acknowledged"][1])  # type: ignore[index]
_TAKEN = np.uint64(FOLLOWER.fields["taken"][1])  # type: ignore[index]


@leaf
def _is_lapped(r, begin, head):
    """Whether the writer has come round to a place, or may while it writes what is next."""
    return head - begin > ring.capacity(r) - ring.capacity(r) // LARGEST


@leaf
def lend(f, packets, most):
    """Lend up to ``most`` records, of which there may be none."""
    r = following.ring(f)
    head, capacity = load_acquire(r + HEAD_OFFSET), ring.capacity(r)
    at, number = following.at(f), ZERO
    following.set_begin(f, at)
    if _is_lapped(r, at, head):
        following.set_lapped(f, ONE)
        return ZERO
    while at < head and number < most:
        place = at & (capacity - ONE)
        if capacity - place < HEADER:
            at += capacity - place
            continue
        out = r + _DATA + place
        size = size_of(record.length(out))
        if record.kind(out) != _PAD:
            p = packets + number * _SIZE
            lent.set_address(p, out)
            lent.set_ts_recv(p, record.ts_recv(out))
            lent.set_length(p, size)
            lent.set_wire_length(p, size)
            lent.set_link(p, _LINK)
            lent.set_line(p, ZERO)
            lent.set_group(p, ZERO)
            following.set_number(f, record.number(out))
            number += ONE
        at += size
    following.set_at(f, at)
    if number != ZERO:
        store_release(following.slot(f) + _ACKNOWLEDGED, following.number(f))
    return number


@callback(types.uint64(types.uint64, types.uint64, types.uint64))
def _poll(f, packets, most):
    return lend(f, packets, most)


@callback(types.void(types.uint64))
def _release(f):
    r = following.ring(f)
    if _is_lapped(r, following.begin(f), load_acquire(r + HEAD_OFFSET)):
        following.set_lapped(f, ONE)
    store_release(following.slot(f) + _TAKEN, following.number(f))


@callback(types.uint64(types.uint64, types.uint64, types.uint64))
def _send(f, messages, length):
    return ZERO


class Ring:
    """A ring in a file, mapped; see the module's text.  Made by `create` or `attach`."""

    def __init__(self, path: Path, mapped: mmap.mmap) -> None:
        self.path = path
        self._map = mapped
        self._bytes = np.frombuffer(mapped, np.uint8)
        self.header = self._bytes[: RING.itemsize].view(RING)[0]
        end = FOLLOWERS_OFFSET + FOLLOWERS * FOLLOWER.itemsize
        self.followers = self._bytes[FOLLOWERS_OFFSET:end].view(FOLLOWER)
        marks_end = MARKS_OFFSET + MARKS * MARK.itemsize
        self.marks = self._bytes[MARKS_OFFSET:marks_end].view(MARK)
        self.address = np.uint64(self._bytes.ctypes.data)

    @classmethod
    def create(cls, path: str | os.PathLike[str], capacity: int = CAPACITY) -> "Ring":
        """A new, empty ring of ``capacity`` bytes, a power of two; one of before goes away.

        Raises `ReplicaError` where there is no room for it or it cannot be made.
        """
        if capacity < _LEAST_CAPACITY or capacity & (capacity - 1):
            raise ReplicaError(
                f"a ring of {capacity} bytes: a power of two from {_LEAST_CAPACITY} on is needed"
            )
        place = Path(path)
        fresh = place.with_name(f"{place.name}.{os.getpid()}")
        try:
            with open(fresh, "xb+") as file:
                # All of it is there from the start: a full disk says so now, not by a signal.
                os.posix_fallocate(file.fileno(), 0, DATA_OFFSET + capacity)
                mapped = mmap.mmap(file.fileno(), DATA_OFFSET + capacity)
            made = cls(place, mapped)
            for name, value in (
                ("version", RING_VERSION),
                ("capacity", capacity),
                ("identity", time.time_ns()),
                ("magic", RING_MAGIC),
            ):
                made.header[name] = value
            os.replace(fresh, place)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise ReplicaError(f"{place}: no ring can be made: {error.strerror}") from None
        return made

    @classmethod
    def attach(cls, path: str | os.PathLike[str]) -> "Ring":
        """Another process's ring.  Raises `ReplicaError` for what is none."""
        place = Path(path)
        try:
            with open(place, "rb+") as file:
                size = os.fstat(file.fileno()).st_size
                mapped = mmap.mmap(file.fileno(), size) if size > DATA_OFFSET else None
        except OSError as error:
            raise ReplicaError(f"{place}: {error.strerror}; is the other engine running?") from None
        if mapped is None:
            raise ReplicaError(f"{place} is no ring of inputs: it has {size} bytes")
        known = cls(place, mapped)
        if known.header["magic"] != RING_MAGIC or known.header["version"] != RING_VERSION:
            raise ReplicaError(f"{place} is no ring of inputs of this version")
        if int(known.header["capacity"]) + DATA_OFFSET != size:
            raise ReplicaError(f"{place}: {size} bytes, its header says another size")
        return known

    @property
    def place(self) -> tuple[int, int]:
        """(bytes ever written, number of the last record), of one moment."""
        while True:
            head = int(self.header["head"])
            number = int(self.header["number"])
            if int(self.header["head"]) == head:
                return head, number

    def place_behind(self, number: int) -> tuple[int, int]:
        """A place at or before the record behind ``number``, and the number of the one before it.

        Raises `ReplicaError` where that record is not kept any more, or was never here.
        """
        head, last = self.place
        if number == last:
            return head, last
        capacity = int(self.header["capacity"])
        known = self.marks[(self.marks["number"] > 0) & (self.marks["number"] <= number + 1)]
        kept = known[head - known["position"] <= capacity - capacity // int(LARGEST)]
        if number > last or not len(kept):
            raise ReplicaError(
                f"{self.path}: record {number + 1:,} is not in it (its last is {last:,}): a "
                "snapshot is needed"
            )
        best = kept[np.argmax(kept["number"])]
        return int(best["position"]), int(best["number"]) - 1

    def place_of(self, name: str) -> int | None:
        """One of the places for followers, now ``name``'s; None where all are taken."""
        known = self.followers["name"]
        same = np.flatnonzero(known == name.encode())
        free = same if len(same) else np.flatnonzero(known == b"")
        if not len(free):
            return None
        slot = int(free[0])
        mine = self.followers[slot]
        for field in ("taken", "acknowledged", "echo", "incarnation", "epoch", "ready"):
            mine[field] = 0  # until it says so itself
        mine["name"] = name.encode()
        return slot

    def leave(self, slot: int) -> None:
        """Give a follower's place back."""
        self.followers["name"][slot] = b""

    def read(self, position: int, most: int) -> bytes:
        """Up to ``most`` bytes from a position on, as far as they lie in one piece."""
        capacity = int(self.header["capacity"])
        at = position % capacity
        begin = DATA_OFFSET + at
        return self._bytes[begin : begin + min(most, capacity - at)].tobytes()

    def write(self, position: int, raw: bytes) -> None:
        """Put bytes at a position; they go on at the ring's begin where it ends."""
        capacity = int(self.header["capacity"])
        at = position % capacity
        first = raw[: capacity - at]
        for begin, part in ((at, first), (0, raw[len(first) :])):
            to = self._bytes[DATA_OFFSET + begin : DATA_OFFSET + begin + len(part)]
            to[:] = np.frombuffer(part, np.uint8)

    def __enter__(self) -> "Ring":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the memory; the file stays."""
        del self.header, self.followers, self.marks, self._bytes
        self._map.close()


class RingTransport:
    """Lends the records of a ring from where it stands now on, to `tickpath.live`."""

    is_live = True
    counters: Mapping[str, int] = {}
    findings: Sequence[str] = ()

    def __init__(self, ring: Ring, name: str, behind: int | None = None) -> None:
        """Take one of the ring's places for followers, from the record behind ``behind`` on.

        None: from the next one on.  Raises `ReplicaError` where all are taken, or the record is
        not there.
        """
        at, number = ring.place if behind is None else ring.place_behind(behind)
        self.ring, self.name = ring, name
        self.state = np.zeros(1, FOLLOWING)
        slot = ring.place_of(name)
        if slot is None:
            raise ReplicaError(f"{ring.path}: it has {FOLLOWERS} followers already")
        self._slot = slot
        ring.followers["taken"][slot] = number
        self.first = number + 1
        """Number of the first record that will be lent."""
        self.state["ring"], self.state["at"], self.state["number"] = ring.address, at, number
        self.state["slot"] = ring.followers[slot : slot + 1].ctypes.data

    @staticmethod
    def why_not() -> str | None:
        return None

    def open(self) -> None:
        """It is open from the start."""

    @property
    def native(self) -> Native:
        functions = (each.address for each in (_poll, _release, _send))
        return Native(self.state.ctypes.data, *functions)

    @property
    def mine(self) -> np.void:
        """Our record among the ring's followers, which can be written."""
        return self.ring.followers[self._slot]

    @property
    def is_lapped(self) -> bool:
        """True once the writer was ahead by more than the ring keeps, or the ring has ended: a
        snapshot is needed."""
        return bool(self.state["lapped"][0] or self.ring.header["broken"])

    @property
    def lag(self) -> int:
        """Records that were published and not taken yet."""
        return int(self.ring.header["number"]) - int(self.ring.followers["taken"][self._slot])

    @property
    def is_finished(self) -> bool:
        return False

    @property
    def position(self) -> tuple[int, int]:
        return 0, 0

    @property
    def environment(self) -> Mapping[str, Any]:
        return {"ring": str(self.ring.path), "capacity": int(self.ring.header["capacity"])}

    def poll(self, most: int) -> np.ndarray:
        """Up to ``most`` lent `PACKET` records."""
        packets = np.zeros(most, PACKET)
        number = _poll.ctypes(int(self.state.ctypes.data), packets.ctypes.data, most)
        return packets[:number]

    def release(self) -> None:
        """Give back what the last `poll` lent."""
        _release.ctypes(int(self.state.ctypes.data))

    def send(self, messages: memoryview) -> None:
        """A follower sends nothing."""

    def close(self) -> None:
        """Leave the ring."""
        self.ring.leave(self._slot)
