"""A replay in a process of its own, so that its peak memory is its own: see `processes`.

    python -m tickpath.bench.child FILE SPANS RATIO

prints one JSON object.  The file is mapped, as `tickpath replay` maps it, and its pages count.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tickpath import backend
from tickpath.bench.own import strategy_config
from tickpath.engine import Engine
from tickpath.replay import PACKETS_PER_BURST


def _status() -> dict[str, int]:
    """Memory of this process in bytes, by the kernel's names."""
    fields = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {
        each[0].rstrip(":"): int(each[1]) * 1024
        for each in fields
        if each[0] in ("VmHWM:", "RssAnon:", "RssFile:")
    }


def measure(path: str, spans: list[tuple[str, int]], ratio_percent: int) -> dict[str, Any]:
    """Replay a daily file with pre-faulted tables and the benchmark's strategy."""
    engine = Engine(strategy_config(ratio_percent), on_orders=lambda orders: None)
    before = _status()
    prefaulted = engine.block.prefault(spans)
    transport = backend.find("software").transport([path])
    transport.open()
    try:
        while len(packets := transport.poll(PACKETS_PER_BURST)):
            engine.process(packets)
        status = _status()
    finally:
        transport.close()
    return {
        "peak_bytes": status["VmHWM"],
        "anonymous_bytes": status["RssAnon"],
        "file_bytes": status["RssFile"],
        "before_tables_bytes": before["VmHWM"],
        "prefaulted_bytes": prefaulted,
        "messages": engine.messages,
        "book_digest": f"{engine.book_digest:016x}",
        "state_digest": f"{engine.state_digest:016x}",
    }


if __name__ == "__main__":
    json.dump(measure(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])), sys.stdout)
