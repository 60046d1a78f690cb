"""Measure the journal of inputs: records a second and megabytes a second by fsync policy.

    python benchmarks/journal.py [--records N] [--payload BYTES] [--batch N] [--directory DIR]
                                 [--out OUT.json]

Records are made beforehand; what is measured is checking them once more, writing them in batches
as they come from the ring, and making them durable; then reading them back with every checksum
verified, which is what a recovery does beside the engine's own work.  The directory decides: a
memory file system has no disk to wait for.  Exits with 1 where what was read is not what was
written.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tickpath.publish import checksum
from tickpath.replica.journal import Identity, JournalPolicy, JournalReader, JournalWriter
from tickpath.replica.journal_verify import verify
from tickpath.wire.inputs import INPUTS, Kind

SCHEMA = "tickpath.benchmark.journal/1"
POLICIES = ("none", "segment", "interval", "batch")
RECORD = INPUTS["record"]
LONGEST_S = 10.0
"""A policy is measured for no longer than this."""


def made(number: int, payload: int) -> np.ndarray:
    """``number`` records with random payloads, one behind the other."""
    size = RECORD.length + -(-payload // 8) * 8
    rows = np.zeros((number, size), np.uint8)
    rows[:, RECORD.length : RECORD.length + payload] = np.random.default_rng(1).integers(
        0, 256, (number, payload), np.uint8
    )
    heads = rows[:, : RECORD.length].copy().view(RECORD.dtype)[:, 0]
    heads["number"], heads["epoch"] = np.arange(1, number + 1), 1
    heads["length"], heads["kind"] = payload, Kind.RUN
    rows[:, : RECORD.length] = heads.view(np.uint8).reshape(number, RECORD.length)
    for row in rows:
        found = int(checksum(np.uint64(row.ctypes.data), np.uint64(size)))
        row[:8] = np.frombuffer(found.to_bytes(8, "little"), np.uint8)
    return rows


def measured(place: Path, rows: np.ndarray, policy: JournalPolicy, batch: int) -> dict[str, Any]:
    """Write, read and verify under one policy."""
    took: list[int] = []
    writer = JournalWriter(place, Identity("benchmark"), policy)
    begin = time.perf_counter_ns()
    at = 0
    while at < len(rows) and time.perf_counter_ns() - begin < LONGEST_S * 1e9:
        started = time.perf_counter_ns()
        writer.append(rows[at : at + batch].reshape(-1))
        took.append(time.perf_counter_ns() - started)
        at = min(at + batch, len(rows))
    written_s = (time.perf_counter_ns() - begin) / 1e9
    writer.close()
    begin = time.perf_counter_ns()
    read = 0
    with JournalReader(place) as reader:
        while len(lent := reader.poll(4096)):
            read += len(lent)
            reader.release()
    read_s = (time.perf_counter_ns() - begin) / 1e9
    whole = rows.shape[1] * at
    return {
        "fsync": policy.fsync,
        "fsync_interval_ns": policy.fsync_interval_ns if policy.fsync == "interval" else None,
        "records": at,
        "bytes": whole,
        "records_per_s": round(at / written_s),
        "mb_per_s": round(whole / written_s / 1e6, 1),
        "syncs": writer.counters["syncs"],
        "segments": writer.counters["segments"],
        "append_us_p50": round(float(np.percentile(took, 50)) / 1e3, 1),
        "append_us_p99": round(float(np.percentile(took, 99)) / 1e3, 1),
        "append_us_max": round(max(took) / 1e3, 1),
        "read_records_per_s": round(read / read_s),
        "read_mb_per_s": round(whole / read_s / 1e6, 1),
        "is_right": read == at and not verify(place).findings,
    }


def main() -> int:
    """Measure every policy; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--payload", type=int, default=44, help="bytes: one message in a packet")
    parser.add_argument("--batch", type=int, default=256, help="records in each append")
    parser.add_argument("--directory", type=Path, help="where to write; a temporary one")
    parser.add_argument("--out", type=Path, help="a JSON file; else it is printed")
    chosen = parser.parse_args()
    rows = made(chosen.records, chosen.payload)
    runs = []
    with tempfile.TemporaryDirectory(dir=chosen.directory) as place:
        # The first one warms up: what is compiled, the page cache, the disk.
        for number, fsync in enumerate((POLICIES[0], *POLICIES)):
            at = Path(place) / str(number)
            run = measured(at, rows, JournalPolicy(fsync=fsync), chosen.batch)
            shutil.rmtree(at)
            if number:
                runs.append(run)
                print(
                    f"{fsync:<10} {run['records_per_s']:>12,} records/s {run['mb_per_s']:>9,} MB/s",
                    file=sys.stderr,
                )
    result = {
        "schema": SCHEMA,
        "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
        "directory": os.fspath(chosen.directory or tempfile.gettempdir()),
        "payload_bytes": chosen.payload,
        "batch_records": chosen.batch,
        "runs": runs,
    }
    text = json.dumps(result, indent=2) + "\n"
    if chosen.out:
        chosen.out.write_text(text)
    else:
        sys.stdout.write(text)
    return 0 if all(each["is_right"] for each in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
