"""A command that is run when a node's role changes: for people and for what they have around it.

    [node]
    notify = ["/etc/tickpath/notify", "pager"]

It gets TICKPATH_NODE, TICKPATH_ROLE (STANDBY, ACTIVE, ...), TICKPATH_ROLE_BEFORE, TICKPATH_EPOCH
and TICKPATH_REASON in its environment, and nothing of the credentials in ours.  A thread runs one
at a time, in order; one that takes too long is killed with its children, and what waits is bounded.
All of that is counted, and the node's loop never waits for it.
"""

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Sequence

from tickpath.session.credentials import PASSWORD, USERNAME

MOST_WAITING = 64
END_S = 1.0
"""How long `close` waits for what is under way."""


class Notify:
    """See the module's text."""

    def __init__(self, command: Sequence[str], timeout_s: float) -> None:
        """Without a ``command`` nothing is ever done."""
        self._command, self._timeout_s = list(command), timeout_s
        self._waiting: queue.Queue[dict[str, str] | None] = queue.Queue(MOST_WAITING)
        self._role = ""
        self._is_closed = False
        self.counters: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        if self._command:
            self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
            self._thread.start()

    def tell(self, node: str, role: str, epoch: int, reason: str) -> None:
        """Have it run for a change of the role."""
        before, self._role = self._role, role
        if self._thread is None:
            return
        said = {
            "TICKPATH_NODE": node,
            "TICKPATH_ROLE": role,
            "TICKPATH_ROLE_BEFORE": before,
            "TICKPATH_EPOCH": str(epoch),
            "TICKPATH_REASON": reason.replace("\0", " "),
        }
        try:
            self._waiting.put_nowait(said)
        except queue.Full:
            self.counters["notify_dropped"] += 1

    def _run(self) -> None:
        while (said := self._waiting.get()) is not None and not self._is_closed:
            environment = {k: v for k, v in os.environ.items() if k not in (USERNAME, PASSWORD)}
            try:
                self._call({**environment, **said})
            except OSError:
                self.counters["notify_failed"] += 1

    def _call(self, environment: dict[str, str]) -> None:
        """Run it once.  Raises `OSError` where it cannot be run."""
        self.counters["notify_runs"] += 1
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(
            self._command,
            env=environment,
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
            start_new_session=True,
        )
        try:
            code = process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            self.counters["notify_timed_out"] += 1
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return
        if code:
            self.counters["notify_failed"] += 1

    def close(self) -> None:
        """Take no more; what waits is run as far as there is time."""
        if self._thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(END_S)
        self._is_closed = True
