"""Doubles of the servers that a lease may be kept in: as much of their protocol as ours takes.

They listen on 127.0.0.1 and answer as the documented APIs do, with what is awkward in them: etcd's
gateway leaves out false, 0 and empty and gives numbers as text; Kubernetes answers with `Status`
objects and refuses stale resource versions.  `trouble` makes the next requests go wrong:
``silent`` (no answer), ``unsaid`` (done, and the connection closed instead of an answer).
"""

import contextlib
import json
import socket
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tickpath.failover import lease_redis
from tickpath.failover.lease_resp import RespError, answer


class HttpDouble:
    """A server of JSON; `answer_to` is what it is."""

    def __init__(self) -> None:
        self.trouble = ""
        self.requests: list[tuple[str, str, Any]] = []
        self.silence = threading.Event()
        self.lock = threading.Lock()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                trouble = double.trouble
                if trouble == "silent":
                    double.silence.wait(60)
                    self.close_connection = True
                    return
                with double.lock:
                    double.requests.append((self.command, self.path, body))
                    status, said = double.answer_to(self.command, self.path, body, self.headers)
                if trouble == "unsaid":
                    double.trouble = ""
                    self.close_connection = True
                    return
                raw = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - the library's names

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer_to(self, method: str, path: str, body: Any, headers: Any) -> tuple[int, Any]:
        raise NotImplementedError

    def close(self) -> None:
        self.silence.set()
        self._server.shutdown()
        self._server.server_close()


class EtcdDouble(HttpDouble):
    """etcd's gateway: kv/range and kv/txn with a comparison of MOD."""

    def __init__(self) -> None:
        super().__init__()
        self.revision = 1
        self.values: dict[str, tuple[int, str]] = {}

    def answer_to(self, method: str, path: str, body: Any, headers: Any) -> tuple[int, Any]:
        if path == "/v3/kv/range":
            return 200, self._range(body["key"])
        if path != "/v3/kv/txn":
            return 404, {"error": "Not Found", "code": 5}
        for each in body["compare"]:
            assert each["target"] == "MOD"
            if int(each["mod_revision"]) != self.values.get(each["key"], (0, ""))[0]:
                return 200, {"header": {"revision": str(self.revision)}}  # succeeded is left out
        self.revision += 1
        for each in body["success"]:
            put = each["requestPut"]
            assert b64decode(put["value"]) and b64decode(put["key"])
            self.values[put["key"]] = self.revision, put["value"]
        return 200, {
            "header": {"revision": str(self.revision)},
            "succeeded": True,
            "responses": [{"response_put": {"header": {"revision": str(self.revision)}}}],
        }

    def _range(self, key: str) -> dict[str, Any]:
        header = {"revision": str(self.revision)}
        if key not in self.values:
            return {"header": header}  # neither kvs nor count
        revision, value = self.values[key]
        found = {"key": key, "mod_revision": str(revision), "value": value}
        return {"header": header, "kvs": [found], "count": "1"}


class KubernetesDouble(HttpDouble):
    """The API's Leases of one namespace, as coordination.k8s.io/v1 documents them."""

    LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 100
        self.token = ""
        """The bearer token that is asked for, if any."""

    def answer_to(self, method: str, path: str, body: Any, headers: Any) -> tuple[int, Any]:
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            return 401, self.status(401, "Unauthorized", "Unauthorized")
        name = path.removeprefix(self.LEASES).strip("/")
        if method == "GET":
            found = self.objects.get(name)
            return (200, found) if found else self._missing(name)
        self._check(body)
        if method == "POST" and not name:
            name = body["metadata"]["name"]
            if name in self.objects:
                said = f'leases.coordination.k8s.io "{name}" already exists'
                return 409, self.status(409, "AlreadyExists", said)
            return 201, self._store(name, body)
        if name not in self.objects:
            return self._missing(name)
        if body["metadata"]["resourceVersion"] != self.objects[name]["metadata"]["resourceVersion"]:
            said = "the object has been modified; please apply your changes to the latest version"
            return 409, self.status(409, "Conflict", said)
        return 200, self._store(name, body)

    def _store(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version), "uid": "8a1c"}
        self.objects[name] = {**body, "metadata": metadata}
        return self.objects[name]

    def _missing(self, name: str) -> tuple[int, Any]:
        said = f'leases.coordination.k8s.io "{name}" not found'
        return 404, self.status(404, "NotFound", said)

    @staticmethod
    def status(code: int, reason: str, message: str) -> dict[str, Any]:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": reason,
            "message": message,
            "code": code,
        }

    @staticmethod
    def _check(body: dict[str, Any]) -> None:
        """The schema of a Lease, where the API would refuse another."""
        assert (body["apiVersion"], body["kind"]) == ("coordination.k8s.io/v1", "Lease")
        spec = body["spec"]
        assert isinstance(spec["leaseDurationSeconds"], int) and spec["leaseDurationSeconds"] > 0
        assert isinstance(spec["leaseTransitions"], int) and 0 <= spec["leaseTransitions"] < 1 << 31
        for name in ("acquireTime", "renewTime"):
            time.strptime(spec[name], "%Y-%m-%dT%H:%M:%S.%fZ")
        assert all(isinstance(each, str) for each in body["metadata"]["annotations"].values())


class RedisDouble:
    """RESP over TCP: CONFIG GET and our scripts, each done in Python, by a clock of the test's."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.trouble = ""
        self.clock = clock
        self.values: dict[bytes, bytes] = {}
        self.expires: dict[bytes, int] = {}
        self.config = {b"appendonly": b"yes", b"appendfsync": b"always"}
        self.lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def _begin(self, work: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def close(self) -> None:
        """End the threads first: whoever waits for a number that is closed may wake up with
        somebody else's socket."""
        self._end(self._listener)
        self._threads[0].join()
        for each in self._connections:
            self._end(each)
        for thread in self._threads[1:]:
            thread.join()
        for each in (self._listener, *self._connections):
            each.close()

    @staticmethod
    def _end(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # its other side may be gone
            sock.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Close every connection, as a restart does."""
        for each in self._connections:
            self._end(each)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._begin(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        stream = b""
        while True:
            try:
                more = connection.recv(1 << 16)
            except OSError:
                return
            if not more:
                return
            stream += more
            while (read := answer(stream)) is not None:
                words, end = read
                stream = stream[end:]
                if self.trouble == "silent":
                    continue
                with self.lock:
                    said = _resp(self._do(words))
                if self.trouble == "unsaid":
                    self.trouble = ""
                    connection.close()
                    return
                connection.sendall(said)

    def _do(self, words: list[bytes]) -> Any:
        if words[0] == b"CONFIG":
            return [words[2], self.config[words[2]]] if self.config else RespError("NOPERM no")
        assert words[0] == b"EVAL"
        keys = words[3 : 3 + int(words[2])]
        for key, end_ns in list(self.expires.items()):
            if self.clock() >= end_ns:
                del self.expires[key], self.values[key]
        return self._scripts()[words[1].decode()](*keys, *words[3 + len(keys) :])

    def _scripts(self) -> dict[str, Callable[..., Any]]:
        values, expires, clock = self.values, self.expires, self.clock

        def acquire(lease, epoch, _, token, node, px, known):
            if lease in values:
                return [values[lease], (expires[lease] - clock()) // 1_000_000]
            new = max(int(values.get(epoch, b"0")), int(known)) + 1
            values[epoch] = b"%d" % new
            values[lease] = b"%d:%s:%s" % (new, token, node)
            expires[lease] = clock() + int(px) * 1_000_000
            return [new]

        def renew(lease, _, __, mine, px):
            if values.get(lease) != mine:
                return 0
            expires[lease] = clock() + int(px) * 1_000_000
            return 1

        def release(lease, _, __, mine):
            if values.get(lease) != mine:
                return 0
            del values[lease], expires[lease]
            return 1

        def keep(lease, epoch, note, number, mine, text):
            if values.get(epoch) != number or values.get(lease, mine) != mine:
                return 0
            values[note] = number + b":" + text
            return 1

        def read(lease, epoch, note):
            return [values.get(epoch), values.get(lease), values.get(note)]

        return {
            lease_redis._ACQUIRE: acquire,
            lease_redis._RENEW: renew,
            lease_redis._RELEASE: release,
            lease_redis._NOTE: keep,
            lease_redis._READ: read,
        }


def _resp(value: Any) -> bytes:
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(_resp(each) for each in value)
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, RespError):
        return b"-" + str(value).encode() + b"\r\n"
    return b"$%d\r\n%s\r\n" % (len(value), value)
