"""Wire fields whose byte order is known only at run time: one load and one store for both.

``record = either_order(PCAP, "packet_record")`` gives ``record.ts_seconds(address, big)`` and
``record.set_ts_seconds(address, value, big)``; the branch is the same for a whole file, so it costs
next to nothing.
"""

import types as python_types
from collections.abc import Mapping

from tickpath.jit import leaf
from tickpath.wire import hot
from tickpath.wire.table import Protocol


def _load(little, big):
    @leaf
    def load(address, is_big):
        return big(address) if is_big else little(address)

    return load


def _store(little, big):
    @leaf
    def store(address, value, is_big):
        if is_big:
            big(address, value)
        else:
            little(address, value)

    return store


def either_order(protocols: Mapping[str, Protocol], name: str) -> python_types.ModuleType:
    """Loads, stores and ``LENGTH`` of a message that ``protocols`` has in both byte orders."""
    little, big = (hot.message(protocols[order][name]) for order in ("little", "big"))
    space = python_types.ModuleType(name)
    space.LENGTH = little.LENGTH  # type: ignore[attr-defined]
    for each in protocols["little"][name].fields:
        setter = "set_" + each.name
        setattr(space, each.name, _load(getattr(little, each.name), getattr(big, each.name)))
        setattr(space, setter, _store(getattr(little, setter), getattr(big, setter)))
    return space
