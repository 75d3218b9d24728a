"""Requests that no HTTP client would send: bytes on a socket, and a watch on who still answers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx

from tests.proxy.harness import MASTER_KEY, PLAIN, Proxy

__all__ = ["Liveness", "connect", "exchange", "head", "watched"]


def head(
    headers: Mapping[str, str], *, path: str = "/v1/embeddings", key: str = MASTER_KEY
) -> bytes:
    """Return the start of a POST request, its empty line included."""
    lines = [f"POST {path} HTTP/1.1", "host: router", f"authorization: Bearer {key}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@contextlib.contextmanager
def connect(proxy: Proxy) -> Iterator[socket.socket]:
    """Open a connection to *proxy*."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as connection:
        yield connection


def exchange(proxy: Proxy, parts: Iterable[bytes]) -> httpx.Response:
    """Send *parts* as they are and return the answer; the server may answer before it has all."""
    with connect(proxy) as connection:
        # A server that closes with unread bytes before it resets the connection; its answer is in.
        with contextlib.suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
        return httpx.Response(**_answer(connection))


def _answer(connection: socket.socket) -> dict[str, Any]:
    received = b""
    with contextlib.suppress(ConnectionError):
        while (found := _complete(received)) is None:
            block = connection.recv(65_536)
            if not block:
                break
            received += block
        else:
            return found
    start, _, body = received.partition(b"\r\n\r\n")  # ends with the connection
    return {**_head(start), "content": body}


def _complete(received: bytes) -> dict[str, Any] | None:
    start, found, body = received.partition(b"\r\n\r\n")
    read = _head(start) if found else None
    length = int(read["headers"].get("content-length", 1 << 40)) if read is not None else 0
    if read is None or len(body) < length:
        return None
    return {**read, "content": body[:length]}  # what follows answers the next request


def _head(start: bytes) -> dict[str, Any]:
    first, *lines = start.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return {"status_code": int(first.split()[1]), "headers": headers}


class Liveness:
    """How long the slowest look at the proxy's liveness took, in seconds."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self.looks = 0


@contextlib.contextmanager
def watched(proxy: Proxy, what: str) -> Iterator[Liveness]:
    """Ask for the proxy's liveness all the while, and print how long the slowest answer took."""
    found, done = Liveness(), threading.Event()

    def watch() -> None:
        with httpx.Client(base_url=proxy.base, timeout=60, **PLAIN) as client:
            while not done.wait(0.01):
                began = time.monotonic()
                client.get("/health/liveliness").raise_for_status()
                found.worst_s = max(found.worst_s, time.monotonic() - began)
                found.looks += 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        time.sleep(0.1)
        yield found
    finally:
        done.set()
        watcher.join()
        print(f"liveness under {what}: worst {found.worst_s * 1000:.0f} ms of {found.looks} looks")
