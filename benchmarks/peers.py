"""The book beside its peers on one daily file, in one run; their books must agree.

    python benchmarks/peers.py [FILE] [--messages N] [--rounds N] [--out FILE.json]

FILE is a Nasdaq ITCH 5.0 daily file, plain or compressed, such as emi.nasdaq.com/ITCH offers; it
must fit into memory.  Without one a session is generated.  Exits with 1 where books differ.
"""

import argparse
import sys
from pathlib import Path

from tickpath.bench import BenchError, beside_peers
from tickpath.bench.result import write_result
from tickpath.bench.table import print_peers
from tickpath.capture import CaptureError
from tickpath.generate import GenerateError

OUT = Path(__file__).parent / "results" / "peers.json"


def main() -> int:
    """Measure, print, write; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--messages", type=int, default=1_000_000, help="of a generated session")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    try:
        result = beside_peers(
            chosen.file,
            chosen.messages,
            chosen.rounds,
            say=lambda text: print(f"{text} ...", file=sys.stderr),
        )
    except (BenchError, CaptureError, GenerateError) as error:
        print(f"peers.py: {error}", file=sys.stderr)
        return 2
    write_result(chosen.out, result)
    print_peers(result)
    for finding in result["findings"]:
        print(finding, file=sys.stderr)
    return 1 if result["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
