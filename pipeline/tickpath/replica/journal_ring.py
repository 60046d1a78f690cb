"""The journal as a follower of the ring: what the engine publishes goes to disk.

    with Ring.attach(path) as ring, JournalWriter(directory, identity) as writer:
        journal = RingJournal(ring, writer)
        journal.run(lambda: stopped)

It has a place of its own among the ring's followers.  What it acknowledges is durable as the
writer's policy says; behind records that the journal lacks it acknowledges none until a snapshot
stands for them.  Records are copied out of the ring before they are checked, so that the ring's
writer, which waits for nobody, cannot change what was checked.

A journal that begins again goes on where it ended as long as the ring has not been written over
there; otherwise the next segment says what is missing.
"""

import ctypes
import time
from collections.abc import Callable

import numpy as np

from tickpath.publish import FOLLOWER, LARGEST
from tickpath.replica.error import ReplicaError
from tickpath.replica.journal_snapshot import snapshots
from tickpath.replica.journal_writer import JournalWriter, State
from tickpath.replica.ring import Ring, RingTransport
from tickpath.wire.journal import Absence

RECORDS_AT_ONCE = 4096
IDLE_S = 50e-6
_LEAST_BUFFER = 1 << 20
_LOOK_NS = 100_000_000
"""How often a snapshot is looked for that stands for missing records."""


class RingJournal:
    """Takes records from a ring into a writer; one thread."""

    def __init__(self, ring: Ring, writer: JournalWriter, name: str = "journal") -> None:
        """Take one of the ring's places.  Raises `ReplicaError` where all are taken."""
        self.ring, self.writer = ring, writer
        self.lapses = 0
        """How often the ring was written over before it was read."""
        self._transport = RingTransport(ring, name, self._behind())
        # What is lent is neither taken nor acknowledged yet: a slot of nobody is told of it.
        self._nobody = np.zeros(1, FOLLOWER)
        self._transport.state["slot"] = self._nobody.ctypes.data
        self._buffer = np.zeros(_LEAST_BUFFER, np.uint8)
        self._looked_ns = 0
        self._say()

    def _behind(self) -> int | None:
        """The number behind which reading begins: the journal's last one, if the ring has it.

        Else the oldest that the ring has, as of a ring that began with a restored engine.
        """
        try:
            return self.ring.place_behind(self.writer.last_number)[1]
        except ReplicaError:
            pass
        head, _ = self.ring.place
        capacity = int(self.ring.header["capacity"])
        marks = self.ring.marks[self.ring.marks["number"] > 0]
        kept = marks[head - marks["position"] <= capacity - capacity // int(LARGEST)]
        return int(kept["number"].min()) - 1 if len(kept) else None

    # ------------------------------------------------------------ taking

    def step(self, most: int = RECORDS_AT_ONCE) -> int:
        """Journal what was published; gives how many records were taken from the ring.

        Raises `JournalError` where the writer stops.
        """
        transport = self._transport
        packets = transport.poll(most)
        if self._has_lapsed():
            return 0
        if not len(packets):
            if self.ring.header["broken"]:
                raise self.writer.fail("the ring has ended: begin again behind a snapshot")
            self.writer.tick()
            self._say()
            return 0
        raw = self._copied(packets)
        transport.release()
        if self._has_lapsed():
            return 0
        try:
            self.writer.append(raw)
        finally:
            self._say()
        return len(packets)

    def _copied(self, packets: np.ndarray) -> np.ndarray:
        """The records that are lent, one behind the other in memory of our own."""
        lengths = packets["length"].astype(np.int64)
        total = int(lengths.sum())
        if total > len(self._buffer):
            self._buffer = np.zeros(1 << total.bit_length(), np.uint8)
        at = (packets["address"] - self.ring.address).astype(np.int64)
        # Runs of records without a pad between them are copied at once.
        begins = np.flatnonzero(np.r_[True, at[1:] != at[:-1] + lengths[:-1]])
        ends = np.r_[begins[1:], len(at)] - 1
        used = 0
        for first, last in zip(begins.tolist(), ends.tolist(), strict=True):
            begin, end = int(at[first]), int(at[last] + lengths[last])
            source, target = int(self.ring.address) + begin, self._buffer.ctypes.data + used
            ctypes.memmove(target, source, end - begin)
            used += end - begin
        return self._buffer[:total]

    def _has_lapsed(self) -> bool:
        """Whether the ring was written over; it is gone on with what it has now.

        Raises `JournalError` where the writer stops then.
        """
        state = self._transport.state
        if not state["lapped"][0]:
            return False
        self.lapses += 1
        self.writer.mark_absence(Absence.LAPPED)
        state["at"], _ = self.ring.place
        state["begin"], state["lapped"] = state["at"], 0
        return True

    def _say(self) -> None:
        """Tell the ring how far the journal is."""
        mine, writer = self._transport.mine, self.writer
        mine["taken"] = writer.last_number
        if not self.has_hole:
            mine["acknowledged"] = writer.durable_number

    @property
    def has_hole(self) -> bool:
        """Whether records are missing that no snapshot in the directory stands for."""
        writer = self.writer
        if writer.state is State.DROPPING:
            return True
        now_ns = time.monotonic_ns()
        if writer.missing is None or now_ns - self._looked_ns < _LOOK_NS:
            return writer.missing is not None
        self._looked_ns = now_ns
        if any(number >= writer.missing[1] for number, _ in snapshots(writer.directory)):
            writer.missing = None
            return False
        return True

    @property
    def lag(self) -> int:
        """Records that were published and are not in the journal."""
        return int(self.ring.header["number"]) - self.writer.last_number

    def run(self, should_stop: Callable[[], bool], idle_s: float = IDLE_S) -> None:
        """Journal until told to stop, then what is still there.  Raises `JournalError`."""
        while not should_stop():
            if not self.step():
                time.sleep(idle_s)
        while self.step():
            pass

    def close(self) -> None:
        """Leave the ring."""
        self._transport.close()
