"""The environment of a result, from made-up machines and from this one."""

import getpass
import json
import os
import resource
import shutil
import socket
import subprocess

import pytest

from tickpath import environment as module
from tickpath.clock import Clock
from tickpath.environment import environment

X86 = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 3.00GHz\ncpu MHz\t\t: 2999.998\n"
    "flags\t\t: fpu constant_tsc hypervisor\n\nprocessor\t: 1\nmodel name\t: Other\n",
    "proc/meminfo": "MemTotal:  1024 kB\nMemAvailable: 512 kB\nSwapTotal: 0 kB\n"
    "HugePages_Total:      16\nHugePages_Free:       15\nHugepagesize:       2048 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_min_freq": "800000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "4000000\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
    "sys/devices/system/cpu/smt/active": "1\n",
    "sys/devices/system/cpu/isolated": "2-3\n",
    "sys/devices/system/cpu/nohz_full": "(null)\n",
    "sys/devices/system/cpu/cpu0/cache/index0/level": "1\n",
    "sys/devices/system/cpu/cpu0/cache/index0/type": "Data\n",
    "sys/devices/system/cpu/cpu0/cache/index0/size": "48K\n",
    "sys/devices/system/cpu/cpu0/cache/index1/level": "2\n",
    "sys/devices/system/cpu/cpu0/cache/index1/type": "Unified\n",
    "sys/devices/system/cpu/cpu0/cache/index1/size": "2048K\n",
    "sys/devices/system/node/node0/cpulist": "0\n",
    "sys/devices/system/node/node1/cpulist": "1\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
    "sys/class/dmi/id/sys_vendor": "QEMU\n",
    "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
}


@pytest.fixture
def machine(tmp_path):
    def build(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return build


def pick(part, *names):
    return {name: part[name] for name in names}


def test_a_machine(machine):
    found = environment(root=machine(X86))
    names = ("model", "smt", "frequency_mhz", "frequency_min_mhz", "frequency_max_mhz")
    assert pick(found["cpu"], *names, "governor", "boost", "caches") == {
        "model": "Some CPU @ 3.00GHz",
        "smt": True,
        "frequency_mhz": 2999.998,
        "frequency_min_mhz": 800.0,
        "frequency_max_mhz": 4000.0,
        "governor": "performance",
        "boost": False,
        "caches": {"L1d": "48K", "L2": "2048K"},
    }
    assert pick(found["scheduling"], "isolated", "nohz_full", "numa_nodes", "cpu_quota") == {
        "isolated": "2-3",
        "nohz_full": None,
        "numa_nodes": 2,
        "cpu_quota": 1.5,
    }
    assert found["memory"] == {
        "total_bytes": 1024 * 1024,
        "available_bytes": 512 * 1024,
        "swap_total_bytes": 0,
        "transparent_huge_pages": "madvise",
        "huge_pages_total": 16,
        "huge_pages_free": 15,
        "huge_page_bytes": 2 * 1024 * 1024,
    }
    assert pick(found["kernel"], "distribution", "clocksource", "virtualised", "hypervisor") == {
        "distribution": "Debian GNU/Linux 12",
        "clocksource": "tsc",
        "virtualised": True,
        "hypervisor": "QEMU",
    }


def test_cards_of_a_machine(machine):
    cards = "sys/class/net"
    root = machine(
        {
            f"{cards}/eth0/device/numa_node": "1\n",
            f"{cards}/eth0/speed": "25000\n",
            f"{cards}/eth0/mtu": "9000\n",
            f"{cards}/eth1/device/numa_node": "-1\n",
            f"{cards}/eth1/speed": "-1\n",
            f"{cards}/veth0/mtu": "1500\n",
            "sys/bus/drivers/quick/bind": "",
        }
    )
    (root / cards / "eth0/device/driver").symlink_to(root / "sys/bus/drivers/quick")
    assert environment(root=root)["network"] == {
        "eth0": {"driver": "quick", "speed_mbps": 25_000, "mtu": 9000, "numa_node": 1},
        "eth1": {"driver": None, "speed_mbps": None, "mtu": None, "numa_node": None},
    }


def test_what_may_be_locked(monkeypatch, tmp_path):
    for soft, expected in ((65_536, 65_536), (resource.RLIM_INFINITY, None)):
        monkeypatch.setattr(resource, "getrlimit", lambda which, soft=soft: (soft, soft))
        assert environment(root=tmp_path)["limits"] == {"locked_memory_bytes": expected}


def test_a_machine_that_shows_nothing(tmp_path):
    found = environment(root=tmp_path)
    assert found["network"] == {}
    cpu_known = {"architecture", "cores"}
    assert {name for name, value in found["cpu"].items() if value is not None} == cpu_known
    assert set(found["memory"].values()) == {None}
    nothing = ("isolated", "nohz_full", "numa_nodes", "cpu_quota")
    assert pick(found["scheduling"], *nothing) == dict.fromkeys(nothing)
    nothing = ("distribution", "clocksource", "virtualised", "hypervisor")
    assert pick(found["kernel"], *nothing) == dict.fromkeys(nothing)


@pytest.mark.parametrize("text", ["", "\0\xff", ":::\n:", "9" * 5000, "max max", "model name"])
def test_nonsense_never_raises(machine, text):
    json.dumps(environment(root=machine(dict.fromkeys(X86, text))))


def test_directories_for_files_never_raise(machine):
    json.dumps(environment(root=machine({name + "/x": "" for name in X86})))


def test_this_machine():
    found = environment()
    assert list(found) == [
        *("date", "cpu", "scheduling", "memory", "limits", "network", "synchronisation"),
        *("kernel", "versions", "clock"),
    ]
    assert found["cpu"]["cores"] == os.cpu_count()
    assert found["versions"]["numba_cpu"]
    assert found["clock"] is None
    text = json.dumps(found)
    names = [socket.gethostname(), getpass.getuser(), os.getcwd(), os.path.expanduser("~")]
    for name in names:
        if len(name) > 3 and name not in ("localhost", "debian"):
            assert name not in text


def test_clock_is_included():
    clock = Clock(2.5, 1 << 22, 20, 25, 10.0, 26, 10.4, 1e-7, True)
    assert environment(clock)["clock"] == clock.as_dict()


def test_numba_cpu_override(monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert environment()["versions"]["numba_cpu"] == "generic"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "GIT_TIMEOUT_S", 60.0)

    def git(*arguments):
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(tmp_path)]
        run = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
        return run.stdout.strip()

    assert module.commit(tmp_path) is None  # no checkout
    git("init", "-q")
    (tmp_path / "other").write_text("x")
    git("add", "other")
    git("commit", "-qm", "x")
    (tmp_path / "environment.py").write_text("x")
    assert module.commit(tmp_path) is None  # inside somebody else's checkout
    git("add", ".")
    git("commit", "-qm", "y")
    git("tag", "v1")
    assert module.commit(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "other").write_text("changed")
    assert module.commit(tmp_path) == git("rev-parse", "HEAD") + "-dirty"


def test_commit_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module.commit() is None


def test_commit_when_git_hangs(tmp_path, monkeypatch):
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "GIT_TIMEOUT_S", 0.05)
    assert module.commit() is None
