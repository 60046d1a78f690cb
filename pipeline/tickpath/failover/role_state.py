"""What a node is: a closed set, each with its meaning."""

from enum import Enum


class RoleState(Enum):
    """What a node is."""

    STARTING = "its engine is not ready yet"
    STANDBY = "follows the active"
    CANDIDATE = "no active is heard: tries to become it"
    ACTIVE = "makes the records, and sends orders as far as gate and lease let it"
    STOPPING = "fenced: its loop was told to stop, and has not said yet that it did"
    RETIRED = "will never be active again in this process"
