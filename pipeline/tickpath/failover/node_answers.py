"""What the gateway has told a node: answers of the exchange, in the order they are inputs.

Every node reads them all; only the active takes them.  A standby keeps those that the active has
not made inputs yet: `behind` says how far it has come, as the engine knows it by the stream.
"""

from collections import deque

from tickpath.engine import Engine
from tickpath.failover.gateway_event import Answer, Told
from tickpath.trade.desk import Answers as Refusals
from tickpath.trade.desk import joined

OUTCOME_SHIFT = 40
"""The engine's ``answered`` has the last answer's number below, the last outcome's above this."""
MOST = 1 << 20
"""Answers that are kept; the oldest is dropped for a new one, counted."""


def packed(answer: int, outcome: int) -> int:
    """Both numbers in one."""
    return outcome << OUTCOME_SHIFT | answer


class Answers:
    """See the module's text."""

    def __init__(self, engine: Engine) -> None:
        self._kept: deque[Answer | Told] = deque()
        self.dropped = 0
        self.serve(engine)

    def serve(self, engine: Engine) -> None:
        """They are inputs of another engine from here on; those that are kept stay."""
        self._engine = engine
        self._refusals = Refusals(engine)

    @property
    def behind(self) -> tuple[int, int]:
        """The last answer and the last outcome that are inputs."""
        answered = self._engine.block.get("answered")
        return answered & ((1 << OUTCOME_SHIFT) - 1), answered >> OUTCOME_SHIFT

    def add(self, event: Answer | Told) -> None:
        """One more."""
        self._kept.append(event)
        if len(self._kept) > MOST:
            self._kept.popleft()
            self.dropped += 1

    def _is_known(self, event: Answer | Told) -> bool:
        answer, outcome = self.behind
        if isinstance(event, Answer):
            return event.sequence <= answer
        return event.number <= outcome

    def forget(self) -> None:
        """Drop what the active has made inputs of."""
        while self._kept and self._is_known(self._kept[0]):
            self._kept.popleft()

    def take(self) -> list[tuple[bytes, int]]:
        """Messages for the engine, and the number that goes with them; nothing is kept then."""
        runs: list[tuple[bytes, int]] = []
        payloads: list[bytes] = []
        answer, outcome = self.behind
        while self._kept:
            event = self._kept.popleft()
            if isinstance(event, Answer):
                if event.sequence > answer:
                    payloads.append(event.payload)
                    answer = event.sequence
                continue
            if event.number <= outcome:
                continue
            # What came before says whether the order still waits: it goes in first.
            if payloads:
                self._engine.feed_responses(joined(payloads), packed(answer, outcome))
                payloads = []
            outcome = event.number
            refusal = self._refusals.refusal(event.payload)
            if refusal:
                self._engine.feed_responses(joined(refusal), packed(answer, outcome))
        if payloads:
            runs.append((joined(payloads), packed(answer, outcome)))
        return runs
