"""The configuration of a wire-to-wire run: what a user asks for, with what the bench decides.

The bench decides how orders leave, as it measures both ways; which groups there are, as it makes
the session; and what is not said: the strategy, and DPDK's device.  Everything else is the user's:
limits, capacities, the order protocol, buffers, modes, queues, cores.
"""

import msgspec

from tickpath.bench.own import strategy_config
from tickpath.config import Config, Dpdk, Feed, Transport

ORDERS_TO = "198.18.0.2:31000"
"""Of which the wire keeps the port."""
DEVICE = "--vdev=net_af_xdp0,iface=any,busy_budget=0"
"""What DPDK has of a veth pair: AF_XDP, without the busy polling that only cards profit from."""
TCP_DEVICE = "--vdev=net_af_packet0,iface=any,framecnt=4096"
"""The same beside a TCP connection: what `DEVICE` takes of an interface, the kernel never sees.
With room for as many packets as the other transports have; its own 512 are 26 ms at 1x."""
TRANSPORTS = {
    "udp": Transport(orders_to=ORDERS_TO, dpdk=Dpdk(eal=[DEVICE])),
    "tcp": Transport(dpdk=Dpdk(eal=[TCP_DEVICE])),
}
"""By the way in which orders leave."""


def transports_of(own: Transport) -> dict[str, Transport]:
    """`TRANSPORTS` with a user's options; his own devices are taken for both ways."""
    replace = msgspec.structs.replace
    found = {}
    for egress, usual in TRANSPORTS.items():
        has_device = any(word.startswith("--vdev") for word in own.dpdk.eal)
        eal = own.dpdk.eal if has_device else [*own.dpdk.eal, *usual.dpdk.eal]
        leaves = egress == "udp"
        found[egress] = replace(
            own,
            orders_to=(own.orders_to or usual.orders_to) if leaves else None,
            orders_from=own.orders_from if leaves else None,
            orders_mac=None,
            dpdk=replace(own.dpdk, eal=eal),
        )
    return found


def config_of(own: Config, ratio_percent: int) -> Config:
    """A user's configuration with the session's feed, and with a strategy where it has none."""
    named = own.strategy.name is not None
    return msgspec.structs.replace(
        own,
        strategy=own.strategy if named else strategy_config(ratio_percent).strategy,
        feed=Feed(reorder_packets=own.feed.reorder_packets, reorder_us=own.feed.reorder_us),
    )
