"""What a client of the gateway tells its node: typed events, in the order they came."""

from typing import NamedTuple

from tickpath.wire.gateway import NotWelcome, Outcome, Refusal, Session


class Stands(NamedTuple):
    """Where gateway and session stand; ``request`` is that of `GatewayClient.ask`, 0 unasked.

    Who asks with an epoch has it where ``highest_epoch`` is that and ``holder`` is himself.
    """

    session_state: Session
    session: str
    highest_epoch: int
    holder: str
    order_position: int
    input_number: int
    next_answer: int
    next_outcome: int
    next_number: int
    detail: str = ""
    request: int = 0


class Welcomed(NamedTuple):
    """The connection is made; answers and outcomes go on where this node stopped."""

    first_answer: int
    stands: Stands


class Declined(NamedTuple):
    """The hello was not taken; the next attempt is made all the same, with the usual pause."""

    reason: NotWelcome
    detail: str


class Lost(NamedTuple):
    """The connection is gone, or could not be made; what was handed over may not have come."""

    detail: str


class Accepted(NamedTuple):
    """What was handed over is recorded and with the session, up to ``order_position``."""

    epoch: int
    order_position: int


class Confirmed(NamedTuple):
    """Another node's orders are known up to ``order_position``: the tail before may be let go."""

    epoch: int
    order_position: int


class Refused(NamedTuple):
    """Nothing of a hand-over was taken.  After STALE_EPOCH nothing more may be sent."""

    reason: Refusal
    epoch: int
    refused_position: int
    highest_epoch: int
    order_position: int


class Answer(NamedTuple):
    """A message of the exchange."""

    sequence: int
    payload: bytes


class Told(NamedTuple):
    """What became of an order message that the exchange tells nothing of; payload is the message.

    It stands behind the answer ``after_sequence``.
    """

    number: int
    after_sequence: int
    order_position: int
    reason: Outcome
    payload: bytes


Event = Stands | Welcomed | Declined | Lost | Accepted | Confirmed | Refused | Answer | Told
