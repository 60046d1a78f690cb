"""A ring of inputs on another host: what is sent and received, without sockets (`wire.mirror`).

    sender     reads a ring; sends what is new, what is asked for again, and beats
    receiver   writes a ring of its own, byte for byte the same; asks for what is missing

Data may get lost, come twice or out of order.  The mirror's head moves only over whole records that
are there, so that who follows it sees what it would see on the ring itself.  A receiver that takes
the feed itself is sent the `plan` only: records without the market's messages in them.
"""

import zlib
from typing import Annotated, Any

from msgspec import Meta

from tickpath.config import Component
from tickpath.wire.mirror import MAGIC, MIRROR, VERSION
from tickpath.wire.table import WireError

_CHECKED_FROM = MIRROR["beat"]["stream"].offset
_CHECK = MIRROR["beat"]["check"]
MILLISECOND_NS = 1_000_000

Address = tuple[str, int]


class Settings(Component, frozen=True):
    """How a mirror is kept."""

    datagram_bytes: Annotated[int, Meta(ge=512, le=65_507)] = 1_472
    """Largest UDP payload: 1,472 for Ethernet, more where frames are larger."""
    window_bytes: Annotated[int, Meta(ge=65_536)] = 1 << 20
    """Bytes under way to a receiver; its socket's buffer has to hold twice as much."""
    beat_ms: Annotated[int, Meta(ge=1)] = 10
    resend_ms: Annotated[int, Meta(ge=1)] = 2
    """How long a receiver waits before it asks again for what is missing."""
    feed_wait_ms: Annotated[int, Meta(ge=0)] = 5
    """How long a receiver with a feed of its own waits for messages to come by it."""
    silence_ms: Annotated[int, Meta(ge=1)] = 1_000
    """How long one does without hearing of the other before it is taken for gone."""


def datagram(kind: str, stream: int, **values: Any) -> bytes:
    """A datagram with its check."""
    raw = MIRROR[kind].encode(magic=MAGIC, version=VERSION, stream=stream, **values)
    check = zlib.crc32(raw[_CHECKED_FROM:]).to_bytes(_CHECK.size, "big")
    return raw[: _CHECK.offset] + check + raw[_CHECKED_FROM:]


def read(raw: bytes) -> dict[str, Any] | None:
    """A datagram's fields; None for one that is damaged or not of this protocol."""
    try:
        fields = MIRROR.decode(raw)
    except WireError:
        return None
    if fields["magic"] != MAGIC or fields["version"] != VERSION:
        return None
    return fields if fields["check"] == zlib.crc32(raw[_CHECKED_FROM:]) else None
