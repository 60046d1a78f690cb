"""The exception of a node."""


class NodeError(RuntimeError):
    """A node that cannot go on; one line: what, where, what to do."""
