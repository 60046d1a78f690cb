"""The Spin server of a unit: images announced, and one given to whoever asks for it.

What is given is the image of the moment of the request, which is never older than the one that was
announced; the response says through which message it is current.
"""

from collections import Counter

from tickpath.recovery.limits import SECOND_NS
from tickpath.recovery.sequenced_unit import HEADER_BYTES, MAX_MESSAGES
from tickpath.recovery.unit_link import Login, UnitLimits
from tickpath.serve.grp import MAX_BYTES, ServedLink
from tickpath.serve.image import StreamImage
from tickpath.serve.unruly import Unruly
from tickpath.session.soup_event import Reason
from tickpath.wire.cboe_spin import CBOE_SPIN


class SpinServer:
    """What a unit's connections share."""

    def __init__(
        self, image: StreamImage, login: Login, unruly: Unruly, image_interval_ns: int = SECOND_NS
    ) -> None:
        self.image, self.login, self.unruly = image, login, unruly
        self.image_interval_ns = image_interval_ns
        self.counters: Counter[str] = Counter()

    def accept(self, now_ns: int) -> "SpinConnection":
        """The server's side of a new connection."""
        return SpinConnection(self, now_ns)


class SpinConnection(ServedLink):
    """See the module's text.  Made by `SpinServer.accept`."""

    protocol = CBOE_SPIN

    def __init__(self, server: SpinServer, now_ns: int) -> None:
        super().__init__(UnitLimits(), now_ns)
        self.login = server.login
        self._server = server
        self._image_ns = now_ns

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do."""
        due = super().next_deadline
        return min(due, self._image_ns) if due is not None and self.is_logged_in else due

    def _logging_in(self, fields: dict) -> None:
        if self._server.unruly.refuses():
            self._server.counters["logins_refused"] += 1
            self._send("login_response", status="B")
            self._close(Reason.SESSION_NOT_AVAILABLE, "refused on purpose")
            return
        super()._logging_in(fields)
        self._pass_time()

    def _pass_time(self) -> None:
        if not self.is_logged_in or self._now_ns < self._image_ns:
            return
        self._image_ns = self._now_ns + self._server.image_interval_ns
        stream = self._server.image.stream
        self._server.counters["images"] += 1
        self._send("spin_image_available", sequence=max(stream.next_sequence - 1, 0))

    def _asked(self, name: str, fields: dict) -> None:
        if name != "spin_request":
            self._close(Reason.UNEXPECTED_PACKET, name)
            return
        server, asked = self._server, fields["sequence"]
        if asked >= max(server.image.stream.next_sequence, 1) or server.unruly.is_silent():
            server.counters["requests_out_of_range"] += 1
            self._send("spin_response", sequence=asked, status="O")
            return
        if self.has_output and len(self._output) > MAX_BYTES:
            server.counters["requests_in_progress"] += 1
            self._send("spin_response", sequence=asked, status="S")
            return
        self._spin()

    def _spin(self) -> None:
        server = self._server
        next_sequence, orders, messages = server.image.snapshot()
        sequence = next_sequence - 1
        server.counters["spins"] += 1
        is_cut = server.unruly.cuts()
        if is_cut:
            messages = messages[: server.unruly.part(len(messages))]
        self._send("spin_response", sequence=sequence, order_count=orders, status="A")
        self._put_all(messages)
        if is_cut:
            self._close(Reason.CLOSED_HERE, "cut on purpose")
        else:
            self._send("spin_finished", sequence=sequence)

    def _put_all(self, messages: list[bytes]) -> None:
        block: list[bytes] = []
        size = HEADER_BYTES
        for message in messages:
            if size + len(message) > MAX_BYTES or len(block) == MAX_MESSAGES:
                self._put(block)
                block, size = [], HEADER_BYTES
            block.append(message)
            size += len(message)
        if block:
            self._put(block)
