"""Why a node's connection to the gateway ended: a closed set, each with its meaning."""

from enum import Enum


class Left(Enum):
    """Why a node's connection ended."""

    DISCONNECTED = "the transport reported the connection gone"
    NOT_WELCOME = "its hello was not taken"
    BAD_FRAME = "bytes that are no message of the protocol"
    UNEXPECTED = "a message that has no place there"
    SILENT = "nothing came from it for the timeout"
    SLOW = "it does not read: too much waits, or for too long"
    BEHIND = "the answers that it wants next are not kept any more"
    REPLACED = "the node has connected again"
    CLOSED = "the gateway ends"
