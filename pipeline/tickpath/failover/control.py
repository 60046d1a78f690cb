"""Questions between nodes, over ZeroMQ: status, snapshots, and who is to take over.

A question is one of `questions.PeerQuestion`; the answer's first part is a JSON object, and a
snapshot's chunks follow it, each with its BLAKE2b digest in the first part.  None of this is on the
way of an order: it costs some 50 us one way.  With `curve.Keys` both sides know each other and what
goes between them is encrypted; without, the addresses are loopback (`node_config`).

What is no question is counted and answered with an error.  A part above `MOST_PART_BYTES` ends its
connection, which ZeroMQ does by itself and tells nobody.  Parts beyond `MOST_PARTS` are thrown away
one by one and counted; ZeroMQ hands a message over when all its parts are there, and has no bound
of its own for their number: what somebody with a key (or of this host) sends at once is in memory
until then.
"""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import zmq

from tickpath.failover.control_error import ControlError
from tickpath.failover.curve import DOMAIN, Doorkeeper, Keys
from tickpath.failover.questions import PeerQuestion, QuestionError, of_peer
from tickpath.failover.reach import Reach

CHUNK_BYTES = 1 << 16
"""Of a snapshot.  ZeroMQ encrypts a part into memory that it asks for then, and ends the process
where it gets none: so a part is small enough for memory that its thread has already."""
MOST_PARTS = 2
"""Of a question: an empty one and the question."""
MOST_ANSWER_PARTS = 1 << 16
"""Of an answer: a snapshot of 4 GiB."""
MOST_LATER = 4
"""Answers that are being made."""
PARTS_A_TURN = 16
"""How much of an answer leaves in one turn of the loop."""
MOST_PART_BYTES = 1 << 16
"""Of what somebody sends to a node."""
MOST_ANSWER_PART_BYTES = 1 << 24
MOST_AT_ONCE = 16
MOST_WAITING = 64
"""Messages of a connection that wait to be read, or to be taken."""
TIMEOUT_MS = 10_000
LINGER_MS = 100


class Content(NamedTuple):
    """Bytes that go with an answer, in chunks of `CHUNK_BYTES`, each with its digest."""

    chunks: Sequence[memoryview] = ()
    digests: Sequence[str] = ()


def content_of(raw: bytes) -> Content:
    """Bytes in chunks.  Raises `MemoryError`."""
    view = memoryview(raw)
    chunks = [view[at : at + CHUNK_BYTES] for at in range(0, len(view), CHUNK_BYTES)]
    return Content(chunks, [hashlib.blake2b(each, digest_size=16).hexdigest() for each in chunks])


Answer = tuple[dict[str, Any], Content]
"""What is said, and the bytes that go with it."""
NOTHING = Content()


class Later(Protocol):
    """An answer that is being made."""

    def answer(self) -> Answer | None:
        """The answer, None as long as there is none.  Raises `ControlError`."""

    def end(self) -> None:
        """Nobody waits for it any more."""


class Control:
    """The answering side; `serve` never waits.  Raises `ControlError` where it cannot listen."""

    def __init__(
        self,
        address: str,
        answer: Callable[[PeerQuestion], Answer | Later],
        keys: Keys | None = None,
        names: Mapping[bytes, str] | None = None,
    ) -> None:
        """``names`` of those that may ask, by public key, where there are ``keys``."""
        self._answer = answer
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        # Larger parts would be lent, and a collector of threads of its own be started for the
        # first of them: where there is no memory for a thread, ZeroMQ ends the process.
        self._socket.copy_threshold = CHUNK_BYTES + 1
        self._fileno = int(self._socket.get(zmq.FD))
        self.counters: Counter[str] = Counter()
        self._later: list[tuple[bytes, Later]] = []
        self._answers: deque[deque[bytes | memoryview]] = deque()
        self._is_begun = False
        self._doorkeeper: Doorkeeper | None = None
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, MOST_PART_BYTES),
            (zmq.RCVHWM, MOST_WAITING),
        ):
            self._socket.setsockopt(option, value)
        if keys is not None:
            self._doorkeeper = Doorkeeper(self._context, names or {})
            self._socket.curve_publickey, self._socket.curve_secretkey = keys
            self._socket.curve_server = True
            self._socket.zap_domain = DOMAIN
        try:
            self._socket.bind(f"tcp://{address}")
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise ControlError(f"node.listen: {address}: {error.strerror}") from None

    def fileno(self) -> int:
        """Can be read when `serve` may have something to do."""
        return self._fileno

    def serve(self) -> int:
        """Answer what was asked since; gives how many questions there were."""
        if self._doorkeeper is not None:
            self._doorkeeper.serve()
            self.counters["keys_refused"] = self._doorkeeper.refused
        self._send_on()
        self._serve_later()
        for number in range(MOST_AT_ONCE):
            if not int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:  # cheaper than to fail
                return number
            who, parts = self._received()
            self.counters["asked"] += 1
            try:
                answer = self._answer(self._question(parts))
                if not isinstance(answer, tuple):
                    self._keep(who, answer)
                    continue
            except ControlError as error:
                answer = self._refusal(error)
            except MemoryError:
                self.counters["no_memory"] += 1
                answer = {"error": "this node has no memory for the answer"}, NOTHING
            self._send(who, *answer)
        return MOST_AT_ONCE

    def _received(self) -> tuple[bytes, list[zmq.Frame]]:
        """Who asks, and the first parts of what he sent."""
        who = self._socket.recv(zmq.NOBLOCK)
        parts: list[zmq.Frame] = []
        while self._socket.get(zmq.RCVMORE):
            part = self._socket.recv(zmq.NOBLOCK, copy=False)
            if len(parts) <= MOST_PARTS:  # one too many says that there were
                parts.append(part)
            else:
                self.counters["parts_thrown_away"] += 1
        return who, parts

    def _refusal(self, error: ControlError) -> Answer:
        self.counters["malformed" if isinstance(error, QuestionError) else "refused"] += 1
        return {"error": str(error)}, NOTHING

    def _keep(self, who: bytes, later: Later) -> None:
        """Answer when there is something to say.  Raises `ControlError`."""
        if len(self._later) >= MOST_LATER:
            later.end()
            raise ControlError(f"{len(self._later)} answers are being made already: ask again")
        self._later.append((who, later))

    def _serve_later(self) -> None:
        for each in tuple(self._later):
            who, later = each
            try:
                answer = later.answer()
            except ControlError as error:
                answer = self._refusal(error)
            if answer is not None:
                self._later.remove(each)
                self._send(who, *answer)

    def _question(self, parts: list[zmq.Frame]) -> PeerQuestion:
        if len(parts) != 2 or len(parts[0]):
            raise QuestionError("no question: it has to be one part behind an empty one")
        question = of_peer(parts[1].bytes)
        source = getattr(question, "source", None)
        if self._doorkeeper is not None and source is not None:
            name = parts[1].get("User-Id")
            if name != source:
                raise ControlError(f"{name} cannot speak for {source}")
        return question

    def _send(self, who: bytes, said: dict[str, Any], content: Content) -> None:
        """Put an answer behind those that wait, and send as much as goes in a turn."""
        chunks, digests = content
        try:
            if len(self._answers) >= MOST_WAITING:
                raise MemoryError
            first = json.dumps({**said, "chunks": digests} if chunks else said).encode()
            self._answers.append(deque([who, b"", first, *chunks]))
        except MemoryError:
            self.counters["answers_not_sent"] += 1
        self._send_on()

    def _send_on(self) -> None:
        """Some parts of the answers that wait: a large one does not hold the loop."""
        for _ in range(PARTS_A_TURN):
            if not self._answers:
                return
            parts = self._answers[0]
            part = parts.popleft()
            try:
                self._socket.send(part, zmq.NOBLOCK | (zmq.SNDMORE if parts else 0))
                self._is_begun = bool(parts)
            except (zmq.ZMQError, MemoryError):
                self.counters["answers_not_sent"] += 1
                parts.clear()
                if self._is_begun:  # it must end before another answer, sooner or later
                    parts.append(b"")
                    return
            if not parts:
                self._answers.popleft()

    def close(self) -> None:
        """Stop listening."""
        for _, later in self._later:
            later.end()
        self._context.destroy(linger=0)


def _connected(context: zmq.Context, kind: int, reach: Reach, linger_ms: int = 0) -> zmq.Socket:
    """A socket that is on its way to a node; what it sends waits for no connection but a REQ's."""
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, linger_ms)
    socket.setsockopt(zmq.IMMEDIATE, int(kind != zmq.REQ))
    socket.setsockopt(zmq.MAXMSGSIZE, MOST_ANSWER_PART_BYTES)
    if reach.keys is not None and reach.server_key is not None:
        socket.curve_publickey, socket.curve_secretkey = reach.keys
        socket.curve_serverkey = reach.server_key
    socket.connect(f"tcp://{reach.address}")
    return socket


def ask(
    reach: Reach | str, timeout_ms: int = TIMEOUT_MS, **question: Any
) -> tuple[dict[str, Any], bytes]:
    """Ask a node, and wait for its answer.

    Raises `ControlError` where none comes in time, it is damaged, or it is an error.
    """
    reach = Reach(reach) if isinstance(reach, str) else reach
    address = reach.address
    context = zmq.Context()
    try:
        socket = _connected(context, zmq.REQ, reach)
        socket.send(json.dumps(question).encode())
        if not socket.poll(timeout_ms):
            keys = "" if reach.keys is None else ", with these keys"
            raise ControlError(f"{address}: no answer in {timeout_ms} ms; does the node run{keys}?")
        first, chunks = socket.recv(), []
        while socket.get(zmq.RCVMORE):
            chunks.append(socket.recv())
            if len(chunks) >= MOST_ANSWER_PARTS:
                raise ControlError(f"{address}: its answer has more than {len(chunks)} parts")
    finally:
        context.destroy(linger=0)
    try:
        said = json.loads(first)
        digests = said.pop("chunks", [])
    except (ValueError, AttributeError):
        raise ControlError(f"{address}: what answers there is no node") from None
    if "error" in said:
        raise ControlError(f"{address}: {said['error']}")
    if len(digests) != len(chunks):
        raise ControlError(f"{address}: {len(chunks)} chunks came, {len(digests)} were said")
    for at, (digest, chunk) in enumerate(zip(digests, chunks, strict=True)):
        if hashlib.blake2b(chunk, digest_size=16).hexdigest() != digest:
            raise ControlError(f"{address}: chunk {at} of the answer is damaged")
    return said, b"".join(chunks)


class Words:
    """Open lines to the other nodes, for words that must not wait for a connection."""

    def __init__(self, reaches: Mapping[str, Reach]) -> None:
        self._context = zmq.Context()
        self._sockets: dict[str, zmq.Socket] = {}
        for name, reach in reaches.items():
            self._sockets[name] = _connected(self._context, zmq.DEALER, reach, LINGER_MS)

    def tell(self, name: str, **word: Any) -> bool:
        """Say something and wait for nothing; False where there is no line to the node now."""
        socket = self._sockets[name]
        try:
            for _ in range(MOST_WAITING):
                socket.recv_multipart(zmq.NOBLOCK)  # answers to words of before
        except zmq.Again:
            pass
        try:
            socket.send_multipart([b"", json.dumps(word).encode()], zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        """Close the lines; what was just said still leaves."""
        self._context.destroy(linger=LINGER_MS)
