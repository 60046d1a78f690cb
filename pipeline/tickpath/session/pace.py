"""How fast: a port's message rate, and the pauses between attempts to reconnect."""

import random

SECOND_NS = 1_000_000_000


class TokenBucket:
    """A message rate with a burst, kept as the time at which the bucket will be full again.

    The invariant: in any stretch of time at most ``burst`` and then ``per_second`` are let through,
    but for those that were `forced`, which the following ones pay for.
    """

    def __init__(self, per_second: int, burst: int):
        self.interval_ns = max(1, SECOND_NS // per_second)
        self._depth_ns = (burst - 1) * self.interval_ns
        self._full_at_ns: int | None = None

    def take(self, now_ns: int) -> bool:
        """Take a token; False where there is none."""
        if self.ready_at(now_ns) > now_ns:
            return False
        self.force(now_ns)
        return True

    def force(self, now_ns: int) -> None:
        """Take a token, also one that will only be there later."""
        full_at_ns = now_ns if self._full_at_ns is None else max(self._full_at_ns, now_ns)
        self._full_at_ns = full_at_ns + self.interval_ns

    def ready_at(self, now_ns: int) -> int:
        """When there will be a token."""
        if self._full_at_ns is None:
            return now_ns
        return max(now_ns, self._full_at_ns - self._depth_ns)


class Backoff:
    """Pauses that double up to a limit, each cut by up to half, so that not all come back at once.

    The generator is seeded: the same seed gives the same pauses.
    """

    def __init__(self, first_ns: int, longest_ns: int, attempts: int, seed: int):
        self.first_ns = first_ns
        self.longest_ns = longest_ns
        self.attempts = attempts
        self.failed = 0
        """Attempts in a row that came to nothing."""
        self._generator = random.Random(seed)

    def pause(self) -> int | None:
        """Note a failed attempt; gives the pause before the next, None where that was the last."""
        self.failed += 1
        if self.failed >= self.attempts:
            return None
        # Doubling is cut short before it becomes a huge number.
        whole_ns = min(self.longest_ns, self.first_ns << min(self.failed - 1, 40))
        return whole_ns - int(self._generator.random() * (whole_ns // 2))

    def reset(self) -> None:
        """The line has held: the next failure is the first again."""
        self.failed = 0
