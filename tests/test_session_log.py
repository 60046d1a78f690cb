"""The session's log: both directions, whole packets, bounded, and never a password."""

import random
import shutil

import pytest

from test_session_soup import PASSWORD, SECOND, Pair, published
from tickpath.session.error import SessionError
from tickpath.session.log import SessionLog
from tickpath.session.ouch_message import DIALECTS
from tickpath.session.soup import Secret
from tickpath.wire.soupbintcp import packet

EPOCH_NS = 1_795_276_800 * SECOND  # 2026-11-21 16:00:00 UTC


def opened(tmp_path, **options) -> SessionLog:
    return SessionLog(tmp_path / "session.log", **{"epoch_ns": EPOCH_NS, **options})


def lines(log: SessionLog) -> list[str]:
    """The lines of the log without their times, which must be right."""
    found = log.path.read_text().splitlines()
    assert all(line[:11] == "2026-11-21T" and line[29:31] == "Z " for line in found)
    return [line[31:] for line in found]


def conversation(log: SessionLog, size: int = 10**6, seed: int = 0) -> None:
    """A session of ours from the client's side, in pieces of at most ``size`` bytes."""
    generator = random.Random(seed)
    line = log.line("venue:4001")
    pair = Pair(published(2))
    enter = DIALECTS["ouch50"].inbound["enter_order"]

    def carry() -> None:
        while pair.client.has_output or pair.server.has_output:
            sent = pair.client.take_output(generator.randint(1, size))
            line.sent(sent, pair.now_ns)
            pair.server.receive(sent, pair.now_ns)
            received = pair.server.take_output(generator.randint(1, size))
            line.received(received, pair.now_ns)
            pair.client.receive(received, pair.now_ns)

    carry()
    pair.client.send(enter.encode(user_ref_num=7, side="B", quantity=100, symbol="AAPL"), 0)
    carry()
    pair.client.logout(0)
    carry()
    line.closed("LOGOUT", 0)


DECODED = [
    "venue:4001 > login_request username=user password=*** requested_session='' "
    "requested_sequence_number=1",
    "venue:4001 < login_accepted session='      DAY1' sequence_number=1",
    "venue:4001 < sequenced_data 31",
    "venue:4001 < sequenced_data 32",
    "venue:4001 > unsequenced_data enter_order user_ref_num=7 side=B quantity=100 symbol=AAPL "
    "price=0.0000 time_in_force='' display='' capacity='' inter_market_sweep_eligibility='' "
    "cross_type='' clordid='' appendage_length=0 enter_order_appendage={}",
    "venue:4001 > logout_request",
    "venue:4001 - closed: LOGOUT",
]


@pytest.mark.parametrize("size", [1, 3, 50, 10**6])
def test_decoded(tmp_path, size):
    log = opened(tmp_path, dialect=DIALECTS["ouch50"])
    conversation(log, size)
    assert sorted(lines(log)) == sorted(DECODED)
    assert log.counters.lines == len(DECODED) and log.counters.bytes_unframed == 0


def test_hex(tmp_path):
    log = opened(tmp_path, style="hex")
    conversation(log)
    found = lines(log)
    login = packet("login_request", username="user", password="*" * 10)[:19].hex()
    assert found[0].startswith(f"venue:4001 > login_request {login}")
    assert found[2] == "venue:4001 < sequenced_data 00025331"
    assert PASSWORD.encode().hex() not in log.path.read_text()


def test_times(tmp_path):
    log = opened(tmp_path)
    log.line("a").note("x", 123)
    log.line("a").note("y", 3661 * SECOND + 5)
    assert log.path.read_text() == (
        "2026-11-21T16:00:00.000000123Z a - x\n2026-11-21T17:01:01.000000005Z a - y\n"
    )


# ---------------------------------------------------------------- passwords


@pytest.mark.parametrize("style", ["hex", "decoded"])
@pytest.mark.parametrize("direction", ["sent", "received"])
def test_password_of_a_login_is_masked_in_any_direction(tmp_path, style, direction):
    """Also one that the log has not been told about, as on the server's side."""
    log = opened(tmp_path, style=style)
    raw = packet("login_request", username="user", password=PASSWORD)
    for size in (1, 20, len(raw)):
        line = log.line("a")
        for at in range(0, len(raw), size):
            getattr(line, direction)(raw[at : at + size], 0)
    text = log.path.read_text()
    assert text.count("login_request") == 3
    assert PASSWORD not in text and PASSWORD.encode().hex() not in text


def test_front_of_a_login_is_never_shown(tmp_path):
    log = opened(tmp_path)
    raw = packet("login_request", username="user", password=PASSWORD)
    for cut in range(1, len(raw)):
        line = log.line("a")
        line.sent(raw[:cut], 0)
        line.closed("DISCONNECTED", 0)
    text = log.path.read_text()
    assert PASSWORD[:2] not in text and "user" not in text
    assert text.endswith("a - closed: DISCONNECTED, 48 bytes of unfinished packets\n")


def test_login_that_is_no_packet_is_never_shown(tmp_path):
    log = opened(tmp_path)
    raw = bytearray(packet("login_request", username="user", password=PASSWORD))
    raw[1] += 1
    line = log.line("a")
    line.received(bytes(raw), 0)
    line.received(b"user " + PASSWORD.encode(), 0)
    assert lines(log) == ["a < 49 bytes, login_request of 50 bytes"]
    assert log.counters.bytes_unframed == 49 + len("user " + PASSWORD)


@pytest.mark.parametrize("style", ["hex", "decoded"])
def test_known_secrets_are_masked_wherever_they_turn_up(tmp_path, style):
    """A peer that sends the password back, in whatever it likes."""
    log = opened(tmp_path, style=style, secrets=[Secret(PASSWORD)])
    line = log.line("a")
    for raw in (
        packet("debug", text=f"who sent {PASSWORD}?"),
        packet("sequenced_data", message=PASSWORD.encode()),
        packet("login_accepted", session=PASSWORD, sequence_number=1),
    ):
        line.received(raw, 0)
    line.note(f"failed with {PASSWORD}", 0)
    text = log.path.read_text()
    assert len(text.splitlines()) == 4
    assert PASSWORD not in text and PASSWORD.encode().hex() not in text


def test_known_secret_that_would_be_escaped_is_masked_too(tmp_path):
    secret = "a b\\c'd"
    log = opened(tmp_path, secrets=[Secret(secret)])
    log.line("a").received(packet("debug", text=f"was it {secret}?"), 0)
    assert lines(log) == ["a < debug text='was it *******?'"]


def test_text_of_the_other_side_stays_on_its_line(tmp_path):
    log = opened(tmp_path)
    line = log.line("a")
    line.received(packet("debug", text="x\n2026-11-21T16:00:00.0Z a > forged\x1b[2J"), 0)
    line.note("two\nlines", 0)
    assert lines(log) == [
        "a < debug text='x\\n2026-11-21T16:00:00.0Z a > forged\\x1b[2J'",
        "a - 'two\\nlines'",
    ]


# ---------------------------------------------------------------- bounds


def test_rotation(tmp_path):
    log = opened(tmp_path, max_bytes=400, keep=2)
    line = log.line("a")
    for number in range(100):
        line.note(f"number {number:03}", 0)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["session.log", "session.log.1", "session.log.2"]
    text = "".join(
        (tmp_path / name).read_text() for name in ("session.log.2", "session.log.1", "session.log")
    )
    numbers = [int(each.split()[-1]) for each in text.splitlines()]
    assert numbers == list(range(numbers[0], 100)) and len(numbers) > 16
    assert all(path.stat().st_size <= 400 for path in tmp_path.iterdir())
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())
    assert log.counters.rotations == -(-100 // 8) - 1


def test_rotation_that_keeps_nothing(tmp_path):
    log = opened(tmp_path, max_bytes=100, keep=0)
    for number in range(20):
        log.line("a").note(str(number), 0)
    assert [path.name for path in tmp_path.iterdir()] == ["session.log"]


def test_log_goes_on_behind_what_is_there(tmp_path):
    for text in ("one", "two"):
        log = opened(tmp_path)
        log.line("a").note(text, 0)
        log.close()
    assert lines(log) == ["a - one", "a - two"]


def test_log_that_cannot_be_written_stops_nothing(tmp_path):
    directory = tmp_path / "logs"
    directory.mkdir()
    log = opened(directory, max_bytes=100)
    line = log.line("a")
    line.note("one", 0)
    shutil.rmtree(directory)
    for _ in range(3):
        line.note("x" * 100, 0)
    assert log.counters.lines_lost == 3
    directory.mkdir()
    line.note("two", 0)
    assert lines(log) == ["a - two"] and log.counters.lines == 2


def test_log_that_cannot_be_opened(tmp_path):
    with pytest.raises(SessionError, match="the log cannot be opened: No such file"):
        SessionLog(tmp_path / "nowhere" / "session.log")
