"""Questions between nodes and their operators, over ZeroMQ: status, commands, snapshots.

A question is a JSON object with ``ask``; the answer's first part is one too, and a snapshot's
chunks follow it, each with its BLAKE2b digest in the first part.  None of this is on the way of an
order: it costs some 50 us one way.  Nothing is encrypted; the address belongs on a private network.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import zmq

from tickpath.failover.control_error import ControlError

CHUNK_BYTES = 1 << 20
MOST_BYTES = 1 << 34
MOST_AT_ONCE = 16
TIMEOUT_MS = 10_000

Answer = tuple[dict[str, Any], bytes]
"""What is said, and the bytes that go with it."""


class Control:
    """The answering side; `serve` never waits.  Raises `ControlError` where it cannot listen."""

    def __init__(self, address: str, answer: Callable[[dict[str, Any]], Answer]) -> None:
        self._answer = answer
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self.malformed = 0
        try:
            self._socket.bind(f"tcp://{address}")
        except zmq.ZMQError as error:
            self._context.destroy()
            raise ControlError(f"node.control: {address}: {error.strerror}") from None

    def serve(self) -> int:
        """Answer what was asked since; gives how many questions there were."""
        for number in range(MOST_AT_ONCE):
            try:
                who, _, raw = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return number
            except ValueError:
                self.malformed += 1
                continue
            try:
                question = json.loads(raw)
                if not isinstance(question, dict):
                    raise ValueError("no object")
            except ValueError as error:
                self.malformed += 1
                said, content = {"error": f"no question: {error}"}, b""
            else:
                said, content = self._answer(question)
            self._send(who, said, content)
        return MOST_AT_ONCE

    def _send(self, who: bytes, said: dict[str, Any], content: bytes) -> None:
        chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
        digests = [hashlib.blake2b(each, digest_size=16).hexdigest() for each in chunks]
        first = json.dumps({**said, "chunks": digests} if chunks else said).encode()
        try:
            self._socket.send_multipart([who, b"", first, *chunks], zmq.NOBLOCK)
        except zmq.Again:
            self.malformed += 1

    def close(self) -> None:
        """Stop listening."""
        self._context.destroy(linger=0)


def ask(address: str, timeout_ms: int = TIMEOUT_MS, **question: Any) -> Answer:
    """Ask a node, and wait for its answer.

    Raises `ControlError` where none comes in time, it is damaged, or it is an error.
    """
    context = zmq.Context()
    try:
        socket = context.socket(zmq.REQ)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
        socket.connect(f"tcp://{address}")
        socket.send(json.dumps(question).encode())
        if not socket.poll(timeout_ms):
            raise ControlError(f"{address}: no answer in {timeout_ms} ms; does the node run?")
        first, *chunks = socket.recv_multipart()
    finally:
        context.destroy(linger=0)
    said = json.loads(first)
    if "error" in said:
        raise ControlError(f"{address}: {said['error']}")
    for at, (digest, chunk) in enumerate(zip(said.pop("chunks", []), chunks, strict=True)):
        if hashlib.blake2b(chunk, digest_size=16).hexdigest() != digest:
            raise ControlError(f"{address}: chunk {at} of the answer is damaged")
    return said, b"".join(chunks)


def tell(address: str, **word: Any) -> None:
    """Say something to a node and wait for nothing; it may be lost."""
    context = zmq.Context()
    try:
        socket = context.socket(zmq.DEALER)
        socket.connect(f"tcp://{address}")
        socket.send_multipart([b"", json.dumps(word).encode()])
    finally:
        context.destroy(linger=100)
