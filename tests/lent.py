"""What a live transport lent, as plain values, so that tests can compare whole lists."""

import ctypes

import numpy as np

from namespaces import until
from tickpath.wire.frame import FRAME

HEADERS = FRAME["ethernet"].length + FRAME["ipv4"].length + FRAME["udp"].length


def raw(packet: np.void) -> bytes:
    """The bytes of one lent packet, read where they lie."""
    return ctypes.string_at(int(packet["address"]), int(packet["length"]))


def payloads(packets: np.ndarray, headers: int = 0) -> list[bytes]:
    """Of each lent packet, what stands behind its headers."""
    return [raw(packet)[headers:] for packet in packets]


def take(transport, number: int, headers: int = 0, most: int = 64) -> list[bytes]:
    """Payloads of ``number`` packets, which must come; each poll is released at once."""
    found: list[bytes] = []

    def polled() -> bool:
        found.extend(payloads(transport.poll(most), headers))
        transport.release()
        return len(found) >= number

    until(polled, f"{number} packets, {len(found)} came")
    assert len(found) == number
    return found
