"""The lease store's calls on a thread of their own: they block, the node's loop never does.

One call at a time, in the order in which they were asked for; answers are events of the role, and
wake whoever waits for `StoreThread.fileno`.  What waits is bounded by the role, which has one
request of a kind at a time.

A store that counts a lease's end from when it was last seen to change (`LeaseStore.needs_looks`) is
looked at while nothing is asked, so that a standby need not wait for a whole lease when it begins
to want it.
"""

import contextlib
import os
import queue
import threading
import time

from tickpath.failover import role_action as act
from tickpath.failover import role_event as told
from tickpath.failover.lease import Held, Lease, LeaseError, LeaseStore, Lost

StoreAction = act.Acquire | act.Renew | act.Release | act.RecordNote | act.ReadStore


class StoreThread:
    """See the module's text."""

    def __init__(self, store: LeaseStore, node: str, look_ns: int) -> None:
        """``look_ns``: how often a store that needs it is looked at."""
        self._store, self._node = store, node
        self._look_s = look_ns / 1e9 if store.needs_looks else None
        self.looks_failed = 0
        self._asked: queue.SimpleQueue[StoreAction | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[told.Event] = queue.SimpleQueue()
        self._lease: Lease | None = None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def ask(self, action: StoreAction) -> None:
        """Have it done; its answer comes by `answers`."""
        self._asked.put(action)

    def fileno(self) -> int:
        """Can be read when there are answers."""
        return self._wake

    def answers(self) -> list[told.Event]:
        """What has been answered since."""
        if self._answers.empty():
            return []
        with contextlib.suppress(BlockingIOError):  # the answer is there, its word not yet
            os.eventfd_read(self._wake)
        found: list[told.Event] = []
        while not self._answers.empty():  # nobody else takes from it
            found.append(self._answers.get_nowait())
        return found

    def close(self) -> None:
        """End the thread; a lease that is held runs out, unless it was released."""
        self._asked.put(None)
        self._thread.join(2.0)
        self._store.close()
        if not self._thread.is_alive():
            os.close(self._wake)

    def _run(self) -> None:
        while True:
            try:
                action = self._asked.get(timeout=self._look_s)
            except queue.Empty:
                self._look()
                continue
            if action is None:
                return
            try:
                self._answers.put(self._done(action))
            except LeaseError as error:
                self._answers.put(told.StoreFailed(action.request, str(error)))
            os.eventfd_write(self._wake, 1)

    def _look(self) -> None:
        try:
            self._store.read()
        except LeaseError:  # whoever needs the store will say so
            self.looks_failed += 1

    def _done(self, action: StoreAction) -> told.Event:
        match action:
            case act.Acquire(request, ttl_ns):
                granted = self._store.acquire(self._node, ttl_ns)
                if isinstance(granted, Held):
                    return told.Held(request, granted.holder, granted.epoch)
                self._lease = granted
                return told.Acquired(request, granted.epoch, granted.asked_at_ns, granted.ttl_ns)
            case act.Renew(request, epoch):
                return self._renewed(request, epoch)
            case act.Release(request, epoch):
                if self._lease is not None and self._lease.epoch == epoch:
                    self._store.release(self._lease)
                    self._lease = None
                return told.Released(request)
            case act.RecordNote(request, epoch, note):
                lease = self._lease
                is_ours = lease is not None and lease.epoch == epoch
                return told.Recorded(request, is_ours and self._store.record(lease, note))  # type: ignore[arg-type]
            case act.ReadStore(request):
                stored = self._store.read()
                return told.Stored(request, stored.epoch, stored.holder, stored.note)

    def _renewed(self, request: int, epoch: int) -> told.Event:
        lease = self._lease
        if lease is None or lease.epoch != epoch:
            return told.Lost(request, "it is not ours")
        renewed = self._store.renew(lease)
        if isinstance(renewed, Lost):
            return told.Lost(request, renewed.reason)
        self._lease = renewed
        return told.Renewed(request, renewed.asked_at_ns, renewed.ttl_ns)


def now_ns() -> int:
    """The clock of leases and roles."""
    return time.monotonic_ns()
