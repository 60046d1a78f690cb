"""The exceptions of the order gateway."""


class GatewayError(RuntimeError):
    """A gateway or a client of one that cannot do what it was asked: what, where, what to do."""


class StoreError(GatewayError):
    """The gateway's file cannot be written any more."""
