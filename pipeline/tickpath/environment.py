"""What a result was measured on: processor, kernel, memory, versions, source commit.

Every result carries `environment()`, so that two results can be compared and a surprising one
explained.  Everything comes from /proc, /sys and the standard library; what a machine does not
show is None, and no probe raises.  Nothing that names a machine, a person or a directory is read.
"""

import importlib.metadata
import os
import platform
import re
import resource
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickpath.clock import Clock

GIT_TIMEOUT_S = 2.0
MAX_CACHES = 16
"""Cache entries of one processor that are read."""
MAX_INTERFACES = 32
"""Network interfaces that are read."""

_CPU = "sys/devices/system/cpu"
_THP = "sys/kernel/mm/transparent_hugepage"
_PACKAGES = ("numpy", "numba", "llvmlite", "hdrhistogram")


def _text(root: Path, name: str) -> str | None:
    """Contents of a small file under ``root``, stripped; None where it is absent or empty."""
    try:
        return (root / name).read_text(errors="replace").strip() or None
    except OSError:
        return None


def _number(root: Path, name: str) -> int | None:
    value = _text(root, name)
    return int(value) if value and value.lstrip("-").isdigit() else None


def _chosen(value: str | None) -> str | None:
    """The bracketed one of a kernel setting such as ``always [madvise] never``."""
    match = re.search(r"\[(\S+)\]", value or "")
    return match.group(1) if match else None


def _fields(text: str | None) -> dict[str, str]:
    """``name : value`` lines, the first of each name."""
    found: dict[str, str] = {}
    for line in (text or "").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _mega(kilo: int | None) -> float | None:
    return None if kilo is None else kilo / 1000


def cpu(root: Path) -> dict[str, Any]:
    """Model, core counts, frequencies in MHz, governor, boost."""
    info = _fields(_text(root, "proc/cpuinfo"))
    frequency = f"{_CPU}/cpu0/cpufreq"
    boost = _number(root, f"{_CPU}/cpufreq/boost")
    no_turbo = _number(root, f"{_CPU}/intel_pstate/no_turbo")
    if boost is None and no_turbo is not None:
        boost = 1 - no_turbo
    model = info.get("model name") or info.get("Model") or info.get("CPU part")
    now = re.match(r"\d+(\.\d+)?", info.get("cpu MHz", ""))
    smt = _number(root, f"{_CPU}/smt/active")
    return {
        "model": model,
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "smt": None if smt is None else bool(smt),
        "frequency_mhz": float(now.group()) if now else None,
        "frequency_min_mhz": _mega(_number(root, f"{frequency}/cpuinfo_min_freq")),
        "frequency_max_mhz": _mega(_number(root, f"{frequency}/cpuinfo_max_freq")),
        "governor": _text(root, f"{frequency}/scaling_governor"),
        "boost": None if boost is None else bool(boost),
        "caches": caches(root),
    }


def caches(root: Path) -> dict[str, str] | None:
    """Size of each cache of the first processor, as the kernel writes it: ``{"L1d": "32K"}``."""
    found = {}
    for index in range(MAX_CACHES):
        entry = f"{_CPU}/cpu0/cache/index{index}"
        level, size = _text(root, f"{entry}/level"), _text(root, f"{entry}/size")
        if level is None or size is None:
            break
        kind = {"Data": "d", "Instruction": "i"}.get(_text(root, f"{entry}/type") or "", "")
        found[f"L{level}{kind}"] = size
    return found or None


def scheduling(root: Path) -> dict[str, Any]:
    """Which processors this process may use, and which the kernel keeps others away from."""
    affinity = getattr(os, "sched_getaffinity", None)
    quota = (_text(root, "sys/fs/cgroup/cpu.max") or "").split()
    limited = len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit()
    return {
        "affinity": sorted(affinity(0)) if affinity else None,
        "isolated": _text(root, f"{_CPU}/isolated"),
        "nohz_full": (_text(root, f"{_CPU}/nohz_full") or "").replace("(null)", "") or None,
        "numa_nodes": _numa_nodes(root),
        "cpu_quota": int(quota[0]) / int(quota[1]) if limited else None,
        "load_average_1m": os.getloadavg()[0],
    }


def _numa_nodes(root: Path) -> int | None:
    nodes = list((root / "sys/devices/system/node").glob("node[0-9]*"))
    return len(nodes) or None


def memory(root: Path) -> dict[str, Any]:
    """Memory in bytes, and what huge pages there are."""
    info = _fields(_text(root, "proc/meminfo"))

    def size(name: str) -> int | None:
        match = re.fullmatch(r"(\d+)( kB)?", info.get(name, ""))
        return int(match.group(1)) * (1024 if match.group(2) else 1) if match else None

    return {
        "total_bytes": size("MemTotal"),
        "available_bytes": size("MemAvailable"),
        "swap_total_bytes": size("SwapTotal"),
        "transparent_huge_pages": _chosen(_text(root, f"{_THP}/enabled")),
        "huge_pages_total": size("HugePages_Total"),
        "huge_pages_free": size("HugePages_Free"),
        "huge_page_bytes": size("Hugepagesize"),
    }


def network(root: Path) -> dict[str, Any]:
    """Cards by interface: driver, speed in Mbit/s, MTU, memory node; virtual ones are left out."""
    found = {}
    for path in sorted((root / "sys/class/net").glob("*"))[:MAX_INTERFACES]:
        if not (path / "device").exists():
            continue
        node, speed = _number(path, "device/numa_node"), _probed(_number, path, "speed")
        found[path.name] = {
            "driver": _probed(lambda at: (at / "device/driver").resolve(strict=True).name, path),
            "speed_mbps": speed if speed and speed > 0 else None,
            "mtu": _number(path, "mtu"),
            "numa_node": None if node is None or node < 0 else node,
        }
    return found


def limits(root: Path) -> dict[str, Any]:
    """What this process may lock of its memory, in bytes; None: as much as there is."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return {"locked_memory_bytes": None if soft == resource.RLIM_INFINITY else soft}


def synchronisation(root: Path) -> dict[str, Any]:
    """How the system clock is kept right: `tickpath.synchronisation`."""
    from tickpath.synchronisation import synchronisation as known

    return known()


def kernel(root: Path) -> dict[str, Any]:
    """Operating system, kernel release, clock source, and whether a hypervisor is underneath."""
    flags = _fields(_text(root, "proc/cpuinfo")).get("flags")
    name = _fields((_text(root, "etc/os-release") or "").replace("=", ":")).get("PRETTY_NAME")
    clocksource = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    return {
        "system": platform.system(),
        "release": platform.release(),
        "distribution": name.strip('"') if name else None,
        "clocksource": _text(root, clocksource),
        "virtualised": None if flags is None else "hypervisor" in flags.split(),
        "hypervisor": _text(root, "sys/hypervisor/type")
        or _text(root, "sys/class/dmi/id/sys_vendor"),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numba_cpu() -> str:
    """The processor that machine code is made for: the host's unless NUMBA_CPU_NAME says so."""
    chosen = os.environ.get("NUMBA_CPU_NAME")
    if chosen:
        return chosen
    from llvmlite.binding import get_host_cpu_name

    return get_host_cpu_name()


def versions(root: Path) -> dict[str, Any]:
    """Versions of what computes, the processor Numba compiles for, and the source's commit."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "tickpath": _version("tickpath"),
        **{package: _version(package) for package in _PACKAGES},
        "numba_cpu": _probed(_numba_cpu),
        "checked": os.environ.get("TICKPATH_CHECKED", "") not in ("", "0"),
        "commit": _probed(commit),
    }


def commit(directory: Path | None = None) -> str | None:
    """Commit of the checkout that this package is part of, ``-dirty`` with local changes.

    None where it is no checkout, or where the package merely lies inside somebody else's.
    """
    directory = directory or Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(directory), *arguments],
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            check=True,
            timeout=GIT_TIMEOUT_S,
        ).stdout.strip()

    try:
        if not git("ls-files", "--", Path(__file__).name):
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or None
    except (OSError, subprocess.SubprocessError):
        return None


def _probed(probe: Callable[..., Any], *arguments: Any) -> Any:
    """The probe's answer, or None where this machine makes it fail."""
    try:
        return probe(*arguments)
    except Exception:
        return None


def environment(clock: "Clock | None" = None, root: str | Path = "/") -> dict[str, Any]:
    """What this process runs on, for a result; JSON-ready.

    Keys: ``date`` (UTC), ``cpu``, ``scheduling``, ``memory``, ``limits``, ``network``,
    ``synchronisation``, ``kernel``, ``versions``, ``clock`` (the calibration passed in, else None).
    Unknown values are None.  ``root`` is the directory that holds ``proc`` and ``sys``.
    """
    parts = (cpu, scheduling, memory, limits, network, synchronisation, kernel, versions)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **{part.__name__: _probed(part, Path(root)) for part in parts},
        "clock": None if clock is None else clock.as_dict(),
    }
