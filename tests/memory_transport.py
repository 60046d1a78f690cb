"""A live transport without a wire: C functions, made by Numba, that lend packets from memory."""

import numpy as np
from numba import carray, cfunc, types

from tickpath.backend import Native
from tickpath.memory import copy_bytes
from tickpath.packet import PACKET

PACKETS, NUMBER, AT, LENT, MISUSE, ORDERS, USED, SENDS = range(8)
"""Words of a transport's state."""
ROOM = 1 << 20
_SIZE = np.uint64(PACKET.itemsize)


@cfunc(types.uint64(types.CPointer(types.uint64), types.uint64, types.uint64))
def _poll(raw, out, most):
    state = carray(raw, 8)
    if state[LENT] != 0:
        state[MISUSE] += np.uint64(1)
    number = min(most, state[NUMBER] - state[AT])
    copy_bytes(out, state[PACKETS] + state[AT] * _SIZE, number * _SIZE)
    state[AT] += number
    state[LENT] = number
    return number


@cfunc(types.void(types.CPointer(types.uint64)))
def _release(raw):
    state = carray(raw, 8)
    if state[LENT] == 0:
        state[MISUSE] += np.uint64(1)
    state[LENT] = np.uint64(0)


@cfunc(types.uint64(types.CPointer(types.uint64), types.uint64, types.uint64))
def _send(raw, messages, length):
    state = carray(raw, 8)
    copy_bytes(state[ORDERS] + state[USED], messages, length)
    state[USED] += length
    state[SENDS] += np.uint64(1)
    return np.uint64(1)


class MemoryTransport:
    """Lends an array of packets, once."""

    is_live = True

    def __init__(self, packets: np.ndarray) -> None:
        self.packets = np.ascontiguousarray(packets)
        self._orders = np.zeros(ROOM, np.uint8)
        self.state = np.zeros(8, np.uint64)
        self.state[PACKETS], self.state[NUMBER] = self.packets.ctypes.data, len(packets)
        self.state[ORDERS] = self._orders.ctypes.data

    @property
    def native(self) -> Native:
        functions = (each.address for each in (_poll, _release, _send))
        return Native(self.state.ctypes.data, *functions)

    def send(self, messages: memoryview) -> None:
        used = int(self.state[USED])
        self._orders[used : used + len(messages)] = np.frombuffer(messages, np.uint8)
        self.state[USED] += np.uint64(len(messages))

    def release(self) -> None:
        self.state[LENT] = 0

    @property
    def orders(self) -> bytes:
        """What was sent."""
        return self._orders[: int(self.state[USED])].tobytes()

    @property
    def is_empty(self) -> bool:
        return bool(self.state[AT] == self.state[NUMBER])
