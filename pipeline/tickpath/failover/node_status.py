"""How a node stands, in two forms: all of it for who asks, and what monitors may know.

Part of `node`, which it reads on the node's loop and never changes.
"""

import os
from typing import TYPE_CHECKING, Any

from tickpath.digest import symbol_text
from tickpath.failover.published import Follower, Published

if TYPE_CHECKING:
    from tickpath.failover.node import Node


def status(node: "Node") -> dict[str, Any]:
    """What a node is and how it stands, JSON-ready."""
    block, role = node.engine.block, node.role
    reasons, gate = role.ready(), node.leading.gate
    return {
        "node": node.settings.name,
        "pid": os.getpid(),
        "state": role.state.name,
        "synchronous": role.in_sync is None or role.in_sync.is_synchronous,
        "epoch": role.epoch,
        "record_number": block.get("record_number"),
        "input_number": block.get("input_number"),
        "order_position": block.get("order_position"),
        "handed_over": node.outbox.handed,
        "lag_records": node.following.lag,
        "ready": not reasons,
        "reasons": reasons,
        "held": node.standing().held,
        "session": node.gateway.session.name,
        "gateway": _gateway(node),
        "pause": node.pause.last,
        "positions": _positions(node),
        "gate": None if gate is None else [str(each) for each in gate],
        "book_digest": f"{block.get('book_digest'):016x}",
        "counters": node.count_all(),
        "outcome": node.questions.outcome_number,
        "engine": {name: value for name, value in node.engine.counters.items() if value},
    }


def _gateway(node: "Node") -> dict[str, Any] | None:
    """What the gateway said of itself last; None where there is no connection to it."""
    stands = node.gateway.stands
    if stands is None or not node.gateway.client.is_welcome:
        return None
    return {
        "session": stands.session_state.name,
        "epoch": stands.highest_epoch,
        "holder": stands.holder,
        "order_position": stands.order_position,
        "detail": stands.detail,
    }


def _positions(node: "Node") -> dict[str, int]:
    """Shares by symbol, where there are any."""
    table = node.engine.block.position
    held = table[table["quantity"] != 0]
    return {symbol_text(row["symbol"]): int(row["quantity"]) for row in held}


def published(node: "Node", now_ns: int) -> Published:
    """What monitors may know."""
    block, role = node.engine.block, node.role
    number = block.get("record_number")
    gate = node.leading.gate if node.leading.is_on else None
    reasons = tuple(role.ready())
    return Published(
        at_ns=now_ns,
        name=node.settings.name,
        state=role.state.name,
        epoch=role.epoch,
        ready=not reasons,
        reasons=reasons,
        record_number=number,
        input_number=block.get("input_number"),
        lag_records=node.following.lag,
        followers=_followers(node, number),
        in_sync=len(gate or ()),
        is_gate_open=gate is not None,
        is_synchronous=role.in_sync is None or role.in_sync.is_synchronous,
        order_position=block.get("order_position"),
        handed_position=node.outbox.handed,
        confirmed_position=node.outbox.tail_position,
        until_ns=node.leading.until_ns,
        heard_ns=now_ns if node.leading.is_on else role.heard_ns,
        beats=node.following.beats,
        fed_ns=node.fed_ns,
        is_feed_current=node.leading.is_on and "feed" not in role.holds,
        session=node.gateway.session.name,
        held=node.standing().held,
        breakers=node.breakers.states,
        counters=node.count_all(),
        engine=block.counter["value"].copy(),
    )


def _followers(node: "Node", number: int) -> tuple[Follower, ...]:
    """Who follows a node's ring, while it is active."""
    if not node.leading.is_on:
        return ()
    rows = node.ring.followers
    return tuple(
        Follower(row["name"].decode(), max(0, number - int(row["taken"])), bool(row["ready"]))
        for row in rows[rows["incarnation"] > 0]
    )
