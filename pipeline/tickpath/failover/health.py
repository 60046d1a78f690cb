"""What monitors and load balancers are answered, from what the loop has published.

    /health    200: the loop turned within ``stale_ms``; else 503
    /ready     200: it trades well, or would if it had to take over now; else 503 with the reasons
    /role      what it is, and in which epoch; always 200
    /metrics   `metrics`

And by lines: ``PING`` -> ``PONG`` from the active alone (HAProxy's tcp-check), ``agent`` -> ``up
ready`` or ``down`` (its agent-check), ``active``, ``standby``, ``ready`` -> ``yes`` or ``no``
(check scripts).  An active is one only while its loop turns and its lease runs by its own clock: a
node that hangs is not up, whatever it was before.
"""

import json
from typing import Any, NamedTuple

from tickpath.failover.published import Published

MILLISECOND_NS = 1_000_000
OK, NOT_FOUND, NOT_NOW = 200, 404, 503
JSON = "application/json"
PATHS = ("/health", "/ready", "/role", "/metrics")
WORDS = ("PING", "agent", "active", "standby", "ready")


class Page(NamedTuple):
    """An HTTP answer."""

    code: int
    content: bytes
    kind: str = JSON


class View:
    """What is published, at a moment: is it alive, is it what it says it is?"""

    def __init__(
        self, published: Published, now_ns: int, stale_ms: int, until_ns: int | None = None
    ) -> None:
        """``until_ns`` is the lease's end as it is now: it moves faster than what is published."""
        self.said, self.now_ns = published, now_ns
        self._until_ns = published.until_ns if until_ns is None else until_ns
        self.age_ns = max(0, now_ns - published.at_ns)
        self._stale_ns = stale_ms * MILLISECOND_NS

    @property
    def is_alive(self) -> bool:
        """Whether the loop turned within the bound."""
        return self.said.state != "STARTING" and self.age_ns <= self._stale_ns

    @property
    def lease_ns(self) -> int:
        """What is left of the lease by this node's own clock."""
        return max(0, self._until_ns - self.now_ns) if self.said.state == "ACTIVE" else 0

    @property
    def is_active(self) -> bool:
        """Whether it is the active, and may send now."""
        return self.is_alive and self.lease_ns > 0

    @property
    def is_standby(self) -> bool:
        return self.is_alive and self.said.state in ("STANDBY", "CANDIDATE")

    def not_ready(self) -> list[str]:
        """Why it is not ready; empty: it is."""
        reasons = [] if self.is_alive else [self.why_not_alive()]
        if self.said.state == "ACTIVE" and not self.lease_ns:
            reasons.append("its lease has ended")
        return reasons + [each for each in self.said.reasons if each not in reasons]

    @property
    def is_ready(self) -> bool:
        return not self.not_ready()

    def why_not_alive(self) -> str:
        """In words."""
        if self.said.state == "STARTING":
            return "its engine is not ready yet"
        return f"its loop has not turned for {self.age_ns / MILLISECOND_NS:.0f} ms"

    # ------------------------------------------------------------ HTTP

    def page(self, path: str) -> Page:
        """The answer to a GET of one of ours but /metrics."""
        said = self.said
        shown: dict[str, Any] = {"node": said.name, "role": said.state, "epoch": said.epoch}
        if path == "/health":
            why = [] if self.is_alive else [self.why_not_alive()]
            loop = {"healthy": self.is_alive, "loop_age_ms": self.age_ns // MILLISECOND_NS}
            return _json(OK if self.is_alive else NOT_NOW, {**shown, **loop, "reasons": why})
        if path == "/ready":
            reasons = self.not_ready()
            ready = {"ready": not reasons, "reasons": reasons}
            return _json(NOT_NOW if reasons else OK, {**shown, **ready})
        if path == "/role":
            more = {
                "active": self.is_active,
                "alive": self.is_alive,
                "record_number": said.record_number,
                "input_number": said.input_number,
                "lag_records": said.lag_records,
                "lease_ms": self.lease_ns // MILLISECOND_NS,
            }
            return _json(OK, {**shown, **more})
        return _json(NOT_FOUND, {"error": f"there are {', '.join(PATHS)}"})

    # ------------------------------------------------------------ lines

    def line(self, word: str) -> str:
        """The answer to a line."""
        role = f"{self.said.state.lower()}, epoch {self.said.epoch}"
        if not self.is_alive:
            role = f"{role}, {self.why_not_alive()}"
        if word == "PING":
            return "PONG" if self.is_active else f"NO {role}"
        if word == "agent":
            return "up ready" if self.is_active else f"down #{role}"
        if word == "active":
            return "yes" if self.is_active else f"no: {role}"
        if word == "standby":
            return "yes" if self.is_standby else f"no: {role}"
        if word == "ready":
            reasons = self.not_ready()
            return f"no: {'; '.join(reasons)}" if reasons else "yes"
        return f"error: there are {', '.join(WORDS)}"


def _json(code: int, shown: dict[str, Any]) -> Page:
    return Page(code, json.dumps(shown).encode() + b"\n")
