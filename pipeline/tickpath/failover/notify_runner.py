"""The process that runs a node's notify command: started with the node, ended with its pipe.

    python notify_runner.py TIMEOUT_S WORD...      an object of environment variables a line in,
                                                   a word a line out: what became of it

Starting a process stops whoever starts it until the other one runs, which on a busy machine can
take longer than a takeover; so the node does not.  One command runs at a time, in order.  It has a
session of its own and is killed with its children where it takes too long.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence


def run(command: Sequence[str], said: dict[str, str], timeout_s: float) -> str:
    """Run it once; gives what became of it."""
    nothing = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, **said},
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
            start_new_session=True,
        )
    except OSError:
        return "failed"
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return "timed_out"
    finally:
        if process.returncode is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return "failed" if code else "done"


def main() -> None:
    """Until the pipe ends, or SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node ends this
    timeout_s, command = float(sys.argv[1]), sys.argv[2:]
    for line in sys.stdin:
        print(run(command, json.loads(line), timeout_s), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
