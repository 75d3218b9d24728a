"""A bad request gets the documented 4xx in OpenAI's shape, and no provider hears of it.

Every test ends by looking into the journals of all emulated providers: nothing was sent, so
nothing can have been billed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.answers import calls, refused, sent_texts
from tests.proxy.harness import Proxy

MODEL = configs.solo("vllm")
GOOD = json.dumps({"model": MODEL, "input": "text"})


@pytest.fixture
def free(box: Sandbox) -> Iterator[Sandbox]:
    """The sandbox; the test fails if a single call reached any provider."""
    yield box
    assert calls(box) == {}


def ask(proxy: Proxy, **fields: Any) -> Any:
    return proxy.post({"model": MODEL, "input": "text", "dimensions": 32, **fields})


# -- C1: inputs that are no text


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("value", [None, {}, {"text": "x"}, 1, 1.5, True, False, "", []])
def test_an_input_that_is_no_text_is_refused(proxy: Proxy, value: Any) -> None:
    refused(ask(proxy, input=value), 400, "invalid_input", "input")


@pytest.mark.usefixtures("free")
def test_a_request_without_input_is_refused(proxy: Proxy) -> None:
    refused(proxy.post({"model": MODEL}), 400, "invalid_input", "input")


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("bad", ["", None, 1, 1.5, True, {}, [], ["nested"], [1]])
def test_the_bad_input_among_good_ones_is_named(proxy: Proxy, bad: Any) -> None:
    message = refused(ask(proxy, input=["good", "good", bad, ""]), 400, "invalid_input", "input[2]")
    assert "input[2]" in message


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("model", [None, "", 1, [], {}, True])
def test_a_model_that_is_no_name_is_refused(proxy: Proxy, model: Any) -> None:
    refused(ask(proxy, model=model), 400, "invalid_input", "model")


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    "model", ["gpt-4o", "solo-vll", "SOLO-VLLM", "solo-vllm:passage", "x" * 5000, "a\nb\u0000", "*"]
)
def test_a_model_that_does_not_exist_is_not_found(proxy: Proxy, model: str) -> None:
    message = refused(ask(proxy, model=model), 404, "model_not_found", "model")
    assert len(message) < 500
    assert message.isprintable()


@pytest.mark.usefixtures("free")
def test_no_model_at_all_is_refused(proxy: Proxy) -> None:
    refused(proxy.post({"input": "x"}), 400, "invalid_input", "model")


# -- C3: too many inputs


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("count", [2049, 5000])
def test_more_than_2048_inputs_are_refused(proxy: Proxy, count: int) -> None:
    message = refused(ask(proxy, input=["x"] * count), 400, "too_many_inputs", "input")
    assert str(count) in message
    assert "2048" in message


def test_2048_inputs_pass_in_order(proxy: Proxy, box: Sandbox) -> None:
    texts = [f"text number {i}" for i in range(2048)]
    response = ask(proxy, input=texts, encoding_format="base64")
    assert response.status_code == 200
    data = response.json()["data"]
    assert [item["index"] for item in data] == list(range(2048))
    assert len({item["embedding"] for item in data}) == 2048
    assert len(sent_texts(box, "vllm")) == 2048


# -- C5: token arrays


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("ids", [[1, 2, 3], [[1, 2, 3]], [[1], [2, 3]], [15339], [0]])
def test_token_arrays_are_refused_with_the_setting_to_change(proxy: Proxy, ids: Any) -> None:
    message = refused(ask(proxy, input=ids), 400, "token_input_not_supported", "input")
    assert "check_embedding_ctx_length=False" in message


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("group", ["cl100k", "qwen3-ids", MODEL])
@pytest.mark.parametrize(
    ("ids", "param"),
    [
        ([1, "a"], "input"),
        ([1, -1], "input"),
        ([1, True], "input"),
        ([1, 1.0], "input"),
        ([1, None], "input"),
        ([[1], []], "input[1]"),
        ([[1], "a"], "input[1]"),
        ([[1], [1.5]], "input[1]"),
        ([[1], [[1]]], "input[1]"),
        ([["a"]], "input[0]"),
    ],
)
def test_token_arrays_with_something_else_in_them_are_refused(
    proxy: Proxy, group: str, ids: Any, param: str
) -> None:
    refused(ask(proxy, model=group, input=ids), 400, "invalid_input", param)


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("group", ["cl100k", "qwen3-ids"])
@pytest.mark.parametrize("ids", [[10**9], [[1], [2**63]], [2**31], [[152_000, 300_000]]])
def test_an_id_that_the_vocabulary_lacks_is_refused(proxy: Proxy, group: str, ids: Any) -> None:
    refused(ask(proxy, model=group, input=ids), 400, "invalid_input", "input")


# -- C6, C7: fields with values that make no sense


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    "value", [0, 31, 4097, -1, 1.5, 1024.0, "1024", "", True, False, [], [512], {}, 10**30]
)
def test_dimensions_outside_32_to_4096_are_refused(proxy: Proxy, value: Any) -> None:
    refused(ask(proxy, dimensions=value), 400, "invalid_dimensions", "dimensions")


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("value", [32, 256, 513, 4096])
def test_dimensions_that_the_group_does_not_allow_are_refused(proxy: Proxy, value: int) -> None:
    message = refused(
        ask(proxy, model="few-dimensions", dimensions=value),
        400,
        "invalid_dimensions",
        "dimensions",
    )
    assert "512, 1024" in message


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        (MODEL, {}, 4096),
        (MODEL, {"dimensions": None}, 4096),
        (MODEL, {"dimensions": 32}, 32),
        (MODEL, {"dimensions": 33}, 33),
        (MODEL, {"dimensions": 4096}, 4096),
        ("few-dimensions", {}, 1024),
        ("few-dimensions", {"dimensions": None}, 1024),
        ("few-dimensions", {"dimensions": 512}, 512),
    ],
)
@pytest.mark.usefixtures("box")
def test_null_means_the_default_of_the_group(
    proxy: Proxy, model: str, fields: dict[str, Any], expected: int
) -> None:
    response = proxy.post({"model": model, "input": "text", **fields})
    assert len(response.json()["data"][0]["embedding"]) == expected


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("value", ["hex", "FLOAT", "Base64", "", 1, True, [], ["float"], {}])
def test_an_unknown_encoding_is_refused(proxy: Proxy, value: Any) -> None:
    refused(ask(proxy, encoding_format=value), 400, "invalid_input", "encoding_format")


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("truncate", "end"),
        ("truncate", True),
        ("truncate", "START"),
        ("input_type", "passage"),
        ("input_type", 1),
        ("instruct", 1),
        ("instruct", ["a"]),
        ("instruct", "x" * 4097),
        ("user", 7),
        ("user", {}),
        ("user", "u" * 1025),
    ],
)
def test_a_field_of_ours_with_a_wrong_value_is_refused(
    proxy: Proxy, field: str, value: Any
) -> None:
    refused(ask(proxy, **{field: value}), 400, "invalid_input", field)


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("dimension", "dimensions"),
        ("inputs", "input"),
        ("encoding_formats", "encoding_format"),
        ("input_types", "input_type"),
    ],
)
def test_a_misspelt_field_is_refused_with_the_right_name(
    proxy: Proxy, name: str, meant: str
) -> None:
    assert f"`{meant}`" in refused(ask(proxy, **{name: 1}), 400, "invalid_input", meant)


@pytest.mark.usefixtures("free")
def test_a_wrong_input_type_in_the_header_is_refused(proxy: Proxy) -> None:
    response = proxy.post(
        {"model": MODEL, "input": "x"}, headers={"x-router-input-type": "passage"}
    )
    refused(response, 400, "invalid_input", "input_type")


# -- C12: bodies that are not one JSON object

_DEEP = 100_000


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'"text"', id="string"),
        pytest.param(GOOD.encode()[:-1], id="cut-off"),
        pytest.param(GOOD.encode() + b"x", id="tail"),
        pytest.param(GOOD.encode() * 2, id="two-objects"),
        pytest.param(GOOD.encode("utf-16"), id="utf-16"),
        pytest.param(b"\xef\xbb\xbf" + GOOD.encode(), id="byte-order-mark"),
        pytest.param(GOOD.replace("text", "\\ud800").encode(), id="lone-high-surrogate"),
        pytest.param(GOOD.replace("text", "\\udc00x").encode(), id="lone-low-surrogate"),
        pytest.param(GOOD.encode().replace(b"text", b"\xff\xfe"), id="invalid-utf-8"),
        pytest.param(GOOD.encode().replace(b"text", b"\xed\xa0\x80"), id="surrogate-in-utf-8"),
        pytest.param(GOOD.encode().replace(b"text", b"\xc0\xaf"), id="overlong-utf-8"),
        pytest.param(GOOD.encode().replace(b"text", b"a\nb"), id="control-character-in-string"),
        pytest.param(GOOD.encode().replace(b"text", b"\x00"), id="raw-nul-in-string"),
        pytest.param(GOOD.encode().replace(b'"text"', b"NaN"), id="nan"),
        pytest.param(GOOD.encode().replace(b'"text"', b"Infinity"), id="infinity"),
        pytest.param(b"[" * _DEEP, id="deep-lists-open"),
        pytest.param(b"[" * _DEEP + b"]" * _DEEP, id="deep-lists"),
        pytest.param(b'{"a":' * _DEEP + b"1" + b"}" * _DEEP, id="deep-objects"),
        pytest.param(
            GOOD.encode().replace(b'"text"', b"[" * _DEEP + b"]" * _DEEP), id="deep-input"
        ),
        pytest.param(b"input=x&model=" + MODEL.encode(), id="form"),
        pytest.param(GOOD[:-1].encode() + b',"input":"other"}', id="input-twice"),
        pytest.param(GOOD[:-1].encode() + b',"inp\\u0075t":"other"}', id="input-twice-escaped"),
        pytest.param(GOOD[:-1].encode() + b',"model":"cl100k"}', id="model-twice"),
    ],
)
def test_a_body_that_is_not_one_json_object_is_refused(proxy: Proxy, body: bytes) -> None:
    refused(proxy.post(body), 400, "invalid_json")


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("digits", ["1e400", "9" * 400, "-" + "9" * 5000, "1" + "0" * 100_000])
def test_a_huge_number_is_refused(proxy: Proxy, digits: str) -> None:
    body = GOOD[:-1] + f',"dimensions":{digits}}}'
    error = proxy.post(body.encode()).json()["error"]
    assert error["code"] in ("invalid_json", "invalid_dimensions")


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "x", ""])
def test_a_bad_body_is_judged_as_json_whatever_its_content_type(proxy: Proxy, kind: str) -> None:
    refused(proxy.post(b"{", headers={"content-type": kind}), 400, "invalid_json")
