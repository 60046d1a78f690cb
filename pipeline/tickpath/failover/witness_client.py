"""A node's side of the witnesses: what it asks them, and what a majority's answers mean.

Sans-I/O: every question is a `witness_call.Call`, which somebody drives to its result.  One witness
is a majority of one.

**An acquisition** reads first, and disturbs nobody where a lease runs.  Then it asks for a promise
of an epoch above all that it has heard of (`prepare`), and with the promises of a majority for the
grant (`lease`).  The lease counts from before the first `prepare` was sent, and nothing that is
answered after its end counts.  Two that ask at once outbid each other and draw back for a random
time, longer each time, so that one of them gets through.

**Why two leases never run at once, and no epoch is granted twice.**  Let a lease of epoch ``e`` be
granted, or renewed, by a majority ``G``, and let epoch ``f`` of another process be promised by a
majority ``P``.  Some witness ``w`` is in both.  It promises epochs in rising order only, one
process each, and grants an epoch only while it has promised nothing above it.

* ``e == f``: ``w`` granted ``e`` to one process and promised it to another.  It does neither for an
  epoch that has another token.
* ``e < f``: ``w`` granted before it promised, since afterwards it refuses.  It promised when the
  lease had run out by its clock, which began when the request came; the holder's began before it
  was sent, and ends a margin earlier.  So whoever gets ``f`` gets it after the end of ``e``.
* ``e > f``: whoever has ``f`` has it from grants, and the case above applies the other way round.

That one witness grants an epoch that it was not promised itself is allowed: a majority was.

**A witness that lost its state, or was put back to an older one** has no say until it has waited
for the longest lease and then heard from others (see `witness`).  Let ``w`` of ``G`` above be one.
When it asks, ``e`` is decided: all of ``G`` had granted by then, or the grant never counted, since
it counts from before the promise and no longer than a lease.  A majority's number of voting others,
or all others, contain another of ``G`` that has not forgotten ``e``, or had and has learnt it again
in the same way.  So ``w`` knows of ``e`` before it votes, and what it granted itself has run out.
That needs the forgetful to be a minority at any one time; the same holds for notes.

**Notes** are kept by a majority under an epoch that it has promised, so a later `prepare` either
comes after the note at some witness, and whoever then reads sees it, or before, and it is refused.
"""

import random
from typing import Any

from tickpath.failover.lease import Held, Lease, LeaseError, Lost, Stored, check_node, check_note
from tickpath.failover.witness_call import Answers, Ask, Call, Steps, UnreachableError, Wait
from tickpath.failover.witness_message import Code, Question, cluster_id

MAX_DRAWN_BACK = 3
"""Doublings of the time that a candidate draws back."""
_FINAL = {Code.TOO_LONG: "the lease is longer than it grants", Code.TOO_HIGH: "epoch too high"}


class WitnessClient:
    """What a process asks of the witnesses; it has one token, and knows the epochs it has heard."""

    def __init__(
        self,
        cluster: str,
        count: int,
        *,
        token: int,
        number: int,
        generator: random.Random,
        timeout_ns: int,
        resend_ns: int,
        draw_back_ns: int,
    ):
        """``count`` witnesses, odd.  ``token`` is random and not 0, and no other process's ever;
        ``number`` is where questions are counted from: random too."""
        self.count = count
        self.majority = count // 2 + 1
        self._cluster = cluster_id(cluster)
        self._token, self._number = token, number
        self._generator = generator
        self._timeout_ns, self._resend_ns = timeout_ns, resend_ns
        self._draw_back_ns = draw_back_ns
        self._known = 0

    def acquire(self, node: str, ttl_ns: int, now_ns: int) -> Call:
        """Gives `Lease` or `Held`."""
        deadline_ns = now_ns + self._timeout_ns
        return self._call(self._acquiring(check_node(node), ttl_ns, deadline_ns), now_ns)

    def renew(self, lease: Lease, now_ns: int) -> Call:
        """Gives `Lease` or `Lost`."""
        return self._call(self._renewing(lease, now_ns), now_ns)

    def release(self, lease: Lease, now_ns: int) -> Call:
        """Gives None."""
        return self._call(self._releasing(lease), now_ns)

    def record(self, lease: Lease, note: bytes, now_ns: int) -> Call:
        """Gives whether the note is kept."""
        return self._call(self._recording(lease, check_note(note)), now_ns)

    def read(self, now_ns: int) -> Call:
        """Gives `Stored`."""
        return self._call(self._reading(), now_ns)

    def _call(self, steps: Steps, now_ns: int) -> Call:
        return Call(
            steps,
            self.count,
            self._cluster,
            resend_ns=self._resend_ns,
            deadline_ns=now_ns + self._timeout_ns,
            now_ns=now_ns,
        )

    # ------------------------------------------------------------ courses

    def _acquiring(self, node: str, ttl_ns: int, deadline_ns: int) -> Steps[Lease | Held]:
        for attempt in range(1 << 16):
            answers, asked_at_ns = yield self._read_question()
            held = self._hearing(answers)
            running = sum(each.is_running for each in answers.values())
            if len(answers) - running < self.majority:
                if held is not None:
                    return held
                raise self._unreachable(answers)
            self._known += 1
            epoch = self._known
            values = {"epoch": epoch, "ttl_ns": ttl_ns, "node": node}
            answers, now_ns = yield Ask(self._question("prepare", **values), self._is_decided)
            held = self._hearing(answers)
            if self._done(answers) >= self.majority:
                answers, now_ns = yield Ask(self._question("lease", **values), self._is_decided)
                self._hearing(answers)
                lease = Lease(epoch, node, asked_at_ns, ttl_ns)
                if self._done(answers) >= self.majority and now_ns < lease.ends_ns():
                    return lease
                # Whatever some of them granted would only keep others waiting.
                yield Ask(self._question("release", epoch=epoch), lambda *_: True)
            elif held is not None and len(answers) > self.count - self.majority:
                return held
            self._check_final(answers)
            if now_ns >= deadline_ns:
                raise self._unreachable(answers)
            longest = self._draw_back_ns << min(attempt, MAX_DRAWN_BACK)
            yield Wait(self._generator.randrange(1, longest + 1))
        raise AssertionError("unreachable: the deadline comes before")

    def _renewing(self, lease: Lease, now_ns: int) -> Steps[Lease | Lost]:
        values = {"epoch": lease.epoch, "ttl_ns": lease.ttl_ns, "node": lease.holder}
        answers, _ = yield Ask(self._question("lease", **values), self._is_decided)
        self._hearing(answers)
        if self._done(answers) >= self.majority:
            return Lease(lease.epoch, lease.holder, now_ns, lease.ttl_ns)
        if self._refused(answers) <= self.count - self.majority:
            raise self._unreachable(answers)
        self._check_final(answers)
        return Lost(_reason(answers))

    def _releasing(self, lease: Lease) -> Steps[None]:
        ask = Ask(self._question("release", epoch=lease.epoch), self._is_decided)
        answers, _ = yield ask
        if len(answers) < self.majority:
            raise self._unreachable(answers)

    def _recording(self, lease: Lease, note: bytes) -> Steps[bool]:
        values = {"epoch": lease.epoch, "ttl_ns": lease.ttl_ns, "node": lease.holder}
        question = self._question("note", **values, note=note)
        answers, _ = yield Ask(question, self._is_decided)
        self._hearing(answers)
        if self._done(answers) >= self.majority:
            return True
        if self._refused(answers) <= self.count - self.majority:
            raise self._unreachable(answers)
        return False

    def _reading(self) -> Steps[Stored]:
        answers, _ = yield Ask(self._question("read"), self._is_read)
        held = self._hearing(answers)
        if len(answers) < self.majority:
            raise self._unreachable(answers)
        kept = [each.kept for each in answers.values()]
        noted = max(kept, key=lambda each: each.note_order)
        return Stored(
            max(each.epoch for each in kept),
            None if held is None else held.holder,
            noted.note,
            noted.note_epoch,
        )

    # ------------------------------------------------------------ answers

    def _question(self, name: str, **values: Any) -> Question:
        self._number += 1
        return Question(name, self._number, self._token, **values)

    def _read_question(self) -> Ask:
        return Ask(self._question("read"), self._is_read)

    def _done(self, answers: Answers) -> int:
        return sum(each.code == Code.DONE for each in answers.values())

    def _refused(self, answers: Answers) -> int:
        return len(answers) - self._done(answers)

    def _is_decided(self, answers: Answers, was_resent: bool) -> bool:
        """A majority has done it, or none can any more."""
        done = self._done(answers)
        return done >= self.majority or len(answers) - done > self.count - self.majority

    def _is_read(self, answers: Answers, was_resent: bool) -> bool:
        """It is known whether a lease runs, or a majority has answered and the rest is late."""
        running = sum(each.is_running for each in answers.values())
        if max(running, len(answers) - running) >= self.majority:
            return True
        return len(answers) == self.count or (was_resent and len(answers) >= self.majority)

    def _hearing(self, answers: Answers) -> Held | None:
        """Learn epochs from answers; who has the lease as far as they say."""
        self._known = max([self._known, *(each.kept.epoch for each in answers.values())])
        running = [each for each in answers.values() if each.is_running]
        if not running:
            return None
        newest = max(running, key=lambda each: each.kept.epoch)
        return Held(newest.kept.node, newest.kept.epoch, newest.remaining_ns)

    def _check_final(self, answers: Answers) -> None:
        for witness, each in answers.items():
            if each.code in _FINAL:
                raise LeaseError(f"witness {witness}: {_FINAL[Code(each.code)]}")

    def _unreachable(self, answers: Answers) -> UnreachableError:
        return UnreachableError(
            f"{self.majority} of {self.count} witnesses must agree, and {len(answers)} answered "
            f"within {self._timeout_ns / 1e6:g} ms"
        )


def _reason(answers: Answers) -> str:
    """Why a majority refused."""
    newest = max(answers.values(), key=lambda each: each.kept.epoch)
    outbid = [each for each in answers.values() if each.code == Code.OUTBID]
    if outbid:
        return f"epoch {newest.kept.epoch} is promised to {newest.kept.node or 'nobody'}"
    if any(each.code == Code.RELEASED for each in answers.values()):
        return "it was given back"
    return "it ran out"
