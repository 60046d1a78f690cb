"""A member of the cluster: a node's name with the incarnation of its state.

The incarnation names what the node *knows*, not its process: whoever starts without its earlier
records, throws its state away or loads another's snapshot takes a new one, so that an old
acknowledgement or an old note never vouches for a state that is gone.  A node that comes back with
everything it ever acknowledged (a journal synced before each acknowledgement) may keep it.
"""

import msgspec


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node's name and the incarnation of its state, a number that is never used twice."""

    name: str
    incarnation: int

    def __str__(self) -> str:
        return f"{self.name}/{self.incarnation}"
