"""Each fault is what its name says, seen from the other end of a real socket."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import json
import socket
import time
import zlib
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from router_config.sandbox import Sandbox, SandboxError, vectors
from router_config.sandbox.faults import KINDS
from tests.sandbox.client import MODELS, ask, get, post, prompt_tokens, rows, unit

TEXTS = ["один", "two", "三"]
# One provider for each reply shape.
SHAPES = pytest.mark.parametrize("provider", ["scaleway", "deepinfra", "openrouter", "ollama"])


def raw(box: Sandbox, provider: str, *, timeout_s: float = 5.0) -> socket.socket:
    """Send one request by hand and return the socket."""
    body = json.dumps({"model": MODELS[provider], "input": TEXTS}).encode()
    where = urlsplit(box.bases[provider])
    head = (
        f"POST {where.path}/embeddings HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {box.keys[provider]}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    made = socket.create_connection((where.hostname or "", where.port or 0), timeout=timeout_s)
    made.sendall(head.encode() + body)
    return made


def until_reset(made: socket.socket) -> bytes:
    """Return what came before the connection was reset; a normal end fails the test."""
    got = b""
    while True:
        try:
            chunk = made.recv(65_536)
        except ConnectionResetError:
            return got
        assert chunk, "the connection ended in peace"
        got += chunk


# -- the network


def test_down_refuses_connections_and_up_serves_on_the_same_port(box: Sandbox) -> None:
    base = box.bases["scaleway"]
    box.down("scaleway")
    with pytest.raises(httpx.ConnectError):
        ask(box, "scaleway", "a")
    box.up("scaleway")
    assert ask(box, "scaleway", "a").status_code == 200
    assert box.bases["scaleway"] == base


def test_refuse_is_down_until_cleared(box: Sandbox) -> None:
    box.fault("scaleway", "refuse")
    with pytest.raises(httpx.ConnectError):
        ask(box, "scaleway", "a")
    box.clear("scaleway")
    assert ask(box, "scaleway", "a").status_code == 200


def test_down_resets_connections_that_were_kept_alive(box: Sandbox) -> None:
    where = urlsplit(box.bases["scaleway"])
    idle = socket.create_connection((where.hostname or "", where.port or 0), timeout=5)
    ask(box, "scaleway", "a")  # by now the server has seen the idle one too
    box.down("scaleway")
    with pytest.raises(ConnectionResetError):
        idle.recv(1)


def test_hang_reads_all_and_never_answers(box: Sandbox) -> None:
    box.fault("scaleway", "hang")
    with raw(box, "scaleway", timeout_s=0.5) as made, pytest.raises(TimeoutError):
        made.recv(1)
    (entry,) = box.journal("scaleway")
    assert (entry["inputs"], entry["status"], entry["answered"]) == (3, None, False)
    assert (entry["fault"], entry["billed_tokens"]) == ("hang", 0)


def test_hang_unread_leaves_the_request_in_the_socket(box: Sandbox) -> None:
    box.fault("scaleway", "hang_unread")
    with raw(box, "scaleway", timeout_s=0.5) as made:
        with pytest.raises(TimeoutError):
            made.recv(1)
        with pytest.raises(TimeoutError):  # the buffers in between are full at some point
            made.sendall(b"x" * 64_000_000)
    assert box.journal("scaleway")[0]["inputs"] is None


def test_slowloris_sends_a_byte_at_a_time(box: Sandbox) -> None:
    box.fault("scaleway", "slowloris", interval_s=0.05)
    with raw(box, "scaleway") as made:
        head = made.recv(65_536)
        assert head.startswith(b"HTTP/1.1 200")
        assert [len(made.recv(65_536)) for _ in range(3)] == [1, 1, 1]


def test_trickled_headers_come_a_byte_at_a_time(box: Sandbox) -> None:
    box.fault("scaleway", "trickle_headers", interval_s=0.05)
    with raw(box, "scaleway") as made:
        assert [made.recv(65_536) for _ in range(3)] == [b"H", b"T", b"T"]


def test_reset_mid_body_breaks_off_with_a_reset_and_is_billed(box: Sandbox) -> None:
    box.fault("scaleway", "reset_mid_body")
    with raw(box, "scaleway") as made:
        got = until_reset(made)
    assert b'"embedding":[' in got
    (entry,) = box.journal("scaleway")
    assert (entry["status"], entry["answered"]) == (200, False)
    assert entry["billed_nano_usd"] == 10 * entry["tokens"]


def test_reset_before_answer_sends_nothing(box: Sandbox) -> None:
    box.fault("scaleway", "reset_before_answer")
    with raw(box, "scaleway") as made, pytest.raises(ConnectionResetError):
        made.recv(1)
    assert box.journal("scaleway")[0]["billed_tokens"] > 0


def test_slow_answers_late_and_right(box: Sandbox) -> None:
    box.fault("scaleway", "slow", delay_s=0.3)
    start = time.monotonic()
    got = rows(ask(box, "scaleway", TEXTS))
    assert time.monotonic() - start >= 0.3
    assert np.abs(got - vectors(TEXTS)).max() < 1e-7


# -- refusals


@pytest.mark.parametrize("body", ["html", "json", "empty", "own", {"object": "error", "code": 1}])
def test_status_comes_with_the_body_asked_for(box: Sandbox, body: Any) -> None:
    box.fault("scaleway", "status", status=502, body=body, headers={"X-Why": "test"})
    reply = ask(box, "scaleway", "a")
    assert (reply.status_code, reply.headers["x-why"]) == (502, "test")
    if body == "html":
        assert "<h1>502 Bad Gateway</h1>" in reply.text
    elif body == "empty":
        assert reply.content == b""
    elif body == "own":
        assert reply.json()["status"] == 502
    elif body != "json":
        assert reply.json() == body


@pytest.mark.parametrize(
    ("kind", "provider", "status"),
    [
        ("unauthorized", "scaleway", 401),
        ("forbidden", "scaleway", 403),
        ("payment", "openrouter", 402),
        ("payment", "siliconflow", 403),
        ("payment_in_400", "siliconflow", 400),
        ("payment_in_403", "siliconflow", 403),
        ("bad_field", "fireworks", 400),
        ("model_missing", "scaleway", 422),
        ("model_missing", "deepinfra", 404),
    ],
)
def test_refusals_have_the_providers_words(
    box: Sandbox, kind: str, provider: str, status: int
) -> None:
    box.fault(provider, kind)
    reply = ask(box, provider, "a")
    assert reply.status_code == status
    words = {"payment": "insufficient", "bad_field": "encoding_format"}
    assert words.get(kind.split("_in_")[0], "") in reply.text.lower()
    (entry,) = box.journal(provider)
    assert (entry["status"], entry["inputs"], entry["billed_tokens"]) == (status, 1, 0)


@pytest.mark.parametrize(
    ("form", "header", "value"),
    [
        ("seconds", "retry-after", "90"),
        ("duration", "retry-after", "1m30s"),
        ("reset", "x-ratelimit-reset-requests", "1m30s"),
    ],
)
def test_rate_limited_says_when_to_come_back(
    box: Sandbox, form: str, header: str, value: str
) -> None:
    box.fault("deepinfra", "rate_limited", retry_after_s=90, form=form)
    reply = ask(box, "deepinfra", "a")
    assert (reply.status_code, reply.headers[header]) == (429, value)


def test_rate_limited_can_name_a_date(box: Sandbox) -> None:
    box.fault("deepinfra", "rate_limited", retry_after_s=90, form="date")
    named = email.utils.parsedate_to_datetime(ask(box, "deepinfra", "a").headers["retry-after"])
    assert 85 < named.timestamp() - time.time() < 95


def test_openrouter_hides_the_wait_in_metadata(box: Sandbox) -> None:
    box.fault("openrouter", "rate_limited", retry_after_s=17)
    error = ask(box, "openrouter", "a").json()["error"]
    assert error["metadata"]["retry_after_seconds"] == 17


def test_error_in_200(box: Sandbox) -> None:
    box.fault("openrouter", "error_in_200")
    reply = ask(box, "openrouter", "a")
    assert (reply.status_code, reply.json()["error"]["code"]) == (200, 502)


def test_redirect_leads_elsewhere_and_elsewhere_tells_who_came(box: Sandbox) -> None:
    box.fault("scaleway", "redirect", status=307)
    reply = ask(box, "scaleway", "a")
    assert reply.status_code == 307
    assert box.journal("elsewhere") == []
    body = {"model": "m", "input": "a"}
    followed = post(reply.headers["location"], json=body, headers={"authorization": "Bearer k"})
    assert followed.status_code == 200
    assert box.journal("elsewhere")[0]["authorization"] is True


# -- wrong numbers


@SHAPES
def test_nan_comes_as_null(box: Sandbox, provider: str) -> None:
    box.fault(provider, "nan_null", row=1, at=5)
    found = ask(box, provider, TEXTS).json()
    embeddings = found.get("embeddings") or [item["embedding"] for item in found.get("data", [])]
    assert embeddings[1][5] is None
    assert None not in embeddings[0]


@pytest.mark.parametrize(
    ("kind", "options", "literal"),
    [
        ("nan_literal", {}, b",NaN,"),
        ("infinity", {}, b",1e999,"),
        ("infinity", {"literal": "Infinity"}, b",Infinity,"),
        ("infinity", {"literal": "1e39"}, b",1e39,"),
    ],
)
def test_numbers_that_json_does_not_have(
    box: Sandbox, kind: str, options: dict[str, Any], literal: bytes
) -> None:
    box.fault("scaleway", kind, **options)
    assert literal in ask(box, "scaleway", TEXTS).content


@pytest.mark.parametrize("kind", ["nan_null", "infinity"])
def test_base64_carries_the_bits_of_what_is_not_a_number(box: Sandbox, kind: str) -> None:
    box.fault("deepinfra", kind)
    assert not np.isfinite(rows(ask(box, "deepinfra", TEXTS, encoding_format="base64"))[0, 7])


@SHAPES
def test_zero_vector(box: Sandbox, provider: str) -> None:
    box.fault(provider, "zero_vector", row=-1)
    got = rows(ask(box, provider, TEXTS))
    assert not got[2].any()
    assert got[0].any()


@SHAPES
def test_wrong_norm(box: Sandbox, provider: str) -> None:
    box.fault(provider, "wrong_norm", factor=0.25)
    assert np.linalg.norm(rows(ask(box, provider, TEXTS)), axis=1) == pytest.approx(0.25)


@SHAPES
def test_short_vectors(box: Sandbox, provider: str) -> None:
    box.fault(provider, "short_vectors")
    assert rows(ask(box, provider, TEXTS)).shape == (3, 1024)


def test_ragged(box: Sandbox) -> None:
    box.fault("scaleway", "ragged", row=1)
    data = ask(box, "scaleway", TEXTS).json()["data"]
    assert [len(item["embedding"]) for item in data] == [4096, 4095, 4096]


@SHAPES
def test_same_vector(box: Sandbox, provider: str) -> None:
    box.fault(provider, "same_vector")
    got = rows(ask(box, provider, TEXTS))
    assert np.array_equal(got[0], got[2])


def test_base64_of_the_wrong_make(box: Sandbox) -> None:
    def first(kind: str) -> bytes:
        box.clear("deepinfra")
        box.fault("deepinfra", kind)
        reply = ask(box, "deepinfra", TEXTS, encoding_format="base64")
        return base64.b64decode(reply.json()["data"][0]["embedding"])

    expected = vectors(TEXTS)[0]
    assert len(first("base64_short")) == 4 * 4096 - 3
    big_endian = np.frombuffer(first("base64_big_endian"), ">f4").astype(np.float64)
    assert np.abs(big_endian - expected).max() < 1e-7
    assert np.abs(np.frombuffer(first("base64_float64"), "<f8") - expected).max() < 1e-7


def test_floats_for_base64(box: Sandbox) -> None:
    box.fault("deepinfra", "floats_for_base64")
    reply = ask(box, "deepinfra", TEXTS, encoding_format="base64")
    assert isinstance(reply.json()["data"][0]["embedding"], list)


# -- another model


def test_other_seed_is_another_space(box: Sandbox) -> None:
    box.fault("scaleway", "other_seed", seed=9)
    got = rows(ask(box, "scaleway", TEXTS))
    assert np.abs(got - vectors(TEXTS, seed=9)).max() < 1e-7
    assert np.abs(np.sum(got * vectors(TEXTS), axis=1)).max() < 0.1


@pytest.mark.parametrize("cosine", [0.999, 0.98])
def test_noisy_has_the_cosine_asked_for(box: Sandbox, cosine: float) -> None:
    box.fault("fireworks", "noisy", cosine=cosine)
    got = unit(rows(ask(box, "fireworks", TEXTS)))
    assert np.sum(got * vectors(TEXTS), axis=1) == pytest.approx(cosine, abs=1e-6)


def test_missing_end_token_is_counted_one_short_per_text(box: Sandbox) -> None:
    whole = prompt_tokens(ask(box, "scaleway", TEXTS))
    box.fault("scaleway", "missing_end_token")
    reply = ask(box, "scaleway", TEXTS)
    assert prompt_tokens(reply) == whole - 3
    assert np.abs(np.sum(rows(reply) * vectors(TEXTS), axis=1)).max() < 0.1


def test_another_prefix_order_moves_queries_only(box: Sandbox) -> None:
    query = "Instruct: find it\nQuery:where"
    box.fault("scaleway", "prefix_order")
    got = rows(ask(box, "scaleway", [query, *TEXTS]))
    assert np.abs(got[0] - vectors(["Query:where\nInstruct: find it"])).max() < 1e-7
    assert np.abs(got[1:] - vectors(TEXTS)).max() < 1e-7


@pytest.mark.parametrize("provider", ["tei", "deepinfra"])
def test_nan_for_texts_that_begin_with_import(box: Sandbox, provider: str) -> None:
    box.fault(provider, "nan_on_import")
    reply = ask(box, provider, ["import os", "an import"], encoding_format="float")
    first, second = [item["embedding"] for item in reply.json()["data"]]
    assert first == [None] * 4096
    assert np.abs(np.array(second) - vectors(["an import"])).max() < 1e-7


def test_silent_truncation_reads_only_the_start(box: Sandbox) -> None:
    box.fault("scaleway", "silent_truncation", limit=10)
    reply = ask(box, "scaleway", [" a" * 50])
    assert prompt_tokens(reply) == 10
    assert np.abs(rows(reply) - vectors([" a" * 9])).max() < 1e-7


# -- the list and the bill


@SHAPES
def test_fewer_and_more_vectors(box: Sandbox, provider: str) -> None:
    box.fault(provider, "fewer_vectors", times=1)
    box.fault(provider, "more_vectors", times=1, count=2)
    assert len(rows(ask(box, provider, TEXTS))) == 2
    assert len(rows(ask(box, provider, TEXTS))) == 5


def indexes(reply: httpx.Response) -> list[Any]:
    return [item.get("index") for item in reply.json()["data"]]


def test_indexes_missing_shuffled_and_duplicate(box: Sandbox) -> None:
    for kind in ("no_index", "shuffled", "duplicate_index"):
        box.fault("scaleway", kind, times=1)
    assert indexes(ask(box, "scaleway", TEXTS)) == [None, None, None]
    shuffled = ask(box, "scaleway", TEXTS)
    assert indexes(shuffled) == [2, 1, 0]
    assert np.abs(rows(shuffled)[::-1] - vectors(TEXTS)).max() < 1e-7
    assert indexes(ask(box, "scaleway", TEXTS)) == [0, 0, 2]


def test_openrouter_shows_indexes_only_when_they_matter(box: Sandbox) -> None:
    box.fault("openrouter", "shuffled")
    assert indexes(ask(box, "openrouter", TEXTS)) == [2, 1, 0]


def test_ollama_has_no_index_to_shuffle(box: Sandbox) -> None:
    with pytest.raises(SandboxError, match="no index"):
        box.fault("ollama", "shuffled")


@SHAPES
def test_usage_missing(box: Sandbox, provider: str) -> None:
    box.fault(provider, "usage_missing")
    found = ask(box, provider, TEXTS).json()
    assert "usage" not in found
    assert "prompt_eval_count" not in found


@SHAPES
def test_usage_zero_and_absurd_change_the_reply_and_not_the_bill(
    box: Sandbox, provider: str
) -> None:
    honest = prompt_tokens(ask(box, provider, TEXTS))
    box.fault(provider, "usage_zero", times=1)
    box.fault(provider, "usage_absurd", times=1)
    assert prompt_tokens(ask(box, provider, TEXTS)) == 0
    assert prompt_tokens(ask(box, provider, TEXTS)) == 10**15
    assert [entry["billed_tokens"] for entry in box.journal(provider)] == [honest] * 3


def test_inflated_usage_is_also_billed(box: Sandbox) -> None:
    honest = prompt_tokens(ask(box, "scaleway", " a" * 99))
    box.fault("scaleway", "usage_inflated", factor=1.5)
    assert prompt_tokens(ask(box, "scaleway", " a" * 99)) == 1.5 * honest
    assert box.journal("scaleway")[-1]["billed_tokens"] == 1.5 * honest


# -- wrong bytes


def test_truncated_json_is_whole_http_and_half_json(box: Sandbox) -> None:
    box.fault("scaleway", "truncated_json")
    reply = ask(box, "scaleway", TEXTS)
    assert reply.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        reply.json()


def test_wrong_charset_is_utf_16_that_claims_to_be_utf_8(box: Sandbox) -> None:
    box.fault("scaleway", "wrong_charset")
    reply = ask(box, "scaleway", TEXTS)
    assert reply.headers["content-type"].endswith("utf-8")
    assert json.loads(reply.content.decode("utf-16"))["data"]


@SHAPES
def test_invalid_utf8_is_fine_but_for_its_encoding(box: Sandbox, provider: str) -> None:
    box.fault(provider, "invalid_utf8")
    body = ask(box, provider, TEXTS).content
    with pytest.raises(UnicodeDecodeError):
        body.decode()
    assert json.loads(body.decode(errors="replace"))


def test_gzip_bomb_is_small_on_the_wire_and_valid_json_inside(box: Sandbox) -> None:
    box.fault("scaleway", "gzip_bomb", megabytes=40)
    where = urlsplit(box.bases["scaleway"])
    with raw(box, "scaleway", timeout_s=20) as made:
        made.settimeout(2)
        got = b""
        while b"\r\n\r\n" not in got:
            got += made.recv(65_536)
        head, _, body = got.partition(b"\r\n\r\n")
        assert b"content-encoding: gzip" in head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += made.recv(65_536)
    assert where.port
    # A thousandth of its size, beside the one good reply that it begins with.
    assert length < 40 * 1200 + 200_000
    inside = zlib.decompress(body, wbits=31)
    assert len(inside) > 40 * 1024 * 1024
    assert len(json.loads(inside)["data"]) == 3


# -- the schedule


def statuses(box: Sandbox, calls: int) -> list[int]:
    return [ask(box, "scaleway", "a").status_code for _ in range(calls)]


def test_times_counts_the_calls_that_were_struck(box: Sandbox) -> None:
    box.fault("scaleway", "status", times=2)
    assert statuses(box, 4) == [503, 503, 200, 200]


def test_after_and_every(box: Sandbox) -> None:
    box.fault("scaleway", "status", after=1, every=2)
    assert statuses(box, 5) == [200, 200, 503, 200, 503]


def test_flap_serves_some_and_fails_some(box: Sandbox) -> None:
    box.fault("scaleway", "flap", ok=2, fail=1, status=500)
    assert statuses(box, 6) == [200, 200, 500, 200, 200, 500]


def test_probability_is_the_same_in_every_run(box: Sandbox) -> None:
    def drawn() -> list[int]:
        box.clear("scaleway")
        box.fault("scaleway", "status", probability=0.5, random_seed=3)
        return statuses(box, 12)

    first = drawn()
    assert {200, 503} == set(first)
    assert drawn() == first


def test_faults_take_turns_in_the_order_given(box: Sandbox) -> None:
    box.fault("scaleway", "status", status=500, times=1)
    box.fault("scaleway", "status", status=429, times=1)
    assert statuses(box, 3) == [500, 429, 200]


def test_probes_are_spared_unless_meant(box: Sandbox) -> None:
    box.fault("ollama", "status", times=1)
    version = box.bases["ollama"] + "/api/version"
    assert get(version).status_code == 200
    box.clear("ollama")
    box.fault("ollama", "status", where="probes")
    assert get(version).status_code == 503
    assert ask(box, "ollama", "a").status_code == 200


def test_billed_overrides_what_is_charged(box: Sandbox) -> None:
    box.fault("scaleway", "status", times=1, billed=True)
    box.fault("scaleway", "reset_mid_body", times=1, billed=False)
    ask(box, "scaleway", "a")
    with pytest.raises(httpx.HTTPError):
        ask(box, "scaleway", "a")
    assert [entry["billed_tokens"] for entry in box.journal("scaleway")] == [2, 0]


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("explode", {}, "unknown fault 'explode'; known: bad_field"),
        ("status", {"statsu": 1}, "unknown option statsu"),
        ("flap", {}, "needs ok and fail"),
        ("status", {"every": "two"}, "every cannot be 'two'"),
        ("status", {"headers": 1}, "headers cannot be 1"),
        ("rate_limited", {"form": "smoke"}, "form is None, seconds"),
        ("refuse", {"every": 2}, "has no options"),
        ("status", {"where": "mars"}, "embeddings, probes or all"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(
    box: Sandbox, kind: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(SandboxError, match=says):
        box.fault("scaleway", kind, **options)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if KINDS[kind].stage not in ("read", "lost")]
)
def test_every_fault_works_for_every_shape_and_number(box: Sandbox, kind: str) -> None:
    quick = {"interval_s": 0, "delay_s": 0, "megabytes": 1, "ok": 0, "fail": 1}
    options = {name: quick[name] for name in KINDS[kind].options if name in quick}
    if kind == "flap":
        options = {"ok": 0, "fail": 1}
    if kind == "slowloris":
        options["after"] = 2  # its own test has the patience
    for provider in ("scaleway", "deepinfra", "openrouter", "ollama", "tei"):
        if provider == "ollama" and kind in ("shuffled", "duplicate_index", "no_index"):
            continue
        box.fault(provider, kind, **options)
        for texts in (["a"], ["a", "b"]):
            with contextlib.suppress(httpx.ReadError, httpx.RemoteProtocolError):
                ask(box, provider, texts)
        assert box.journal(provider)[-1]["fault"] == (kind if kind != "slowloris" else None)
        assert box.state()["providers"][provider]["internal_errors"] == 0
