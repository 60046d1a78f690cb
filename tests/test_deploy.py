"""deploy/: what it names exists here, and the programs it is for read it."""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from importlib import import_module
from pathlib import Path

import click
import msgspec
import pytest

from gateway_house import free_port
from namespaces import inside, ip, needs_wire, wire
from test_failover_health import ACTIVE, NOW, STALE_MS, STANDBY, metrics
from tickpath.cli import main
from tickpath.failover import node_config
from tickpath.failover.gateway_config import load_gateway
from tickpath.failover.health import PATHS, WORDS
from tickpath.failover.health_server import HealthServer
from tickpath.failover.lease import STORES

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
INSTALLED = "/usr/local/bin/tickpath"
VIRTUAL = "10.98.0.100"


def text(path: str) -> str:
    return (DEPLOY / path).read_text()


def program(name: str, package: str) -> str:
    """Where a program is; the test is skipped where it is not."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is missing: apt-get install {package}")
    return found


def said_by(*words: object) -> str:
    """What a program says; it has to be content."""
    done = subprocess.run(
        [str(each) for each in words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# ---------------------------------------------------------------- read by their own programs


def test_haproxy_reads_its_file():
    said_by(program("haproxy", "haproxy"), "-c", "-f", DEPLOY / "haproxy/haproxy.cfg")


def test_keepalived_reads_its_file(tmp_path):
    keepalived = program("keepalived", "keepalived")
    assert text("keepalived/keepalived.conf").count(INSTALLED) == 1
    # The user and the program that it names are those of the machine it is for.
    path = tmp_path / "keepalived.conf"
    path.write_text(
        text("keepalived/keepalived.conf")
        .replace("script_user tickpath", "script_user root")
        .replace(INSTALLED, "/bin/true")
    )
    assert said_by(keepalived, "-t", "-f", path).strip() == ""


def test_systemd_reads_its_files(tmp_path):
    systemd = program("systemd-analyze", "systemd")
    for path in (DEPLOY / "systemd").iterdir():
        lines = path.read_text()
        assert f"ExecStart={INSTALLED} " in lines
        (tmp_path / path.name).write_text(lines.replace(INSTALLED, "/bin/true"))
    assert said_by(systemd, "verify", *tmp_path.iterdir()).strip() == ""


def test_prometheus_reads_its_files():
    promtool = program("promtool", "prometheus")
    where = DEPLOY / "prometheus"
    said_by(promtool, "check", "config", where / "prometheus.yml")
    said_by(promtool, "check", "rules", where / "tickpath.rules.yml")
    said_by(promtool, "test", "rules", where / "tickpath.rules.test.yml")


def test_kubectl_reads_its_files():
    said_by(program("kubectl", "kubectl"), "kustomize", DEPLOY / "kubernetes")


def test_metrics_are_those_that_promtool_wants():
    from tickpath.failover.health import View
    from tickpath.failover.metrics import page

    promtool = program("promtool", "prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=page(View(ACTIVE, NOW, STALE_MS)).content,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr


# ---------------------------------------------------------------- what is named, exists


def test_every_metric_that_is_named_is_told():
    told = {f"tickpath_node_{key[0]}" for said in (ACTIVE, STANDBY) for key in metrics(said)}
    seen = set()
    for path in FILES:
        named = set(re.findall(r"\btickpath_node_[a-z_]+", path.read_text()))
        assert named <= told, path
        seen |= named
    # And nothing that is told goes unseen.
    assert told - seen <= {"tickpath_node_beats_heard_total", "tickpath_node_follower_ready"} | {
        "tickpath_node_input_number"
    }


def test_every_event_that_is_named_is_counted_somewhere():
    sources = "".join(path.read_text() for path in (ROOT / "pipeline").rglob("*.py"))
    for found in re.findall(r'event=~?\\?"([a-z_|]+)\\?"', text("prometheus/tickpath.rules.yml")):
        for event in found.split("|"):
            plain = re.sub("^(nodes|operators|notify)_", "", event)
            assert f'"{plain}"' in sources or f'"{event}"' in sources, event
    for found in re.findall(r'event=~?\\"([a-z_|]+)\\"', text("grafana/tickpath.json")):
        for event in found.split("|"):
            assert re.search(rf"^    {event.upper()} = ", sources, re.MULTILINE), event


def commands() -> list[str]:
    """Every command line of ours in deploy/."""
    found = []
    for path in FILES:
        for line in path.read_text().splitlines():
            if exec_form := re.search(r'command: \["tickpath", (.*)\]', line):
                words = json.loads(f"[{exec_form[1]}]")
                found.append(shlex.join(words))
            elif match := re.search(
                r"(?:^|[\s\"=/])tickpath ((?:node|witness|gateway|mirror|cluster) [a-z-][^\";,]*)",
                line,
            ):
                found.append(match[1].partition("  ")[0])
    return found


def test_every_command_that_is_named_is_one():
    lines = commands()
    assert len(lines) > 8, lines
    for line in lines:
        command, words = main, shlex.split(line)
        while isinstance(command, click.Group):
            name = words.pop(0)
            found = command.get_command(click.Context(command), name)
            assert found is not None, line
            command = found
        upper = [each for each in words if not each.isupper()]  # NAME, FILE: for people to fill in
        if upper == words and words and words[0].startswith("-"):
            command.make_context(line, list(words))  # raises where an option is none


def toml_of_the_config_map() -> str:
    block = text("kubernetes/node-a.yaml").partition("  node.toml: |\n")[2].partition("\n---")[0]
    return textwrap.dedent(block)


def test_every_configuration_is_accepted(tmp_path):
    load_gateway(DEPLOY / "tickpath/gateway.toml")
    (tmp_path / "node.toml").write_text(toml_of_the_config_map())
    for path in (DEPLOY / "tickpath/node-a.toml", tmp_path / "node.toml"):
        node = node_config.load(path).node
        module, _, name = STORES[node.lease].partition(":")
        store = getattr(import_module(module), name)
        msgspec.convert(node.lease_settings, store.Settings)
        assert node.keys is not None and node.peers["b"].public_key is not None


def test_paths_words_and_ports_are_the_nodes():
    for path in re.findall(r"httpGet: {path: ([^,]+), port", text("kubernetes/node-a.yaml")):
        assert path in PATHS
    haproxy = text("haproxy/haproxy.cfg")
    assert {each.split()[0] for each in re.findall(r'send "([^"\\]+)', haproxy)} <= set(WORDS)
    node = node_config.load(DEPLOY / "tickpath/node-a.toml").node
    check, http = (each.rpartition(":")[2] for each in (node.check, node.http))
    assert haproxy.count(check) == 2 and f"10.0.0.1:{http}" in haproxy
    assert f"127.0.0.1:{check}" in text("keepalived/keepalived.conf")
    assert f"10.0.0.1:{http}" in text("prometheus/prometheus.yml")


def test_the_dashboard_is_whole():
    board = json.loads(text("grafana/tickpath.json"))
    places = [tuple(each["gridPos"].values()) for each in board["panels"]]
    assert len(set(places)) == len(places) == len({each["id"] for each in board["panels"]})
    for panel in board["panels"]:
        assert panel["title"] and all(each["expr"] for each in panel["targets"])


# ---------------------------------------------------------------- a balancer that runs


def servers_of(stats: Path) -> dict[str, str]:
    """The state of each server by HAProxy's own word."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(stats))
        sock.sendall(b"show stat\n")
        raw = b""
        while chunk := sock.recv(1 << 16):
            raw += chunk
    rows = [line.split(",") for line in raw.decode().splitlines() if line]
    names = rows[0]
    return {
        f"{row[0]}/{row[1]}": row[names.index("status")].split()[0]
        for row in rows[1:]
        if row[1] in "ab"
    }


def test_haproxy_has_the_active_up_and_no_other(tmp_path):
    """The file as it is, with ports of this machine: a is active, b stands by; then b is active."""
    haproxy = program("haproxy", "haproxy")
    said = {"a": ACTIVE, "b": STANDBY}
    checks = {name: free_port() for name in "ab"}
    pages = {name: free_port() for name in "ab"}
    nodes = [
        HealthServer(
            f"127.0.0.1:{pages[name]}",
            f"127.0.0.1:{checks[name]}",
            STALE_MS,
            lambda name=name: said[name],
            lambda: NOW,
        )
        for name in "ab"
    ]
    lines = text("haproxy/haproxy.cfg")
    for name, host in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
        # agent-port and the port of tcp-check are the same on all hosts there; here they differ.
        lines = lines.replace(
            f"server {name} {host}:9100", f"server {name} 127.0.0.1:9100 CHECK{name}"
        )
        lines = lines.replace(f"{host}:7611", f"127.0.0.1:{pages[name]}")
    out = []
    for line in lines.splitlines():
        line = line.replace("agent-port 7621 ", "").replace("connect port 7621", "connect")
        for name in "ab":
            by_ping = any("tcp-check" in each for each in out[-8:])
            port = f"port {checks[name]}" if by_ping else f"agent-port {checks[name]}"
            line = line.replace(f"CHECK{name}", port)
        out.append(re.sub(r"bind :\d+", f"bind 127.0.0.1:{free_port()}", line))
    stats = tmp_path / "stats"
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        "\n".join(out).replace("global\n", f"global\n    stats socket {stats}\n") + "\n"
    )
    process = subprocess.Popen([haproxy, "-db", "-f", str(path)], stdout=subprocess.DEVNULL)
    try:
        for active, standby in ("ab", "ba"):
            wanted = {
                f"beside-the-active/{active}": "UP",
                f"beside-the-active/{standby}": "DOWN",
                f"beside-the-active-by-ping/{active}": "UP",
                f"beside-the-active-by-ping/{standby}": "DOWN",
                "pages/a": "UP",
                "pages/b": "UP",
            }
            end = time.monotonic() + 30
            found: dict[str, str] = {}
            while found != wanted:
                assert time.monotonic() < end and process.poll() is None, found
                time.sleep(0.05)
                with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                    found = servers_of(stats)  # it may not listen yet
                    found = {
                        key: "UP" if value in ("UP", "no") else value
                        for key, value in found.items()
                    }
            said["a"], said["b"] = said["b"], said["a"]
    finally:
        process.kill()
        process.wait()
        for node in nodes:
            node.close()


@needs_wire
def test_keepalived_gives_the_address_to_the_actives_host(tmp_path):
    """Two hosts on a wire, the file as it is but for names: the address is where the active is."""
    keepalived = program("keepalived", "keepalived")
    said = {"a": ACTIVE, "b": STANDBY}
    script = tmp_path / "check"
    script.write_text(
        f"#!/bin/sh\nPYTHONPATH={os.environ.get('PYTHONPATH', '')} exec {sys.executable} -m "
        "tickpath.cli cluster check --role active --address 127.0.0.1:7621 --timeout 3\n"
    )
    script.chmod(0o755)
    lines = text("keepalived/keepalived.conf")
    # Files of tests lie where others may write, which keepalived does not run as root.
    lines = lines.replace("    enable_script_security\n", "")
    lines = lines.replace("script_user tickpath", "script_user root")
    # Python needs a while to start on a machine that tests keep busy.
    lines = lines.replace("    timeout 1\n", "    timeout 5\n")
    lines = re.sub(r'script ".*"', f'script "{script}"', lines)
    processes, nodes = [], []
    with wire() as hosts:
        places = {
            "a": (hosts.far, "far0", hosts.FAR, hosts.NEAR),
            "b": (hosts.near, "near0", hosts.NEAR, hosts.FAR),
        }
        try:
            for name, (namespace, interface, mine, other) in places.items():
                own = lines.replace("eth0", interface).replace("10.0.0.100/24", f"{VIRTUAL}/24")
                own = own.replace("10.0.0.2", other).replace("10.0.0.1\n", f"{mine}\n")
                file = tmp_path / f"{name}.conf"
                file.write_text(own)
                with inside(namespace):
                    server = HealthServer(
                        None, "127.0.0.1:7621", STALE_MS, lambda n=name: said[n], lambda: NOW
                    )
                nodes.append(server)
                pids = [f"--{each}={tmp_path}/{name}.{each}" for each in ("pid", "vrrp_pid")]
                words = ["ip", "netns", "exec", namespace, keepalived, "-n", "-P", "-f", str(file)]
                processes.append(
                    subprocess.Popen([*words, *pids], stdout=subprocess.DEVNULL, stderr=None)
                )

            def holders() -> list[str]:
                """Who has the address."""
                return [
                    name
                    for name, (namespace, interface, *_) in places.items()
                    if f" {VIRTUAL}/24 " in ip("-n", namespace, "addr", "show", "dev", interface)
                ]

            for active in "aba":
                end = time.monotonic() + 60
                while holders() != [active]:
                    assert time.monotonic() < end, f"{active} is active, {holders()} have it"
                    assert all(each.poll() is None for each in processes)
                    time.sleep(0.05)
                said["a"], said["b"] = said["b"], said["a"]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(20)
            for node in nodes:
                node.close()
