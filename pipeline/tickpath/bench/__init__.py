"""`tickpath bench`: what a message costs and how long an order takes, with every answer checked.

    result = bench(plan_of(messages=None, quick=False))     # everything, on one core
    result = compare(["software"], plan_of(None, True))     # backends side by side
    result, _ = measure(["udp", "afxdp"], plan_of(None, True))  # live ones, wire to wire

The first two give a ``tickpath.bench/1`` object, the third a ``tickpath.wire/1`` one.  `held` makes
a session in memory, `own`, `peers` and `compact_c` are the contestants, `turns` lets them run in
turns, `answer` says whether they are right, `parts` measures encode and risk alone, `processes`
what only a process of its own shows; `wire`, `wire_plan` and `wire_answer` are wire to wire.
The invariant: a time whose answer was not checked, or was wrong, is marked so.
"""

from tickpath.bench.backends import compare
from tickpath.bench.beside import beside_peers
from tickpath.bench.error import BenchError
from tickpath.bench.plan import BenchPlan, plan_of
from tickpath.bench.run import bench
from tickpath.bench.wire import is_wire, measure

__all__ = [
    "BenchError",
    "BenchPlan",
    "bench",
    "beside_peers",
    "compare",
    "is_wire",
    "measure",
    "plan_of",
]
