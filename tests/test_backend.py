"""Backends by name: pairs of a transport and an executor, one's own among them."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tickpath
from sessions import PLAN, refused, replay, same, session
from tickpath import Config, backend
from tickpath.backend import RUN, BackendError, Executor, find, known
from tickpath.packet import PACKET
from tickpath_backends.file import FileTransport
from tickpath_backends.software import SoftwareExecutor


class Hesitant(FileTransport):
    """A transport of somebody else's, which lends in small portions and with pauses."""

    def __init__(self, paths) -> None:
        super().__init__(paths)
        self._turn = 0

    def poll(self, most: int = 4096) -> np.ndarray:
        self._turn += 1
        return np.zeros(0, PACKET) if self._turn % 3 else super().poll(min(most, 100))


class Careful(SoftwareExecutor):
    """An executor of somebody else's, which takes one packet at a time."""

    def run(self, packets: np.ndarray, first: int) -> int:
        return super().run(packets[: first + 1], first) if first < len(packets) else first


class Unable(FileTransport):
    @staticmethod
    def why_not() -> str:
        return "no card" + RUN + "modprobe card"


def _fails():
    raise ImportError("no libcard.so")


@pytest.fixture
def others(monkeypatch):
    """Entry points beside those that are installed."""
    real = backend.available
    added = {
        "transports": {
            "slow": SimpleNamespace(value="x:Slow", load=lambda: Hesitant),
            "unable": SimpleNamespace(value="x:Unable", load=lambda: Unable),
            "broken": SimpleNamespace(value="x:Broken", load=_fails),
        },
        "executors": {"careful": SimpleNamespace(value="x:Careful", load=lambda: Careful)},
    }
    monkeypatch.setattr(backend, "available", lambda kind: real(kind) | added[kind])


def test_software_is_the_reference_pair():
    found = find("software")
    assert (found.name, found.transport, found.executor) == (
        *("software", FileTransport, SoftwareExecutor),
    )
    assert "software" in known() and "file" not in known()


def test_a_transports_name_means_the_software_executor(others):
    found = find("slow")
    assert (found.transport, found.executor) == (Hesitant, SoftwareExecutor)


def test_an_executors_name_means_the_file_transport(others):
    found = find("careful")
    assert (found.transport, found.executor) == (FileTransport, Careful)


@pytest.mark.parametrize("name", ["", "Software", "fpga"])
def test_an_unknown_name_is_refused_with_those_that_are_known(name):
    with pytest.raises(BackendError, match=rf"{name!r}; known here: .*software"):
        find(name)


def test_what_cannot_run_says_why_and_what_mends_it(others):
    with pytest.raises(BackendError, match="cannot run here: no card; run: modprobe card"):
        find("unable")
    with pytest.raises(BackendError, match="x:Broken cannot be loaded: ImportError: no libcard"):
        find("broken")
    assert "modprobe card" in refused("replay", session(), "--backend", "unable")
    assert "no libcard.so" in refused("replay", session(), "--backend", "broken")


def test_without_any_backend_installed(monkeypatch):
    monkeypatch.setattr(backend, "available", lambda kind: {})
    with pytest.raises(BackendError, match="pip install -e"):
        find("software")


@pytest.mark.parametrize("name", ["slow", "careful"])
def test_somebody_elses_backend_replays_to_the_same_state(others, name):
    strategy = ("--strategy", "tickpath.samples:imbalance_taker")
    results = [
        replay(session(), *strategy),
        replay(session(), *strategy, "--backend", name),
    ]
    assert results[1]["backend"] == name
    same(results, "messages", "packets", "book_digest", "state_digest", "orders")
    limited = replay(session(), "--limit", 999, "--backend", name)
    assert limited["messages"] == 999 < PLAN.messages


def test_the_software_executor_has_all_that_an_executor_has():
    executor = SoftwareExecutor(Config())
    members = {name for name in vars(Executor) if not name.startswith("_")}
    members |= set(Executor.__annotations__)
    assert members == {"engine", "why_not", "run"}
    assert all(hasattr(executor, name) for name in members)
    assert SoftwareExecutor.why_not() is None
    assert executor.run(np.zeros(0, PACKET), 0) == 0


def test_the_package_knows_no_backend_by_import():
    """`tickpath` finds backends through entry points, so that anyone can add theirs."""
    files = list(Path(tickpath.__file__).parent.rglob("*.py"))
    assert len(files) > 50
    named = re.compile(r"^\s*(from|import)\s+tickpath_backends", re.MULTILINE)
    assert not [str(path) for path in files if named.search(path.read_text())]
