"""What the nodes of a group must have in common: digests of build, configuration, strategy, layout.

The gateway welcomes only nodes that have what the first one had, and says which of the four is
another's.  Where a node's neighbours are and what they are called decides no outcome and may differ
(`Config.digest`); a strategy is its name and the code of its file.
"""

import hashlib
from pathlib import Path

import tickpath
from tickpath import layout
from tickpath.engine import Engine
from tickpath.failover.gateway_client import Group
from tickpath.replica.journal_recover import strategy_text
from tickpath.trade.config import TradeConfig

ROOT = Path(tickpath.__file__).parent
DIGEST_BYTES = 16


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
    dtypes = [
        repr(each.descr).encode()
        for name, each in sorted(vars(layout).items())
        if name.isupper() and hasattr(each, "descr")
    ]
    name = "" if engine.strategy is None else str(engine.strategy.name or "")
    return Group(
        build=build_digest(),
        configuration=_digest(config.digest().encode()),
        strategy=_digest(strategy_text(name).encode()),
        layout=_digest(*dtypes),
    )
