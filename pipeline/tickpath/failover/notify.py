"""A command that is run when a node's role changes: for people and for what they have around it.

    [node]
    notify = ["/etc/tickpath/notify", "pager"]

It gets TICKPATH_NODE, TICKPATH_ROLE (STANDBY, ACTIVE, ...), TICKPATH_ROLE_BEFORE, TICKPATH_EPOCH
and TICKPATH_REASON in its environment, and nothing of the credentials in ours.  A process of its
own runs one at a time, in order (`notify_runner`); all that the loop does is write a line into a
pipe.  What does not fit there any more is dropped; that, failures and timeouts are counted.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tickpath.failover.control_error import ControlError
from tickpath.session.credentials import PASSWORD, USERNAME

MOST_REASON = 500
END_S = 1.0
"""How long `close` waits for what is under way."""
_RUNNER = str(Path(__file__).with_name("notify_runner.py"))
_MOST_READ = 1 << 14


class Notify:
    """See the module's text."""

    def __init__(self, command: Sequence[str], timeout_s: float) -> None:
        """Without a ``command`` nothing is ever done.

        Raises `ControlError` where the process that runs it cannot be had.
        """
        self._role = ""
        self._counters: Counter[str] = Counter()
        self._runner: subprocess.Popen[bytes] | None = None
        self._rest = b""
        if not command:
            return
        environment = {k: v for k, v in os.environ.items() if k not in (USERNAME, PASSWORD)}
        try:
            self._runner = subprocess.Popen(
                [sys.executable, "-P", "-S", _RUNNER, str(timeout_s), *command],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise ControlError(f"node.notify: {error.strerror}") from None
        for pipe in (self._runner.stdin, self._runner.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)

    def tell(self, node: str, role: str, epoch: int, reason: str) -> None:
        """Have it run for a change of the role."""
        before, self._role = self._role, role
        if self._runner is None:
            return
        said = {
            "TICKPATH_NODE": node,
            "TICKPATH_ROLE": role,
            "TICKPATH_ROLE_BEFORE": before,
            "TICKPATH_EPOCH": str(epoch),
            "TICKPATH_REASON": reason.replace("\0", " ")[:MOST_REASON],
        }
        assert self._runner.stdin is not None
        try:
            # Below PIPE_BUF: all of it or nothing.
            os.write(self._runner.stdin.fileno(), json.dumps(said).encode() + b"\n")
        except OSError:
            self._counters["notify_dropped"] += 1

    @property
    def counters(self) -> Counter[str]:
        """What became of those that were run, and how many were not."""
        if self._runner is not None:
            assert self._runner.stdout is not None
            try:
                raw = os.read(self._runner.stdout.fileno(), _MOST_READ)
            except OSError:
                raw = b""
            *words, self._rest = (self._rest + raw).split(b"\n")
            self._counters.update(f"notify_{word.decode('ascii', 'replace')}" for word in words)
        return self._counters

    def close(self) -> None:
        """Take no more; what waits is run as far as there is time."""
        runner = self._runner
        if runner is None:
            return
        assert runner.stdin is not None and runner.stdout is not None
        runner.stdin.close()
        try:
            runner.wait(END_S)
        except subprocess.TimeoutExpired:
            runner.terminate()
            runner.wait()
        self._runner = None
        runner.stdout.close()
