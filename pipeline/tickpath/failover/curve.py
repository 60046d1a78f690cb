"""Who a node believes to be a node: CurveZMQ keys on both sides.

    tickpath cluster keys node-a.key          # makes the file (0600); prints the public key
    [node]
    keys = "node-a.key"
    [node.peers.b]
    public_key = "..."                        # of b's file

A node with keys answers only peers whose public key it was given, and speaks only to a peer that
has the secret key to the public one it was given; what goes between them is encrypted.  Without
keys there is no telling who asks, so such a node takes loopback addresses only.
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from typing import NamedTuple

import zmq
import zmq.utils.z85

from tickpath.config import ConfigError

DOMAIN = b"tickpath"
_ZAP_ADDRESS = "inproc://zeromq.zap.01"
_ZAP_FRAMES = 7
_MOST_AT_ONCE = 16
_MOST_FILE_BYTES = 4096


class Keys(NamedTuple):
    """A pair of Curve25519 keys in Z85, 40 characters each."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"Keys({self.public.decode()}, ***)"


def write_keys(path: str) -> Keys:
    """Make a pair and keep it in a new file of its owner's.  Raises `ConfigError`."""
    public, secret = zmq.curve_keypair()
    text = f'public = "{public.decode()}"\nsecret = "{secret.decode()}"\n'
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w") as out:
            out.write(text)
    except OSError as error:
        raise ConfigError(f"{path}: no keys can be written: {error.strerror}") from None
    return Keys(public, secret)


def load_keys(path: str) -> Keys:
    """The pair in a file that only its owner can read.  Raises `ConfigError`.

    No error quotes what is in the file.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(_MOST_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"node.keys: {path}: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"node.keys: {path}: others can read it; run: chmod 600 {path}")
    try:
        found = tomllib.loads(raw.decode())
        public, secret = found["public"].encode(), found["secret"].encode()
        is_pair = zmq.curve_public(secret) == public
    except (ValueError, KeyError, AttributeError, zmq.ZMQError):
        is_pair = False
    if not is_pair:
        raise ConfigError(f"node.keys: {path}: no pair of keys; see tickpath cluster keys")
    return Keys(public, secret)


class Doorkeeper:
    """Answers ZeroMQ's question who may connect (RFC 27); asked by `serve`, which never waits."""

    def __init__(self, context: zmq.Context, names: Mapping[bytes, str]) -> None:
        """``names`` of those that may, by public key; one per context."""
        self._names = {zmq.utils.z85.decode(key): name for key, name in names.items()}
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(_ZAP_ADDRESS)
        self.refused = 0

    def serve(self) -> None:
        """Let in whose key is known, under the name that it has here."""
        for _ in range(_MOST_AT_ONCE):
            if not int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
                return
            who, _empty, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            name = None
            if len(frames) == _ZAP_FRAMES and frames[5] == b"CURVE":
                name = self._names.get(frames[6])
            self.refused += name is None
            status, text = (b"200", b"OK") if name is not None else (b"400", b"unknown key")
            request = frames[1] if len(frames) > 1 else b""
            answer = [b"1.0", request, status, text, (name or "").encode(), b""]
            self._socket.send_multipart([who, b"", *answer])
