"""The little HTTP server takes what real clients send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from router_config.sandbox import Sandbox
from tests.sandbox.client import ask, get, post

BODY = json.dumps({"model": "qwen3-embedding-8b", "input": "a"}).encode()


@pytest.fixture
def wire(box: Sandbox) -> Iterator[socket.socket]:
    where = urlsplit(box.bases["scaleway"])
    made = socket.create_connection((where.hostname or "", where.port or 0), timeout=5)
    with made:
        yield made


def head(box: Sandbox, *more: str) -> bytes:
    lines = ["POST /v1/embeddings HTTP/1.1", "Host: x"]
    lines += [f"Authorization: Bearer {box.keys['scaleway']}", *more, "", ""]
    return "\r\n".join(lines).encode()


def status(made: socket.socket) -> bytes:
    """Read one reply whole and return its first line."""
    got = b""
    while b"\r\n\r\n" not in got:
        chunk = made.recv(65_536)
        assert chunk
        got += chunk
    top, _, body = got.partition(b"\r\n\r\n")
    length = int(top.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += made.recv(65_536)
    return top.split(b"\r\n")[0]


def test_a_chunked_body(box: Sandbox, wire: socket.socket) -> None:
    wire.sendall(head(box, "Transfer-Encoding: chunked"))
    for part in (BODY[:5], BODY[5:]):
        wire.sendall(b"%x\r\n%b\r\n" % (len(part), part))
    wire.sendall(b"0\r\n\r\n")
    assert status(wire) == b"HTTP/1.1 200 OK"


def test_a_client_that_waits_for_100_continue(box: Sandbox, wire: socket.socket) -> None:
    wire.sendall(head(box, f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
    assert wire.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.sendall(BODY)
    assert status(wire) == b"HTTP/1.1 200 OK"


def test_a_body_in_small_pieces(box: Sandbox, wire: socket.socket) -> None:
    for byte in head(box, f"Content-Length: {len(BODY)}") + BODY:
        wire.sendall(bytes([byte]))
    assert status(wire) == b"HTTP/1.1 200 OK"


def test_several_requests_on_one_connection(box: Sandbox, wire: socket.socket) -> None:
    request = head(box, f"Content-Length: {len(BODY)}") + BODY
    for _ in range(3):
        wire.sendall(request)
        assert status(wire) == b"HTTP/1.1 200 OK"


def test_two_requests_at_once_on_one_connection(box: Sandbox, wire: socket.socket) -> None:
    wire.sendall((head(box, f"Content-Length: {len(BODY)}") + BODY) * 2)
    got = b""
    while got.count(b"HTTP/1.1 200 OK") < 2:
        got += wire.recv(65_536)


def test_connection_close_is_honoured(box: Sandbox, wire: socket.socket) -> None:
    wire.sendall(head(box, f"Content-Length: {len(BODY)}", "Connection: close") + BODY)
    assert status(wire) == b"HTTP/1.1 200 OK"
    assert wire.recv(1) == b""


@pytest.mark.parametrize(
    "sent", [b"hello\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"a" * 70_000]
)
def test_what_is_not_http_is_refused(wire: socket.socket, sent: bytes) -> None:
    wire.sendall(sent)
    assert wire.recv(65_536).startswith(b"HTTP/1.1 400")


def test_many_connections_at_once(box: Sandbox) -> None:
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda i: ask(box, "scaleway", [f"text {i}"] * 8), range(64)))
    assert {reply.status_code for reply in replies} == {200}
    assert box.totals("scaleway")["calls"] == 64


def test_the_control_port_explains_a_wrong_command(box: Sandbox) -> None:
    unknown = post(box.control + "/explode", json={})
    assert (unknown.status_code, unknown.json()) == (400, {"error": "unknown command 'explode'"})
    wrong = post(box.control + "/down", json={"provder": "scaleway"})
    assert wrong.status_code == 400
    assert "scaleway" in get(box.control).json()["result"]["providers"]
