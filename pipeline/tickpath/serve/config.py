"""What is served, where to, and how badly."""

from typing import Annotated

import msgspec
from msgspec import Meta

from tickpath.serve.grp import ServerQuotas
from tickpath.serve.line_faults import LinePlan
from tickpath.serve.publisher import Pace
from tickpath.serve.unruly import UnrulyPlan
from tickpath.session.tcp_stream import Address

Port = Annotated[int, Meta(ge=0, le=65_535)]


class Serve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses are (address, port); a group may be an address of a machine (unicast)."""

    lines: tuple[Address, ...]
    """Where each line's packets go: A, B, ..."""
    interface: str = "127.0.0.1"
    ttl: Annotated[int, Meta(ge=0, le=255)] = 1
    gap_group: Address = ("239.255.77.3", 26_479)
    """Where a Gap Request Proxy's messages go."""
    plans: tuple[LinePlan, ...] = ()
    """Faults of each line; lines without one have none."""
    both: LinePlan = LinePlan()
    """What befalls all lines at once; only its losses are used."""
    pace: Pace = Pace()
    seed: int = 1
    requests_port: Port = 0
    glimpse_port: Port = 0
    grp_port: Port = 0
    spin_port: Port = 0
    """Of the first unit; the others follow.  0: free ports."""
    image_interval_ms: Annotated[int, Meta(ge=1)] = 1_000
    requests: UnrulyPlan = UnrulyPlan()
    """How those behave who are asked for messages."""
    snapshots: UnrulyPlan = UnrulyPlan()
    quotas: ServerQuotas = ServerQuotas()
    username: str = "TICK"
    password: str = "REHEARSAL"
    session_sub_id: str = "0001"
    start_after_s: Annotated[float, Meta(ge=0)] = 0.0
    linger_s: Annotated[float, Meta(ge=0)] = 2.0
    """How long the servers stay when everything was sent."""
