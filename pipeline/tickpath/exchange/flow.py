"""Other people's orders: what every kind of background flow is, and the one that is none.

A flow acts on matching at times of its own, `due_ns` in exchange time, and never looks at a clock.
"""

from tickpath.exchange.event import Event

FOREVER = 1 << 62


class NoFlow:
    """An empty market: only accounts trade."""

    due_ns = FOREVER
    start_ns: int | None = None
    """When the day starts, where the flow knows better than the configuration."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}

    def begin(self, now_ns: int) -> list[Event]:
        """The books with which the day opens; called once, at its start."""
        return []

    def step(self) -> list[Event]:
        """Act, at `due_ns`, and find out when to act next."""
        raise AssertionError("an empty flow is never due")
