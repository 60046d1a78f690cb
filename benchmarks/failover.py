"""How long nobody trades when the active is killed: processes on one machine, an exchange as judge.

    python benchmarks/failover.py [--kills 10] [--timeout-ms 50] [--out FILE.json]

Method: witness, gateway and two nodes are processes, the simulated exchange is a thread here.  With
a standby in sync the active is killed (SIGKILL); the time is from then to the first order that the
exchange takes from the new active, in its own epoch.  It has the silence that is waited for
(``--timeout-ms``, and as long a lease), the rest of the lease, the promotion, and the wait for the
strategy's next order (some 10 ms here).  The exchange refuses an order that comes twice, and at the
end node and exchange must say the same of every position: else this ends with exit code 1.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from cluster import MILLISECOND_NS, Cluster


def role(timeout_ms: int) -> dict[str, int]:
    """Bounds of a node for a silence of so long."""
    return {
        "beat_timeout_ns": timeout_ms * MILLISECOND_NS,
        "lease_ttl_ns": timeout_ms * MILLISECOND_NS,
        "lease_renew_ns": max(1, timeout_ms // 5) * MILLISECOND_NS,
        "store_timeout_ns": max(5, timeout_ms // 2) * MILLISECOND_NS,
        "gateway_timeout_ns": max(5, timeout_ms // 2) * MILLISECOND_NS,
    }


def one_kill(cluster: Cluster) -> dict[str, float]:
    """Kill the active; gives milliseconds to the takeover and to the first order."""
    cluster.until(cluster.is_guarded, "no standby in sync", 0.02)
    active = cluster.active()
    assert active is not None
    standby = "b" if active == "a" else "a"
    before = cluster.taken()
    cluster.until(lambda: cluster.taken() > before + 20, "no orders")
    epoch = cluster.status(active)["epoch"]
    begun = time.monotonic()
    cluster.kill(active)
    taken_over = None
    while taken_over is None:
        status = cluster.status(standby)
        if status.get("state") == "ACTIVE" and status["epoch"] > epoch:
            taken_over = time.monotonic()
            at_takeover = cluster.taken()
        elif time.monotonic() - begun > 30:
            raise RuntimeError(f"nobody took over\n{cluster.logs()}")
    cluster.until(lambda: cluster.taken() > at_takeover, "no order", 0.0002)
    first_order = time.monotonic()
    cluster.begin_node(active)
    return {
        "active_ms": round((taken_over - begun) * 1e3, 2),
        "order_ms": round((first_order - begun) * 1e3, 2),
    }


def verified(cluster: Cluster) -> bool:
    """Whether node and exchange agree on every position, with trading held."""
    cluster.until(cluster.is_guarded, "no standby in sync", 0.02)
    name = cluster.active()
    assert name is not None
    cluster.ask(name, ask="hold", why="to compare")
    books = cluster.exchange.venue.matching.books
    end = time.monotonic() + 10
    while time.monotonic() < end:
        held = {
            books[locate].stock: each.bought - each.sold
            for locate, each in list(cluster.port.holdings.items())
            if each.bought != each.sold
        }
        if cluster.status(name).get("positions") == held:
            return True
        time.sleep(0.05)
    return False


def main() -> int:
    """Measure, print; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--timeout-ms", type=int, default=50)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        cluster = Cluster(Path(directory), role(chosen.timeout_ms))
        try:
            cluster.begin_all()
            kills = [one_kill(cluster) for _ in range(chosen.kills)]
            is_right = verified(cluster)
            repeated = cluster.port.counters["repeated"]
        finally:
            cluster.close()
    orders = sorted(each["order_ms"] for each in kills)
    result = {
        "schema": "tickpath.failover/1",
        "timeout_ms": chosen.timeout_ms,
        "kills": kills,
        "order_ms": {"min": orders[0], "p50": orders[len(orders) // 2], "max": orders[-1]},
        "orders_repeated": repeated,
        "positions_agree": is_right,
        "environment": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
        },
    }
    text = json.dumps(result, indent=2)
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text + "\n")
    return 0 if is_right and not repeated else 1


if __name__ == "__main__":
    sys.exit(main())
