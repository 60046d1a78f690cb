"""The lease store of a group: the programs that keep it, and what nodes are told of it.

    witness    ours, one or an odd number, each on a host of its own; UDP
    etcd       one, or a cluster of an odd number; HTTP
    redis      one, which appends every write to its file before it answers

What is killed comes back with what it had on disk.
"""

import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tickpath.chaos.processes import TICKPATH

Store = Literal["witness", "etcd", "redis"]
PROGRAMS = {"etcd": "etcd", "redis": "redis-server"}
_PACKAGES = {"etcd": "etcd-server", "redis": "redis-server"}
_CLIENT_PORTS = {"witness": 7401, "etcd": 2379, "redis": 6379}
PEER_PORT = 2380
"""Where members of an etcd cluster hear each other."""


def why_not(store: Store, count: int = 1) -> str | None:
    """Why a store cannot be had here; None: it can."""
    program = PROGRAMS.get(store)
    if program is not None and shutil.which(program) is None:
        return f"{program} is not installed; run: apt-get install {_PACKAGES[store]}"
    if store == "redis" and count > 1:
        return "redis is one server: there is no majority of them"
    return None


def port(store: Store) -> int:
    """Where its clients find it, on a host of its own."""
    return _CLIENT_PORTS[store]


def kind(store: Store) -> int:
    """Of the sockets that its clients use."""
    return socket.SOCK_DGRAM if store == "witness" else socket.SOCK_STREAM


def lease(store: Store, seen: list[str], timeout_ms: int) -> dict[str, Any]:
    """``lease`` and ``lease_settings`` of a node that finds the servers at ``seen``."""
    if store == "witness":
        where: dict[str, Any] = {"addresses": seen}
    elif store == "etcd":
        where = {"urls": [f"http://{each}" for each in seen]}
    else:
        where = {"address": seen[0]}
    return {"lease": store, "lease_settings": {**where, "timeout_ms": timeout_ms}}


def command(
    store: Store,
    name: str,
    at: Mapping[str, str],
    peers: Mapping[str, str],
    directory: Path,
    max_ttl_ms: int,
    is_new: bool,
) -> list[str]:
    """The command line that runs a server; ``at`` and ``peers`` have the addresses of all."""
    if store == "witness":
        others = [each for other, each in at.items() if other != name]
        words = [*TICKPATH, "witness", "--listen", at[name], "--state", f"{name}.state"]
        words += ["--others", ",".join(others)] if others else []
        return [*words, "--max-ttl-ms", str(max_ttl_ms), *(["--new"] if is_new else [])]
    files = str(directory / name)
    if store == "redis":
        host, _, number = at[name].rpartition(":")
        Path(files).mkdir(exist_ok=True)
        words = [PROGRAMS[store], "--bind", host, "--port", number, "--dir", files, "--save", ""]
        return [*words, "--appendonly", "yes", "--appendfsync", "always"]
    client, peer = f"http://{at[name]}", f"http://{peers[name]}"
    cluster = ",".join(f"{each}=http://{address}" for each, address in peers.items())
    return [
        *(PROGRAMS[store], "--name", name, "--data-dir", files, "--log-level", "error"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", cluster),
    ]
