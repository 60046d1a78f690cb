"""The feed of a host that keeps a mirror: the groups of its node's configuration, received here.

Only what the plan needs is done with it: datagrams are kept by line for a while (`replica.plan`).
"""

import ctypes
import time

from tickpath.config import parse_group
from tickpath.replica.plan import OwnFeed
from tickpath.trade.config import TradeConfig, split
from tickpath.trade.feed import Feed


class ReceivedFeed(OwnFeed):
    """See the module's text.  Raises `ConfigError` where a socket cannot be had."""

    def __init__(self, config: TradeConfig) -> None:
        """``config`` is a checked one."""
        super().__init__()
        line_a = {each: each for each in config.feed.groups} | dict(config.feed.lines_b)
        order = sorted(set(line_a.values()))
        self._place_of = {parse_group(each): order.index(a) for each, a in line_a.items()}
        groups = [split(each) for each in line_a]
        self._feed = Feed(groups, config.trade.interface, time.time_ns)
        self.sockets = self._feed.sockets

    def poll(self) -> int:
        """Keep what has come; gives how many datagrams."""
        packets = self._feed.poll()
        for each in packets:
            raw = ctypes.string_at(int(each["address"]), int(each["length"]))
            self.keep(raw, self._place_of[int(each["group"]), int(each["line"])])
        self._feed.release()
        self.counters["feed_datagrams"] += len(packets)
        return len(packets)

    def close(self) -> None:
        """Leave the groups."""
        self._feed.close()
