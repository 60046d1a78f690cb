"""The file transport: packets of one capture or of several, in the order of their capture."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import SYSTEM_EVENT, daily, gzipped, pcap
from captures import Packet as Written
from captures import packets_of as lent_packets
from sessions import packets_of, session
from tickpath.backend import Transport
from tickpath.capture import CaptureError
from tickpath.packet import LINK_MESSAGES, PACKET
from tickpath_backends.file import FileTransport


def drained(transport: FileTransport, most: int = 4096) -> list[tuple[int, bytes]]:
    """(receive time, bytes) of everything that a transport lends."""
    found = []
    while not transport.is_finished:
        lent = transport.poll(most)
        assert lent.dtype == PACKET and len(lent) <= most
        found += [(each.ts_recv, each.data) for each in lent_packets(lent)]
        transport.release()
    assert not len(transport.poll(most)) and transport.is_finished
    return found


def opened(*paths) -> FileTransport:
    transport = FileTransport(paths)
    transport.open()
    return transport


@pytest.fixture
def files(tmp_path):
    """Captures with packets at the given times; a packet says its file and its place in it."""

    def write(*times: list[int], pack=bytes) -> list[str]:
        paths = []
        for file, stamps in enumerate(times):
            path = tmp_path / f"{file}.pcap"
            packets = [Written(ts, b"%d:%d" % (file, n)) for n, ts in enumerate(stamps)]
            path.write_bytes(pack(pcap(packets)))
            paths.append(str(path))
        return paths

    return write


def test_it_has_all_that_a_transport_has():
    members = {name for name in vars(Transport) if not name.startswith("_")}
    members |= set(Transport.__annotations__)
    with_open = opened(session())
    assert all(hasattr(with_open, name) for name in members)
    assert FileTransport.why_not() is None
    with pytest.raises(NotImplementedError, match="nowhere to send"):
        with_open.send(memoryview(b""))
    with_open.close()


@pytest.mark.parametrize("most", [1, 7, 4096, 1 << 20])
def test_one_capture_is_lent_as_it_is(most):
    transport = opened(session())
    expected = [(each.ts_recv, each.data) for each in packets_of(session())]
    found = drained(transport, most)
    assert found == expected
    assert transport.counters["packets"] == len(expected) and transport.findings == []
    transport.close()


def test_packets_stay_where_they_are_until_they_are_given_back():
    transport = opened(session())
    lent = transport.poll(100)
    before = lent_packets(lent)
    assert before == lent_packets(lent) and len(before) == 100
    transport.close()


def test_position_rises_to_the_size_of_all_files(files):
    paths = files(list(range(9000)), list(range(4000)))
    transport = opened(*paths)
    reached = [transport.position]
    while not transport.is_finished:
        transport.poll(500)
        reached.append(transport.position)
    total = reached[-1][1]
    assert reached == sorted(reached) and reached[-1] == (total, total) and total > 9000 * 16
    transport.close()


# ---------------------------------------------------------------- several files

STAMPS = st.lists(st.integers(0, 12), max_size=30)


@settings(max_examples=150)
@given(st.lists(STAMPS.map(sorted), min_size=1, max_size=4), st.integers(1, 9))
def test_files_are_merged_by_time_and_then_by_their_order(files_at, times, most):
    transport = opened(*files_at(times))
    expected = sorted(
        (ts, file, n) for file, stamps in enumerate(times) for n, ts in enumerate(stamps)
    )
    found = drained(transport, most)
    assert found == [(ts, b"%d:%d" % (file, n)) for ts, file, n in expected]
    assert transport.counters["packets"] == len(expected)
    transport.close()


@pytest.fixture(scope="module")
def files_at(tmp_path_factory):
    place = tmp_path_factory.mktemp("merged")

    def write(times: list[list[int]]) -> list[str]:
        for file, stamps in enumerate(times):
            packets = [Written(ts, b"%d:%d" % (file, n)) for n, ts in enumerate(stamps)]
            (place / f"{file}.pcap").write_bytes(pcap(packets))
        return [str(place / f"{file}.pcap") for file in range(len(times))]

    return write


@settings(max_examples=100)
@given(st.lists(STAMPS, min_size=1, max_size=4), st.integers(1, 9))
def test_a_capture_whose_clock_steps_back_keeps_its_own_order(files_at, times, most):
    """Each packet counts as captured no earlier than the one before it."""
    transport = opened(*files_at(times))
    expected = sorted(
        (max(stamps[: n + 1]), file, n, stamps[n])
        for file, stamps in enumerate(times)
        for n in range(len(stamps))
    )
    assert drained(transport, most) == [(ts, b"%d:%d" % (f, n)) for _, f, n, ts in expected]
    transport.close()


@pytest.mark.parametrize("pack", [bytes, gzipped])
def test_batches_that_end_with_the_same_time_keep_the_files_order(files, pack):
    """More packets of one time than a batch holds, in every file."""
    many = [5] * 5000
    transport = opened(*files([1, *many], many, [*many, 6], pack=pack))
    labels = [data for _, data in drained(transport)]
    expected = [b"0:0"]
    expected += [b"0:%d" % (n + 1) for n in range(5000)]
    expected += [b"%d:%d" % (file, n) for file in (1, 2) for n in range(5000)]
    assert labels == [*expected, b"2:5000"]
    transport.close()


def test_daily_files_come_one_after_the_other_and_before_what_has_a_time(tmp_path, files):
    runs = []
    for number in range(2):
        path = tmp_path / f"{number}.itch"
        path.write_bytes(daily([SYSTEM_EVENT[:-1] + b"%d" % number] * 3))
        runs.append(str(path))
    (capture,) = files([7])
    transport = opened(capture, *runs)
    content, links = b"", []
    while not transport.is_finished:
        lent = transport.poll()
        content += b"".join(each.data for each in lent_packets(lent))
        links += lent["link"].tolist()
    assert content == b"".join(Path(each).read_bytes() for each in runs) + b"0:0"
    assert links == [*[LINK_MESSAGES] * (len(links) - 1), 1]
    transport.close()


def test_a_capture_that_ends_early_ends_alone(tmp_path, files):
    first, second = files([1, 3, 5, 7], [2, 4, 6, 8])
    with open(first, "r+b") as file:
        file.truncate(24 + 2 * (16 + 3) + 5)
    transport = opened(first, second)
    assert [ts for ts, _ in drained(transport)] == [1, 2, 3, 4, 6, 8]
    assert len(transport.findings) == 1 and transport.findings[0].startswith(first)
    transport.close()


def test_one_capture_that_cannot_be_opened_closes_the_others(files):
    paths = files([1], [2])
    transport = FileTransport([*paths, "no such file"])
    with pytest.raises(CaptureError, match="no such file"):
        transport.open()
    assert all(source.capture is not None for source in transport._sources)
    with pytest.raises(CaptureError, match="is closed"):
        transport._sources[0].fill()


def test_captures_without_packets(files):
    transport = opened(*files([], []))
    assert len(transport.poll()) == 0 and transport.is_finished
    transport.close()


def test_the_same_file_twice_is_every_packet_twice():
    transport = opened(session(), session())
    assert sorted(drained(transport)) == sorted(
        [(each.ts_recv, each.data) for each in packets_of(session())] * 2
    )
    transport.close()


def test_merging_copies_no_packet(files):
    """What is lent of one file lies at addresses that rise by a record's size."""
    transport = opened(*files([1, 4, 5], [2, 3, 6]))
    addresses: dict[int, list[int]] = {0: [], 1: []}
    while not transport.is_finished:
        lent = transport.poll()
        for record, each in zip(lent, lent_packets(lent), strict=True):
            addresses[int(each.data[:1])].append(int(record["address"]))
    for each in addresses.values():
        assert np.diff(each).tolist() == [16 + 3, 16 + 3]
    transport.close()
