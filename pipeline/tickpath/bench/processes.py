"""What only a process of its own shows: peak memory, and how long a start takes.

Start-up is measured from outside, by the wall clock around the whole command, because that is what
a person waits for, with its CPU time beside it: ``tickpath --help``, and a replay of one message,
from the start of the process to its exit with the result printed.  The first start fills the cache
of machine code and is not counted, so what is measured is a second start.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tickpath.bench.answer import Answer
from tickpath.bench.error import BenchError
from tickpath.bench.own import EngineRun

HELP_RUNS, REPLAY_RUNS = 5, 3
TIMEOUT_S = 300
_TICKPATH = (sys.executable, "-m", "tickpath.cli")


def _cpu_s() -> float:
    """CPU seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(*command: str) -> tuple[str, float, float]:
    """(stdout, wall seconds, CPU seconds) of a command that must succeed."""
    started, cpu_s = time.perf_counter(), _cpu_s()
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    seconds, cpu_s = time.perf_counter() - started, _cpu_s() - cpu_s
    if done.returncode:
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        raise BenchError(f"{' '.join(command[1:3])} failed: {last}")
    return done.stdout, seconds, cpu_s


def memory(daily_file: Path, pipeline: EngineRun, answer: Answer, ratio: int) -> dict[str, Any]:
    """Peak memory of a process that replays the session as the pipeline contestant did.

    `peak_bytes` is the kernel's VmHWM: interpreter, compiler and machine code, pre-faulted tables,
    and the pages of the mapped file.  Verified where the digests are the contestant's.
    """
    spans = json.dumps(pipeline.spans)
    module = (sys.executable, "-m", "tickpath.bench.child")
    text, *_ = _run(*module, str(daily_file), spans, str(ratio))
    found = json.loads(text)
    right = (answer.messages, answer.book_digest, answer.state_digest)
    given = (found["messages"], found.pop("book_digest"), found.pop("state_digest"))
    return {**found, "verified": given == right}


def _times(name: str, runs: list[tuple[str, float, float]]) -> dict[str, Any]:
    """Medians and runs of what was started; the first one, which fills caches, left out."""
    counted = runs[1:]
    return {
        f"{name}_seconds": round(statistics.median(wall for _, wall, _ in counted), 4),
        f"{name}_cpu_seconds": round(statistics.median(cpu_s for _, _, cpu_s in counted), 4),
        f"{name}_runs": [round(wall, 4) for _, wall, _ in counted],
    }


def start(daily_file: Path) -> dict[str, Any]:
    """Wall seconds of ``tickpath --help`` and of a second replay of one message, all runs."""
    helps = [_run(*_TICKPATH, "--help") for _ in range(HELP_RUNS + 1)]
    replay = (*_TICKPATH, "replay", str(daily_file), "--limit", "1", "--json")
    replays = [_run(*replay) for _ in range(REPLAY_RUNS + 1)]
    return {
        **_times("help", helps),
        **_times("replay", replays),
        "verified": all(json.loads(text)["messages"] == 1 for text, *_ in replays),
    }
