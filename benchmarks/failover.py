"""How long nobody trades when the active is killed: processes on one machine, an exchange as judge.

    python benchmarks/failover.py [--kills 10] [--timeout-ms 50] [--store witness] [--out FILE.json]

Method: that of `tickpath chaos`, whose scenario ``kill-active`` this is, on one host with rings in
shared memory and with a node's default timeout.  With a standby in sync the active is killed
(SIGKILL); the time is from then to the first order of the next epoch at the exchange, by the
exchange's clock.  It has the silence that is waited for (``--timeout-ms``, and as long a lease),
the rest of the lease, the promotion, and the wait for the strategy's next order.  Between two kills
the judge compares everything (`tickpath.chaos.judge`): any finding ends this with exit code 1.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from tickpath.chaos.processes import remove_stale
from tickpath.chaos.rehearsal import Plan, Rehearsal, result_of
from tickpath.chaos.scenarios import BY_NAME
from tickpath.chaos.stores import Store, why_not


def say(text: str) -> None:
    print(text, file=sys.stderr)


def measured(kills: int, timeout_ms: int, store: Store) -> dict[str, Any]:
    """Kill so often; gives the result."""
    chosen = [BY_NAME["kill-active"]]
    plan = Plan(
        chosen, kills, timeout_ms=timeout_ms, network="loopback", rings="shared", store=store
    )
    remove_stale(say)
    with Rehearsal(plan, say) as rehearsal:
        runs = rehearsal.run()
    (done,) = result_of(plan, runs, interrupted=False)["scenarios"]
    return {
        "schema": "tickpath.failover/2",
        "timeout_ms": timeout_ms,
        "store": store,
        "kills": [round((each["measured_ns"] or 0) / 1e6, 2) for each in runs],
        "order_ms": {
            name: round((done["latency_ns"][name] or 0) / 1e6, 2) for name in ("min", "p50", "max")
        },
        "orders": done["orders"],
        "orders_twice": done["orders_twice"],
        "records_lost": done["records_lost"],
        "starved_max": done["starved_max"],
        "findings": [finding for each in runs for finding in each["findings"]],
        "load": os.getloadavg(),
    }


def main() -> int:
    """Measure, print; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--timeout-ms", type=int, default=50)
    parser.add_argument("--store", choices=("witness", "etcd", "redis"), default="witness")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    if reason := why_not(chosen.store):
        say(reason)
        return 2
    result = measured(chosen.kills, chosen.timeout_ms, chosen.store)
    text = json.dumps(result, indent=2)
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text + "\n")
    return 1 if result["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
