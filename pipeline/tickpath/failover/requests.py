"""What a role has asked and not been answered: one of a kind at a time, each with an end.

The invariant is that an answer is taken once, by the question that is still open: late, doubled
and foreign ones find nothing.
"""

from enum import Enum


class Kind(Enum):
    """What was asked."""

    READ = "reading the lease store"
    ACQUIRE = "acquiring the lease"
    RENEW = "renewing the lease"
    RELEASE = "releasing the lease"
    NOTE = "recording a note"
    GATEWAY = "asking the gateway"
    FREEZE = "keeping the state as it is"
    REQUIRE = "changing the gate"
    DRAIN = "draining"
    STOP = "stopping"
    DRILL_READ = "a drill's reading of the lease store"
    DRILL_GATEWAY = "a drill's question to the gateway"


class Requests:
    """Numbers for requests, and which are open."""

    def __init__(self) -> None:
        self._last = 0
        self._open: dict[Kind, tuple[int, int]] = {}

    def open(self, kind: Kind, now_ns: int, timeout_ns: int) -> int:
        """A new request's number; an older one of its kind is given up."""
        self._last += 1
        self._open[kind] = (self._last, now_ns + timeout_ns)
        return self._last

    def is_open(self, kind: Kind) -> bool:
        """Whether an answer is waited for."""
        return kind in self._open

    def close(self, request: int) -> Kind | None:
        """What this answer answers, or None where nobody waits for it."""
        for kind, (number, _) in self._open.items():
            if number == request:
                del self._open[kind]
                return kind
        return None

    def give_up(self, *kinds: Kind) -> None:
        """Wait no longer; without kinds for nothing at all."""
        for kind in kinds or tuple(self._open):
            self._open.pop(kind, None)

    def put_off(self, kind: Kind, late_ns: int) -> None:
        """Wait so much longer, where something is waited for."""
        if kind in self._open:
            number, end_ns = self._open[kind]
            self._open[kind] = number, end_ns + late_ns

    def expired(self, now_ns: int) -> list[Kind]:
        """Those whose time is over, closed."""
        kinds = [kind for kind, (_, end_ns) in self._open.items() if now_ns >= end_ns]
        self.give_up(*kinds) if kinds else None
        return kinds

    def due_ns(self) -> int | None:
        """When the next one's time is over."""
        return min((end_ns for _, end_ns in self._open.values()), default=None)
