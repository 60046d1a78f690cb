"""Questions to the nodes and the exchange of a rehearsal: the only place that knows how.

Nodes are asked by their operators' sockets, which are files: no cut of the network keeps us from
it.  What only nodes ask each other is asked as one of them, from its own host.
"""

import contextlib
from typing import Any

from tickpath.chaos.error import ChaosError
from tickpath.config import ConfigError
from tickpath.failover.control import ask
from tickpath.failover.control_error import ControlError
from tickpath.failover.operator_control import ask_operator
from tickpath.failover.reach import Reach
from tickpath.namespace import inside
from tickpath.operator_socket import ask as ask_socket

PEER_MS = 5_000


def status(control: str) -> dict[str, Any]:
    """What a node says of itself; {} where it says nothing."""
    with contextlib.suppress(ConfigError, ControlError):
        return ask_operator(control, ask="status")
    return {}


def digest(control: str) -> tuple[int, str] | None:
    """(record number, digest of the state behind it) of a node; None where it says nothing."""
    with contextlib.suppress(ConfigError, ControlError):
        said = ask_operator(control, ask="state_digest")
        return said["record_number"], said["digest"]
    return None


def command(control: str, word: str, **more: Any) -> dict[str, Any]:
    """Give a node a command.  Raises `ChaosError`."""
    try:
        return ask_operator(control, ask=word, **more)
    except (ConfigError, ControlError) as error:
        raise ChaosError(f"{word}: {error}") from None


def snapshot(reach: Reach, namespace: int | None) -> int:
    """Ask a node for its state, as another node; gives its bytes.  Raises `ChaosError`."""
    try:
        with inside(namespace):
            return len(ask(reach, PEER_MS, ask="snapshot")[1])
    except ControlError as error:
        raise ChaosError(f"snapshot: {error}") from None


def exchange(path: str, line: str) -> dict[str, Any]:
    """What the exchange answers at its operator socket.  Raises `ChaosError`."""
    try:
        said = ask_socket(path, line, "exchange")
    except ConfigError as error:
        raise ChaosError(str(error)) from None
    if "error" in said:
        raise ChaosError(f"exchange: {line}: {said['error']}")
    return said
