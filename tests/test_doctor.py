"""The doctor: on this machine, on made-up ones, and on broken ones."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from tickpath import backend, doctor
from tickpath.cli import main
from tickpath.doctor import MISSING, OK, WARNING, Check, can_run, examine
from tickpath.environment import environment

VITAL = {"python", "package", "numba", "numpy", "transport file", "executor software"}
ALWAYS = {
    *VITAL,
    *("cycle counter", "memory", "huge pages", "cpu governor", "isolated cores", "cores"),
    *("compile cache", "plotly", "pyarrow", "zstandard", "itch-book", "meatpy", "itchcpp"),
    *("tshark", "chromium", "disk, here", "disk, temporary", "test packages"),
    *("clock synchronisation", "locked memory", "reserved huge pages"),
    *("player veth", "player exchange"),
}


def named(checks: list[Check]) -> dict[str, Check]:
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def test_this_machine_in_json():
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert set(found) == {"schema", "checks", "environment"}
    assert found["schema"] == "tickpath.doctor/1"
    assert {"cpu", "memory", "kernel", "versions"} <= set(found["environment"])
    checks = {row["name"]: row for row in found["checks"]}
    assert set(checks) >= ALWAYS and len(checks) == len(found["checks"])
    for row in found["checks"]:
        assert set(row) == {"name", "status", "detail", "fix"}
        assert row["status"] in (OK, WARNING, MISSING)
        assert row["detail"] and "\n" not in row["detail"]
        assert row["fix"] is None or (row["status"] != OK and row["fix"])
    assert all(checks[name]["status"] == OK for name in VITAL)


def test_this_machine_in_lines():
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0
    names = [check.name for check in examine(environment())]
    lines = result.stdout.splitlines()
    assert {line.split(None, 1)[0] for line in lines} <= {MISSING, OK, WARNING}
    assert len(lines) == len(names)
    assert all(name in line for name, line in zip(names, lines, strict=True))


# ---------------------------------------------------------------- made-up machines


@pytest.fixture
def machine(tmp_path):
    def build(**files: str) -> dict[str, Check]:
        for name, text in files.items():
            path = tmp_path / PLACES[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return named(examine(environment(root=tmp_path)))

    return build


PLACES = {
    "governor": "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "isolated": "sys/devices/system/cpu/isolated",
    "pages": "sys/kernel/mm/transparent_hugepage/enabled",
    "meminfo": "proc/meminfo",
    "quota": "sys/fs/cgroup/cpu.max",
}


def test_a_machine_that_is_badly_tuned(machine):
    checks = machine(
        governor="powersave",
        isolated="",
        pages="always madvise [never]",
        meminfo="MemAvailable: 524288 kB",
        quota="50000 100000",
    )
    expected = {
        "cpu governor": "cpupower frequency-set -g performance",
        "isolated cores": "isolcpus=",
        "huge pages": "echo madvise | sudo tee",
        "memory": "capacity.orders",
    }
    for name, fix in expected.items():
        assert checks[name].status == WARNING and fix in (checks[name].fix or ""), name
    assert checks["cores"].status == WARNING
    assert "0.5 GiB available" in checks["memory"].detail
    assert can_run(checks.values())


def test_a_machine_that_is_well_tuned(machine):
    checks = machine(
        governor="performance",
        isolated="2-3",
        pages="always [madvise] never",
        meminfo="MemAvailable: 16777216 kB",
    )
    for name in ("cpu governor", "isolated cores", "huge pages", "memory"):
        assert checks[name].status == OK and checks[name].fix is None
    assert "taskset" in checks["isolated cores"].detail


KEPT = {"synchronised": True, "maximum_error_us": 250}


@pytest.mark.parametrize(
    ("synchronisation", "status", "words"),
    [
        ({"kernel": None}, WARNING, "does not say"),
        ({"kernel": {**KEPT, "synchronised": False}}, WARNING, "nothing keeps the clock right"),
        ({"kernel": KEPT, "ptp": None, "chrony": None}, OK, "at most 250 us off, by the kernel"),
        ({"kernel": KEPT, "chrony": {"offset_ns": -30}}, OK, "chrony, -30 ns off"),
        (
            {"kernel": KEPT, "ptp": {"offset_ns": 7}, "chrony": {"offset_ns": 9}},
            OK,
            "ptp, 7 ns off",
        ),
    ],
)
def test_clocks(synchronisation, status, words):
    check = named(examine({"synchronisation": synchronisation}))["clock synchronisation"]
    assert check.status == status and words in check.detail
    assert (check.fix is None) == (status == OK)


def test_what_live_transports_are_better_with():
    card = {"driver": "quick", "numa_node": 1}
    pages = {"huge_pages_total": 16, "huge_pages_free": 15, "huge_page_bytes": 2 << 20}
    found = {"limits": {"locked_memory_bytes": None}, "memory": pages, "network": {"eth9": card}}
    checks = named(examine(found))
    assert checks["card eth9"].detail == "quick, memory node 1: receive on a core of that node"
    assert checks["reserved huge pages"].detail == "15 of 16 free, 2 MiB each"
    assert checks["locked memory"].status == OK
    found = {"limits": {"locked_memory_bytes": 65_536}, "memory": {"huge_pages_total": 0}}
    checks = named(examine(found))
    assert checks["locked memory"].fix == "ulimit -l unlimited"
    assert checks["locked memory"].detail.startswith("64 KiB")
    assert "nr_hugepages" in checks["reserved huge pages"].fix


def test_a_machine_that_shows_nothing_at_all():
    checks = named(examine({"cpu": None, "memory": None, "scheduling": None}))
    assert set(checks) >= ALWAYS and can_run(checks.values())


# ---------------------------------------------------------------- what is missing


def test_packages_that_are_not_installed(monkeypatch):
    known = doctor._version
    lacking = {"plotly", "pyarrow", "meatpy", "hypothesis"}
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in lacking else known(name))
    checks = named(examine(environment()))
    assert checks["plotly"].fix == "pip install 'tickpath[report]'"
    assert checks["pyarrow"].fix == "pip install 'tickpath[parquet]'"
    assert checks["meatpy"].fix == "pip install 'tickpath[bench]'"
    assert checks["test packages"].detail.startswith("not installed: hypothesis")
    for name in ("plotly", "pyarrow", "meatpy", "test packages"):
        assert checks[name].status == MISSING
    assert can_run(checks.values())


@pytest.mark.parametrize("name", ["numba", "zstandard"])
def test_a_requirement_that_is_not_installed(monkeypatch, name):
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda each: None if each == name else known(each))
    checks = named(examine(environment()))
    assert (checks[name].status, checks[name].fix) == (MISSING, f"pip install {name}")
    assert not can_run(checks.values())
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 1


def test_programs_that_are_not_installed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    checks = named(examine(environment()))
    assert checks["tshark"].fix == "sudo apt-get install tshark"
    assert checks["chromium"].fix == "sudo apt-get install chromium"
    assert checks["tshark"].status == MISSING and can_run(checks.values())


def _entry(answer):
    return SimpleNamespace(load=lambda: SimpleNamespace(why_not=lambda: answer))


def _broken():
    raise ImportError("no such library")


def test_backends_that_cannot_run_say_why_and_what_mends_it(monkeypatch):
    real = backend.available
    others = {
        "slow": _entry("no such card" + backend.RUN + "sudo modprobe card"),
        "bad": SimpleNamespace(load=_broken),
        "fine": _entry(None),
    }
    monkeypatch.setattr(
        backend, "available", lambda kind: real(kind) | (others if kind == "transports" else {})
    )
    checks = named(examine(environment()))
    slow = Check("transport slow", MISSING, "no such card", "sudo modprobe card")
    assert checks["transport slow"] == slow
    assert "ImportError: no such library" in checks["transport bad"].detail
    assert checks["transport fine"].status == OK
    assert can_run(checks.values())


def test_what_plays_to_live_transports_is_listed_with_what_needs_it(monkeypatch):
    real, mend = backend.available, "python -m tickpath_backends.build wire"
    players = {"veth": _entry("not built" + backend.RUN + mend), "exchange": _entry(None)}
    monkeypatch.setattr(
        backend, "available", lambda kind: players if kind == "players" else real(kind)
    )
    checks = named(examine(environment()))
    missing = Check("player veth", MISSING, "not built, for replay --backend udp", mend)
    assert checks["player veth"] == missing
    there = Check("player exchange", OK, "can run here, for bench --backend udp")
    assert checks["player exchange"] == there
    assert can_run(checks.values())


@pytest.mark.parametrize("kind", ["transports", "executors"])
def test_without_the_software_backend_the_exit_code_is_1(monkeypatch, kind):
    real = backend.available
    monkeypatch.setattr(backend, "available", lambda each: {} if each == kind else real(each))
    assert CliRunner().invoke(main, ["doctor", "--json"]).exit_code == 1


@pytest.mark.parametrize("name", list(doctor.CHECKS))
def test_a_check_that_fails_is_a_line(monkeypatch, name):
    def fails(found):
        raise OSError("two\nlines")

    monkeypatch.setitem(doctor.CHECKS, name, fails)
    result = CliRunner().invoke(main, ["doctor", "--json"])
    checks = {row["name"]: row for row in json.loads(result.stdout)["checks"]}
    assert checks[name]["detail"] == "cannot be found out: two lines"
    vital = name in ("python", "packages", "backends", "cycle counter", "memory")
    assert result.exit_code == int(vital)


def _python(code: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_broken_numba_is_a_line_and_not_a_traceback():
    code = "import sys; sys.modules['numba'] = None\n"
    code += "from tickpath.cli import main; main(['doctor', '--json'])"
    done = _python(code)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    checks = {row["name"]: row for row in json.loads(done.stdout)["checks"]}
    assert checks["executor software"]["status"] == MISSING
    assert checks["cycle counter"]["status"] == MISSING


def test_a_cache_that_cannot_be_written_is_said_with_what_to_set():
    code = "from tickpath import doctor\nprint([c.fix for c in doctor._compile_cache({})])"
    done = _python(code, TICKPATH_CACHE_DIR="/dev/null/cache")
    assert "export TICKPATH_CACHE_DIR=" in done.stdout, done.stderr
    done = _python(code)
    assert done.stdout.strip() == "[None]"
