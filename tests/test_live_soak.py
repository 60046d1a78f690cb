"""Live transports for long: every packet accounted for by cause, nothing leaked, right books.

`soak_process` plays a session over a private wire at an even rate and builds all books of it.  A
machine that is busy with something else loses packets; that is counted and no failure.  What must
hold is the account: what was sent is what was taken and what the counters say was dropped; the
messages that are missing are those packets', and the books are those of all the others, replayed
from memory.

``TICKPATH_SOAK_S`` is how long the long ones take (600), ``TICKPATH_SOAK_RATE`` packets a second.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import soak_process
from tickpath import backend as backends
from tickpath.backend import BackendError

SECONDS = int(os.environ.get("TICKPATH_SOAK_S", "600"))
RATE = int(os.environ.get("TICKPATH_SOAK_RATE", "200000"))
SHORT_S = min(20, SECONDS)
FIRST_LOOK_S, LOOK_S = 60.0, 60.0
"""When memory is looked at for the first time, in the long ones, and how often from then on."""
GROWTH_BYTES = 8 << 20
"""What the interpreter and the C library may take more for themselves."""
KERNELS_OWN = 5
"""Packets of the kernel's own (IGMP) that a packet socket may see and drop among ours."""
MORE_S = 900
"""What compiling, generating and pre-faulting may take beside the load."""
BUFFERS = 16_384
_XDP = {"eal": ["--vdev=net_af_xdp0,iface=any,busy_budget=0"]}
_PACKET = {"eal": ["--vdev=net_af_packet0,iface=any,framecnt=4096"]}
_SMALL_RING = {"eal": ["--vdev=net_af_packet0,iface=any,framecnt=64,blocksz=65536,framesz=2048"]}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "udp": ("udp", {}),
    "afxdp, native": ("afxdp", {"afxdp": {"mode": "native"}}),
    "afxdp, generic": ("afxdp", {"afxdp": {"mode": "generic"}}),
    "dpdk, net_af_xdp": ("dpdk", {"dpdk": _XDP}),
    "dpdk, net_af_packet": ("dpdk", {"dpdk": _PACKET}),
}
STARVED: dict[str, tuple[str, dict[str, Any]]] = {
    "udp, a small receive buffer": ("udp", {"udp": {"receive_buffer": 8192}}),
    "afxdp, few frames": ("afxdp", {"buffers": 64}),
    "dpdk, a small ring": ("dpdk", {"dpdk": _SMALL_RING}),
}
"""Too little room for the bursts with which the sender makes up for what it was late."""
CAUSES = {
    "udp": ("kernel_drops", "oversize"),
    "afxdp": ("rx_dropped", "rx_ring_full", "rx_invalid_descs"),
    "dpdk": ("kernel_dropped", "kernel_ring_full", "filtered", "oversize"),
}
"""Counters of packets that came and were not lent, none of which counts another one's again."""


def why_not() -> str | None:
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        return "it takes two cores, one of them for the sender"
    try:
        backends.player()
    except BackendError as error:
        return str(error)
    return None


REASON = why_not()
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(REASON is not None, reason=f"nothing can be played: {REASON}"),
]


def job_of(name: str, options: dict[str, Any], seconds: int) -> dict[str, Any]:
    """What `soak_process` is to do."""
    try:
        backends.find(name)
    except BackendError as error:
        pytest.skip(str(error))
    return {
        "backend": name,
        "transport": {"buffers": BUFFERS, **options},
        "packets": RATE * seconds,
        "rate": RATE,
        "first_look_s": min(FIRST_LOOK_S, seconds / 4),
        "look_s": min(LOOK_S, seconds / 4),
    }


def soaked(job: dict[str, Any], seconds: int) -> dict[str, Any]:
    """What the receiver saw."""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, soak_process.__file__, json.dumps(job)],
        env={**os.environ, "PYTHONPATH": f"{root}/pipeline{os.pathsep}{root}/backends"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=3 * seconds + MORE_S,  # a machine that is busy plays slower
    )
    assert done.returncode == 0
    found = json.loads(done.stdout)
    looks = "; ".join(
        f"{each['at_ms'] / 1000:.0f} s: {each['received']:,} of {each['sent']:,}, "
        f"{each['rss_bytes']:,} bytes, {each['descriptors']} descriptors"
        for each in found["looks"]
    )
    causes = {name: count for name, count in found["transport"].items() if count}
    print(f"sent {found['sent']:,}, at most {found['latest_ns']:,} ns late; {causes}; {looks}")
    return found


@cache
def _undropped(packets: int) -> dict[str, Any]:
    return soak_process.expected({"packets": packets, "transport": {}}, [])


def assert_accounted(job: dict[str, Any], seen: dict[str, Any]) -> int:
    """Packets and messages, one by one; gives how many packets were lost."""
    transport, links, counters = seen["transport"], seen["links"], seen["counters"]
    assert seen["sent"] + seen["unsent"] == job["packets"]
    received = transport["packets"]
    assert received == seen["loop"]["received"] == counters["packets"]
    lost = sum(transport.get(name, 0) for name in CAUSES[job["backend"]])
    lost += links["exchange_tx_dropped"]  # on the wire, before there is a receiver
    own = range(KERNELS_OWN) if job["backend"] == "dpdk" and lost else range(1)
    assert received + lost - seen["sent"] in own, (transport, links)
    (line,) = seen["lines"]
    assert line["missing"] == counters["gap_messages"]
    assert line["messages"] + line["missing"] == line["next"] - line["first"]
    assert counters["duplicate_messages"] == counters["mold_invalid"] == 0
    return lost


def assert_right_books(job: dict[str, Any], seen: dict[str, Any]) -> None:
    """As of a replay of the same messages: all, or all but those that are missing."""
    (line,) = seen["lines"]
    whole = _undropped(job["packets"])
    holes = [*seen["gaps"]]
    if line["first"] > 1:
        holes.insert(0, [1, line["first"] - 1])
    if line["next"] <= whole["messages"]:  # what was lost at the end shows by nothing behind it
        holes.append([line["next"], whole["messages"]])
    missing = sum(last - first + 1 for first, last in holes)
    assert line["messages"] + missing == whole["messages"] or seen["counters"]["gaps_not_listed"]
    if seen["counters"]["gaps_not_listed"]:
        print("more gaps than are listed: which messages are missing is not known")
        return
    right = soak_process.expected({**job, "transport": {}}, holes) if holes else whole
    assert right["orders_live"] > 1_000
    for name in ("book_digest", "state_digest"):
        assert seen[name] == right[name], name
    for name in ("order_store_full", "level_store_full", "unknown_order_ref", "crossed_book"):
        assert seen["counters"][name] == right["counters"][name], name
    if not holes:
        assert seen["counters"]["unknown_order_ref"] == seen["counters"]["order_store_full"] == 0


def assert_nothing_leaked(seen: dict[str, Any]) -> None:
    """Memory and descriptors from the first look on; buffers as of a fresh transport."""
    first, *_, last = seen["looks"]
    assert last["rss_bytes"] - first["rss_bytes"] < GROWTH_BYTES, seen["looks"]
    assert {each["descriptors"] for each in seen["looks"]} == {first["descriptors"]}, seen["looks"]
    room = seen["room"]
    assert room["after"] == room["fresh"] > 0, room


@pytest.mark.parametrize("variant", ["afxdp, native", "dpdk, net_af_xdp"])
def test_for_long(variant):
    name, options = VARIANTS[variant]
    job = job_of(name, options, SECONDS)
    seen = soaked(job, SECONDS)
    assert_accounted(job, seen)
    assert_nothing_leaked(seen)
    assert_right_books(job, seen)


@pytest.mark.parametrize("variant", VARIANTS)
def test_for_a_while(variant):
    name, options = VARIANTS[variant]
    job = job_of(name, options, SHORT_S)
    seen = soaked(job, SHORT_S)
    assert_accounted(job, seen)
    assert_nothing_leaked(seen)
    assert_right_books(job, seen)


@pytest.mark.parametrize("variant", STARVED)
def test_what_there_is_no_room_for_is_accounted_for(variant):
    name, options = STARVED[variant]
    job = job_of(name, options, SHORT_S)
    seen = soaked(job, SHORT_S)
    assert assert_accounted(job, seen) > 0
    assert_nothing_leaked(seen)
    assert_right_books(job, seen)
