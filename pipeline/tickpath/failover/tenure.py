"""The lease as its holder sees it: a right that ends by the holder's own clock.

It ends ``ttl`` less a margin after the moment *before* the request left, so earlier than the store
forgets it for any clock rates that differ by less than the margin.  An end only ever moves
forward, by an answer; once it has passed the lease is over, whatever comes later.
"""

from tickpath.failover.role_config import RoleConfig


class Tenure:
    """One grant, from its answer to its end."""

    def __init__(self, epoch: int, asked_at_ns: int, ttl_ns: int, config: RoleConfig):
        self.epoch = epoch
        self._config = config
        self.ends_ns = self._end(asked_at_ns, ttl_ns)
        self.renew_ns = asked_at_ns + config.lease_renew_ns

    def _end(self, asked_at_ns: int, ttl_ns: int) -> int:
        return asked_at_ns + ttl_ns * (100 - self._config.lease_margin_percent) // 100

    def is_over(self, now_ns: int) -> bool:
        """Whether nothing may be done by this lease any more."""
        return now_ns >= self.ends_ns

    def renewed(self, asked_at_ns: int, ttl_ns: int) -> bool:
        """Take an answer; gives whether the end moved."""
        end_ns = self._end(asked_at_ns, ttl_ns)
        if end_ns <= self.ends_ns:
            return False
        self.ends_ns = end_ns
        return True
