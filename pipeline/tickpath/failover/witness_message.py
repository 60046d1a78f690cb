"""Questions to a witness and its answers, between the wire table and what both sides work with.

`asked` and `answered` read a datagram; whatever is not a message of this cluster is a
`WireError` that says why, so that the reader can count it and go on.
"""

import struct
from hashlib import blake2b

import msgspec

from tickpath.failover.lease import MAX_NOTE
from tickpath.wire.table import Message, WireError
from tickpath.wire.witness import FLAGS, VERSION, WITNESS, Code

PREPARE, LEASE = WITNESS["prepare"], WITNESS["lease"]
RELEASE, NOTE, READ = WITNESS["release"], WITNESS["note"], WITNESS["read"]
ANSWER = WITNESS["answer"]
MAX_DATAGRAM = ANSWER.length + MAX_NOTE
VOTING, RUNNING, NEW = (1 << FLAGS.index(name) for name in ("voting", "running", "new"))

ABSENT = frozenset({Code.NOT_VOTING, Code.DISK})
"""Answers of a witness that has no say now, but may have one when it is asked again."""


class Kept(msgspec.Struct, frozen=True):
    """What a witness keeps on disk."""

    epoch: int = 0
    """The highest that it promised, or granted."""
    token: int = 0
    """To whom; 0: to nobody, the epoch is only known to be used."""
    ttl_ns: int = 0
    """The longest lease that it may have granted for that epoch."""
    max_ttl_ns: int = 0
    """The longest that it grants at all."""
    node: str = ""
    note_epoch: int = 0
    note_number: int = 0
    note: bytes = b""

    @property
    def note_order(self) -> tuple[int, int]:
        """Of two notes the one with the higher order counts."""
        return self.note_epoch, self.note_number


class Question(msgspec.Struct, frozen=True):
    """What a node, or another witness, asks."""

    name: str
    number: int
    token: int
    epoch: int = 0
    ttl_ns: int = 0
    node: str = ""
    note: bytes = b""


class Answer(msgspec.Struct, frozen=True):
    """What a witness says."""

    number: int
    code: int
    flags: int
    remaining_ns: int
    kept: Kept

    @property
    def is_voting(self) -> bool:
        return bool(self.flags & VOTING)

    @property
    def is_running(self) -> bool:
        return bool(self.flags & RUNNING)


def _packing(layout: Message, fields: int | None = None) -> struct.Struct:
    """The first fields of a message as a `struct`, which is ten times faster than the table."""
    codes = {"u8": "B", "u64": "Q", "ascii:1": "c", _NODE.kind: f"{_NODE.size}s"}
    fixed = [each for each in layout.fields if not each.is_variable]
    return struct.Struct(">" + "".join(codes[each.kind] for each in fixed[:fields]))


_NODE = ANSWER["node"]
_FRONT, _QUESTION, _ANSWER = _packing(READ, 3), _packing(READ), _packing(ANSWER)
_CODES = frozenset(Code)

assert READ.fields[2].name == "cluster"
assert (_QUESTION.size, _ANSWER.size) == (READ.length, ANSWER.length)


def cluster_id(name: str) -> int:
    """The digest of a cluster's name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


def question_bytes(question: Question, cluster: int) -> bytes:
    """A question as it is sent."""
    layout = WITNESS[question.name]
    front = _QUESTION.pack(
        layout.type.encode(),
        VERSION,
        cluster,
        question.number,
        question.token,
        question.epoch,
        question.ttl_ns,
        _text(question.node),
    )
    return front + question.note if layout is NOTE else front


def answer_bytes(answer: Answer, cluster: int) -> bytes:
    """An answer as it is sent."""
    *numbers, node, note_epoch, note_number, note = msgspec.structs.astuple(answer.kept)
    front = _ANSWER.pack(
        ANSWER.type.encode(),
        VERSION,
        cluster,
        answer.number,
        answer.code,
        answer.flags,
        answer.remaining_ns,
        *numbers,
        _text(node),
        note_epoch,
        note_number,
    )
    return front + note


def asked(datagram: bytes, cluster: int) -> Question:
    """The question in a datagram.  Raises `WireError`."""
    layout = _checked(datagram, cluster)
    if layout is ANSWER:
        raise WireError("an answer where a question belongs")
    *_, number, token, epoch, ttl_ns, node = _QUESTION.unpack_from(datagram)
    if not token:
        raise WireError("a question without a token")
    note = datagram[layout.length :]
    return Question(layout.name, number, token, epoch, ttl_ns, _name(node), note)


def answered(datagram: bytes, cluster: int) -> Answer:
    """The answer in a datagram.  Raises `WireError`."""
    if _checked(datagram, cluster) is not ANSWER:
        raise WireError("a question where an answer belongs")
    _, _, _, number, code, flags, remaining_ns, *rest = _ANSWER.unpack_from(datagram)
    if code not in _CODES:
        raise WireError(f"an answer with code {code}")
    epoch, token, ttl_ns, max_ttl_ns, node, note_epoch, note_number = rest
    note = datagram[ANSWER.length :]
    whole = Kept(epoch, token, ttl_ns, max_ttl_ns, _name(node), note_epoch, note_number, note)
    return Answer(number, code, flags, remaining_ns, whole)


def is_answer(datagram: bytes) -> bool:
    """Whether a datagram claims to be an answer."""
    return datagram[WITNESS.type_offset : WITNESS.type_offset + 1] == ANSWER.type.encode()


def _checked(datagram: bytes, cluster: int) -> Message:
    """The layout of a datagram of this cluster.  Raises `WireError`."""
    layout = WITNESS.message_of(datagram)
    if len(datagram) > layout.length + MAX_NOTE:
        raise WireError(f"a note of {len(datagram) - layout.length} bytes")
    _, version, of = _FRONT.unpack_from(datagram)
    if version != VERSION:
        raise WireError(f"version {version} of the protocol, not {VERSION}")
    if of != cluster:
        raise WireError("a message of another cluster")
    return layout


def _text(name: str) -> bytes:
    return name.encode("latin-1").ljust(_NODE.size)


def _name(raw: bytes) -> str:
    return raw.decode("latin-1").rstrip(" ")
