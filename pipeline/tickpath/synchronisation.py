"""How the system clock is kept right: the kernel's own account, chrony's and ptp4l's.

Receive times of two machines, or of a card and the kernel, can be compared only as far as their
clocks agree.  The kernel knows whether anything disciplines its clock and how far off it may be
(adjtimex); what does, and how well, is asked of `chronyc` and `pmc` where they are installed.
Nobody's name or address is read.
"""

import ctypes
import shutil
import subprocess
from typing import Any

TIMEOUT_S = 1.0
_UNSYNCHRONISED, _NANOSECONDS = 0x0040, 0x2000
_PPM = 65_536
"""The kernel's frequencies are in this part of a millionth."""
_LEAP_STATE = {0: "ok", 1: "insert", 2: "delete", 3: "in progress", 4: "waiting", 5: "error"}


class _Timex(ctypes.Structure):
    """``struct timex`` of ``linux/timex.h``, up to what is read here, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maximum_error", ctypes.c_long),
        ("estimated_error", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def synchronisation() -> dict[str, Any]:
    """``kernel``, ``chrony`` and ``ptp``: each None where it is not there, or what it says."""
    return {"kernel": kernel(), "chrony": chrony(), "ptp": ptp()}


def kernel() -> dict[str, Any] | None:
    """Whether the clock is disciplined; offset in ns, frequency in ppm, errors in us."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError):
        return None
    timex = _Timex()  # modes 0: nothing is changed
    state = adjtimex(ctypes.byref(timex))
    if state < 0:
        return None
    unit_ns = 1 if timex.status & _NANOSECONDS else 1000
    return {
        "synchronised": not timex.status & _UNSYNCHRONISED,
        "leap": _LEAP_STATE.get(state, str(state)),
        "offset_ns": timex.offset * unit_ns,
        "frequency_ppm": round(timex.frequency / _PPM, 6),
        "maximum_error_us": timex.maximum_error,
        "estimated_error_us": timex.estimated_error,
    }


def chrony() -> dict[str, Any] | None:
    """Stratum, and offsets in ns, of ``chronyc tracking``."""
    words = _said("chronyc", "-c", "tracking").strip().split(",")
    try:
        return {
            "stratum": int(words[2]),
            "offset_ns": round(float(words[4]) * 1e9),
            "rms_offset_ns": round(float(words[6]) * 1e9),
            "leap": words[13],
        }
    except (IndexError, ValueError):
        return None


def ptp() -> dict[str, Any] | None:
    """Offset from the master in ns, and path, of ptp4l on this machine, by ``pmc``."""
    said = _said("pmc", "-u", "-b", "0", "GET CURRENT_DATA_SET", "GET PORT_DATA_SET")
    found: dict[str, str] = {}
    for line in said.splitlines():
        words = line.split()
        if len(words) == 2:
            found.setdefault(*words)
    try:
        return {
            "offset_ns": round(float(found["offsetFromMaster"])),
            "mean_path_delay_ns": round(float(found["meanPathDelay"])),
            "steps_removed": int(found["stepsRemoved"]),
            "port_state": found.get("portState"),
        }
    except (KeyError, ValueError):
        return None


def _said(program: str, *arguments: str) -> str:
    """What a program prints; nothing where it is not there, fails, or takes too long."""
    path = shutil.which(program)
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""
