"""The exceptions of the session layer."""


class SessionError(RuntimeError):
    """A session that cannot do what it was asked; the message says what, where and what to do."""


class JournalError(SessionError):
    """A journal that cannot be written any more."""
