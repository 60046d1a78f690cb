"""The error of this package."""


class ChaosError(RuntimeError):
    """A rehearsal that cannot be held here, or a group that does not come up; in one line."""


class SceneError(ChaosError):
    """The group is not what the scenario needs before anything is done to it."""
