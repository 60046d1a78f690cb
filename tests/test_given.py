"""Two interfaces that are given as a wire: what is found of them, and what is refused and how."""

import os

import pytest

from namespaces import inside, ip, needs_wire, wire
from tickpath.backend import BackendError
from tickpath_backends.given import Given

pytestmark = needs_wire


@pytest.fixture
def ends():
    with wire() as made:
        yield made


def test_both_ends_are_found_and_left_as_they_are(ends):
    def as_they_are() -> list[str]:
        return [ip("-n", each, "addr") for each in (ends.far, ends.near)]

    before, files = as_they_are(), len(os.listdir("/proc/self/fd"))
    names = f"{ends.far}/far0", f"{ends.near}/near0"
    for _ in range(2):
        with Given(*names) as given:
            assert (given.exchange.interface, given.engine.interface) == ("far0", "near0")
            assert (given.exchange.address, given.engine.address) == (ends.FAR, ends.NEAR)
            assert given.orders_at == ends.FAR and given.orders_mac == given.exchange.mac
            for end, text in zip((given.exchange, given.engine), before, strict=True):
                assert f"link/ether {end.mac}" in text
    assert as_they_are() == before and len(os.listdir("/proc/self/fd")) == files


def test_one_end_may_be_in_this_namespace(ends):
    with inside(ends.near), Given(f"{ends.far}/far0", "near0") as given:
        assert given.engine.address == ends.NEAR
    with inside(ends.far), Given("far0", f"{ends.near}/near0") as given:
        assert given.engine.address == ends.NEAR


@pytest.mark.parametrize(
    ("change", "sender", "receiver", "reason"),
    [
        ("", "nowhere/far0", "near0", "nowhere/far0: network namespace 'nowhere': No such file"),
        ("", "FAR/eth7", "NEAR/near0", "FAR/eth7: there is no interface 'eth7'; here are: lo, "),
        ("", "FAR/lo", "NEAR/near0", "FAR/lo: it is the loopback interface"),
        ("link set near0 down", "FAR/far0", "NEAR/near0", "far0: it has no carrier"),
        ("link set near0 down", "NEAR/near0", "FAR/far0", "down; run: sudo ip -n NEAR link set"),
        ("link set near0 mtu 1400", "FAR/far0", "NEAR/near0", "its MTU is 1400, 1500 is needed"),
        ("addr flush dev near0", "FAR/far0", "NEAR/near0", "no IPv4 address; run: sudo ip -n NEAR"),
        ("route flush all", "FAR/far0", "NEAR/near0", "no way to 10.98.0.1: "),
        ("", "NEAR/near0", "NEAR/near0", "are in one network namespace"),
    ],
)
def test_what_is_no_wire_is_one_line(ends, change, sender, receiver, reason):
    def named(text: str) -> str:
        return text.replace("FAR", ends.far).replace("NEAR", ends.near)

    if change:
        ip("-n", ends.near, *change.split())
    files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BackendError) as refused, Given(named(sender), named(receiver)):
        pass
    text = str(refused.value)
    assert text.startswith("--interface") and named(reason) in text and "\n" not in text
    assert len(os.listdir("/proc/self/fd")) == files


def test_a_way_by_another_interface_is_refused(ends):
    ip("-n", ends.near, "link", "add", "near1", "type", "veth", "peer", "name", "near2")
    for each in ("near1", "near2"):
        ip("-n", ends.near, "link", "set", each, "up")
    ip("-n", ends.near, "route", "add", f"{ends.FAR}/32", "dev", "near1")
    with (
        pytest.raises(BackendError, match=r"the way to 10\.98\.0\.1, the other end's, is not by"),
        Given(f"{ends.far}/far0", f"{ends.near}/near0"),
    ):
        pass
