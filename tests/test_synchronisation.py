"""Clock synchronisation: the kernel's account, and made-up answers of chronyc and pmc."""

import json
import stat

import pytest

from tickpath import synchronisation as module
from tickpath.synchronisation import chrony, kernel, ptp, synchronisation

TRACKING = (
    "0A620001,10.98.0.1,3,1795296000.123456789,-0.000001234,0.000000456,0.000002500,"
    "-12.345,0.001,0.020,0.000300000,0.000100000,64.2,Normal\n"
)
CURRENT = """sending: GET CURRENT_DATA_SET
\t001122.fffe.334455-0 seq 0 RESPONSE MANAGEMENT CURRENT_DATA_SET
\t\tstepsRemoved     1
\t\toffsetFromMaster -17.0
\t\tmeanPathDelay    1234.5
sending: GET PORT_DATA_SET
\t001122.fffe.334455-1 seq 1 RESPONSE MANAGEMENT PORT_DATA_SET
\t\tportIdentity            001122.fffe.334455-1
\t\tportState               SLAVE
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a program of a name on the path that prints a text."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def build(name: str, text: str, before: str = "") -> None:
        path = tmp_path / name
        (tmp_path / f"{name}.txt").write_text(text)
        path.write_text(f"#!/bin/sh\n{before}\nexec /bin/cat {tmp_path}/{name}.txt\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return build


def test_this_machine():
    found = synchronisation()
    assert list(found) == ["kernel", "chrony", "ptp"]
    assert json.dumps(found)
    assert isinstance(found["kernel"]["synchronised"], bool)
    assert found["kernel"]["maximum_error_us"] >= 0
    assert found["kernel"]["synchronised"] == (found["kernel"]["leap"] != "error")


def test_the_kernels_units(monkeypatch):
    """A made-up adjtimex: nanoseconds by one bit of the status, microseconds without it."""

    class Library:
        def __init__(self, status):
            self.status = status

        def adjtimex(self, pointer):
            timex = pointer._obj
            assert timex.modes == 0, "nothing is changed"
            timex.offset, timex.frequency, timex.status = -1500, -3 * 65_536 // 2, self.status
            timex.maximum_error, timex.estimated_error = 77, 5
            return 0

    for status, offset_ns, synchronised in ((0x2000, -1500, True), (0x40, -1_500_000, False)):
        monkeypatch.setattr(module.ctypes, "CDLL", lambda *_, s=status, **__: Library(s))
        assert kernel() == {
            "synchronised": synchronised,
            "leap": "ok",
            "offset_ns": offset_ns,
            "frequency_ppm": -1.5,
            "maximum_error_us": 77,
            "estimated_error_us": 5,
        }
    monkeypatch.setattr(module.ctypes, "CDLL", lambda *_, **__: object())
    assert kernel() is None, "a library without it"


def test_chrony(program):
    assert chrony() is None
    program("chronyc", TRACKING)
    expected = {"stratum": 3, "offset_ns": -1234, "rms_offset_ns": 2500, "leap": "Normal"}
    assert chrony() == expected


def test_ptp(program):
    assert ptp() is None
    program("pmc", CURRENT)
    assert ptp() == {
        "offset_ns": -17,
        "mean_path_delay_ns": 1234,
        "steps_removed": 1,
        "port_state": "SLAVE",
    }


@pytest.mark.parametrize("text", ["", "506 Cannot talk to daemon\n", "a,b,c,d,e,f,g", "\0\xff,,,,"])
def test_nonsense_is_not_known(program, text):
    program("chronyc", text)
    program("pmc", text)
    assert chrony() is None and ptp() is None


def test_programs_that_fail_or_hang(program, monkeypatch):
    program("chronyc", TRACKING, before="/bin/cat /dev/null; exit 1")
    assert chrony() is None
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)
    program("pmc", CURRENT, before="exec /bin/sleep 60")
    assert ptp() is None
