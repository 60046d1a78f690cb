"""The judge of a rehearsal: what must hold whatever was done to the group.

It never deduplicates.  What the exchange received must be, message by message and byte by byte, the
order stream that the gateway took, once and in order, without what the gateway says it never sent:

    twice       an order number that is not above all before it, or a name that was there before
    foreign     a message that is not the next of the stream; a gateway that has logged in again may
                cancel orders of which it does not know how they stand, whole (`settlement`);
                an exchange ignores a replacement of an order that is gone, number and all, so where
                that was the last number of a line it says that it never saw what came
    lost        a message that was taken, never came and has no outcome; a cancel may get lost with
                its line, as exchanges do not say which cancels they saw: the gateway cancels anew
    epochs      the gateway takes them rising only, each for one node; no hand-over is of a lower
                one; nobody else ever became active in an epoch that it took
    inputs      a new active begins behind every record that its predecessor's standbys had
                acknowledged

At rest (`Judge.at_rest`): every node's digest is the active's at the same record, and the positions
are the exchange's.
"""

from itertools import pairwise

from tickpath.chaos.error import ChaosError
from tickpath.chaos.evidence import (
    CANCEL,
    ENTER,
    NEVER_SENT_BELOW,
    REPLACE,
    Evidence,
    Reign,
    is_cancel,
    is_order,
    names_of,
)
from tickpath.chaos.group import Group

MOST_FINDINGS = 20
REST_S = 20.0
SETTLE_S = 0.2
DIGEST_TRIES = 40
REST_TRIES = 3


class Judge:
    """Of one group, over all that happens to it."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.evidence = Evidence(group.place.path, group.names, group.exchange_offset_ns)
        self.epoch_of: list[int] = []
        """Of every message that the exchange received, as far as it was judged."""
        self.orders = 0
        self._at = 0  # in the order stream
        self._is_new_line = False
        """Whether nothing of the stream has come yet behind the gateway's last login."""
        self._last_number = 0
        self._names: set[bytes] = set()
        self._reigns: dict[int, Reign] = {}
        self.acknowledged: dict[int, int] = {}
        """By epoch: the last record that its active knew to be acknowledged by its gate."""
        self.records_lost = 0
        self.twice = 0
        self.cancels_of_gateway = 0

    def note_acknowledged(self) -> None:
        """Keep what the rings say now of acknowledged records; to be asked before they go away."""
        for ring in self.group.rings.values():
            epoch, number = int(ring.header["epoch"]), int(ring.header["committed"])
            if epoch:
                self.acknowledged[epoch] = max(self.acknowledged.get(epoch, 0), number)

    # ------------------------------------------------------------ what has happened

    def judge(self) -> list[str]:
        """Findings in what happened since the last time."""
        evidence = self.evidence
        evidence.read()
        found = [*evidence.findings, *self._stream(), *self._epochs(), *self._inputs()]
        evidence.findings.clear()
        return found[:MOST_FINDINGS]

    def _stream(self) -> list[str]:
        found: list[str] = []
        evidence = self.evidence
        for message in evidence.received[len(self.epoch_of) :]:
            found += self._twice(message.raw)
            before, index = self._at, len(self.epoch_of)
            self._is_new_line |= index > 0 and index in evidence.logins_before
            while not self._is_next(message.raw) and (self._is_unsent() or self._is_lost_cancel()):
                self._at += 1
            if self._is_next(message.raw):
                self._is_new_line = False
                self.epoch_of.append(evidence.handed[self._at].epoch)
                self._at += 1
                continue
            self._at = before
            self.epoch_of.append(0)
            if evidence.logins > 1 and is_cancel(message.raw):
                self.cancels_of_gateway += 1
                continue
            where = len(self.epoch_of)
            found.append(f"foreign: message {where} at the exchange is not the next of the stream")
        return found

    def _twice(self, raw: bytes) -> list[str]:
        if not is_order(raw):
            return []
        self.orders += 1
        number, name = names_of(raw)
        wrong: list[str] = []
        if number <= self._last_number:
            wrong.append(f"twice: order number {number} came behind {self._last_number}")
        if name in self._names:
            wrong.append(f"twice: order {name.decode(errors='replace')} came again")
        self.twice += bool(wrong)
        self._last_number = max(self._last_number, number)
        self._names.add(name)
        return wrong

    def _is_next(self, raw: bytes) -> bool:
        handed = self.evidence.handed
        if self._at >= len(handed) or handed[self._at].raw != raw:
            return False
        return not self._is_unsent() or self._is_ignored(raw)

    def _is_ignored(self, raw: bytes) -> bool:
        """Whether the exchange may have got a replacement, and then said that it never did."""
        evidence, index = self.evidence, len(self.epoch_of)
        if raw[:1] != REPLACE or raw not in evidence.never_received:
            return False
        login = min((each for each in evidence.logins_before if each > index), default=None)
        return login is not None and not any(
            each.raw[:1] == ENTER for each in evidence.received[index:login]
        )

    def _is_unsent(self) -> bool:
        handed = self.evidence.handed
        if self._at >= len(handed):
            return False
        if handed[self._at].raw in self.evidence.never_received:
            return True  # and the judge sees that it did not come: it would be foreign
        outcome = self.evidence.outcomes.get(handed[self._at].position)
        return outcome is not None and outcome < NEVER_SENT_BELOW

    def _is_lost_cancel(self) -> bool:
        handed = self.evidence.handed
        return self._is_new_line and self._at < len(handed) and handed[self._at].raw[:1] == CANCEL

    def _missing(self) -> list[str]:
        """What was taken and has not come; at rest there must be nothing."""
        left = self.evidence.handed[self._at :]
        unsaid = [
            each
            for each in left
            if each.position not in self.evidence.outcomes
            and each.raw not in self.evidence.never_received
        ]
        if not unsaid:
            return []
        first = unsaid[0].position
        return [f"lost: {len(unsaid)} messages from position {first} on neither came nor ended"]

    def _epochs(self) -> list[str]:
        found: list[str] = []
        for (epoch, node), (later, other) in pairwise(self.evidence.epochs):
            if later <= epoch:
                found.append(f"epochs: the gateway took {later} ({other}) after {epoch} ({node})")
        for one, two in pairwise(self.evidence.handed):
            if two.epoch < one.epoch:
                found.append(f"epochs: orders of epoch {two.epoch} were taken after {one.epoch}")
                break
        taken = dict(self.evidence.epochs)
        for reign in self.evidence.reigns():
            known = self._reigns.setdefault(reign.epoch, reign)
            if known != reign:
                found.append(f"epochs: {reign.node} and {known.node} both led in {reign.epoch}")
            if taken.get(reign.epoch, reign.node) != reign.node:
                holder = taken[reign.epoch]
                found.append(f"epochs: {reign.epoch} is {holder}'s, and {reign.node} led in it")
        return found

    def _inputs(self) -> list[str]:
        found: list[str] = []
        reigns = [self._reigns[epoch] for epoch in sorted(self._reigns)]
        for before, after in pairwise(reigns):
            known = self.acknowledged.get(before.epoch, 0)
            lost = known - (after.first_record - 1)
            if lost > 0:
                self.records_lost += lost
                self.acknowledged[before.epoch] = 0  # it is told once
                found.append(
                    f"inputs: {after.node} began at record {after.first_record} in epoch "
                    f"{after.epoch}, but {before.node} had {known} acknowledged: {lost} are lost"
                )
        return found

    # ------------------------------------------------------------ at rest

    def at_rest(self) -> list[str]:
        """Stop trading for a moment, compare everybody, and let it go on.

        Where the role has moved meanwhile nothing was at rest, and it is done again.
        """
        found: list[str] = []
        for _ in range(REST_TRIES):
            active = self.group.until(self.group.active, "somebody is active", REST_S)
            before = self.group.epochs()
            try:
                compared = self._compared(active, found)
            except ChaosError as error:
                compared = [str(error)]
            self._let_go()
            if self.group.epochs() == before:
                return found + compared
        return [*found, f"at rest: the role moved again and again, {REST_TRIES} times"]

    def _compared(self, active: str, found_before: list[str]) -> list[str]:
        """What differs at rest; what was found in all that happened goes to ``found_before``."""
        group = self.group
        group.command(active, "hold", why="the judge compares")
        group.rest(SETTLE_S)
        found = self._positions(active)
        found += self._digests(active)
        found_before += self.judge()
        found += self._missing()
        if "unknown_orders" in (group.status(active).get("held") or ()):
            found.append(f"orders: {active} does not know all that were handed over")
        return found

    def _let_go(self) -> None:
        """Nobody holds trading for us any more: a hold is a record, which the next active keeps."""
        active = self.group.until(self.group.active, "somebody is active", REST_S)
        if "operator" in (self.group.status(active).get("held") or ()):
            self.group.command(active, "resume")

    def _positions(self, active: str) -> list[str]:
        group = self.group
        for _ in range(DIGEST_TRIES):
            before = group.positions()
            said = group.status(active).get("positions")
            if said == before:
                return []
            group.rest(0.05)
        return [f"positions: {active} says {said}, the exchange {before}"]

    def _digests(self, active: str) -> list[str]:
        """Compare at one record: the exchange is still while we ask."""
        group = self.group
        seen: dict[str, tuple[int, str] | None] = {}
        for _ in range(DIGEST_TRIES):
            group.suspend("exchange")
            try:
                group.rest(0.05)
                seen = {name: group.digest(name) for name in group.names}
            finally:
                group.resume("exchange")
            numbers = {each[0] for each in seen.values() if each is not None}
            if None not in seen.values() and len(numbers) == 1:
                break
            group.rest(0.1)
        else:
            return [f"digests: they could not be had at one record: {seen}"]
        theirs = {name: each[1] for name, each in seen.items() if each is not None}
        if len(set(theirs.values())) > 1:
            return [f"digests: at record {numbers.pop()}: {theirs}"]
        return []
