"""The whole group as an operator sees it: every node, the lease store, the gateway; and findings.

A node is asked by its operators' socket where that is on this host, else as nodes ask each other.
What the gateway says comes from the nodes: only they may connect to it.
"""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tickpath.config import ConfigError
from tickpath.failover.control import ask
from tickpath.failover.control_error import ControlError
from tickpath.failover.curve import load_keys
from tickpath.failover.lease import LeaseError, open_store
from tickpath.failover.node_config import NodeConfig
from tickpath.failover.note import NoteError, decode
from tickpath.failover.operator_control import ask_operator
from tickpath.failover.reach import Reach, reaches
from tickpath.operator_socket import TIMEOUT_S

SCHEMA = "tickpath.cluster/1"
TIMEOUT_MS = 2_000
OUTCOME_PAUSE_S = 0.01


class Group:
    """The group of a node's configuration; each answer is waited for so long.

    Raises `ConfigError` where its keys cannot be read.
    """

    def __init__(self, config: NodeConfig, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self.settings = settings = config.node
        keys = None if settings.keys is None else load_keys(settings.keys)
        own = Reach(settings.listen, None if keys is None else keys.public, keys)
        self._reaches = {settings.name: own, **reaches(settings, keys)}
        self.controls = {settings.name: settings.control_path}
        for name, peer in settings.peers.items():
            if peer.control is not None:
                self.controls[name] = peer.control

    def node(self, name: str) -> dict[str, Any]:
        """What a node says of itself, or why it says nothing under ``error``."""
        if name in self.controls:
            with contextlib.suppress(ConfigError, ControlError):
                return self._ask_operator(self.controls[name], ask="status")
        timeout_ms = max(1, min(TIMEOUT_MS, int(self._timeout_s * 1000)))
        try:
            return ask(self._reaches[name], timeout_ms, ask="status")[0]
        except ControlError as error:
            return {"error": str(error)}

    def nodes(self) -> dict[str, dict[str, Any]]:
        """All of them, asked at once."""
        with ThreadPoolExecutor(len(self._reaches)) as pool:
            return dict(zip(self._reaches, pool.map(self.node, self._reaches), strict=True))

    def lease(self) -> dict[str, Any]:
        """What the lease store knows, or why it says nothing under ``error``."""
        settings = self.settings
        try:
            store = open_store(settings.lease, settings.lease_settings)
            try:
                stored = store.read()
            finally:
                store.close()
            note = decode(stored.note)
        except (LeaseError, NoteError) as error:
            return {"store": settings.lease, "error": str(error)}
        return {
            "store": settings.lease,
            "epoch": stored.epoch,
            "holder": stored.holder,
            "heirs": [str(each) for each in note.heirs] if note is not None else [],
            "note": None
            if note is None
            else {
                "epoch": note.epoch,
                "active": str(note.active),
                "in_sync": [str(each) for each in note.in_sync],
                "hands_over": note.hands_over,
            },
            "synchronous": note is None or note.is_synchronous,
        }

    def status(self) -> dict[str, Any]:
        """Everything, with what is not as it should be under ``findings``."""
        nodes, lease = self.nodes(), self.lease()
        gateways = [each["gateway"] for each in nodes.values() if each.get("gateway")]
        gateway = max(gateways, key=lambda each: each["epoch"]) if gateways else None
        return {
            "schema": SCHEMA,
            "nodes": nodes,
            "lease": lease,
            "gateway": gateway,
            "findings": list(findings(nodes, lease, gateway)),
        }

    def active(self) -> str:
        """The node that is active.  Raises `ControlError` where that is not one."""
        names = [name for name, each in self.nodes().items() if each.get("state") == "ACTIVE"]
        if len(names) != 1:
            raise ControlError(f"{len(names)} nodes say that they are active; see cluster status")
        return names[0]

    def pause(self, name: str, timeout_s: float) -> dict[str, Any] | None:
        """What the switchover to a node that is active cost, once orders go again, or when the time
        is over; None where it does not know (`node_pause`)."""
        end_s = time.monotonic() + timeout_s
        while True:
            said = self.node(name)
            found = said.get("pause")
            found = found if found is not None and found["epoch"] == said["epoch"] else None
            is_whole = found is not None and found["orders_ns"] is not None
            if is_whole or time.monotonic() >= end_s:
                return found
            time.sleep(OUTCOME_PAUSE_S)

    def _ask_operator(self, path: str, **question: Any) -> dict[str, Any]:
        return ask_operator(path, self._timeout_s, **question)

    def _control_of(self, name: str) -> str:
        if name not in self.controls:
            raise ConfigError(
                f"{name} is told on its own host, or by node.peers.{name}.control where that is "
                "this one"
            )
        return self.controls[name]

    def ask_here(self, name: str | None, **question: Any) -> dict[str, Any]:
        """Ask a node (the configuration's where none is named) by its operators' socket.

        Raises `ConfigError` where that is not here, `ControlError` where the answer is an error.
        """
        return self._ask_operator(self._control_of(name or self.settings.name), **question)

    def command(self, name: str, ask: str, timeout_s: float, **word: Any) -> dict[str, Any]:
        """Tell a node something and wait for the outcome: ``is_done`` and ``text``.

        Raises `ConfigError` where its socket is not here, `ControlError` where it has none in time.
        """
        path = self._control_of(name)
        behind = self._ask_operator(path, ask=ask, **word)["behind"]
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            said = self._ask_operator(path, ask="outcome", command=ask, behind=behind)["outcome"]
            if said is not None:
                return said
            time.sleep(OUTCOME_PAUSE_S)
        raise ControlError(f"{name}: {ask}: no outcome in {timeout_s:g} s; see its log")


def findings(
    nodes: dict[str, dict[str, Any]], lease: dict[str, Any], gateway: dict[str, Any] | None
) -> Iterator[str]:
    """What is not as it should be, in words."""
    actives = [name for name, each in nodes.items() if each.get("state") == "ACTIVE"]
    for name, each in nodes.items():
        if "error" in each:
            yield f"node {name}: {each['error']}"
        elif not each["ready"]:
            yield f"node {name} is not ready: {'; '.join(each['reasons'])}"
    if len(actives) != 1:
        yield f"{len(actives) or 'no'} nodes are active: {', '.join(actives) or '-'}"
    if "error" in lease:
        yield f"lease store: {lease['error']}"
    elif len(actives) == 1 and lease["holder"] != actives[0]:
        yield f"the lease is {lease['holder'] or 'nobody'}'s, and {actives[0]} is active"
    if gateway is None:
        yield "no node is connected to the gateway"
    elif gateway["session"] != "UP":
        yield f"the gateway's session is {gateway['session'].lower()}: {gateway['detail']}"
    for name in actives:
        if not nodes[name]["gate"] and nodes[name].get("synchronous", True):
            yield f"node {name} runs without a standby in sync"
