"""A node's snapshot, made by a child process while the node's loop goes on.

A fork is the cut: the child has the memory of one moment between two inputs, copied by the kernel
page by page as the node goes on writing.  The child makes the snapshot of it, writes that to a
memory file, and ends; it never returns into the loop, holds no socket, and the kernel ends it with
its node.  The node's loop stands still for the fork alone.

Other threads of the node do not exist in the child.  It calls nothing that may need a lock of
theirs: no logging, no ZeroMQ, no import, no compiler.  Should it hang all the same, it is killed
after `MOST_S`, and whoever asked is told; `control.MOST_LATER` are alive at a time at most.

The worst case is memory: what the node writes meanwhile is there twice, and the snapshot beside it.
Where the kernel has no room for a child the question is refused, and nothing else happens.
"""

import ctypes
import gc
import json
import mmap
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import NoReturn

from tickpath.engine import Engine
from tickpath.failover.control import CHUNK_BYTES, Answer, Content, content_of
from tickpath.failover.control_error import ControlError
from tickpath.snapshot_stream import SnapshotError

MOST_S = 20.0
NICE = 5
"""The child is in no hurry; the node's loop is."""
NOT_WHOLE, FAILED = 1, 2
_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: the child looks nothing up
_OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class StateCopy:
    """One child and what it makes; `answer` is asked until it gives something."""

    def __init__(
        self, engine: Engine, counters: Counter[str], say: Callable[[str], None] = lambda text: None
    ) -> None:
        """Fork.  Raises `ControlError` where the kernel has no room for that."""
        self._counters = counters
        self._number = engine.block.get("record_number")
        self._end_s = time.monotonic() + MOST_S
        self._memory = os.memfd_create("snapshot", os.MFD_CLOEXEC)
        node = os.getpid()
        begun_ns = time.monotonic_ns()
        try:
            self._pid = os.fork()
        except OSError as error:
            os.close(self._memory)
            counters["snapshots_without_room"] += 1
            raise ControlError(f"no room for a copy of the state: {error.strerror}") from None
        if self._pid == 0:
            _make(engine, self._memory, node)
        took_ms = (time.monotonic_ns() - begun_ns) / 1e6
        say(f"a copy of the state behind record {self._number:,} took {took_ms:.3f} ms of the loop")

    def answer(self) -> Answer | None:
        """The snapshot, None as long as it is being made.  Raises `ControlError`."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            if time.monotonic() < self._end_s:
                return None
            self.end()
            self._counters["snapshots_late"] += 1
            raise ControlError(f"the state was not copied within {MOST_S:g} s")
        self._pid = 0
        try:
            if status:
                self._counters["snapshots_failed"] += 1
                raise ControlError(f"the state could not be copied: {_words(status)}")
            return self._read()
        finally:
            os.close(self._memory)

    def _read(self) -> Answer:
        size = os.fstat(self._memory).st_size
        try:
            mapped = memoryview(mmap.mmap(self._memory, size, prot=mmap.PROT_READ))
        except OSError as error:
            self._counters["snapshots_without_room"] += 1
            raise ControlError(f"no room for a copy of the state: {error.strerror}") from None
        end = size - int.from_bytes(mapped[-8:], "little") - 8
        self._counters["snapshots_given"] += 1
        digests = json.loads(bytes(mapped[end:-8]))
        chunks = [mapped[at : min(at + CHUNK_BYTES, end)] for at in range(0, end, CHUNK_BYTES)]
        return {"record_number": self._number}, Content(chunks, digests)

    def end(self) -> None:
        """Kill a child that is still at it."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            os.close(self._memory)
            self._pid = 0


def _words(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == NOT_WHOLE:
        return "it is in the middle of an input"
    return f"signal {-code}" if code < 0 else f"code {code}"


def _make(engine: Engine, memory: int, node: int) -> NoReturn:
    """In the child: the snapshot, the digests of its chunks, and the length of these."""
    code = FAILED
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != node:
            os._exit(FAILED)
        gc.disable()
        os.closerange(3, memory)  # nobody must think that a connection of the node is still there
        os.closerange(memory + 1, _OPEN_FILES)
        os.nice(NICE)
        try:
            saved = engine.snapshot()
        except SnapshotError:
            os._exit(NOT_WHOLE)
        digests = content_of(saved).digests
        tail = json.dumps(digests).encode()
        for part in (saved, tail, len(tail).to_bytes(8, "little")):
            left = memoryview(part)
            while left:
                left = left[os.write(memory, left) :]
        code = os.EX_OK
    finally:
        os._exit(code)
