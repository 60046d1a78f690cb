"""The exception of questions to nodes."""


class ControlError(RuntimeError):
    """A question that cannot be asked or was not answered; one line: what, where, what to do."""
