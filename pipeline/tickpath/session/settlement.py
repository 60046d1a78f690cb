"""Finding out, after a login, what became of the orders that were never answered.

No order is ever sent a second time.  Whoever resends must be sure that the exchange drops the copy,
and even then sends an order that was meant for a market of some time ago.  Instead each unanswered
order gets an `Outcome`, and the strategy decides anew.

OUCH 5.0.  The account query is answered, in sequence, with the next UserRefNum that the exchange
expects: behind all answers to what it had received before.  So when its answer is here, an order
without an answer whose number is not below that one was never received.  One below it was, or was
skipped; the exchange says nothing of it (it ignores a replace of an order that is gone, for
example): such an order is canceled in case.

The answer must not be one to a query of an earlier connection, which tells an older state, and
nothing in it says which it is.  Where an earlier query was not answered, the session therefore logs
in twice: first from sequence 0, which is answered with the number of the next message, then where
it had stopped.  Only an answer with a number from there on counts.  (Some read the specification
so that 0 gives the last message: an answer with just that number is followed by another query, and
the next login is a double one too, since which of the two was answered cannot be told.)

OUCH 4.2 has no such query.  When old messages have stopped coming (the server is silent for a
heartbeat, or `catch_up_ns` are over), every order without an answer is canceled by its token.  The
exchange ignores the cancel of a token that it does not know, and cancels the order where it does.
What is still unanswered `settle_timeout_ns` later counts as gone.

What neither can exclude is an order that lies in a buffer of the old connection and is read later
still.  In 5.0 the next accepted order, with its higher number, ends that possibility; in both the
late order is canceled as soon as it is accepted.
"""

from tickpath.session.order_port import OrderPort
from tickpath.session.ouch_event import Outcome
from tickpath.session.ouch_message import Kind, Meaning
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.soup_client import Client


class Settlement:
    """One settlement, from a login until it `is_done` or `has_timed_out`."""

    def __init__(
        self,
        port: OrderPort,
        client: Client,
        settings: OrderSettings,
        now_ns: int,
        floor: int | None = None,
    ):
        """``floor`` is the sequence below which an answer belongs to an earlier connection."""
        self.is_done = False
        self.has_timed_out = False
        self._port = port
        self._client = client
        self._settings = settings
        self._floor = floor
        self._has_asked_again = False
        self._heartbeats = client.counters.heartbeats_in
        self._cancels = dict(port.orders.cancels)  # those of earlier connections
        self._is_canceling = False
        self.deadline_ns: int | None = now_ns + settings.settle_timeout_ns
        if port.dialect.has_query:
            port.query(now_ns)
        elif port.orders.unanswered:
            self.deadline_ns = now_ns + settings.catch_up_ns
        else:
            self._finish(now_ns)

    def heard(self, sequence: int, answer: Meaning, now_ns: int) -> None:
        """A message came on this connection."""
        if self.is_done or answer.kind is not Kind.ANSWER:
            return
        if self._floor is not None and sequence <= self._floor:
            if sequence == self._floor and not self._has_asked_again:
                self._has_asked_again = True
                self._port.query(now_ns)
            return
        # Of two queries here the second may still be answered; all earlier ones are done with.
        self._port.end_queries(now_ns, but_the_last=self._has_asked_again)
        next_number = answer.quantity
        for key, lost in list(self._port.orders.unanswered.items()):
            if lost.number >= next_number:
                self._port.settle(key, Outcome.NEVER_RECEIVED, now_ns)
            else:
                self._port.settle(key, Outcome.UNKNOWN, now_ns)
                self._port.cancel(key)
        self._port.highest = max(self._port.highest, next_number - 1)
        self._finish(now_ns)

    def tick(self, now_ns: int) -> None:
        """Let time pass."""
        if self.is_done or self.deadline_ns is None:
            return
        is_late = now_ns >= self.deadline_ns
        if self._port.dialect.has_query:
            self.has_timed_out = is_late
        elif not self._is_canceling:
            if is_late or self._client.counters.heartbeats_in > self._heartbeats:
                self._cancel_unanswered(now_ns)
        elif self._port.waiting:  # the cancels wait for the port's rate: the time begins after them
            self.deadline_ns = now_ns + self._settings.settle_timeout_ns
        elif is_late or not self._port.orders.unanswered:
            for key in list(self._port.orders.unanswered):
                self._port.settle(key, Outcome.CANCELED_UNSEEN, now_ns)
            self._finish(now_ns)

    def _cancel_unanswered(self, now_ns: int) -> None:
        self._is_canceling = True
        for key in self._port.orders.unanswered:
            self._port.cancel(key)
        self.deadline_ns = now_ns + self._settings.settle_timeout_ns

    def _finish(self, now_ns: int) -> None:
        """Cancels of earlier connections that had no effect are repeated: that never hurts.

        So is the cancel of an order that was settled and then accepted, just before a crash.
        """
        orders = self._port.orders
        for key in orders.leaves:
            if key in self._port.settled and key not in orders.cancels:
                self._port.cancel(key)
        for key, message in self._cancels.items():
            if key in orders.leaves and orders.cancels.get(key) is message:
                self._port.counters.cancels_repeated += 1
                self._port.repeat(message)
        self.is_done = True
        self.deadline_ns = None
