"""The scenarios.

Each begins with a group that is whole and trades, and ends when whatever was broken is mended; that
the group is whole again in time, and that the judge finds nothing, is seen to by `rehearsal`.
"""

import contextlib
import os
import resource
import sys
import time

from tickpath.chaos.error import ChaosError, SceneError
from tickpath.chaos.scenario import Scenario, Scene

WARM_S = 0.3
ROOM_BYTES = 1 << 14
"""What a disk has left when it is about to be full."""
HOGS = 3
_HOG = "while True: pass"


def kill_active(scene: Scene) -> None:
    scene.fault(scene.group.kill(scene.active))
    scene.taken_over()
    scene.trades()
    scene.group.start_node(scene.active)


def suspend_active(scene: Scene) -> None:
    group = scene.group
    scene.fault(group.suspend(scene.active))
    try:
        scene.taken_over()
        scene.trades()
        scene.rest(0, 2 * scene.timeout_s)
    finally:
        group.resume(scene.active)
    stands_by = lambda: group.status(scene.active).get("state") == "STANDBY"  # noqa: E731
    group.until(stands_by, f"{scene.active} stands by once it goes on")


def _cut_active(scene: Scene, direction: str) -> None:
    group = scene.group
    scene.fault(group.cut(scene.active, direction))  # type: ignore[arg-type]
    try:
        scene.taken_over()
        scene.trades()
        scene.rest(0, 2 * scene.timeout_s)
        said = group.status(scene.active).get("state")
        scene.must(said != "ACTIVE", f"{scene.active} is cut off and still says that it is active")
    finally:
        group.heal(scene.active)


def cut_active(scene: Scene) -> None:
    _cut_active(scene, "both")


def cut_active_out(scene: Scene) -> None:
    _cut_active(scene, "out")


def cut_active_in(scene: Scene) -> None:
    _cut_active(scene, "in")


def lose_only_witness(scene: Scene) -> None:
    """Nobody may trade without a lease; when it is back somebody does."""
    group = scene.group
    (store,) = group.layout.store_names
    scene.fault(group.kill(store))
    scene.rest(2 * scene.timeout_s, 4 * scene.timeout_s)
    before = group.taken()
    scene.rest(scene.timeout_s)
    scene.must(group.taken() == before, "orders left behind the end of the lease")
    group.start_store(store)
    scene.back(store)
    scene.trades()


def lose_witness_of_three(scene: Scene) -> None:
    group = scene.group
    victim = scene.chance.choice(group.layout.store_names)
    scene.fault(group.kill(victim))
    scene.rest(3 * scene.timeout_s)
    scene.trades()
    group.start_store(victim)
    scene.rest(1.5)  # a witness that begins again has no say for its longest lease


def lose_standby(scene: Scene) -> None:
    """The active notes it with the store before it goes on alone."""
    group = scene.group
    victim = scene.chance.choice(scene.standbys)
    scene.fault(group.kill(victim))
    scene.rest(3 * scene.timeout_s)
    scene.trades()
    gate = group.status(scene.active).get("gate")
    scene.must(gate == [], f"{scene.active} still waits for {gate}")
    group.start_node(victim)


def restart_gateway(scene: Scene) -> None:
    group = scene.group
    scene.fault(group.kill("gateway"))
    scene.rest(0, 0.3)
    group.start_gateway()
    scene.back("gateway")
    scene.trades()


def _limit(scene: Scene, name: str, which: int, limit: int) -> None:
    pid = scene.group.children.pid(name)
    resource.prlimit(pid, which, (limit, resource.RLIM_INFINITY))


def gateway_disk_full(scene: Scene) -> None:
    """What cannot be written is not sent, and it is said; with room again nothing is missing."""
    group = scene.group
    written = group.place.path / "gateway" / "orders.journal"
    _limit(scene, "gateway", resource.RLIMIT_FSIZE, written.stat().st_size + ROOM_BYTES)
    scene.fault()
    said = len(group.children.log("gateway"))

    def has_failed() -> bool:
        text = group.children.log("gateway")[said:]
        return "cannot be written" in text or not group.children.is_running("gateway")

    group.until(has_failed, "an alarm of the gateway, whose disk is full")
    scene.rest(0.2)
    before = group.taken()
    scene.rest(0.3)
    scene.must(group.taken() == before, "orders left that could not be written")
    group.children.kill("gateway")
    group.start_gateway()
    scene.back("gateway")
    scene.trades()


def journal_disk_full(scene: Scene) -> None:
    """The journal ends with an alarm, trading does not; what was written is sound."""
    group = scene.group
    name = group.start_journal(scene.active)
    scene.rest(0.5, 1.0)
    said = len(group.children.log(name))
    scene.fault()
    _limit(scene, name, resource.RLIMIT_FSIZE, ROOM_BYTES)

    def has_failed() -> bool:
        return len(group.children.log(name)) > said and not group.children.is_running(name)

    group.until(has_failed, "the journal ends with an alarm, its disk being full")
    scene.trades()
    group.children.kill(name)
    flaws = group.verify_journal(scene.active)
    flaws.pop("base", None)  # it may have begun in the middle of the day, without a snapshot
    scene.must(not flaws, f"the journal of {scene.active} is not sound: {flaws}")
    group.forget_journal(scene.active)


def exhaust_memory(scene: Scene) -> None:
    """The active gets no more memory, and is asked for something that needs much of it."""
    group = scene.group
    pid = group.children.pid(scene.active)
    with open(f"/proc/{pid}/statm") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize()
    scene.fault()
    _limit(scene, scene.active, resource.RLIMIT_AS, limit)
    with contextlib.suppress(ChaosError):
        group.snapshot(scene.active, scene.standbys[0])
    scene.rest(3 * scene.timeout_s)
    scene.trades()
    if group.children.is_running(scene.active):
        _limit(scene, scene.active, resource.RLIMIT_AS, resource.RLIM_INFINITY)
    group.restart_ended()


def slow_pulses(scene: Scene) -> None:
    """The active stands still again and again, for less and for more than its bounds."""
    group = scene.group
    scene.fault()
    try:
        for _ in range(8):
            group.suspend(scene.active)
            time.sleep(scene.between(0.1, 0.9) * scene.timeout_s)
            group.resume(scene.active)
            scene.rest(0.1 * scene.timeout_s, 0.5 * scene.timeout_s)
    finally:
        group.resume(scene.active)
    scene.trades()


def hog_core(scene: Scene) -> None:
    """The active has a core with others that take all they get."""
    group = scene.group
    cores = sorted(os.sched_getaffinity(0))
    core = {scene.chance.choice(cores)}
    pid = group.children.pid(scene.active)
    names = [f"hog-{number}" for number in range(HOGS)]
    scene.fault()
    try:
        os.sched_setaffinity(pid, core)
        for name in names:
            hog = group.children.start(name, [sys.executable, "-c", _HOG])
            os.sched_setaffinity(hog.pid, core)
        scene.rest(2.0, 3.0)
    finally:
        for name in names:
            group.children.kill(name)
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(pid, set(cores))
    scene.trades()


def cascade(scene: Scene) -> None:
    """The active is lost, and then its successor as soon as it has a standby."""
    group = scene.group
    group.kill(scene.active)
    scene.taken_over()
    second = scene.guarded()
    scene.trades()
    scene.rest(0, 0.3)
    scene.fault(group.kill(second))
    scene.taken_over()
    scene.trades()
    group.start_node(scene.active)
    group.start_node(second)


def bad_network(scene: Scene) -> None:
    """Loss, repetition, delay and overtaking on everything between the hosts."""
    group = scene.group
    scene.fault()
    group.impair(
        seed=scene.chance.randrange(1 << 30),
        loss=scene.between(0.005, 0.03),
        twice=scene.between(0, 0.02),
        delay_ms=scene.between(0, 0.02) * group.layout.timeout_ms,
        jitter_ms=scene.between(0, 0.02) * group.layout.timeout_ms,
    )
    scene.rest(2.0, 4.0)
    group.impair()
    scene.trades()


def kill_on_bad_network(scene: Scene) -> None:
    group = scene.group
    group.impair(
        seed=scene.chance.randrange(1 << 30),
        loss=scene.between(0.002, 0.01),
        twice=scene.between(0, 0.01),
        delay_ms=scene.between(0, 0.01) * group.layout.timeout_ms,
    )
    scene.rest(0.5, 1.5)
    scene.active = scene.guarded()  # the weather may have moved the role
    scene.fault(group.kill(scene.active))
    scene.taken_over()
    scene.trades()
    group.impair()
    group.start_node(scene.active)


def switchover(scene: Scene) -> None:
    group = scene.group
    to = scene.chance.choice(scene.standbys)
    scene.fault()
    group.command(scene.active, "switchover", to=to)
    now = scene.taken_over()
    scene.must(now == to, f"{now} leads, and not {to}, which it was handed to")
    scene.trades()
    said = group.status(now)
    pause = said.get("pause") or {}
    if pause.get("epoch") == said.get("epoch") and pause.get("is_exact"):
        scene.pause_ns = pause["pause_ns"]


def restart_from_journal(scene: Scene) -> None:
    """All nodes are lost at once; the first goes on from its journal, which has the whole day.

    The group began with that journal.
    """
    group = scene.group
    first, *others = group.names
    name = group.journal_name(first)
    if not group.children.is_running(name):
        # The node lost its place as a standby: the ring that it made then begins with a snapshot.
        raise SceneError(f"the journal of {first} has ended before anything was done")
    scene.rest(0.5, 1.5)
    for each in group.names:
        group.kill(each)
    scene.judge.note_acknowledged()
    group.rest(0.5)  # what is in the ring still goes to the journal
    group.children.stop(name)
    flaws = group.verify_journal(first)
    scene.must(not flaws, f"the journal of {first} is not sound: {flaws}")
    scene.fault()
    group.start_node(first)
    stands_by = lambda: group.status(first).get("state") in ("STANDBY", "CANDIDATE")  # noqa: E731
    group.until(stands_by, f"{first} stands by")
    group.command(first, "force")
    scene.taken_over()
    for each in others:
        group.start_node(each)
    scene.trades()


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("kill-active", "kill -9 of the active", kill_active),
    Scenario(
        "suspend-active", "SIGSTOP of the active past its lease, then SIGCONT", suspend_active,
        ("it stands by when it goes on, and sends nothing",),
    ),
    Scenario("cut-active", "the active's link is cut", cut_active,
             ("it gives the role up by its own clock",), needs_hosts=True),
    Scenario("cut-active-out", "nobody hears the active, which hears everybody", cut_active_out,
             ("it gives the role up by its own clock",), needs_hosts=True),
    Scenario("cut-active-in", "the active hears nobody, and everybody hears it", cut_active_in,
             ("it gives the role up by its own clock",), needs_hosts=True),
    Scenario("lose-witness", "the only lease server is killed and comes back", lose_only_witness,
             ("nobody sends without a lease", "trading goes on when it is back"),
             epochs="any", measures="recovery"),
    Scenario("lose-witness-of-three", "one of three lease servers is killed and comes back",
             lose_witness_of_three, epochs="same", measures="silence", stores=3),
    Scenario("lose-standby", "kill -9 of the standby", lose_standby,
             ("the active goes on alone, as it noted with the lease store",),
             epochs="same", measures="silence"),
    Scenario("restart-gateway", "kill -9 of the gateway, and a restart", restart_gateway,
             epochs="any", measures="recovery"),
    Scenario("gateway-disk-full", "the gateway's disk is full, and then it is not",
             gateway_disk_full, ("it says so, and sends nothing that is not written",),
             epochs="any", measures="recovery"),
    Scenario("journal-disk-full", "the disk of the active's journal is full", journal_disk_full,
             ("the journal says so; trading goes on",), epochs="same", measures="silence"),
    Scenario("exhaust-memory", "the active gets no more memory", exhaust_memory,
             epochs="any", measures="silence"),
    Scenario("slow-pulses", "the active stands still for moments", slow_pulses,
             epochs="any", measures="silence"),
    Scenario("hog-core", "others take the active's core", hog_core,
             epochs="any", measures="silence"),
    Scenario("cascade", "the active is killed, and then its successor", cascade, nodes=3,
             whole_within_s=120.0),
    Scenario("bad-network", "loss, repetition, delay and overtaking between all hosts",
             bad_network, epochs="any", measures="silence", needs_hosts=True, is_impaired=True),
    Scenario("kill-on-bad-network", "kill -9 of the active, on such a network",
             kill_on_bad_network, needs_hosts=True, is_impaired=True),
    Scenario("switchover", "a planned switchover under load", switchover, measures="pause"),
    Scenario("restart-from-journal", "all nodes are killed; one goes on from its journal",
             restart_from_journal, ("what the journal has is enough: nothing is unknown",),
             journals=True, needs_fresh=True, whole_within_s=120.0),
)  # fmt: skip
BY_NAME = {each.name: each for each in SCENARIOS}
