"""What is known of one line under recovery; `step.step` alone changes it.

There is at most one hole: the one at the next message that the engine lacks.  What is missing
behind it is told by the engine when this one is closed.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tickpath.recovery.kept import Kept
from tickpath.recovery.limits import Limits
from tickpath.recovery.state import State


class Asked(NamedTuple):
    """A request under way, for messages up to ``behind`` - 1."""

    behind: int
    deadline_ns: int
    attempts: int


class Line:
    """One line's state.  ``servers`` is how many can be asked, by number, for messages."""

    def __init__(self, limits: Limits, servers: int, has_snapshot: bool) -> None:
        self.limits, self.servers, self.has_snapshot = limits, servers, has_snapshot
        self.state = State.UNKNOWN
        self.counters: Counter[str] = Counter()
        self.session = b""
        self.is_stale = False
        """True from a declared gap to the next snapshot."""
        self.next = 0
        """The next message that the engine lacks."""
        self.last = -1
        """The last message of the hole; less than ``next`` where there is none."""
        # Asking
        self.server = 0
        self.closed: set[int] = set()  # servers that are not asked any more today
        self.tried: set[int] = set()  # servers that could not help with this hole
        self.asked: dict[int, Asked] = {}
        self.kept = Kept(limits.kept_packets, limits.kept_bytes)
        self.request_messages = limits.request_messages
        self.refusals = 0
        self.progress_ns = 0
        self.paused_until_ns = 0
        # Snapshots
        self.snapshots = 0  # tried for this hole
        self.snapshot_deadline_ns: int | None = None  # set while one is being fetched
        self.snapshot_retry_ns: int | None = None
        self.heal_ns: int | None = None  # when a stale line tries another snapshot
        self.heals = 0

    @property
    def has_hole(self) -> bool:
        """True where messages are missing and not given up."""
        return self.next <= self.last

    @property
    def is_filling(self) -> bool:
        """True where messages are being asked for."""
        return self.state in (State.BACKFILL, State.GAP_FILL)

    @property
    def can_ask(self) -> bool:
        """True where a server is left for this hole."""
        return any(
            each not in self.closed and each not in self.tried for each in range(self.servers)
        )

    def next_server(self) -> bool:
        """Turn to a server that is left; False where there is none."""
        for step in range(self.servers):
            each = (self.server + step) % self.servers
            if each not in self.closed and each not in self.tried:
                self.server = each
                return True
        return False

    def missing(self) -> Iterator[tuple[int, int]]:
        """(first, behind) of what is neither there nor asked for, in order, within the hole."""
        known = sorted([*self.kept.ranges(), *((f, a.behind) for f, a in self.asked.items())])
        at = self.next
        for first, behind in known:
            if first > self.last:
                break
            if first > at:
                yield at, first
            at = max(at, behind)
        if at <= self.last:
            yield at, self.last + 1

    @property
    def next_deadline(self) -> int | None:
        """When a `Tick` has something to do; None where nothing is awaited."""
        due: list[int | None] = [self.snapshot_deadline_ns, self.snapshot_retry_ns, self.heal_ns]
        if self.is_filling:
            due.append(self.progress_ns + self.limits.fill_timeout_ns)
            due += (each.deadline_ns for each in self.asked.values())
            if not self.asked:
                due.append(self.paused_until_ns)
        return min((each for each in due if each is not None), default=None)
