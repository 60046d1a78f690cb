"""Questions to a witness and its answers, between the wire table and what both sides work with.

`asked` and `answered` read a datagram; whatever is not a message of this cluster is a
`WireError` that says why, so that the reader can count it and go on.
"""

from enum import IntEnum
from hashlib import blake2b
from typing import Any

import msgspec

from tickpath.failover.lease import MAX_NOTE
from tickpath.wire.table import Message, WireError
from tickpath.wire.witness import CODES, FLAGS, VERSION, WITNESS

PREPARE, LEASE = WITNESS["prepare"], WITNESS["lease"]
RELEASE, NOTE, READ = WITNESS["release"], WITNESS["note"], WITNESS["read"]
ANSWER = WITNESS["answer"]
MAX_DATAGRAM = ANSWER.length + MAX_NOTE
VOTING, RUNNING, NEW = (1 << FLAGS.index(name) for name in ("voting", "running", "new"))

Code = IntEnum("Code", {name.upper(): int(code) for code, name in CODES.items()})  # type: ignore[misc]
"""What became of a question."""

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


def cluster_id(name: str) -> int:
    """The digest of a cluster's name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


def question_bytes(question: Question, cluster: int) -> bytes:
    """A question as it is sent."""
    values = msgspec.structs.asdict(question)
    layout = WITNESS[values.pop("name")]
    if layout is not NOTE:
        del values["note"]
    return layout.encode(version=VERSION, cluster=cluster, **values)


def answer_bytes(answer: Answer, cluster: int) -> bytes:
    """An answer as it is sent."""
    return ANSWER.encode(
        version=VERSION,
        cluster=cluster,
        number=answer.number,
        code=answer.code,
        flags=answer.flags,
        remaining_ns=answer.remaining_ns,
        **msgspec.structs.asdict(answer.kept),
    )


def asked(datagram: bytes, cluster: int) -> Question:
    """The question in a datagram.  Raises `WireError`."""
    layout, values = _read(datagram, cluster)
    if layout is ANSWER:
        raise WireError("an answer where a question belongs")
    if not values["token"]:
        raise WireError("a question without a token")
    return Question(layout.name, **values)


def answered(datagram: bytes, cluster: int) -> Answer:
    """The answer in a datagram.  Raises `WireError`."""
    layout, values = _read(datagram, cluster)
    if layout is not ANSWER:
        raise WireError("a question where an answer belongs")
    if str(values["code"]) not in CODES:
        raise WireError(f"an answer with code {values['code']}")
    kept = Kept(**{name: values[name] for name in Kept.__struct_fields__})
    front = {name: values[name] for name in ("number", "code", "flags", "remaining_ns")}
    return Answer(**front, kept=kept)


def is_answer(datagram: bytes) -> bool:
    """Whether a datagram claims to be an answer."""
    return datagram[WITNESS.type_offset : WITNESS.type_offset + 1] == ANSWER.type.encode()


def _read(datagram: bytes, cluster: int) -> tuple[Message, dict[str, Any]]:
    layout = WITNESS.message_of(datagram)
    if len(datagram) > layout.length + MAX_NOTE:
        raise WireError(f"a note of {len(datagram) - layout.length} bytes")
    values = layout.decode(datagram)
    version, of = values.pop("version"), values.pop("cluster")
    if version != VERSION:
        raise WireError(f"version {version} of the protocol, not {VERSION}")
    if of != cluster:
        raise WireError("a message of another cluster")
    del values["message_type"]
    return layout, values
