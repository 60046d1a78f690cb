"""A lease in one versioned value that can be compared and swapped, by its observers' clocks.

The holder writes the value again and again; each write gives it another version.  Whoever wants the
lease must have seen one version for the whole length of the lease by its *own* monotonic clock,
and then swaps it, which succeeds only if nobody has written.  No clocks are compared, and the
store's does not matter.  A node that has not looked before waits for a whole lease from its first
look; one that looks often takes over a lease's length after the last write.

Of two swaps of one version one succeeds, so no two leases begin from the same value; and a holder
whose lease somebody else has seen unchanged for its length has stopped: it counts from before it
wrote, the observer from after it read.

A swap without an answer may have been done, or may still be done.  It compares with a version, so
it never goes over what came later; `_mine_again` finds it when the next swap fails.
"""

import os
import time
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from tickpath.failover.lease import (
    Clock,
    Held,
    Lease,
    Lost,
    Stored,
    check_node,
    check_note,
)

V = TypeVar("V")


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the store keeps."""

    epoch: int = 0
    """0 while it is being acquired, where the store numbers acquisitions itself."""
    token: str = ""
    """The process that has it."""
    holder: str = ""
    """Its node; empty: nobody, it was given back."""
    ttl_ns: int = 0
    beat: int = 0
    """Rises with every renewal."""
    note: bytes = b""
    note_epoch: int = 0


class Cell(Protocol[V]):
    """The versioned value in a store.  All calls raise `LeaseError`."""

    def begin(self) -> None:
        """A call of the store begins: its time runs from now."""

    def get(self) -> tuple[V, Value | None]:
        """Version and value, whose epoch is known; None: there is none yet."""

    def swap(self, version: V, value: Value) -> tuple[V, Value] | None:
        """Write a value over a version: the new version and the value as `get` gives it.

        None where the version was not the current one.
        """

    def next_epoch(self, value: Value | None) -> int:
        """The epoch to write when a value is acquired."""

    def close(self) -> None:
        """Let go of connections."""


class CasStore(Generic[V]):
    """A `LeaseStore` in a `Cell`."""

    needs_looks = True

    def __init__(self, cell: Cell[V], *, clock: Clock = time.monotonic_ns):
        self._cell = cell
        self._clock = clock
        self._token = os.urandom(8).hex()
        self._mine: tuple[V, Value] | None = None
        """The lease that was given to the caller, as it was last written."""
        self._given = 0
        """The highest epoch that was given to the caller."""
        self._seen: tuple[Any, int] | None = None
        """(version, since when by our clock it is known to be unchanged)."""

    def acquire(self, node: str, ttl_ns: int) -> Lease | Held:
        check_node(node)
        version, value = self._look(begins=True)
        if value is not None and not self._is_unused(value):
            free_in_ns = self._free_in_ns(value)
            if free_in_ns:
                return Held(value.holder, value.epoch, free_in_ns)
        asked_at_ns = self._clock()
        last = value or Value()
        wanted = Value(
            self._cell.next_epoch(value),
            self._token,
            node,
            ttl_ns,
            note=last.note,
            note_epoch=last.note_epoch,
        )
        swapped = self._cell.swap(version, wanted)
        if swapped is None:
            _, value = self._look()
            found = value or Value()
            return Held(found.holder, found.epoch, self._free_in_ns(found))
        self._mine, self._given = swapped, swapped[1].epoch
        return Lease(self._given, node, asked_at_ns, ttl_ns)

    def renew(self, lease: Lease) -> Lease | Lost:
        asked_at_ns = self._clock()
        if asked_at_ns >= lease.asked_at_ns + lease.ttl_ns:
            return Lost("it ran out")
        written = self._write(lease, ttl_ns=lease.ttl_ns)
        if isinstance(written, Lost):
            return written
        return Lease(lease.epoch, lease.holder, asked_at_ns, lease.ttl_ns)

    def release(self, lease: Lease) -> None:
        self._write(lease, holder="")

    def record(self, lease: Lease, note: bytes) -> bool:
        written = self._write(lease, note=check_note(note), note_epoch=lease.epoch)
        return not isinstance(written, Lost)

    def read(self) -> Stored:
        _, value = self._look(begins=True)
        if value is None:
            return Stored(0, None)
        holder = value.holder if self._free_in_ns(value) else None
        return Stored(value.epoch, holder, value.note, value.note_epoch)

    def close(self) -> None:
        self._cell.close()

    def _write(self, lease: Lease, **changes: Any) -> Value | Lost:
        """Write a change of the value that is ours; `Lost` where it is not ours any more."""
        if self._mine is None or self._mine[1].epoch != lease.epoch:
            return Lost(f"epoch {lease.epoch} is not a lease of this process")
        self._cell.begin()
        for _ in range(2):
            version, value = self._mine
            changed = msgspec.structs.replace(value, beat=value.beat + 1, **changes)
            swapped = self._cell.swap(version, changed)
            if swapped is not None:
                self._mine = swapped
                if not swapped[1].holder:
                    self._mine = None
                return swapped[1]
            lost = self._mine_again()
            if lost is not None:
                return lost
        return Lost(f"epoch {lease.epoch} is written by somebody else too")

    def _mine_again(self) -> Lost | None:
        """A write failed: whether the newer value is one of our own that had no answer."""
        assert self._mine is not None
        version, value = self._look()
        epoch = self._mine[1].epoch
        if value is not None and (value.token, value.epoch) == (self._token, epoch):
            if not value.holder:
                return Lost("it was given back")
            self._mine = version, value
            return None
        self._mine = None
        if value is None:
            return Lost("somebody has deleted it")
        return Lost(f"epoch {value.epoch} is {value.holder or 'nobody'}'s")

    def _look(self, *, begins: bool = False) -> tuple[V, Value | None]:
        """Read, and keep since when it is unchanged."""
        if begins:
            self._cell.begin()
        version, value = self._cell.get()
        if self._seen is None or self._seen[0] != version:
            self._seen = version, self._clock()
        return version, value

    def _free_in_ns(self, value: Value) -> int:
        """How long the value seen last may still be a lease; 0: it is none."""
        if not value.holder or self._seen is None:
            return 0
        return max(0, self._seen[1] + value.ttl_ns - self._clock())

    def _is_unused(self, value: Value) -> bool:
        """Whether it is an acquisition of our own that had no answer: nobody acts on it."""
        return value.token == self._token and value.epoch > self._given
