"""One node's connection to the gateway, without its socket: bytes and time in, bytes out.

A connection begins with `hello`.  Answers and outcomes are not queued: the connection has a place
in those that the gateway keeps for all, and reads on when its output has been taken.  So a slow
node costs no memory; where it falls behind what is kept, or takes nothing for the timeout, it is
cut off and comes back for what it has not had.

A node that connects a second time takes its older connection's place.
"""

from typing import Any

from tickpath.failover.gateway import Accepted
from tickpath.failover.gateway_framing import (
    FrameError,
    FrameReader,
    accepted_frame,
    answer_frame,
    frame,
    hand_over_of,
)
from tickpath.failover.gateway_left import Left
from tickpath.failover.gateway_nodes import Nodes
from tickpath.wire.gateway import VERSION, NotWelcome
from tickpath.wire.table import Message

CHUNK = 1 << 12
"""Bytes that are made up at a time, so that a node that catches up keeps no order waiting."""
MILLISECOND_NS = 1_000_000


class NodeLink:
    """See the module's text."""

    def __init__(self, nodes: Nodes, address: str, now_ns: int):
        """``address`` is where the connection comes from."""
        self.address = address
        self.node = ""
        """Its name, once it is welcome."""
        self.left: Left | None = None
        self.detail = ""
        self.next_answer = self.next_outcome = 0
        self._nodes, self._gateway, self._settings = nodes, nodes.gateway, nodes.gateway.settings
        self._reader = FrameReader(self._settings.max_message)
        self._output = bytearray()
        self._received_ns = self._sent_ns = self._taken_ns = now_ns
        self._told_position = self._told_version = 0

    # ------------------------------------------------------------ bytes in

    def receive(self, received: bytes, now_ns: int) -> None:
        """Take bytes of the node; what it hands over goes to the session at once."""
        self._reader.feed(received)
        while self.left is None:
            try:
                found = self._reader.next_message()
            except FrameError as error:
                self.leave(Left.BAD_FRAME, str(error))
                return
            if found is None:
                return
            self._received_ns = now_ns
            self._message(*found, now_ns)

    def disconnected(self) -> None:
        """The connection is gone."""
        self._output.clear()
        self.leave(Left.DISCONNECTED)

    def leave(self, left: Left, detail: str = "") -> None:
        """End the connection; what waits may still be written."""
        if self.left is None:
            self.left, self.detail = left, detail
            self._nodes.left(self)

    def _message(self, layout: Message, message: bytes, now_ns: int) -> None:
        gateway = self._gateway
        if not self.node:
            if layout.name == "hello":
                self._hello(layout.decode(message), now_ns)
            else:
                self.leave(Left.UNEXPECTED, f"{layout.name} before hello")
            return
        if self.node == gateway.store.holder:
            gateway.session.contact(now_ns)
        if layout.name == "hand_over":
            epoch, position, input_number, content = hand_over_of(message)
            said = gateway.hand_over(self.node, epoch, position, input_number, content, now_ns)
            if isinstance(said, Accepted):
                self._told_position = said.order_position
                self._put(accepted_frame(*said), now_ns)
            else:
                self._send("refused", now_ns, **said._asdict())
        elif layout.name == "heartbeat":
            self._send("heartbeat", now_ns, number=layout.decode(message)["number"])
        elif layout.name == "ask":
            self._asked(layout.decode(message), now_ns)
        else:
            self.leave(Left.UNEXPECTED, layout.name)

    def _hello(self, hello: dict[str, Any], now_ns: int) -> None:
        refusal = self._nodes.enter(self, hello, now_ns)
        if refusal is not None:
            reason, detail = refusal
            self._send("not_welcome", now_ns, reason=reason, detail=detail)
            self._nodes.gateway.counters[f"not_welcome_{NotWelcome(reason).name.lower()}"] += 1
            self.leave(Left.NOT_WELCOME, detail)
            return
        gateway = self._gateway
        self.node = hello["node"]
        self.next_answer = hello["next_answer"] or gateway.answers.next
        self.next_outcome = hello["next_outcome"] or gateway.store.next_outcome
        self._told_position, self._told_version = gateway.order_position, gateway.version
        fields = self._nodes.state()
        del fields["detail"]
        first = gateway.answers.first
        self._send("welcome", now_ns, version=VERSION, first_answer=first, **fields)

    # ------------------------------------------------------------ time, bytes out

    def tick(self, now_ns: int) -> None:
        """Let time pass."""
        timeout_ns = self._settings.timeout_ms * MILLISECOND_NS
        if self.left is not None:
            return
        if now_ns - self._received_ns >= timeout_ns:
            self.leave(Left.SILENT)
        elif self._output and now_ns - self._taken_ns >= timeout_ns:
            self._output.clear()
            self.leave(Left.SLOW, "nothing was taken until the timeout")
        elif self.node and now_ns - self._sent_ns >= self._settings.heartbeat_ms * MILLISECOND_NS:
            self._send("heartbeat", now_ns, number=0)

    @property
    def next_deadline(self) -> int:
        """When `tick` has something to do, in the caller's nanoseconds."""
        timeout_ns = self._settings.timeout_ms * MILLISECOND_NS
        deadlines = [self._received_ns + timeout_ns]
        if self._output:
            deadlines.append(self._taken_ns + timeout_ns)
        if self.node:
            deadlines.append(self._sent_ns + self._settings.heartbeat_ms * MILLISECOND_NS)
        return min(deadlines)

    @property
    def has_output(self) -> bool:
        """True where `take_output` would give something."""
        return bool(self._output) or (self.left is None and bool(self.node) and self._has_more())

    def take_output(self, now_ns: int, most: int = CHUNK) -> bytes:
        """Bytes to write now; take more only when these have been written."""
        if self.left is None and self.node:
            self._fill(now_ns, most)
        taken = bytes(self._output[:most])
        del self._output[:most]
        if taken:
            self._taken_ns = now_ns
        return taken

    def _has_more(self) -> bool:
        gateway = self._gateway
        return (
            self.next_answer < gateway.answers.next
            or self._is_told_next()
            or self._told_position != gateway.order_position
            or self._told_version != gateway.version
        )

    def _is_told_next(self) -> bool:
        """Whether an outcome is the next thing to give: it stands behind an answer."""
        store = self._gateway.store
        if self.next_outcome >= store.next_outcome:
            return False
        at = self.next_outcome - store.outcomes[0].number
        return at < 0 or store.outcomes[at].after_sequence < self.next_answer

    def _fill(self, now_ns: int, most: int) -> None:
        """Go on with what is kept for all, until the chunk is full."""
        gateway = self._gateway
        if self._told_version != gateway.version:
            self._tell_state(now_ns)
        if self._told_position != gateway.order_position:
            self._told_position = gateway.order_position
            self._send("confirmed", now_ns, epoch=gateway.epoch, order_position=self._told_position)
        while len(self._output) < most and self.left is None and self._fill_one(now_ns):
            pass

    def _fill_one(self, now_ns: int) -> bool:
        answers, outcomes = self._gateway.answers, self._gateway.store.outcomes
        if self._is_told_next():
            at = self.next_outcome - outcomes[0].number
            if at < 0:
                self.leave(Left.BEHIND, f"outcome {self.next_outcome}")
                return False
            self.next_outcome += 1
            self._send("outcome", now_ns, **outcomes[at]._asdict())
            return True
        if self.next_answer >= answers.next:
            return False
        if self.next_answer < answers.first:
            self.leave(Left.BEHIND, f"answer {self.next_answer}")
            return False
        self._put(answer_frame(self.next_answer, answers.get(self.next_answer)), now_ns)
        self.next_answer += 1
        return True

    def _asked(self, asked: dict[str, Any], now_ns: int) -> None:
        """Say where everything stands; who and which epoch is the highest is in the answer."""
        if asked["epoch"]:
            refusal = self._gateway.adopt(self.node, asked["epoch"], now_ns)
            self._gateway.counters["epochs_refused"] += refusal is not None
        self._tell_state(now_ns, asked["request"])

    def _tell_state(self, now_ns: int, request: int = 0) -> None:
        self._told_version = self._gateway.version
        self._send("session_state", now_ns, request=request, **self._nodes.state())

    def _send(self, name: str, now_ns: int, **fields: Any) -> None:
        self._put(frame(name, **fields), now_ns)

    def _put(self, raw: bytes, now_ns: int) -> None:
        if len(self._output) + len(raw) > self._settings.max_output + CHUNK:
            self._output.clear()
            self.leave(Left.SLOW, "too much waits to be read")
            return
        if not self._output:
            self._taken_ns = now_ns
        self._sent_ns = now_ns
        self._output += raw
