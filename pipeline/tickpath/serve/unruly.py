"""What a server does on purpose to those who ask: refuses, says nothing, is late, hangs up.

Each is a share of the cases, drawn from a seeded generator of its own, and counted.
"""

import random
from collections import Counter
from typing import Annotated

import msgspec
from msgspec import Meta

Share = Annotated[float, Meta(ge=0, le=1)]
Milliseconds = Annotated[float, Meta(ge=0, le=60_000)]


class UnrulyPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often, and how late."""

    refuse: Share = 0.0
    """Requests and logins that are refused, where the protocol has words for it."""
    silent: Share = 0.0
    """Requests that are not answered."""
    cut: Share = 0.0
    """Connections that end in the middle of what they give."""
    delay_ms: Milliseconds = 0.0
    """Answers are late by a random time of up to so much."""


class Unruly:
    """Draws what befalls each case."""

    def __init__(self, plan: UnrulyPlan, seed: int, name: str) -> None:
        self.plan = plan
        self.counters: Counter[str] = Counter()
        self._name = name
        self._chance = random.Random(f"unruly {name} {seed}")

    def refuses(self) -> bool:
        """Whether this request or login is refused."""
        return self._draw("refuse")

    def is_silent(self) -> bool:
        """Whether this request gets no answer."""
        return self._draw("silent")

    def cuts(self) -> bool:
        """Whether this connection ends too early."""
        return self._draw("cut")

    def delay_ns(self) -> int:
        """How late this answer is."""
        return int(self._chance.random() * self.plan.delay_ms * 1e6)

    def part(self, whole: int) -> int:
        """How much of something comes before a cut."""
        return self._chance.randrange(whole + 1)

    def choice(self, of: str) -> str:
        """One of several letters."""
        return self._chance.choice(of)

    def _draw(self, what: str) -> bool:
        share = getattr(self.plan, what)
        drawn = self._chance.random() < share  # drawn always, so that one does not shift another
        if drawn:
            self.counters[f"{self._name}_{what}"] += 1
        return drawn
