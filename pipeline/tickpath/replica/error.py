"""The exception of replication."""


class ReplicaError(RuntimeError):
    """Inputs that cannot be published, kept or followed; one line: what, where, what to do."""
