"""Large and malformed bodies: refused before they are parsed, and others are served meanwhile.

Others are answered within 250 ms, in one of a few tries: a busy machine may hold up anybody once.
Plain LiteLLM was silent for 14 s.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import threading
import time
from collections.abc import Callable, Iterator

import orjson
import pytest

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.answers import calls, refused
from tests.proxy.harness import Proxy
from tests.proxy.sockets import connect, exchange, head, watched
from tests.sizes import size

MODEL = configs.solo("vllm")
LIMIT = 16 * 1024 * 1024
BOUND_S = 0.25
TRIES = 3
BLOCK = b"x" * 65_536


@pytest.fixture(scope="module", autouse=True)
def idle(proxy: Proxy) -> Iterator[tuple[http.client.HTTPConnection, float]]:
    """A connection that was used once, and when that was: here, where the tests take their time."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
    _alive(connection)
    yield connection, time.monotonic()
    connection.close()


def _alive(connection: http.client.HTTPConnection) -> None:
    connection.auto_open = 0 if connection.sock else 1  # the same one, or none
    connection.request("GET", "/health/liveliness")
    assert connection.getresponse().read()


@pytest.fixture
def free(box: Sandbox) -> Iterator[Sandbox]:
    """The sandbox; the test fails if a single call reached any provider."""
    yield box
    assert calls(box) == {}


def chunked(blocks: int) -> Iterator[bytes]:
    """Yield a chunked request body of so many blocks."""
    yield head({"transfer-encoding": "chunked"})
    for _ in range(blocks):
        yield b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK)
    yield b"0\r\n\r\n"


def padded(length: int) -> bytes:
    """Return a good request of exactly *length* bytes."""
    body = orjson.dumps({"model": MODEL, "input": "text", "dimensions": 32})
    return body[:-1] + b" " * (length - len(body)) + b"}"


@pytest.mark.usefixtures("free")
def test_a_body_over_the_limit_is_refused_unread(proxy: Proxy) -> None:
    # It is not JSON at all: had it been parsed, the answer would be another.
    message = refused(proxy.post(b"x" * (LIMIT + 1)), 413, "request_too_large")
    assert "16 MB" in message


@pytest.mark.usefixtures("free")
def test_the_limit_stands_before_the_key(proxy: Proxy) -> None:
    refused(proxy.post(b"x" * (LIMIT + 1), key=None), 413, "request_too_large")


@pytest.mark.usefixtures("free")
def test_a_length_over_the_limit_is_refused_before_any_of_it_is_sent(proxy: Proxy) -> None:
    refused(exchange(proxy, [head({"content-length": "52428800"})]), 413, "request_too_large")


@pytest.mark.usefixtures("free")
def test_a_body_without_a_length_is_counted_while_it_comes(proxy: Proxy) -> None:
    refused(exchange(proxy, chunked(LIMIT // len(BLOCK) + 1)), 413, "request_too_large")


@pytest.mark.usefixtures("free")
def test_an_endless_body_is_cut_off(proxy: Proxy) -> None:
    refused(exchange(proxy, chunked(size(4_000, 40_000))), 413, "request_too_large")


@pytest.mark.parametrize("length", [LIMIT - 1, LIMIT])
def test_a_body_up_to_the_limit_passes(proxy: Proxy, box: Sandbox, length: int) -> None:
    assert proxy.post(padded(length)).status_code == 200
    assert calls(box) == {"vllm": 1}


@pytest.mark.usefixtures("free")
def test_a_length_that_is_too_small_leaves_no_second_request_behind(proxy: Proxy) -> None:
    # What follows the stated length must not be taken for a request of its own.
    hidden = head({"content-length": "2"}) + b"{}"
    answer = exchange(proxy, [head({"content-length": "5"}), b"{}   ", hidden])
    refused(answer, 400, "invalid_input", "model")


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    "headers",
    [
        {"content-length": "-1"},
        {"content-length": "1e3"},
        {"content-length": "0x10"},
        {"content-length": "7, 8"},
        {"content-length": "7", "transfer-encoding": "chunked"},
        {"transfer-encoding": "gzip"},
    ],
)
def test_a_length_that_makes_no_sense_is_refused(proxy: Proxy, headers: dict[str, str]) -> None:
    answer = exchange(proxy, [head(headers), b'{"a":1}\r\n\r\n'])
    assert 400 <= answer.status_code < 500


@pytest.mark.usefixtures("free")
def test_a_compressed_body_is_not_unpacked(proxy: Proxy) -> None:
    response = proxy.post(b"\x1f\x8b\x08\x00", headers={"content-encoding": "gzip"})
    refused(response, 400, "invalid_json")


# -- others are served meanwhile


def undisturbed(proxy: Proxy, what: str, work: Callable[[], None]) -> None:
    """Check that the proxy shows that it is alive while *work* is done."""
    worst = []
    for _ in range(TRIES):
        with watched(proxy, what) as liveness:
            work()
        worst.append(liveness.worst_s)
        if worst[-1] < BOUND_S:
            return
    raise AssertionError(f"{what}: liveness took {worst} s")


@pytest.mark.usefixtures("free")
def test_50_megabytes_do_not_hold_up_others(proxy: Proxy) -> None:
    def work() -> None:
        refused(proxy.post(b" " * 50_000_000), 413, "request_too_large")
        refused(exchange(proxy, chunked(50_000_000 // len(BLOCK))), 413, "request_too_large")

    undisturbed(proxy, "50 MB", work)


@pytest.mark.usefixtures("free")
def test_200000_inputs_do_not_hold_up_others(proxy: Proxy) -> None:
    body = orjson.dumps({"model": MODEL, "input": ["x"] * 200_000})

    def work() -> None:
        for _ in range(3):
            refused(proxy.post(body), 400, "too_many_inputs", "input")

    undisturbed(proxy, "200,000 inputs", work)


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    ("what", "filling", "code"),
    [
        ("lists", b'"a":[' + b"[]," * 5_000_000 + b"1]", "invalid_json"),
        ("nesting", b'"a":' + b"[" * 8_000_000 + b"]" * 8_000_000, "invalid_json"),
        ("fields", b",".join(b'"inputs%d":0' % i for i in range(700_000)), "invalid_json"),
        ("escapes", b'"input":"' + b'\\"' * 7_500_000 + b'"', "context_length_exceeded"),
        ("ids", b'"input":[' + b"1," * 5_000_000 + b"1]", "invalid_json"),
        ("fewer", b'"input":[' + b"1234567890123," * 490_000 + b"1]", "token_input_not_supported"),
        ("integers", b'"input":"x","a":[' + b"1," * 8_000_000 + b"1]", "invalid_json"),
        ("floats", b'"input":"x","a":[' + b"1.5," * 4_000_000 + b"1]", "invalid_json"),
        ("strings", b'"input":"x","a":[' + b'"",' * 5_500_000 + b"1]", "invalid_json"),
        ("codes", b'"input":"' + b"\\u0041" * 2_700_000 + b'"', "context_length_exceeded"),
        ("digits", b'"dimensions":' + b"1" * 15_000_000, "invalid_json"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isalpha() else "",
)
def test_the_worst_bodies_under_the_limit_do_not_hold_up_others(
    proxy: Proxy, what: str, filling: bytes, code: str
) -> None:
    body = b'{"model":"%b",%b}' % (MODEL.encode(), filling)
    assert len(body) < LIMIT

    def known() -> None:
        assert proxy.post(body).json()["error"]["code"] == code

    def stranger() -> None:
        assert proxy.post(body, key=None).status_code in (400, 401)

    undisturbed(proxy, f"16 MB of {what}", known)
    undisturbed(proxy, f"16 MB of {what} without a key", stranger)


def test_slow_bodies_and_huge_headers_do_not_hold_up_others(proxy: Proxy, box: Sandbox) -> None:
    def work() -> None:
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(connect(proxy)) for _ in range(size(50, 300))]
            for one in slow:  # a body that begins and does not go on
                one.sendall(head({"content-length": "1000000"}) + b"{")
            for _ in range(20):  # more than the server reads of a head
                answer = exchange(proxy, [head({"x-much": "y" * 2_000_000}), b"{}"])
                assert answer.status_code in (400, 431)
            bomb = gzip.compress(b" " * 50_000_000)
            reply = proxy.post(bomb, headers={"content-encoding": "gzip"})
            refused(reply, 400, "invalid_json")

    undisturbed(proxy, "slow bodies, huge headers and a gzip bomb", work)
    assert calls(box) == {}


@pytest.mark.parametrize(
    ("texts", "fields"),
    [
        ([f"{i} " + "word " * 1500 for i in range(2048)], {"dimensions": 32}),
        ([f"{i} word" for i in range(2048)], {}),
        ([f"{i} word" for i in range(2048)], {"encoding_format": "base64"}),
    ],
    ids=["long-texts", "floats", "base64"],
)
def test_the_largest_good_requests_do_not_hold_up_others(
    proxy: Proxy, box: Sandbox, texts: list[str], fields: dict[str, object]
) -> None:
    def work() -> None:
        response = proxy.post({"model": MODEL, "input": texts, **fields})
        assert response.status_code == 200
        # Reading 100 MB of JSON would hold up the watch, which is a thread of this process.
        assert response.content.count(b'"index":') == 2048

    undisturbed(proxy, "2,048 inputs", work)
    assert set(calls(box)) == {"vllm"}


def test_many_long_texts_do_not_hold_up_short_ones(proxy: Proxy, box: Sandbox) -> None:
    # Slashes are what the tokenizer is slowest at: a second of one core for a megabyte.
    texts = ["/" * size(800_000, 4_000_000), "я" * 100_000]  # the second one is too long
    slow = orjson.dumps({"model": MODEL, "input": texts})
    senders = [threading.Thread(target=proxy.post, args=(slow,)) for _ in range(8)]
    for sender in senders:
        sender.start()
    response = proxy.post({"model": MODEL, "input": "short", "dimensions": 32}, timeout_s=20)
    waiting = sum(sender.is_alive() for sender in senders)
    for sender in senders:
        sender.join()
    assert response.status_code == 200
    assert waiting > 0
    assert calls(box) == {"vllm": 1}


def test_who_keeps_a_connection_finds_it_open(
    idle: tuple[http.client.HTTPConnection, float],
) -> None:
    connection, since = idle
    # As long as httpx keeps one, and with it OpenAI's client; a little more for slow machines.
    time.sleep(max(0.0, since + 6 - time.monotonic()))
    _alive(connection)
