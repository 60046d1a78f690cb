"""A clock for everybody that a test moves by hand: the process's own pauses do not count.

A machine may give a process no time for seconds.  Peers that a test moves in turns had no chance to
speak in that time, so a lease or a time limit of theirs that ends by it says nothing of them.
"""

import threading
import time

LONGEST_STEP_NS = 20_000_000
"""What passes at most from look to look."""


class PatientClock:
    """Nanoseconds, of one process and all of its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._real_ns = self._now_ns = time.monotonic_ns()

    def __call__(self) -> int:
        with self._lock:
            real_ns = time.monotonic_ns()
            self._now_ns += min(real_ns - self._real_ns, LONGEST_STEP_NS)
            self._real_ns = real_ns
            return self._now_ns
