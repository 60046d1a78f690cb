"""The constant bytes of every message, encoded once by the wire table, each behind its length."""

import numpy as np

from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64

_BLOCK = MOLDUDP64["message_block"]
PREFIX = np.uint64(_BLOCK["message_data"].offset)
"""Bytes of the length before each message, in daily files and in packets alike."""
HEADER = ITCH50["system_event"]
"""The four fields that every message starts with."""
assert all(
    [each.offset for each in message.fields[:4]] == [each.offset for each in HEADER.fields[:4]]
    for message in ITCH50.messages
)

_TEMPLATES: dict[str, bytes] = {
    message.name: _BLOCK.encode(
        message_length=message.length,
        message_data=message.encode(
            **({"buy_sell_indicator": "B"} if message.name == "non_cross_trade" else {})
        ),
    )
    for message in ITCH50.messages
}
TEMPLATES = np.frombuffer(b"".join(_TEMPLATES.values()), np.uint8)
LONGEST = max(len(template) for template in _TEMPLATES.values())
SHORTEST = min(len(template) for template in _TEMPLATES.values())


def template(name: str) -> np.uint64:
    """Where a message's template begins among all of them."""
    names = list(_TEMPLATES)
    return np.uint64(sum(len(_TEMPLATES[each]) for each in names[: names.index(name)]))
