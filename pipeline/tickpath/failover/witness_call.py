"""One call to the witnesses under way: asked again and again, until enough of them have answered.

Sans-I/O.  A call's course is a generator: it gives what to ask next, and takes answers that came
and the time.  A question goes to all witnesses, again to those that have not answered whenever
`Call.next_deadline` has come, and the course goes on when the answers are enough for it or the
call's time is up; what it makes of too few is its own matter.
"""

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

import msgspec

from tickpath.failover.lease import LeaseError
from tickpath.failover.witness_message import ABSENT, Answer, Question, answered, question_bytes
from tickpath.wire.table import WireError

R = TypeVar("R")
Answers = Mapping[int, Answer]
"""By witness, those that have a say."""


class UnreachableError(LeaseError):
    """Too few witnesses had a say in time."""


class Ask(msgspec.Struct, frozen=True):
    """A question to all witnesses, and when their answers are enough."""

    question: Question
    is_enough: Callable[[Answers, bool], bool]
    """(answers, whether somebody was asked twice by now)."""


class Wait(msgspec.Struct, frozen=True):
    """Nothing, for a time."""

    ns: int


Steps = Generator[Ask | Wait, tuple[Answers, int], R]
"""A call's course: gives what to do next, takes (answers, now_ns)."""


class Call:
    """One call under way; over when `is_over`, with a `result` or an `error`."""

    def __init__(
        self,
        steps: Steps,
        count: int,
        cluster: int,
        *,
        resend_ns: int,
        deadline_ns: int,
        now_ns: int,
    ):
        self.result: Any = None
        self.error: LeaseError | None = None
        self.is_over = False
        self.malformed = 0
        self._steps, self._count, self._cluster = steps, count, cluster
        self._resend_ns, self._deadline_ns = resend_ns, deadline_ns
        self._output: list[tuple[int, bytes]] = []
        self._answers: dict[int, Answer] = {}
        self._absent: dict[int, Answer] = {}
        self._ask: Ask | None = None
        self._datagram = b""
        self._again_ns = now_ns
        self._was_resent = False
        self._go_on(now_ns, begins=True)

    def take_output(self) -> list[tuple[int, bytes]]:
        """(witness, datagram) to send now."""
        taken, self._output = self._output, []
        return taken

    @property
    def next_deadline(self) -> int:
        """When `pass_time` has something to do."""
        return min(self._again_ns, self._deadline_ns)

    def receive(self, witness: int, datagram: bytes, now_ns: int) -> None:
        """Take what a witness sent."""
        if self._ask is None or self.is_over:
            return
        try:
            answer = answered(datagram, self._cluster)
        except WireError:
            self.malformed += 1
            return
        if answer.number != self._ask.question.number or witness in self._answers:
            return
        if answer.code in ABSENT or not answer.is_voting:
            self._absent[witness] = answer
            return
        self._absent.pop(witness, None)
        self._answers[witness] = answer
        if self._ask.is_enough(self._answers, self._was_resent):
            self._go_on(now_ns)

    def pass_time(self, now_ns: int) -> None:
        """Ask again, go on after a wait, or end at the deadline."""
        if self.is_over:
            return
        if now_ns >= self._deadline_ns:
            self._go_on(now_ns)
        elif now_ns >= self._again_ns:
            self._was_resent = True
            if self._ask is None or self._ask.is_enough(self._answers, True):
                self._go_on(now_ns)
            else:
                self._send(now_ns)

    def _send(self, now_ns: int) -> None:
        self._again_ns = now_ns + self._resend_ns
        self._output += [
            (each, self._datagram) for each in range(self._count) if each not in self._answers
        ]

    def _go_on(self, now_ns: int, *, begins: bool = False) -> None:
        """Let the course go on until it waits for something."""
        try:
            while True:
                step = self._steps.send(None if begins else (self._answers, now_ns))  # type: ignore[arg-type]
                begins = False
                self._answers, self._was_resent = {}, False
                if isinstance(step, Wait):
                    self._ask, self._again_ns = None, now_ns + step.ns
                    return
                self._ask, self._absent = step, {}
                self._datagram = question_bytes(step.question, self._cluster)
                self._send(now_ns)
                if not step.is_enough({}, False):
                    return
        except StopIteration as end:
            self.result, self.is_over = end.value, True
        except LeaseError as error:
            self.error, self.is_over = error, True

    def absent(self) -> list[tuple[int, str]]:
        """(witness, why) of those that had no say in the last question."""
        why = dict.fromkeys(self._absent, "its disk refuses")
        why |= {each: "has no say yet" for each in self._absent if not self._absent[each].is_voting}
        missing = (each for each in range(self._count) if each not in self._answers)
        return [(each, why.get(each, "is silent")) for each in missing]
