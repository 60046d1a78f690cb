"""Run the whole benchmark and keep its result: what `tickpath bench` does, written to a file.

    python benchmarks/measure.py [--quick] [--out benchmarks/results/bench.json]

Exits with 1 where an answer was wrong; the result is written all the same and says so.
"""

import argparse
import sys
from pathlib import Path

from tickpath.bench import bench, plan_of
from tickpath.bench.result import write_result
from tickpath.bench.table import print_bench

OUT = Path(__file__).parent / "results" / "bench.json"


def main() -> int:
    """Measure, print, write; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small session and no curves")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    result = bench(
        plan_of(None, chosen.quick), say=lambda text: print(f"{text} ...", file=sys.stderr)
    )
    write_result(chosen.out, result)
    print_bench(result)
    for finding in result["findings"]:
        print(finding, file=sys.stderr)
    return 1 if result["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
