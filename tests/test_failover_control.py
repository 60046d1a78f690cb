"""Who may ask a node and who may change it: nodes over TCP, operators by a socket of this host."""

import grp
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from gateway_house import free_port
from tickpath.config import ConfigError
from tickpath.failover import questions as asked
from tickpath.failover import role_event as told
from tickpath.failover.control import (
    MOST_ANSWER_PARTS,
    MOST_LATER,
    MOST_PART_BYTES,
    NOTHING,
    Control,
    Words,
    ask,
    content_of,
)
from tickpath.failover.control_error import ControlError
from tickpath.failover.curve import Keys, load_keys, write_keys
from tickpath.failover.operator_control import OperatorControl, ask_operator
from tickpath.failover.reach import Reach

WITHOUT_MEMORY = """
import json, os, resource, select, sys, zmq
from tickpath.failover import questions as asked
from tickpath.failover.control import NOTHING, Control, content_of
from tickpath.failover.curve import Keys
state, limited = bytes(64 << 20), False
def answer(question):
    is_large = isinstance(question, asked.Snapshot)
    return {"limited": limited}, content_of(state) if is_large else NOTHING
own, other = Keys(*zmq.curve_keypair()), Keys(*zmq.curve_keypair())
control = Control(sys.argv[1], answer, own, {other.public: "b"})
print("ready", json.dumps([each.decode() for each in own]), sep="\\n")
print(json.dumps([each.decode() for each in other]), flush=True)
while True:
    control.serve()
    if not limited and select.select([sys.stdin], [], [], 0.001)[0]:
        sys.stdin.readline()
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        limited = True
        print("limited", flush=True)
"""
PIECE = bytes(range(256)) * 10_000
CONTENT = content_of(PIECE)


class Served:
    """A control that is served by a thread of its own, as a node's loop does."""

    def __init__(self, serve: Callable[[], int]) -> None:
        self._serve, self._is_stopped = serve, False
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._is_stopped:
            self._serve()

    def __enter__(self) -> "Served":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopped = True
        self._thread.join()


def answering(heard: list) -> Callable:
    def answer(question):
        heard.append(question)
        match question:
            case asked.Snapshot():
                return {"record_number": 7}, CONTENT
            case asked.StateDigest():
                raise ControlError("no digest today")
        return {"state": "STANDBY"}, NOTHING

    return answer


@pytest.fixture
def heard():
    return []


@pytest.fixture
def address():
    return f"127.0.0.1:{free_port()}"


def pair_of_keys() -> Keys:
    return Keys(*zmq.curve_keypair())


# ---------------------------------------------------------------- between nodes


def test_nodes_ask_and_are_told(heard, address):
    control = Control(address, answering(heard))
    words = Words({"a": Reach(address)})
    try:
        with Served(control.serve):
            assert ask(address, ask="snapshot") == ({"record_number": 7}, PIECE)
            with pytest.raises(ControlError, match="no digest today"):
                ask(address, ask="state_digest")
            while not words.tell("a", ask="handed_over", **{"from": "b"}, epoch=3, number=9):
                pass
            while len(heard) < 3:
                pass
    finally:
        words.close()
        control.close()
    assert heard == [asked.Snapshot(), asked.StateDigest(), asked.HandedOver("b", 3, 9)]
    assert control.counters == {"asked": 3, "refused": 1}


def test_a_node_without_memory_does_not_answer_and_goes_on(address):
    """Its engine trades: a large answer may not end it.

    The connection is there already: ZeroMQ keeps the keys of a new one in pages of its own, and
    ends the process where it gets none (then a standby takes over).
    """
    node = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_MEMORY, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert node.stdin is not None and node.stdout is not None
    context = zmq.Context()
    line = context.socket(zmq.REQ)

    def answered(word: str) -> list[bytes]:
        line.send(json.dumps({"ask": word}).encode())
        assert line.poll(20_000), "the node answers"
        return line.recv_multipart()

    try:
        assert node.stdout.readline() == "ready\n"
        (theirs, _), mine = (json.loads(node.stdout.readline()) for _ in "12")
        line.curve_serverkey = theirs.encode()
        line.curve_publickey, line.curve_secretkey = (each.encode() for each in mine)
        line.connect(f"tcp://{address}")
        assert answered("status") == [b'{"limited": false}']
        node.stdin.write("limit\n")
        node.stdin.flush()
        assert node.stdout.readline() == "limited\n"
        first, *chunks = answered("snapshot")
        assert len(chunks) < len(json.loads(first).get("chunks", [1])), (
            "it is known not to be whole"
        )
        assert answered("status") == [b'{"limited": true}']
    finally:
        context.destroy(linger=0)
        node.kill()
        node.communicate()


def test_an_address_that_is_taken_and_a_node_that_is_not_there(address):
    with socket.socket() as other, pytest.raises(ControlError, match="in use"):
        other.bind(("127.0.0.1", 0))
        other.listen()
        Control(f"127.0.0.1:{other.getsockname()[1]}", answering([]))
    with pytest.raises(ControlError, match="does the node run"):
        ask(address, 50, ask="status")
    words = Words({"a": Reach(address)})
    assert not words.tell("a", ask="status")  # it waits for nobody and keeps nothing for later
    words.close()


@pytest.mark.parametrize(
    "command",
    ["switchover", "force", "hold", "resume", "resolved", "mode", "retire", "drill", "outcome"],
)
def test_a_node_cannot_change_another(heard, address, command):
    control = Control(address, answering(heard))
    try:
        with Served(control.serve), pytest.raises(ControlError, match=f"Invalid value '{command}'"):
            ask(address, ask=command)
    finally:
        control.close()
    assert not heard and control.counters["malformed"] == 1


BAD = [
    b"",
    b"{",
    b"null",
    b"[1]",
    b'"status"',
    b'{"ask":"status","more":1}',
    b'{"ask":1}',
    b'{"no":"ask"}',
    b'{"ask":"handed_over","from":"a","epoch":"one","number":1}',
    b'{"ask":"handed_over","from":"a","epoch":-1,"number":1}',
    b'{"ask":"handed_over","from":"a","epoch":36893488147419103232,"number":1}',
    b'{"ask":"handed_over","from":"' + b"a" * 100 + b'","epoch":1,"number":1}',
    b'{"ask":"\xff\xfe"}',
    b'{"ask":' + b"[" * 3000,
    b'{"ask":"status"}' + b" " * asked.MOST_BYTES,
]


def test_what_is_no_question_is_counted_and_answered(heard, address):
    control = Control(address, answering(heard))
    context = zmq.Context()
    raw = context.socket(zmq.DEALER)
    raw.connect(f"tcp://{address}")
    try:
        with Served(control.serve):
            for each in [*([b"", bad] for bad in BAD), [b"x"], [b"", b"{}", b"more"], [b"", b""]]:
                raw.send_multipart(each)
                assert raw.poll(60_000), each
                empty, answer = raw.recv_multipart()
                assert empty == b"" and "no question" in json.loads(answer)["error"]
            raw.send_multipart([b"", b" " * (MOST_PART_BYTES + 1)])  # costs its connection
            assert ask(address, ask="status")[0] == {"state": "STANDBY"}
    finally:
        context.destroy(linger=0)
        control.close()
    assert heard == [asked.Status()]
    assert control.counters["malformed"] == len(BAD) + 3


def test_parts_beyond_a_question_are_thrown_away_and_counted(heard, address):
    control = Control(address, answering(heard))
    context = zmq.Context()
    raw = context.socket(zmq.DEALER)
    raw.connect(f"tcp://{address}")
    try:
        with Served(control.serve):
            raw.send_multipart([b"", b'{"ask":"status"}', *[b"more"] * 5_000])
            assert raw.poll(60_000)
            assert "no question" in json.loads(raw.recv_multipart()[1])["error"]
            assert ask(address, ask="status")[0] == {"state": "STANDBY"}
    finally:
        context.destroy(linger=0)
        control.close()
    assert control.counters["parts_thrown_away"] == 4_999 and heard == [asked.Status()]


def test_an_answer_of_too_many_parts_is_not_read_on(address):
    context = zmq.Context()
    node = context.socket(zmq.ROUTER)
    node.bind(f"tcp://{address}")

    def serve():
        who, *_ = node.recv_multipart()
        node.send_multipart([who, b"", b"{}", *[b"chunk"] * (MOST_ANSWER_PARTS + 1)])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with pytest.raises(ControlError, match=f"more than {MOST_ANSWER_PARTS} parts"):
            ask(address, 60_000, ask="snapshot")
    finally:
        thread.join()
        context.destroy(linger=0)


class Slow:
    """An answer that takes until the test says so, and fails where it has no words."""

    def __init__(self, words: dict | None) -> None:
        self.words, self.is_due, self.is_ended = words, False, False
        self.turns = 0

    def answer(self):
        self.turns += 1
        if not self.is_due:
            return None
        if self.words is None:
            raise ControlError("it came to nothing")
        return self.words, NOTHING

    def end(self):
        self.is_ended = True


def said_to(raw: zmq.Socket) -> dict:
    assert raw.poll(60_000)
    return json.loads(raw.recv_multipart()[1])


def test_answers_that_take_a_while_keep_nobody_waiting(address):
    made = []

    def answer(question):
        if isinstance(question, asked.Status):
            return {"turns": made[0].turns}, NOTHING
        made.append(Slow({"number": len(made)}))
        return made[-1]

    control = Control(address, answer)
    context = zmq.Context()
    raw = context.socket(zmq.DEALER)
    raw.connect(f"tcp://{address}")
    said = []
    try:
        with Served(control.serve):
            for _ in range(MOST_LATER + 1):
                raw.send_multipart([b"", b'{"ask":"snapshot"}'])
            said.append(said_to(raw))
            made[1].is_due = True
            said.append(said_to(raw))
            assert ask(address, ask="status")[0]["turns"] > 0
            made[0].words, made[0].is_due = None, True
            said.append(said_to(raw))
    finally:
        context.destroy(linger=0)
        control.close()
    refused = {"error": f"{MOST_LATER} answers are being made already: ask again"}
    assert said == [refused, {"number": 1}, {"error": "it came to nothing"}]
    assert [each.is_ended for each in made] == [False, False, True, True, True]
    assert control.counters["refused"] == 2


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_question_or_an_error_of_one_line(raw):
    for decode in (asked.of_peer, asked.of_operator):
        try:
            assert isinstance(decode(raw), asked.Question)
        except asked.QuestionError as error:
            assert len(str(error)) < 400 and "\n" not in str(error)


# ---------------------------------------------------------------- keys


def test_with_keys_both_sides_prove_who_they_are(heard, address):
    a, b, stranger, other = (pair_of_keys() for _ in range(4))
    control = Control(address, answering(heard), a, {b.public: "b"})
    try:
        with Served(control.serve):
            assert ask(Reach(address, a.public, b), ask="snapshot") == (
                {"record_number": 7},
                PIECE,
            )
            # As b nobody speaks for c.
            with pytest.raises(ControlError, match="b cannot speak for c"):
                ask(
                    Reach(address, a.public, b), ask="handed_over", **{"from": "c"}, epoch=1,
                    number=1,
                )  # fmt: skip
            wrong = {
                "a stranger": Reach(address, a.public, stranger),
                "the server is not whom b means": Reach(address, other.public, b),
                "no keys": Reach(address),
            }
            for what, reach in wrong.items():
                with pytest.raises(ControlError, match="no answer"):
                    ask(reach, 300, ask="status")
                    pytest.fail(what)
            while not control.counters["keys_refused"]:  # 300 ms may be less than a handshake
                with pytest.raises(ControlError, match="no answer"):
                    ask(wrong["a stranger"], 300, ask="status")
    finally:
        control.close()
    assert heard == [asked.Snapshot()]
    assert control.counters["keys_refused"] >= 1 and control.counters["refused"] == 1


def test_without_keys_on_the_other_side_nobody_is_told(address):
    """Who has keys says nothing to somebody who cannot prove to be the node."""
    heard = []
    control = Control(address, answering(heard))
    try:
        with Served(control.serve), pytest.raises(ControlError, match="with these keys"):
            ask(Reach(address, pair_of_keys().public, pair_of_keys()), 300, ask="status")
    finally:
        control.close()
    assert not heard


def test_files_of_keys(tmp_path):
    path = tmp_path / "a.key"
    made = write_keys(str(path))
    assert load_keys(str(path)) == made and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.secret.decode() not in repr(made)
    with pytest.raises(ConfigError, match="File exists"):
        write_keys(str(path))
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="others can read it; run: chmod 600"):
        load_keys(str(path))
    path.chmod(0o600)
    secret = made.secret.decode()
    for text in ("", "=", f'public = "{secret}"\nsecret = "{secret}"\n', 'secret = "x"', "\xff"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(ConfigError, match="no pair of keys") as error:
            load_keys(str(path))
        assert secret not in str(error.value)


# ---------------------------------------------------------------- operators


def test_operators_change_a_node_by_a_file_that_is_theirs(tmp_path):
    heard = []

    def answer(question, who):
        heard.append((question, who))
        if isinstance(question, asked.Retire):
            raise ControlError("not today")
        return {"done": True}

    path = str(tmp_path / "control")
    control = OperatorControl(path, answer)
    try:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with Served(control.serve):
            assert ask_operator(path, ask="switchover", to="b") == {"done": True}
            assert ask_operator(path, ask="mode", synchronous=False) == {"done": True}
            with pytest.raises(ControlError, match="not today"):
                ask_operator(path, ask="retire")
            for wrong in (
                {"ask": "mode"},
                {"ask": "handed_over"},
                {"ask": "hold", "why": "x" * 201},
            ):
                with pytest.raises(ControlError, match="no question"):
                    ask_operator(path, **wrong)
        with pytest.raises(ConfigError, match="another node listens there"):
            OperatorControl(path, answer)
    finally:
        control.close()
    assert not os.path.exists(path)
    me = heard[0][1]
    assert heard == [
        (asked.Switchover("b"), me),
        (asked.Mode(False), me),
        (asked.Retire(), me),
    ]
    assert control.counters["malformed"] == 3
    with pytest.raises(ConfigError, match="no node answers"):
        ask_operator(path, ask="status")


def test_a_group_may_be_let_in(tmp_path):
    own = grp.getgrgid(os.getgid()).gr_name
    path = str(tmp_path / "control")
    control = OperatorControl(path, lambda question, who: {}, own)
    found = os.stat(path)
    control.close()
    assert stat.S_IMODE(found.st_mode) == 0o660 and found.st_gid == os.getgid()
    with pytest.raises(ConfigError, match="there is no group nobodys-group"):
        OperatorControl(path, lambda question, who: {}, "nobodys-group")


def test_what_operators_say_is_what_the_role_is_told():
    said = {
        b'{"ask":"switchover"}': told.Switchover(None),
        b'{"ask":"switchover","to":"b"}': told.Switchover("b"),
        b'{"ask":"force"}': told.Force(),
        b'{"ask":"hold","why":"lunch"}': told.HoldTrading("operator", "lunch (eva)"),
        b'{"ask":"resume"}': told.ResumeTrading("operator"),
        b'{"ask":"resume","source":"feed"}': told.ResumeTrading("feed"),
        b'{"ask":"resolved"}': told.UnknownResolved(),
        b'{"ask":"mode","synchronous":true}': told.SetMode(True),
        b'{"ask":"retire"}': told.Retire(),
        b'{"ask":"drill"}': told.Drill(),
    }
    for raw, event in said.items():
        question = asked.of_operator(raw)
        assert isinstance(question, asked.Command) and question.event("eva") == event
