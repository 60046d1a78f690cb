"""A node's side of one connection to the gateway, without its socket: bytes and time in and out.

Answers and outcomes have no hole and come once, over all connections: the hello says which ones
are next, and a connection that goes on elsewhere ends.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tickpath.failover.gateway_error import GatewayError
from tickpath.failover.gateway_event import (
    Accepted,
    Answer,
    Confirmed,
    Declined,
    Event,
    Lost,
    Refused,
    Stands,
    Told,
    Welcomed,
)
from tickpath.failover.gateway_framing import FrameError, FrameReader, frame, hand_over_frame
from tickpath.failover.gateway_tail import LENGTH_BYTES, split
from tickpath.wire.gateway import GATEWAY, VERSION, NotWelcome, Outcome, Refusal, Session
from tickpath.wire.table import Message, WireError

MILLISECOND_NS = 1_000_000
Positive = Annotated[int, Meta(ge=1)]
_HAND_OVER = GATEWAY["hand_over"]


class ClientSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a node talks to its gateway."""

    heartbeat_ms: Positive = 100
    timeout_ms: Positive = 1_000
    """Silence of the gateway that ends the connection."""
    connect_timeout_ms: Positive = 500
    reconnect_ms: Positive = 20
    """Pause before the next attempt."""
    declined_ms: Positive = 500
    """The same where the hello was not taken."""
    max_message: Annotated[int, Meta(ge=4096, le=1 << 24)] = 1 << 20
    """Bytes of the longest message, in both directions; longer hand-overs go in pieces."""
    max_output: Annotated[int, Meta(ge=4096)] = 4 << 20
    """Bytes that may wait for the socket."""
    busy_poll_us: Annotated[int, Meta(ge=0)] = 0


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node runs, as digests of at most 32 bytes; all nodes of a group have the same."""

    build: bytes = b""
    configuration: bytes = b""
    strategy: bytes = b""
    layout: bytes = b""


def hello_frame(node: str, group: Group, next_answer: int, next_outcome: int) -> bytes:
    """The first frame.  Raises `GatewayError` for what does not fit."""
    layout = GATEWAY["hello"]
    digests = {
        name: getattr(group, name).ljust(layout[name].size, b"\0")
        for name in Group.__struct_fields__
    }
    try:
        return frame(
            "hello",
            version=VERSION,
            node=node,
            next_answer=next_answer,
            next_outcome=next_outcome,
            **digests,
        )
    except (WireError, UnicodeEncodeError) as error:
        raise GatewayError(f"node {node!r} at the gateway: {error}") from None


class ClientLink:
    """See the module's text.  Made when its transport is connected."""

    def __init__(
        self,
        node: str,
        group: Group,
        next_answer: int,
        next_outcome: int,
        settings: ClientSettings,
        now_ns: int,
    ):
        self.next_answer, self.next_outcome = next_answer, next_outcome
        self.is_welcome = False
        self.lost: Lost | None = None
        self.output = bytearray(hello_frame(node, group, next_answer, next_outcome))
        """Bytes to write; whoever writes some takes them out."""
        self._settings = settings
        self._reader = FrameReader(settings.max_message)
        self._received_ns = self._sent_ns = now_ns
        self._events: list[Event] = []

    def receive(self, received: bytes, now_ns: int) -> list[Event]:
        """Take bytes of the gateway; gives what they mean."""
        self._reader.feed(received)
        try:
            while self.lost is None:
                found = self._reader.next_message()
                if found is None:
                    break
                self._received_ns = now_ns
                self._message(*found)
        except (FrameError, WireError, ValueError) as error:
            self._lose(f"not the gateway's protocol: {error}")
        return self._told()

    def tick(self, now_ns: int) -> list[Event]:
        """Let time pass."""
        if self.lost is None:
            settings = self._settings
            if now_ns - self._received_ns >= settings.timeout_ms * MILLISECOND_NS:
                self._lose(f"nothing came for {settings.timeout_ms} ms")
            elif self.is_welcome and not self.output:
                if now_ns - self._sent_ns >= settings.heartbeat_ms * MILLISECOND_NS:
                    self.send(frame("heartbeat", number=now_ns), now_ns)
        return self._told()

    def disconnected(self, detail: str) -> list[Event]:
        """The connection is gone."""
        self._lose(detail)
        return self._told()

    def send(self, raw: bytes, now_ns: int) -> bool:
        """Put frames into the output; False where there is no room for them."""
        if len(self.output) + len(raw) > self._settings.max_output:
            return False
        self.output += raw
        self._sent_ns = now_ns
        return True

    def _message(self, layout: Message, message: bytes) -> None:
        fields = layout.decode(message)
        del fields["message_type"]
        if layout.name == "not_welcome":
            declined = Declined(NotWelcome(fields["reason"]), fields["detail"])
            self._events.append(declined)
            self._lose(f"not welcome: {declined.reason.name} {declined.detail}")
        elif layout.name == "welcome" and not self.is_welcome:
            self._welcome(fields)
        elif not self.is_welcome:
            raise ValueError(f"{layout.name} before welcome")
        elif layout.name == "answer":
            self._in_order("answer", fields["sequence"], self.next_answer)
            self.next_answer += 1
            self._events.append(Answer(**fields))
        elif layout.name == "outcome":
            self._in_order("outcome", fields["number"], self.next_outcome)
            self.next_outcome += 1
            fields["reason"] = Outcome(fields["reason"])
            self._events.append(Told(**fields))
        elif layout.name == "accepted":
            self._events.append(Accepted(**fields))
        elif layout.name == "confirmed":
            self._events.append(Confirmed(**fields))
        elif layout.name == "refused":
            fields["reason"] = Refusal(fields["reason"])
            self._events.append(Refused(**fields))
        elif layout.name == "session_state":
            self._events.append(_stands(fields))
        elif layout.name != "heartbeat":
            raise ValueError(f"{layout.name} from a gateway")

    def _welcome(self, fields: dict[str, Any]) -> None:
        if fields.pop("version") != VERSION:
            raise ValueError("another version")
        first_answer = fields.pop("first_answer")
        stands = _stands(fields)
        self.is_welcome = True
        self.next_answer = self.next_answer or stands.next_answer
        self.next_outcome = self.next_outcome or stands.next_outcome
        self._events.append(Welcomed(first_answer, stands))

    @staticmethod
    def _in_order(what: str, number: int, expected: int) -> None:
        if number != expected:
            raise ValueError(f"{what} {number} in the place of {expected}")

    def _lose(self, detail: str) -> None:
        if self.lost is None:
            self.lost = Lost(detail)
            self._events.append(self.lost)

    def _told(self) -> list[Event]:
        told, self._events = self._events, []
        return told


def _stands(fields: dict[str, Any]) -> Stands:
    return Stands(Session(fields.pop("session_state")), **fields)


def hand_over_frames(
    epoch: int, order_position: int, input_number: int, messages: bytes, max_message: int
) -> bytes:
    """The frames of a hand-over: one, or as many as its length needs, cut between messages.

    Raises `GatewayError` where it is not whole messages.
    """
    most = max_message - _HAND_OVER.length
    if len(messages) <= most:
        return hand_over_frame(epoch, order_position, input_number, messages)
    frames, piece = bytearray(), bytearray()
    for message in split(messages) or ():
        if len(piece) + LENGTH_BYTES + len(message) > most:
            frames += hand_over_frame(epoch, order_position, input_number, bytes(piece))
            order_position += len(piece)
            piece.clear()
        piece += len(message).to_bytes(LENGTH_BYTES, "big") + message
    if not piece:
        raise GatewayError("a hand-over takes whole order messages, each behind its 2-byte length")
    return bytes(frames) + hand_over_frame(epoch, order_position, input_number, bytes(piece))
