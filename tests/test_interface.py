"""Interfaces, routes and neighbours, as the kernel tells of them."""

import os
import socket
import subprocess

import pytest

from namespaces import inside, ip, needs_wire, until, wire
from tickpath.backend import TransportError
from tickpath_backends import interface, neighbour, netlink
from tickpath_backends.interface import Watch, find

FAR, NEAR = 0x0A620001, 0x0A620002


def test_the_loopback_interface():
    found = find("lo")
    assert (found.name, found.ifindex) == ("lo", socket.if_nametoindex("lo"))
    assert found.is_loopback and found.mac == bytes(6) and found.mtu > 1500
    assert (found.xdp_mode, found.xdp_program) == (None, 0)
    assert interface.numa_node("lo") is None


@pytest.mark.parametrize("name", ["nothere", "x" * 200, "a\nb"])
def test_an_interface_that_is_not_there(name):
    with pytest.raises(TransportError, match=r"there is no interface .*; here are: .*lo"):
        find(name)


def test_a_memory_node_is_read_where_there_is_one(tmp_path):
    path = tmp_path / "sys/class/net/card/device"
    path.mkdir(parents=True)
    for text, node in (("1\n", 1), ("0\n", 0), ("-1\n", None), ("nonsense", None)):
        (path / "numa_node").write_text(text)
        assert interface.numa_node("card", tmp_path) == node


@needs_wire
def test_what_the_kernel_knows_of_a_veth():
    with wire(queues=2) as ends:
        listed = ip("-n", ends.near, "-d", "link", "show", "near0")
        with inside(ends.near):
            found = find("near0")
            assert interface.driver("near0") == "veth"
            assert interface.receive_queues(found) == 2
        assert found.kind == "veth" and found.is_up and found.has_carrier
        assert found.mac.hex(":") in listed and f"mtu {found.mtu} " in listed
        assert listed.startswith(f"{found.ifindex}: ")


@needs_wire
def test_everything_that_happens_to_an_interface_is_heard():
    with wire() as ends:
        with inside(ends.near):
            watch = Watch(find("near0"))
        other = Watch(find("lo"))
        for arguments in (
            ("set", "near0", "mtu", "1400"),
            ("set", "near0", "down"),
            ("set", "near0", "up"),
            ("set", "near0", "mtu", "1300"),
            ("set", "near0", "down"),
            ("set", "near0", "up"),
            ("del", "near0"),
        ):
            ip("-n", ends.near, "link", *arguments)

        def looked() -> bool:
            watch.look()
            return watch.is_gone

        until(looked, "the last notification")
        assert watch.counters["mtu_changes"] == 2
        assert watch.counters["interface_up"] == 2
        assert watch.counters["interface_down"] >= 2
        assert watch.findings == [
            "near0: its MTU changed from 1500 to 1400",
            "near0 went down: packets were lost meanwhile",
            "near0 came up again",
            "near0: its MTU changed from 1400 to 1300",
            "near0 was deleted: nothing comes from it any more",
        ]
        watch.close()
        watch.close()
        other.look()
        assert not other.is_gone and not other.findings, "another one's, in another namespace"
        other.close()


@needs_wire
@pytest.mark.parametrize("last", ["mtu 1450", "down", "del"])
def test_more_notifications_than_the_kernel_keeps(last):
    """That some are lost is said, and what became of the interface is found out."""
    with wire() as ends:
        with inside(ends.near):
            watch = Watch(find("near0"))
        watch._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        command = "".join(f"link set near0 mtu {1300 + n % 50}\n" for n in range(1000))
        end = "link del near0" if last == "del" else f"link set near0 {last}"
        command += end + "\n"
        subprocess.run(["ip", "-n", ends.near, "-b", "-"], input=command, text=True, check=True)

        def is_known() -> bool:
            watch.look()
            found = " ".join(watch.findings)
            marks = {"del": "was deleted", "down": "went down", "mtu 1450": "to 1450"}
            return marks[last] in found

        until(is_known, "the last state")
        assert any("not told by the kernel" in finding for finding in watch.findings)
        assert watch.is_gone == (last == "del")
        assert 0 < watch.counters["mtu_changes"] < 1000
        assert len(watch.findings) == len(set(watch.findings))
        watch.close()


@needs_wire
def test_the_way_of_orders():
    with wire() as ends:
        ip("-n", ends.near, "neigh", "flush", "all")
        with inside(ends.near):
            card = find("near0")
            assert neighbour.route(FAR) == (card.ifindex, NEAR, FAR)
            assert neighbour.known_mac(card.ifindex, FAR) is None
            mac = neighbour.find_mac(card.ifindex, FAR)
            assert neighbour.known_mac(card.ifindex, FAR) == mac
        with inside(ends.far):
            assert find("far0").mac == mac


@needs_wire
def test_behind_a_router_it_is_the_routers_address():
    with wire() as ends:
        ip("-n", ends.near, "route", "add", "192.0.2.0/24", "via", ends.FAR)
        with inside(ends.near):
            assert neighbour.route(0xC0000207).next_hop == FAR


@needs_wire
def test_no_way_and_nobody_there():
    with wire() as ends, inside(ends.near):
        card = find("near0")
        with pytest.raises(TransportError, match=r"no way to 192\.0\.2\.7: Network is unreachable"):
            neighbour.route(0xC0000207)
        with pytest.raises(TransportError, match=r"10\.98\.0\.9 is not known: nobody answers ARP"):
            neighbour.find_mac(card.ifindex, 0x0A620009, wait_s=0.1)


@pytest.mark.parametrize(
    ("address", "mac"),
    [
        (0xE0000001, "01:00:5e:00:00:01"),
        (0xEFFFFFFF, "01:00:5e:7f:ff:ff"),
        (0xEF80ABCD, "01:00:5e:00:ab:cd"),
        (0xDFFFFFFF, None),
        (0xF0000000, None),
    ],
)
def test_a_groups_ethernet_address(address, mac):
    found = neighbour.multicast_mac(address)
    assert (found.hex(":") if found else None) == mac


def test_attributes_that_are_cut_short_end_the_list():
    raw = netlink.pack(3, b"name\0") + netlink.pack(4, b"\1\0\0\0")
    assert len(raw) == 20
    assert netlink.unpack(raw) == {3: b"name\0", 4: b"\1\0\0\0"}
    for cut in range(len(raw)):
        assert set(netlink.unpack(raw[:cut])) <= {3, 4}
    assert netlink.unpack(bytes(16)) == {}, "a length of zero is no attribute"
    assert list(netlink.messages(bytes(40))) == []


def test_a_question_the_kernel_does_not_answer_is_an_error():
    with pytest.raises(OSError, match=os.strerror(95)):
        netlink.ask(0x7FFF, b"")
