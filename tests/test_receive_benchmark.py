"""The bare receive comparison: its packets are right, and every method gets all of them."""

import importlib.util
from pathlib import Path

import pytest

from sessions import packets_of

SOURCE = Path(__file__).parents[1] / "benchmarks" / "receive.py"
spec = importlib.util.spec_from_file_location("receive_benchmark", SOURCE)
assert spec and spec.loader
receive = importlib.util.module_from_spec(spec)
spec.loader.exec_module(receive)


def test_the_packets_are_numbered_datagrams_with_right_checksums(tmp_path):
    scapy = pytest.importorskip("scapy.all")
    path = tmp_path / "numbered.pcap"
    receive.write_packets(path, 3)
    for number, packet in enumerate(packets_of(path)):
        frame = scapy.Ether(packet.data)
        assert frame.dst == "01:00:5e:7f:4d:02" and frame[scapy.IP].dst == receive.ADDRESS
        checksum = frame[scapy.IP].chksum
        del frame[scapy.IP].chksum
        assert scapy.Ether(bytes(frame))[scapy.IP].chksum == checksum
        payload = bytes(frame[scapy.UDP].payload)
        assert len(payload) == receive.PAYLOAD
        assert receive.NUMBER.unpack_from(payload)[0] == number


@pytest.mark.parametrize("name", receive.METHODS)
def test_a_method_gets_every_packet(name, tmp_path, monkeypatch):
    if reason := receive.why_not(name):
        pytest.skip(reason)
    monkeypatch.setattr(receive, "DRAINS", 2)
    monkeypatch.setattr(receive, "DRAIN", 100)
    path = tmp_path / "numbered.pcap"
    receive.write_packets(path, 1000)
    row = receive.measure(name, path, 200, 0)
    assert row["lost"] == 0 and row["one_way_ns"]["count"] == 200
    assert row["one_way_ns"]["min"] > 0
    assert row["flood"]["sent"] == 1000 and 0 < row["flood"]["received"] <= 1000
    assert len(row["drain_ns_runs"]) == 2 and row["drain_ns"] > 0
