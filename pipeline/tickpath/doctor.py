"""`tickpath doctor`: what this machine can run; for each thing it can't: why, and what mends it.

Every check is a function that gives one line or several; one that fails itself is a line too, so
the command works on whatever machine is broken.  ``missing`` is what cannot be used, ``warning``
what works and costs latency or comfort.  Exit code 1 only where the software backend cannot run.
"""

import importlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from tickpath.environment import environment

SCHEMA = "tickpath.doctor/1"
OK, WARNING, MISSING = "ok", "warning", "missing"
OLDEST_PYTHON = (3, 11)
LEAST_MEMORY_BYTES = 2 << 30
LEAST_DISK_BYTES = 2 << 30
EXTRAS = {"report": "replay --report", "parquet": "replay --bbo OUT.parquet", "bench": "bench"}
"""Optional parts of the package that a user may want, and what each is for."""
PROGRAMS = {"tshark": "tests against its dissectors", "chromium": "tests of the report's page"}
PLAYERS = {"veth": "replay --backend udp", "exchange": "bench --backend udp"}
"""What plays to live transports, and a command that needs it."""
VITAL = ("python", "package", "executor software", "transport file", "cycle counter", "memory")
"""Checks without which the software backend cannot run; so are the package's requirements."""
Environment = dict[str, Any]
"""What `environment` gives."""
_COLORS = {OK: "green", WARNING: "yellow", MISSING: "red"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; ``fix`` is the command that mends it, where there is one."""

    name: str
    status: str
    detail: str
    fix: str | None = None
    vital: bool = False


def _known(found: Environment, part: str, name: str) -> Any:
    """One value of the environment; None where it is not known."""
    return (found.get(part) or {}).get(name)


def _python(found: Environment) -> Iterable[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= OLDEST_PYTHON:
        yield Check("python", OK, version)
        return
    oldest = ".".join(map(str, OLDEST_PYTHON))
    fix = f"sudo apt-get install python{oldest} python{oldest}-venv"
    yield Check("python", MISSING, f"{version}; {oldest} or newer is needed", fix)


def _requirements() -> list[tuple[str, str | None]]:
    """(distribution, extra) of all that the package names."""
    named: list[tuple[str, str | None]] = []
    for text in importlib.metadata.requires("tickpath") or []:
        name = re.match(r"[\w.-]+", text)
        extra = re.search(r"extra == ['\"](\w+)['\"]", text)
        if name:
            named.append((name[0], extra[1] if extra else None))
    return named


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages(found: Environment) -> Iterable[Check]:
    try:
        requirements = _requirements()
    except importlib.metadata.PackageNotFoundError:
        yield Check("package", MISSING, "tickpath is not installed", "pip install -e .")
        return
    yield Check("package", OK, f"tickpath {_version('tickpath')}")
    for name, extra in requirements:
        version = _version(name)
        if extra is None:
            fix = None if version else f"pip install {name}"
            status = OK if version else MISSING
            yield Check(name, status, version or "not installed", fix, vital=True)
        elif extra in EXTRAS:
            fix = None if version else f"pip install 'tickpath[{extra}]'"
            detail = f"{version or 'not installed'}, for {EXTRAS[extra]}"
            yield Check(name, OK if version else MISSING, detail, fix)
    lacking = [name for name, extra in requirements if extra == "test" and not _version(name)]
    if lacking:
        detail = "not installed: " + ", ".join(lacking)
        yield Check("test packages", MISSING, detail, "pip install -e '.[test]'")
    else:
        yield Check("test packages", OK, "all installed, for make test")


def _backends(found: Environment) -> Iterable[Check]:
    from tickpath import backend

    for kind in ("transport", "executor", "player"):
        for name, entry in sorted(backend.available(f"{kind}s").items()):
            try:
                reason = entry.load().why_not()
            except Exception as error:  # whatever somebody's module raises
                reason = f"cannot be loaded: {type(error).__name__}: {error}"
            why, _, fix = (reason or "").partition(backend.RUN)
            status, detail = (MISSING, why) if reason else (OK, "can run here")
            if kind == "player" and name in PLAYERS:
                detail += f", for {PLAYERS[name]}"
            yield Check(f"{kind} {name}", status, detail, fix or None)


def _leftovers(found: Environment) -> Iterable[Check]:
    """What killed processes left behind, by the transports that know of such."""
    from tickpath import backend

    for name, entry in sorted(backend.available("transports").items()):
        try:
            tell = getattr(entry.load(), "leftovers", None)
        except Exception:  # whatever somebody's module raises; `_backends` has said so
            continue
        for what, fix in tell() if tell else ():
            yield Check(f"left by {name}", WARNING, what, fix)


def _cycle_counter(found: Environment) -> Iterable[Check]:
    from tickpath.clock import calibrate

    clock = calibrate()
    detail = (
        f"{clock.cycles_per_ns:.3f} cycles a ns, in steps of {clock.step_ns:.1f} ns; "
        f"a reading takes {clock.overhead_ns:.1f} ns"
    )
    if clock.invariant is False:
        detail += "; its rate is not constant (no constant_tsc and nonstop_tsc): latencies may lie"
        yield Check("cycle counter", WARNING, detail)
    else:
        yield Check("cycle counter", OK, detail)


def _memory(found: Environment) -> Iterable[Check]:
    from tickpath.config import Config
    from tickpath.state import Block

    smaller = "set capacity.orders and capacity.symbols lower in --config"
    try:
        reserved = Block(Config()).size
    except (MemoryError, OSError) as error:
        yield Check("memory", MISSING, f"the default tables cannot be had: {error}", smaller)
        return
    available = _known(found, "memory", "available_bytes")
    size = f"the default tables reserve {_giga(reserved)} and use what they are filled with"
    if available is not None and available < LEAST_MEMORY_BYTES:
        detail = f"{_giga(available)} available; {size}; a whole day needs {_giga(reserved)}"
        yield Check("memory", WARNING, detail, smaller)
    else:
        known = f"{_giga(available)} available; " if available is not None else ""
        yield Check("memory", OK, known + size)


def _giga(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"


def _tuning(found: Environment) -> Iterable[Check]:
    """What makes latencies long or uneven."""
    pages = _known(found, "memory", "transparent_huge_pages")
    if pages in ("always", "madvise"):
        yield Check("huge pages", OK, f"transparent huge pages: {pages}")
    else:
        fix = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
        yield Check("huge pages", WARNING, f"transparent huge pages: {pages or 'not known'}", fix)
    governor = _known(found, "cpu", "governor")
    if governor in (None, "performance"):
        yield Check("cpu governor", OK, governor or "not shown here, as in most virtual machines")
    else:
        fix = "sudo cpupower frequency-set -g performance"
        yield Check("cpu governor", WARNING, f"{governor}: the clock rate follows the load", fix)
    if isolated := _known(found, "scheduling", "isolated"):
        yield Check("isolated cores", OK, f"{isolated}: run under taskset -c CORE")
    else:
        fix = "add isolcpus=CORE nohz_full=CORE rcu_nocbs=CORE to the kernel's command line"
        yield Check("isolated cores", WARNING, "none: other programs disturb percentiles", fix)
    cores = len(_known(found, "scheduling", "affinity") or range(os.cpu_count() or 1))
    quota = _known(found, "scheduling", "cpu_quota")
    share = f", {quota:g} of them at a time" if quota is not None and quota < cores else ""
    few = min(cores, cores if quota is None else quota) < 2
    shared = "; the engine shares its core with everything else" if few else ""
    yield Check("cores", WARNING if few else OK, f"{cores}{share}{shared}")


def _network(found: Environment) -> Iterable[Check]:
    """What the live transports need or are better with."""
    kernel = _known(found, "synchronisation", "kernel")
    fix = "sudo apt-get install chrony, or run ptp4l and phc2sys"
    if kernel is None:
        yield Check("clock synchronisation", WARNING, "the kernel does not say", fix)
    elif kernel["synchronised"]:
        yield Check("clock synchronisation", OK, _kept_by(found, kernel))
    else:
        detail = "nothing keeps the clock right: times are this machine's only"
        yield Check("clock synchronisation", WARNING, detail, fix)
    limit = _known(found, "limits", "locked_memory_bytes")
    if limit is None:
        yield Check("locked memory", OK, "no limit")
    else:
        detail = f"{limit >> 10} KiB; transport.lock_memory and AF_XDP without root need more"
        yield Check("locked memory", WARNING, detail, "ulimit -l unlimited")
    pages = _known(found, "memory", "huge_pages_total")
    if pages:
        free, size = (_known(found, "memory", f"huge_page{each}") for each in ("s_free", "_bytes"))
        detail = f"{free} of {pages} free, {(size or 0) >> 20} MiB each"
        yield Check("reserved huge pages", OK, detail)
    else:
        detail = "none; transport.huge_pages and DPDK with real cards need them"
        fix = "echo 256 | sudo tee /proc/sys/vm/nr_hugepages"
        yield Check("reserved huge pages", WARNING, detail, fix)
    for name, card in (found.get("network") or {}).items():
        parts = [card["driver"] or "no driver known"]
        if card["numa_node"] is not None:
            parts.append(f"memory node {card['numa_node']}: receive on a core of that node")
        yield Check(f"card {name}", OK, ", ".join(parts))


def _kept_by(found: Environment, kernel: dict[str, Any]) -> str:
    """What disciplines the clock, and how far off it is."""
    for name in ("ptp", "chrony"):
        if source := _known(found, "synchronisation", name):
            return f"{name}, {source['offset_ns']} ns off"
    return f"at most {kernel['maximum_error_us']} us off, by the kernel"


def _compile_cache(found: Environment) -> Iterable[Check]:
    from tickpath import pipeline
    from tickpath.jit import cache_directory
    from tickpath.replay import is_compiled

    directory = Path(cache_directory(Path(pipeline.__file__).resolve()))
    if not directory.name.startswith("pipeline-"):
        detail = "not writable: every run compiles for half a minute"
        fix = "export TICKPATH_CACHE_DIR=DIRECTORY, one that can be written to"
        yield Check("compile cache", WARNING, detail, fix)
        return
    files = [path for path in directory.parent.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    state = (
        "the pipeline is compiled" if is_compiled() else "the first run compiles for half a minute"
    )
    yield Check("compile cache", OK, f"{directory.parent}, {size:.1f} MB; {state}")


def _programs(found: Environment) -> Iterable[Check]:
    for name, purpose in PROGRAMS.items():
        if shutil.which(name):
            yield Check(name, OK, f"installed, for {purpose}")
        else:
            fix = f"sudo apt-get install {name}"
            yield Check(name, MISSING, f"not installed, for {purpose}", fix)


def _disk(found: Environment) -> Iterable[Check]:
    for name, place in (("disk, here", Path.cwd()), ("disk, temporary", tempfile.gettempdir())):
        free = shutil.disk_usage(place).free
        status = OK if free >= LEAST_DISK_BYTES else WARNING
        detail = f"{_giga(free)} free"
        yield Check(name, status, detail, None if status == OK else "df -h, and make room")


CHECKS: dict[str, Callable[[Environment], Iterable[Check]]] = {
    "python": _python,
    "packages": _packages,
    "backends": _backends,
    "leftovers": _leftovers,
    "cycle counter": _cycle_counter,
    "memory": _memory,
    "tuning": _tuning,
    "network": _network,
    "compile cache": _compile_cache,
    "programs": _programs,
    "disk": _disk,
}


def examine(found: Environment) -> list[Check]:
    """Every check, on the machine that `environment` found; one that raises says so in a line."""
    checks: list[Check] = []
    for name, check in CHECKS.items():
        try:
            checks += check(found)
        except Exception as error:  # on a broken machine anything may
            status = MISSING if name in VITAL else WARNING
            reason = " ".join(str(error).split())
            checks.append(Check(name, status, f"cannot be found out: {reason or repr(error)}"))
    return checks


def can_run(checks: Iterable[Check]) -> bool:
    """Whether the software backend runs, by these checks."""
    by_name = {check.name: check for check in checks}
    needed = [*VITAL, *(check.name for check in by_name.values() if check.vital)]
    return all(name in by_name and by_name[name].status != MISSING for name in needed)


def run(as_json: bool) -> int:
    """Print the checks; gives the exit code: 1 where the software backend cannot run."""
    found = environment()
    checks = examine(found)
    code = 0 if can_run(checks) else 1
    if as_json:
        rows = [{k: v for k, v in asdict(check).items() if k != "vital"} for check in checks]
        result = {"schema": SCHEMA, "checks": rows, "environment": found}
        click.echo(json.dumps(result))
        return code
    width = max(len(check.name) for check in checks)
    for check in checks:
        status = click.style(f"{check.status:7}", fg=_COLORS[check.status])
        fix = f"  ->  {check.fix}" if check.fix else ""
        click.echo(f"{status}  {check.name:{width}}  {check.detail}{fix}")
    if code:
        click.echo("the software backend cannot run here: see what is missing", err=True)
    return code
