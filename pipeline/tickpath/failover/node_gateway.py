"""What a node hears from the order gateway, and what it asks there.

Part of `node`, on whose loop it runs.  Answers of the exchange wait in `node_answers` until the
active makes inputs of them; what the gateway says of its own position goes to the outbox, what it
answers or refuses to the role.
"""

from typing import TYPE_CHECKING

from tickpath.failover import role_event as told
from tickpath.failover.gateway_client import GatewayClient, Sent
from tickpath.failover.gateway_event import (
    Accepted,
    Answer,
    Confirmed,
    Declined,
    Event,
    Lost,
    Refused,
    Stands,
    Told,
    Welcomed,
)
from tickpath.wire.gateway import Refusal, Session

if TYPE_CHECKING:
    from tickpath.failover.node import Node


class NodeGateway:
    """See the module's text; `turn` is one turn of the node's loop."""

    def __init__(self, node: "Node", client: GatewayClient) -> None:
        self._node, self.client = node, client
        self.session = Session.DOWN
        """Of the gateway with the exchange, as it said last."""
        self.stands: Stands | None = None
        """What it said of itself last."""
        self._asked: tuple[int, int] | None = None
        self._declined_for: str | None = None

    def turn(self) -> int:
        """Read, write, and deal with what came; gives how much."""
        events = self.client.poll()
        for event in events:
            self._hear(event)
        node = self._node
        if node.leading.takes_inputs:
            for messages, answered in node.answers.take():
                node.engine.feed_responses(messages, answered)
            node.leading.flush()
        return len(events)

    def ask(self, request: int, epoch: int) -> None:
        """Ask where it stands, and make this epoch its highest."""
        if self.client.ask(request, epoch) in (Sent.NO_LINE, Sent.FULL):
            why = "there is no connection to the gateway"
            self._node.tell(told.GatewayFailed(request, why))
        else:
            self._asked = request, epoch

    def _hear(self, event: Event) -> None:
        node, is_leading = self._node, self._node.leading.is_on
        match event:
            case Answer() | Told():
                node.answers.add(event)
                if is_leading and isinstance(event, Answer):
                    node.breakers.answered(event.payload, node.now_ns())
            case Accepted(_, position) | Confirmed(_, position):
                node.outbox.confirm(position)
                node.breakers.accepted(position, node.now_ns())
            case Declined(_, detail):
                self._declined(detail)
            case Lost() if is_leading:
                node.breakers.session_error(node.now_ns())
            case Refused():
                self._refused(event)
            case Welcomed(_, stands):
                self._declined_for = None
                self._take(stands)
                if is_leading:
                    node.outbox.handed = min(node.outbox.handed, stands.order_position)
            case Stands():
                self._take(event)

    def _declined(self, detail: str) -> None:
        """Why the gateway does not take this node: said once, while it goes on asking."""
        self._node.counters["declined_by_gateway"] += 1
        if detail != self._declined_for:
            self._declined_for = detail
            self._node.note(f"the gateway declines this node: {detail}")

    def _take(self, stands: Stands) -> None:
        """Where it stands: unasked, or as the answer to the last question."""
        node = self._node
        if node.leading.is_on and self.session is Session.UP is not stands.session_state:
            node.breakers.session_error(node.now_ns())
        self.session, self.stands = stands.session_state, stands
        if self._asked is None or stands.request != self._asked[0]:
            return
        (request, epoch), self._asked = self._asked, None
        is_ours = stands.highest_epoch == epoch and stands.holder == node.settings.name
        if epoch and not is_ours and stands.highest_epoch <= epoch:
            node.tell(told.GatewayFailed(request, f"epoch {epoch} was not taken: {stands.detail}"))
            return
        node.tell(
            told.GatewayAnswer(
                request, stands.highest_epoch, stands.order_position, stands.input_number
            )
        )

    def _refused(self, event: Refused) -> None:
        node = self._node
        node.counters[f"refused_{event.reason.name.lower()}"] += 1
        if event.reason in (Refusal.POSITION_AHEAD, Refusal.SESSION_DOWN):
            node.outbox.handed = min(node.outbox.handed, event.order_position)
            return
        if node.leading.is_on:
            node.tell(told.GatewayRefused(event.epoch, event.highest_epoch, event.reason.name))
