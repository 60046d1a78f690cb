"""Where the hardware's sources are: the folder hdl/ of a checkout, beside backends/.

They are not part of an installed wheel; what needs them says so in one line.
"""

import os
from pathlib import Path

from tickpath_backends.hdl.error import HdlError

VARIABLE = "TICKPATH_HDL"


def root() -> Path:
    """The folder hdl/, or that which ``TICKPATH_HDL`` names.  Raises `HdlError`."""
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else Path(__file__).resolve().parents[3] / "hdl"
    if not (path / "dslx").is_dir():
        raise HdlError(f"{path}: no hardware sources there; set {VARIABLE} to a checkout's hdl/")
    return path
