"""The exception of serving a feed."""


class ServeError(RuntimeError):
    """A feed that cannot be served; the message says what, where and what to do."""
