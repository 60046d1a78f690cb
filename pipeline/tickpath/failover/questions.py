"""What a node can be asked and told, as typed JSON objects: their kind is in ``ask``.

    {"ask": "status"}                                  by nodes and operators
    {"ask": "handed_over", "from": "a", ...}           by nodes, over TCP
    {"ask": "switchover", "to": "b"}                   by operators, over the Unix socket

What changes a node is an operator's and is not known to the other side: a node cannot say it.
Whatever is no such object (another kind, a field of another type or out of bounds) is a
`QuestionError` of one line and never reaches the node.
"""

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from tickpath.failover import role_event as told
from tickpath.failover.control_error import ControlError

MOST_BYTES = 4096
"""Of a question."""
Name = Annotated[str, Meta(min_length=1, max_length=32)]
Text = Annotated[str, Meta(max_length=200)]
Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class QuestionError(ControlError):
    """A question that is none; one line."""


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask"):
    """One of a closed set."""


class Status(Question, frozen=True, tag="status"):
    """What the node is and how it stands."""


class Snapshot(Question, frozen=True, tag="snapshot"):
    """Its state, as portable bytes."""


class StateDigest(Question, frozen=True, tag="state_digest"):
    """64 bits over its state, and the record they are of."""


class HandedOver(Question, frozen=True, tag="handed_over"):
    """The active has stopped behind ``number`` and names the node that is told this."""

    source: Name = msgspec.field(name="from")
    epoch: Number
    number: Number
    host: Annotated[str, Meta(max_length=64)] = ""
    """Whose monotonic clock ``told_ns`` is of (`node_pause`)."""
    told_ns: Number = 0
    paused_ns: Number = 0
    """For how long no input had been taken then."""
    ordered_ns: Number = 0
    """How long ago its last order had been handed over; 0: there was none."""


PeerQuestion = Status | Snapshot | StateDigest | HandedOver


# ---------------------------------------------------------------- what operators say


class Command(Question, frozen=True):
    """Something that changes a node, or tries to."""

    def event(self, who: str) -> told.Event:
        """What its role is told, by an operator of this name."""
        raise NotImplementedError


class Switchover(Command, frozen=True, tag="switchover"):
    to: Name | None = None

    def event(self, who: str) -> told.Event:
        return told.Switchover(self.to)


class Force(Command, frozen=True, tag="force"):
    def event(self, who: str) -> told.Event:
        return told.Force()


class Hold(Command, frozen=True, tag="hold"):
    why: Text = "the operator holds trading"

    def event(self, who: str) -> told.Event:
        return told.HoldTrading("operator", f"{self.why} ({who})")


class Resume(Command, frozen=True, tag="resume"):
    source: Text = "operator"

    def event(self, who: str) -> told.Event:
        return told.ResumeTrading(self.source)


class Resolved(Command, frozen=True, tag="resolved"):
    def event(self, who: str) -> told.Event:
        return told.UnknownResolved()


class Mode(Command, frozen=True, tag="mode"):
    synchronous: bool

    def event(self, who: str) -> told.Event:
        return told.SetMode(self.synchronous)


class Retire(Command, frozen=True, tag="retire"):
    def event(self, who: str) -> told.Event:
        return told.Retire()


class Drill(Command, frozen=True, tag="drill"):
    def event(self, who: str) -> told.Event:
        return told.Drill()


class UseLine(Question, frozen=True, tag="use_line"):
    """Which line of the feed is taken from here on; not the role's business."""

    line: Literal["A", "B", "both"]


class Ctl(Question, frozen=True, tag="ctl"):
    """A word to the engine, as of `tickpath ctl` (`tickpath.trade.operator_words`)."""

    words: Annotated[str, Meta(max_length=1_000)]


class AskOutcome(Question, frozen=True, tag="outcome"):
    """What became of a command: its first outcome behind this number, if there is one yet."""

    command: Name
    behind: Number


OperatorQuestion = (
    Status
    | StateDigest
    | AskOutcome
    | Ctl
    | UseLine
    | Switchover
    | Force
    | Hold
    | Resume
    | Resolved
    | Mode
    | Retire
    | Drill
)


class Outcome(NamedTuple):
    """How a command ended; numbered from 1 in a node's life."""

    number: int
    command: str
    is_done: bool
    text: str


_of_peers = msgspec.json.Decoder(PeerQuestion)
_of_operators = msgspec.json.Decoder(OperatorQuestion)


def _decoded(decoder: msgspec.json.Decoder, raw: bytes) -> Question:
    if len(raw) > MOST_BYTES:
        raise QuestionError(f"no question: {len(raw)} bytes, at most {MOST_BYTES} are read")
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise QuestionError(f"no question: {' '.join(str(error).split())[:300]}") from None


def of_peer(raw: bytes) -> PeerQuestion:
    """What another node asks.  Raises `QuestionError`."""
    return _decoded(_of_peers, raw)  # type: ignore[return-value]


def of_operator(raw: bytes) -> OperatorQuestion:
    """What an operator asks or says.  Raises `QuestionError`."""
    return _decoded(_of_operators, raw)  # type: ignore[return-value]
