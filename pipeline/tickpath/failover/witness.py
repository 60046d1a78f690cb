"""A witness: it promises epochs, grants leases on them, and never forgets what it promised.

Sans-I/O: datagrams and a time go in, answers and states to be written come out.  Nothing is
answered that is not on disk first: a question that changes what is kept gives a `Step` with a
state, and its answer comes from `written`, or from `not_written` where the disk refused.

    prepare   promised where no lease runs and the epoch is above all that were promised
    lease     granted, or renewed, where nothing above was promised; nobody else has that epoch,
              since its asker has been promised it by a majority

The witness's own monotonic clock says how long a lease runs, from when the question came.  Why one
lease at a time and no epoch twice follows from that is said where the majority is counted, in
`witness_client`.

**Beginning.**  A witness without others trusts its file: the lease that it may have granted runs
for its whole length from now on, and whoever has it may renew it.  A witness with others does not:
its file may be missing, or be an older copy that somebody has put back, and it cannot tell.  It
has no say at first.  It waits for the longest lease there can be, by when all that it may have
granted is over and every election that it may have taken part in is decided; then it asks the
others, and votes once a majority's number of *voting* others have answered, or all others,
whatever they are (so a cluster can begin at once).  Every granted epoch and every kept note that
it may have had a part in is known to one of them.  With ``trusts_file`` it does without, which
takes somebody who knows that the file is the newest one.
"""

from collections import Counter

import msgspec

from tickpath.failover.witness_message import (
    NEW,
    RUNNING,
    VOTING,
    Answer,
    Code,
    Kept,
    Question,
    answer_bytes,
    answered,
    asked,
    cluster_id,
    question_bytes,
)
from tickpath.wire.table import WireError

MAX_LEAP = 1 << 32
"""How far above the last epoch a new one may be."""
ASK_INTERVAL_NS = 100_000_000
MAX_TTL_NS = 1_000_000_000


class WitnessError(RuntimeError):
    """A witness that cannot begin or go on; the message says what, where and what to do."""


class Step(msgspec.Struct, frozen=True):
    """What a datagram led to: an answer, or a state that must be on disk before there is one."""

    answer: bytes | None = None
    write: Kept | None = None


class Witness:
    """See the module's text.  A step with a state is settled before the next datagram."""

    def __init__(
        self,
        cluster: str,
        kept: Kept,
        now_ns: int,
        *,
        token: int,
        others: int = 0,
        max_ttl_ns: int = MAX_TTL_NS,
        trusts_file: bool = False,
    ):
        """``kept`` is what the file has.  ``others`` is the number of the other witnesses, and
        ``token`` a random number other than 0, by which their answers are known."""
        self.cluster = cluster_id(cluster)
        self.counters: Counter[str] = Counter()
        self.kept = kept
        self.others = others
        self.max_ttl_ns = max_ttl_ns
        self.is_voting = not others or trusts_file
        self.votes_from_ns = now_ns
        """Before that it asks nobody for what it may have forgotten."""
        # Counted from the token on: an answer to a process before this one is none of ours.
        self._token, self._number = token, token >> 1
        self._first_number = self._number
        self._now_ns = now_ns
        longest_ns = max(kept.max_ttl_ns, kept.ttl_ns, max_ttl_ns)
        # An epoch that is nobody's is one of which only the number is known.
        self._may_be_granted = bool(kept.epoch)
        self._until_ns = now_ns + (kept.ttl_ns if kept.token else longest_ns)
        self._is_released = False
        self._told: dict[int, Answer] = {}
        self._ask_next_ns = now_ns
        self._pending: tuple[Question | None, Kept, bool] | None = None
        if not self.is_voting:
            self.votes_from_ns = self._ask_next_ns = now_ns + longest_ns

    # ------------------------------------------------------------ questions

    def receive(self, datagram: bytes, now_ns: int) -> Step:
        """Deal with a question; what is none is counted and gets no answer."""
        assert self._pending is None, "the step before was not settled"
        now_ns = self._time(now_ns)
        try:
            question = asked(datagram, self.cluster)
        except WireError:
            self.counters["malformed"] += 1
            return Step()
        self.counters[question.name] += 1
        if question.name == "read":
            return self._answer(question, Code.DONE)
        if not self.is_voting:
            return self._answer(question, Code.NOT_VOTING)
        if question.name == "prepare":
            return self._prepare(question, now_ns)
        if question.name == "lease":
            return self._lease(question, now_ns)
        if question.name == "note":
            return self._note(question)
        return self._release(question, now_ns)

    def written(self) -> bytes | None:
        """The state of the last step is on disk: it holds; gives the answer, where one is due."""
        assert self._pending is not None
        question, kept, is_grant = self._pending
        self._pending = None
        is_other = (kept.epoch, kept.token) != (self.kept.epoch, self.kept.token)
        self.kept = kept
        if question is None:
            self.is_voting, self._may_be_granted, self._is_released = True, False, False
            return None
        if is_other:
            self._may_be_granted, self._is_released = is_grant, False
            self._until_ns = self._now_ns + question.ttl_ns
        return self._answer(question, Code.DONE).answer

    def not_written(self) -> bytes | None:
        """The disk did not take the state: nothing has changed, and the asker is told."""
        assert self._pending is not None
        question = self._pending[0]
        self._pending = None
        self.counters["not_written"] += 1
        return None if question is None else self._answer(question, Code.DISK).answer

    def _prepare(self, question: Question, now_ns: int) -> Step:
        kept = self.kept
        if not 0 < question.ttl_ns <= self.max_ttl_ns:
            return self._answer(question, Code.TOO_LONG)
        if self._is_of(question):
            return self._answer(question, Code.DONE)
        if self._remaining_ns(now_ns):
            return self._answer(question, Code.HELD)
        if question.epoch <= kept.epoch:
            return self._answer(question, Code.OUTBID)
        return self._keep(question, is_grant=False)

    def _lease(self, question: Question, now_ns: int) -> Step:
        if not self._is_of(question):
            return self._unheard(question, is_grant=True)
        if not 0 < question.ttl_ns <= self.kept.ttl_ns:
            return self._answer(question, Code.TOO_LONG)
        if self._is_released:
            return self._answer(question, Code.RELEASED)
        if self._may_be_granted and now_ns >= self._until_ns:
            return self._answer(question, Code.LAPSED)
        self._may_be_granted, self._until_ns = True, now_ns + question.ttl_ns
        return self._answer(question, Code.DONE)

    def _note(self, question: Question) -> Step:
        if not self._is_of(question):
            return self._unheard(question, is_grant=False)
        if self._is_released:
            return self._answer(question, Code.RELEASED)
        if (question.epoch, question.number) <= self.kept.note_order:  # it came twice
            return self._answer(question, Code.DONE)
        return self._keep(question, is_grant=False)

    def _release(self, question: Question, now_ns: int) -> Step:
        if self._is_of(question):
            self._is_released, self._until_ns = True, min(self._until_ns, now_ns)
        return self._answer(question, Code.DONE)

    def _unheard(self, question: Question, *, is_grant: bool) -> Step:
        """Of an epoch that was not promised here: a majority of others has promised it."""
        if question.epoch <= self.kept.epoch:
            return self._answer(question, Code.OUTBID)
        if not 0 < question.ttl_ns <= self.max_ttl_ns:
            return self._answer(question, Code.TOO_LONG)
        return self._keep(question, is_grant=is_grant)

    def _keep(self, question: Question, *, is_grant: bool) -> Step:
        if question.epoch > self.kept.epoch + MAX_LEAP:
            return self._answer(question, Code.TOO_HIGH)
        kept = self.kept
        if not self._is_of(question):
            kept = msgspec.structs.replace(
                kept,
                epoch=question.epoch,
                token=question.token,
                ttl_ns=question.ttl_ns,
                max_ttl_ns=self.max_ttl_ns,
                node=question.node,
            )
        if question.name == "note":
            kept = msgspec.structs.replace(
                kept, note_epoch=question.epoch, note_number=question.number, note=question.note
            )
        self._pending = question, kept, is_grant
        return Step(write=kept)

    # ------------------------------------------------------------ the others

    def questions(self, now_ns: int) -> list[tuple[int, bytes]]:
        """(other witness, datagram) that are due now; none once it votes."""
        if self.is_voting or self._pending or self._time(now_ns) < self._ask_next_ns:
            return []
        self._ask_next_ns = self._now_ns + ASK_INTERVAL_NS
        self._number += 1
        read = question_bytes(Question("read", self._number, self._token), self.cluster)
        return [(other, read) for other in range(self.others)]

    @property
    def next_deadline(self) -> int | None:
        """When `questions` has some again; None: never."""
        return None if self.is_voting else self._ask_next_ns

    def hear(self, other: int, datagram: bytes, now_ns: int) -> Step:
        """Deal with what another witness answered; a state to write is what all of them know."""
        assert self._pending is None, "the step before was not settled"
        self._time(now_ns)
        try:
            answer = answered(datagram, self.cluster)
        except WireError:
            self.counters["malformed"] += 1
            return Step()
        if self.is_voting or not self._first_number < answer.number <= self._number:
            return Step()
        self._told[other] = answer
        voting = sum(each.is_voting for each in self._told.values())
        if voting < self.others // 2 + 1 and len(self._told) < self.others:
            return Step()
        kept = _joined([self.kept, *(each.kept for each in self._told.values())], self.max_ttl_ns)
        self._pending = None, kept, False
        return Step(write=kept)

    # ------------------------------------------------------------ answers

    def _is_of(self, question: Question) -> bool:
        return (question.epoch, question.token) == (self.kept.epoch, self.kept.token)

    def _remaining_ns(self, now_ns: int) -> int:
        return max(0, self._until_ns - now_ns) if self._may_be_granted else 0

    def _answer(self, question: Question, code: int) -> Step:
        self.counters[Code(code).name.lower()] += 1
        remaining_ns = self._remaining_ns(self._now_ns)
        flags = self.is_voting * VOTING | bool(remaining_ns) * RUNNING
        flags |= (not self.kept.epoch) * NEW
        kept = self.kept
        if question.name != "read":
            kept = msgspec.structs.replace(kept, note=b"")
        answer = Answer(question.number, code, flags, remaining_ns, kept)
        return Step(answer_bytes(answer, self.cluster))

    def _time(self, now_ns: int) -> int:
        """The time, which never goes back; a clock that does keeps leases running."""
        self.counters["clock_went_back"] += now_ns < self._now_ns
        self._now_ns = max(now_ns, self._now_ns)
        return self._now_ns


def _joined(known: list[Kept], max_ttl_ns: int) -> Kept:
    """What several witnesses know together.  An epoch of two tokens is nobody's."""
    epoch = max(each.epoch for each in known)
    highest = [each for each in known if each.epoch == epoch]
    same = len({each.token for each in highest}) == 1
    noted = max(known, key=lambda each: each.note_order)
    return Kept(
        epoch,
        highest[0].token if same else 0,
        min(max(each.ttl_ns for each in highest), max_ttl_ns),
        max_ttl_ns,
        highest[0].node,
        noted.note_epoch,
        noted.note_number,
        noted.note,
    )
