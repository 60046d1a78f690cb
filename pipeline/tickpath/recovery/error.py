"""The exception of the recovery layer."""


class RecoveryError(RuntimeError):
    """Recovery that cannot be had as it was asked; the message says what, where and what to do."""
