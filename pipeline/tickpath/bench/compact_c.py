"""The compact C book: the floor that a book of this shape has on this machine, if it is at hand.

It is a program of its own, not part of this project: `SOURCE` in the folder `FOLDER` beside the
project, compiled here with gcc.  It parses the same file with the same lookahead and keeps the same
kind of book (windows of 1,024 ticks, order queues), but no statistics, digest, counters or checks,
and it takes its input to be right.  It prints nanoseconds a message of its own loop; its clock is
set to CPU time, as ours is.
"""

import re
import shutil
import subprocess
from pathlib import Path

from tickpath.bench.error import BenchError
from tickpath.bench.turns import Outcome, Timing

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "prototypes" / "c_limit"
SOURCE = "limit2.c"
COMPILE = ("gcc", "-O3", "-march=native", "-w")
CPU_TIME = """#define _GNU_SOURCE
#include <time.h>
#undef CLOCK_MONOTONIC
#define CLOCK_MONOTONIC CLOCK_THREAD_CPUTIME_ID
"""
"""Included before the source, so that its clock gives CPU time."""
TIMEOUT_S = 300
_LINE = re.compile(r"win book\+pf K=8 +(?P<ns>[\d.]+) ns/msg .*state=(?P<state>[0-9a-f]+)")
_REFERENCE = re.compile(r"sorted-array state=(?P<state>[0-9a-f]+) live=(?P<live>\d+)")


def why_not(folder: Path = FOLDER) -> str | None:
    """Why it cannot run here; None where it can."""
    if not (folder / SOURCE).is_file():
        return "its source is not part of this project and is not at hand"
    if shutil.which(COMPILE[0]) is None:
        return "no gcc (apt-get install gcc)"
    return None


class CompactC:
    """The C book with a lookahead of 8, on a daily file."""

    name = "C, compact book"
    note = "written for this comparison: L3 book, lookahead 8, no statistics, digest or checks"
    warm_ups = 0

    def __init__(
        self, daily_file: Path, messages: int, live: int, work: Path, folder: Path = FOLDER
    ):
        """Compile it.  Raises `BenchError` where that fails."""
        self.messages, self._live = messages, live
        self._file, self._program = daily_file, work / "compact_c"
        header = work / "cpu_time.h"
        header.write_text(CPU_TIME)
        include = ["-include", str(header), str(folder / SOURCE), "-o", str(self._program)]
        done = subprocess.run([*COMPILE, *include], capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"{SOURCE} does not compile: {done.stderr.strip()[-200:]}")

    def run(self) -> Outcome:
        """One pass with each of its lookaheads; the one of 8 counts."""
        done = subprocess.run(
            [str(self._program), str(self._file), "1"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        if done.returncode:
            raise BenchError(f"the C book failed with exit code {done.returncode}")
        return parse(done.stdout, self.messages, self._live)


def parse(text: str, messages: int, live: int) -> Outcome:
    """What its output says: its time, whether its two kinds of book agree, its live orders."""
    line, reference = _LINE.search(text), _REFERENCE.search(text)
    if line is None or reference is None:
        raise BenchError("the C book's output is not understood")
    problems = []
    if line["state"] != reference["state"]:
        problems.append("its book differs from its own reference book")
    if int(reference["live"]) != live:
        problems.append(f"{reference['live']} live orders, {live} expected")
    cpu_ns = round(float(line["ns"]) * messages)
    return Outcome(Timing(cpu_ns, None), line["state"], tuple(problems))
