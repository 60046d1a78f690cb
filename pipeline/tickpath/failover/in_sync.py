"""The in-sync set of an active: who must have acknowledged before an order leaves.

Two sets are kept apart: the *note* in the lease store (who may take over) and the *gate* in the
engine's loop (whose acknowledgement is waited for).  The invariant is that the gate contains every
member of every note that may be in force.  So a set shrinks in the store first and in the gate
afterwards, and grows in the gate first; a new member is written down when it has acknowledged the
record at which the gate began to wait for it.

A note whose answer never came may be carried out at any later time: its members stay in the gate
for the rest of the epoch, and where that cannot be the epoch is given up for a new one, under which
the store refuses what is left of the old.  A gate that never opened (None) lets nothing leave.

Silence has two causes: the standby is gone, or this node hears nobody.  In the second case a note
without the standby would still reach the store, this node would end with its lease, and nobody who
lives could take over.  So a standby's silence counts only once the store has answered a question
that was asked well into it; where it does not answer the lease ends, and the note stays as it is.

Who was handed the role goes on under the note of the one before: when all its heirs are heard, the
gate opens for them at once, which is what the invariant asks for, and the own note follows.
"""

import msgspec

from tickpath.failover.member import Member
from tickpath.failover.note import Note
from tickpath.failover.requests import Kind, Requests
from tickpath.failover.role_action import Action, RecordNote, Require
from tickpath.failover.role_config import RoleConfig
from tickpath.failover.role_event import Acked

MOST_MEMBERS = 16

Set = frozenset[Member]


class Heard(msgspec.Struct):
    """What one standby told, and since when it is within the bound."""

    number: int
    last_ns: int
    is_ready: bool
    asked_number: int
    """What it has to reach..."""
    asked_ns: int
    """...since when."""
    good_since_ns: int | None = None


class InSync:
    """See the module's text.  Made at the promotion, for one epoch."""

    def __init__(
        self,
        me: Member,
        config: RoleConfig,
        requests: Requests,
        *,
        epoch: int,
        number: int,
        inherited: Set | None = None,
    ):
        """``number`` is the promotion's record: who has it knows all that left before.

        ``inherited`` are the other heirs of a note that hands over to this node, and is in force.
        """
        self.me, self.epoch, self._config, self._requests = me, epoch, config, requests
        self.is_synchronous = True
        self.gate: Set | None = None
        self.gate_number = number
        """The record from which on the gate is in force."""
        self.noted: Note | None = None
        self._present: Set = frozenset()
        self._store_heard_ns = 0
        """When the last question was asked that the store has answered."""
        self.heard: dict[Member, Heard] = {}
        self.strangers = 0
        """Acknowledgements for which there was no room."""
        self.wants_new_epoch: str | None = None
        self.waits_for: str | None = None
        """Why no order can leave, or None."""
        self.is_stuck = False
        """Whether it waits without a bound."""
        self._number = number
        self._begun = number
        self._joined: dict[Member, int] = {}
        self._asked_gate: Set = frozenset()
        self._asked_note = Note(epoch, me)
        self._tainted: Set = frozenset()
        self._async_tainted = False
        self._empty_since_ns: int | None = None
        self._note_again_ns = 0
        self.expects_standby = False
        """A standby is about to come (it has just handed over)."""
        self.hands_over = False
        """Whether the note has to say that the role is about to be handed over."""
        self._inherited = inherited

    # ------------------------------------------------------------ what is heard

    def at(self, number: int) -> None:
        """The active's last record."""
        self._number = max(self._number, number)

    def acked(self, event: Acked, now_ns: int) -> None:
        """A standby applied records of this epoch's stream."""
        heard = self.heard.get(event.member)
        if heard is None:
            self._forget(event.member.name, now_ns)
            if len(self.heard) >= MOST_MEMBERS:
                self.strangers += 1
                return
            heard = Heard(event.number, now_ns, event.is_ready, self._number, now_ns)
            self.heard[event.member] = heard
        heard.number = max(heard.number, event.number)
        heard.last_ns, heard.is_ready = now_ns, event.is_ready
        if heard.number >= heard.asked_number:
            heard.asked_number, heard.asked_ns = self._number, now_ns

    def _forget(self, name: str, now_ns: int) -> None:
        """Drop a node's earlier incarnations and the silent, unless the gate waits for them."""
        for member in list(self.heard):
            if member.name == name or not self.is_good(member, now_ns):
                if member not in (self.gate or ()) and member not in self._tainted:
                    del self.heard[member]

    def is_good(self, member: Member, now_ns: int) -> bool:
        """Whether it is ready and acknowledged within the bound."""
        heard = self.heard.get(member)
        if heard is None or not heard.is_ready:
            return False
        bound = self._config.ack_timeout_ns
        is_behind = heard.number < heard.asked_number and now_ns - heard.asked_ns > bound
        return now_ns - heard.last_ns <= bound and not is_behind

    def store_heard(self, asked_at_ns: int) -> None:
        """The store has answered what was asked then: this node is not deaf."""
        self._store_heard_ns = max(self._store_heard_ns, asked_at_ns)

    def _may_be_deaf(self, now_ns: int) -> bool:
        """Whether somebody who counts is silent, and so is the store as far as is known."""
        bound_ns = self._config.ack_timeout_ns
        counting = (self.heard.get(each) for each in self._present | self._tainted)
        return any(
            now_ns - each.last_ns > bound_ns and self._store_heard_ns - each.last_ns < bound_ns // 2
            for each in counting
            if each is not None
        )

    def committed(self) -> int | None:
        """The last record that every member of the gate acknowledged; None while it is shut."""
        if self.gate is None:
            return None
        numbers = [self.heard[each].number for each in self.gate if each in self.heard]
        return min((self._number, *numbers)) if len(numbers) == len(self.gate) else None

    def lag_records(self) -> int | None:
        """Records that the best standby has not acknowledged; None where none was heard."""
        numbers = [heard.number for heard in self.heard.values()]
        return max(0, self._number - max(numbers)) if numbers else None

    # ------------------------------------------------------------ who should be in it

    def _wanted(self, now_ns: int) -> Set | None:
        """The set to go for, or None: leave it as it is."""
        for member, heard in self.heard.items():
            if not self.is_good(member, now_ns):
                heard.good_since_ns = None
            elif heard.good_since_ns is None:
                heard.good_since_ns = now_ns
        if not self.is_synchronous:
            return frozenset()
        if self._may_be_deaf(now_ns):
            return None
        good = {m: h.good_since_ns for m, h in self.heard.items() if h.good_since_ns is not None}
        wanted = {each for each in good if each in self._present or each in self._tainted}
        room = self._config.in_sync_members - len(wanted)
        if room > 0:
            settled_ns = now_ns - (self._config.rejoin_after_ns if self.noted else 0)
            others = [m for m, since in good.items() if since <= settled_ns and m not in wanted]
            wanted.update(sorted(others, key=str)[:room])
        return frozenset(wanted) if wanted else self._alone(now_ns)

    def _alone(self, now_ns: int) -> Set | None:
        if self._empty_since_ns is None:
            self._empty_since_ns = now_ns
        if not self._config.may_run_alone:
            self.waits_for = "no standby is in sync, and this node may not run alone"
            self.is_stuck = True
            return None
        is_hopeful = self.expects_standby or any(self.is_good(each, now_ns) for each in self.heard)
        if is_hopeful and now_ns - self._empty_since_ns < self._config.alone_after_ns:
            self.waits_for = "no standby is in sync yet"
            return None
        self.expects_standby = False
        return frozenset()

    # ------------------------------------------------------------ how it gets there

    def advance(self, now_ns: int) -> list[Action]:
        """The next step towards the set that should be, if none is under way."""
        self.waits_for = "the in-sync set is not recorded yet" if self.gate is None else None
        self.is_stuck = False
        wanted = self._wanted(now_ns)
        if wanted is None:
            return []
        if wanted or not self.is_synchronous:
            self._empty_since_ns = None
        if self.is_changing():
            return []
        if self._tainted - wanted or (self._async_tainted and self.is_synchronous):
            self.wants_new_epoch = "the store never answered a note that may still come true"
            return []
        if self.gate is None and self.is_synchronous and wanted == self._inherited:
            return [self._require(wanted, now_ns)]
        is_noted = self.noted is not None and self._is(self.noted, wanted)
        if is_noted:
            return [] if self.gate == wanted else [self._require(wanted, now_ns)]
        if self.gate is not None and wanted - self.gate:
            return [self._require(self.gate | wanted, now_ns)]
        late = [m for m in wanted if self.heard[m].number < self._joined.get(m, self._begun)]
        if late or now_ns < self._note_again_ns:
            return []
        self._asked_note = Note(
            self.epoch,
            self.me,
            tuple(sorted(wanted, key=str)),
            self.is_synchronous,
            self.hands_over,
        )
        request = self._requests.open(Kind.NOTE, now_ns, self._config.store_timeout_ns)
        return [RecordNote(request, self.epoch, self._asked_note.encode())]

    @property
    def is_handing_over(self) -> bool:
        """Whether the note that hands over is durable, and nothing is under way."""
        noted = self.noted
        return noted is not None and noted.hands_over and not self.is_changing()

    def is_changing(self) -> bool:
        """Whether a step is under way."""
        return self._requests.is_open(Kind.NOTE) or self._requests.is_open(Kind.REQUIRE)

    def _is(self, note: Note, wanted: Set) -> bool:
        said = note.is_synchronous, note.hands_over
        return frozenset(note.in_sync) == wanted and said == (self.is_synchronous, self.hands_over)

    def _require(self, members: Set, now_ns: int) -> Require:
        self._asked_gate = members
        request = self._requests.open(Kind.REQUIRE, now_ns, self._config.loop_timeout_ns)
        ordered = tuple(sorted(members, key=str))
        return Require(request, ordered, self.is_synchronous)

    def required(self, number: int) -> None:
        """The gate that was asked for is in force from this record on."""
        self.at(number)
        if self.gate is not None:
            self._joined |= dict.fromkeys(self._asked_gate - self.gate, number)
        self.gate, self.gate_number = self._asked_gate, number

    def recorded(self) -> None:
        """The note that was asked for is durable."""
        self.noted = self._asked_note
        self._present = frozenset(self.noted.in_sync)

    def not_recorded(self, now_ns: int) -> None:
        """Nobody knows whether the note that was asked for is durable, or will be."""
        self._tainted |= frozenset(self._asked_note.in_sync)
        self._async_tainted |= not self._asked_note.is_synchronous
        self._note_again_ns = now_ns + self._config.note_retry_ns
