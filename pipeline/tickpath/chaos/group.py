"""A group as its users run it: processes of `tickpath`, on hosts of their own or on one.

`Group` starts and restarts them, says how they stand, and does to them what a scenario asks for.
It also does what an installation's supervisor does: a mirror's sender is started anew when its
node has made a new ring (`tend`).

Every wait has a bound, behind which a `ChaosError` says what did not happen.
"""

import json
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from tickpath.chaos import asking, stores
from tickpath.chaos.error import ChaosError
from tickpath.chaos.layout import ACCOUNT, CREDENTIALS, WIRE, Layout, Places
from tickpath.chaos.namespaces import Direction, Network
from tickpath.chaos.processes import TICKPATH, Children, Workplace
from tickpath.failover.lease import LeaseError, LeaseStore, open_store
from tickpath.failover.note import Note, NoteError, decode
from tickpath.failover.reach import Reach
from tickpath.namespace import inside
from tickpath.replica.error import ReplicaError
from tickpath.replica.ring import Ring

START_S = 900.0
"""For a first start, which compiles: minutes on a machine with other work."""
PATIENCE_S = 60.0
POLL_S = 0.02
CLOCK_QUESTIONS = 25
STORE_TIMEOUT_MS = 1_000


class Group:
    """See the module's text.  Use it as a context manager, or call `close`."""

    def __init__(self, layout: Layout, place: Workplace, seed: int) -> None:
        """Starts everything and waits until it trades with a standby.  Raises `ChaosError`."""
        self.layout, self.names, self.place = layout, layout.nodes, place
        self.rings: dict[str, Ring] = {}
        self._inodes: dict[str, int] = {}
        self._was_started: set[str] = set()
        self._stack = ExitStack()
        self.network: Network | None = None
        self._lease_store: LeaseStore | None = None
        self._stack.callback(self._forget_rings)
        try:
            if layout.network == "namespaces":
                self.network = self._stack.enter_context(Network(layout.hosts))
            hosts = self.network.hosts if self.network else {}
            self.at = Places(layout, place.path, place.rings, hosts)
            self.at.write(seed)
            self.children = Children(place.path, CREDENTIALS)
            self._stack.callback(self.children.close)
            self._begin()
        except BaseException:
            self.close()
            raise

    def namespace(self, host: str) -> int | None:
        """The namespace of a host; None on the loopback interface."""
        return self.network.hosts[host].namespace if self.network else None

    def _tickpath(self, name: str, host: str, *words: str, **more: Any) -> None:
        self.children.start(name, [*TICKPATH, *words], self.namespace(host), **more)

    # ------------------------------------------------------------ starting

    def _begin(self) -> None:
        journal = str(self.place.path / "exchange")
        words = ("--config", "exchange.toml", "--journal", journal)
        self._tickpath("exchange", "exchange", "exchange", *words, "--control",
                       self.at.exchange_socket, "--json")  # fmt: skip
        self._until_up("exchange", lambda: self.exchange("status"))
        self.exchange_offset_ns = self._clock_offset_ns()
        if self.layout.is_impaired:
            self._begin_relay()
        for name in self.layout.store_names:
            self.start_store(name)
        self.start_gateway()
        # The first one alone: what has to be compiled is then there for the others.
        for name in self.names:
            self.start_node(name)
            self._until_up(name, partial(self.status, name))
            if self.layout.journals and name == self.names[0]:
                self.start_journal(name)
        self.until(self.is_whole, "a standby in sync with the active", START_S)
        before = self.taken()
        self.until(lambda: self.taken() > before, "orders at the exchange")

    def _until_up(self, name: str, answers: Callable[[], Any]) -> None:
        def done() -> bool:
            return not self.children.is_running(name) or bool(answers())

        self.until(done, f"{name} answers", START_S)
        self.children.pid(name)  # says why, where it has ended

    def _begin_relay(self) -> None:
        from tickpath.chaos.relay import COMMAND

        words = [*COMMAND, json.dumps({"address": self.at.address(WIRE), **self.at.relays})]
        self.relay = self.children.start(WIRE, words, self.namespace(WIRE), wants_input=True)

    def impair(self, **said: float) -> None:
        """Have the wire lose, repeat, delay or reorder; see `relay`.  Nothing: as it should be."""
        assert self.relay.stdin is not None
        self.relay.stdin.write(json.dumps(said).encode() + b"\n")
        self.relay.stdin.flush()

    def start_store(self, name: str) -> None:
        """Start a server of the lease store, which goes on where it ran before."""
        words = self.at.store_command(name, name not in self._was_started)
        self._was_started.add(name)
        self.children.start(name, words, self.namespace(name))

    def start_gateway(self, **more: Any) -> None:
        """Start the gateway, which goes on where its files end."""
        self._tickpath("gateway", "gateway", "gateway", "--config", "gateway.toml", **more)

    def start_node(self, name: str, **more: Any) -> None:
        """Start a node with its mirrors."""
        self._tickpath(name, name, "node", "--config", f"{name}.toml", **more)
        if self.layout.rings == "mirrored":
            for other in self.names:
                receiver = f"{name}-sees-{other}"
                if other != name and not self.children.is_running(receiver):
                    ring = str(self.at.seen_ring(name, other))
                    source = self.at.mirror_seen[other]
                    self._tickpath(receiver, name, "mirror", "receive", "--ring", ring,
                                   "--name", name, "--source", source)  # fmt: skip

    def listens(self, name: str) -> bool:
        """Whether the gateway, or a server of the lease store, can be reached."""
        if name == "gateway":
            return self.children.listens(name, self.at.gateway, socket.SOCK_STREAM)
        return self.children.listens(name, self.at.store[name], stores.kind(self.layout.store))

    def journal_name(self, node: str) -> str:
        """The process that writes the journal of a node's ring."""
        return f"journal-{node}"

    def start_journal(self, node: str) -> str:
        """Write the journal of a node's ring beside it; gives the process's name."""
        name = self.journal_name(node)
        said = len(self.children.log(name))
        ring, directory = str(self.at.ring(node)), str(self.at.journal(node))
        words = (ring, directory, "--config", f"{node}.toml")
        self._tickpath(name, node, "journal", "write", *words)
        self.until(lambda: "goes on behind" in self.children.log(name)[said:], "a journal")
        return name

    def verify_journal(self, node: str) -> dict[str, str]:
        """Flaws of a node's journal, each with what was said of it; {}: it is sound."""
        name = f"verify-{node}"
        said = len(self.children.log(name))
        directory = str(self.at.journal(node))
        self._tickpath(name, node, "journal", "verify", directory, "--json")
        self.until(lambda: not self.children.is_running(name), "a verdict on the journal")
        self.children.kill(name)
        first, _, rest = self.children.log(name)[said:].partition("\n")
        try:
            return {each["flaw"]: str(each) for each in json.loads(first)["findings"]}
        except (ValueError, KeyError):
            raise ChaosError(f"{directory}: not verified: {first} {rest}".rstrip()) from None

    def forget_journal(self, node: str) -> None:
        """Remove the journal of a node, so that the next one begins anew."""
        shutil.rmtree(self.at.journal(node), ignore_errors=True)

    def tend(self) -> None:
        """Start senders of mirrors whose node has made a new ring."""
        for name in self.names:
            try:
                inode = self.at.ring(name).stat().st_ino
            except OSError:
                continue
            if self._inodes.get(name) == inode:
                continue
            self._inodes[name] = inode
            with suppress(ReplicaError):
                self._forget_ring(name)
                self.rings[name] = Ring.attach(self.at.ring(name))
            if self.layout.rings == "mirrored":
                self.children.kill(f"sender-{name}")
                words = ("--ring", str(self.at.ring(name)), "--listen", self.at.mirror[name])
                self._tickpath(f"sender-{name}", name, "mirror", "send", *words)

    def restart_ended(self) -> list[str]:
        """Start whatever has ended and should run; gives the names."""
        ended = list(self.children.ended())
        for name in ended:
            self.children.kill(name)
        wanted = [each for each in self.layout.store_names if not self.children.is_running(each)]
        for name in wanted:
            self.start_store(name)
        if not self.children.is_running("gateway"):
            self.start_gateway()
        for name in self.names:
            if not self.children.is_running(name):
                self.start_node(name)
        return ended

    def _forget_ring(self, name: str) -> None:
        known = self.rings.pop(name, None)
        if known is not None:
            known.close()

    def _forget_rings(self) -> None:
        for name in list(self.rings):
            self._forget_ring(name)

    # ------------------------------------------------------------ waiting

    def until(
        self, done: Callable[[], Any], what: str, most_s: float = PATIENCE_S, poll_s: float = POLL_S
    ) -> Any:
        """Wait for something, and give it.  Raises `ChaosError` where it does not come."""
        end = time.monotonic() + most_s
        while True:
            self.tend()
            with suppress(ChaosError):
                if found := done():
                    return found
            if time.monotonic() > end:
                raise ChaosError(f"did not come within {most_s:g} s: {what}{self._ends()}")
            time.sleep(poll_s)

    def rest(self, seconds: float) -> None:
        """Let time pass."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.tend()
            time.sleep(min(left, POLL_S))

    def _ends(self) -> str:
        """What those who ended said last."""
        return "".join(
            f"; {name} ended with {code}: {self.children.tail(name)}"
            for name, code in self.children.ended().items()
        )

    # ------------------------------------------------------------ how it stands

    def status(self, name: str) -> dict[str, Any]:
        """What a node says of itself; {} where it says nothing."""
        if not self.children.is_running(name):
            return {}
        return asking.status(self.at.control(name))

    def command(self, name: str, word: str, **more: Any) -> dict[str, Any]:
        """Give a node a command.  Raises `ChaosError`."""
        return asking.command(self.at.control(name), word, **more)

    def snapshot(self, name: str, asker: str) -> int:
        """Ask a node for its state, as another one.  Raises `ChaosError`."""
        keys = self.at.keys
        theirs, own = (keys[name].public, keys[asker]) if keys else (None, None)
        return asking.snapshot(Reach(self.at.nodes[name], theirs, own), self.namespace(asker))

    def digest(self, name: str) -> tuple[int, str] | None:
        """(record number, digest of its state) of a node."""
        return asking.digest(self.at.control(name))

    def exchange(self, line: str) -> dict[str, Any]:
        """Ask the exchange.  Raises `ChaosError`."""
        return asking.exchange(self.at.exchange_socket, line)

    def taken(self) -> int:
        """Orders and replacements that the exchange has received."""
        counters = self.exchange("status")["accounts"][ACCOUNT]["counters"]
        return counters.get("enter", 0) + counters.get("replace", 0)

    def positions(self) -> dict[str, int]:
        """What the exchange says that the account holds."""
        held = self.exchange(f"positions account={ACCOUNT}")["positions"]
        return {name: each["position"] for name, each in held.items() if each["position"]}

    def _clock_offset_ns(self) -> int:
        """What is to be added to the exchange's time for this machine's monotonic clock."""
        low, high = -(1 << 62), 1 << 62
        for _ in range(CLOCK_QUESTIONS):
            before = time.monotonic_ns()
            said = int(self.exchange("status")["time_ns"])
            low, high = max(low, before - said), min(high, time.monotonic_ns() - said)
        return max(low, min(high, (low + high) // 2))

    def epochs(self) -> dict[str, int]:
        """The epoch that each node's own ring is of, as it stands there."""
        return {name: int(ring.header["epoch"]) for name, ring in self.rings.items()}

    def note(self) -> Note | None:
        """What the lease store's note says; None where nobody has left one.

        Raises `ChaosError` where the store does not answer.
        """
        with inside(self.namespace("gateway")):  # a host that no scenario cuts off
            try:
                if self._lease_store is None:
                    at = list(self.at.store.values())
                    said = stores.lease(self.layout.store, at, STORE_TIMEOUT_MS)
                    self._lease_store = open_store(said["lease"], said["lease_settings"])
                    self._stack.callback(self._lease_store.close)
                return decode(self._lease_store.read().note)
            except (LeaseError, NoteError) as error:
                raise ChaosError(f"the lease store: {error}") from None

    def active(self) -> str | None:
        """The node that says that it is active, if it is one alone."""
        found = [each for each in self.names if self.status(each).get("state") == "ACTIVE"]
        return found[0] if len(found) == 1 else None

    def is_whole(self) -> bool:
        """Whether one is active with a standby in its gate, and all others could take over."""
        all_said: Mapping[str, dict[str, Any]] = {each: self.status(each) for each in self.names}
        active = [each for each, said in all_said.items() if said.get("state") == "ACTIVE"]
        if len(active) != 1 or not all_said[active[0]].get("gate"):
            return False
        return all(said.get("ready") for said in all_said.values())

    # ------------------------------------------------------------ what is done to it

    def kill(self, name: str) -> int:
        """``kill -9``; gives the moment before it, of the monotonic clock."""
        begun_ns = time.monotonic_ns()
        self.children.kill(name)
        return begun_ns

    def suspend(self, name: str) -> int:
        """SIGSTOP; gives the moment before it."""
        begun_ns = time.monotonic_ns()
        self.children.send(name, signal.SIGSTOP)
        return begun_ns

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self.children.send(name, signal.SIGCONT)

    def cut(self, host: str, direction: Direction = "both") -> int:
        """Cut a host off; gives the moment before it.  Raises `ChaosError` on loopback."""
        if self.network is None:
            raise ChaosError("there are no hosts to cut off on the loopback interface")
        begun_ns = time.monotonic_ns()
        self.network.cut(host, direction)
        return begun_ns

    def heal(self, host: str) -> None:
        """Undo a cut."""
        if self.network is not None:
            self.network.heal(host)

    def close(self) -> None:
        """End everything."""
        self._stack.close()

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
