"""Many runs of many scenarios: groups made and shared, each run judged, and a JSON-ready result.

Scenarios with equal layouts share a group for as long as nothing is found; a run with a finding
ends its group, and the next begins with a fresh one.  A run's chance is that of seed, scenario and
number of the run, so one can be had again alone by ``--scenario NAME --seed N --runs ...``.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from tickpath.chaos.error import ChaosError, SceneError
from tickpath.chaos.evidence import is_order
from tickpath.chaos.group import POLL_S, Group
from tickpath.chaos.judge import Judge
from tickpath.chaos.layout import Layout, Rings
from tickpath.chaos.processes import Workplace
from tickpath.chaos.scenario import Scenario, Scene
from tickpath.chaos.stores import Store

SCHEMA = "tickpath.chaos/1"
STARVED = 0.2
"""Part of the time that a node waited for a core, beyond which a role that it loses is no failure:
where there is no core there is no beat."""
_STANDS = ("state", "epoch", "record_number", "lag_records", "reasons", "held", "session", "gate")
SCENES = 3
"""Groups on which a scenario is tried that needs more of one than that it is whole."""
CALM_S = (0.2, 0.7)
"""How long a run trades before anything is done to it."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is run, and on what."""

    scenarios: Sequence[Scenario]
    runs: int = 1
    seed: int = 1
    timeout_ms: int = 200
    network: Literal["namespaces", "loopback"] = "namespaces"
    rings: Rings = "mirrored"
    store: Store = "witness"
    keep: Path | None = None


def layout_of(scenario: Scenario, plan: Plan) -> Layout:
    """The group that a scenario needs."""
    return Layout(
        nodes=("a", "b", "c", "d")[: scenario.nodes],
        store=plan.store,
        stores=scenario.stores,
        network=plan.network,
        rings=plan.rings,
        is_impaired=scenario.is_impaired,
        journals=scenario.journals,
        timeout_ms=plan.timeout_ms,
    )


class Rehearsal:
    """See the module's text.  Use it as a context manager, or call `close`."""

    def __init__(self, plan: Plan, say: Say) -> None:
        self.plan, self._say = plan, say
        self.runs: list[dict[str, Any]] = []
        self._group: Group | None = None
        self._judge: Judge | None = None
        self._place: Workplace | None = None
        self.groups = 0

    def run(self) -> list[dict[str, Any]]:
        """All runs, each as a result of its own; `runs` has those that are done at any time."""
        layouts: dict[Layout, list[Scenario]] = {}
        for each in self.plan.scenarios:
            layouts.setdefault(layout_of(each, self.plan), []).append(each)
        for layout, scenarios in layouts.items():
            for number in range(1, self.plan.runs + 1):
                for scenario in scenarios:
                    done = self._one(scenario, layout, number)
                    self.runs.append(done)
                    self._tell(done)
            self._end_group()
        return self.runs

    def _tell(self, done: dict[str, Any]) -> None:
        measured = done["measured_ns"]
        took = "" if measured is None else f", {done['measures']} {measured / 1e6:.1f} ms"
        found = "".join(f"\n    {each}" for each in (*done["findings"], *done["remarks"]))
        verdict = "found" if done["findings"] else "well"
        self._say(f"{done['scenario']} {done['run']}/{self.plan.runs}: {verdict}{took}{found}")

    # ------------------------------------------------------------ a run

    def _one(self, scenario: Scenario, layout: Layout, number: int) -> dict[str, Any]:
        seed = f"{self.plan.seed}/{scenario.name}/{number}"
        begun = time.monotonic()
        done: dict[str, Any] = {
            "scenario": scenario.name,
            "run": number,
            "seed": seed,
            "measures": scenario.measures,
            "measured_ns": None,
            "silence_ns": None,
            "absent_ns": None,
            "between_orders_ns": None,
            "whole_ns": None,
            "starved": 0.0,
            "remarks": [],
            "epochs": 0,
            "orders": 0,
            "orders_twice": 0,
            "records_lost": 0,
            "findings": [],
        }
        try:
            self._set(scenario, layout, seed, done)
        except ChaosError as error:
            done["findings"].append(str(error))
        if done["findings"]:
            if self._judge is not None:
                self._judge.note_acknowledged()
                done["findings"] += [
                    each for each in self._judge.judge() if each not in done["findings"]
                ]
                done["stands"], done["said"] = self._stands(), self._last_words()
            self._end_group()
        done["seconds"] = round(time.monotonic() - begun, 3)
        return done

    def _set(self, scenario: Scenario, layout: Layout, seed: str, done: dict[str, Any]) -> None:
        """Play a scenario; on another group where the first is no scene for it."""
        for tries_left in reversed(range(SCENES)):
            if scenario.needs_fresh:
                self._end_group()
            try:
                return self._play(scenario, Scene(*self._whole_group(layout), seed), done)
            except SceneError as error:
                if not tries_left:
                    raise
                done["remarks"].append(f"{error}; it was set again")
                self._end_group()

    def _whole_group(self, layout: Layout) -> tuple[Group, Judge]:
        group = self._group
        if group is not None and group.layout == layout and self._judge is not None:
            group.until(group.is_whole, "a standby in sync with the active")
            return group, self._judge
        self._end_group()
        self._say(f"a group begins: {_words(layout)}")
        self._place = Workplace(self.plan.keep)
        self.groups += 1
        self._group = Group(layout, self._place, self.plan.seed)
        self._judge = Judge(self._group)
        return self._group, self._judge

    def _play(self, scenario: Scenario, scene: Scene, done: dict[str, Any]) -> None:
        group, judge = scene.group, scene.judge
        scene.rest(*CALM_S)
        scene.active = scene.guarded()
        orders, twice, lost = judge.orders, judge.twice, judge.records_lost
        begun_ns, before = time.monotonic_ns(), _waited(group)
        try:
            scenario.act(scene)
        except ChaosError:
            done["findings"] += scene.findings  # what was noted until then
            raise
        waited = [later - before[name] for name, later in _waited(group).items() if name in before]
        ended_ns = time.monotonic_ns()
        group.until(group.is_whole, "the group is whole again", scenario.whole_within_s, POLL_S)
        done["whole_ns"] = time.monotonic_ns() - ended_ns
        done["starved"] = round(max([0, *waited]) / (ended_ns - begun_ns), 3)
        judge.note_acknowledged()
        done["epochs"] = max(group.epochs().values()) - scene.epoch_before
        done["findings"] += [*scene.findings, *judge.at_rest()]
        done["orders"] = judge.orders - orders
        done["orders_twice"] = judge.twice - twice
        done["records_lost"] = judge.records_lost - lost
        self._measure(scenario, scene, done, ended_ns)
        if scenario.epochs == "same" and done["epochs"]:
            words = f"the role changed hands {done['epochs']} times for nothing"
            if done["starved"] > STARVED:
                words += f"; a node waited for a core for {done['starved']:.0%} of the time"
                done["remarks"].append(words)
            else:
                done["findings"].append(words)
        if scenario.epochs == "new" and not done["epochs"]:
            done["findings"].append("nobody took over")

    def _measure(
        self, scenario: Scenario, scene: Scene, done: dict[str, Any], ended_ns: int
    ) -> None:
        """What the exchange's clock says of the run."""
        judge = scene.judge
        rows = [
            (received.ts_ns, epoch)
            for received, epoch in zip(judge.evidence.received, judge.epoch_of, strict=True)
            if is_order(received.raw)
        ]
        times = [ts_ns for ts_ns, _ in rows if scene.fault_ns < ts_ns < ended_ns]
        gaps = [later - earlier for earlier, later in pairwise([scene.fault_ns, *times])]
        done["silence_ns"] = max(gaps, default=None)
        done["absent_ns"] = scene.back_ns - scene.fault_ns if scene.back_ns else None
        new = [ts_ns for ts_ns, epoch in rows if epoch > scene.epoch_before]
        old = [ts_ns for ts_ns, epoch in rows if 0 < epoch <= scene.epoch_before]
        if new and old:
            done["between_orders_ns"] = min(new) - max(old)
        if scenario.measures == "silence":
            done["measured_ns"] = done["silence_ns"]
        elif scenario.measures == "recovery":
            behind = [ts_ns for ts_ns, _ in rows if ts_ns > scene.back_ns]
            done["measured_ns"] = min(behind) - scene.back_ns if behind else None
        elif not new:
            done["findings"].append("no order of a new epoch came to the exchange")
        elif scenario.measures == "takeover":
            done["measured_ns"] = min(new) - scene.fault_ns
        elif scene.pause_ns is None:
            # Where a core was missing somebody may have taken over who was handed nothing.
            words = "the new active does not say how long no order could leave"
            done["remarks" if done["starved"] > STARVED else "findings"].append(words)
        else:
            done["measured_ns"] = scene.pause_ns

    def _stands(self) -> dict[str, dict[str, Any]]:
        """How each node stands, as far as it answers."""
        group = self._group
        if group is None:
            return {}
        said = {name: group.status(name) for name in group.names}
        return {
            name: {key: each[key] for key in _STANDS if key in each} for name, each in said.items()
        }

    def _last_words(self) -> dict[str, str]:
        """What everybody said last, for whoever looks into a finding."""
        group = self._group
        if group is None:
            return {}
        logs = sorted(path.stem for path in group.place.path.glob("*.log"))
        return {name: group.children.tail(name) for name in logs}

    # ------------------------------------------------------------ the end

    def _end_group(self) -> None:
        group, place = self._group, self._place
        self._group = self._judge = self._place = None
        if group is not None:
            group.close()
        if place is not None:
            place.close()

    def close(self) -> None:
        """End what still runs."""
        self._end_group()

    def __enter__(self) -> "Rehearsal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _waited(group: Group) -> dict[str, int]:
    """By process, as it is now: how long each node has waited for a core."""
    pids = {name: group.children.waited_ns(name) for name in group.names}
    return {name: waited_ns for name, waited_ns in pids.items() if waited_ns}


def _words(layout: Layout) -> str:
    """A layout for people."""
    where = "hosts in namespaces" if layout.network == "namespaces" else "one host, loopback"
    store = layout.store if layout.stores == 1 else f"{layout.stores} x {layout.store}"
    more = ", a wire that fails" * layout.is_impaired + ", journals" * layout.journals
    return (
        f"{len(layout.nodes)} nodes, {store}, {where}, {layout.rings} rings{more}, "
        f"timeout {layout.timeout_ms} ms"
    )


# ---------------------------------------------------------------- the result


def result_of(plan: Plan, runs: Iterable[dict[str, Any]], interrupted: bool) -> dict[str, Any]:
    """The ``tickpath.chaos/1`` object: scenarios with their runs, percentiles, environment."""
    from tickpath.environment import environment

    by_name: dict[str, list[dict[str, Any]]] = {}
    for each in runs:
        by_name.setdefault(each["scenario"], []).append(each)
    scenarios = []
    for scenario in plan.scenarios:
        done = by_name.get(scenario.name, [])
        counted = {key: sum(each[key] for each in done) for key in _SUMS}
        between = [each["between_orders_ns"] for each in done if each["between_orders_ns"]]
        measured = [each["measured_ns"] for each in done if each["measured_ns"] is not None]
        scenarios.append(
            {
                "name": scenario.name,
                "does": scenario.does,
                "holds": list(scenario.holds),
                "measures": scenario.measures,
                "count": len(done),
                "failed": sum(bool(each["findings"]) for each in done),
                "remarks": sum(bool(each["remarks"]) for each in done),
                "starved_max": max((each["starved"] for each in done), default=0.0),
                **counted,
                **_distribution(measured),
                "absent_ns_max": max((each["absent_ns"] or 0 for each in done), default=0) or None,
                "between_orders_ns": _distribution(between)["latency_ns"],
                "whole_ns_max": max((each["whole_ns"] or 0 for each in done), default=None),
                "runs": done,
            }
        )
    return {
        "schema": SCHEMA,
        "seed": plan.seed,
        "timeout_ms": plan.timeout_ms,
        "network": plan.network,
        "rings": plan.rings,
        "store": plan.store,
        "interrupted": interrupted,
        "scenarios": scenarios,
        "environment": environment(),
    }


_SUMS = ("orders", "orders_twice", "records_lost")


def _distribution(measured_ns: list[int]) -> dict[str, Any]:
    """Percentiles of an HDR histogram, and its buckets."""
    import numpy as np

    from tickpath.latency import HISTOGRAM, buckets, record_values, summary

    kept = np.zeros(1, HISTOGRAM)
    record_values(np.uint64(kept.ctypes.data), np.array(measured_ns, np.uint64))
    return {"latency_ns": summary(kept[0]), "histogram": buckets(kept[0])}
