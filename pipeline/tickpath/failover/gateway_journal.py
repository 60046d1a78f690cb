"""The session's journal, watched: which messages have just been recorded as sent, in order.

The session decides by itself when a message is recorded (at once, when the port's rate allows, or
never); this is how the gateway learns of it without asking for every message.
"""

from tickpath.session.store import Journal


class WatchedJournal(Journal):
    """A journal that also tells what was recorded as sent since it was asked last."""

    _recorded: list[bytes] | None = None

    def append_sent(self, user_ref_num: int, message: bytes, ts_ns: int) -> int:
        """See `Journal.append_sent`."""
        index = super().append_sent(user_ref_num, message, ts_ns)
        if self._recorded is None:
            self._recorded = []
        self._recorded.append(message)
        return index

    def take_recorded(self) -> list[bytes]:
        """Messages recorded as sent since the last call."""
        recorded, self._recorded = self._recorded or [], None
        return recorded
