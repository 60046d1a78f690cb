"""The files of a pair on one host, from the configuration that trades alone: for rehearsals.

    tickpath exchange --session DAY1 --trade-config trade.toml
    tickpath node --write-pair trade.toml        # gateway.toml, node-a.toml, node-b.toml

Addresses are this host's loopback, one witness, rings in /dev/shm.  The text of the trading file is
kept as it is; what a node has besides stands behind it.
"""

from pathlib import Path

from tickpath.config import ConfigError
from tickpath.trade.config import Trade, TradeConfig, decoded

MARK = "# Written by `tickpath node --write-pair`: written anew by it.\n"
WITNESS, GATEWAY = "127.0.0.1:7401", "127.0.0.1:26500"
LISTENS = {"a": "127.0.0.1:7601", "b": "127.0.0.1:7602"}
HTTP = {"a": "127.0.0.1:7611", "b": "127.0.0.1:7612"}

_GATEWAY = """{mark}[gateway]
listen = "{gateway}"
orders = "{orders}"
protocol = "{protocol}"
directory = "{directory}-gateway"
"""
_NODE = """
[node]
name = "{name}"
ring = "/dev/shm/tickpath-{name}"
listen = "{listen}"
http = "{http}"
gateway = "{gateway}"
directory = "{directory}-node-{name}"

[node.lease_settings]
addresses = ["{witness}"]

[node.peers.{other}]
ring = "/dev/shm/tickpath-{other}"
address = "{other_listen}"
control = "{directory}-node-{other}/control"
"""


def _write(path: Path, text: str) -> None:
    try:
        if path.exists() and not path.read_text(errors="replace").startswith(MARK):
            raise ConfigError(f"{path}: was not written by --write-pair; move it away")
        path.write_text(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def write_pair(path: str | Path) -> list[str]:
    """Write the three files beside the trading file; gives the commands that run the pair.

    Raises `ConfigError`.
    """
    source = Path(path)
    config = decoded(source, TradeConfig)
    text, trade = source.read_text(), config.trade
    if "\n[node" in text:
        raise ConfigError(f"{source}: it is a node's already")
    directory = trade.directory if trade.directory != Trade().directory else "tickpath"
    _write(
        source.with_name("gateway.toml"),
        _GATEWAY.format(
            mark=MARK,
            gateway=GATEWAY,
            orders=trade.orders,
            protocol=config.orders.protocol,
            directory=directory,
        ),
    )
    for name, other in (("a", "b"), ("b", "a")):
        node = _NODE.format(
            name=name,
            other=other,
            listen=LISTENS[name],
            other_listen=LISTENS[other],
            http=HTTP[name],
            gateway=GATEWAY,
            witness=WITNESS,
            directory=directory,
        )
        _write(source.with_name(f"node-{name}.toml"), MARK + text + node)
    return [
        f"tickpath witness --listen {WITNESS} --state {directory}-witness.state --new",
        f"tickpath gateway --config {source.with_name('gateway.toml')}",
        *(f"tickpath node --config {source.with_name(f'node-{name}.toml')}" for name in "ab"),
    ]
