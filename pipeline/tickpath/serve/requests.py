"""The MoldUDP64 request server: a request packet in, a packet of messages out, or nothing."""

from collections import Counter

from tickpath.recovery import moldudp64
from tickpath.serve.stream import Stream
from tickpath.serve.unruly import Unruly

MAX_BYTES = 1_400
"""Bytes of an answer: what any Ethernet carries in one frame."""


class RequestServer:
    """Answers for all sessions."""

    def __init__(self, streams: list[Stream], unruly: Unruly, max_bytes: int = MAX_BYTES) -> None:
        self.counters: Counter[str] = Counter()
        self._streams = {stream.session: stream for stream in streams}
        self._unruly, self._max_bytes = unruly, max_bytes

    def answer(self, raw: bytes) -> tuple[int, bytes] | None:
        """(how late, the answer) to a request; None, and a counter, where there is none."""
        request = moldudp64.read_request(raw)
        if request is None:
            self.counters["requests_malformed"] += 1
            return None
        session, first, count = request
        stream = self._streams.get(session)
        if stream is None:
            self.counters["requests_other_session"] += 1
            return None
        delay_ns = self._unruly.delay_ns()
        if self._unruly.is_silent() or self._unruly.refuses():
            self.counters["requests_ignored"] += 1
            return None
        answer = stream.fitting(first, count, self._max_bytes)
        self.counters["requests_answered" if answer else "requests_unanswerable"] += 1
        return None if answer is None else (delay_ns, answer)
