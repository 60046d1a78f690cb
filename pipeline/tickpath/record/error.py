"""The exception of recording."""


class RecordError(RuntimeError):
    """A recording that cannot be made; the message says what, where and what to do."""
