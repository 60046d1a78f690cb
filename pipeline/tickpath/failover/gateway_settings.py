"""The settings of the order gateway's core; the file's configuration is `gateway_config`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
NODE = "^[A-Za-z0-9_.-]{1,16}$"
"""What a node's name may be."""
WhenDown = Literal["give_back", "refuse"]


class GatewaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the gateway treats its nodes, and what it keeps."""

    nodes: dict[str, str] = {}
    """Nodes that may connect, and the address that each comes from; none: any name, from this
    machine only."""
    max_nodes: Positive = 8
    """Nodes that are connected at a time."""
    when_down: WhenDown = "give_back"
    """What happens to orders while they cannot reach the exchange.

    give_back: they are taken, never sent, and each gets the outcome not_ready, so that the stream
    goes on.  refuse: the hand-over is refused and the node keeps it; what it hands over later is
    then as old as it is.
    """
    max_answers: Positive = 1 << 18
    """Latest messages of the exchange that a node can begin from."""
    max_outcomes: Positive = 1 << 16
    max_tail: Positive = 1 << 20
    """Latest bytes of the order stream, with which bytes that come again are compared."""
    max_message: Annotated[int, Meta(ge=4096, le=1 << 24)] = 1 << 20
    """Bytes of the longest message of a node."""
    max_output: Annotated[int, Meta(ge=4096)] = 1 << 20
    """Bytes that may wait to be read by a node, beside the answers kept for all."""
    heartbeat_ms: Positive = 100
    timeout_ms: Positive = 1_000
    """Silence of a node, or nothing read by it, that ends its connection."""
