"""The nodes that are connected: who may, and whether they run what the group runs.

What the first node of the day runs (build, configuration, strategy, layout) is what the group runs;
it is on the disk before that node is welcome, and any other node that differs is told in what.
"""

from typing import TYPE_CHECKING, Any

from tickpath.failover.gateway import Gateway
from tickpath.failover.gateway_error import StoreError
from tickpath.failover.gateway_left import Left
from tickpath.failover.gateway_record import GROUP
from tickpath.wire.gateway import VERSION, NotWelcome

if TYPE_CHECKING:
    from tickpath.failover.gateway_node import NodeLink

LOOPBACK = "127."
_DIFFERS = {
    "build": NotWelcome.BUILD,
    "configuration": NotWelcome.CONFIGURATION,
    "strategy": NotWelcome.STRATEGY,
    "layout": NotWelcome.LAYOUT,
}
assert list(_DIFFERS) == [each.name for each in GROUP.fields]

Refused = tuple[NotWelcome, str]


class Nodes:
    """See the module's text."""

    def __init__(self, gateway: Gateway):
        self.gateway = gateway
        self.welcome: dict[str, NodeLink] = {}
        """By name."""

    def enter(self, link: "NodeLink", hello: dict[str, Any], now_ns: int) -> Refused | None:
        """Let a node in, or say why not."""
        refused = (
            self._check_name(link, hello) or self._check_place(hello) or self._check_group(hello)
        )
        if refused is not None:
            return refused
        gateway = self.gateway
        if gateway.store.group is None:
            try:
                gateway.store.append_group(_group_of(hello), now_ns)
            except StoreError as error:
                return NotWelcome.NOT_DURABLE, str(error)
        older = self.welcome.get(hello["node"])
        if older is not None:
            older.leave(Left.REPLACED)
        self.welcome[hello["node"]] = link
        gateway.counters["nodes_welcome"] += 1
        return None

    def left(self, link: "NodeLink") -> None:
        """A connection has ended."""
        assert link.left is not None
        self.gateway.counters[f"left_{link.left.name.lower()}"] += 1
        if self.welcome.get(link.node) is link:
            del self.welcome[link.node]

    def state(self) -> dict[str, Any]:
        """The fields of a `session_state`."""
        gateway = self.gateway
        return {
            "session_state": gateway.state,
            "session": gateway.session.journal.session,
            "highest_epoch": gateway.epoch,
            "holder": gateway.store.holder,
            "order_position": gateway.order_position,
            "input_number": gateway.store.input_number,
            "next_answer": gateway.answers.next,
            "next_outcome": gateway.store.next_outcome,
            "next_number": gateway.next_number,
            "detail": (gateway.store.failure or gateway.detail)
            .encode("latin-1", "replace")[:500]
            .decode("latin-1"),
        }

    def _check_name(self, link: "NodeLink", hello: dict[str, Any]) -> Refused | None:
        settings, node = self.gateway.settings, hello["node"]
        if hello["version"] != VERSION:
            return NotWelcome.VERSION, f"version {hello['version']}, the gateway has {VERSION}"
        if settings.nodes:
            if settings.nodes.get(node) != link.address:
                return NotWelcome.UNKNOWN_NODE, f"{node!r} from {link.address} is not in nodes"
        elif not node or not link.address.startswith(LOOPBACK):
            return NotWelcome.UNKNOWN_NODE, f"{node!r} from {link.address}: nodes are not named"
        if node not in self.welcome and len(self.welcome) >= settings.max_nodes:
            return NotWelcome.TOO_MANY, f"{settings.max_nodes} nodes are connected"
        return None

    def _check_place(self, hello: dict[str, Any]) -> Refused | None:
        answers, store = self.gateway.answers, self.gateway.store
        wanted, outcome = hello["next_answer"], hello["next_outcome"]
        first_outcome = store.outcomes[0].number if store.outcomes else store.next_outcome
        if 0 < wanted < answers.first or 0 < outcome < first_outcome:
            return (
                NotWelcome.ANSWERS_GONE,
                f"answers are kept from {answers.first}, outcomes from {first_outcome}",
            )
        if wanted > answers.next or outcome > store.next_outcome:
            return (
                NotWelcome.AHEAD,
                f"the next answer is {answers.next}, the next outcome {store.next_outcome}",
            )
        return None

    def _check_group(self, hello: dict[str, Any]) -> Refused | None:
        known = self.gateway.store.group
        if known is None:
            return None
        group = GROUP.decode(known)
        for name, reason in _DIFFERS.items():
            if hello[name] != group[name]:
                return reason, f"{name} {hello[name].hex()}, the group has {group[name].hex()}"
        return None


def _group_of(hello: dict[str, Any]) -> bytes:
    return GROUP.encode(**{name: hello[name] for name in _DIFFERS})
