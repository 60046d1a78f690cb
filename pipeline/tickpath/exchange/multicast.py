"""The feed on the wire: MoldUDP64 packets to a multicast group or one address, requests answered.

Packets wait in a queue and leave no faster than a rate, so that the burst of an opening does not
run over whoever reads; the queue is bounded by what is kept for requests anyway, and what does not
fit is counted and can be asked for.
"""

import random
import selectors
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable

from tickpath.config import ConfigError, parse_group
from tickpath.exchange.config import Feed
from tickpath.exchange.error import ExchangeError

MAX_QUEUE = 1 << 18
"""Packets that may wait to be sent; further ones are dropped and counted."""
MAX_REQUESTS = 64
"""Requests answered in a round."""
PACKETS_PER_MS = 64
BURST_NS = 20_000_000
"""What was not sent for so long may leave at once."""
_MILLISECOND_NS = 1_000_000
_REQUEST_BYTES = 2_048
_SEND_BUFFER = 1 << 22


class Multicast:
    """The sending socket, and the one that takes requests.  Raises `ExchangeError`."""

    def __init__(
        self,
        feed: Feed,
        selector: selectors.BaseSelector,
        answer: Callable[[bytes], bytes | None],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.packets_left = 0
        """Packets of the day that wait no more."""
        self._queue: deque[bytes] = deque()
        self._answer = answer
        self._chance = random.Random("lines")
        self._line_loss = feed.line_loss
        self._free_ns = 0  # when the next packet may leave
        try:
            lines = [parse_group(each, "feed") for each in (feed.group, feed.group_b) if each]
            self.groups = [(socket.inet_ntoa(struct.pack(">I", host)), at) for host, at in lines]
            """Where packets go: line A, then line B if there is one."""
            self._out = _sender(feed, any(host >> 28 == 0b1110 for host, _ in lines))
        except ConfigError as error:
            raise ExchangeError(f"feed: {error}") from error
        except OSError as error:
            where = f"{feed.group} over {feed.interface}"
            raise ExchangeError(f"feed: {where}: {error.strerror or error}") from None
        self._requests = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._requests.bind((feed.interface, feed.request_port))
        except OSError as error:
            self._out.close()
            self._requests.close()
            where = f"{feed.interface}:{feed.request_port}"
            raise ExchangeError(
                f"feed: {where}: cannot take requests: {error.strerror or error}"
            ) from None
        self._requests.setblocking(False)
        self._selector = selector
        selector.register(self._requests, selectors.EVENT_READ, self._take_requests)

    @property
    def request_address(self) -> tuple[str, int]:
        """Where missed messages can be asked for."""
        return self._requests.getsockname()

    def queue(self, packets: list[bytes]) -> None:
        """Packets to send, in order."""
        room = MAX_QUEUE - len(self._queue)
        if len(packets) > room:
            self.counters["packets_not_queued"] += len(packets) - room
            self.packets_left += len(packets) - room
        self._queue += packets[:room]

    def send(self, now_ns: int) -> None:
        """Send what may leave by now."""
        self._free_ns = max(self._free_ns, now_ns - BURST_NS)
        while self._queue and self._free_ns <= now_ns:
            for group in self.groups:
                if self._line_loss and self._chance.random() < self._line_loss:
                    self.counters["packets_lost_on_a_line"] += 1
                    continue
                try:
                    self._out.sendto(self._queue[0], group)
                    self.counters["packets_sent"] += 1
                except BlockingIOError:
                    self.counters["sends_blocked"] += 1
                    return
                except OSError:  # nobody listens at that address, or the network is down
                    self.counters["sends_failed"] += 1
            self._queue.popleft()
            self.packets_left += 1
            self._free_ns += _MILLISECOND_NS // PACKETS_PER_MS

    @property
    def next_deadline(self) -> int | None:
        """When the next packet may leave."""
        return self._free_ns if self._queue else None

    def close(self) -> None:
        """Close the sockets."""
        self._selector.unregister(self._requests)
        self._requests.close()
        self._out.close()

    def _take_requests(self, now_ns: int) -> list:
        for _ in range(MAX_REQUESTS):
            try:
                request, sender = self._requests.recvfrom(_REQUEST_BYTES)
            except OSError:
                break
            answer = self._answer(request)
            if answer is not None:
                try:
                    self._requests.sendto(answer, sender)
                except OSError:
                    self.counters["answers_failed"] += 1
        return []


def _sender(feed: Feed, is_multicast: bool) -> socket.socket:
    """A socket for the group; raises `OSError`."""
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if is_multicast:
            interface = socket.inet_aton(feed.interface)
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, feed.ttl)
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        out.setblocking(False)
    except OSError:
        out.close()
        raise
    return out
