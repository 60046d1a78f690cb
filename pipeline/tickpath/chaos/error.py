"""The error of this package."""


class ChaosError(RuntimeError):
    """A rehearsal that cannot be held here, or a group that does not come up; in one line."""
