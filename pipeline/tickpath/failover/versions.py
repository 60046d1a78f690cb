"""What the nodes of a group must have in common: digests of build, configuration, strategy, layout.

The gateway welcomes only nodes that have what the first one had, and says which of the four is
another's.
"""

import hashlib
from pathlib import Path

import msgspec

import tickpath
from tickpath import layout
from tickpath.engine import Engine
from tickpath.failover.gateway_client import Group
from tickpath.trade.config import TradeConfig

ROOT = Path(tickpath.__file__).parent
DIGEST_BYTES = 16
OWN = ("node", "trade", "transport")
"""Tables that say where a node's neighbours are: they decide no outcome and may differ."""


def _digest(*parts: bytes) -> bytes:
    hashed = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for each in parts:
        hashed.update(len(each).to_bytes(8, "little") + each)
    return hashed.digest()


def build_digest() -> bytes:
    """Of all sources of the package."""
    parts: list[bytes] = []
    for each in sorted(ROOT.rglob("*.py")):
        parts += [each.relative_to(ROOT).as_posix().encode(), each.read_bytes()]
    return _digest(*parts)


def group_of(config: TradeConfig, engine: Engine) -> Group:
    """The four digests of a node."""
    tables = {
        name: value for name, value in msgspec.structs.asdict(config).items() if name not in OWN
    }
    dtypes = [
        repr(each.descr).encode()
        for name, each in sorted(vars(layout).items())
        if name.isupper() and hasattr(each, "descr")
    ]
    strategy = engine.strategy.name or "" if engine.strategy is not None else ""
    return Group(
        build=build_digest(),
        configuration=_digest(msgspec.json.encode(tables, order="deterministic")),
        strategy=_digest(strategy.encode()),
        layout=_digest(*dtypes),
    )
