"""The dead man's handle: what is due when the engine gives no sign of life.

It acts once.  Where the engine is silent for ``silence_ns`` its orders are canceled one by one,
which works with and without the venue's cancel on disconnect; when none is left, or after
``grace_ns``, the session logs out, so that the venue's own rule takes what remains.
"""


class DeadManHandle:
    """See the module's text; a silence of 0 never acts."""

    def __init__(self, silence_ns: int, grace_ns: int, now_ns: int):
        self.silence_ns = silence_ns
        self.grace_ns = grace_ns
        self._contact_ns = now_ns
        self._leave_at_ns: int | None = None

    def contact(self, now_ns: int) -> None:
        """The engine lives."""
        self._contact_ns = max(self._contact_ns, now_ns)

    @property
    def has_acted(self) -> bool:
        """True from the first silence on, whatever the engine does then."""
        return self._leave_at_ns is not None

    def is_due(self, now_ns: int) -> bool:
        """True where it has to act now."""
        silent_ns = now_ns - self._contact_ns
        return not self.has_acted and 0 < self.silence_ns <= silent_ns

    def act(self, now_ns: int) -> None:
        """The cancels begin now; so does the grace, anew with every connection."""
        self._leave_at_ns = now_ns + self.grace_ns

    def is_over(self, now_ns: int) -> bool:
        """True where the cancels have had their time."""
        return self._leave_at_ns is not None and now_ns >= self._leave_at_ns

    @property
    def next_deadline(self) -> int | None:
        """When the next step is due; None where there is none."""
        if self._leave_at_ns is not None:
            return self._leave_at_ns
        return self._contact_ns + self.silence_ns if self.silence_ns else None
