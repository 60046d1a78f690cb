"""Which orders of a session may be alive at the exchange, and which were never answered.

Both follow from what was sent and received alone, so reading the journal gives the same answer
after a crash.  An order is *unanswered* from its sending until the exchange accepts, replaces or
rejects it; it is *open* from then until it has no shares left.  A message about an order that is
neither changes nothing: what that means is the engine's to say, this is only what settling and
mass cancelling need to know.
"""

from typing import NamedTuple

from tickpath.session.ouch_message import Key, Kind, Meaning


class Unanswered(NamedTuple):
    """A new order that the exchange has not answered."""

    record: int  # its index in the journal
    number: int
    message: bytes


class OpenOrders:
    """See the module's text."""

    def __init__(self) -> None:
        self.unanswered: dict[Key, Unanswered] = {}
        """In the order of sending."""
        self.leaves: dict[Key, int] = {}
        """Open orders: shares that may still be executed."""
        self.cancels: dict[Key, bytes] = {}
        """Cancels that had no effect yet, by the order that they are about."""
        self.queries: list[int] = []
        """Records of the account queries whose answers may still come, or were lost."""

    def __len__(self) -> int:
        return len(self.unanswered) + len(self.leaves)

    def alive(self) -> list[Key]:
        """Every order that may be alive, the longest known first."""
        return [*self.leaves, *self.unanswered]

    def sent(self, record: int, request: Meaning, message: bytes) -> None:
        """A message was sent, as ``record`` of the journal."""
        key = request.key
        if request.kind in (Kind.ENTER, Kind.REPLACE) and key is not None:
            self.unanswered[key] = Unanswered(record, request.number, message)
        elif request.kind is Kind.CANCEL and (key in self.leaves or key in self.unanswered):
            self.cancels[key] = message
        elif request.kind is Kind.QUERY:
            self.queries.append(record)

    def received(self, answer: Meaning) -> None:
        """A message came."""
        key = answer.key
        if answer.kind is Kind.ANSWER and self.queries:
            del self.queries[0]
        if key is None:
            return
        if answer.kind in (Kind.ACCEPTED, Kind.REPLACED):
            self.unanswered.pop(key, None)
            self.leaves[key] = 0 if answer.is_dead else answer.quantity
            if answer.orig is not None:
                self._close(answer.orig)
        elif answer.kind is Kind.REJECTED:
            self.unanswered.pop(key, None)
            self.leaves[key] = 0
        elif key not in self.leaves:
            return
        elif answer.kind is Kind.REDUCED:
            self.leaves[key] -= answer.quantity
            self.cancels.pop(key, None)
        elif answer.kind is Kind.MODIFIED:
            self.leaves[key] = answer.quantity
        elif answer.kind is Kind.REFUSED:
            self.cancels.pop(key, None)
        if self.leaves[key] <= 0:
            self._close(key)

    def settled(self, record: int) -> Key | None:
        """What was sent as ``record`` is no longer waited for; gives the key of an order."""
        if record in self.queries:
            self.queries.remove(record)
            return None
        for key, each in self.unanswered.items():
            if each.record == record:
                del self.unanswered[key]
                self.cancels.pop(key, None)
                return key
        return None

    def _close(self, key: Key) -> None:
        self.leaves.pop(key, None)
        self.cancels.pop(key, None)
