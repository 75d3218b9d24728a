"""What every dialect promises about replies: n vectors of 4096, or a fault that says no secret."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._dialects import DIALECTS, Dialect, WireReply, dialect
from plugins._errors import Fault, ProviderFault
from plugins._vectors import check
from tests.plugins.dialect_cases import KEY, NOON, body_of, target, unit_vector

PROSE = "Сбой for the account of Jane Roe"
KEYS = ["code", "data", "detail", "embedding", "embeddings", "error", "headers", "index", "loc"]
KEYS += ["message", "metadata", "raw", "retry_after_seconds", "usage"]


def read(speak: Dialect, body: bytes, n: int = 1, **more: Any) -> WireReply:
    return speak.reply(200, {}, body, n, target(speak, **more))


def fault_of_200(speak: Dialect, body: bytes, n: int = 1) -> ProviderFault:
    with pytest.raises(ProviderFault) as caught:
        read(speak, body, n)
    return caught.value


def fault_of(speak: Dialect, status: int, body: bytes = b"", **headers: str) -> ProviderFault:
    lower = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(ProviderFault) as caught:
        speak.reply(status, lower, body, 1, target(speak), now_s=NOON)
    return caught.value


def test_vectors_come_in_the_order_of_the_texts(speak: Dialect) -> None:
    reply = read(speak, body_of(speak, "<<floats 1>>", "<<floats 2>>"), n=2)
    assert reply.vectors.dtype == np.float32
    assert np.array_equal(reply.vectors, [unit_vector(1), unit_vector(2)])
    assert reply.prompt_tokens == 9


@pytest.mark.parametrize("counts", ["characters", "none"])
def test_counts_that_are_not_tokens_are_not_passed_on(speak: Dialect, counts: str) -> None:
    reply = read(speak, body_of(speak, "<<floats 1>>"), usage_counts=counts)
    assert reply.prompt_tokens is None


@pytest.mark.parametrize(
    "vectors",
    [
        [],
        ["<<floats 1>>"],
        ["<<floats 1>>", "<<floats 2>>", "<<floats 3>>"],
        ["<<floats 1>>", "<<floats 2 of 1024>>"],
        ["<<floats 1>>", "<<floats 2 of 4097>>"],
        ["<<floats 1>>", "[]"],
        ["<<floats 1>>", "null"],
        ["<<floats 1>>", "<<nulls>>"],
        ["<<floats 1>>", "<<nan 2>>"],
        ["<<floats 1>>", "[<<floats 2>>]"],
        ["<<floats 1>>", '"text"'],
        ["<<floats 1>>", "true"],
        ["<<floats 1>>", "<<base64 2 of 1024>>"],
        ["<<floats 1>>", "<<base64 2 as float64>>"],
    ],
    ids=str,
)
def test_reply_that_is_not_n_vectors_of_4096_is_corrupt(speak: Dialect, vectors: list[str]) -> None:
    fault = fault_of_200(speak, body_of(speak, *vectors), n=2)
    assert fault.fault is Fault.CORRUPT
    assert fault.status == 200


def test_big_endian_base64_does_not_pass_the_check_of_numbers(speak: Dialect) -> None:
    reply = read(speak, body_of(speak, "<<base64 1 as big-endian>>"))
    with pytest.raises(ProviderFault) as caught:
        check(reply.vectors, ["a"], normalised=True)
    assert caught.value.fault is Fault.CORRUPT


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"text"',
        b"\xff\xfe{\x00}\x00",
        '{"data":[],"embeddings":[],"x":"é"}'.encode("latin-1"),
        b"<html><body>Welcome</body></html>",
        b'{"message":[' + b"0.5," * 300 + b"0.5]}",
        b'{"data":[' + b"0.5," * 300 + b"0.5]}",
        b'{"id":"1","choices":[{"message":{"role":"assistant","content":"hi"}}]}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_200_with_something_else_is_corrupt(speak: Dialect, body: bytes) -> None:
    assert fault_of_200(speak, body).fault is Fault.CORRUPT


def test_truncated_json_is_corrupt(speak: Dialect) -> None:
    whole = body_of(speak, "<<floats 1>>")
    for size in (1, 100, len(whole) // 2, len(whole) - 1):
        assert fault_of_200(speak, whole[:size]).fault is Fault.CORRUPT


def test_error_in_a_200_is_the_error_it_says(speak: Dialect) -> None:
    body = b'{"error":{"code":529,"message":"Provider returned error"}}'
    fault = fault_of_200(speak, body)
    assert (fault.fault, fault.status) == (Fault.OVERLOAD, 200)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, Fault.SERVER),
        (302, Fault.SERVER),
        (304, Fault.SERVER),
        (308, Fault.SERVER),
        (202, Fault.SERVER),
        (401, Fault.AUTH),
        (402, Fault.PAYMENT),
        (403, Fault.AUTH),
        (404, Fault.MODEL),
        (413, Fault.TOO_LONG),
        (418, Fault.SERVER),
        (429, Fault.RATE),
        (500, Fault.SERVER),
        (502, Fault.SERVER),
        (503, Fault.OVERLOAD),
        (520, Fault.SERVER),
        (529, Fault.OVERLOAD),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>oops</html>", b'{"error":{"message":"no"}}'])
def test_status_alone_decides_where_it_can(
    speak: Dialect, status: int, expected: Fault, body: bytes
) -> None:
    fault = fault_of(speak, status, body)
    assert (fault.fault, fault.status, fault.sent) == (expected, status, True)


@pytest.mark.parametrize("status", [400, 403])
def test_empty_account_is_payment_in_any_status(speak: Dialect, status: int) -> None:
    body = b'{"error":{"message":"Insufficient balance"}}'
    assert fault_of(speak, status, body).fault is Fault.PAYMENT


def test_refused_field_is_named_in_the_detail(speak: Dialect) -> None:
    body = b'{"error":{"message":"Unknown parameter: encoding_format"}}'
    fault = fault_of(speak, 400, body)
    assert fault.fault is Fault.DIALECT
    assert fault.detail.endswith("encoding_format")


def test_unknown_400_is_mild(speak: Dialect) -> None:
    assert fault_of(speak, 400, b'{"error":{"message":"no"}}').fault is Fault.SERVER


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("7", 7.0),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0.0),
        ("1m30s", 90.0),
        ("soon", None),
    ],
)
def test_rate_limit_rests_as_told(speak: Dialect, said: str, expected: float | None) -> None:
    assert fault_of(speak, 429, b"{}", retry_after=said).retry_after_s == expected


@pytest.mark.parametrize("status", [401, 402, 404])
def test_what_waiting_cannot_cure_carries_no_wait(speak: Dialect, status: int) -> None:
    assert fault_of(speak, status, b"{}", retry_after="7").retry_after_s is None


# What may be said


@pytest.mark.parametrize("status", [200, 400, 401, 403, 422, 429, 500])
@pytest.mark.parametrize(
    "shape",
    [
        '{"error":{"message":"%s","type":"%s","code":"%s"}}',
        '{"error":"%s %s %s"}',
        '{"detail":[{"loc":["body","%s"],"msg":"%s","type":"%s"}]}',
        '{"code":"%s","message":"%s","data":null,"type":"%s"}',
        '"%s %s %s"',
        "%s %s %s",
        "<html>%s %s %s</html>",
    ],
)
def test_detail_has_neither_prose_nor_key(speak: Dialect, status: int, shape: str) -> None:
    body = (shape % (PROSE, KEY, f"Bearer {KEY}")).encode()
    said = str(fault_of(speak, status, body))
    assert KEY not in said
    assert PROSE not in said
    assert "Jane" not in said


def test_code_that_shows_a_part_of_the_key_is_left_out(speak: Dialect) -> None:
    body = f'{{"error":{{"message":"no","code":"{KEY[:9]}...{KEY[-4:]}"}}}}'.encode()
    assert KEY[:9] not in fault_of(speak, 401, body).detail


def test_code_that_is_a_short_identifier_is_shown(speak: Dialect) -> None:
    body = b'{"error":{"message":"no","code":"invalid_api_key"}}'
    assert "(invalid_api_key)" in fault_of(speak, 401, body).detail


@given(
    name=st.sampled_from(sorted(DIALECTS)),
    status=st.integers(100, 599),
    body=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(KEYS),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "date", "x-ratelimit-reset-tokens"]),
        st.text(max_size=40),
    ),
)
def test_any_reply_is_a_provider_fault_and_nothing_else(
    name: str, status: int, body: bytes, headers: dict[str, str]
) -> None:
    speak = dialect(name)
    with pytest.raises(ProviderFault) as caught:
        speak.reply(status, headers, body, 1, target(speak), now_s=NOON)
    wait = caught.value.retry_after_s
    assert wait is None or 0 <= wait < 1e13


# The size limit


def test_size_limit_fits_the_longest_honest_reply(speak: Dialect) -> None:
    longest = ",\n".join(["-0.0123456789012345678e-05"] * 4096)
    body = body_of(speak, *[f"[{longest}]"] * 32)
    assert len(body) <= speak.max_reply_bytes(32)


def test_size_limit_is_within_twice_of_it(speak: Dialect) -> None:
    assert speak.max_reply_bytes(32) <= 2 * 32 * 4096 * 26
    assert speak.max_reply_bytes(1) <= 512 * 1024


def test_base64_of_the_right_vector_is_read(speak: Dialect) -> None:
    encoded = base64.b64encode(unit_vector(3).astype("<f4").tobytes()).decode()
    reply = read(speak, body_of(speak, f'"{encoded}"'), base64=True)
    assert np.array_equal(reply.vectors, [unit_vector(3)])
