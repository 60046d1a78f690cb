"""What tests of DSLX as native code share: packets lent to it, and sources that may be changed."""

import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from tickpath.packet import PACKET
from tickpath_backends.hdl import tree, xls


def lent(chunks, link):
    """Packets (link type of all, or of each) and what they are in."""
    memory = [np.frombuffer(each, np.uint8).copy() for each in chunks]
    packets = np.zeros(len(memory), PACKET)
    packets["address"] = [each.ctypes.data for each in memory]
    packets["length"] = [len(each) for each in memory]
    packets["wire_length"] = packets["length"]
    packets["link"] = link
    return packets, memory


@contextmanager
def changed(place):
    """Copies of the sources in ``place``, to be changed and used; behind it the right ones are."""
    for name in ("dslx", "gen"):
        shutil.copytree(tree.root() / name, place / name)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(tree.VARIABLE, str(place))
        _forget()
        yield place
    _forget()


def _forget():
    """Nothing that was made of the sources is used again."""
    from tickpath_backends.hdl import aot  # where xls-python is not, there is nothing to import

    xls.forget()
    aot.native.cache_clear()
