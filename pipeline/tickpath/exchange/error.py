"""The one exception of the venue."""


class ExchangeError(ValueError):
    """A venue that cannot do what it was asked; the message says what, where and what to do."""
