"""The failover simulator: real roles in a world that fails by seed.

    outcome = simulate(seed)            # raises BrokenError where something that must hold does not
    python tests/failover_simulation.py SEED    # the same run with its log

A run has a bad time, with every fault that its plan draws, and a good one: then somebody has to
trade within `RECOVERY_NS`, or there is a reason in words why not, which the operator settles by
force.  Strings hash alike in every process here: digests are made of numbers only.
"""

import importlib
import random
import sys
import zlib
from collections import Counter
from types import SimpleNamespace
from typing import Any

from failover_node import Feed, Judge, Node
from failover_world import MS, BrokenError, Clock, Exchange, Faults, Gateway, Network, Sim, Store

BAD_NS, RECOVERY_NS, END_NS = 800 * MS, 500 * MS, 150 * MS
PARTS = ("store", "gateway")
MODULES = ("member", "role", "role_action", "role_config", "role_event", "requests", "note")


def code_of(package: str = "tickpath.failover") -> SimpleNamespace:
    """The names of the package under test: the real one, or a mutant's."""
    code = SimpleNamespace()
    for name in MODULES:
        code.__dict__.update(vars(importlib.import_module(f"{package}.{name}")))
    return code


def drawn_faults(dice: random.Random) -> Faults:
    """A plan: most seeds mix a few kinds, some have all of them."""

    def some(share: float, most: int) -> int:
        return dice.randint(1, most) if dice.random() < share else 0

    return Faults(
        loss=dice.choice((0, 0, 0.01, 0.05, 0.2)),
        copies=dice.choice((0, 0.02, 0.2)),
        slow=dice.choice((0, 0, 0.01, 0.1)),
        slow_ns=dice.choice((5, 30, 120, 250)) * MS,
        partitions=some(0.6, 4),
        crashes=some(0.6, 4),
        pauses=some(0.5, 4),
        steps=some(0.2, 3),
        store_crashes=some(0.25, 2),
        gateway_crashes=some(0.25, 2),
        switchovers=some(0.4, 4),
        commands=some(0.3, 4),
        forces=some(0.1, 2),
        disk_ns=dice.choice((MS // 2, 3 * MS, 20 * MS)),
        skew=dice.choice((0.0, 0.02, 0.08)),
        keeps_journal=dice.choice((0.0, 0.5, 1.0)),
        store_steps=some(0.1, 1),
        aimed=dice.choice((0, 0.05, 0.2)),
    )


NOTHING_LEFT = "not at all: nothing is left that could go on"


class World:
    """Nodes, store, gateway and exchange of one run."""

    def __init__(self, seed: int, code: Any, flaws: frozenset[str], *, logs: bool = False):
        self.sim = sim = Sim(seed, logs=logs)
        dice = sim.dice
        self.faults, self.code, self.flaws = drawn_faults(dice), code, flaws
        self.names = tuple("abcd"[: dice.choice((2, 2, 3, 3, 4))])
        self.config = self._config(dice)
        self.network = Network(sim, self.faults)
        self.store = Store(sim, self.network, self._clock(), flaws)
        self.exchange = Exchange()
        self.gateway = Gateway(sim, self.network, self.exchange, flaws)
        self.feed = Feed(sim, 5 * MS)
        self.nodes: dict[str, Node] = {}
        self.judge = Judge(sim, self.exchange, self.gateway, self.nodes)
        self.last_sent: dict[tuple[str, int], int] = {}
        self._incarnations = 0
        self._journals = {name: dice.random() < self.faults.keeps_journal for name in self.names}
        for name in self.names:
            self.nodes[name] = Node(name, self, self._clock())
        self.sim.log("{} {}", self.faults, self.config)

    def _config(self, dice: random.Random) -> Any:
        return self.code.RoleConfig(
            mode="asynchronous" if dice.random() < 0.15 else "synchronous",
            in_sync_members=dice.choice((1, 1, 2)),
            may_run_alone=dice.random() < 0.85,
            on_unknown_orders=dice.choice(("hold", "resume")),
            max_lag_records=dice.choice((50, 10_000)),
        )

    def _clock(self) -> Clock:
        dice = self.sim.dice
        return Clock(dice.randint(0, 10**12), 1 + self.faults.skew * (2 * dice.random() - 1))

    def next_incarnation(self) -> int:
        self._incarnations += 1
        return self._incarnations

    def keeps_journal(self, name: str) -> bool:
        return self._journals[name] or "node_keeps_incarnation" in self.flaws

    # ------------------------------------------------------------ the bad time

    def plan(self) -> None:
        dice, faults, sim = self.sim.dice, self.faults, self.sim
        for name in self.names:
            sim.after(dice.randint(0, 20 * MS), self.nodes[name].start)

        def at() -> int:
            return dice.randint(60 * MS, BAD_NS - 1)

        for _ in range(faults.partitions):
            sim.after(at(), self._cut, dice.randint(10 * MS, 250 * MS))
        for _ in range(faults.crashes):
            sim.after(at(), self._crash, dice.choice(self.names), dice.randint(5 * MS, 200 * MS))
        for _ in range(faults.pauses):
            sim.after(at(), self._pause, dice.choice(self.names), dice.randint(5 * MS, 200 * MS))
        for _ in range(faults.steps):
            sim.after(at(), self._step, dice.choice(self.names), dice.randint(1, 100 * MS))
        for part, count in (("store", faults.store_crashes), ("gateway", faults.gateway_crashes)):
            for _ in range(count):
                sim.after(at(), self._part_crashes, part, dice.randint(MS, 120 * MS))
        for _ in range(faults.store_steps):
            self.judge.is_store_honest = False
            sim.after(at(), self._store_steps, dice.randint(1, 100 * MS))
        for _ in range(faults.switchovers):
            sim.after(at(), self._to_active, "Switchover")
        for _ in range(faults.commands):
            what = dice.choice(("HoldTrading", "ResumeTrading", "SetMode", "Drill", "Retire"))
            sim.after(at(), self._to_active, what)
        for _ in range(faults.forces):
            sim.after(at(), self._command, dice.choice(self.names), self.code.Force())

    def _cut(self, for_ns: int) -> None:
        dice = self.sim.dice
        parts = [*self.names, *PARTS]
        if dice.random() < 0.5:
            alone = dice.choice(parts)
            pairs = [(alone, other) for other in parts if other != alone]
        else:
            pairs = [tuple(dice.sample(parts, 2))]
        if dice.random() < 0.6:
            pairs += [(b, a) for a, b in pairs]
        self.sim.log("cut {} for {} ms", pairs, for_ns / MS)
        self.network.cut |= set(pairs)
        self.sim.after(for_ns, self._heal, pairs)

    def aim(self, name: str) -> None:
        """At a step of the protocol: one node hears less, and soon it is all that is left."""
        dice, sim = self.sim.dice, self.sim
        if not self.network.is_bad or dice.random() >= self.faults.aimed:
            return
        others = [each for each in self.names if each != name]
        left = dice.choice(others)
        pairs = []
        if dice.random() < 0.7:
            pairs += [(each, left) for each in self.names if each != left]
        if dice.random() < 0.3:
            pairs.append(dice.choice(((name, "store"), ("store", name))))
        sim.log("at a step of {}: {} is to be left; cut {}", name, left, pairs)
        self.network.cut |= set(pairs)
        sim.after(dice.randint(60 * MS, 200 * MS), self._heal, pairs)
        gone = [name] if dice.random() < 0.3 else [each for each in self.names if each != left]
        call = self._crash if dice.random() < 0.6 else self._pause
        delay_ns = dice.randint(0, dice.choice((10, 40, 120)) * MS)
        for_ns = dice.randint(60 * MS, 160 * MS)
        for each in gone:
            sim.after(delay_ns, call, each, for_ns)

    def _heal(self, pairs: list[tuple[str, str]]) -> None:
        self.network.cut -= set(pairs)

    def _crash(self, name: str, for_ns: int) -> None:
        node = self.nodes[name]
        if node.is_up and self.network.is_bad:
            node.crash()
            self.sim.after(for_ns, self._start, name)

    def _start(self, name: str) -> None:
        if not self.nodes[name].is_up:
            self.nodes[name].start()

    def _pause(self, name: str, for_ns: int) -> None:
        if self.network.is_bad:
            self.sim.log("{} is stopped for {} ms", name, for_ns / MS)
            self.nodes[name].paused_until_ns = self.sim.now_ns + for_ns

    def _step(self, name: str, by_ns: int) -> None:
        self.sim.log("the clock of {} steps by {} ms", name, by_ns / MS)
        self.nodes[name].clock.step(self.sim.now_ns, by_ns)

    def _store_steps(self, by_ns: int) -> None:
        self.sim.log("the store's clock steps by {} ms", by_ns / MS)
        self.store.clock.step(self.sim.now_ns, by_ns)

    def _part_crashes(self, name: str, for_ns: int) -> None:
        part: Any = getattr(self, name)
        if part.is_up:
            self.sim.log("the {} dies for {} ms", name, for_ns / MS)
            part.crash()
            self.sim.after(for_ns, part.restart)

    def _command(self, name: str, event: Any) -> None:
        node = self.nodes[name]
        if node.is_up:
            self.sim.log("{} is told {}", name, event)
            node.later(0, node.step, event)

    def _to_active(self, what: str) -> None:
        dice = self.sim.dice
        active = [name for name in self.names if self.nodes[name].is_up and self._leads(name)]
        name = dice.choice(active or self.names)
        arguments: tuple[Any, ...] = ()
        if what == "Switchover":
            arguments = (dice.choice((None, *self.names)),)
        elif what == "SetMode":
            arguments = (dice.random() < 0.6,)
        elif what == "Retire":
            # Retired nodes do not come back by themselves: a process that ended is started again.
            self.sim.after(50 * MS, self._crash, name, 20 * MS)
        self._command(name, getattr(self.code, what)(*arguments))

    def _leads(self, name: str) -> bool:
        return bool(self.nodes[name].role.is_active)

    # ------------------------------------------------------------ the good time

    def heal(self) -> None:
        self.sim.log("everything is well again")
        self.network.is_bad = False
        self.network.cut.clear()
        for node in self.nodes.values():
            node.paused_until_ns = 0
            if not node.is_up:
                node.start()
        # Commands still arrive at processes that were stopped: none of them stopped for longer.
        for delay_ns in (0, 100 * MS, 210 * MS):
            self.sim.after(delay_ns, self._revive)

    def _revive(self) -> None:
        """A retired node is a process that ended: it is started again."""
        for node in self.nodes.values():
            if node.role.state.name == "RETIRED":
                node.crash()
                node.start()

    def trading(self) -> str | None:
        """Who trades now: active, and nothing holds its orders."""
        for name, node in self.nodes.items():
            if node.is_up and node.is_leading and node.role.is_active:
                if not node.engine.held and node.gate is not None:
                    return name
        return None

    def reasons(self) -> dict[str, list[str]]:
        return {name: node.role.ready() for name, node in self.nodes.items()}

    def heirs(self) -> list[str]:
        """Nodes that may take over by the note, and could."""
        note = self.code.decode(self.store.note)
        if note is None:
            return list(self.names)
        members = {self.code.Member(name, node.incarnation) for name, node in self.nodes.items()}
        if not note.is_synchronous:
            return [
                name
                for name, node in self.nodes.items()
                if node.role.told and node.engine.last[1] >= note.epoch
            ]
        return [each.name for each in note.heirs if each in members]

    def settle(self) -> str:
        """From the end of all faults on: how it came to trade again."""
        self.sim.run(BAD_NS + RECOVERY_NS)
        if self.trading():
            return "by itself"
        active = [node for node in self.nodes.values() if node.role.is_active]
        if len(active) > 1:
            raise BrokenError(f"{len(active)} nodes are active when all is well")
        how = "resumed"
        if not active:
            heirs = self.heirs()
            silent = [name for name, reasons in self.reasons().items() if not reasons]
            if heirs or silent:
                told = {name: node.role.ready() for name, node in self.nodes.items()}
                raise BrokenError(
                    f"nobody is active, {heirs} could be; {silent} say nothing: {told}"
                )
            active, how = self._forced(), "forced"
            if not active and not self.has_heritage():
                return NOTHING_LEFT
        if len(active) != 1:
            raise BrokenError(f"{len(active)} nodes are active: {self.reasons()}")
        node = active[0]
        if node.engine.held and not node.role.ready():
            raise BrokenError(f"{node.name} holds {set(node.engine.held)} without a reason")
        for source in sorted(node.engine.held - {"takeover", "gate"}):
            self._command(node.name, self.code.ResumeTrading(source))
        self.sim.run(self.sim.now_ns + 100 * MS)
        if not self.trading():
            raise BrokenError(
                f"{node.name} does not trade: {node.role.ready()}, {node.engine.held}"
            )
        return how

    def _forced(self) -> list[Any]:
        """What an operator does: force the one that has most, and then the others."""
        for best in sorted(self.nodes.values(), key=lambda node: node.engine.last, reverse=True):
            self._command(best.name, self.code.Force())
            self.sim.run(self.sim.now_ns + RECOVERY_NS // 2)
            if active := [node for node in self.nodes.values() if node.role.is_active]:
                return active
        return []

    def has_heritage(self) -> bool:
        """Whether any node's orders are those that were handed over, as far as both have any.

        Where the only one that led died with what it did, and the others' state went another way,
        there is none, and nobody may go on.
        """
        handed = self.gateway.orders
        for node in self.nodes.values():
            mine = [order for _, order in node.engine.orders]
            both = min(len(mine), len(handed))
            if mine[:both] == handed[:both]:
                return True
        return False

    def finish(self) -> None:
        """Orders go out now, and the exchange has what the active made, in its order."""
        before = len(self.exchange.orders)
        self.sim.run(self.sim.now_ns + END_NS)
        name = self.trading()
        if name is None:
            raise BrokenError(f"nobody trades at the end: {self.reasons()}")
        if len(self.exchange.orders) == before:
            raise BrokenError(f"{name} trades, and no order reaches the exchange: {self.reasons()}")
        mine = [order for _, order in self.nodes[name].engine.orders]
        known = set(mine)
        if not self.judge.losses:
            theirs = self.exchange.orders
            if theirs != mine[: len(theirs)]:
                raise BrokenError(f"the exchange has other orders than {name}")
        late = set(mine) - set(self.exchange.orders) - self.judge.unsent
        if any(order.feed < self.feed.last - 30 for order in late):
            raise BrokenError(f"orders of {name} never reached the exchange: {late}")
        feeds = [r.value for r in self.nodes[name].engine.records if r.kind == "feed"]
        if feeds != list(range(1, len(feeds) + 1)) or not known:
            raise BrokenError(f"{name} missed messages of the feed, or took them twice")


def simulate(
    seed: int, code: Any = None, flaws: frozenset[str] = frozenset(), *, logs: bool = False
) -> Counter[str]:
    """A run; gives what was reached.  Raises `BrokenError`, with the seed."""
    world = World(seed, code or code_of(), flaws, logs=logs)
    try:
        world.plan()
        world.sim.run(BAD_NS)
        world.heal()
        how = world.settle()
        if how != NOTHING_LEFT:
            world.finish()
    except Exception as error:
        if logs:
            print("\n".join(world.sim.log_lines or ()))
        raise BrokenError(f"seed {seed}: {type(error).__name__}: {error}") from error
    reached: Counter[str] = Counter({f"settled {how}": 1})
    for node in world.nodes.values():
        reached.update(node.role.counters)
        reached.update({f"did {name}": count for name, count in node.actions_by_name.items()})
    reached["promoted"] = len(world.judge.promotions)
    reached["losses"] = world.judge.losses
    reached["orders"] = len(world.exchange.orders)
    reached["digest"] = zlib.crc32(repr(world.exchange.orders).encode())
    return reached


if __name__ == "__main__":
    print(simulate(int(sys.argv[1]), logs=True))
