"""C headers written from Python's tables, so that no offset is typed twice.

``native/packet.h`` is `tickpath.packet.PACKET` and its link types, ``native/frame.h`` the offsets
of `tickpath.wire.frame`.  Both are checked in, because a build must not need what it builds; a test
compares them with what this module gives.  ``python -m tickpath_backends.headers`` writes them.
"""

from collections.abc import Iterator
from pathlib import Path

from tickpath import packet
from tickpath.wire import frame

NATIVE = Path(__file__).resolve().parents[2] / "native"
_NOTICE = "/* Written by python -m tickpath_backends.headers from {table}; not edited by hand. */\n"
_C_TYPES = {2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}


def packet_header() -> str:
    """``packet.h``: the record that transports fill, and the link types."""
    return _header("packet", "tickpath.packet", _packet_lines())


def frame_header() -> str:
    """``frame.h``: ``<HEADER>_SIZE`` and ``<HEADER>_<FIELD>_OFFSET`` of every header, codes."""
    return _header("frame", "tickpath.wire.frame", _frame_lines())


def _header(name: str, table: str, lines: Iterator[str]) -> str:
    guard = f"TICKPATH_{name.upper()}_H"
    body = "\n".join(lines)
    notice = _NOTICE.format(table=table)
    return f"{notice}#ifndef {guard}\n#define {guard}\n\n{body}\n\n#endif\n"


def _packet_lines() -> Iterator[str]:
    yield from ("#include <stdint.h>", "", "struct packet {")
    for name in packet.PACKET.names or ():
        yield f"    {_C_TYPES[packet.PACKET[name].itemsize]} {name};"
    yield from ("};", "")
    for name, value in vars(packet).items():
        if name.startswith("LINK_"):
            yield f"#define {name} {value}"


def _frame_lines() -> Iterator[str]:
    for message in frame.FRAME.messages:
        prefix = message.name.upper()
        yield f"#define {prefix}_SIZE {message.length}"
        for field in message.fields:
            yield f"#define {prefix}_{field.name.upper()}_OFFSET {field.offset}"
        yield ""
    for name, value in vars(frame).items():
        if isinstance(value, int):
            yield f"#define {name} 0x{value:04X}"


HEADERS = {"packet.h": packet_header, "frame.h": frame_header}


def main() -> None:
    """Write the headers into ``native/``."""
    for name, text in HEADERS.items():
        (NATIVE / name).write_text(text())


if __name__ == "__main__":
    main()
