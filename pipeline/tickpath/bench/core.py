"""The core that everything runs on: chosen for its quiet, kept, and watched while it is measured.

On a shared machine a result is worth what else ran during it.  `Watch` reads the kernel's own count
of ticks: what the hypervisor kept from our core, what other processes took of it, and how busy the
other cores were, which share its outer cache and its memory.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tickpath.bench.error import BenchError

LOOK_S = 0.25
"""How long cores are watched before one is chosen."""
STAT = Path("/proc/stat")
_IDLE, _IOWAIT, _STEAL, _COLUMNS = 3, 4, 7, 8


class Ticks(NamedTuple):
    """What a core did since the machine started, in clock ticks."""

    busy: int
    idle: int
    stolen: int


def ticks(stat: Path = STAT) -> dict[int, Ticks]:
    """Ticks of each core; {} where the machine does not show them."""
    found = {}
    try:
        lines = stat.read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        name, *values = line.split() or [""]
        number = name.removeprefix("cpu")
        if name != number and number.isdigit() and len(values) >= _COLUMNS:
            numbers = [int(value) for value in values[:_COLUMNS]]
            idle, stolen = numbers[_IDLE] + numbers[_IOWAIT], numbers[_STEAL]
            found[int(number)] = Ticks(sum(numbers) - idle - stolen, idle, stolen)
    return found


def quietest(cores: set[int]) -> int:
    """The core that is idle most of `LOOK_S`; of equal ones the last, for the first serve most."""
    before = ticks()
    time.sleep(LOOK_S)
    after = ticks()

    def idle(core: int) -> int:
        return after[core].idle - before[core].idle if core in after and core in before else 0

    return max(cores, key=lambda core: (idle(core), core))


@contextmanager
def pinned() -> Iterator[int]:
    """Keep this thread, and what it starts, on the quietest core for a while; gives its number."""
    allowed = os.sched_getaffinity(0)
    core = quietest(allowed)
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        raise BenchError(f"core {core} cannot be kept: {error.strerror}") from None
    try:
        yield core
    finally:
        os.sched_setaffinity(0, allowed)


class Watch:
    """What the machine did beside us from the moment this was made."""

    def __init__(self, core: int) -> None:
        self._core = core
        self._ticks, self._own_s, self._started = ticks(), _own_s(), time.perf_counter()

    def shares(self) -> dict[str, float | None]:
        """Shares of the time so far; None where the machine does not show them.

        ``stolen_share`` the hypervisor kept from our core, ``others_share`` other processes had of
        it, ``other_cores_busy_share`` the other cores were busy.
        """
        after, seconds = ticks(), time.perf_counter() - self._started
        if self._core not in after or self._core not in self._ticks or not seconds:
            return dict.fromkeys(("stolen_share", "others_share", "other_cores_busy_share"))
        hertz = os.sysconf("SC_CLK_TCK")
        passed = {
            core: Ticks(*(late - early for late, early in zip(now, self._ticks[core], strict=True)))
            for core, now in after.items()
            if core in self._ticks
        }
        mine = passed.pop(self._core)
        others_s = mine.busy / hertz - (_own_s() - self._own_s)
        busy = sum(each.busy for each in passed.values())
        return {
            "stolen_share": round(mine.stolen / hertz / seconds, 4),
            "others_share": round(max(others_s, 0.0) / seconds, 4),
            "other_cores_busy_share": (
                round(busy / hertz / seconds / len(passed), 4) if passed else None
            ),
        }


def _own_s() -> float:
    """CPU seconds of this process and of those that it started."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system
