"""JSON over HTTP/1.1 for stores that have such an interface: one kept connection, one deadline.

A request that fails on a connection that was kept from before is sent once more on a new one: the
server may have closed it meanwhile.  So a request can be carried out twice, or carried out without
an answer; whoever uses this writes by comparing with a version, which makes both harmless.
"""

import http.client
import json
import socket
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tickpath.config import Component, ConfigError
from tickpath.failover.lease import LeaseError

MAX_BODY = 1 << 20


class Tls(Component, frozen=True):
    """Files for https; an empty name: the system's authorities, no certificate of our own."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def context(self) -> ssl.SSLContext:
        """Raises `ConfigError` where a file is not what it should be."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file or None)
        except OSError as error:
            named = self.ca_file or self.cert_file
            raise ConfigError(f"{named}: not usable for TLS: {error}") from None
        return context


class JsonHttp:
    """Servers that answer alike, of which one is asked, until it fails."""

    def __init__(self, urls: tuple[str, ...], tls: Tls, *, token_file: str = ""):
        """``token_file`` holds a bearer token; it is read for every connection, since it changes.

        Raises `ConfigError` for a URL that is none.
        """
        self._servers = [urlsplit(each) for each in urls]
        for url, server in zip(urls, self._servers, strict=True):
            if server.scheme not in ("http", "https") or not server.hostname:
                raise ConfigError(f"{url!r}: it takes http://HOST:PORT or https://HOST:PORT")
        if not urls:
            raise ConfigError("no server is given")
        is_secure = any(each.scheme == "https" for each in self._servers)
        self._context = tls.context() if is_secure else None
        self._token_file = token_file
        self._at = 0
        self._connection: http.client.HTTPConnection | None = None
        self._headers: dict[str, str] = {}
        self._deadline = 0.0
        self._timeout_s = 0.0

    def begin(self, timeout_s: float) -> None:
        """A call begins: all requests from now on share this time."""
        self._timeout_s, self._deadline = timeout_s, time.monotonic() + timeout_s

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, decoded body).  Raises `LeaseError` where no server answers in time."""
        failure: object = "no time is left"
        for _ in range(2 * len(self._servers)):
            if time.monotonic() >= self._deadline:
                break
            was_kept = self._connection is not None
            try:
                return self._once(method, path, body)
            except (OSError, http.client.HTTPException, ValueError) as error:
                failure = error
                self.close()
                if not was_kept or isinstance(error, TimeoutError):
                    self._at = (self._at + 1) % len(self._servers)
        server = self._servers[self._at]
        raise LeaseError(
            f"{server.scheme}://{server.netloc}: no answer within {self._timeout_s * 1e3:g} ms: "
            f"{failure or type(failure).__name__}"
        )

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _once(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        connection = self._connected()
        encoded = None if body is None else json.dumps(body).encode()
        self._wait_for(connection)
        connection.request(method, path, encoded, self._headers)
        self._wait_for(connection)
        with connection.getresponse() as response:
            self._wait_for(connection)
            raw = response.read(MAX_BODY + 1)
            if len(raw) > MAX_BODY:
                raise ValueError(f"an answer of more than {MAX_BODY} bytes")
            if response.will_close:
                self.close()
            return response.status, json.loads(raw) if raw.strip() else None

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is not None:
            return self._connection
        server, left = self._servers[self._at], self._left()
        assert server.hostname is not None
        connection: http.client.HTTPConnection
        if server.scheme == "https":
            connection = http.client.HTTPSConnection(
                server.hostname, server.port, timeout=left, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(server.hostname, server.port, timeout=left)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token_file:
            token = Path(self._token_file).read_text().strip()
            self._headers["Authorization"] = f"Bearer {token}"
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        return connection

    def _wait_for(self, connection: http.client.HTTPConnection) -> None:
        if connection.sock is not None:
            connection.sock.settimeout(self._left())

    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), 1e-3)
